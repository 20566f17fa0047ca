"""The Training tab: runs found again, started by a form, stopped and gone on with; adapters."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from looking import WIDE, lines, table_text, toasts
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, Static

from stockllm.data.errors import StockllmError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.forecaster.models.cards import Card, write_card
from stockllm.forecaster.training.progress import ProgressLog, TrainEvent
from stockllm.tui.app import StockApp
from stockllm.tui.core.ask import ConfirmScreen
from stockllm.tui.core.text_screen import TextScreen
from stockllm.tui.drawing.curve import Curve
from stockllm.tui.training import reading as training_core
from stockllm.tui.training.form import TrainForm
from stockllm.tui.training.options import FIELDS, check, command_line
from stockllm.tui.training.screen import TrainingScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

#: What stands for ``stockllm``: a training that goes on until SIGTERM, an evaluation that answers.
COMMAND = """
import fcntl, json, signal, sys, time
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.training.progress import ProgressLog, TrainEvent
home = Home.locate()
(home.root / "arguments.json").write_text(json.dumps(sys.argv[1:]))
if sys.argv[1] == "evaluate":
    print("Model  CRPS\\nllama  0.0123")
    sys.exit()
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
folder = home.root / "runs" / "mine"
folder.mkdir(parents=True, exist_ok=True)
with (folder / "lock").open("w") as lock, Store.open(home) as store:
    fcntl.flock(lock, fcntl.LOCK_EX)
    say = ProgressLog(folder)
    row = store.runs.start("mine", {"rank": 4}, folder / "progress.jsonl")
    say(TrainEvent("training", 1, 10, loss=3.0, lr=2e-4, tokens_per_second=1234.0, eta_s=90.0))
    say(TrainEvent("training", 2, 10, loss=2.5, eval_loss=2.6, lr=1e-4))
    (folder / "run.json").write_text(json.dumps({"name": "mine", "options": {"rank": 4}}))
    deadline = time.monotonic() + 600
    while not stop and time.monotonic() < deadline:
        time.sleep(0.01)
    say(TrainEvent("stopped", text="Stopped; go on with it."))
    store.runs.finish(row, "stopped", "Stopped; go on with it.")
sys.exit("Stopped; go on with it.")
"""


def make_run(home: Home, name: str, *events: TrainEvent, **document: object) -> Path:
    """A run's folder, as training leaves it."""
    folder = home.root / "runs" / name
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    say = ProgressLog(folder)
    for event in events:
        say(event)
    (folder / "run.json").write_text(json.dumps({"name": name, "options": {"rank": 8}} | document))
    return folder


def make_adapter(home: Home, name: str, made_at: str, data_end: str) -> None:
    folder = home.adapters / name
    folder.mkdir(parents=True)
    write_card(
        folder,
        Card(
            name, "llama", "0" * 64, "1" * 64, made_at, ["2330"], "2025-01-02", data_end, None, 5, False,
            "compact", ["5/5"], "peft", 60, {}, {"validation_loss_after": 2.345}, {"rank": 16}, "run-id",
        ),
    )  # fmt: skip


async def training(pilot: Pilot[None], settle: Settle) -> TrainingScreen:
    await settle(pilot)
    await pilot.press("4")
    await settle(pilot)
    assert isinstance(pilot.app.screen, TrainingScreen)
    return pilot.app.screen


def said(screen: TrainingScreen) -> str:
    return str(screen.query_one("#train-text", Static).render())


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Waits for another process; fails after a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


