"""What a forecast has to beat, and the walk from closes to candles that all baselines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import STEPS_PER_SIGMA, VOLUME_MIDDLE, PathState, encode, origin_state
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.sampling.sample import Paths, window_rng

#: What ``ewma_walk`` computes; the ledger freezes a digest of it.
FORMULA = "random walk, EWMA volatility, decay 0.94"
#: Days of its own past that a baseline looks at: a year.
YEAR = 250

Floats = NDArray[np.float64]
#: (number of the day, from 0; where each path stands) -> the day's close in steps, shape (paths,).
CloseSteps = Callable[[int, PathState], "Floats | NDArray[np.int64]"]


def ewma_walk(windows: Sequence[Window], *, paths: int, seed: int) -> list[Paths]:
    """Random walk with EWMA volatility (decay 0.94): closes are normal, with no drift.

    Each day's open and shadows are those of a random day of the stock's own past, in units of its
    volatility, put around the drawn close; so its candles are as wide as the stock's usually are.
    """
    return [_ewma(window, paths, seed) for window in windows]


def _ewma(window: Window, paths: int, seed: int) -> Paths:
    rng = window_rng(window, seed)

    def close(_day: int, state: PathState) -> NDArray[np.int64]:
        steps = np.rint(rng.standard_normal(paths) * STEPS_PER_SIGMA).astype(np.int64)
        return np.clip(steps, state.low_bound, state.high_bound)

    return walk(window, close, paths=paths, rng=rng)


def walk_to(window: Window, moves: Floats, *, rng: np.random.Generator) -> Paths:
    """Candles whose closes follow given log moves, shape (paths, horizon), from the last close.

    Rounding to the tick does not add up over days: each day aims at where the moves lead, as far as
    the day's limits allow.
    """
    goal = np.log(np.rint(window.history.close[-1] * 100)) + np.cumsum(moves, axis=1)

    def close(day: int, state: PathState) -> Floats:
        steps: Floats = (goal[:, day] - np.log(state.reference)) / (state.sigma / STEPS_PER_SIGMA)
        return np.clip(steps, state.low_bound, state.high_bound)

    return walk(window, close, paths=len(moves), rng=rng)


def walk(window: Window, close_steps: CloseSteps, *, paths: int, rng: np.random.Generator) -> Paths:
    """Candles around drawn closes, day after day, on their ticks and inside their limits."""
    horizon = len(window.future_dates)
    past = encode(window.history).steps[-YEAR:]
    state: PathState = origin_state(window.history, paths)
    prices = np.zeros((paths, horizon, 4), dtype=np.int64)
    volumes = np.zeros((paths, horizon), dtype=np.int64)
    for day in range(horizon):
        close = close_steps(day, state)
        like = past[rng.integers(0, len(past), paths)]
        opened = np.clip(like[:, 0], state.low_bound, state.high_bound)
        upper = like[:, 1] - np.maximum(like[:, 0], like[:, 3])
        lower = np.minimum(like[:, 0], like[:, 3]) - like[:, 2]
        high = np.minimum(np.maximum(opened, close) + upper, state.high_bound)
        low = np.maximum(np.minimum(opened, close) - lower, state.low_bound)
        prices[:, day] = state.prices(np.stack([opened, high, low, close], axis=1))
        usual = np.full(paths, VOLUME_MIDDLE)
        volumes[:, day] = state.volumes(usual)
        state = state.after(prices[:, day, 3], usual)
    return Paths(prices, volumes)
