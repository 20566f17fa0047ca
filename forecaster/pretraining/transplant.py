"""Days of a stock as they would have been had the market moved as in another time.

Many stocks of one year share its market days, and a model that reads them often enough learns those
by heart. A transplant takes the market's part out of a stock's moves and puts that of another stretch
of days in its place: what is the stock's own stays, and no market day comes twice in the same company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import WARM_UP, Encoded, Floats, encode_moves, ewma, log_moves
from stockllm.market.ticks import tick

#: BarSeries a day needs for their mean to be called the market's.
FEWEST = 5
#: Days before a window from which its volatility is rolled forward.
LEAD = 60
#: A day's furthest log moves under the 10% limit.
DOWN, UP = float(np.log(0.9)), float(np.log(1.1))


@dataclass(frozen=True, slots=True)
class Factor:
    """The market's mean log moves from reference price to open and to close.

    ``days`` (n,) ordinals, ascending; ``moves`` (n, 2).
    """

    days: NDArray[np.int64]
    moves: Floats

    @classmethod
    def of(cls, series: Sequence[BarSeries]) -> Factor:
        """The mean over the series that traded, on the days on which enough did."""
        if not series:
            return cls(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
        days = np.concatenate([ordinals(s)[1:] for s in series])
        moves = np.concatenate([np.clip(log_moves(s)[1:, [0, 3]], DOWN, UP) for s in series])
        found, place, count = np.unique(days, return_inverse=True, return_counts=True)
        sums = np.stack([np.bincount(place, weights=column) for column in moves.T], axis=1)
        enough = count >= FEWEST
        return cls(found[enough], (sums / count[:, None])[enough])

    def on(self, days: NDArray[np.int64]) -> Floats:
        """Its moves on some days, (n, 2); zero on days it does not know."""
        out = np.zeros((len(days), 2))
        if len(self.days):
            place = np.minimum(np.searchsorted(self.days, days), len(self.days) - 1)
            known = self.days[place] == days
            out[known] = self.moves[place[known]]
        return out


def ordinals(series: BarSeries) -> NDArray[np.int64]:
    """The days of a series as ordinals, shape (n,)."""
    return np.array([day.toordinal() for day in series.dates], dtype=np.int64)


class Host:
    """A stock whose market can be exchanged.

    :param own: the market it lived in.
    """

    def __init__(self, series: BarSeries, own: Factor) -> None:
        self.moves = np.clip(log_moves(series), DOWN, UP)
        self.volume = series.volume
        cents = np.rint(series.close * 100).astype(np.int64)
        self.ticks: Floats = tick(cents) / cents
        self.market = own.on(ordinals(series))
        around = self.market[1:, 1] - self.market[1:, 1].mean()
        variance = float(around @ around)
        # How much of a market move the stock makes: least squares, within what shares do.
        beta = float(around @ self.moves[1:, 3]) / variance if variance > 0 else 0.0
        self.beta = min(max(beta, 0.0), 2.0)

    def window(self, first: int, days: int, market: Floats) -> Encoded:
        """``days`` days from the ``first`` past the warm-up on, under another market.

        ``market`` has shape (LEAD + days, 2): it ends with the window's last day.
        """
        start = first + WARM_UP
        lead = min(start, LEAD)
        part = slice(start - lead, start + days)
        old = self.moves[part]
        change = self.beta * (market[LEAD - lead :] - self.market[part])
        opened, closed = old[:, 0] + change[:, 0], old[:, 3] + change[:, 1]
        # A stock that moves by its ticks, or not at all, goes on doing so.
        grid = self.ticks[part]
        opened, closed = np.rint(opened / grid) * grid, np.rint(closed / grid) * grid
        wider = (_volatility(closed) / _volatility(old[:, 3]))[:, None]
        shadows = np.stack(
            [old[:, 1] - old[:, [0, 3]].max(axis=1), old[:, [0, 3]].min(axis=1) - old[:, 2]], axis=1
        )
        shadows = np.rint(shadows * wider / grid[:, None]) * grid[:, None]
        high = np.maximum(opened, closed) + shadows[:, 0]
        low = np.minimum(opened, closed) - shadows[:, 1]
        moves = np.clip(np.stack([opened, high, low, closed], axis=1), DOWN, UP)
        return encode_moves(moves, self.volume[part])[lead:]


def _volatility(closes: Floats) -> Floats:
    squares = closes**2 + 1e-6
    return np.sqrt(ewma(squares, float(squares[:WARM_UP].mean()))[:-1])
