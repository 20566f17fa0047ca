"""Pictures of the screens, compared with the ones that were looked at and accepted.

After an intended change: look at the report, then run pytest with ``--snapshot-update``.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.tui.app import StockApp

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]
Compare = Callable[..., bool]

SIZES = [(80, 24), (160, 50)]


def on_2330(settle: Settle, *keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Waits for the data, goes to 2330 and presses ``keys``."""

    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)

    return run


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_market(
    home: Home,
    make_app: MakeApp,
    settle: Settle,
    snap_compare: Compare,
    size: tuple[int, int],
    language: str,
) -> None:
    app = make_app(home, language=language)
    assert snap_compare(app, terminal_size=size, run_before=on_2330(settle))


def test_simulated_market(
    simulated: Path, tmp_path: Path, make_app: MakeApp, settle: Settle, snap_compare: Compare
) -> None:
    shutil.copytree(simulated, tmp_path / "demo")
    app = make_app(Home(tmp_path / "demo"))
    assert snap_compare(app, terminal_size=(120, 40), run_before=on_2330(settle, "plus"))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_help(home: Home, make_app: MakeApp, settle: Settle, snap_compare: Compare, language: str) -> None:
    app = make_app(home, language=language)
    assert snap_compare(app, terminal_size=(80, 24), run_before=on_2330(settle, "question_mark"))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_guide(make_app: MakeApp, settle: Settle, snap_compare: Compare, language: str) -> None:
    app = make_app(Home(Path("/home/you/stockllm")), language=language)
    assert snap_compare(app, terminal_size=(80, 24), run_before=settle)
