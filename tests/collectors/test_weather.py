"""Whatever the sites do, for however long: in the end the store holds the truth, row for row."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from standin import FAULTS, MEMORY, FakeClock, GeneratedMarket, StandIn
from standin.faults import HARMLESS

from stockllm.collectors.exrights import collect_exrights
from stockllm.collectors.http import Web
from stockllm.collectors.news_api import collect_news
from stockllm.collectors.planner import plan_prices, run_plan
from stockllm.collectors.schedule import collect_schedule
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store

START, END = date(2025, 3, 3), date(2025, 4, 11)
TYPHOONS = frozenset({date(2025, 3, 27)})

#: These make a client wait in earnest, as long as its patience lasts.
SLOW = ("hang", "drip")
QUICK = tuple(name for name in FAULTS if name not in SLOW)

#: What a question without an answer can hide: there is nothing to spoil in it.
OF_THE_CONTENT = {"wrong_day", "wrong_month", "wrong_code", "missing_rows", "no_columns", *HARMLESS}

ODDITIES = {"no_trade", "zero_price", "duplicate", "not_a_session"}


def night(site: StandIn, store: Store, clock: FakeClock, day: date, patience: float) -> int:
    """One refresh's collecting half, in a process of its own; the jobs it could not do."""
    clock.set(datetime.combine(day, time(18, 30)))
    limits = {"request_timeout": patience, "answer_timeout": patience}
    with Web(store.requests, site.settings(fewest_shares=2, **limits), clock) as web:
        collect_schedule(web, store)
        collect_exrights(web, store, START)
        companies = site.market.companies
        plan = plan_prices(store, companies, START, now=clock.now(), settings=web.settings)
        report = run_plan(web, store, plan)
        collect_news(web, store, companies)
    return report.left


def bars_of(store: Store, market: GeneratedMarket) -> list[Bar]:
    return [replace(bar, source="") for c in market.companies for bar in store.bars.bars(c.code)]


def check_requests(site: StandIn) -> None:
    """Never two requests to a site within three seconds, never one through a bar or past a budget."""
    for name in {seen.site for seen in site.seen}:
        own = [seen for seen in site.seen if seen.site == name]
        for earlier, later in pairwise(own):
            assert later.at - earlier.at >= timedelta(seconds=3)
            if FAULTS.get(earlier.fault) == "blocked":
                assert later.at - earlier.at >= timedelta(hours=1)
    news = [seen.at for seen in site.seen if seen.kind == "news"]
    for at in news:
        assert sum(at - timedelta(hours=24) < other <= at for other in news) <= 100


def check_log(site: StandIn, store: Store) -> None:
    """Every request stands in the log, with what came of it."""
    log = {(row.site, row.at): row for row in store.requests.log(limit=100_000)}
    for seen in site.seen:
        row = log.pop((seen.site, seen.at))
        expected = {FAULTS[seen.fault] if seen.fault else "ok"}
        if expected == {"ok"} or seen.fault in OF_THE_CONTENT:
            expected.add("no_data")
        if seen.kind == "open":
            expected.add("wrong_answer")  # the open data know of no day after the market's last
        assert row.outcome in expected, (row, seen)
        assert (row.detail == "") == (row.outcome == "ok")
    # A machine with its hands full may not have let the stand-in see a request in time.
    assert {row.outcome for row in log.values()} <= {"outage"}


def live(market: GeneratedMarket, faults: list[str], seed: int, nights: int, patience: float = 30) -> None:
    """Let the faults come down, one a request, then let the sun shine until nothing is missing."""
    draw = random.Random(seed)
    clock = FakeClock(datetime.combine(START, time(18, 0)))
    left = list(faults)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        StandIn(market, clock, seed=seed) as site,
        Store.open(Home(Path(folder))) as store,
    ):
        site.choose = lambda: left.pop() if left and draw.random() < 0.7 else None
        sessions = [day for day in market.sessions() if day >= START]
        for day in [*sessions[:nights], sessions[-1]]:
            night(site, store, clock, day, patience)
        for extra in range(1, 30):
            if not night(site, store, clock, sessions[-1] + timedelta(days=extra), patience) and not left:
                break
        else:
            pytest.fail("the weather never cleared")
        night(site, store, clock, sessions[-1] + timedelta(days=31), patience)

        truth = [bar for bar in market.bars() if bar.date >= START]
        stored = bars_of(store, market)
        assert len({(bar.code, bar.date) for bar in stored}) == len(stored)
        assert stored == truth
        assert {row.reason for row in store.bars.quarantined()} <= ODDITIES
        calendar = store.calendar()
        asked = store.collected.days("TWSE").keys() & store.collected.days("TPEx").keys()
        asked = {day for day in asked if day <= END}  # there is no market after it
        assert [calendar.is_session(day) for day in asked] == [day not in TYPHOONS for day in asked]
        check_requests(site)
        check_log(site, store)


MARKET = GeneratedMarket(date(2025, 2, 3), END, typhoons=TYPHOONS, seed=3)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes a second: no shrinking
)
@given(
    faults=st.lists(st.sampled_from(QUICK), max_size=60),
    seed=st.integers(0, 2**32),
    nights=st.integers(0, 9),
)
def test_after_any_weather_the_store_holds_the_truth(faults: list[str], seed: int, nights: int) -> None:
    live(MARKET, faults, seed, nights)


def test_every_fault_once_and_the_slow_ones_too() -> None:
    live(MARKET, [*sorted(FAULTS), *sorted(QUICK)], 7, 6, patience=2)
