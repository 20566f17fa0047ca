"""Reads files of the world, New York's days and TAIFEX's futures, and takes them in.

Both may be parquet or CSV. Of a file of TAIFEX's own the Chinese headers are known, and its traps:
padded months, spreads and weekly contracts beside the monthly ones, percent signs, a comma too many.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.collectors.limits import DEFAULT, Limits, check_codes, cut
from stockllm.collectors.prices_csv import LONGEST_RAW, check_once, read_day, read_number
from stockllm.collectors.prices_parquet import opened, texts_among
from stockllm.data.errors import ImportFailed
from stockllm.data.known import Counts, seconds
from stockllm.data.records import ImportReport, QuarantinedRow
from stockllm.data.sentences import Sentence
from stockllm.data.validation_history import Judgement
from stockllm.data.world import SYMBOLS
from stockllm.market.moments import (
    NEW_YORK,
    TAIPEI,
    futures_known,
    futures_open,
    new_york_close,
    new_york_open,
    night_begins,
    night_known,
)

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.data.validation import Ints
    from stockllm.data.world import Session

Kind = Literal["world", "futures"]

# Our name of a column -> the names it has in files.
_OHLC = {
    "open": ("open", "開盤價"),
    "high": ("high", "最高價"),
    "low": ("low", "最低價"),
    "close": ("close", "收盤價"),
}
_COLUMNS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "world": {"symbol": ("symbol", "ticker"), "date": ("date",), **_OHLC, "volume": ("volume",)},
    "futures": {
        "date": ("date", "交易日期"),
        "session": ("session", "交易時段"),
        "expiry": ("expiry", "contract", "到期月份(週別)"),
        **_OHLC,
        "product": ("product", "契約"),
        "change": ("change", "漲跌價"),
        "change_pct": ("change_pct", "漲跌%"),
        "volume": ("volume", "成交量"),
        "settlement": ("settlement", "結算價"),
        "open_interest": ("open_interest", "未沖銷契約數"),
    },
}
_NEEDED: dict[Kind, tuple[str, ...]] = {
    "world": ("symbol", "date", "open", "high", "low", "close"),
    "futures": ("date", "session", "expiry", "open", "high", "low", "close"),
}
# What a file of each kind has and no other.
_TELLING: dict[Kind, tuple[str, ...]] = {"world": ("symbol",), "futures": ("session", "expiry")}

_SESSIONS: dict[str, Session] = {"day": "day", "一般": "day", "night": "night", "盤後": "night"}
_MONTH = re.compile(r"(20\d\d)(0[1-9]|1[0-2])")

# New York's market was never closed for longer than this since 2001: more is a hole.
_LONGEST_BREAK = 5

# Each is gone through for itself. A day, a month and a product share one number below, 64 to a day.
_MOST_SYMBOLS, _MOST_PRODUCTS = 1000, 32


@dataclass(frozen=True)
class Grid:
    """A table as text: our column names -> cells, and what each row was."""

    kind: Kind
    columns: dict[str, list[str]]
    lines: list[int]
    raw: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """A column as floats, NaN where there is no number or no such column."""
        cells = self.columns.get(name)
        if cells is None:
            return np.full(len(self), np.nan)
        return np.fromiter((read_number(cell.rstrip("%").strip()) for cell in cells), np.float64, len(self))

    def prices(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Open, high, low and close, shape (n, 4)."""
        return np.stack([self.numbers(name) for name in _OHLC], axis=1)

    def days(self, zone: tzinfo) -> Ints:
        """The dates as ordinals, 0 where there is none; a time with an offset counts in ``zone``."""
        return np.fromiter((_day(cell, zone) for cell in self.columns["date"]), np.int64, len(self))


def kind_of(header: Sequence[str]) -> Kind | None:
    """What a table with this header is; None for neither."""
    names = {cell.strip().casefold() for cell in header}
    for kind, telling in _TELLING.items():
        if all(names & set(_COLUMNS[kind][column]) for column in telling):
            return kind
    return None


def header_of_text(text: str) -> list[str]:
    """The first line of a CSV as cells."""
    try:
        return next(csv.reader([text.partition("\n")[0].rstrip("\r")]), [])
    except csv.Error:
        return []


