"""Training from a store to an adapter, stopped, killed, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, TrainingStopped, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Task
from stockllm.forecaster.models.cards import read_card
from stockllm.forecaster.models.registry import list_adapters, weights_hash
from stockllm.forecaster.training import runs
from stockllm.forecaster.training.progress import TrainEvent, read_progress, runs_folder
from stockllm.forecaster.training.runs import Run
from stockllm.forecaster.training.train import TrainOptions, resume, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TASKS = (Task(1, 1), Task(5, 5))


@pytest.fixture
def store(filled_home: Home) -> Iterator[Store]:
    with Store.open(filled_home) as opened:
        yield opened


@pytest.fixture
def options(tiny_model: Path) -> TrainOptions:
    return TrainOptions(
        codes=("2330", "2317"),
        model_dir=tiny_model,
        engine="peft",
        tasks=TASKS,
        batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=3,
        validation_windows=0,
        learning_rate=1e-2,
        report_to="none",
    )


def weights(adapter: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(adapter / "adapter_model.safetensors")


def test_from_a_store_to_an_adapter_that_plain_peft_loads(
    store: Store, options: TrainOptions, tiny_model: Path
) -> None:
    events: list[TrainEvent] = []
    info = train(
        store, replace(options, name="first", report_to="tensorboard", validation_windows=4), events.append
    )

    assert info.name == "first"
    assert info.path == store.home.adapters / "first"
    assert info.companies == ("2330", "2317")
    assert info.simulated
    assert [path.name for path in store.home.adapters.iterdir()] == ["first"]

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    model = PeftModel.from_pretrained(base, info.path)
    moved = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert len(moved) == 2 * 7
    assert all(p.abs().sum() > 0 for p in moved)
    assert AutoTokenizer.from_pretrained(info.path).chat_template

    card = read_card(info.path)
    assert card.base == str(tiny_model)
    assert card.base_hash == weights_hash(tiny_model)
    assert card.hash == weights_hash(info.path)
    assert (card.engine, card.steps, card.prompt, card.tasks) == ("peft", 3, "compact", ["1/1", "5/5"])
    assert card.validation_from is not None
    assert card.data_start < card.data_end < card.validation_from
    assert card.examples["used"] == 3 * 4
    assert all(loss is not None and loss > 0 for loss in card.losses.values())
    assert card.flags["rank"] == 16
    assert {"torch", "transformers", "trl", "peft"} <= set(card.versions)
    assert "SIMULATED" in (info.path / "README.md").read_text(encoding="utf-8")

    folder = runs_folder(store.home) / "first"
    written = list(read_progress(folder))
    assert [replace(event, at="") for event in written] == events
    losses = [e for e in events if e.loss is not None]
    assert [e.step for e in losses] == [1, 2, 3]
    assert all(e.lr is not None and e.eta_s is not None for e in losses)
    assert all(0 < (e.windows_per_second or 0) < (e.tokens_per_second or 0) for e in losses)
    assert (card.speed["steps"], Run(folder, "first").document()["speed"]) == (3, card.speed)
    sizes = [json.loads(row)["tokens"] for row in (folder / "examples.jsonl").read_text("utf-8").splitlines()]
    assert len(sizes) == 12
    assert card.speed["windows_per_second"] * card.speed["seconds"] == pytest.approx(12, rel=0.05)
    assert card.speed["tokens_per_second"] * card.speed["seconds"] == pytest.approx(sum(sizes), rel=0.05)
    assert 0 <= card.speed["padding"] < 0.5
    assert [e.step for e in events if e.eval_loss is not None] == [0, 2, 3]
    assert events[-1].state == "finished"
    assert not list(folder.glob("checkpoint-*"))
    assert list((folder / "tensorboard").glob("events.*"))
    (row,) = store.runs.list()
    assert (row.name, row.state) == ("first", "done")

    with pytest.raises(UsageError, match="There is an adapter 'first' already"):
        train(store, replace(options, name="first"))


def test_stopped_and_gone_on_with_is_the_same_as_never_stopped(store: Store, options: TrainOptions) -> None:
    options = replace(options, max_steps=6, save_steps=50, validation_windows=0)
    whole = train(store, replace(options, name="whole"))

    def interrupt(event: TrainEvent) -> None:
        if event.step == 3 and event.loss is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped, match=r"after step [34] of 6 .*--resume parted`") as stopped:
        train(store, replace(options, name="parted"), interrupt)
    assert stopped.value.exit_code == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [row.state for row in store.runs.list()] == ["stopped", "done"]

    events: list[TrainEvent] = []
    parted = resume(store, None, events.append)
    assert parted.name == "parted"
    assert min(e.step for e in events if e.loss is not None) in (4, 5)
    one, other = weights(whole.path), weights(parted.path)
    assert one.keys() == other.keys()
    assert all((one[key] == other[key]).all() for key in one)
    # Speed is that of the part that was gone on with.
    assert read_card(whole.path).speed["steps"] == 6
    assert read_card(parted.path).speed["steps"] in (2, 3)


def test_stopped_before_the_first_step(store: Store, options: TrainOptions) -> None:
    def interrupt(event: TrainEvent) -> None:
        if event.state == "preparing":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match="stopped before its first checkpoint; the same command"):
        train(store, replace(options, name="early"), interrupt)
    assert not list_adapters(store.home)
    assert train(store, replace(options, name="early", max_steps=1)).name == "early"


KILLED = """
import sys
from pathlib import Path
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.training.train import TrainOptions, train
import json
with Store.open(Home(Path(sys.argv[1]))) as store:
    train(store, TrainOptions.from_document(json.loads(sys.argv[2])))
