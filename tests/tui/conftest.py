"""A small market of the tests' own: fixed bars, one forecast, a few signals and articles."""

from __future__ import annotations

import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from stockllm.data.paths import Home
from stockllm.data.records import Action, Article, Bar, BarSeries, PathForecast, Signal
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES
from stockllm.market.ticks import round_to_tick
from stockllm.tui.app import StockApp
from stockllm.tui.market.board import RULES, Forecaster, SignalRule

#: The day on which every test of the dashboard happens.
NOW = datetime(2026, 4, 1, 18, 30, tzinfo=timezone(timedelta(hours=8)))
LAST = date(2026, 3, 31)
SESSIONS = 150


def sessions(count: int, last: date = LAST) -> list[date]:
    """``count`` weekdays up to ``last``; enough of a calendar for a screen."""
    days = [last - timedelta(days=back) for back in range(count * 2)]
    return sorted(day for day in days if day.weekday() < 5)[-count:]


def walk(code: str, price: int, count: int = SESSIONS) -> list[Bar]:
    """Bars of a seeded random walk from ``price`` (hundredths), on their ticks."""
    chance = random.Random(code)
    bars = []
    close = price
    for day in sessions(count):
        opened = round_to_tick(int(close * (1 + chance.gauss(0, 0.006))))
        closed = round_to_tick(int(opened * (1 + chance.gauss(0.0005, 0.017))))
        high = round_to_tick(int(max(opened, closed) * (1 + abs(chance.gauss(0, 0.007)))), "up")
        low = round_to_tick(int(min(opened, closed) * (1 - abs(chance.gauss(0, 0.007)))), "down")
        volume = int(20_000_000 * chance.lognormvariate(0, 0.45))
        bars.append(Bar(code, day, opened, high, low, closed, volume, "test"))
        close = closed
    return bars


def path_forecast(bars: list[Bar], horizon: int = 5, paths: int = 99, name: str = "台積電") -> PathForecast:
    """Paths of a seeded walk after the last bar, with valid candles."""
    chance = np.random.default_rng(7)
    last = bars[-1].close
    moves = chance.normal(0.001, 0.012, size=(paths, horizon))
    closes = last * np.exp(np.cumsum(moves, axis=1))
    opens = np.concatenate([np.full((paths, 1), last), closes[:, :-1]], axis=1)
    highs = np.maximum(opens, closes) * (1 + np.abs(chance.normal(0, 0.005, size=closes.shape)))
    lows = np.minimum(opens, closes) * (1 - np.abs(chance.normal(0, 0.005, size=closes.shape)))
    prices = np.rint(np.stack([opens, highs, lows, closes], axis=2)).astype(np.int32)
    days = sessions(horizon, bars[-1].date + timedelta(days=horizon * 2))
    future = tuple(day for day in days if day > bars[-1].date)
    while len(future) < horizon:
        days = sessions(len(days) + 5, days[-1] + timedelta(days=7))
        future = tuple(day for day in days if day > bars[-1].date)
    return PathForecast(
        bars[-1].code,
        name,
        "TWSE",
        bars[-1].date,
        last,
        future[:horizon],
        prices,
        chance.integers(15_000_000, 30_000_000, size=(paths, horizon)),
        datetime(2026, 3, 31, 8, 5, tzinfo=UTC),
        "llama",
        "0" * 64,
        "taiwan-41",
        "1" * 64,
        "compact",
        3407,
        False,
    )


def fill(home: Home, *, simulated: bool = False, forecast: bool = True) -> None:
    """The 41 companies, and for 2330 a forecast, signals and news."""
    chance = random.Random(41)
    with Store.open(home) as store:
        if simulated:
            store.set_simulated(True)
        bars = {c.code: walk(c.code, chance.randrange(2_000, 30_000)) for c in COMPANIES}
        bars["2330"] = walk("2330", 150_000)
        store.bars.put([bar for own in bars.values() for bar in own])
        made = store.ledger.freeze(path_forecast(bars["2330"]), "data") if forecast else None
        actions: list[Action] = ["buy", "sell", "hold"]
        verdicts = [
            Signal(code, own[-1].date, rule, chance.choice(actions), *REASONS[rule])
            for code, own in bars.items()
            for rule in RULES
        ]
        # Without a forecast's id they would be judged anew, by rules that are not under test here.
        verdicts = [replace(s, forecast_id=made if s.code == "2330" else None) for s in verdicts]
        store.signals.put(verdicts)
        store.news.put(ARTICLES, "2330")


