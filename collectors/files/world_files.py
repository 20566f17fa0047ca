"""Takes in New York's days and TAIFEX's futures.

Beside the nearest month TAIFEX lists later ones, weekly contracts and spreads. A night session is dated by
the trading day that it leads to, and a bar of New York may be stamped at its start.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stockllm.collectors.files.limits import check_codes
from stockllm.collectors.files.sheets import OHLC
from stockllm.data.records import ImportReport, QuarantinedRow
from stockllm.data.sentences import Sentence
from stockllm.data.stores.known import Counts, seconds
from stockllm.data.stores.world import SYMBOLS
from stockllm.data.validation_history import Judgement
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
    from stockllm.collectors.files.sheets import Kind, Sheet
    from stockllm.data.store import Store
    from stockllm.data.stores.world import Session
    from stockllm.data.validation import Ints

_SESSIONS: dict[str, Session] = {"day": "day", "一般": "day", "night": "night", "盤後": "night"}
_MONTH = re.compile(r"(20\d\d)(0[1-9]|1[0-2])")

# New York's market was never closed for longer than this since 2001: more is a hole.
_LONGEST_BREAK = 5

# Each is gone through for itself. A day, a month and a product share one number below, 64 to a day.
_MOST_SYMBOLS, _MOST_PRODUCTS = 1000, 32


# New York


#: What a site shows and means no harm by: counted as refused, and not kept in quarantine.
HARMLESS = frozenset({"other_contract", "session_open", "future_date"})


def take_world(
    store: Store, source: str, sheet: Sheet, now: datetime, *, aside: frozenset[str] = frozenset()
) -> ImportReport:
    """Keep New York's days, all or none. A day counts from its close, however its row is stamped.

    Rows refused for a reason of ``aside`` are counted and not kept in quarantine.
    """
    days, prices, volumes = sheet.days(NEW_YORK), sheet.prices(), sheet.numbers("volume")
    symbols = [symbol_of(cell) for cell in sheet.columns["symbol"]]
    judged = Judgement(len(sheet))
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
            columns = dict(zip(OHLC, prices[own].T, strict=True)) | {"volume": volumes[own]}
            counts = counts.plus(store.world.keep_bars(arrival, symbol, days[own], columns, closes[own]))
        refused = judged.refused(source, np.array(sheet.lines), days, sheet.raw)
        store.bars.quarantine(row for row in refused if row.reason not in aside)
    notes = (*_unknown(names), *_gaps(names, which[good], days[good]))
    return _report(source, "world", sheet, counts, refused, len(names), notes)


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


def take_futures(
    store: Store,
    source: str,
    sheet: Sheet,
    now: datetime,
    *,
    aside: frozenset[str] = frozenset({"other_contract"}),
) -> ImportReport:
    """Keep the sessions of the nearest month, all or none. A night is known once it is over.

    Rows refused for a reason of ``aside`` are counted and not kept in quarantine: TAIFEX lists spreads,
    weekly contracts and later months beside the nearest one.
    """
    days, prices, volumes = sheet.days(TAIPEI), sheet.prices(), sheet.numbers("volume")
    n = len(sheet)
    expiries = [cell.strip().removesuffix(".0") for cell in sheet.columns["expiry"]]
    products = [cell.strip() or "TX" for cell in sheet.columns.get("product", ["TX"] * n)]
    sessions = [_SESSIONS.get(cell.strip().casefold()) for cell in sheet.columns["session"]]
    judged = Judgement(n)
    judged.mark("unreadable", days <= 0)
    judged.mark("unknown_session", np.array([session is None for session in sessions]))
    months = np.array([int(e) if _MONTH.fullmatch(e) else 0 for e in expiries], dtype=np.int64)
    names = sorted({(p, s) for p, s in zip(products, sessions, strict=True) if s})
    check_codes(len(names), source, 2 * _MOST_PRODUCTS)
    place: dict[tuple[str, str | None], int] = {name: i for i, name in enumerate(names)}
    which = np.array([place.get(key, -1) for key in zip(products, sessions, strict=True)], dtype=np.int64)
    judged.mark("other_contract", months != _nearest(days * 64 + which, months))
    judged.candles(prices, volumes, silent_volume=True)
    begins, known_at = _session_moments(store, days, sessions)
    judged.mark("future_date", begins > seconds(now))
    judged.mark("session_open", known_at > seconds(now))
    judged.repeated((days * 1_000_000 + months) * 64 + which)
    good = judged.good
    columns = {
        name: sheet.numbers(name)
        for name in ("change", "change_pct", "volume", "settlement", "open_interest")
    }
    counts = Counts()
    with store.transaction(), store.arrivals.bring("futures", source, now) as arrival:
        for i, (product, session) in enumerate(names):
            own = good[which[good] == i]
            figures = dict(zip(OHLC, prices[own].T, strict=True))
            figures |= {name: column[own] for name, column in columns.items()}
            counts = counts.plus(
                store.world.keep_futures(
                    arrival,
                    product,
                    session,
                    days[own],
                    months[own],
                    figures,
                    known_at[own],
                )
            )
        refused = judged.refused(source, np.array(sheet.lines), days, sheet.raw)
        store.bars.quarantine(row for row in refused if row.reason not in aside)
    return _report(source, "futures", sheet, counts, refused, len(set(products)), ())


def _session_moments(store: Store, days: Ints, sessions: Sequence[Session | None]) -> tuple[Ints, Ints]:
    """When each session began and from when on it is known, in seconds.

    A day session that these rows or the store have proves that its day was one.
    """
    traded = store.world.session_days() | store.calendar().opened
    traded |= {
        date.fromordinal(day)
        for day, session in zip(days.tolist(), sessions, strict=True)
        if day > 0 and session == "day"
    }
    night = np.array([session == "night" for session in sessions])
    begins = _moments(days, lambda day: night_begins(day, traded)), _moments(days, futures_open)
    known_at = _moments(days, lambda day: night_known(day, traded)), _moments(days, futures_known)
    return np.where(night, *begins), np.where(night, *known_at)


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
    sheet: Sheet,
    counts: Counts,
    refused: Sequence[QuarantinedRow],
    subjects: int,
    notes: tuple[Sentence, ...],
) -> ImportReport:
    return ImportReport(
        source=source,
        kind=kind,
        read=len(sheet),
        accepted=counts.new,
        unchanged=counts.unchanged,
        revised=counts.revised,
        quarantined=len(refused),
        companies=subjects,
        reasons=dict(Counter(row.reason for row in refused)),
        notes=notes,
    )
