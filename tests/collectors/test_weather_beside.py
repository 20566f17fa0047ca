"""Evenings and mornings in any weather: in the end the store holds the truth, and nothing came early."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from standin import MEMORY, FakeClock, GeneratedMarket, StandIn
from standin import world as pages
from standin.checks import check_log, check_requests
from standin.clock import TAIPEI
from standin.faults import LINE, MORE_FAULTS

from stockllm.collectors.futures import collect_futures
from stockllm.collectors.http import Web
from stockllm.collectors.institutions import collect_flows
from stockllm.collectors.margin import collect_margin
from stockllm.collectors.market_day import EXCHANGES
from stockllm.collectors.new_york import collect_world
from stockllm.collectors.revenue import collect_revenue
from stockllm.data.paths import Home
from stockllm.data.store import Store

START, END = date(2025, 3, 31), date(2025, 4, 11)
#: They wait in earnest; `test_weather` has them.
SLOW = ("hang", "drip")
FAULTS = tuple(
    name
    for name in (
        *LINE,
        *MORE_FAULTS,
        "wrong_day",
        "wrong_code",
        "missing_rows",
        "no_columns",
        "chunked",
        "gzip",
    )
    if name not in SLOW
)
MARKET = GeneratedMarket(date(2025, 3, 24), END, seed=3)


def visit(site: StandIn, store: Store, clock: FakeClock, moment: datetime) -> int:
    """One refresh of an evening or a morning, in a process of its own; the requests that it sent."""
    clock.set(moment)
    before = len(site.seen)
    calendar = MARKET.calendar
    with Web(store.requests, site.settings(fewest_shares=2), clock) as web:
        collect_world(web, store)
        # There is no market after its last day.
        collect_futures(web, store, START, END if moment.date() > END else None, calendar=calendar)
        if moment.hour > 12:
            collect_flows(web, store, START, END, calendar=calendar)
            collect_margin(web, store, START, END, calendar=calendar)
            collect_revenue(web, store)
    return len(site.seen) - before


def nothing_early(site: StandIn, store: Store, now: datetime) -> None:
    """What a reader is given at ``now`` and at moments before was true and public by then."""
    sessions = {(s.day, s.night): s for s in site.world.sessions()}
    for until in (now, now - timedelta(hours=7), now - timedelta(days=3, hours=2)):
        for series, night in ((store.world.nights(until), True), (store.world.days(until), False)):
            for day, close in zip(series.days.tolist(), series.close.tolist(), strict=True):
                session = sessions[date.fromordinal(day), night]
                assert session.ends <= until
                assert session.prices[3] == close
        for symbol, bars in store.world.bars(None, until).items():
            for ordinal, close in zip(bars.days.tolist(), bars.close.tolist(), strict=True):
                day = date.fromordinal(ordinal)
                assert datetime.combine(day, time(16), pages.NEW_YORK) <= until
                assert site.world.bar(symbol, day)[3] == close
        for figures, hour in ((store.flows.all(until), 17), (store.margin.all(until), 22)):
            for ordinal in figures.days.tolist():
                public = datetime.combine(date.fromordinal(ordinal), time(hour), TAIPEI)
                assert public <= until


def holds_the_truth(site: StandIn, store: Store, now: datetime) -> None:
    days = [day for day in MARKET.sessions() if day >= START]
    for exchange in EXCHANGES:
        for code in site.world.codes(exchange):
            for figures, truth in (
                (store.flows.of(code), _flows),
                (store.margin.of(code), _balances),
            ):
                table = [figures[name].tolist() for name in figures.columns]
                assert [date.fromordinal(day) for day in figures.days.tolist()] == days
                assert list(zip(*table, strict=True)) == [truth(site, code, day) for day in days]
    over = list(site.world.sessions())  # those of March came with its last day
    for series, night in ((store.world.nights(), True), (store.world.days(), False)):
        assert series.close.tolist() == [s.prices[3] for s in over if s.night == night]
    closes = {day: datetime.combine(day, time(16), pages.NEW_YORK) for day in site.world.new_york_days()}
    through = [day for day, close in closes.items() if close <= now]
    for symbol, bars in store.world.bars().items():
        assert bars.close.tolist() == [site.world.bar(symbol, day)[3] for day in through]
    month = date(2025, 3, 1)
    revenue = store.revenue.all()
    for company in MARKET.companies:
        at = revenue.part(company.code).stop - 1
        assert date.fromordinal(revenue.days[at]) == month
        assert revenue["revenue"][at] == 1000 * site.world.revenue(company.code, month)
    assert store.bars.quarantined() == []


def _flows(site: StandIn, code: str, day: date) -> tuple[float, ...]:
    foreign, dealers, trust, dealer = site.world.flow(code, day)
    return (foreign + dealers, trust, dealer)


def _balances(site: StandIn, code: str, day: date) -> tuple[float, ...]:
    return tuple(1000 * lots for lots in site.world.balance(code, day))


def live(faults: list[str], seed: int, days: int, certain: tuple[str, ...] = ()) -> set[str]:
    """Let the faults come down on evenings and mornings, then let the sun shine; those that came down.

    One of ``faults`` that makes no sense for its request is lost, one of ``certain`` waits for another.
    """
    draw = random.Random(seed)
    clock = FakeClock(datetime.combine(START, time(5, 40)))
    left = list(faults)
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        StandIn(MARKET, clock, seed=seed) as site,
        Store.open(Home(Path(folder))) as store,
    ):
        site.choose = lambda: left.pop() if left and draw.random() < 0.7 else None
        site.order(*certain)
        sessions = [day for day in MARKET.sessions() if day >= START]
        visits = [datetime.combine(day, at) for day in sessions[-days:] for at in (time(5, 40), time(18, 30))]
        for moment in visits:
            visit(site, store, clock, moment)
            nothing_early(site, store, clock.now())
        # Twelve hours are the longest that a site is left alone.
        for extra in range(1, 30):
            day = END + timedelta(days=extra)
            sent = [
                visit(site, store, clock, datetime.combine(day, at)) for at in (time(5, 40), time(18, 30))
            ]
            if not left and extra > 3 and sent[0] <= 5:
                break
        else:
            pytest.fail("the weather never cleared")
        holds_the_truth(site, store, clock.now())
        nothing_early(site, store, clock.now())
        check_requests(site)
        check_log(site, store)
        return {seen.fault for seen in site.seen}


@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=40),
    seed=st.integers(0, 2**32),
    days=st.integers(1, 4),
)
def test_after_any_weather_the_store_holds_the_truth(faults: list[str], seed: int, days: int) -> None:
    live(faults, seed, days)


def test_every_fault_that_these_sources_have() -> None:
    assert live([], 11, 4, certain=tuple(sorted(FAULTS))) >= set(FAULTS)


def test_how_many_requests_a_day_takes(tmp_path: Path) -> None:
    clock = FakeClock(datetime.combine(START, time(18, 30)))
    with StandIn(MARKET, clock) as site, Store.open(Home(tmp_path)) as store:
        visit(site, store, clock, datetime(2025, 4, 9, 18, 30))
        morning = visit(site, store, clock, datetime(2025, 4, 10, 5, 40))
        evening = visit(site, store, clock, datetime(2025, 4, 10, 18, 30))
        assert morning <= 6
        # Two for the market's prices and two for its ex-dates come on top.
        assert evening + 4 <= 12
        assert store.world.nights(clock.now()).days[-1] == date(2025, 4, 10).toordinal()
        assert datetime.fromtimestamp(store.world.bars()["SOX"].known_at[-1], UTC).hour == 20
