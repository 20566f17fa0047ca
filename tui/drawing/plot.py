"""Geometry of the candlestick chart: prices to rows, sessions to columns. Numbers in, numbers out.

Nothing here knows a screen, a colour or a glyph. ``x`` is counted in cells from the left of the
plot, ``y`` in rows from its top, and one slot is one trading session: a holiday leaves no gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries, PathForecast

#: The moving averages drawn over the candles, in sessions.
AVERAGES = (5, 20, 60)

#: Cells a session may take, from the farthest view to the nearest; ``+`` and ``-`` walk along it.
SPACINGS = (1, 2, 3, 4, 5, 7, 9)

#: Rows between two price labels, at least.
TICK_ROWS = 3


@dataclass(frozen=True, slots=True)
class Ohlcv:
    """One candle to draw: prices in TWD, volume in shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def rising(self) -> bool:
        """A day that closes where it opened counts as rising, as Taiwan's charts draw it."""
        return self.close >= self.open


@dataclass(frozen=True, slots=True)
class ConePoint:
    """The bands of the forecast close on one slot, in TWD: ``q10 <= q25 <= q50 <= q75 <= q90``."""

    slot: int
    q10: float
    q25: float
    q50: float
    q75: float
    q90: float

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """The edges of the 80% and the 50% band, from the highest price to the lowest."""
        return self.q90, self.q75, self.q25, self.q10


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be drawn, whatever the size: the sessions in view and the forecast after them.

    ``dates`` has one entry a slot; the first ``len(bars)`` slots were observed, the others are
    forecast. ``averages`` maps a length to one value a bar, None where history is too short.
    ``cone`` starts at the last close the forecast knew; ``candles`` are its medoid path.
    """

    dates: tuple[date, ...]
    bars: tuple[Ohlcv, ...]
    averages: dict[int, tuple[float | None, ...]]
    cone: tuple[ConePoint, ...] = ()
    candles: tuple[tuple[int, Ohlcv], ...] = ()

    @property
    def future(self) -> int:
        """How many slots lie after the last observed session."""
        return len(self.dates) - len(self.bars)

    def prices(self) -> Iterable[float]:
        """Every price that must lie inside the plot. Averages may leave it; they are clipped."""
        for bar in self.bars:
            yield bar.high
            yield bar.low
        for point in self.cone:
            yield point.q90
            yield point.q10
        for _, candle in self.candles:
            yield candle.high
            yield candle.low


@dataclass(frozen=True, slots=True)
class View:
    """How a chart is looked at: ``spacing`` cells a bar (None: the width decides), ``back`` bars left
    out at the right, and at most ``most`` bars in view (None: as many as there is room for)."""

    spacing: int | None = None
    back: int = 0
    most: int | None = None


def future_sessions(series: BarSeries, forecast: PathForecast | None) -> int:
    """How many forecast days lie after the last observed one."""
    if forecast is None or not len(series):
        return 0
    return sum(day > series.dates[-1] for day in forecast.dates)


def picture(series: BarSeries, forecast: PathForecast | None, sessions: int, back: int = 0) -> Picture:
    """The last ``sessions`` days of ``series`` but ``back``, with ``forecast`` over or after them.

    A forecast older than the data keeps its own dates: its cone lies over the days that came, so
    that what was said can be held against what happened; its candles are drawn for days to come.
    """
    end = max(1, len(series) - back)
    first = max(0, end - max(sessions, 1))
    part = series[first:end]
    columns = (part.open, part.high, part.low, part.close, part.volume)
    bars = tuple(Ohlcv(*row) for row in zip(*(c.tolist() for c in columns), strict=True))
    averages = {length: tuple(_average(series, length, first, end)) for length in AVERAGES}
    if forecast is None or not bars:
        return Picture(part.dates, bars, averages)
    ahead = forecast.dates if end == len(series) else ()
    dates = part.dates + tuple(day for day in ahead if day > part.dates[-1])
    slots = {day: slot for slot, day in enumerate(dates)}
    cone: list[ConePoint] = []
    if forecast.as_of in slots:
        close = forecast.last_close / 100
        cone.append(ConePoint(slots[forecast.as_of], close, close, close, close, close))
    table = forecast.quantiles("close")[1:6] / 100
    for index, day in enumerate(forecast.dates):
        if day in slots:
            cone.append(ConePoint(slots[day], *(float(level) for level in table[:, index])))
    candles = tuple(
        (slots[c.date], Ohlcv(c.open / 100, c.high / 100, c.low / 100, c.close / 100, float(c.volume)))
        for c in forecast.candles()
        if c.date in slots and slots[c.date] >= len(bars)
    )
    return Picture(dates, bars, averages, tuple(cone), candles)


def _average(series: BarSeries, length: int, first: int, end: int) -> Iterable[float | None]:
    start = max(0, first - length + 1)
    closes: list[float] = series.close[start:end].tolist()
    total = 0.0
    for index, close in enumerate(closes):
        total += close
        if index >= length:
            total -= closes[index - length]
        if start + index >= first:
            yield total / length if index >= length - 1 else None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where sessions stand: observed ones from ``left``, forecast ones after the divider."""

    history: int
    future: int
    spacing: int
    future_spacing: int
    left: int

    @property
    def divider(self) -> int | None:
        """The column between what happened and what is forecast; None without a forecast."""
        return self.left + self.history * self.spacing if self.future else None

    def start(self, slot: int) -> int:
        """The first cell that belongs to ``slot``."""
        if slot < self.history:
            return self.left + slot * self.spacing
        return self.left + self.history * self.spacing + 1 + (slot - self.history) * self.future_spacing

    def slot_at(self, x: int) -> int | None:
        """The slot that owns the cell ``x``, None where none does."""
        found = (x - self.left) // self.spacing
        if self.divider is not None and x >= self.divider:
            found = self.history + (x - self.divider - 1) // self.future_spacing
        return found if x >= self.left and 0 <= found < self.history + self.future else None

    def cells(self, slot: int) -> int:
        """How many cells belong to ``slot``."""
        return self.spacing if slot < self.history else self.future_spacing

    def centre(self, slot: int) -> int:
        """The cell that carries the wick of ``slot``."""
        return self.start(slot) + (self.cells(slot) - 1) // 2


