"""Days as integers and back: how exact, how monotone, and nothing of tomorrow in today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import (
    BOUND,
    BUCKETS_PER_OCTAVE,
    SIGMA_CEILING,
    SIGMA_FLOOR,
    STEPS_PER_SIGMA,
    VOLUME_BUCKETS,
    VOLUME_MIDDLE,
    WARM_UP,
    PathState,
    encode,
    ewma,
    origin_state,
)
from stockllm.market.ticks import limits, tick

Walk = Callable[..., BarSeries]

seeds = st.integers(0, 2**32 - 1)
starts = st.sampled_from([1.5, 9.8, 30.0, 99.0, 480.0, 1000.0, 9000.0])
sigmas = st.sampled_from([0.003, 0.01, 0.02, 0.05])


def cents(series: BarSeries) -> np.ndarray:
    """Open, high, low, close in hundredths of a TWD, shape (n, 4)."""
    return np.rint(np.stack([series.open, series.high, series.low, series.close], axis=1) * 100).astype(int)


def states(series: BarSeries) -> PathState:
    """The state before every day of a series, each a path of its own."""
    encoded = encode(series)
    reference = np.rint(series.reference * 100).astype(np.int64)
    return PathState.start(reference, encoded.sigma[:-1], encoded.usual_volume[:-1])


@given(seed=seeds, start=starts, sigma=sigmas)
def test_decoding_comes_within_half_a_step_and_a_tick(
    walk: Walk, seed: int, start: float, sigma: float
) -> None:
    series = walk(seed, start=start, sigma=sigma)
    encoded, before, true = encode(series), states(series), cents(series)
    decoded = before.prices(encoded.steps)
    step = before.sigma[:, None] / STEPS_PER_SIGMA
    at_limit = (encoded.steps <= before.low_bound[:, None]) | (encoded.steps >= before.high_bound[:, None])
    # The outermost step is the limit itself, so what lies just inside it is off by up to a whole one.
    exact = true * np.expm1(np.where(at_limit, step, step / 2) * 1.0001)
    assert (np.abs(decoded - true) <= exact + tick(np.maximum(true, decoded))).all()


@given(seed=seeds, start=starts, sigma=sigmas)
def test_order_is_kept(walk: Walk, seed: int, start: float, sigma: float) -> None:
    series = walk(seed, start=start, sigma=sigma)
    steps = encode(series).steps
    for opened, high, low, close in (steps.T, states(series).prices(steps).T):
        assert (low <= np.minimum(opened, close)).all()
        assert (np.maximum(opened, close) <= high).all()


@given(seed=seeds, sigma=sigmas)
def test_a_stock_at_its_limit_decodes_to_the_limit_price(walk: Walk, seed: int, sigma: float) -> None:
    series = walk(seed, sigma=sigma)
    true, decoded = cents(series), states(series).prices(encode(series).steps)
    down, up = limits(np.rint(series.reference * 100).astype(np.int64))
    for limit in (down, up):
        locked = true[:, 3] == limit
        assert (decoded[locked, 3] == limit[locked]).all()


@given(seed=seeds, start=starts, sigma=st.floats(0.0001, 0.5))
def test_every_number_decodes_to_a_price_that_can_trade(seed: int, start: float, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    reference = np.rint(start * 100 * np.exp(rng.normal(0, 1, 9))).astype(np.int64).clip(1)
    state = PathState.start(reference, np.full(9, sigma), np.full(9, 20.0))
    assert (state.low_bound <= 0).all()
    assert (state.high_bound >= 0).all()
    assert (np.abs(np.concatenate([state.low_bound, state.high_bound])) <= BOUND).all()
    steps = np.sort(rng.integers(-BOUND, BOUND + 1, (9, 20)))
    prices = state.prices(steps)
    down, up = limits(reference)
    assert (np.diff(prices) >= 0).all()
    assert (prices >= down[:, None]).all()
    assert (prices <= up[:, None]).all()
    assert (prices % tick(prices) == 0).all()
    ends = state.prices(np.stack([state.low_bound, state.high_bound], axis=1))
    assert (ends == np.stack([down, up], axis=1)).all()


@given(seed=seeds, cut=st.integers(WARM_UP + 1, 59))
def test_no_day_knows_a_later_one(walk: Walk, seed: int, cut: int) -> None:
    series, other = walk(seed), walk(seed + 1, sigma=0.05)
    whole = encode(series)
    changed = encode(series[:cut].then(other[cut:]))
    alone = encode(series[:cut])
    for poisoned in (changed, alone):
        assert (poisoned.steps[:cut] == whole.steps[:cut]).all()
        assert (poisoned.buckets[:cut] == whole.buckets[:cut]).all()
        assert (poisoned.sigma[: cut + 1] == whole.sigma[: cut + 1]).all()
        assert (poisoned.usual_volume[: cut + 1] == whole.usual_volume[: cut + 1]).all()


def test_an_ex_date_is_no_move(walk: Walk) -> None:
    series = walk(5, wild=False)
    split = replace(
        series,
        **{
            name: np.concatenate([getattr(series, name)[:40], getattr(series, name)[40:] / 2])
            for name in ("open", "high", "low", "close", "reference")
        },
    )
    assert (encode(split).steps == encode(series).steps).all()
    assert (encode(split).sigma == encode(series).sigma).all()
    unknown = replace(split, reference=np.concatenate([series.open[:1], split.close[:-1]]))
    assert encode(unknown).steps[40, 3] == -BOUND


@given(seed=seeds)
def test_volumes_come_back_within_half_a_bucket(walk: Walk, seed: int) -> None:
    series = walk(seed)
    encoded = encode(series)
    inside = (encoded.buckets > 0) & (encoded.buckets < VOLUME_BUCKETS - 1)
    octaves = np.abs(np.log2(states(series).volumes(encoded.buckets)) - np.log2(series.volume))
    assert (octaves[inside] <= 0.5 / BUCKETS_PER_OCTAVE + 1e-6).all()


def test_volume_of_a_silent_day_is_the_lowest_bucket(walk: Walk) -> None:
    series = walk(1)
    volume = series.volume.copy()
    volume[30] = 0
    assert encode(replace(series, volume=volume)).buckets[30] == 0


@given(seed=seeds)
def test_a_path_rolls_on_as_its_days_would_have_been_encoded(walk: Walk, seed: int) -> None:
    series = walk(seed, days=50, wild=False)
    state = origin_state(series[:40], 1)
    assert state.sigma[0] == encode(series[:40]).sigma[-1]
    for day in range(40, 50):
        known = encode(series[:day])
        assert state.sigma[0] == pytest.approx(known.sigma[-1])
        assert abs(state.usual_volume[0] - known.usual_volume[-1]) <= 0.5 / BUCKETS_PER_OCTAVE
        close = np.rint(series.close[day : day + 1] * 100).astype(np.int64)
        assert state.reference[0] == round(series.close[day - 1] * 100)
        state = state.after(close, encode(series[: day + 1]).buckets[-1:])


def test_paths_are_taken_apart_and_joined(walk: Walk) -> None:
    states = [origin_state(walk(seed), 2) for seed in (1, 2)]
    joined = PathState.joined(states)
    assert joined.reference.tolist() == [int(s.reference[0]) for s in states for _ in range(2)]
    assert joined.row(2).limit_up.tolist() == [int(states[1].limit_up[0])]


def test_volatility_is_a_mean_of_squares_that_forgets() -> None:
    assert ewma(np.array([4.0, 0.0]), 1.0).tolist() == pytest.approx([1.0, 1.18, 1.1092])
    n = 400
    moves = np.where(np.arange(n) % 2, 0.02, -0.02)
    reference = np.full(n, 100.0)
    close = reference * np.exp(moves)
    flat = BarSeries("1", (), reference, close, close, close, np.full(n, 2.0**20), reference)
    encoded = encode(flat)
    assert encoded.sigma == pytest.approx(np.full(n + 1, 0.02))
    assert set(encoded.steps[:, 3].tolist()) == {-STEPS_PER_SIGMA, STEPS_PER_SIGMA}
    assert set(encoded.buckets.tolist()) == {VOLUME_MIDDLE}


def test_volatility_stays_within_what_a_prompt_can_name(walk: Walk) -> None:
    still = walk(1, sigma=1e-6, wild=False)
    assert set(encode(still).sigma.tolist()) == {SIGMA_FLOOR}
    assert encode(walk(3, days=200, sigma=0.5)).sigma.max() <= SIGMA_CEILING


def test_short_series(walk: Walk) -> None:
    assert len(encode(walk(1)[:0]).sigma) == 1
    one = encode(walk(1)[:1])
    assert one.steps.shape == (1, 4)
    assert one.sigma.tolist() == pytest.approx([0.02, 0.02])


def test_a_part_of_an_encoding_keeps_the_state_behind_it(walk: Walk) -> None:
    encoded = encode(walk(1))
    part = encoded[-5:]
    assert (part.steps == encoded.steps[55:]).all()
    assert (part.sigma == encoded.sigma[55:]).all()
    assert len(part.usual_volume) == 6


def test_one_crash_counts_no_more_than_one_leap(walk: Walk) -> None:
    """A stock's first days have no limit: what lies past it is clipped on both sides."""
    series = walk(1, wild=False)
    ends = []
    for factor in (0.6, 1.0 / 0.6):
        close = series.close.copy()
        close[40] = series.reference[40] * factor
        ends.append(encode(replace(series, close=close)).sigma[41])
    assert ends[0] == pytest.approx(ends[1])
    assert ends[0] < SIGMA_CEILING
