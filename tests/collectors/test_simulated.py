"""The simulated market: every candle possible, the same for the same seed, and shaped like a market."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockllm.collectors import simulated
from stockllm.collectors.simulated import SimulatedMarket, simulate, write
from stockllm.collectors.simulated_draws import TRAITS
from stockllm.collectors.simulated_world import Nights, SimulatedWorld, put
from stockllm.data.errors import StockllmError, StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.calendar import TYPHOONS, default_calendar
from stockllm.market.companies import COMPANIES
from stockllm.market.moments import at_taipei, end_of, new_york_close
from stockllm.market.ticks import limits, round_to_tick

END = date(2026, 3, 31)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(END)


def by_company(market: SimulatedMarket) -> dict[str, list[Bar]]:
    bars = defaultdict(list)
    for bar in market.bars:
        bars[bar.code].append(bar)
    return bars


def returns(bars: Sequence[Bar]) -> np.ndarray:
    """Log returns from the reference price, ex-dates included."""
    return np.log([bar.close / (bar.reference or before.close) for before, bar in itertools.pairwise(bars)])


def world_of(market: SimulatedMarket) -> SimulatedWorld:
    assert market.world is not None
    return market.world


def answers(market: SimulatedMarket, part: str) -> dict[str, float]:
    """Each stock's correlation with the TX night before its session, of a part of the session's move."""
    night = world_of(market).futures["night"]
    moves = dict(zip(night.days.tolist(), night.columns["change_pct"].tolist(), strict=True))
    found = {}
    for code, bars in by_company(market).items():
        heard = [moves[bar.date.toordinal()] for bar in bars[1:]]
        told = {
            "day": returns(bars),
            "open": [np.log(b.open / (b.reference or a.close)) for a, b in itertools.pairwise(bars)],
            "after the open": [np.log(bar.close / bar.open) for bar in bars[1:]],
        }[part]
        found[code] = float(np.corrcoef(heard, told)[0, 1])
    return found


def impossible(market: SimulatedMarket) -> list[tuple[Bar, str]]:
    """Every bar that could not have been traded, and why."""
    calendar = default_calendar()
    found = []
    for bars in by_company(market).values():
        previous: Bar | None = None
        for bar in bars:
            if not 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
                found.append((bar, "candle"))
            if any(round_to_tick(p) != p for p in (bar.open, bar.high, bar.low, bar.close)):
                found.append((bar, "tick"))
            if not calendar.is_session(bar.date):
                found.append((bar, "session"))
            if bar.volume <= 0 or not bar.trades or bar.trades > bar.volume:
                found.append((bar, "volume"))
            if (
                bar.value is None
                or not bar.volume * bar.low <= 100 * bar.value + 100 <= bar.volume * bar.high + 100
            ):
                found.append((bar, "value"))
            if bar.source != "simulated" or bar.flags:
                found.append((bar, "source"))
            reference = bar.reference or (previous.close if previous else None)
            if reference is not None:
                down, up = limits(reference, bar.date)
                if not down <= bar.low <= bar.high <= up:
                    found.append((bar, "limit"))
            if previous and bar.date <= previous.date:
                found.append((bar, "order"))
            previous = bar
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**63),
    sessions=st.integers(1, 80),
    end=st.dates(date(2016, 6, 1), date(2030, 12, 31)),
)
def test_every_candle_could_have_been_traded(seed: int, sessions: int, end: date) -> None:
    made = simulate(end, sessions, seed)
    assert impossible(made) == []
    assert len(made.sessions) == sessions
    assert made.sessions[-1] <= end
    assert {bar.date for bar in made.bars} <= set(made.sessions)


def test_the_demo_itself_is_possible_and_whole(market: SimulatedMarket) -> None:
    assert impossible(market) == []
    assert list(by_company(market)) == [c.code for c in COMPANIES]
    assert len(market.sessions) == 500
    assert market.sessions[-1] == END
    assert market.sessions == tuple(default_calendar().sessions(market.sessions[0], END))


def test_the_check_for_impossible_bars_finds_them(market: SimulatedMarket) -> None:
    from dataclasses import replace

    bar = market.bars[50]
    for change in (
        {"high": bar.low - 1},
        {"close": bar.close + 1, "high": bar.high + 1000},
        {"date": date(2026, 2, 28)},
        {"volume": 0},
        {"reference": bar.close // 2},
        {"source": "exchange"},
    ):
        bent = SimulatedMarket(market.sessions, (*market.bars[:50], replace(bar, **change)), {})
        assert impossible(bent), change


def test_the_same_arguments_give_the_same_market() -> None:
    first, again, other = (simulate(END, 40, seed) for seed in (7, 7, 8))
    assert first == again
    assert first.bars != other.bars
    for kind in ("symbols", "futures", "flows"):
        assert getattr(world_of(first), kind) == getattr(world_of(again), kind)
        assert getattr(world_of(first), kind) != getattr(world_of(other), kind)


def test_every_company_has_traits_of_its_own() -> None:
    assert set(TRAITS) == {c.code for c in COMPANIES}
    assert len(set(TRAITS.values())) == len(TRAITS)


def test_returns_have_fat_tails_and_clustered_volatility(market: SimulatedMarket) -> None:
    kurtosis, clustering, wide_days, volatility = [], [], [], []
    for bars in by_company(market).values():
        moves = returns(bars)
        size = np.abs(moves)
        volatility.append(moves.std())
        kurtosis.append(((moves - moves.mean()) ** 4).mean() / moves.var() ** 2)
        clustering.append(np.corrcoef(size[1:], size[:-1])[0, 1])
        spread = np.log([bar.high / bar.low for bar in bars])
        wide_days.append(np.corrcoef(spread, np.log([bar.volume for bar in bars]))[0, 1])
    assert np.median(kurtosis) > 3.5
    assert min(kurtosis) > 3
    assert np.mean(clustering) > 0.05
    assert np.mean(np.array(clustering) > 0) > 0.9
    assert np.mean(wide_days) > 0.4
    assert 0.015 < np.mean(volatility) < 0.035


def test_stocks_share_a_market_and_industries_more_than_that(market: SimulatedMarket) -> None:
    moves = {
        c: dict(zip([b.date for b in bars[1:]], returns(bars), strict=True))
        for c, bars in by_company(market).items()
    }
    shared = sorted(set.intersection(*map(set, moves.values())))
    together = np.corrcoef([[moves[c.code][day] for day in shared] for c in COMPANIES])
    same = np.array([[a.industry == b.industry for a in COMPANIES] for b in COMPANIES])
    apart = ~np.eye(len(COMPANIES), dtype=bool)
    assert together[apart].mean() > 0.1
    assert together[same & apart].mean() > together[~same].mean()


def test_limit_runs_ex_dates_and_idle_days_happen(market: SimulatedMarket) -> None:
    in_a_row, ex_dates, gaps = 0, 0, {}
    for code, bars in by_company(market).items():
        locked = [
            bar.close in limits(bar.reference or before.close, bar.date)
            for before, bar in itertools.pairwise(bars)
        ]
        in_a_row += sum(a and b for a, b in itertools.pairwise(locked))
        paid = [(before, bar) for before, bar in itertools.pairwise(bars) if bar.reference]
        assert all(bar.reference is not None and bar.reference <= before.close for before, bar in paid)
        ex_dates += len(paid)
        gaps[code] = len(market.sessions) - len(bars)
    assert in_a_row >= 5
    assert ex_dates >= 41
    idle = {code for code, missing in gaps.items() if missing}
    least = sorted(TRAITS, key=lambda code: TRAITS[code][1])[:5]
    assert idle <= set(least)
    assert sum(gaps.values()) > 5


def test_a_company_has_no_bars_before_it_was_listed() -> None:
    made = by_company(simulate(date(2019, 4, 30), 60, 1))
    wiwynn = next(c for c in COMPANIES if c.code == "6669")
    assert wiwynn.listed_since > made["2330"][0].date
    assert made["6669"][0].date >= wiwynn.listed_since


def test_every_headline_says_it_is_simulated_and_tells_no_future(market: SimulatedMarket) -> None:
    for code, articles in market.articles.items():
        assert len(articles) >= 4
        assert {article.language for article in articles} == {"zh", "en"}
        for article in articles:
            assert "模擬" in article.title
            assert article.source == "simulated"
            assert article.published_at.utcoffset() is not None
            assert article.published_at.date() in market.sessions
            assert article.url.startswith(f"https://simulated.invalid/{code}/")
    assert len({a.url for articles in market.articles.values() for a in articles}) == sum(
        map(len, market.articles.values())
    )


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**63))
def test_the_night_moves_the_next_session(seed: int) -> None:
    made = simulate(END, 250, seed)
    of_day, of_open = answers(made, "day"), answers(made, "open")
    assert np.mean(list(of_day.values())) > 0.2
    assert np.mean(list(of_open.values())) > np.mean(list(of_day.values()))
    assert np.median(list(answers(made, "after the open").values())) < 0.2
    chips = {c.code for c in COMPANIES if c.industry == "半導體業"}
    others = [value for code, value in of_day.items() if code not in chips]
    assert np.mean([of_day[code] for code in chips]) > np.mean(others)


def test_a_longer_silence_in_taiwan_lets_more_of_new_york_in() -> None:
    """After the Lunar New Year several of New York's days are answered at once; TX heard the first."""
    days = tuple(default_calendar().sessions(date(2026, 2, 1), date(2026, 3, 6)))
    first, *sessions = days
    nights = Nights.draw(np.random.default_rng(1), first, sessions, np.zeros(len(sessions)))
    longest = max(range(1, len(sessions)), key=lambda i: sessions[i] - sessions[i - 1])
    assert sessions[longest] - sessions[longest - 1] > timedelta(days=9)
    assert nights.level[longest, 0] > 2 * np.median(nights.level[:, 0])
    between = [i for i, day in enumerate(nights.days) if sessions[longest - 1] <= day < sessions[longest]]
    assert len(between) >= 6
    scale = nights.word[longest] / nights.factors[between].sum(axis=0)
    assert nights.first[longest] == pytest.approx(nights.factors[between[0]] * scale)


