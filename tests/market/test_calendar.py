"""The calendar against the record, the moon and the law."""

from __future__ import annotations

import csv
import math
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.market.calendar import _LUNAR, RULE_YEARS, TradingCalendar, default_calendar

DAY = timedelta(days=1)
KNOWN_DAYS = st.dates(date(2015, 1, 1), date(2030, 12, 31))


def _new_moon(k: int) -> float:
    """Julian day (UT) of new moon ``k`` counted from January 2000; good to some minutes.

    Meeus, Astronomical Algorithms, chapter 49, with the larger periodic terms.
    """
    t = k / 1236.85
    jde = 2451550.09766 + 29.530588861 * k + 0.00015437 * t * t
    sun = math.radians(2.5534 + 29.1053567 * k)
    moon = math.radians(201.5643 + 385.81693528 * k + 0.0107582 * t * t)
    node = math.radians(160.7108 + 390.67050284 * k - 0.0016118 * t * t)
    eccentricity = 1 - 0.002516 * t
    jde += (
        -0.40720 * math.sin(moon)
        + 0.17241 * eccentricity * math.sin(sun)
        + 0.01608 * math.sin(2 * moon)
        + 0.01039 * math.sin(2 * node)
        + 0.00739 * eccentricity * math.sin(moon - sun)
        - 0.00514 * eccentricity * math.sin(moon + sun)
        + 0.00208 * eccentricity**2 * math.sin(2 * sun)
    )
    return jde - 70 / 86400  # dynamical to universal time, within a few seconds for 2000 to 2030


def _day_in_taipei(julian_day: float) -> date:
    return date(2000, 1, 1) + timedelta(days=math.floor(julian_day + 8 / 24 - 2451544.5))


def _month_begins(near: date) -> date:
    k = round((near - date(2000, 1, 6)).days / 29.530588861)
    return min((_day_in_taipei(_new_moon(k + i)) for i in (-1, 0, 1)), key=lambda d: abs(d - near))


def _solar_longitude(day: date, hour_ut: float) -> float:
    """Apparent longitude of the sun in degrees (Meeus chapter 25, low accuracy)."""
    t = ((day - date(2000, 1, 1)).days + hour_ut / 24 - 0.5) / 36525
    mean = 280.46646 + 36000.76983 * t
    anomaly = math.radians(357.52911 + 35999.05029 * t)
    centre = 1.914602 * math.sin(anomaly) + 0.019993 * math.sin(2 * anomaly)
    return (mean + centre - 0.00569 - 0.00478 * math.sin(math.radians(125.04 - 1934.136 * t))) % 360


@pytest.mark.parametrize("year", RULE_YEARS)
def test_lunar_days_follow_the_moon(year: int) -> None:
    new_year, dragon_boat, mid_autumn = _LUNAR[year]
    assert _month_begins(new_year) == new_year
    assert _month_begins(dragon_boat - 4 * DAY) == dragon_boat - 4 * DAY
    assert _month_begins(mid_autumn - 14 * DAY) == mid_autumn - 14 * DAY
    # The year begins with the month in which the sun passes 330 degrees.
    start, end = _solar_longitude(new_year, -8), _solar_longitude(_month_begins(new_year + 30 * DAY), -8)
    assert start < 330 <= end


@pytest.mark.parametrize("year", RULE_YEARS)
def test_tomb_sweeping_day_follows_the_sun(year: int) -> None:
    """The solar term is the day, in Taipei, on which the sun passes 15 degrees."""
    qingming = date(year, 4, 5 if year % 4 > 1 else 4)
    assert _solar_longitude(qingming, -8) < 15 <= _solar_longitude(qingming, 16)


def _traded_days(folder: Path) -> set[date]:
    days = set()
    for path in folder.glob("*.csv"):
        with path.open(newline="") as rows:
            days |= {date.fromisoformat(row["date"]) for row in csv.DictReader(rows)}
    return days


def test_every_session_of_the_record(shared_dir: Path) -> None:
    traded = _traded_days(shared_dir / "market" / "official")
    assert len(traded) > 2700
    assert set(default_calendar().sessions(min(traded), max(traded))) == traded


