"""The naive baseline is the random walk it says it is, in candles that could trade."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import DECAY, encode
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve
from stockllm.market.ticks import limits, tick

Walk = Callable[..., BarSeries]


def window(series: BarSeries, horizon: int = 5) -> Window:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, resolve("2330"), 20, dates)


@given(
    seed=st.integers(0, 2**31),
    start=st.sampled_from([1.5, 9.9, 99.0, 995.0]),
    sigma=st.sampled_from([0.003, 0.02, 0.1]),
)
def test_every_path_is_candles(walk: Walk, seed: int, start: float, sigma: float) -> None:
    asked = window(walk(seed, start=start, sigma=sigma))
    (paths,) = ewma_walk([asked], paths=30, seed=seed)
    before = np.full(30, round(asked.history.close[-1] * 100))
    for opened, high, low, close in paths.prices.transpose(1, 2, 0):
        down, up = limits(before)
        assert ((down <= low) & (low <= np.minimum(opened, close))).all()
        assert ((np.maximum(opened, close) <= high) & (high <= up)).all()
        for price in (opened, high, low, close):
            assert (price % tick(price) == 0).all()
        before = close
    assert (paths.volumes >= 1).all()


def test_closes_are_a_random_walk_without_drift(walk: Walk) -> None:
    # At 490 TWD a tick is a thousandth: rounding does not hide the distribution.
    series = walk(3, days=120, start=490.0, sigma=0.015, wild=False)
    asked, count = window(series, 2), 6000
    (paths,) = ewma_walk([asked], paths=count, seed=1)
    sigma = encode(series).sigma[-1]
    closes = np.log(paths.prices[:, :, 3] / (series.close[-1] * 100))
    moves = np.diff(closes, axis=1, prepend=0.0)
    variances = np.stack(
        [np.full(count, sigma**2), DECAY * sigma**2 + (1 - DECAY) * moves[:, 0] ** 2], axis=1
    )
    scores = moves / np.sqrt(variances)
    assert np.abs(scores.mean(axis=0)).max() < 4 / np.sqrt(count)
    assert np.abs(scores.std(axis=0) - 1).max() < 0.04
    assert abs(np.corrcoef(scores.T)[0, 1]) < 4 / np.sqrt(count)
    assert np.quantile(scores[:, 0], [0.1, 0.9]) == pytest.approx([-1.2816, 1.2816], abs=0.08)


def test_candles_are_as_wide_as_the_stocks_own(walk: Walk) -> None:
    narrow, wide = (walk(5, days=120, start=490.0, wild=False) for _ in range(2))
    wide = replace(wide, high=wide.high * 1.03, low=wide.low * 0.97)
    ranges = []
    for series in (narrow, wide):
        (paths,) = ewma_walk([window(series)], paths=200, seed=1)
        ranges.append(np.log(paths.prices[..., 1] / paths.prices[..., 2]).mean())
    assert ranges[1] - ranges[0] == pytest.approx(np.log(1.03 / 0.97), rel=0.35)


def test_the_seed_decides_whatever_is_beside_it(walk: Walk) -> None:
    asked = window(walk(1))
    beside = replace(window(walk(2)), code="2317")
    (alone,) = ewma_walk([asked], paths=9, seed=5)
    together = ewma_walk([beside, asked], paths=9, seed=5)[1]
    (other,) = ewma_walk([asked], paths=9, seed=6)
    assert (alone.prices == together.prices).all()
    assert (alone.prices != other.prices).any()


def test_the_baseline_needs_no_torch() -> None:
    code = "import sys, stockllm.forecaster.sampling.baselines; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
