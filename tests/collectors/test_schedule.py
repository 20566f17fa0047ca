"""The holiday schedule, and the calendar that comes of it."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest
from standin import FakeClock, StandIn

from stockllm.collectors.failures import Unreadable, WrongAnswer
from stockllm.collectors.http import Web
from stockllm.collectors.schedule import collect_schedule, fetch_schedule
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar


def serve(site: StandIn, rows: list[list[str]]) -> None:
    site.answer = lambda *_: (200, json.dumps({"stat": "ok", "data": rows}).encode())  # type: ignore[method-assign]


def test_the_schedule_and_the_rules_agree(web: Web, real_store: Store, site: StandIn) -> None:
    report = collect_schedule(web, real_store)
    assert report.years == (2025,)
    assert report.unknown == report.failures == ()
    assert site.seen[0].asked == {"response": "json", "date": "20250101"}
    calendar = real_store.calendar()
    rules = default_calendar()
    year = [date.fromordinal(n) for n in range(date(2025, 1, 1).toordinal(), date(2026, 1, 1).toordinal())]
    assert [calendar.is_session(d) for d in year] == [rules.is_session(d) for d in year]


def test_rows_that_are_sessions_after_all(web: Web, site: StandIn) -> None:
    serve(
        site,
        [
            ["2025-01-01", "中華民國開國紀念日", "依規定放假1日。"],
            ["2025-01-02", "國曆新年開始交易日", "國曆新年開始交易。"],
            ["2025-01-22", "農曆春節前最後交易日", "農曆春節前最後交易。<br>次日起放假"],
            ["1140123", "市場無交易，僅辦理結算交割作業", ""],
            ["2025-02-28", "和平紀念日", "補假"],
            ["2025-03-01", "週六", "說明"],
            ["2025-03-04", "某某日", "沒有人知道"],
        ],
    )
    assert {day.isoformat(): is_open for day, (is_open, _) in fetch_schedule(web, 2025).items()} == {
        "2025-01-01": False,
        "2025-01-02": True,
        "2025-01-22": True,
        "2025-01-23": False,
        "2025-02-28": False,
        "2025-03-04": None,
    }


def test_the_schedule_wins_over_the_rules_where_it_speaks(web: Web, real_store: Store, site: StandIn) -> None:
    rules = default_calendar()
    assert rules.is_session(date(2025, 4, 8))
    assert not rules.is_session(date(2025, 5, 30))  # the Dragon Boat Festival, by rule
    assert not rules.is_session(date(2025, 10, 6))
    serve(site, [["2025-04-08", "臨時假日", "放假1日"], ["2025-10-06", "中秋節", "沒有人知道"]])
    report = collect_schedule(web, real_store)
    assert report.unknown == ("2025-10-06 中秋節 沒有人知道",)
    calendar = real_store.calendar()
    assert not calendar.is_session(date(2025, 4, 8))
    assert calendar.is_session(date(2025, 5, 30))  # not in the schedule, so no holiday
    assert not calendar.is_session(date(2025, 10, 6))  # named and not told: the rule decides
    assert not calendar.is_session(date(2025, 4, 12))  # no schedule opens a Saturday by silence
    assert not calendar.is_session(date(2024, 7, 24))  # nor a typhoon of another year


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([["2024-01-01", "x", "放假"]], WrongAnswer),
        ([["?", "x"]], Unreadable),
        ([["2025-01-01"]], Unreadable),
    ],
)
def test_a_wrong_schedule_changes_nothing(
    web: Web, real_store: Store, site: StandIn, rows: list[list[str]], error: type[Exception]
) -> None:
    serve(site, rows)
    with pytest.raises(error):
        fetch_schedule(web, 2025)
    report = collect_schedule(web, real_store)
    assert report.years == ()
    assert len(report.failures) == 1
    assert real_store.collected.schedule() == {}


def test_years_are_asked_for_when_they_are_due(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    assert collect_schedule(web, real_store, date(2023, 5, 1)).years == (2023, 2024, 2025)
    assert collect_schedule(web, real_store, date(2023, 5, 1)).years == ()
    clock.set(datetime(2025, 4, 17, 18, 30))
    assert collect_schedule(web, real_store, date(2023, 5, 1)).years == (2025,)
    clock.set(datetime(2025, 11, 3, 18, 30))
    assert collect_schedule(web, real_store).years == (2025, 2026)


def test_next_year_may_not_be_out_yet(web: Web, real_store: Store, site: StandIn, clock: FakeClock) -> None:
    clock.set(datetime(2025, 11, 3, 18, 30))
    serve(site, [])
    report = collect_schedule(web, real_store)
    assert (report.years, report.failures) == ((), ())
