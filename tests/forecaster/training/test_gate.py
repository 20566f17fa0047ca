"""An adapter is held against its base on validation evenings, and says what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Task
from stockllm.forecaster.models import registry
from stockllm.forecaster.models.cards import read_card, write_card
from stockllm.forecaster.models.registry import resolve_model
from stockllm.forecaster.training import gate
from stockllm.forecaster.training.gate import Verdict, compare, held_windows, verdict_in_words
from stockllm.forecaster.training.progress import TrainEvent, runs_folder
from stockllm.forecaster.training.runs import Run
from stockllm.forecaster.training.train import TrainOptions, split_of, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TASKS = (Task(1, 1), Task(5, 5))


@pytest.fixture
def store(filled_home: Home) -> Iterator[Store]:
    with Store.open(filled_home) as opened:
        yield opened


@pytest.fixture
def options(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> TrainOptions:
    """The tiny model stands for the embedded one: `auto` looks at adapters of no other."""
    monkeypatch.setattr(registry, "base_model_dir", lambda: tiny_model)
    return TrainOptions(
        codes=("2330", "2317"),
        engine="peft",
        tasks=TASKS,
        batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=6,
        save_steps=50,
        validation_windows=6,
        learning_rate=1e-2,
        report_to="none",
    )


@pytest.mark.parametrize("wanted", [1, 2, 5, 12, 1000])
def test_windows_lie_behind_the_embargo_and_are_spread(store: Store, wanted: int) -> None:
    split = split_of(store, TASKS)
    assert split.train_end is not None
    assert split.validation_from is not None
    found = held_windows(
        store, ("2330", "2317"), validation_from=split.validation_from, wanted=wanted, prompt="compact"
    )
    assert found is not None
    days = store.market_days()
    behind = [day for day in days if day >= split.validation_from]
    each = len(behind) - max(gate.HORIZONS)
    assert len(found.windows) == min(wanted, 2 * each) == len(found.actual)
    assert len({(window.code, window.origin) for window in found.windows}) == len(found.windows)
    assert all(split.validation_from <= window.origin for window in found.windows)
    between = [day for day in days if split.train_end < day < split.validation_from]
    assert len(between) >= split.embargo == 5
    assert found.end <= days[-1]
    by_code = [[w.origin for w in found.windows if w.code == code] for code in ("2330", "2317")]
    assert abs(len(by_code[0]) - len(by_code[1])) <= 1
    if wanted == 12:
        assert not set(by_code[0]) & set(by_code[1])
        for origins in by_code:
            assert origins[0] < behind[len(behind) // 3]
            assert origins[-1] > behind[len(behind) // 2]


def test_what_came_is_told_from_the_reference_prices(store: Store) -> None:
    import numpy as np

    found = held_windows(store, ("2330",), validation_from=date(2025, 7, 1), wanted=1, prompt="compact")
    assert found is not None
    (window,), (row,) = found.windows, found.actual
    series = store.long_series("2330")
    at = series.dates.index(window.origin)
    assert window.history.dates[-1] == window.origin
    assert not len(window.future)
    for came, days in zip(row, gate.HORIZONS, strict=True):
        moves = np.log(series.close / series.reference)[at + 1 : at + 1 + days]
        assert came == pytest.approx(moves.sum())


def test_no_evening_with_days_after_it(store: Store) -> None:
    last = store.market_days()[-1]
    assert held_windows(store, ("2330",), validation_from=last, wanted=9, prompt="compact") is None


def test_the_sentence() -> None:
    worse = Verdict(0.0100, 0.0102, 48).sentence()
    assert "worse than its base: its CRPS is 2.00% higher on 48 validation forecasts" in worse
    assert "`auto` will not take it" in worse
    assert "比基礎模型差" in worse.zh
    assert "高 2.00%" in worse.zh
    better = Verdict(0.0100, 0.0097, 48).sentence()
    assert better == "It is better than its base: its CRPS is 3.00% lower on 48 validation forecasts."
    assert "auto" not in better.zh
    assert "no better than its base" in Verdict(0.01, 0.01, 2).sentence()
    assert "not compared" in verdict_in_words(None)


def test_a_better_adapter_says_so_and_auto_takes_it(store: Store, options: TrainOptions) -> None:
    events: list[TrainEvent] = []
    info = train(store, replace(options, name="good"), events.append)
    card = read_card(info.path)
    assert card.crps_base is not None
    assert card.crps_adapter is not None
    assert 0 < card.crps_adapter < card.crps_base
    assert card.crps_windows == 6
    assert "better than its base" in events[-1].text
    assert "比基礎模型好" in events[-1].text_zh
    assert "CRPS on validation" in (info.path / "README.md").read_text(encoding="utf-8")
    assert resolve_model("auto", store.home).adapter == "good"

    # A run that was killed before it wrote the figures down finds the same, without training.
    write_card(info.path, replace(card, crps_base=None, crps_adapter=None, crps_windows=0))
    run = Run(runs_folder(store.home) / "good", "good")
    run.write(run.document() | {"finished": False})
    again: list[TrainEvent] = []
    train(store, replace(options, name="good"), again.append)
    assert read_card(info.path) == card
    assert [event.state for event in again] == ["validating", "finished"]


@pytest.mark.parametrize("method", ["lora"])
def test_a_worse_adapter_says_so_and_auto_refuses_it(
    store: Store, options: TrainOptions, method: str
) -> None:
    own = {"rank": None, "lora_alpha": None, "lora_dropout": None} if method == "full" else {}
    broken = replace(options, method=method, learning_rate=30.0, max_steps=2, name="bad", **own)  # type: ignore[arg-type]
    events: list[TrainEvent] = []
    info = train(store, broken, events.append)
    card = read_card(info.path)
    assert card.crps_base is not None
    assert card.crps_adapter is not None
    assert card.crps_adapter > card.crps_base
    assert "worse than its base" in events[-1].text
    assert "`auto` will not take it" in events[-1].text
    assert "`auto` 不會選用它" in events[-1].text_zh
    if not hasattr(registry, "automatic"):
        pytest.skip("auto does not read the cards yet")
    assert resolve_model("auto", store.home).adapter is None


def test_both_are_asked_with_the_same_random_numbers(store: Store, options: TrainOptions) -> None:
    info = train(store, replace(options, name="none", validation_windows=0, max_steps=1))
    card = read_card(info.path)
    assert (card.crps_base, card.crps_adapter, card.crps_windows) == (None, None, 0)
    held = held_windows(store, ("2330",), validation_from=date(2025, 7, 1), wanted=2, prompt="compact")
    assert held is not None
    base = resolve_model("llama", store.home)
    alike = compare(store, base, base, held, card)
    assert alike is not None
    assert alike.base == alike.adapter


def test_without_validation_it_says_that_nothing_was_compared(store: Store, options: TrainOptions) -> None:
    events: list[TrainEvent] = []
    train(store, replace(options, name="blind", validation_windows=0, max_steps=1), events.append)
    assert "not compared with its base" in events[-1].text
    assert "`auto` will not take it" in events[-1].text
    assert "沒有驗證期間的預測" in events[-1].text_zh