def test_every_figure_of_the_world_is_known_from_its_own_moment(market: SimulatedMarket) -> None:
    world, sessions = world_of(market), market.sessions
    (after,) = default_calendar().next_sessions(sessions[-1], 1)
    assert set(world.symbols) == {"SOX", "SPX", "TSM"}
    for table in world.symbols.values():
        for day, known in zip(table.days.tolist(), table.known_at.tolist(), strict=True):
            assert known == new_york_close(date.fromordinal(day)).timestamp()
        assert date.fromordinal(int(table.days[-1])) < after
    night, day = world.futures["night"], world.futures["day"]
    assert day.days.tolist() == [session.toordinal() for session in sessions]
    assert night.days.tolist() == [session.toordinal() for session in (*sessions, after)]
    for before, session, known in zip(sessions, (*sessions[1:], after), night.known_at[1:], strict=True):
        # It runs from the afternoon of the session before to 05:00 of the day after that; past a typhoon's
        # day it counts as known later.
        if not any(before < day < session for day in TYPHOONS):
            assert known == at_taipei(before + timedelta(days=1), 5).timestamp()
        assert at_taipei(before + timedelta(days=1), 5).timestamp() <= known
        assert known < at_taipei(session, 9).timestamp()
    for held, known in zip(sessions, day.known_at.tolist(), strict=True):
        assert known == at_taipei(held, 16).timestamp()
    for table in world.flows.values():
        for one, known in zip(table.days.tolist(), table.known_at.tolist(), strict=True):
            assert known == at_taipei(date.fromordinal(one), 18).timestamp()


