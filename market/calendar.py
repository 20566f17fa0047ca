"""On which days the Taiwanese exchanges trade.

Closed days follow from the law on holidays and the exchanges' own two closed days before the Lunar
New Year, for 2015 to 2030. What no rule gives stands in two short tables below: typhoon days, and
the Saturdays on which bridge days were made up until 2018. Every weekday and Saturday from
2015-01-05 to 2026-03-31 was compared with the exchange's own session dates and agrees. Before
2015 and after 2030 only weekends are known to be closed; `RULE_YEARS` says so to callers.

Pure: nothing here reads a clock or a file. A store adds what it learns (`learn`), a user what the
news says (`with_closed`, `with_opened`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

#: The years whose holidays are known.
RULE_YEARS = range(2015, 2031)

_DAY = timedelta(days=1)
_MONDAY, _TUESDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 1, 3, 4, 5, 6

# First day of the Chinese calendar's year, fifth of its fifth month, fifteenth of its eighth
# (tests recompute all of them from the moon's phases).
_LUNAR = {
    year: (date(year, *new_year), date(year, *dragon_boat), date(year, *mid_autumn))
    for year, new_year, dragon_boat, mid_autumn in (
        (2015, (2, 19), (6, 20), (9, 27)),
        (2016, (2, 8), (6, 9), (9, 15)),
        (2017, (1, 28), (5, 30), (10, 4)),
        (2018, (2, 16), (6, 18), (9, 24)),
        (2019, (2, 5), (6, 7), (9, 13)),
        (2020, (1, 25), (6, 25), (10, 1)),
        (2021, (2, 12), (6, 14), (9, 21)),
        (2022, (2, 1), (6, 3), (9, 10)),
        (2023, (1, 22), (6, 22), (9, 29)),
        (2024, (2, 10), (6, 10), (9, 17)),
        (2025, (1, 29), (5, 31), (10, 6)),
        (2026, (2, 17), (6, 19), (9, 25)),
        (2027, (2, 6), (6, 9), (9, 15)),
        (2028, (1, 26), (5, 28), (10, 3)),
        (2029, (2, 13), (6, 16), (9, 22)),
        (2030, (2, 3), (6, 5), (9, 12)),
    )
}

#: Typhoon days. 2023 on as announced; the earlier ones are the weekdays without a session in the
#: exchange's record that no holiday explains.
TYPHOONS = frozenset(
    {
        date(2015, 7, 10),
        date(2015, 9, 29),
        date(2016, 7, 8),
        date(2016, 9, 27),
        date(2016, 9, 28),
        date(2019, 8, 9),
        date(2019, 9, 30),
        date(2023, 8, 3),
        date(2024, 7, 24),
        date(2024, 7, 25),
        date(2024, 10, 2),
        date(2024, 10, 3),
        date(2024, 10, 31),
        date(2026, 7, 10),
    }
)

#: Saturdays with a session, each making up for a bridge day. From 2019 on the exchanges stay
#: closed on such Saturdays. Taken from the exchange's record.
MADE_UP_SATURDAYS = frozenset(
    {
        date(2016, 1, 30),
        date(2016, 6, 4),
        date(2016, 9, 10),
        date(2017, 2, 18),
        date(2017, 6, 3),
        date(2017, 9, 30),
        date(2018, 3, 31),
        date(2018, 12, 22),
    }
)


def _lunar_new_year(year: int) -> list[date]:
    """Eve and first three days; the day before the eve too, moved off since 2020, law since 2026."""
    first = _LUNAR[year][0]
    return [first + offset * _DAY for offset in range(-2 if year >= 2026 else -1, 3)]


def _spring_days(year: int) -> list[date]:
    """Children's Day (4 April) and Tomb Sweeping Day (the solar term).

    When they fall together a second day is added: the day before, or after a Thursday the day after.
    """
    children = date(year, 4, 4)
    # The term falls on the 4th in leap years and the years after them throughout 2015 to 2030.
    if year % 4 > 1:
        return [children, children + _DAY]
    return [children, children + (_DAY if children.weekday() == _THURSDAY else -_DAY)]


def _civil_holidays(year: int) -> list[date]:
    """The holidays by law, before any is moved off a weekend."""
    _, dragon_boat, mid_autumn = _LUNAR[year]
    days = [date(year, 1, 1), *_lunar_new_year(year), date(year, 2, 28), *_spring_days(year)]
    days += [dragon_boat, mid_autumn, date(year, 10, 10)]
    if year >= 2025:  # the law of May 2025 came in time for that autumn
        days += [date(year, 9, 28), date(year, 10, 25), date(year, 12, 25)]
    return days


def _moved_off_weekends(days: Iterable[date]) -> set[date]:
    """``days`` and the weekdays given instead of those on a weekend.

    A Saturday's holiday moves back to the Friday, a Sunday's on to the Monday, past days already
    taken. Days that run together with the Lunar New Year all move on: see `_holidays`.
    """
    taken = set(days)
    for day in sorted(taken):
        if day.weekday() in (_SATURDAY, _SUNDAY):
            step = -_DAY if day.weekday() == _SATURDAY else _DAY
            other = day + step
            while other in taken or other.weekday() >= _SATURDAY:
                other += step
            taken.add(other)
    return taken


def _moved_on(days: Iterable[date]) -> set[date]:
    """Like `_moved_off_weekends`, but every moved day follows the block: the Lunar New Year's way."""
    taken = set(days)
    for day in sorted(taken):
        if day.weekday() >= _SATURDAY:
            other = max(taken)
            while other in taken or other.weekday() >= _SATURDAY:
                other += _DAY
            taken.add(other)
    return taken