"""


def test_killed_and_started_again_it_goes_on(filled_home: Home, options: TrainOptions) -> None:
    options = replace(options, max_steps=40, save_steps=1, validation_windows=0)
    command = [sys.executable, "-c", KILLED, str(filled_home.root), json.dumps(options.document())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    folder = runs_folder(filled_home)
    try:
        deadline = time.monotonic() + 120
        while not list(folder.glob("*/checkpoint-[3-9]")):
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (run,) = folder.iterdir()
    before = [event.step for event in read_progress(run) if event.loss is not None]
    assert 3 <= max(before) < 40
    assert not filled_home.adapters.is_dir() or not list(filled_home.adapters.iterdir())

    with Store.open(filled_home) as store:
        events: list[TrainEvent] = []
        info = train(store, options, events.append)
    steps = [event.step for event in events if event.loss is not None]
    assert max(before) - 1 <= min(steps) <= max(before) + 1
    assert steps == list(range(min(steps), 41))
    assert info.name == run.name

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(options.model_dir), info.path)


def test_bars_that_come_in_after_a_kill_change_nothing(
    store: Store, options: TrainOptions, fill_home: Callable[..., None]
) -> None:
    def stop(event: TrainEvent) -> None:
        if event.step == 1 and event.loss is not None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped):
        train(store, replace(options, name="parted"), stop)
    document = Run(runs_folder(store.home) / "parted", "parted").document()
    fill_home(store.home, ("2330", "2317"), 170)
    info = resume(store, "parted")
    assert read_card(info.path).data_end == document["data_end"]


def test_a_run_killed_after_saving_is_finished_without_training(store: Store, options: TrainOptions) -> None:
    info = train(store, replace(options, name="kept", max_steps=1))
    run = Run(runs_folder(store.home) / "kept", "kept")
    run.write(run.document() | {"finished": False})
    events: list[TrainEvent] = []
    again = train(store, replace(options, name="kept", max_steps=1), events.append)
    assert again == info
    assert [e.state for e in events] == ["finished"]


def test_a_second_process_is_kept_out(store: Store, options: TrainOptions) -> None:
    run = Run(runs_folder(store.home) / "busy", "busy")
    with run.locked(), pytest.raises(UsageError, match="Another process is training 'busy'"):
        train(store, replace(options, name="busy"))


def test_a_name_with_other_options_is_refused(store: Store, options: TrainOptions) -> None:
    run = Run(runs_folder(store.home) / "mine", "mine")
    run.folder.mkdir(parents=True)
    run.write({"name": "mine", "options": options.document()})
    with pytest.raises(UsageError, match=r"unfinished training 'mine' .*--resume mine"):
        train(store, replace(options, name="mine", rank=4))


def test_a_base_that_changed_is_refused(store: Store, options: TrainOptions) -> None:
    run = Run(runs_folder(store.home) / "mine", "mine")
    run.folder.mkdir(parents=True)
    run.write({"name": "mine", "base": "x", "options": options.document(), "base_hash": "other", "id": "?"})
    with pytest.raises(ModelUnavailable, match="has changed since the training 'mine' began"):
        train(store, replace(options, name="mine"))
    assert store.runs.list()[0].state == "failed"


def test_windows_that_do_not_fit_are_counted_and_said(store: Store, options: TrainOptions) -> None:
    events: list[TrainEvent] = []
    short = replace(
        options, name="short", max_seq_length=160, max_steps=1, batch_size=4, validation_windows=4
    )
    info = train(store, short, events.append)
    counts = read_card(info.path).examples
    assert counts["too_long"].keys() == {"5/5"}
    assert counts["drawn"] == counts["used"] + counts["too_long"]["5/5"]
    assert counts["used"] == 8
    said = [e.text for e in events if "longer than --max-seq-length" in e.text]
    assert said
    assert f"{counts['too_long']['5/5']} of 5/5 training windows" in said[0]
    rows = (runs_folder(store.home) / "short" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["task"] for row in rows} == {"1/1"}


def test_nothing_fits(store: Store, options: TrainOptions) -> None:
    with pytest.raises(UsageError, match=r"None of \d+ windows fits into --max-seq-length 20"):
        train(store, replace(options, max_seq_length=20))


def test_the_reference_prompt_with_news(store: Store, options: TrainOptions) -> None:
    from datetime import UTC, datetime

    from stockllm.data.records import Article

    day = store.bars.series("2330").dates[40]
    at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
    store.news.put([Article("https://a.example/1", "台積電法說會", "a", at, "zh")], "2330")
    train(
        store,
        replace(options, name="news", prompt="reference", with_news=True, num_epochs=0.01, max_steps=-1),
    )
    rows = [
        json.loads(row)
        for row in (runs_folder(store.home) / "news" / "examples.jsonl").read_text("utf-8").splitlines()
    ]
    told = [row for row in rows if "台積電法說會" in row["prompt"][0]["content"]]
    assert told
    assert all(row["code"] == "2330" and row["origin"] >= day.isoformat() for row in told)
    assert all("Open: " in row["prompt"][1]["content"] for row in rows)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"codes": ("2454",)}, NotEnoughHistory, "2454 聯發科 has 0 trading days"),
        ({"model_dir": None, "model_name": "ewma"}, UsageError, "ewma is no base model"),
        ({"model_dir": Path("/nowhere")}, ModelUnavailable, "/nowhere"),
        ({"load_in_4bit": True}, UsageError, "--load-in-4bit needs a CUDA device"),
        ({"load_in_8bit": True}, UsageError, "--load-in-8bit needs a CUDA device"),
        ({"optim": "sgdd"}, UsageError, "There is no optimiser 'sgdd'"),
    ],
)
def test_what_cannot_be_trained_is_said(
    store: Store, options: TrainOptions, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(store, replace(options, **change))
    assert not list_adapters(store.home)


def test_a_company_with_too_few_days_is_left_out(
    store: Store, options: TrainOptions, fill_home: Callable[..., None]
) -> None:
    fill_home(store.home, ("3711",), 15)
    events: list[TrainEvent] = []
    info = train(store, replace(options, codes=("2330", "3711"), max_steps=1), events.append)
    assert info.companies == ("2330",)
    assert "Left out: 3711 日月光" in events[0].text
    assert "略過：3711 日月光" in events[0].text_zh
    assert all(bool(event.text) == bool(event.text_zh) for event in events)


def test_an_empty_store_is_said(tmp_path: Path, options: TrainOptions) -> None:
    with (
        Store.open(Home(tmp_path / "empty")) as empty,
        pytest.raises(NotEnoughHistory, match="The store holds no prices; take some in"),
    ):
        train(empty, options)


def test_a_checkpoint_cut_short_is_not_gone_on_from(tmp_path: Path) -> None:
    for step, files in ((1, True), (2, True), (3, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (folder / name).touch()
        (folder / "trainer_state.json").write_text("{}" if files else '{"log', encoding="utf-8")
    (tmp_path / "checkpoint-2" / "optimizer.pt").unlink()
    assert [runs.step_of(c) for c in Run(tmp_path, "x").checkpoints()] == [1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-1"]


def test_nothing_to_resume(store: Store) -> None:
    with pytest.raises(UsageError, match="no unfinished training to resume"):
        resume(store)
    with pytest.raises(UsageError, match="no unfinished training called 'x'; unfinished are: none"):
        resume(store, "x")
    with pytest.raises(UsageError, match="no unfinished training in"):
        resume(store, output_dir=store.home.root / "elsewhere")


def test_a_folder_of_ones_own(store: Store, options: TrainOptions, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.txt").touch()

    def stop(event: TrainEvent) -> None:
        if event.step == 1 and event.loss is not None:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match=f"--output-dir {own} --resume"):
        train(store, replace(options, output_dir=own), stop)
    assert (own / "progress.jsonl").is_file()
    info = resume(store, output_dir=own)
    assert info.path.parent == store.home.adapters
    assert (own / "mine.txt").exists()