async def test_runs_are_found_in_every_state_with_curves_and_options(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    steps = [TrainEvent("training", n, 60, loss=3 - n / 40, lr=2e-4 * (1 - n / 60)) for n in range(1, 61)]
    make_run(home, "done", *steps, TrainEvent("finished", text="Ready."), finished=True)
    make_run(home, "broke", *steps[:5], TrainEvent("failed", text="Out of memory."))
    make_run(home, "killed", *steps[:20], simulated=True)
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        screen = await training(pilot, settle)
        assert screen.runs is not None
        assert {run.name: run.state for run in screen.runs} == {
            "done": "finished", "broke": "failed", "killed": "killed",
        }  # fmt: skip
        table = table_text(app, "#runs")
        assert "60/60" in table
        assert "被終止" in table
        for _ in screen.runs:
            run = screen.run
            assert run is not None
            assert run.name in said(screen)
            assert "rank=8" in said(screen)
            assert any(0x2800 < ord(c) < 0x2900 for c in "\n".join(lines(screen.query_one("#loss", Curve))))
            assert ("SIMULATED" in said(screen)) == (run.name == "killed")
            assert ("Out of memory." in said(screen)) == (run.name == "broke")
            assert ("按 u 從最後的檢查點接續" in said(screen)) == (run.name == "killed")
            await pilot.press("down")
            await settle(pilot)
        assert not screen._clock._active.is_set()
        await pilot.press("u" if screen.run and screen.run.state == "finished" else "x", "l", "e")
        await settle(pilot)
        path = Path(toasts(app)[-1].splitlines()[-1])
        assert len(path.read_text("utf-8-sig").splitlines()) > 5
        assert "Learning rate" in "\n".join(lines(screen.query_one("#lr", Curve)))


async def test_the_form_starts_a_process_that_is_followed_stopped_and_found_again(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    command = (sys.executable, "-c", COMMAND)
    app = make_app(home, command=command)
    async with app.run_test(size=WIDE) as pilot:
        screen = await training(pilot, settle)
        await pilot.press("s")
        await settle(pilot)
        assert isinstance(app.screen, TrainForm)
        form = app.screen
        form.query_one("#rank", Input).value = "many"
        await settle(pilot)
        assert "--rank 是 'many'" in str(form.query_one("#form-says", Static).render())
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.screen is form
        form.query_one("#rank", Input).value = "4"
        form.query_one("#companies", Input).value = "台積電, 2454"
        await settle(pilot)
        assert "--rank 4" in str(form.query_one("#form-says", Static).render())
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "2/10" in table_text(app, "#runs") if app.screen is screen else False)
        asked = json.loads((home.root / "arguments.json").read_text())
        assert asked[:2] == ["train", "--company-list-file"]
        assert asked[3:] == ["--rank", "4"]
        assert json.loads(Path(asked[2]).read_text()) == [{"code": "2330"}, {"code": "2454"}]
        await settle(pilot)
        assert "損失 2.5000" in said(screen)
        assert "每秒 1,234" in said(screen)
        run = screen.run
        assert run is not None
        pid = run.pid
        assert pid == screen.jobs[0].process.pid
    # The dashboard is closed; the training goes on, and another dashboard finds it.
    assert subprocess.run(["kill", "-0", str(pid)], check=False).returncode == 0
    again = make_app(home, command=command)
    async with again.run_test(size=WIDE) as pilot:
        screen = await training(pilot, settle)
        assert screen.run is not None
        assert (screen.run.state, screen.run.pid) == ("training", pid)
        await pilot.press("u")
        await settle(pilot)
        assert toasts(again)[-1] == "這次訓練不能繼續。"
        await pilot.press("x")
        await settle(pilot)
        assert isinstance(again.screen, ConfirmScreen)
        await pilot.press("y")
        await until(pilot, lambda: screen.run is not None and screen.run.state == "stopped")
        await pilot.press("u")
        await until(pilot, lambda: bool(screen.run and screen.run.running and screen.run.pid not in (0, pid)))
        assert json.loads((home.root / "arguments.json").read_text()) == ["train", "--resume", "mine"]
        assert screen.run is not None
        screen.jobs[0].process.send_signal(signal.SIGKILL)
        await until(pilot, lambda: screen.run is not None and screen.run.state == "killed")
        await until(pilot, lambda: not screen.jobs)
        # A toast may have gone by now; what went wrong stays.
        assert any("SIGKILL" in trouble.error.sentence("zh") for trouble in again.troubles)
        troubles = len(again.troubles)
        # What the user stops has not failed; when it began is told in Taipei, whatever zone the store keeps.
        await pilot.press("u")
        await until(pilot, lambda: bool(screen.run and screen.run.running and screen.run.pid and screen.jobs))
        assert screen.run.started is not None
        assert screen.run.started.utcoffset() == timedelta(hours=8)
        await pilot.press("x")
        await settle(pilot)
        await pilot.press("y")
        await until(pilot, lambda: toasts(again)[-1:] == ["Stopped; go on with it."])
        await until(pilot, lambda: not screen.jobs)
        assert len(again.troubles) == troubles


async def test_adapters_show_their_cards_become_default_and_are_compared(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    make_adapter(home, "old", "2026-02-01T00:00:00+08:00", "2026-01-30")
    make_adapter(home, "new", "2026-03-01T00:00:00+08:00", "2026-02-26")
    app = make_app(home, command=(sys.executable, "-c", COMMAND))
    async with app.run_test(size=WIDE) as pilot:
        screen = await training(pilot, settle)
        await pilot.press("tab")
        await settle(pilot)
        assert "llama+new" in said(screen)
        assert "訓練期間: 2025-01-02 至 2026-02-26" in said(screen)
        await pilot.press("l")
        await settle(pilot)
        assert "trained on: 2025-01-02 to 2026-02-26" in said(screen)
        await pilot.press("l")
        await settle(pilot)
        assert "2.345" in table_text(app, "#adapters")
        await pilot.press("d")
        await settle(pilot)
        assert Settings.load(home).model == "llama+new"
        assert "★ new" in table_text(app, "#adapters")
        await pilot.press("d")
        await settle(pilot)
        assert Settings.load(home).model == "auto"
        await pilot.press("v", "down", "v")
        await until(pilot, lambda: isinstance(app.screen, TextScreen))
        assert "llama  0.0123" in app.screen.said  # type: ignore[attr-defined]
        asked = json.loads((home.root / "arguments.json").read_text())
        assert asked[0] == "evaluate"
        assert asked[asked.index("--models") + 1] == "llama+new,llama+old,ewma"
        assert asked[asked.index("--start") + 1] == "2026-02-27"
        make_adapter(home, "late", "2026-03-02T00:00:00+08:00", "2026-03-30")
        await pilot.press("escape", "r")
        await settle(pilot)
        screen.query_one("#adapters").action_move(-9)  # type: ignore[attr-defined]
        await pilot.press("v", "down", "v")
        await settle(pilot)
        assert "只有 1 個交易日" in toasts(app)[-1]


async def test_trouble_is_one_sentence_each(
    home: Home, bare_home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await training(pilot, settle)
        assert "按 s" in said(screen)
        await pilot.press("x", "u", "d", "v", "e")
        await settle(pilot)
        assert len(toasts(app)) == 4  # without an adapter "d" and "v" say the same
    app = make_app(home, command=(sys.executable, "-c", "import sys; sys.exit('stockllm: no such engine.')"))
    async with app.run_test(size=WIDE) as pilot:
        screen = await training(pilot, settle)
        screen.start_command("train", ["train"])
        await until(pilot, lambda: toasts(app)[-1:] == ["no such engine."])

        def broken(_home: Home) -> None:
            raise OSError("gone")

        monkeypatch.setattr(training_core, "load_runs", broken)
        await pilot.press("r")
        await settle(pilot)
        assert "OSError" in toasts(app)[-1]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "No company"),
        ({"companies": "nobody at all"}, "No ordinary share"),
        ({"companies": "2330", "month": "3"}, "--month needs --year"),
        ({"companies": "2330", "year": "2025", "month": "13"}, "is not a date"),
        ({"companies": "2330", "batch_size": "0"}, "--batch-size"),
        ({"companies": "2330", "learning_rate": "fast"}, "must be a number"),
        ({"companies": "2330", "with_news": "yes"}, "--prompt reference"),
        ({"companies": "2330", "data_dir": "/no/such/folder"}, "no folder"),
        ({"choose_stock": "0"}, "at least 1"),
        ({"companies": "2330", "tasks": "a lot"}, "task"),
    ],
)
def test_the_form_says_what_is_wrong(home: Home, values: dict[str, str], sentence: str) -> None:
    with pytest.raises(StockllmError, match=sentence):
        check(home, values)


