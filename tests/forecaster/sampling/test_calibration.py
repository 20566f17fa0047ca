"""Calibrated paths: still candles, as wide as asked, and honest about when they were fitted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import BarSeries
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import open_window
from stockllm.forecaster.evaluation.calibrate import Trial, calibrate, fit
from stockllm.forecaster.evaluation.cases import Request
from stockllm.forecaster.evaluation.evaluate import failures
from stockllm.forecaster.models.registry import ModelRef, weights_hash
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.forecaster.sampling.calibration import (
    CALIBRATION_FILE,
    Calibration,
    hash_with,
    pooled,
    read_calibration,
    widened,
)
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import sampler_for
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve

FITTED = Calibration((1.1, 1.2), 0.25, date(2025, 10, 1), date(2025, 12, 31), 1000, "abc")


def window_of(series: BarSeries, horizon: int = 20) -> Any:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, resolve("2330"), 20, dates)


def walked(series: BarSeries, paths: int = 40, horizon: int = 20) -> tuple[Paths, int]:
    (drawn,) = ewma_walk([window_of(series, horizon)], paths=paths, seed=1)
    return drawn, round(float(series.close[-1]) * 100)


@given(
    seed=st.integers(0, 100),
    start=st.sampled_from([2.0, 9.9, 48.0, 100.0, 990.0]),
    widths=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=6),
)
def test_widened_paths_are_candles_that_can_trade(
    walk: Callable[..., BarSeries], seed: int, start: float, widths: list[float]
) -> None:
    drawn, close = walked(walk(seed, start=start), paths=8, horizon=5)
    made = widened(drawn, close, widths)
    assert failures(made.prices, close) == 0
    assert (made.volumes == drawn.volumes).all()


def test_moves_are_as_wide_as_asked(walk: Callable[..., BarSeries]) -> None:
    drawn, close = walked(walk(3, wild=False, start=900.0), paths=400)
    assert widened(drawn, close, (1.0, 1.0)) is drawn
    own = np.log(drawn.prices[..., 3] / np.column_stack([np.full(400, close), drawn.prices[:, :-1, 3]]))
    made = widened(drawn, close, (0.5, 1.5))
    new = np.log(made.prices[..., 3] / np.column_stack([np.full(400, close), made.prices[:, :-1, 3]]))
    assert np.abs(new[:, 0] - 0.5 * own[:, 0]).max() < 0.004
    inside = np.abs(own[:, 1:]) < 0.06
    assert np.abs(new[:, 1:] - 1.5 * own[:, 1:])[inside].max() < 0.004
    # Each path may have its own last close.
    closes = np.full(400, close)
    assert (widened(drawn, closes, (0.5, 1.5)).prices == made.prices).all()


def test_a_file_beside_the_weights(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    assert read_calibration("owner/model") is None
    FITTED.write(tmp_path)
    assert read_calibration(tmp_path) == FITTED
    assert [path.name for path in tmp_path.iterdir()] == [CALIBRATION_FILE]
    good = json.loads((tmp_path / CALIBRATION_FILE).read_text("utf-8"))
    for bad in (
        "{", "[]", "{}",
        json.dumps(good | {"widths": []}), json.dumps(good | {"widths": [0]}),
        json.dumps(good | {"naive_share": 1}), json.dumps(good | {"start": "soon"}),
        json.dumps(good | {"widths": [float("nan")]}),
    ):  # fmt: skip
        (tmp_path / CALIBRATION_FILE).write_text(bad, "utf-8")
        with pytest.raises(
            ModelUnavailable, match=r"calibration\.json cannot be read .* 'stockllm calibrate'"
        ):
            read_calibration(tmp_path)


def test_what_the_ledger_freezes() -> None:
    assert hash_with("abc", None) == "abc"
    assert hash_with("abc", FITTED) == hash_with("abc", replace(FITTED, windows=1))
    others = [replace(FITTED, widths=(1.1,)), replace(FITTED, naive_share=0.5)]
    assert len({"abc", *(hash_with("abc", each) for each in (FITTED, *others))}) == 4
    assert [FITTED.naive_paths(n) for n in (1, 2, 4, 99)] == [0, 0, 1, 25]
    assert replace(FITTED, naive_share=0.9).naive_paths(2) == 1


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:
    """A tiny Llama that says it was trained to the end of 2024."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_model, folder)
    facts = {"data_end": "2024-12-31", "held_out": ["2317"]}
    (folder / "training.json").write_text(json.dumps(facts), "utf-8")
    return folder


