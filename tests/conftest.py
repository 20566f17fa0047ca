"""Fixtures every part uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockllm.data.waiting import be_brief

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture
def home_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty STOCKLLM_HOME of the test's own."""
    home = tmp_path / "home"
    monkeypatch.setenv("STOCKLLM_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def _brief() -> Iterator[None]:
    """A command that a test runs in this process makes it wait for minutes where the store is locked."""
    yield
    be_brief()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real market data beside the checkout; tests that need it skip without it."""
    if not (SHARED / "market").is_dir():
        pytest.skip(f"real market data is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store's file, made once: making the tables takes longer than most tests."""
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    home = Home(tmp_path_factory.mktemp("empty"))
    Store.open(home).close()
    return home.store
