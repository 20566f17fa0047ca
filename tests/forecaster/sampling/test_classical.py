"""Baselines: valid candles from the past alone, and the distributions their names promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import encode
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.evaluation.evaluate import failures
from stockllm.forecaster.sampling import classical
from stockllm.forecaster.sampling.baselines import ewma_walk, walk_to
from stockllm.forecaster.sampling.classical import CLASSICAL, past_moves
from stockllm.forecaster.sampling.sample import Paths
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import Company

Walk = Callable[..., BarSeries]
WALKS: dict[str, Callable[..., list[Paths]]] = {"ewma": ewma_walk} | {
    name: sample for name, (_, sample) in CLASSICAL.items()
}


def window(series: BarSeries, horizon: int = 5) -> Window:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, Company.bare("2330"), 20, dates)


def returns(series: BarSeries, name: str, horizon: int, paths: int = 4000) -> Any:
    """Log returns since the last close, shape (paths, horizon)."""
    (drawn,) = WALKS[name]([window(series, horizon)], paths=paths, seed=1)
    return np.log(drawn.prices[:, :, 3] / round(series.close[-1] * 100))


@pytest.mark.parametrize("name", WALKS)
@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), days=st.integers(21, 90), start=st.sampled_from([1.2, 9.9, 48.0, 990.0]))
def test_every_candle_can_trade(walk: Walk, name: str, seed: int, days: int, start: float) -> None:
    series = walk(seed, days, start, 0.03)
    (drawn,) = WALKS[name]([window(series)], paths=9, seed=seed)
    assert drawn.prices.shape == (9, 5, 4)
    assert failures(drawn.prices, round(series.close[-1] * 100)) == 0
    assert (drawn.volumes > 0).all()


@pytest.mark.parametrize("name", WALKS)
def test_the_same_seed_the_same_paths_whatever_else_is_sampled(walk: Walk, name: str) -> None:
    a, b = window(walk(1, 80)), window(replace(walk(2, 80), code="2317"))
    sample = WALKS[name]
    alone = sample([a], paths=7, seed=3)[0]
    beside = sample([b, a], paths=7, seed=3)
    assert (alone.prices == beside[1].prices).all()
    assert (alone.volumes == beside[1].volumes).all()
    if name != "last":
        assert (sample([a], paths=7, seed=4)[0].prices[..., 3] != alone.prices[..., 3]).any()
        assert (beside[0].prices != beside[1].prices).any()


def test_last_stays(walk: Walk) -> None:
    assert (returns(walk(3, wild=False), "last", 5, 9) == 0).all()


def test_drift_has_the_mean_and_the_spread_of_the_year(walk: Walk) -> None:
    series = walk(4, 300, 600.0, wild=False)
    moves = past_moves(series)
    drawn = returns(series, "drift", 5)
    assert drawn[:, -1].mean() == pytest.approx(5 * moves.mean(), abs=4 * moves.std() * np.sqrt(5 / 4000))
    assert drawn[:, -1].std() == pytest.approx(moves.std() * np.sqrt(5), rel=0.05)


def test_bootstrap_draws_the_moves_there_were(walk: Walk) -> None:
    series = walk(5, 120, 600.0, wild=False)
    moves = past_moves(series)
    drawn = returns(series, "bootstrap", 1)[:, 0]
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(moves, [0.1, 0.5, 0.9]), abs=0.004
    )
    nearest = np.abs(drawn[:, None] - moves).min(axis=1)
    assert nearest.max() < 0.002  # a tick


def test_ewma_is_normal_with_the_volatility_of_the_evening(walk: Walk) -> None:
    series = walk(6, 200, 600.0, wild=False)
    drawn = returns(series, "ewma", 1)[:, 0]
    assert drawn.std() == pytest.approx(encode(series).sigma[-1], rel=0.05)
    assert abs(drawn.mean()) < 0.001


@pytest.mark.parametrize("kind", ["ets", "arima"])
@pytest.mark.parametrize("shape", ["walk", "trend", "noisy"])
def test_simulated_paths_have_the_fitted_models_own_intervals(kind: str, shape: str) -> None:
    from statsforecast.models import AutoARIMA, AutoETS

    rng = np.random.default_rng(7)
    moves = rng.normal(0.006 if shape == "trend" else 0, 0.02, 140)
    if shape == "noisy":
        moves = moves + np.diff(rng.normal(0, 0.015, 141))
    futures = classical._ets if kind == "ets" else classical._arima
    drawn = futures(moves, 6000, 20, np.random.default_rng(8)).cumsum(axis=1) + moves.sum()
    model = AutoETS(1, "AZN") if kind == "ets" else AutoARIMA(season_length=1, seasonal=False)
    with np.errstate(all="ignore"):
        said = model.fit(moves.cumsum()).predict(20, level=[68.268949])
    spread = np.asarray(said["mean"]) - np.asarray(said["lo-68.268949"])
    assert drawn.std(axis=0) == pytest.approx(spread, rel=0.05)
    assert drawn.mean(axis=0) == pytest.approx(np.asarray(said["mean"]), abs=4 * spread[-1] / np.sqrt(6000))


@pytest.mark.parametrize("name", WALKS)
def test_a_price_that_never_moved(walk: Walk, name: str) -> None:
    series = walk(9, 60)
    still = np.full(60, 50.0)
    flat = replace(series, open=still, high=still, low=still, close=still, reference=still)
    (drawn,) = WALKS[name]([window(flat)], paths=9, seed=1)
    assert failures(drawn.prices, 5000) == 0


def test_an_ex_date_is_no_loss(walk: Walk) -> None:
    series = walk(10, 60, wild=False)
    # From day 30 on everything trades at half, with a reference that says so.
    half = np.where(np.arange(60) >= 30, 0.5, 1.0)
    split = BarSeries(
        series.code, series.dates, *(c * half for c in (series.open, series.high, series.low, series.close)),
        series.volume, series.reference * half,
    )  # fmt: skip
    split.reference[30] = series.reference[30] * 0.5
    assert past_moves(split) == pytest.approx(past_moves(series))


def test_a_year_of_moves_and_no_first_day(walk: Walk) -> None:
    long, short = walk(11, 300), walk(11, 60)
    assert len(past_moves(long)) == 250
    assert past_moves(long)[-1] == np.log(long.close[-1] / long.reference[-1])
    assert len(past_moves(short)) == 59
    assert len(past_moves(walk(11, 1))) == 1


def test_rounding_to_ticks_does_not_add_up(walk: Walk) -> None:
    series = walk(12, 60, 9.6, wild=False)
    moves = np.full((3, 20), 0.0021)  # less than half a tick of 0.05 TWD from 10 TWD on
    drawn = walk_to(window(series, 20), moves, rng=np.random.default_rng(0))
    goal = series.close[-1] * np.exp(0.0021 * 20)
    assert drawn.prices[:, -1, 3] / 100 == pytest.approx(goal, abs=0.05)