def _bridges(holidays: set[date]) -> set[date]:
    """The Monday before a Tuesday's holiday and the Friday after a Thursday's."""
    before = {d - _DAY for d in holidays if d.weekday() == _TUESDAY}
    after = {d + _DAY for d in holidays if d.weekday() == _THURSDAY}
    return (before | after) - holidays


@lru_cache(maxsize=32)
def _closed_weekdays(year: int) -> frozenset[date]:
    """All rule-given closed days that ``year``'s holidays cause, some in the years beside it."""
    new_year_block = _lunar_new_year(year)
    block = _moved_on(new_year_block)
    others = _moved_off_weekends(d for d in _civil_holidays(year) if d not in new_year_block)
    holidays = block | others
    if year <= 2023:  # bridge days made up on a Saturday ended with 2023
        holidays |= _bridges(holidays)
    first = min(block)
    if 2020 <= year <= 2025 and (first - _DAY).weekday() < _SATURDAY:
        first -= _DAY  # the eve's own eve, moved off by decree
        holidays.add(first)
    # Two weekdays for settlement only come before the block.
    day = first
    for _ in range(2):
        day -= _DAY
        while day.weekday() >= _SATURDAY:
            day -= _DAY
        holidays.add(day)
    # Labour Day closes banks and exchanges; it moves off weekends but was never bridged.
    return frozenset(holidays | _moved_off_weekends([date(year, 5, 1)]))


def rule_closed(day: date) -> bool:
    """Whether the rules alone close ``day``, weekends included; typhoons and tables left aside."""
    if day.weekday() >= _SATURDAY:
        return True
    return any(y in RULE_YEARS and day in _closed_weekdays(y) for y in (day.year, day.year + 1))


def evidence(companies: int) -> int:
    """How many of ``companies`` must have traded on a day before it counts against a rule.

    Half of them and at least ten: a phantom row in a file or two proves nothing.
    """
    return max(10, -(-companies // 2))


@dataclass(frozen=True)
class TradingCalendar:
    """The rules, with days known to be ``closed`` or ``opened`` against them.

    ``silent`` days are sessions by rule on which no bar was seen: closed as far as anybody can
    tell, until one turns up.
    """

    closed: frozenset[date] = field(default=TYPHOONS)
    opened: frozenset[date] = field(default=MADE_UP_SATURDAYS)
    silent: frozenset[date] = field(default=frozenset())

    def is_session(self, day: date) -> bool:
        """Whether the exchanges trade on ``day``."""
        if day in self.opened:
            return True
        return day not in self.closed and day not in self.silent and not rule_closed(day)

    def next_sessions(self, after: date, n: int) -> tuple[date, ...]:
        """The first ``n`` sessions strictly after ``after``, ascending."""
        found: list[date] = []
        day = after
        while len(found) < n:
            day += _DAY
            if self.is_session(day):
                found.append(day)
        return tuple(found)

    def sessions(self, start: date, end: date) -> Iterator[date]:
        """The sessions from ``start`` to ``end``, both included, ascending."""
        day = start
        while day <= end:
            if self.is_session(day):
                yield day
            day += _DAY

    def with_closed(self, days: Iterable[date]) -> TradingCalendar:
        """A calendar on which ``days`` are closed, whatever was known of them before."""
        days = frozenset(days)
        return replace(self, closed=self.closed | days, opened=self.opened - days)

    def with_opened(self, days: Iterable[date]) -> TradingCalendar:
        """A calendar on which ``days`` are sessions, whatever was known of them before."""
        days = frozenset(days)
        return TradingCalendar(self.closed - days, self.opened | days, self.silent - days)

    def without_silent(self) -> TradingCalendar:
        """This calendar for judging new rows: a row is what ends a day's silence."""
        return replace(self, silent=frozenset())

    def learn(self, bars: Mapping[date, int], companies: int) -> TradingCalendar:
        """This calendar, corrected by the days on which bars with volume exist.

        ``bars`` counts companies per day over the whole store, ``companies`` is how many there are.
        A weekday closed by rule was open if enough of them (`evidence`) traded on it. A Saturday
        is never learned: those that were sessions are known, and aggregators invent others. A
        session was closed (a typhoon, say) if nobody has a bar on it though enough have one on the
        session before it and on the one after. That it may be a hole in the data instead cannot be
        told from the bars: such a day becomes ``silent``.
        """
        enough = evidence(companies)
        traded = [day for day in sorted(bars) if bars[day] >= enough]
        calendar = self.with_opened(d for d in traded if d.weekday() < _SATURDAY and not self.is_session(d))
        silent = [
            day
            for before, after in pairwise(traded)
            # Longer silence is a hole in the data for certain: no closure has lasted over a week.
            if after - before <= timedelta(days=14)
            for day in calendar.sessions(before + _DAY, after - _DAY)
            if not bars.get(day)
        ]
        return replace(calendar, silent=calendar.silent | frozenset(silent))


def default_calendar() -> TradingCalendar:
    """The rules for 2015 to 2030 with the typhoon days and Saturdays known so far."""
    return TradingCalendar()
