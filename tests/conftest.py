"""Fixtures every part uses."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture
def home_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty STOCKLLM_HOME of the test's own."""
    home = tmp_path / "home"
    monkeypatch.setenv("STOCKLLM_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real market data beside the checkout; tests that need it skip without it."""
    if not (SHARED / "market").is_dir():
        pytest.skip(f"real market data is not at {SHARED}")
    return SHARED
