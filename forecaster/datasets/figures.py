"""What the text tasks count: the figures of some days of one company, all from the bars themselves.

Moves are measured from each day's reference price, so that an ex-date is neither a loss nor a gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stockllm.data.records import BarSeries

#: Trading days that a year is taken to have where a volatility is annualised.
YEAR = 252
SHARES_A_LOT = 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """Of ``days`` rows. Shares of one, not per cent; ``low``, ``high`` and the means in TWD.

    ``volatility`` is the standard deviation of daily log moves (n - 1), ``drawdown`` the deepest fall
    from a high of the closes (0 or below), ``var95`` the 5% quantile of daily moves, by linear
    interpolation. ``change5`` and the means are over the last 5 and 20 rows; ``volume_ratio`` is the last
    day's volume over the mean of the 20 rows that end with it.
    """

    days: int
    close: float
    change: float
    change5: float
    low: float
    high: float
    volatility: float
    drawdown: float
    var95: float
    worst: float
    worst_day: date
    mean5: float
    mean20: float
    volume_ratio: float

    @property
    def annual(self) -> float:
        """``volatility`` for a year, by the square root of time."""
        return self.volatility * math.sqrt(YEAR)

    @property
    def trend(self) -> str:
        """``up``, ``down`` or ``sideways``: the 5-day mean against the 20-day mean, 1% apart."""
        gap = self.mean5 / self.mean20 - 1
        return "up" if gap > 0.01 else "down" if gap < -0.01 else "sideways"


def figures(rows: BarSeries) -> Figures:
    """The figures of some rows, at least two."""
    moves = rows.close / rows.reference
    level = np.concatenate([[1.0], np.cumprod(moves)])
    daily = moves - 1
    worst = int(daily.argmin())
    volume = float(rows.volume[-20:].mean())
    return Figures(
        days=len(rows),
        close=float(rows.close[-1]),
        change=float(level[-1] - 1),
        change5=float(np.prod(moves[-5:]) - 1),
        low=float(rows.low.min()),
        high=float(rows.high.max()),
        volatility=float(np.log(moves).std(ddof=1)),
        drawdown=float((level / np.maximum.accumulate(level) - 1).min()),
        var95=float(np.quantile(daily, 0.05)),
        worst=float(daily[worst]),
        worst_day=rows.dates[worst],
        mean5=float(rows.close[-5:].mean()),
        mean20=float(rows.close[-20:].mean()),
        volume_ratio=float(rows.volume[-1]) / volume if volume > 0 else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What prices did from ``base`` to ``end``: log returns, and the usual size of one.

    ``abnormal`` is the stock's own less the market's, the mean over the store's companies; ``usual`` is
    the stock's daily volatility of the 20 days up to ``base`` times the root of the days.
    """

    base: date
    end: date
    own: float
    market: float
    usual: float

    @property
    def abnormal(self) -> float:
        return self.own - self.market

    @property
    def label(self) -> str:
        """``positive`` or ``negative`` where the abnormal return passes half its usual size."""
        size = self.abnormal / self.usual
        return "positive" if size > 0.5 else "negative" if size < -0.5 else "neutral"


def aftermath(series: BarSeries, at: int, horizon: int, market: Mapping[date, float]) -> Aftermath | None:
    """What followed bar ``at`` within ``horizon`` bars; None where the stock stood still before it."""
    after = series[at + 1 : at + 1 + horizon]
    own = np.log(series.close / series.reference)
    usual = float(own[max(0, at - 19) : at + 1].std(ddof=1)) * math.sqrt(horizon)
    if usual <= 0:
        return None
    return Aftermath(
        series.dates[at],
        after.dates[-1],
        float(own[at + 1 : at + 1 + horizon].sum()),
        math.fsum(move for day, move in market.items() if series.dates[at] < day <= after.dates[-1]),
        usual,
    )


def market_moves(every: list[BarSeries]) -> dict[date, float]:
    """Day -> the mean over the companies that traded of their log move."""
    total: dict[date, list[float]] = {}
    for series in every:
        for day, move in zip(series.dates, np.log(series.close / series.reference).tolist(), strict=True):
            total.setdefault(day, []).append(move)
    return {day: math.fsum(moves) / len(moves) for day, moves in total.items()}
