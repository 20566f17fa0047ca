"""When a figure can be known: the earliest moments at which the public has it.

Every moment is aware, in UTC. Where publication varies, the latest usual moment counts: a figure that is
taken to be known too late costs a little, one that is taken to be known too early makes a test worthless.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from stockllm.market.calendar import MADE_UP_SATURDAYS, rule_closed

#: Taiwan has kept one offset since 1980.
TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
NEW_YORK = ZoneInfo("America/New_York")

#: When a forecast is made: in the evening before its first session, in the morning of it with the word of
#: the night, or at the open, with the session's own first price.
Moment = Literal["evening", "morning", "open"]
MOMENTS: tuple[Moment, ...] = ("evening", "morning", "open")

_DAY = timedelta(days=1)


def at_taipei(day: date, hour: int, minute: int = 0) -> datetime:
    """A time of ``day`` on the clocks of Taipei."""
    return datetime.combine(day, time(hour, minute), TAIPEI).astimezone(UTC)


def end_of(day: date) -> datetime:
    """The last moment of ``day`` in Taipei: whoever asks for all up to a day means this."""
    return at_taipei(day + _DAY, 0) - timedelta(seconds=1) if day < date.max else _LAST


_LAST = datetime.max.replace(tzinfo=UTC)


def counts_before(session: date, moment: Moment) -> datetime:
    """The moment before which a forecast of ``moment`` about ``session`` must have been made to count.

    Evening and morning: before the exchange opens, at 09:00 in Taipei. Open: in the minute of 09:00 at
    the latest, for the price of the opening auction is published in that minute.
    """
    return at_taipei(session, 9, 1 if moment == "open" else 0)


def bars_known(day: date) -> datetime:
    """A day's candle and volume: after the trading at the closing price, which ends at 14:30."""
    return at_taipei(day, 14, 30)


def flows_known(day: date) -> datetime:
    """What the institutions bought: both exchanges publish between 16:00 and 17:30 of the day."""
    return at_taipei(day, 18)


def margin_known(day: date) -> datetime:
    """Margin balances: published late in the evening, so they count from the next morning."""
    return at_taipei(day + _DAY, 8)


def revenue_known(year: int, month: int) -> datetime:
    """A month's revenue: due by the 10th of the next month, or a few days later after holidays.

    An answer that arrives before then proves that it was public earlier.
    """
    return at_taipei(date(year + month // 12, month % 12 + 1, 16), 0)


@lru_cache(maxsize=20_000)
def new_york_open(day: date) -> datetime:
    """09:30 of ``day`` in New York, with its daylight saving time."""
    return datetime.combine(day, time(9, 30), NEW_YORK).astimezone(UTC)


@lru_cache(maxsize=20_000)
def new_york_close(day: date) -> datetime:
    """16:00 of ``day`` in New York. Half days end at 13:00; nobody is told sooner here."""
    return datetime.combine(day, time(16), NEW_YORK).astimezone(UTC)


def futures_open(day: date) -> datetime:
    """The beginning of TAIFEX's day session."""
    return at_taipei(day, 8, 45)


def futures_known(day: date) -> datetime:
    """TAIFEX's day session ends at 13:45; its report, with settlement and open interest, follows."""
    return at_taipei(day, 16)


def night_begins(day: date, sessions: Collection[date] = ()) -> datetime:
    """The beginning of the night session dated ``day``: 15:00 of the trading day before.

    TAIFEX dates a night by the trading day that it leads to. That day before is the last one that
    the rules or ``sessions`` make a session. A closed day that the rules do not know, a typhoon's,
    is taken for one: the night dated after it then counts as known later, never sooner.
    """
    before = day - _DAY
    while not (before in sessions or before in MADE_UP_SATURDAYS or not rule_closed(before)):
        before -= _DAY
    return at_taipei(before, 15)


def night_known(day: date, sessions: Collection[date] = ()) -> datetime:
    """The end of the night session dated ``day``: 05:00 of the calendar day after it began.

    So the night that leads to a Monday, or to the first session after a long holiday, is known on
    the first morning of those closed days.
    """
    return night_begins(day, sessions) + timedelta(hours=14)
