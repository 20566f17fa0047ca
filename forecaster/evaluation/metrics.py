"""Scores of sampled forecasts, as pure functions of arrays.

Forecasts are ensembles: ``samples`` has shape (n, paths), what happened ``actual`` (n,), both log
returns since the origin's close. Ties, which prices on a tick grid have, are taken to TOLERANCE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.sampling.crps import Floats, fair_crps

__all__ = [
    "FEWEST_DATES",
    "FEWEST_STOCKS",
    "INTERVALS",
    "PINBALL_LEVELS",
    "TOLERANCE",
    "Flags",
    "Floats",
    "by_date",
    "diebold_mariano",
    "direction",
    "fair_crps",
    "inside",
    "intervals",
    "overlap",
    "pinball",
    "pit",
    "quantiles",
    "rank_correlation",
    "rank_ic",
    "tendency",
    "wilson",
]

Flags = NDArray[np.bool_]

#: Log returns nearer than this are the same price: a tick is never so small.
TOLERANCE = 1e-9
#: The levels whose pinball losses are averaged: those of the bands.
PINBALL_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
#: Central intervals.
INTERVALS = (0.50, 0.80, 0.95)
#: Origins, or stocks on one day, that a test or a correlation needs at least.
FEWEST_DATES = 5
FEWEST_STOCKS = 5


def quantiles(samples: Floats, levels: Sequence[float]) -> Floats:
    """Order statistics at level x (paths + 1), shape (levels, n): with 99 paths exactly one path's."""
    return np.quantile(samples, levels, axis=1, method="weibull")


def pinball(samples: Floats, actual: Floats, levels: Sequence[float] = PINBALL_LEVELS) -> Floats:
    """Pinball loss, the mean over ``levels``, shape (n,)."""
    error = actual - quantiles(samples, levels)
    level = np.asarray(levels)[:, None]
    loss: Floats = np.maximum(level * error, (level - 1) * error).mean(axis=0)
    return loss


def intervals(samples: Floats, levels: Sequence[float] = INTERVALS) -> tuple[Floats, Floats]:
    """(lower, upper) ends of central intervals, each (levels, n), by order statistics."""
    tails = (1 - np.asarray(levels)) / 2
    return quantiles(samples, tails.tolist()), quantiles(samples, (1 - tails).tolist())


def inside(samples: Floats, actual: Floats, levels: Sequence[float] = INTERVALS) -> Flags:
    """Whether what happened lies in each central interval, its ends included, shape (levels, n)."""
    low, high = intervals(samples, levels)
    within: Flags = (actual >= low - TOLERANCE) & (actual <= high + TOLERANCE)
    return within


def pit(samples: Floats, actual: Floats) -> Floats:
    """Rank of what happened among the paths, in (0, 1), shape (n,); uniform where calibrated."""
    gap = samples - actual[:, None]
    below = (gap < -TOLERANCE).sum(axis=1)
    equal = (np.abs(gap) <= TOLERANCE).sum(axis=1)
    rank: Floats = (below + equal / 2 + 0.5) / (samples.shape[1] + 1)
    return rank


def tendency(samples: Floats) -> Floats:
    """Share of paths that rise less the share that fall, shape (n,): its sign is the call."""
    balance: Floats = (samples > TOLERANCE).mean(axis=1) - (samples < -TOLERANCE).mean(axis=1)
    return balance


def direction(balance: Floats, actual: Floats) -> tuple[int, int]:
    """(right calls, calls): no call where the paths balance, none is judged where the price stood."""
    judged = (np.abs(balance) > 0) & (np.abs(actual) > TOLERANCE)
    right = np.sign(balance[judged]) == np.sign(actual[judged])
    return int(right.sum()), int(judged.sum())


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float] | None:
    """Wilson's interval for a share; None without a trial. It takes the trials as independent."""
    if not trials:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = successes / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    reach = z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's rank correlation; None for too few values or constant ones."""
    if len(a) < FEWEST_STOCKS:
        return None
    from scipy.stats import rankdata

    first, second = rankdata(a), rankdata(b)
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def rank_ic(forecast: Floats, actual: Floats, dates: NDArray[np.int64]) -> float | None:
    """Mean over dates of the rank correlation across the stocks of a date; None without such a date."""
    found = [rank_correlation(forecast[dates == day], actual[dates == day]) for day in np.unique(dates)]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def by_date(values: Floats, dates: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """(dates ascending, mean of the values of each)."""
    days, place = np.unique(dates, return_inverse=True)
    return days, np.bincount(place, weights=values) / np.bincount(place)


def overlap(origins: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """Most later origins that lie before the end of an earlier origin's forecast.

    ``origins`` ascending, each once; ``ends`` their forecasts' last days. Daily origins and horizon
    h give h - 1.
    """
    after = np.searchsorted(origins, ends, side="left") - np.arange(len(origins)) - 1
    return int(max(0, after.max(initial=0)))


def diebold_mariano(difference: Floats, shared: int) -> float | None:
    """Two-sided p of equal accuracy (Diebold and Mariano 1995), None where the data cannot tell.

    ``difference`` is the difference of the losses, one value a date, in their order: stocks share a
    day's shock, so the mean over the stocks of a date is one observation, not many. ``shared`` later
    dates overlap each forecast. The variance is Newey and West's; Bartlett's weights at ``shared``
    lags would leave out a third of the variance of overlapping sums, so there are twice as many. The
    statistic carries Harvey, Leybourne and Newbold's (1997) correction for that many lags and is
    held against Student's t. Where nothing differs it gives p < 0.05 in 5% of the cases without
    overlap, in up to 12% with it (sums of 2 to 20 days, 11 to 240 dates, simulated).
    """
    count, lags = len(difference), 2 * shared
    if count < FEWEST_DATES:
        return None
    mean = float(difference.mean())
    centred = difference - mean
    variance = float(centred @ centred) / count
    for lag in range(1, min(lags, count - 1) + 1):
        covariance = float(centred[lag:] @ centred[:-lag]) / count
        variance += 2 * (1 - lag / (lags + 1)) * covariance
    steps = lags + 1
    correction = (count + 1 - 2 * steps + steps * (steps - 1) / count) / count
    if steps > count or variance <= 1e-18 or correction <= 0:
        return None
    statistic = mean / np.sqrt(variance / count) * np.sqrt(correction)
    # Student's t of scipy.special: scipy.stats takes 60 MB, and the dashboard asks for this alone.
    from scipy.special import stdtr

    return float(2 * stdtr(count - 1, -abs(statistic)))