def test_the_world_is_possible(market: SimulatedMarket) -> None:
    world = world_of(market)
    for table in (*world.symbols.values(), *world.futures.values()):
        opened, high, low, close = (table.columns[name] for name in ("open", "high", "low", "close"))
        assert ((low > 0) & (low <= np.minimum(opened, close)) & (np.maximum(opened, close) <= high)).all()
        assert (np.diff(table.days) > 0).all()
    assert not {(day - 1) % 7 for day in world.symbols["SOX"].days.tolist()} & {5, 6}
    night, day = world.futures["night"], world.futures["day"]
    assert np.isnan(night.columns["settlement"]).all()
    assert night.expiries is not None
    assert (np.diff(night.expiries) >= 0).all()
    # Both sessions are measured from the settlement before.
    assert night.columns["close"][1:] - night.columns["change"][1:] == pytest.approx(
        day.columns["settlement"]
    )
    for code, bars in by_company(market).items():
        table = world.flows[code]
        assert table.days.tolist() == [bar.date.toordinal() for bar in bars]
        volumes = np.array([bar.volume for bar in bars])
        assert all((np.abs(net) <= volumes).all() for net in table.columns.values())


def test_what_institutions_buy_lasts_and_moves_the_next_day_a_little() -> None:
    lasting, moving = [], []
    for seed in range(3):
        made = simulate(END, 400, seed)
        for code, bars in by_company(made).items():
            share = world_of(made).flows[code].columns["foreign_net"] / [bar.volume for bar in bars]
            lasting.append(np.corrcoef(share[1:], share[:-1])[0, 1])
            moving.append(np.corrcoef(share[:-1], returns(bars))[0, 1])
    assert np.mean(lasting) > 0.6
    assert 0.01 < np.mean(moving) < 0.15


