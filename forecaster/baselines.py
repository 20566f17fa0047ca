"""What a forecast has to beat."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from stockllm.forecaster.codec import BOUND, STEPS_PER_SIGMA, VOLUME_MIDDLE, PathState, encode, origin_state
from stockllm.forecaster.sample import Paths
from stockllm.forecaster.windows import Window


def ewma_walk(windows: Sequence[Window], *, paths: int, seed: int) -> list[Paths]:
    """Random walk with EWMA volatility (decay 0.94): closes are normal, with no drift.

    Each day's open and shadows are those of a random day of the stock's own past, in units of its
    volatility, put around the drawn close; so its candles are as wide as the stock's usually are.
    """
    return [_walk(window, paths, seed) for window in windows]


def _walk(window: Window, paths: int, seed: int) -> Paths:
    rng = np.random.default_rng([seed, zlib.crc32(window.code.encode()), window.origin.toordinal()])
    horizon = len(window.future_dates)
    past = encode(window.history).steps[-250:]
    state: PathState = origin_state(window.history, paths)
    prices = np.zeros((paths, horizon, 4), dtype=np.int64)
    volumes = np.zeros((paths, horizon), dtype=np.int64)
    for day in range(horizon):
        close = np.rint(rng.standard_normal(paths) * STEPS_PER_SIGMA).astype(np.int64)
        close = np.clip(close, np.maximum(state.low_bound, -BOUND), np.minimum(state.high_bound, BOUND))
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