def header_of_parquet(path: Path) -> list[str]:
    """The names of the columns; empty where the file cannot be read, which others say better."""
    try:
        with opened(path, str(path)) as file:
            return list(file.schema_arrow.names)
    except ImportFailed:
        return []


def grid_of_text(text: str, kind: Kind, name: str, limits: Limits = DEFAULT) -> Grid:
    """The rows of a CSV. ImportFailed where a needed column is missing, or there is no row or too many."""
    rows: list[tuple[int, list[str]]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, [])
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
                if len(rows) > limits.text_rows:
                    limits.check_rows(len(rows), name, text=True)
    except csv.Error as error:
        raise ImportFailed(
            f"{name} cannot be read as CSV ({error}): export it again.",
            zh=f"{name} 不是正確的 CSV（{error}）：請重新匯出。",
        ) from error
    place = _places(header, kind, name)
    if not rows:
        raise _no_rows(name)
    width = len(header)
    cells = []
    empty = [""] * width
    for _, row in rows:
        whole = row[:width] if len(row) >= width and not any(c.strip() for c in row[width:]) else []
        cells.append(whole or empty)  # a row of another width cannot be told apart by column
    return Grid(
        kind,
        {ours: [row[i].strip() for row in cells] for ours, i in place.items()},
        [line for line, _ in rows],
        lambda i: cut(",".join(rows[i][1]), LONGEST_RAW),
    )


def grid_of_parquet(path: Path, kind: Kind, name: str) -> Grid:
    """The rows of a parquet file; the same errors as a CSV's."""
    with opened(path, name) as file:
        header = list(file.schema_arrow.names)
        place = _places(header, kind, name)
        wanted = [header[i] for i in place.values()]
        texts = texts_among(file, wanted)
    with opened(path, name, texts) as file:
        table = file.read(columns=wanted)
        if not table.num_rows:
            raise _no_rows(name)
        columns = {ours: _cells(table.column(header[i])) for ours, i in place.items()}
    lists = list(columns.values())
    return Grid(
        kind,
        columns,
        list(range(1, table.num_rows + 1)),
        lambda i: cut(",".join(column[i] for column in lists), LONGEST_RAW),
    )


def _cells(column: Any) -> list[str]:
    """A column as text, "" where a value is missing; one that is repeated is one text."""
    cells: list[str] = []
    for chunk in (column if hasattr(column.type, "value_type") else column.dictionary_encode()).chunks:
        texts = [_text(value) for value in chunk.dictionary.to_pylist()]
        cells += ["" if i is None else texts[i] for i in chunk.indices.to_pylist()]
    return cells


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value).strip()


def _places(header: Sequence[str], kind: Kind, name: str) -> dict[str, int]:
    names = [cell.strip().casefold() for cell in header]
    place = {}
    for ours, theirs in _COLUMNS[kind].items():
        found = [names.index(one) for one in theirs if one in names]
        if found:
            place[ours] = found[0]
    missing = [column for column in _NEEDED[kind] if column not in place]
    if missing:
        needed = ", ".join(_NEEDED[kind])
        raise ImportFailed(
            f"{name} has no column {', '.join(missing)}: a file of {_WORDS[kind][0]} needs {needed}.",
            zh=f"{name} 缺少欄位 {', '.join(missing)}：{_WORDS[kind][1]}檔需要 {needed}。",
        )
    check_once([names[i] for i in place.values()], names, name)
    return place


_WORDS: dict[Kind, tuple[str, str]] = {
    "world": ("world prices", "國際行情"),
    "futures": ("index futures", "指數期貨"),
}


def _no_rows(name: str) -> ImportFailed:
    return ImportFailed(
        f"{name} has no rows: there is nothing to import.", zh=f"{name} 沒有資料列：沒有可匯入的內容。"
    )


def _day(cell: str, zone: tzinfo) -> int:
    if len(cell) > 16:  # a time with an offset is longer; a date alone is not
        try:
            moment = datetime.fromisoformat(cell)
            if moment.tzinfo is not None:
                return moment.astimezone(zone).date().toordinal()
        except (ValueError, OverflowError):
            return read_day(cell)
    return read_day(cell)


# New York


