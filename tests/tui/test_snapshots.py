"""Pictures of the screens, compared with the ones that were looked at and accepted.

After an intended change: look at the report, then run pytest with ``--snapshot-update``.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import play
from textual.pilot import Pilot
from textual.widgets import Input

from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score
from stockllm.forecaster.models.cards import Card, write_card
from stockllm.forecaster.training.progress import ProgressLog, TrainEvent
from stockllm.tui.app import StockApp

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]
Compare = Callable[..., bool]

LAST = date(2026, 3, 31)
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
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_guide(
    make_app: MakeApp, settle: Settle, snap_compare: Compare, size: tuple[int, int], language: str
) -> None:
    app = make_app(Home(Path("/home/you/stockllm")), language=language)
    assert snap_compare(app, terminal_size=size, run_before=settle)


#: Every other tab by its key, with the home it is shown over.
TABS = {"portfolio": "2", "ledger": "3", "training": "4", "system": "5"}


def told(home: Home, forecast: PathForecast) -> None:
    """Older forecasts with scores, a run, an adapter, a refresh and an account, all of fixed days."""
    play(home)
    with Store.open(home) as store:
        bars = store.bars.bars("2330")
        for back in (30, 20, 10):
            origin = len(bars) - 1 - back
            days = tuple(bar.date for bar in bars[origin + 1 : origin + 6])
            moved = np.rint(forecast.prices * (bars[origin].close / forecast.last_close)).astype(np.int32)
            made = replace(
                forecast,
                as_of=bars[origin].date,
                dates=days,
                last_close=bars[origin].close,
                prices=moved,
                made_at=datetime.combine(bars[origin].date, forecast.made_at.timetz()),
            )
            id = store.ledger.freeze(made, "past")
            store.scores.put(
                Score(id, n, day, 0.01 + back / 9999, 0.011, True, n < 5 or back > 10, True, 0.0, 0.01, None,
                      True, False)
                for n, day in enumerate(days, 1)
            )  # fmt: skip
        start = datetime(2026, 3, 31, 10, 30, tzinfo=UTC)
        id = store.refreshes.begin(LAST, start, 4711)
        for number, step in enumerate(("calendar", "prices", "news")):
            at = start + timedelta(seconds=40 * number)
            store.refreshes.start(id, step, at)
            store.refreshes.finish(
                id, step, "partial" if number == 2 else "ok", at + timedelta(seconds=35), counts={},
                zh="都好了。", en="All came in.",
                notes=[("額度用完。", "The budget is spent.")] * (number == 2),
            )  # fmt: skip
        store.refreshes.end(id, "partial", start + timedelta(seconds=115))
    run = home.root / "runs" / "compact-41"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"name": "compact-41", "options": {"rank": 16, "max_steps": 60}}')
    say = ProgressLog(run)
    for step in range(1, 41):
        loss = 3 * 0.98**step
        check = loss * 1.1 if step % 10 == 0 else None
        say(
            TrainEvent("training", step, 60, loss, check, 2e-4 * (1 - step / 60), 1234.0, 60.0 - step,
                       at="2026-03-31T20:00:00+08:00")
        )  # fmt: skip
    folder = home.adapters / "taiwan-41"
    folder.mkdir(parents=True)
    write_card(
        folder,
        Card(
            "taiwan-41", "llama", "0" * 64, "1" * 64, "2026-03-01T08:00:00+08:00", ["2330", "2454"],
            "2025-01-02", "2026-02-26", "2026-01-02", 5, False, "compact", ["5/5", "20/5"], "peft", 60,
            {"windows": 1000, "used": 960}, {"validation_loss_after": 2.345}, {"rank": 16}, "id",
        ),
    )  # fmt: skip


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("tab", TABS)
def test_tab(
    home: Home,
    make_app: MakeApp,
    settle: Settle,
    snap_compare: Compare,
    forecast: PathForecast,
    tab: str,
    size: tuple[int, int],
    language: str,
) -> None:
    told(home, forecast)
    app = make_app(home, language=language)

    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await pilot.press(TABS[tab])
        await settle(pilot)

    assert snap_compare(app, terminal_size=size, run_before=run)


#: Every screen that lies over a tab, by the keys that open it.
OVER = {
    "help": ("question_mark",),
    "palette": ("colon", *"20"),
    "news": ("n",),
    "form": ("4", "s"),
    "account": ("2", "n"),
    "ticket": ("2", "b", *"1000", "tab", *"1300"),
    "question": ("5", "u"),
}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("over", OVER)
def test_what_lies_over_the_tabs(
    home: Home,
    make_app: MakeApp,
    settle: Settle,
    snap_compare: Compare,
    over: str,
    size: tuple[int, int],
    language: str,
) -> None:
    if over == "ticket":
        play(home)
    app = make_app(home, language=language)

    async def run(pilot: Pilot[Any]) -> None:
        await on_2330(settle)(pilot)
        for key in OVER[over]:
            await pilot.press(key)
            await settle(pilot)
        assert app.screen is not app.screen_stack[0]
        for box in app.screen.query(Input):
            box.cursor_blink = False

    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("look", ["light", "contrast", "colour-blind"])
def test_looks(home: Home, make_app: MakeApp, settle: Settle, snap_compare: Compare, look: str) -> None:
    app = make_app(home, theme=look, up_colour="green" if look == "light" else "red")
    assert snap_compare(app, terminal_size=(100, 30), run_before=on_2330(settle, "v", "v", "x", "left"))


def test_ascii(home: Home, make_app: MakeApp, settle: Settle, snap_compare: Compare) -> None:
    app = make_app(home, charset="ascii")
    assert snap_compare(app, terminal_size=(100, 30), run_before=on_2330(settle))
