"""Bars of weeks, months and quarters, made from daily ones, and forecasts in them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.records import BarSeries, PathForecast

Period = Literal["day", "week", "month", "quarter"]

#: From the finest to the coarsest.
PERIODS: tuple[Period, ...] = ("day", "week", "month", "quarter")

#: Bars in a month, about; decides how the date axis is labelled.
PER_MONTH: dict[Period, float] = {"day": 21, "week": 4.35, "month": 1, "quarter": 1 / 3}

Span = Literal["", "1m", "3m", "1y", "all"]

#: The stretches of time that a key walks along, in trading days; None is everything there is.
SPANS: dict[Span, int | None] = {"1m": 21, "3m": 63, "1y": 245, "all": None}


def _number(day: date, period: Period) -> int:
    """Equal for the days of one period, greater for later ones."""
    if period == "week":
        return (day.toordinal() - 1) // 7  # day 1 was a Monday
    return day.year * 12 + day.month - 1 if period == "month" else day.year * 4 + (day.month - 1) // 3


def resample(series: BarSeries, period: Period, cuts: Sequence[date] = ()) -> BarSeries:
    """One bar a period: first open, highest high, lowest low, last close, all volume.

    A bar bears the date of its last session; the last period may not be over. Its ``reference`` is
    that of its first session. After each of ``cuts``, which must rise, a new bar begins: a forecast that
    was made on a Wednesday is held against that Wednesday's close, not against the Friday's.
    """
    if period == "day" or not len(series):
        return series
    import numpy as np

    from stockllm.data.records import BarSeries

    parts = len(cuts) + 1
    numbers = np.array([_number(day, period) * parts + bisect_left(cuts, day) for day in series.dates])
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    ends = np.append(starts[1:], len(numbers)) - 1
    return BarSeries(
        series.code,
        tuple(series.dates[end] for end in ends),
        series.open[starts],
        np.maximum.reduceat(series.high, starts),
        np.minimum.reduceat(series.low, starts),
        series.close[ends],
        np.add.reduceat(series.volume, starts),
        series.reference[starts],
    )


def ahead(forecast: PathForecast, period: Period) -> PathForecast:
    """The same sampled futures in bars of a period, path by path: each is still one real path.

    A bar holds the days that are forecast and no others, so the first and the last may be parts of a
    period; it bears the date of its last day, as ``resample``'s do.
    """
    if period == "day" or not forecast.dates:
        return forecast
    import numpy as np

    numbers = np.array([_number(day, period) for day in forecast.dates])
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    ends = np.append(starts[1:], len(numbers)) - 1
    opened, high, low, close = np.moveaxis(forecast.prices, 2, 0)
    prices = np.stack(
        [
            opened[:, starts],
            np.maximum.reduceat(high, starts, axis=1),
            np.minimum.reduceat(low, starts, axis=1),
            close[:, ends],
        ],
        axis=2,
    )
    return replace(
        forecast,
        dates=tuple(forecast.dates[end] for end in ends),
        prices=prices,
        volumes=np.add.reduceat(forecast.volumes, starts, axis=1),
    )