def test_nothing_of_the_world_reaches_a_store_of_real_prices(tmp_path: Path) -> None:
    from dataclasses import replace

    made = simulate(END, 5, 5)
    with Store.open(Home(tmp_path)) as store:
        store.bars.put([replace(made.bars[0], source="exchange")])
        with pytest.raises(StoreError, match="simulated"):
            put(store, world_of(made))
        assert store.world.symbols() == []
        assert len(store.world.nights()) == 0
        assert store.flows.codes() == []


def test_the_store_shows_the_world_at_its_moments(tmp_path: Path) -> None:
    made = simulate(END, 30, 5)
    world = world_of(made)
    write(made, Home(tmp_path))
    (after,) = default_calendar().next_sessions(END, 1)
    with Store.open(Home(tmp_path), create=False) as store:
        bars = store.world.bars()
        assert {symbol: series.close.tolist() for symbol, series in bars.items()} == {
            symbol: table.columns["close"].tolist() for symbol, table in world.symbols.items()
        }
        nights = store.world.nights()
        assert nights.change_pct.tolist() == world.futures["night"].columns["change_pct"].tolist()
        assert np.isnan(nights.settlement).all()
        assert store.world.days().settlement.tolist() == world.futures["day"].columns["settlement"].tolist()
        assert len(store.flows.all()) == sum(map(len, world.flows.values()))
        evening, morning = end_of(END), at_taipei(after, 8, 59)
        assert date.fromordinal(int(store.world.nights(evening).days[-1])) == END
        assert date.fromordinal(int(store.world.nights(morning).days[-1])) == after
        for symbol in world.symbols:
            assert date.fromordinal(int(store.world.bars([symbol], evening)[symbol].days[-1])) < END
            assert date.fromordinal(int(store.world.bars([symbol], morning)[symbol].days[-1])) == END


@pytest.mark.parametrize(
    ("end", "sessions", "seed", "said"),
    [
        (END, 0, 1, "1 or more"),
        (END, 100_000, 1, "or fewer"),
        (date(2031, 1, 2), 10, 1, "2030"),
        (date(2014, 1, 2), 10, 1, "2015"),
        (END, 10, -1, "seed"),
    ],
)
def test_numbers_out_of_range_are_refused_in_a_sentence(
    end: date, sessions: int, seed: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        simulate(end, sessions, seed)


def test_the_written_store_is_flagged_and_holds_everything(tmp_path: Path) -> None:
    made = simulate(END, 30, 5)
    home = Home(tmp_path / "demo")
    write(made, home)
    with Store.open(home, create=False) as store:
        assert store.simulated
        assert [bar for code in store.bars.codes() for bar in store.bars.bars(code)] == list(made.bars)
        news = store.news.articles("2330", limit=100)
        assert {a.url for a in news} == {a.url for a in made.articles["2330"]}
        assert isinstance(news[0].published_at, datetime)
    assert [p.name for p in home.root.iterdir() if p.name.startswith(".building")] == []


def test_a_failed_write_leaves_the_store_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    write(simulate(END, 20, 5), home)
    before = home.store.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(simulated.os, "replace", refuse)
    with pytest.raises(StoreError, match="No space left"):
        write(simulate(END, 20, 6), home)
    assert home.store.read_bytes() == before
    assert issubclass(StoreError, StockllmError)
    assert not list(tmp_path.glob(".building-*"))