def test_every_day_of_the_universe_is_a_session(shared_dir: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared_dir / "market" / "universe.parquet", columns=["date"])
    traded = {moment.date() for moment in table["date"].unique().to_pylist()}
    assert set(default_calendar().sessions(min(traded), max(traded))) == traded


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2025-01-23", "settlement only"),
        ("2025-01-24", "settlement only"),
        ("2025-01-27", "the eve's eve, moved off"),
        ("2025-09-29", "28 September on a Sunday"),
        ("2025-10-24", "25 October on a Saturday"),
        ("2026-02-20", "the eve's eve on a Sunday, moved on past the block"),
        ("2026-12-25", "Constitution Day"),
        ("2027-04-06", "4 April on a Sunday, the 5th taken"),
        ("2027-12-31", "1 January 2028 on a Saturday"),
        ("2021-12-31", "1 January 2022 on a Saturday"),
        ("2024-10-31", "typhoon"),
        ("2019-12-28", "a Saturday"),
    ],
)
def test_closed(day: str, why: str) -> None:
    assert not default_calendar().is_session(date.fromisoformat(day)), why


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2024-09-16", "no bridge days since 2024"),
        ("2018-04-30", "Labour Day is never bridged"),
        ("2018-12-22", "a Saturday made up"),
        ("2025-12-26", "a Friday after a Thursday's holiday, no bridge"),
        ("2024-12-25", "before the law of 2025"),
    ],
)
def test_open(day: str, why: str) -> None:
    assert default_calendar().is_session(date.fromisoformat(day)), why


def test_next_sessions_step_over_the_lunar_new_year() -> None:
    days = default_calendar().next_sessions(date(2026, 2, 10), 3)
    assert days == (date(2026, 2, 11), date(2026, 2, 23), date(2026, 2, 24))


@given(KNOWN_DAYS, st.integers(0, 30))
def test_next_sessions_are_the_sessions_between(day: date, n: int) -> None:
    calendar = default_calendar()
    days = calendar.next_sessions(day, n)
    assert len(days) == n
    if days:
        assert tuple(calendar.sessions(day + DAY, days[-1])) == days
        assert all(d.weekday() < 5 or d in calendar.opened for d in days)


@given(KNOWN_DAYS)
def test_overrides_win_over_rules(day: date) -> None:
    calendar = default_calendar()
    assert not calendar.with_closed([day]).is_session(day)
    assert calendar.with_opened([day]).is_session(day)
    assert calendar.with_opened([day]).with_closed([day]).with_opened([day]).is_session(day)


def _counts(calendar: TradingCalendar, start: date, end: date, companies: int) -> dict[date, int]:
    return dict.fromkeys(calendar.sessions(start, end), companies)


def test_learns_a_typhoon_and_a_holiday_that_was_none() -> None:
    calendar = default_calendar()
    bars = _counts(calendar, date(2025, 7, 1), date(2025, 10, 31), 41)
    typhoon, holiday = date(2025, 8, 13), date(2025, 10, 24)
    del bars[typhoon]
    bars[holiday] = 40
    learned = calendar.learn(bars, 41)
    assert not learned.is_session(typhoon)
    assert learned.is_session(holiday)
    assert learned.is_session(date(2025, 8, 14))
    assert learned.without_silent().is_session(typhoon), "a bar that turns up after all is welcome"
    assert learned.with_opened([typhoon]).is_session(typhoon)


def test_learns_nothing_from_a_phantom_row_or_a_hole() -> None:
    calendar = default_calendar()
    bars = _counts(calendar, date(2025, 7, 1), date(2025, 8, 29), 41)
    bars[date(2025, 8, 16)] = 41  # a Saturday that an aggregator made up for everybody
    bars[date(2025, 8, 1)] = 1  # one company alone has this day
    assert calendar.learn(bars, 41) == calendar
    few = _counts(calendar, date(2025, 7, 1), date(2025, 8, 29), 5)
    del few[date(2025, 8, 13)]
    assert calendar.learn(few, 5) == calendar
    hole = _counts(calendar, date(2024, 1, 2), date(2024, 1, 31), 41)
    hole |= _counts(calendar, date(2024, 6, 3), date(2024, 6, 28), 41)
    assert calendar.learn(hole, 41) == calendar
    assert calendar.learn({}, 0) == calendar
