"""The base of an ex-date, brought to the bar that is measured from it.

Mostly that is the bar of the ex-date. A share nobody traded that day keeps its base until it trades:
then the first bar after it takes the base, once every day between is known to have had no trade.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from stockllm.data.validation_day import rebased
from stockllm.market.calendar import default_calendar

if TYPE_CHECKING:
    from stockllm.data.records import Bar
    from stockllm.data.store import Store
    from stockllm.data.stores.exrights import ExRight

#: A share that trades again after longer than this starts from another price.
IDLE = timedelta(days=30)


def apply_bases(store: Store, rows: Iterable[ExRight]) -> int:
    """Give the bars that the ex-dates ``rows`` concern their base as reference; how many changed."""
    changed = []
    for row in rows:
        bar = _bar_of(store, row)
        if bar is not None:
            changed.append(rebased(bar, row.basis))
    return store.bars.rebase(changed)


def _bar_of(store: Store, row: ExRight) -> Bar | None:
    """The bar measured from the row's base, None where it is not there or not certain."""
    bars = store.bars.bars(row.code, row.date, row.date + IDLE)
    if not bars or bars[0].date == row.date:
        return bars[0] if bars else None
    first = bars[0].date
    if any(row.date < other.date <= first for other in store.ex_rights.of(row.code)):
        return None  # a later base is the one it started from
    refused = {q.date: q.reason for q in store.bars.quarantined(row.code)}
    is_session = default_calendar().is_session
    gap = [row.date + timedelta(days=n) for n in range((first - row.date).days)]
    for day in gap:
        if not is_session(day) or refused.get(day) in ("no_trade", "zero_price"):
            continue
        if day in refused or not _asked(store, row, day):
            return None
    return bars[0]


def _asked(store: Store, row: ExRight, day: date) -> bool:
    """Whether the exchange has been asked about ``day``: then no row of it means no trade."""
    month = store.collected.get("month", row.code, f"{day:%Y-%m}")
    if month is not None and month.through is not None and day <= month.through:
        return True
    entry = store.collected.get("day", row.market, day.isoformat())
    return entry is not None and (entry.state == "complete" or day in store.collected.closed_days())