def columns(width: int, sessions: int, future: int, spacing: int | None) -> Columns:
    """Places as many of ``sessions`` as fit into ``width`` cells, newest at the right.

    ``spacing`` None picks the widest one that still shows two months (42 sessions, or all there
    are). The forecast gets up to five cells a day, as its few candles must be readable, but
    no more than a fifth of the plot, or 36% where that would leave it under four cells a day.
    """
    generous, most = width // 5, max(1, width * 9 // 25)
    future = min(future, most)
    future_spacing = 1
    if future:
        options = [s for s in (5, 4) if s * future <= generous] + [s for s in (3, 2) if s * future <= most]
        future_spacing = options[0] if options else 1
    left_for_history = max(1, width - (future * future_spacing + 1 if future else 0))
    if spacing is None:
        wanted = max(1, min(sessions, 42))
        spacing = max((s for s in SPACINGS if left_for_history // s >= wanted), default=SPACINGS[0])
    spacing = min(spacing, left_for_history)
    history = min(sessions, left_for_history // spacing)
    return Columns(history, future, spacing, future_spacing, left_for_history - history * spacing)


@dataclass(frozen=True, slots=True)
class Scale:
    """Prices from ``low`` to ``high`` over ``rows`` rows; row 0 is the highest."""

    low: float
    high: float
    rows: int

    def y(self, price: float) -> float:
        """Distance from the top in rows, 0 to ``rows``; a price outside is put on the edge."""
        share = (self.high - price) / (self.high - self.low)
        return min(1.0, max(0.0, share)) * self.rows

    def part(self, price: float, parts: int) -> int:
        """The index, from the top, of the ``parts``-th of a row that ``price`` falls into."""
        return min(int(self.y(price) * parts), self.rows * parts - 1)

    def row(self, price: float) -> int:
        """The row that ``price`` falls into, 0 to ``rows - 1``."""
        return self.part(price, 1)

    def holds(self, price: float) -> bool:
        """Whether ``price`` lies inside the plot."""
        return self.low <= price <= self.high

    def edge(self, price: float) -> int:
        """The boundary between two eighths of a row nearest to ``price``, 0 to ``8 * rows``."""
        return round(self.y(price) * 8)


def scale(prices: Iterable[float], rows: int) -> Scale:
    """A scale with a little air around ``prices``; flat or empty prices still get a height."""
    known = list(prices) or [0.0]
    low, high = min(known), max(known)
    air = (high - low) * 0.03 or max(abs(high) * 0.01, 0.05)
    return Scale(low - air, high + air, max(1, rows))


def ticks(scale: Scale) -> list[tuple[float, int]]:
    """Round prices to label and the row of each, at least ``TICK_ROWS`` apart, highest first."""
    least = (scale.high - scale.low) / max(1.0, scale.rows / TICK_ROWS)
    magnitude = 10.0 ** math.floor(math.log10(least))
    step = next(s * magnitude for s in (1, 2, 2.5, 5, 10, 20) if s * magnitude >= least * 0.999)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [(round(n * step, 6), scale.row(n * step)) for n in range(last, first - 1, -1)]


@dataclass(frozen=True, slots=True)
class Halves:
    """A candle in half rows from the top: ``top <= body_top <= body_bottom <= bottom``."""

    top: int
    body_top: int
    body_bottom: int
    bottom: int


def halves(scale: Scale, candle: Ohlcv) -> Halves:
    """Where a candle's wick and body begin and end, at half a row's resolution."""
    upper, lower = max(candle.open, candle.close), min(candle.open, candle.close)
    return Halves(
        scale.part(max(candle.high, upper), 2),
        scale.part(upper, 2),
        scale.part(lower, 2),
        scale.part(min(candle.low, lower), 2),
    )


def cone_at(points: Sequence[ConePoint], places: Sequence[int], x: int) -> tuple[float, ...] | None:
    """The four band edges at column ``x``, linear between the points at columns ``places``.

    Highest first; None outside the cone. ``places`` must rise.
    """
    if not points or not places[0] <= x <= places[-1]:
        return None
    for index in range(1, len(points)):
        if x <= places[index]:
            share = (x - places[index - 1]) / (places[index] - places[index - 1])
            pairs = zip(points[index - 1].levels, points[index].levels, strict=True)
            return tuple(a + (b - a) * share for a, b in pairs)
    return points[0].levels


def volume_eighths(volume: float, largest: float, rows: int) -> int:
    """The height of a volume bar in eighths of a row; a day with any trade shows at least one."""
    if volume <= 0 or largest <= 0:
        return 0
    return max(1, round(volume / largest * rows * 8))