REASONS: dict[SignalRule, tuple[str, str]] = {
    "mean": (
        "預測 5 日收盤均價 B = 1,505.20，高於近 20 日收盤均價 A = 1,482.00（+1.57%）。",
        "B = 1,505.20, the mean of the 5 forecast closes, is above A = 1,482.00 (+1.57%).",
    ),
    "four-points": (
        "買點 4：三日均價大於六日均價（1,315.00 > 1,306.67）。",
        "Buy point 4: the 3-day mean 1,315.00 is above the 6-day mean 1,306.67.",
    ),
    "edge": (
        "5 個交易日後，99 條路徑中漲逾來回成本 0.585% 者 35 條（35.4%），跌逾者 42 條（42.4%）。",
        "After 5 trading days 35 of 99 paths (35.4%) gain more than 0.585% and 42 (42.4%) lose more.",
    ),
}

ARTICLES = [
    Article(
        "https://news.example/1",
        "台積電法說會：先進製程需求強勁，全年資本支出維持高檔",
        "經濟日報",
        datetime(2026, 4, 1, 7, 20, tzinfo=UTC),
        "zh",
    ),
    Article(
        "https://news.example/2",
        "Chipmaker shares slip as traders weigh tariffs ahead of earnings season",
        "Reuters",
        datetime(2026, 3, 30, 9, 0, tzinfo=UTC),
        "en",
    ),
    Article(
        "https://news.example/3",
        "外資連三賣，電子權值股承壓",
        "中央社",
        datetime(2026, 2, 20, 2, 0, tzinfo=UTC),
        "zh",
    ),
]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests copy; building it once keeps the suite quick."""
    home = Home(tmp_path_factory.mktemp("market"))
    fill(home)
    return home.root


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Home:
    """A home with the small market in it, to be changed at will."""
    shutil.copytree(filled, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
    """A home with nothing in it."""
    return Home(tmp_path / "nothing")


def no_forecast(home: Home, code: str, progress: Callable[[int, int], None]) -> tuple[str, ...]:
    """Stands where a test does not expect a forecast."""
    raise AssertionError(f"nobody asked for a forecast of {code}")


@pytest.fixture
def make_app() -> Callable[..., StockApp]:
    """Apps with the tests' clock and without a model."""

    def make(
        home: Home,
        forecaster: Forecaster = no_forecast,
        command: Sequence[str] = ("/a/test/starts/nothing",),
        **settings: object,
    ) -> StockApp:
        found = Settings.load(home).model_copy(update=settings)
        return StockApp(home, found, forecaster=forecaster, now=lambda: NOW, command=command)

    return make


async def settled(pilot: Pilot[None]) -> None:
    """Waits until every worker has ended and every message it sent has been handled."""
    while True:
        await pilot.pause()
        working = [worker for worker in pilot.app.workers if not worker.is_finished]
        if not working and not pilot.app.keys_held:  # type: ignore[attr-defined]
            break
        for worker in working:
            with suppress(WorkerCancelled):
                await worker.wait()
    await pilot.pause()


@pytest.fixture
def settle() -> Callable[[Pilot[None]], Awaitable[None]]:
    """The function above, for tests."""
    return settled


@pytest.fixture(scope="session")
def bars() -> list[Bar]:
    """The bars of 2330."""
    return walk("2330", 150_000)


@pytest.fixture(scope="session")
def forecast(bars: list[Bar]) -> PathForecast:
    """Five days after the last bar."""
    return path_forecast(bars)


@pytest.fixture(scope="session")
def long_forecast(bars: list[Bar]) -> PathForecast:
    """A month after the last bar."""
    return path_forecast(bars, horizon=20)


@pytest.fixture(scope="session")
def series(bars: list[Bar]) -> BarSeries:
    """The same bars as columns."""
    columns = np.array([(b.open, b.high, b.low, b.close) for b in bars], dtype=np.float64).T / 100
    opened, high, low, close = columns
    volume = np.array([bar.volume for bar in bars], dtype=np.float64)
    before = np.concatenate([opened[:1], close[:-1]])
    return BarSeries("2330", tuple(bar.date for bar in bars), opened, high, low, close, volume, before)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same market in a store that calls itself simulated."""
    home = Home(tmp_path_factory.mktemp("simulated"))
    fill(home, simulated=True)
    return home.root
