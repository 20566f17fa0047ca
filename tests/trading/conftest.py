"""A small market in a store, and an exchange on it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from standin import FakeClock
from standin.exchange import Served

from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.data.stores.exrights import ExRight
from stockllm.market.calendar import default_calendar
from stockllm.market.ticks import limits, round_to_tick
from stockllm.trading.exchange.exchange import Exchange

#: Three shares, one of which has no trade on some days. Prices lie on their ticks, inside limits.
CODES = ("2330", "2317", "6166")
FIRST, LAST = date(2025, 3, 3), date(2025, 4, 30)
SESSIONS = tuple(default_calendar().sessions(FIRST, LAST))
EVENING = SESSIONS[4]
EX_DATE = SESSIONS[9]


def fill_store(store: Store, seed: int = 5) -> None:
    """Bars of ``CODES`` over ``SESSIONS``, and two ex-dates."""
    rng = random.Random(seed)
    bars: list[Bar] = []
    for code, start in zip(CODES, (95000, 20000, 4000), strict=True):
        close = start
        for day in SESSIONS:
            basis = close
            if day == EX_DATE and code == "2330":
                basis = round_to_tick(close - 1000)
                store.ex_rights.put([_ex(code, day, "dividend", close, basis)])
            if day == EX_DATE and code == "2317":
                basis = round_to_tick(close * 10 // 11)
                store.ex_rights.put([_ex(code, day, "rights", close, basis)])
            if code == "6166" and rng.random() < 0.2:
                continue
            down, up = limits(basis, day)
            prices = [round_to_tick(rng.randint(down, up)) for _ in range(4)]
            low, opened, closed, high = min(prices), prices[0], prices[1], max(prices)
            reference = basis if basis != close else None
            bars.append(Bar(code, day, opened, high, low, closed, 5_000_000, "test", reference=reference))
            close = closed
    store.bars.put(bars)


def _ex(code: str, day: date, kind: str, before: int, basis: int) -> ExRight:
    return ExRight(code, day, "TWSE", kind, before, basis, basis, None, None, "test")  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds the small market; copy it, never write to it."""
    root = tmp_path_factory.mktemp("market") / "home"
    with Store.open(Home(root)) as store:
        fill_store(store)
    return root


@pytest.fixture
def market_home(filled_home: Path, tmp_path: Path) -> Home:
    """A copy of the small market's home."""
    import shutil

    shutil.copytree(filled_home, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def market_store(market_home: Home) -> Iterator[Store]:
    with Store.open(market_home) as store:
        yield store


@pytest.fixture
def replay(market_store: Store) -> Exchange:
    """A replay that begins on ``EVENING``, with the account ``someone``."""
    exchange = Exchange.open(market_store, "past", evening=EVENING)
    exchange.add_account("someone", "hash", cash=10_000_000)
    return exchange


@pytest.fixture
def live(market_store: Store) -> Callable[[str], tuple[Exchange, FakeClock]]:
    """``live("2025-05-01 16:01")``: the live exchange at that moment, with the account ``someone``."""

    def at(moment: str) -> tuple[Exchange, FakeClock]:
        clock = FakeClock(datetime.fromisoformat(moment))
        exchange = Exchange.open(market_store, clock=clock)
        exchange.add_account("someone", "hash", cash=10_000_000)
        return exchange, clock

    return at


PASSWORD = "a long password"


@pytest.fixture(scope="session")
def hashed() -> str:
    """``PASSWORD``'s hash; Argon2 is slow by design."""
    from stockllm.trading.exchange.access import hash_password

    return hash_password(PASSWORD)


@pytest.fixture
def serve(replay: Exchange, hashed: str) -> Iterator[Callable[..., Served]]:
    """``serve()``: the replay behind a server; the account ``someone`` has ``PASSWORD``."""
    running: list[Served] = []
    with replay.store.books.write() as books:
        books.set_password(replay.account(books, "someone").id, hashed)

    def start(**more: Any) -> Served:
        running.append(Served(replay, **more))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


def dump(exchange: Exchange) -> list[str]:
    """Everything that is in the store."""
    with exchange.store.books.read() as books:
        return list(books._raw.iterdump())


def bar(code: str, day: date, price: int) -> Bar:
    return Bar(code, day, price, price, price, price, 1000, "test")
