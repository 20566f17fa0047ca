"""The moments from which figures are known."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from stockllm.market.moments import (
    TAIPEI,
    bars_known,
    end_of,
    flows_known,
    futures_known,
    margin_known,
    new_york_close,
    night_begins,
    night_known,
    revenue_known,
)


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        (date(2025, 3, 7), datetime(2025, 3, 7, 21, tzinfo=UTC)),  # the Friday before summer time
        (date(2025, 3, 10), datetime(2025, 3, 10, 20, tzinfo=UTC)),  # and the Monday after
        (date(2025, 10, 31), datetime(2025, 10, 31, 20, tzinfo=UTC)),
        (date(2025, 11, 3), datetime(2025, 11, 3, 21, tzinfo=UTC)),
    ],
)
def test_new_york_closes_at_four_by_its_own_clock(day: date, utc: datetime) -> None:
    assert new_york_close(day) == utc


@pytest.mark.parametrize(
    ("day", "ends"),
    [
        (date(2025, 9, 24), date(2025, 9, 24)),  # a Wednesday's night began on Tuesday
        (date(2025, 9, 22), date(2025, 9, 20)),  # a Monday's began on Friday and ended on Saturday
        (date(2025, 2, 3), date(2025, 1, 23)),  # the Lunar New Year: the last session was 22 January
        (date(2025, 10, 7), date(2025, 10, 4)),  # 6 October is closed
        (date(2017, 6, 5), date(2017, 6, 4)),  # 3 June 2017 was a Saturday with a session
        # A typhoon's day is closed and yet has a night that leads to it; the one after ends a day later.
        (date(2023, 8, 3), date(2023, 8, 3)),
        (date(2023, 8, 4), date(2023, 8, 4)),
    ],
)
def test_a_night_ends_on_the_morning_after_the_trading_day_before(day: date, ends: date) -> None:
    end = night_known(day).astimezone(TAIPEI)
    assert (end.date(), end.hour, end.minute) == (ends, 5, 0)
    assert night_known(day) - night_begins(day) == timedelta(hours=14)


def test_a_session_that_no_rule_gives_makes_the_night_later_never_sooner() -> None:
    saturday = date(2025, 9, 20)
    assert night_known(date(2025, 9, 22), {saturday}).astimezone(TAIPEI).date() == date(2025, 9, 21)


def test_the_days_order() -> None:
    day = date(2025, 9, 24)
    moments = [bars_known(day), futures_known(day), flows_known(day), end_of(day), margin_known(day)]
    assert moments == sorted(moments)
    assert end_of(day).astimezone(TAIPEI).date() == day
    assert end_of(date.max).year == 9999


def test_revenue_is_due_in_the_middle_of_the_next_month() -> None:
    assert revenue_known(2025, 12).astimezone(TAIPEI).date() == date(2026, 1, 16)
