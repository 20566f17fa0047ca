"""Tables of the world, New York's days and TAIFEX's futures, from parquet or CSV, as text by column.

Of a file of TAIFEX's own the Chinese headers are known, and a comma too many at the end of its rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.collectors.files.limits import DEFAULT, Limits, cut
from stockllm.collectors.files.prices_csv import LONGEST_RAW, check_once, read_day, read_number
from stockllm.collectors.files.prices_parquet import opened, texts_among
from stockllm.data.errors import ImportFailed

if TYPE_CHECKING:
    from stockllm.data.validation import Floats, Ints

Kind = Literal["world", "futures"]

#: The names that prices have in files, by ours; so for the columns of each kind below.
OHLC = {
    "open": ("open", "開盤價"),
    "high": ("high", "最高價"),
    "low": ("low", "最低價"),
    "close": ("close", "收盤價"),
}
_COLUMNS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "world": {"symbol": ("symbol", "ticker"), "date": ("date",), **OHLC, "volume": ("volume",)},
    "futures": {
        "date": ("date", "交易日期"),
        "session": ("session", "交易時段", "tradingsession"),
        "expiry": ("expiry", "contractmonth(week)", "到期月份(週別)", "contract"),
        **OHLC,
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


@dataclass(frozen=True)
class Sheet:
    """A table as text: our column names -> cells, and what each row was."""

    kind: Kind
    columns: dict[str, list[str]]
    lines: list[int]
    raw: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str) -> Floats:
        """A column as floats, NaN where there is no number or no such column."""
        cells = self.columns.get(name)
        if cells is None:
            return np.full(len(self), np.nan)
        return np.fromiter((read_number(cell.rstrip("%").strip()) for cell in cells), np.float64, len(self))

    def prices(self) -> Floats:
        """Open, high, low and close, shape (n, 4)."""
        return np.stack([self.numbers(name) for name in OHLC], axis=1)

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


def sheet_of_text(text: str, kind: Kind, name: str, limits: Limits = DEFAULT) -> Sheet:
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
    if not rows:
        _places(header, kind, name)
        raise _no_rows(name)
    return sheet_of_rows(header, [row for _, row in rows], kind, name, [line for line, _ in rows])


def sheet_of_rows(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    kind: Kind,
    name: str,
    lines: Sequence[int] | None = None,
) -> Sheet:
    """Rows of cells under a header. ImportFailed where a needed column is missing.

    A row that is longer by empty cells is cut; one of any other width cannot be told apart by column.
    """
    place = _places(header, kind, name)
    width = len(header)
    cells: list[Sequence[str]] = []
    empty = [""] * width  # one for all: a file of short rows would fill the memory with them
    for row in rows:
        whole = len(row) >= width and not any(cell.strip() for cell in row[width:])
        cells.append(row[:width] if whole else empty)
    return Sheet(
        kind,
        {ours: [row[i].strip() for row in cells] for ours, i in place.items()},
        list(lines) if lines is not None else list(range(1, len(rows) + 1)),
        lambda i: cut(",".join(rows[i]), LONGEST_RAW),
    )


def sheet_of_parquet(path: Path, kind: Kind, name: str) -> Sheet:
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
    return Sheet(
        kind,
        columns,
        list(range(1, table.num_rows + 1)),
        lambda i: cut(",".join(column[i] for column in lists), LONGEST_RAW),
    )


def _cells(column: Any) -> list[str]:
    """A column as text, "" where a value is missing; one that is repeated is one text."""
    from pyarrow import types

    cells: list[str] = []
    for chunk in (column if types.is_dictionary(column.type) else column.dictionary_encode()).chunks:
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
