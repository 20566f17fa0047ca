"""What a run writes down, what the terminal shows, and how a run hears that it should stop."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from stockllm.forecaster.training.progress import (
    ProgressLog,
    StopRequest,
    Terminal,
    TrainEvent,
    figures_of,
    read_progress,
)

STEP = TrainEvent(
    "training", 3, 60, loss=2.5, lr=2e-4, windows_per_second=30.25, tokens_per_second=4321.0, eta_s=62.4
)


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    log = ProgressLog(tmp_path)
    log(TrainEvent("preparing", text="讀取模型"))
    log(STEP)
    lines = [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]
    assert lines[0].keys() == {"state", "step", "steps", "text", "at"}
    assert lines[1]["at"].endswith("+08:00")
    assert lines[1] | {"at": ""} == {
        "state": "training",
        "step": 3,
        "steps": 60,
        "loss": 2.5,
        "lr": 2e-4,
        "windows_per_second": 30.25,
        "tokens_per_second": 4321.0,
        "eta_s": 62.4,
        "at": "",
    }
    assert [event.text for event in read_progress(tmp_path)] == ["讀取模型", ""]


def test_a_cut_or_foreign_line_is_passed_over(tmp_path: Path) -> None:
    assert list(read_progress(tmp_path)) == []
    log = ProgressLog(tmp_path)
    log(STEP)
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"state": "finished", "later": 1}\n7\n{"state": "trai')
    assert [event.state for event in read_progress(tmp_path)] == ["training", "finished"]


def test_figures() -> None:
    assert figures_of(STEP) == "loss 2.500, 30.2 windows/s, 4,321 tokens/s, 1:02 to go"
    assert figures_of(TrainEvent("validating", eval_loss=2.25)) == "validation loss 2.250"
    assert figures_of(TrainEvent("saving")) == ""


def test_without_a_terminal_a_line_now_and_then() -> None:
    now = iter(range(0, 100, 4))
    out = io.StringIO()
    with Terminal(out, clock=lambda: float(next(now))) as show:
        show(TrainEvent("preparing", text="[bold]Loading[/bold] 台積電"))
        for step in range(1, 7):
            show(TrainEvent("training", step, 6, loss=2.0))
        show(TrainEvent("stopped", text="said by the error"))
    assert out.getvalue().splitlines() == [
        "[bold]Loading[/bold] 台積電",
        "training 1/6 loss 2.000",
        "training 4/6 loss 2.000",
        "training 6/6 loss 2.000",
    ]


def test_a_chinese_reader_gets_chinese_lines() -> None:
    out = io.StringIO()
    with Terminal(out, clock=lambda: 0.0, language="zh") as show:
        show(TrainEvent("preparing", text="Loading llama with peft.", text_zh="以 peft 載入 llama。"))
        show(STEP)
        show(TrainEvent("preparing", text="Of a version that had no Chinese."))
    assert out.getvalue().splitlines() == [
        "以 peft 載入 llama。",
        "訓練中 3/60 損失 2.500，每秒 30.2 個視窗，每秒 4,321 個詞元，還要 1:02",
        "Of a version that had no Chinese.",
    ]


def test_on_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Tty()
    with Terminal(out) as show:
        before = sys.stdout
        with contextlib.redirect_stdout(io.StringIO()):
            show(STEP)
        assert sys.stdout is before
        show(TrainEvent("validating", 3, 60, eval_loss=2.25))
        show(TrainEvent("finished", 60, 60, text="Ready."))
    assert "3/60" in out.getvalue()
    assert "validation loss 2.250" in out.getvalue()
    assert "Ready." in out.getvalue()
    assert sys.stdout is before


def test_the_first_signal_is_a_wish_and_the_second_an_order() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest() as stop:
        with pytest.raises(KeyboardInterrupt):  # nothing to save yet
            os.kill(os.getpid(), signal.SIGTERM)
        stop.patient = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
