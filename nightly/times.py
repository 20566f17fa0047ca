"""When a refresh is due: at a time of the day in Taipei, on the days the exchanges trade."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from stockllm.collectors.clock import TAIPEI, taipei

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar

_DAY = timedelta(days=1)


def next_due(calendar: TradingCalendar, at: time, now: datetime) -> datetime:
    """The first moment after ``now`` at which a refresh is due."""
    day = taipei(now).date()
    while not calendar.is_session(day) or datetime.combine(day, at, TAIPEI) <= now:
        day += _DAY
    return datetime.combine(day, at, TAIPEI)


def last_due(calendar: TradingCalendar, at: time, now: datetime) -> datetime:
    """The last moment up to ``now`` at which a refresh was due."""
    day = taipei(now).date()
    while not calendar.is_session(day) or datetime.combine(day, at, TAIPEI) > now:
        day -= _DAY
    return datetime.combine(day, at, TAIPEI)


def missed(store: Store, at: time, now: datetime) -> datetime | None:
    """The last moment a refresh was due, if none has done its work since; None if one has.

    A store without a refresh has missed the last one too.
    """
    from stockllm.nightly.refresh import complete  # not needed to tell when the next one is due

    due = last_due(store.calendar(), at, now)
    since = due.astimezone(UTC)
    return None if any(complete(row) for row in store.refreshes.list(since=since)) else due