def take_world(store: Store, source: str, grid: Grid, now: datetime) -> ImportReport:
    """Keep New York's days, all or none. A day counts from its close, however its row is stamped."""
    days, prices, volumes = grid.days(NEW_YORK), grid.prices(), grid.numbers("volume")
    symbols = [symbol_of(cell) for cell in grid.columns["symbol"]]
    judged = Judgement(len(grid))
    judged.mark("unreadable", (days <= 0) | np.array([not symbol for symbol in symbols]))
    judged.candles(prices, volumes, silent_volume=True)
    opens, closes = _moments(days, new_york_open), _moments(days, new_york_close)
    judged.mark("future_date", opens > seconds(now))
    judged.mark("session_open", closes > seconds(now))
    judged.mark("not_a_session", (days - 1) % 7 >= 5)
    names = sorted(set(symbols))
    check_codes(len(names), source, _MOST_SYMBOLS)
    place = {name: i for i, name in enumerate(names)}
    which = np.array([place[symbol] for symbol in symbols], dtype=np.int64)
    for i in range(len(names)):  # a glitch shows among the days of its own symbol alone
        own = np.flatnonzero(which == i)
        one = Judgement(len(own))
        one.marks[:] = judged.marks[own]
        one.jumps(days[own], prices[own])
        judged.marks[own] = one.marks
    judged.repeated(days * 1000 + which)
    counts = Counts()
    with store.transaction(), store.arrivals.bring("world", source, now) as arrival:
        good = judged.good
        for i, symbol in enumerate(names):
            own = good[which[good] == i]
            columns = dict(zip(_OHLC, prices[own].T, strict=True)) | {"volume": volumes[own]}
            counts = counts.plus(store.world.keep_bars(arrival, symbol, days[own], columns, closes[own]))
        refused = judged.refused(source, np.array(grid.lines), symbols, days, grid.raw)
        store.bars.quarantine(refused)
    notes = (*_unknown(names), *_gaps(names, which[good], days[good]))
    return _report(source, "world", grid, counts, refused, len(names), notes)


def symbol_of(text: str) -> str:
    """Our name of a symbol: ^GSPC is SPX, tsm TSM.

    >>> symbol_of("^GSPC"), symbol_of("tsm ")
    ('SPX', 'TSM')
    """
    plain = text.strip().upper()
    ours = {theirs: name for name, theirs in SYMBOLS.items()}
    return ours.get(plain, plain.lstrip("^"))


def _moments(days: Ints, moment: Callable[[date], datetime]) -> Ints:
    known = {day: seconds(moment(date.fromordinal(day))) if day > 0 else 0 for day in set(days.tolist())}
    return np.array([known[day] for day in days.tolist()], dtype=np.int64)


def _unknown(names: Sequence[str]) -> list[Sentence]:
    unknown = [name for name in names if name and name not in SYMBOLS]
    if not unknown:
        return []
    shown = ", ".join(unknown[:8]) + (" …" if len(unknown) > 8 else "")
    return [
        Sentence(
            f"the symbols {shown} are not among those that forecasts use: kept all the same",
            zh=f"預測用不到 {shown} 這些代號：仍予保留",
        )
    ]


def _gaps(names: Sequence[str], which: Ints, days: Ints) -> list[Sentence]:
    """Days that a symbol lacks between its first and last, as far as the file itself shows it."""
    everything = np.unique(days)
    found = []
    for i, name in enumerate(names):
        own = np.unique(days[which == i])
        if not len(own):
            continue
        inside = everything[(everything > own[0]) & (everything < own[-1])]
        missing = inside[~np.isin(inside, own)].tolist()
        holes = [(a, b) for a, b in pairwise(own.tolist()) if b - a > _LONGEST_BREAK]
        if missing:
            first, last = (date.fromordinal(day).isoformat() for day in (missing[0], missing[-1]))
            found.append(
                Sentence(
                    f"{name} lacks {len(missing)} days that others have, from {first} to {last}:"
                    " those count as unknown",
                    zh=f"{name} 缺 {len(missing)} 個其他代號有的交易日（{first} 至 {last}），視為未知",
                )
            )
        elif holes:
            first, last = (date.fromordinal(day).isoformat() for day in holes[0])
            found.append(
                Sentence(
                    f"{name} has {_times(len(holes))} of more than {_LONGEST_BREAK} days, the first between"
                    f" {first} and {last}: days within count as unknown",
                    zh=f"{name} 有 {len(holes)} 處缺口（超過 {_LONGEST_BREAK} 天），第一處在 {first} 與 "
                    f"{last} 之間，其間視為未知",
                )
            )
    return found


