"""Presets by memory, the sentence when memory is full, and the end of a run that gains no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stockllm.data.errors import TrainingStopped, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Task
from stockllm.forecaster.models import presets
from stockllm.forecaster.models.cards import read_card
from stockllm.forecaster.models.presets import OutOfMemory, by_memory, smaller, watched, watched_alone
from stockllm.forecaster.training import trainer
from stockllm.forecaster.training.options import TrainOptions
from stockllm.forecaster.training.patience import Patience
from stockllm.forecaster.training.progress import TrainEvent, runs_folder
from stockllm.forecaster.training.train import resume, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def store(filled_home: Home) -> Iterator[Store]:
    with Store.open(filled_home) as opened:
        yield opened


@pytest.fixture
def options(tiny_model: Path) -> TrainOptions:
    return TrainOptions(
        codes=("2330",),
        model_dir=tiny_model,
        engine="peft",
        tasks=(Task(1, 1),),
        batch_size=2,
        gradient_accumulation_steps=1,
        max_steps=8,
        validation_windows=2,
        report_to="none",
        save_steps=1,
    )


# --- presets -------------------------------------------------------------------------------------


def test_memory_chooses_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert [by_memory(gib) for gib in (4, 8, 9.6, 11.9, 23.6, 31.8, 79)] == [
        "small", "small", "medium", "medium", "medium", "large", "large",
    ]  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert presets.of_machine() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device = SimpleNamespace(total_memory=12 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    assert presets.of_machine() == "medium"
    assert [smaller(name) for name in presets.PRESETS] == [None, "cpu", "small", "medium"]


def test_a_preset_fills_in_what_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "of_machine", lambda: "cpu")
    for name, preset in presets.PRESETS.items():
        options = TrainOptions.given(codes=("2330",), preset=name)
        assert (options.preset, options.model_name, options.method) == (
            name,
            preset.model_name,
            preset.method,
        )
        # All learn from as many windows a step.
        assert options.per_step == 32
    own = TrainOptions.given(codes=("2330",), preset="small", method="dora", batch_size=1, rank=None)
    assert (own.model_name, own.method, own.batch_size) == ("unsloth/Llama-3.2-1B-Instruct", "dora", 1)
    assert TrainOptions.given(codes=("2330",), preset="large", model_dir=Path("/mine")).model_name == "llama"
    # The one for a machine without CUDA is what a plain `train` does.
    auto = TrainOptions.given(codes=("2330",), preset="auto")
    assert replace(auto, preset=None) == TrainOptions(codes=("2330",))
    with pytest.raises(UsageError, match="--preset 'huge' is not known; choose one of auto, cpu, small"):
        TrainOptions.given(codes=("2330",), preset="huge")


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "words"), [(8, "halve --batch-size (8)"), (1, "choose a smaller model")])
def test_full_memory_without_presets_names_flags_that_are_there(batch: int, words: str) -> None:
    with pytest.raises(OutOfMemory, match="ran out of memory") as full, watched_alone(batch):
        raise RuntimeError("CUDA out of memory.")
    assert words in str(full.value)
    assert "--tasks" not in str(full.value)
    with pytest.raises(RuntimeError, match="another"), watched_alone(batch):
        raise RuntimeError("another fault")


@pytest.mark.parametrize(
    ("preset", "model", "batch", "sentence"),
    [
        ("large", "x", 8, "the next smaller preset, `--preset medium`"),
        ("small", "x", 8, "the next smaller preset, `--preset cpu`"),
        (None, "unsloth/Llama-3.2-3B-Instruct", 8, "`--preset small`"),
        (None, "llama", 8, "no preset is smaller than `--preset cpu`; halve --batch-size (8) and double"),
        ("cpu", "llama", 1, "leave out the longest of --tasks"),
    ],
)
def test_full_memory_names_the_next_smaller_preset(
    preset: str | None, model: str, batch: int, sentence: str
) -> None:
    import torch

    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError(),
    ):
        with pytest.raises(OutOfMemory) as full, watched(preset, model, batch):
            raise error
        assert sentence in str(full.value)
        assert "\n" not in str(full.value)
        assert full.value.zh
    with pytest.raises(RuntimeError, match="shapes"), watched(preset, model, batch):
        raise RuntimeError("shapes do not match")


def test_a_training_that_fills_memory_ends_in_a_sentence(
    store: Store, options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trainer, "fit", full)
    events: list[TrainEvent] = []
    with pytest.raises(OutOfMemory, match="--preset small"):
        train(store, replace(options, preset="medium", name="full"), events.append)
    assert store.runs.list()[0].state == "failed"
    assert not store.home.adapters.is_dir() or not list(store.home.adapters.iterdir())

    def no_room(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", no_room)
    with pytest.raises(OutOfMemory, match="--preset small"):
        train(store, replace(options, preset="medium", name="load"))


# --- early stopping ------------------------------------------------------------------------------


def state(*losses: float | None, first: int = 0) -> Any:
    log = [{"step": n, "eval_loss": loss} for n, loss in enumerate(losses, first) if loss is not None]
    return SimpleNamespace(log_history=[*log, {"step": 1, "loss": 0.0}], global_step=first + len(losses) - 1)


def test_patience_counts_validations_since_the_best() -> None:
    two = Patience(2)
    assert (two.best(state(1.0)), two.ended(state(1.0))) == (None, False)
    # The base model's own, at step 0, is nothing that could be kept.
    assert (two.best(state(1.0, 3.0, 2.0)), two.ended(state(1.0, 3.0, 2.0))) == (2, False)
    assert not two.ended(state(9.0, 2.0, 3.0))
    assert two.ended(state(9.0, 2.0, 3.0, 2.0))
    assert two.best(state(9.0, 2.0, 3.0, 2.0)) == 1
    assert not two.ended(state(9.0, 2.0, 3.0, 1.0))
    assert two.sentence(state(9.0, 2.0, 3.0, 2.5)) == (
        "Kept step 1 of 3, whose validation loss was the lowest: 2.0000."
    )


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Validation loses these, one after the other, whatever was trained."""
    told: list[float] = []
    plain = trainer.trainer_class

    def with_losses(loaded: Any) -> Any:
        class Told(plain(loaded)):  # type: ignore[misc]
            def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
                metrics = {"eval_loss": told.pop(0)}
                self.log(dict(metrics))
                self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
                return metrics

        return Told

    monkeypatch.setattr(trainer, "trainer_class", with_losses)
    return told


