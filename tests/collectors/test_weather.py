"""Whatever the sites do, for however long: in the end the store holds the truth, row for row."""

from __future__ import annotations

import random
import tempfile
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from standin import FAULTS, MEMORY, FakeClock, GeneratedMarket, StandIn
from standin.checks import ODDITIES, bars_of, check_log, check_requests

from stockllm.collectors.exrights import collect_exrights
from stockllm.collectors.http import Web
from stockllm.collectors.news_api import collect_news
from stockllm.collectors.planner import plan_prices, run_plan
from stockllm.collectors.schedule import collect_schedule
from stockllm.data.paths import Home
from stockllm.data.store import Store

START, END = date(2025, 3, 3), date(2025, 4, 11)
TYPHOONS = frozenset({date(2025, 3, 27)})

#: These make a client wait in earnest, as long as its patience lasts.
SLOW = ("hang", "drip")
#: Beside the first faults those that were seen later of the sites of prices.
ALL = (*FAULTS, "301", "refused_words", "false_no_data")
QUICK = tuple(name for name in ALL if name not in SLOW)


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


def live(
    market: GeneratedMarket,
    faults: list[str],
    seed: int,
    nights: int,
    patience: float = 30,
    certain: tuple[str, ...] = (),
) -> set[str]:
    """Let the faults come down, one a request, then let the sun shine until nothing is missing.

    One of ``faults`` that makes no sense for its request is lost, one of ``certain`` waits for another.
    Returns those that came down.
    """
    draw = random.Random(seed)
    clock = FakeClock(datetime.combine(START, time(18, 0)))
    left = list(faults)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        StandIn(market, clock, seed=seed) as site,
        Store.open(Home(Path(folder))) as store,
    ):
        site.choose = lambda: left.pop() if left and draw.random() < 0.7 else None
        site.order(*certain)
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
        return {seen.fault for seen in site.seen}


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
    befell = live(MARKET, [], 7, 6, patience=2, certain=tuple(sorted(ALL)))
    assert befell >= set(ALL)