def _times(n: int) -> str:
    return "a gap" if n == 1 else f"{n} gaps"


# TAIFEX


def take_futures(store: Store, source: str, grid: Grid, now: datetime) -> ImportReport:
    """Keep the sessions of the nearest month, all or none. A night is known once it is over.

    Spreads, weekly contracts and later months count as quarantined and are not kept.
    """
    from stockllm.market.calendar import TradingCalendar

    days, prices, volumes = grid.days(TAIPEI), grid.prices(), grid.numbers("volume")
    n = len(grid)
    expiries = [cell.strip() for cell in grid.columns["expiry"]]
    products = [cell.strip() or "TX" for cell in grid.columns.get("product", ["TX"] * n)]
    sessions = [_SESSIONS.get(cell.strip().casefold(), "") for cell in grid.columns["session"]]
    night = np.array([session == "night" for session in sessions])
    judged = Judgement(n)
    judged.mark("unreadable", days <= 0)
    judged.mark("unknown_session", np.array([not session for session in sessions]))
    months = np.array([int(e) if _MONTH.fullmatch(e) else 0 for e in expiries], dtype=np.int64)
    names = sorted({(p, s) for p, s in zip(products, sessions, strict=True) if s})
    check_codes(len(names), source, 2 * _MOST_PRODUCTS)
    place = {name: i for i, name in enumerate(names)}
    which = np.array([place.get(key, -1) for key in zip(products, sessions, strict=True)], dtype=np.int64)
    judged.mark("other_contract", months != _nearest(days * 64 + which, months))
    judged.candles(prices, volumes, silent_volume=True)
    calendar: TradingCalendar = store.calendar()
    traded = {
        date.fromordinal(day)
        for day, session in zip(days.tolist(), sessions, strict=True)
        if day > 0 and session == "day"
    }
    traded |= store.world.session_days() | calendar.opened
    begins = np.where(
        night, _moments(days, lambda day: night_begins(day, traded)), _moments(days, futures_open)
    )
    known_at = np.where(
        night, _moments(days, lambda day: night_known(day, traded)), _moments(days, futures_known)
    )
    judged.mark("future_date", begins > seconds(now))
    judged.mark("session_open", known_at > seconds(now))
    judged.repeated((days * 1_000_000 + months) * 64 + which)
    good = judged.good
    columns = {
        name: grid.numbers(name) for name in ("change", "change_pct", "volume", "settlement", "open_interest")
    }
    counts = Counts()
    with store.transaction(), store.arrivals.bring("futures", source, now) as arrival:
        for i, (product, session) in enumerate(names):
            own = good[which[good] == i]
            figures = dict(zip(_OHLC, prices[own].T, strict=True))
            figures |= {name: column[own] for name, column in columns.items()}
            counts = counts.plus(
                store.world.keep_futures(
                    arrival,
                    product,
                    session,
                    days[own],
                    months[own],
                    figures,
                    known_at[own],  # type: ignore[arg-type]
                )
            )
        refused = judged.refused(source, np.array(grid.lines), products, days, grid.raw)
        store.bars.quarantine(row for row in refused if row.reason != "other_contract")
    return _report(source, "futures", grid, counts, refused, len(set(products)), ())


def _nearest(keys: Ints, months: Ints) -> Ints:
    """For each row the first month that any row of its key has; -1 where there is none."""
    nearest: dict[int, int] = {}
    for key, month in zip(keys.tolist(), months.tolist(), strict=True):
        if month and month < nearest.get(key, 10**6):
            nearest[key] = month
    return np.array([nearest.get(key, -1) for key in keys.tolist()], dtype=np.int64)


def _report(
    source: str,
    kind: Kind,
    grid: Grid,
    counts: Counts,
    refused: Sequence[QuarantinedRow],
    subjects: int,
    notes: tuple[Sentence, ...],
) -> ImportReport:
    return ImportReport(
        source=source,
        kind=kind,
        read=len(grid),
        accepted=counts.new,
        unchanged=counts.unchanged,
        revised=counts.revised,
        quarantined=len(refused),
        companies=subjects,
        reasons=dict(Counter(row.reason for row in refused)),
        notes=notes,
    )