def test_the_form_has_every_flag_of_the_command(home: Home) -> None:
    from typer.main import get_command

    from stockllm.cli.main import app

    flags = {option for p in get_command(app).commands["train"].params for option in p.opts}  # type: ignore[attr-defined]
    own = {"--companies"}
    elsewhere = {"--company-list-file", "--resume", "--train", "--help"}
    assert {f"--{field.flag}" for field in FIELDS} - own == flags - elsewhere
    checked = check(home, {"choose_stock": "3", "load_in_4bit": "yes", "output_dir": "/x/y"})
    assert command_line(home, checked) == [
        "train", "--choose-stock", "3", "--load-in-4bit", "--output-dir", "/x/y",
    ]  # fmt: skip


def test_a_run_at_work_is_told_by_its_lock(home: Home) -> None:
    folder = make_run(home, "busy", TrainEvent("training", 1, 5, loss=1.0))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (run,) = training_core.load_runs(home)
        assert run.state == "training"
    (run,) = training_core.load_runs(home)
    assert run.state == "killed"
    assert training_core.resume_arguments(home, run) == ["train", "--resume", "busy"]


@pytest.mark.parametrize("original", ["there", "gone"])
def test_a_copied_home_lists_each_run_once_and_as_its_own(home: Home, tmp_path: Path, original: str) -> None:
    mine, twin = make_run(home, "mine", TrainEvent("training", 1, 5, loss=1.0)), tmp_path / "runs" / "other"
    make_run(home, "other", TrainEvent("training", 1, 5, loss=2.0))
    make_run(Home(tmp_path), "other", TrainEvent("training", 1, 5, loss=3.0))  # of the same name alone
    with Store.open(home) as store:
        for folder in (mine, twin):
            store.runs.start(folder.name, {}, folder / "progress.jsonl")
    copy = Home(tmp_path / "copy")
    shutil.copytree(home.root, copy.root)
    if original == "gone":
        shutil.rmtree(mine)
    runs = training_core.load_runs(copy)
    assert {run.folder for run in runs} == {copy.root / "runs" / "mine", copy.root / "runs" / "other", twin}
    (found,) = (run for run in runs if run.name == "mine")
    assert training_core.resume_arguments(copy, found) == ["train", "--resume", "mine"]
    assert found.started is not None


async def test_the_form_fits_a_small_window_and_moves_between_fields(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home, language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await training(pilot, settle)
        await pilot.press("s")
        await settle(pilot)
        form = app.screen
        assert isinstance(form, TrainForm)
        seen = set()
        for _ in FIELDS:
            assert form.focused is not None
            seen.add(form.focused.id)
            assert isinstance(form.focused, Input | Checkbox)
            if isinstance(box := form.focused, Checkbox):
                # Told by more than a colour.
                assert "X" not in str(box.render())
                await pilot.press("space")
                assert "X" in str(box.render())
            await pilot.press("down")
        assert seen == {field.name for field in FIELDS}
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, TrainingScreen)
