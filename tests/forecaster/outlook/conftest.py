"""A made-up market, a network that nobody trained, and a store that knows the world."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import Market, fill_informed, make_market, make_network

from stockllm.data.paths import Home
from stockllm.forecaster.outlook import features as parts
from stockllm.forecaster.outlook.network import Network


@pytest.fixture(scope="session")
def market() -> Market:
    return make_market()


@pytest.fixture(scope="session")
def network() -> Network:
    return make_network()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four stocks are a market."""
    monkeypatch.setattr(parts, "FEWEST", 3)


@pytest.fixture(scope="session")
def informed_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with bars, flows, nights and New York of 130 sessions, all in the past."""
    home = Home(tmp_path_factory.mktemp("informed"))
    fill_informed(home)
    return home.store
