"""Which way needs fewer requests, what a plan promises, and that nothing is asked for twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.http import Web
from stockllm.collectors.market_day import collect_day
from stockllm.collectors.planner import Job, Plan, _cheapest, plan_prices, run_plan
from stockllm.data.records import Bar
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import COMPANIES, Company

START = date(2025, 3, 3)


def plan(
    store: Store, companies: tuple[Company, ...], start: date, now: datetime, end: date | None = None
) -> Plan:
    return plan_prices(store, companies, start, end, now=now, settings=Settings())


def test_a_backfill_of_the_41(real_store: Store) -> None:
    """From December 2024 to March 2026, as the reference would ask for them: 41 x 16 months."""
    now = FakeClock(datetime(2026, 3, 31, 18, 30)).now()
    whole = plan(real_store, COMPANIES, date(2024, 12, 1), now)
    assert whole.stock_months == 41 * 16
    by_market = {market: [job for job in whole.jobs if job.market == market] for market in ("TWSE", "TPEx")}
    sessions = list(default_calendar().sessions(date(2024, 12, 1), date(2026, 3, 31)))
    assert len(by_market["TWSE"]) == len(sessions)  # 33 shares are dearer than 20 days
    assert len(by_market["TPEx"]) == 8 * 16  # and 8 are cheaper
    assert len(whole.jobs) == len(sessions) + 128 < 0.7 * whole.stock_months
    assert whole.days + whole.months == len(whole.jobs)
    # The sites are asked in turn: three seconds a pair, not three a request.
    assert [job.market for job in whole.jobs[:4]] == ["TWSE", "TPEx", "TWSE", "TPEx"]
    assert 3 * len(sessions) <= whole.seconds <= 3 * len(whole.jobs)


def test_a_night_is_two_requests(real_store: Store) -> None:
    days = list(default_calendar().sessions(date(2025, 4, 1), date(2025, 4, 8)))
    real_store.bars.put(Bar(c.code, d, 10, 10, 10, 10, 1, "x") for c in COMPANIES for d in days)
    now = FakeClock(datetime(2025, 4, 9, 18, 30)).now()
    tonight = plan(real_store, COMPANIES, date(2025, 4, 1), now)
    assert [(job.market, job.day, job.company) for job in tonight.jobs] == [
        ("TWSE", date(2025, 4, 9), None),
        ("TPEx", date(2025, 4, 9), None),
    ]


def test_a_company_that_lacks_a_month_among_others_that_lack_a_day(real_store: Store) -> None:
    days = list(default_calendar().sessions(date(2025, 4, 1), date(2025, 4, 8)))
    others = [c for c in COMPANIES if c.code != "2330"]
    real_store.bars.put(Bar(c.code, d, 10, 10, 10, 10, 1, "x") for c in others for d in days)
    now = FakeClock(datetime(2025, 4, 9, 18, 30)).now()
    jobs = plan(real_store, COMPANIES, date(2025, 4, 1), now).jobs
    tsmc = next(c for c in COMPANIES if c.code == "2330")
    assert set(jobs) == {
        Job("TWSE", date(2025, 4, 1), tsmc),
        Job("TWSE", date(2025, 4, 9)),
        Job("TPEx", date(2025, 4, 9)),
    }


@given(st.dictionaries(st.sampled_from(COMPANIES[:7]), st.sets(st.integers(0, 9), min_size=1), max_size=7))
def test_no_split_of_the_companies_is_cheaper_by_prefix(lacking: dict[Company, set[int]]) -> None:
    days = {company: [START + timedelta(days=n) for n in found] for company, found in lacking.items()}
    months, asked = _cheapest(days)
    everybody = set().union(*map(set, days.values()))
    assert len(months) + len(asked) <= min(len(days), len(everybody))
    for company, wanted in days.items():
        assert company in months or set(wanted) <= asked


def test_a_plan_is_done_once(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings
) -> None:
    first = plan_prices(real_store, market.companies, START, now=web.clock.now(), settings=settings)
    seen: list[tuple[int, int]] = []
    report = run_plan(web, real_store, first, progress=lambda done, total: seen.append((done, total)))
    assert (report.jobs, report.done, report.left, report.failures) == (
        len(first.jobs),
        len(first.jobs),
        0,
        [],
    )
    assert seen == [(n, len(first.jobs)) for n in range(1, len(first.jobs) + 1)]
    assert len(site.seen) == len(first.jobs)
    again = plan_prices(real_store, market.companies, START, now=web.clock.now(), settings=settings)
    assert again.jobs == ()
    stored = [
        replace(b, source="", reference=None) for c in market.companies for b in real_store.bars.bars(c.code)
    ]
    assert stored == [replace(bar, reference=None) for bar in market.bars(web.clock.now())]


def test_what_fails_is_in_the_next_plan(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings
) -> None:
    def now() -> Plan:
        return plan_prices(real_store, market.companies, START, now=web.clock.now(), settings=settings)

    site.order(*["500"] * 3)
    report = run_plan(web, real_store, now())
    assert (report.left, len(report.failures), report.stopped) == (1, 1, {})
    assert len(now().jobs) == 1
    assert run_plan(web, real_store, now()).left == 0


def test_a_site_that_turns_us_away_is_left_and_the_other_goes_on(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings
) -> None:
    whole = plan_prices(real_store, market.companies, START, now=web.clock.now(), settings=settings)
    site.order("403", route="STOCK_DAY")
    report = run_plan(web, real_store, whole)
    assert list(report.stopped) == ["TWSE"]
    assert site.count("twse") == 1
    assert report.done == sum(job.market == "TPEx" for job in whole.jobs)


def test_a_site_that_keeps_failing_is_left(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings
) -> None:
    whole = plan_prices(
        real_store, market.companies, START, now=web.clock.now(),
        settings=settings, calendar=default_calendar(),
    )  # fmt: skip
    site.choose = lambda: "500"
    report = run_plan(web, real_store, whole)
    assert set(report.stopped) <= {"TWSE", "TPEx"}
    assert report.done == 0
    assert site.count() <= 2 * 3 * 3


def test_a_typhoon_evening_is_asked_about_once_more(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, clock: FakeClock, settings: Settings
) -> None:
    typhoon = date(2025, 3, 27)
    early = FakeClock(datetime(2025, 3, 27, 18, 30))
    site.clock = early
    real_store.bars.put(
        Bar(c.code, d, 10, 10, 10, 10, 1, "x")
        for c in market.companies
        for d in market.sessions()
        if d < typhoon
    )
    with Web(real_store.requests, settings, early) as that_evening:
        for expected in (2, 0):
            tonight = plan_prices(real_store, market.companies, START, now=early.now(), settings=settings)
            assert len(tonight.jobs) == expected
            run_plan(that_evening, real_store, tonight)
        assert not real_store.calendar().is_session(typhoon)
        early.set(datetime(2025, 3, 28, 18, 30))
        next_night = plan_prices(real_store, market.companies, START, now=early.now(), settings=settings)
        assert sorted({job.day for job in next_night.jobs}) == [typhoon, date(2025, 3, 28)]
        run_plan(that_evening, real_store, next_night)
        early.set(datetime(2025, 3, 31, 9, 0))
        assert plan_prices(real_store, market.companies, START, now=early.now(), settings=settings).jobs == ()


def test_an_exchange_that_alone_has_nothing_is_asked_again_for_a_while(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, clock: FakeClock, settings: Settings
) -> None:
    day = date(2025, 4, 9)
    site.market = replace(market, quotes={}, typhoons=frozenset({day}))
    collect_day(web, real_store, "TPEx", day)
    site.market = market
    collect_day(web, real_store, "TWSE", day)

    def jobs() -> set[date]:
        found = plan_prices(real_store, market.companies, day, day, now=clock.now(), settings=settings)
        return {job.day for job in found.jobs if job.company is None}

    assert jobs() == {day}
    clock.set(datetime(2025, 4, 21, 18, 30))
    site.market = replace(market, quotes={}, typhoons=frozenset({day}))
    collect_day(web, real_store, "TPEx", day)
    assert jobs() == set()  # ten days are enough; health will say that the day is missing


def test_rows_refused_from_a_file_do_not_fill_a_gap(
    web: Web, real_store: Store, market: GeneratedMarket, settings: Settings
) -> None:
    from stockllm.data.records import QuarantinedRow

    now = web.clock.now()
    day = date(2025, 4, 9)
    real_store.bars.quarantine(
        QuarantinedRow("x.csv", 1, c.code, day, "open_outside_range", "") for c in market.companies
    )
    assert plan_prices(real_store, market.companies, day, day, now=now, settings=settings).days == 2


def test_companies_are_not_asked_for_before_they_were_listed(real_store: Store) -> None:
    late = replace(COMPANIES[0], listed_since=date(2025, 4, 8))
    now = FakeClock(datetime(2025, 4, 9, 18, 30)).now()
    assert plan(real_store, (late,), date(2025, 1, 1), now).stock_months == 1


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_plan_in_words(real_store: Store, language: str) -> None:
    now = FakeClock(datetime(2026, 3, 31, 18, 30)).now()
    whole = plan(real_store, COMPANIES, date(2024, 12, 1), now)
    first, second = whole.lines(language)
    assert str(len(whole.jobs)) in first
    assert str(whole.stock_months) in second
    assert "20 min" in first or "20 分" in first
    nothing = replace(whole, jobs=())
    assert len(nothing.lines(language)) == 1
    document = whole.document()
    assert document["requests"] == document["market_days"] + document["stock_months"] == len(whole.jobs)
