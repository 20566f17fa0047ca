"""Days as small integers in units of the stock's own volatility, and back.

A day is five numbers: open, high, low and close as log moves from the day's reference price in
steps of one eighth of a standard deviation, and a volume bucket. The standard deviation is the
one known the evening before: an exponentially weighted mean of squared close-to-close log moves,
decay 0.94 (RiskMetrics 1996), the same that the naive baseline uses. A model that knows nothing
and draws closes from N(0, 8^2) steps therefore *is* the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import BarSeries
from stockllm.market.ticks import limits, round_to_tick

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS_PER_SIGMA = 8
#: Below this a day's volatility says more about the tick than about the stock; it also bounds the
#: number of steps to a daily limit: ln(0.9) / (0.005 / 8) = -168.6.
SIGMA_FLOOR = 0.005
SIGMA_CEILING = 0.10
BOUND = 169
DECAY = 0.94
#: Days whose plain mean square starts the recursion; the first one's, measured from its own open,
#: is replaced by the mean of the WARM_UP days after it.
WARM_UP = 20
VOLUME_BUCKETS = 25
VOLUME_MIDDLE = 12
#: Buckets a doubling of volume moves: 12 buckets up is 16 times the usual.
BUCKETS_PER_OCTAVE = 3


@dataclass(frozen=True, slots=True)
class Encoded:
    """A series as integers. ``steps`` (n, 4) and ``buckets`` (n,) describe its days.

    ``sigma`` and ``usual_volume`` have shape (n + 1,): entry t was known before day t, the last
    entry is for the day after the series. ``sigma`` is a daily log volatility, ``usual_volume``
    the mean of log2 shares.
    """

    steps: Ints
    buckets: Ints
    sigma: Floats
    usual_volume: Floats

    def __getitem__(self, part: slice) -> Encoded:
        start, stop, _ = part.indices(len(self.buckets))
        return Encoded(
            self.steps[start:stop],
            self.buckets[start:stop],
            self.sigma[start : stop + 1],
            self.usual_volume[start : stop + 1],
        )


def ewma(values: Floats, initial: float) -> Floats:
    """Exponentially weighted mean before each value and after the last, shape (n + 1,)."""
    out = np.empty(len(values) + 1)
    state = out[0] = initial
    for i, value in enumerate(values.tolist()):
        state = DECAY * state + (1.0 - DECAY) * value
        out[i + 1] = state
    return out


def encode(series: BarSeries) -> Encoded:
    """Every day of ``series`` as integers; day t uses only days before t once past the warm-up.

    The start value is taken from the first WARM_UP + 1 days, so a series should begin that much
    earlier than the days it is wanted for.
    """
    return encode_moves(log_moves(series), series.volume)


def log_moves(series: BarSeries) -> Floats:
    """Open, high, low and close of every day as log moves from its reference price, shape (n, 4)."""
    prices = np.stack([series.open, series.high, series.low, series.close], axis=1)
    moves: Floats = np.log(prices / series.reference[:, None])
    return moves


def encode_moves(moves: Floats, shares: Floats) -> Encoded:
    """`encode` of days given as their log moves (n, 4) and volumes (n,)."""
    squares = np.clip(moves[:, 3], -0.12, 0.12) ** 2
    squares[:1] = squares[1 : WARM_UP + 1].mean() if len(squares) > 1 else 0.02**2
    start = float(squares[:WARM_UP].mean()) if len(squares) else 0.02**2
    sigma = np.clip(np.sqrt(ewma(squares, start)), SIGMA_FLOOR, SIGMA_CEILING)
    steps = np.rint(moves / (sigma[:-1, None] / STEPS_PER_SIGMA))
    volume = np.log2(np.maximum(shares, 1.0))
    usual = ewma(volume, float(volume[:WARM_UP].mean()) if len(volume) else 0.0)
    buckets = np.rint((volume - usual[:-1]) * BUCKETS_PER_OCTAVE) + VOLUME_MIDDLE
    return Encoded(
        np.clip(steps, -BOUND, BOUND).astype(np.int64),
        np.clip(buckets, 0, VOLUME_BUCKETS - 1).astype(np.int64),
        sigma,
        usual,
    )


@dataclass(frozen=True, slots=True)
class PathState:
    """Where each of a batch of paths stands before its next day; every array has shape (paths,).

    ``reference`` is in hundredths of a TWD, ``variance`` a squared daily log volatility.
    ``low_bound`` and ``high_bound`` are the steps that decode to the day's limit prices: numbers
    outside them cannot trade.
    """

    reference: Ints
    variance: Floats
    usual_volume: Floats
    limit_down: Ints
    limit_up: Ints
    low_bound: Ints
    high_bound: Ints

    @classmethod
    def start(cls, reference: Ints, sigma: Floats, usual_volume: Floats) -> PathState:
        """State before a day with these reference prices (hundredths of a TWD)."""
        down, up = limits(reference)
        step = np.clip(sigma, SIGMA_FLOOR, SIGMA_CEILING) / STEPS_PER_SIGMA
        # The limit is the nearest step's price, so that a stock can be locked at its limit.
        low = np.maximum(np.rint(np.log(down / reference) / step), -BOUND).astype(np.int64)
        high = np.minimum(np.rint(np.log(up / reference) / step), BOUND).astype(np.int64)
        return cls(reference, sigma**2, usual_volume, np.asarray(down), np.asarray(up), low, high)

    def row(self, index: int) -> PathState:
        """One of the paths, as a batch of one."""
        one = slice(index, index + 1)
        return PathState(*(getattr(self, name)[one] for name in self.__slots__))

    @classmethod
    def joined(cls, states: Sequence[PathState]) -> PathState:
        """Several batches of paths as one."""
        return cls(*(np.concatenate([getattr(s, name) for s in states]) for name in cls.__slots__))

    @property
    def sigma(self) -> Floats:
        """Daily log volatility known before the day."""
        return np.clip(np.sqrt(self.variance), SIGMA_FLOOR, SIGMA_CEILING)

    def prices(self, steps: Ints) -> Ints:
        """Prices in hundredths of a TWD, on their tick and inside the limits.

        ``steps`` has shape (paths, k). Every stage is monotone: numbers in order give prices in
        order. The outermost steps are the limit prices themselves, where prices crowd, though a
        step of a volatile stock is wider than a tick.
        """
        raw = self.reference[:, None] * np.exp(steps * (self.sigma / STEPS_PER_SIGMA)[:, None])
        on_tick = round_to_tick(np.rint(raw).astype(np.int64))
        down, up = self.limit_down[:, None], self.limit_up[:, None]
        locked_down = np.where(steps <= self.low_bound[:, None], down, np.clip(on_tick, down, up))
        return np.where(steps >= self.high_bound[:, None], up, locked_down)

    def volumes(self, buckets: Ints) -> Ints:
        """Shares, shape (paths,), for volume buckets of shape (paths,)."""
        octaves = self.usual_volume + (buckets - VOLUME_MIDDLE) / BUCKETS_PER_OCTAVE
        return np.rint(np.exp2(np.clip(octaves, 0.0, 40.0))).astype(np.int64)

    def after(self, closes: Ints, buckets: Ints) -> PathState:
        """State before the next day, given this day's closes (hundredths of a TWD) and buckets."""
        moves = np.log(closes / self.reference)
        usual = self.usual_volume + (1.0 - DECAY) * (buckets - VOLUME_MIDDLE) / BUCKETS_PER_OCTAVE
        variance = DECAY * self.variance + (1.0 - DECAY) * moves**2
        return PathState.start(closes, np.sqrt(variance), usual)


def origin_state(series: BarSeries, paths: int) -> PathState:
    """State of ``paths`` equal paths on the evening of the series' last day."""
    encoded = encode(series)
    close = round(float(series.close[-1]) * 100)
    return PathState.start(
        np.full(paths, close, dtype=np.int64),
        np.full(paths, encoded.sigma[-1]),
        np.full(paths, encoded.usual_volume[-1]),
    )
