"""A generated market, the stand-in that serves it, a store and the way out to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest
from standin import MEMORY, FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.http import Web
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"STOCKLLM_{name.upper()}", raising=False)


@pytest.fixture(scope="session")
def market() -> GeneratedMarket:
    """Two companies of each exchange, five weeks, one typhoon."""
    return GeneratedMarket(date(2025, 3, 3), date(2025, 4, 11), typhoons=frozenset({date(2025, 3, 27)}))


@pytest.fixture
def clock() -> FakeClock:
    """Half past six in the evening of a session."""
    return FakeClock(datetime(2025, 4, 9, 18, 30))


@pytest.fixture
def site(market: GeneratedMarket, clock: FakeClock) -> Iterator[StandIn]:
    with StandIn(market, clock) as site:
        yield site


@pytest.fixture
def real_store(empty_store: Path) -> Iterator[Store]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        home = Home(Path(folder))
        shutil.copy(empty_store, home.store)
        with Store.open(home) as store:
            yield store


@pytest.fixture
def settings(site: StandIn) -> Settings:
    return site.settings(fewest_shares=2)


@pytest.fixture
def web(real_store: Store, settings: Settings, clock: FakeClock) -> Iterator[Web]:
    with Web(real_store.requests, settings, clock) as web:
        yield web