@pytest.mark.parametrize("method", ["lora", "full", "adalora"])
def test_the_best_checkpoint_is_kept(
    store: Store, options: TrainOptions, losses: list[float], method: str
) -> None:
    from safetensors.numpy import load_file

    own = dict.fromkeys(("rank", "lora_alpha", "lora_dropout", "optim"))
    options = replace(options, method=method, **own)
    losses += [9.0, 3.0, 2.0, 2.5, 2.0, 1.0]
    events: list[TrainEvent] = []
    info = train(store, replace(options, name="stopped", early_stopping=2), events.append)
    card = read_card(info.path)
    assert (card.steps, card.losses["validation_loss_after"]) == (2, 2.0)
    assert "Kept step 2 of 4, whose validation loss was the lowest: 2.0000." in [e.text for e in events]
    assert losses == [1.0]
    assert not list((runs_folder(store.home) / "stopped").glob("checkpoint-*"))
    # The weights are those after two steps of the same run, and not those it ended with.
    kept: dict[str, Any] = {}

    def at_two(event: TrainEvent) -> None:
        if event.step == 3 and not kept:
            (folder,) = (runs_folder(store.home) / "again").glob("checkpoint-2")
            (file,) = folder.glob("*.safetensors")
            kept.update(load_file(file))

    losses[:] = [9.0, 3.0, 2.0, 2.5, 2.0]
    train(store, replace(options, name="again", early_stopping=2), at_two)
    (file,) = info.path.glob("*.safetensors")
    found = load_file(file)
    assert found.keys() == kept.keys()
    assert all((found[key] == kept[key]).all() for key in kept)


def test_a_run_that_goes_on_counts_on(store: Store, options: TrainOptions, losses: list[float]) -> None:
    import os
    import signal

    losses += [9.0, 2.0, 3.0, 3.0, 1.0]

    def interrupt(event: TrainEvent) -> None:
        if event.step == 1 and event.loss is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    options = replace(options, name="parted", early_stopping=2)
    with pytest.raises(TrainingStopped):
        train(store, options, interrupt)
    info = resume(store, "parted")
    assert read_card(info.path).steps == 1
    assert losses == [1.0]


def test_early_stopping_without_validation_is_refused(store: Store, options: TrainOptions) -> None:
    with pytest.raises(UsageError, match="--early-stopping needs validation windows"):
        train(store, replace(options, name="blind", early_stopping=1, validation_windows=0))
    assert not runs_folder(store.home).exists()


def test_without_it_a_run_validates_as_before(options: TrainOptions) -> None:
    assert trainer._validates(replace(options, save_steps=None), 60) == 30
    assert trainer._validates(replace(options, save_steps=None, early_stopping=3), 60) == 6
    assert trainer._validates(replace(options, save_steps=5, early_stopping=3), 60) == 5
