"""A generated market, the stand-in that serves it, and an empty store's file to start from."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from standin import MEMORY, FakeClock, GeneratedMarket, StandIn

from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.nightly.refresh import Report, refresh

START = date(2025, 1, 2)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"STOCKLLM_{name.upper()}", raising=False)


@pytest.fixture(scope="session")
def market() -> GeneratedMarket:
    """Two companies of each exchange, five months, one typhoon."""
    return GeneratedMarket(START, date(2025, 5, 30), typhoons=frozenset({date(2025, 4, 10)}), seed=3)


@pytest.fixture
def clock() -> FakeClock:
    """Half past six in the evening of a session."""
    return FakeClock(datetime(2025, 4, 8, 18, 30))


@pytest.fixture
def site(market: GeneratedMarket, clock: FakeClock) -> Iterator[StandIn]:
    with StandIn(market, clock) as site:
        yield site


@pytest.fixture
def home(empty_store: Path) -> Iterator[Home]:
    """A home in memory with an empty store."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        home = Home(Path(folder)).ensure()
        shutil.copy(empty_store, home.store)
        yield home


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with Store.open(home) as store:
        yield store


@pytest.fixture
def settings(site: StandIn) -> Settings:
    return nightly_settings(site)


def nightly_settings(site: StandIn, **other: Any) -> Settings:
    return site.settings(**({"fewest_shares": 2, "model": "ewma", "prices_from": START} | other))


@pytest.fixture
def night(store: Store, settings: Settings, site: StandIn, clock: FakeClock) -> Callable[..., Report]:
    """``night()``: a refresh of the market's companies, at the clock's time."""

    def run(**arguments: Any) -> Report:
        given = {"companies": site.market.companies, "clock": clock} | arguments
        return refresh(store, given.pop("settings", settings), **given)

    return run