def test_a_calibrated_llama(base: Path, walk: Callable[..., BarSeries]) -> None:
    ref = ModelRef("base", base)
    window = window_of(walk(5), horizon=3)

    def draw(calibrated: bool = True, paths: int = 8) -> tuple[str, Paths]:
        sampler = sampler_for(ref, until=window.origin, market=lambda _: (), calibrated=calibrated)
        (drawn,) = sampler.sample([window], paths=paths, seed=1)
        return sampler.hash, drawn

    plain_hash, _ = draw()
    assert plain_hash == weights_hash(base)
    FITTED.write(base)
    made_hash, made = draw()
    assert made_hash == hash_with(plain_hash, FITTED)
    close = round(float(window.history.close[-1]) * 100)
    _, own = draw(calibrated=False, paths=6)
    (naive,) = ewma_walk([window], paths=2, seed=1)
    expected = pooled(widened(own, close, FITTED.widths), naive)
    assert (made.prices == expected.prices).all()
    assert (made.volumes == expected.volumes).all()
    assert failures(made.prices, close) == 0
    # It was fitted on the compact style; what is said in the other one is left as it is.
    reference = sampler_for(ref, until=window.origin, market=lambda _: (), prompt="reference")
    assert reference.hash == plain_hash


def test_the_period_it_was_fitted_on_counts_as_read(base: Path) -> None:
    ref = ModelRef("base", base)
    assert cutoff(ref, simulated=False).day == date(2024, 12, 31)
    FITTED.write(base)
    assert cutoff(ref, simulated=False).day == date(2025, 12, 31)
    assert cutoff(ref, simulated=False, calibrated=False).day == date(2024, 12, 31)
    assert cutoff(ref, simulated=True).day is None


# --- fitting -------------------------------------------------------------------------------------


def forecasts(scale: float, seed: int, horizon: int, count: int = 300, paths: int = 40) -> Any:
    """Normal walks from 100 TWD, ``scale`` times 1% a day: (count, paths, horizon, 4), hundredths."""
    rng = np.random.default_rng([seed, horizon])
    closes = 10000 * np.exp(np.cumsum(rng.normal(0, 0.01 * scale, (count, paths, horizon)), axis=2))
    return np.repeat(np.rint(closes / 50)[..., None] * 50, 4, axis=3).astype(np.int64)


def trials(own: Any, naive: float, truth: float, count: int = 300) -> list[Trial]:
    """What came is a walk of ``truth``; ``own(horizon)`` are the model's forecasts."""
    rng = np.random.default_rng(99)
    return [
        Trial(
            own(horizon), forecasts(naive, 2, horizon), np.full(count, 10000),
            rng.normal(0, 0.01 * truth * horizon**0.5, count),
        )
        for horizon in (1, 5, 20)
    ]  # fmt: skip


def test_bands_too_narrow_are_widened() -> None:
    narrow = trials(lambda horizon: forecasts(1.0, 1, horizon), naive=0.6, truth=1.35)
    widths, share, before, after = fit(narrow)
    assert len(widths) == 20
    assert all(1.2 <= widths[h - 1] <= 1.5 for h in (1, 5))
    assert share <= 0.25
    assert all(a < b for a, b in zip(after, before, strict=True))
    assert fit(narrow, with_widths=False)[0] == (1.0,) * 20


def test_a_model_worse_than_naive_is_pooled_away() -> None:
    def lost(horizon: int) -> Any:
        rng = np.random.default_rng(7)
        drawn = forecasts(0.3, 1, horizon)
        return (
            np.rint(drawn * rng.choice([0.97, 1.03], len(drawn))[:, None, None, None] / 50).astype(int) * 50
        )

    _, share, before, after = fit(trials(lost, naive=1.0, truth=1.0))
    assert share == 0.75
    assert before[0] > 1.5 > after[0]


def test_a_period_it_has_read_is_refused(base: Path, filled_home: Home) -> None:
    with Store.open(filled_home) as store:
        days = sorted(store.bars.traded())
        request = Request(days[-30], days[-1], ("base",), ("2330",), paths=4, stride=3)
        made = calibrate(store, ModelRef("base", base), request)
        # 30 evenings have an answer of one day, 26 of five, 11 of twenty.
        assert made.calibration.windows == 10 + 5 + 2
        assert made.calibration.model == weights_hash(base)
        # A month is too short to say how wide the bands should be.
        assert set(made.calibration.widths) == {1.0}
        assert not (base / CALIBRATION_FILE).exists()
        longer = calibrate(store, ModelRef("base", base), replace(request, start=days[-100]))
        assert set(longer.calibration.widths) != {1.0}
        facts = {"data_end": str(days[-30]), "simulated": True}
        (base / "training.json").write_text(json.dumps(facts), "utf-8")
        with pytest.raises(UsageError, match="calibrate it on a period after that"):
            calibrate(store, ModelRef("base", base), request)
        for other in (ModelRef("ewma", None), ModelRef("base", base, "mine", base), ModelRef("o/m", "o/m")):
            with pytest.raises(UsageError, match="Only a base model in a folder"):
                calibrate(store, other, request)
