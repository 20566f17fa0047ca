"""Draws a picture of the market into a canvas: candles, averages, cone, volume, axes.

What stands in front: candles, then averages, then the shading of the cone, then the grid. Bodies
and wicks have half a row's resolution, the edges of the cone and the volume bars an eighth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from rich.cells import cell_len

from stockllm.tui.drawing import candles, plot
from stockllm.tui.drawing.axis import date_labels
from stockllm.tui.drawing.canvas import PLAIN, Canvas, Dots
from stockllm.tui.drawing.periods import PER_MONTH, Period
from stockllm.tui.drawing.plot import Columns, ConePoint, Picture, Scale, View
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language, level, price, short_lots

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries, PathForecast

EIGHTHS = " ▁▂▃▄▅▆▇█"

#: Grounds from outside the cone inwards.
_ZONES = (PLAIN, "cone80", "cone50")

_PLAIN_VIEW = View()


@dataclass(frozen=True, slots=True)
class Frame:
    """How the rows and columns of a chart are shared out; all in cells."""

    plot_width: int
    axis_width: int
    legend: int
    price_rows: int
    gap: int
    volume_rows: int

    @property
    def volume_top(self) -> int:
        return self.legend + self.price_rows + self.gap

    @property
    def date_row(self) -> int:
        return self.volume_top + self.volume_rows


def frame(width: int, height: int, axis_width: int) -> Frame:
    """A legend above, the price, then volume beneath once there are 12 rows, and the dates."""
    volume = min(8, max(2, round(height * 0.17))) if height >= 12 else 0
    gap = 1 if height >= 18 else 0
    legend = 1 if height >= 6 else 0
    price_rows = max(1, height - legend - gap - volume - 1)
    return Frame(max(1, width - axis_width), axis_width, legend, price_rows, gap, volume)


@dataclass(frozen=True, slots=True)
class Arranged:
    """Where everything of a chart goes: rows, columns, and what is in view."""

    area: Frame
    columns: Columns
    picture: Picture
    scale: Scale


def arrange(
    series: BarSeries, forecast: PathForecast | None, width: int, height: int, view: View = _PLAIN_VIEW
) -> Arranged | None:
    """The chart of ``series`` and ``forecast`` in ``width`` by ``height`` cells, None without room."""
    if not len(series) or width < 12 or height < 4:
        return None
    area = frame(width, height, _axis_width(series))
    back = min(view.back, len(series) - 1)
    future = 0 if back else plot.future_sessions(series, forecast)
    sessions = min(len(series) - back, view.most or len(series))
    columns = plot.columns(area.plot_width, sessions, future, view.spacing)
    picture = plot.picture(series, forecast, columns.history, back)
    return Arranged(area, columns, picture, plot.scale(picture.prices(), area.price_rows))


def draw(
    series: BarSeries,
    forecast: PathForecast | None,
    width: int,
    height: int,
    language: Language = "zh",
    spacing: int | None = None,
    simulated: bool = False,
) -> Canvas:
    """The chart of the newest bars. ``spacing`` is the cells a session takes, None to choose.

    An empty series gives a blank canvas.
    """
    canvas = Canvas(width, height)
    arranged = arrange(series, forecast, width, height, View(spacing))
    if arranged is not None:
        paint(canvas, arranged, language, simulated=simulated)
    return canvas


def paint(
    canvas: Canvas,
    arranged: Arranged,
    language: Language = "zh",
    *,
    simulated: bool = False,
    period: Period = "day",
    cross: date | None = None,
    blocks: bool = True,
) -> None:
    """Draws what was arranged. ``period`` is what a bar stands for, ``cross`` the date pointed at.

    Without ``blocks`` the cone's edges are whole cells, as no ASCII glyph is half a cell high.
    """
    area, columns, picture, scale = arranged.area, arranged.columns, arranged.picture, arranged.scale
    _candles(canvas, area, picture, columns, scale)
    _averages(canvas, area, picture, columns, scale)
    _cone(canvas, area, picture, columns, scale, blocks)
    _volume(canvas, area, picture, columns, language)
    _dates(canvas, area, picture, columns, language, period)
    if cross is not None and cross in picture.dates:
        _crosshair(canvas, area, picture, columns, scale, picture.dates.index(cross))
    _price_axis(canvas, area, picture, scale)
    _divider(canvas, area, columns)
    _legend(canvas, area, picture, columns, language, simulated, period)


def _axis_width(series: BarSeries) -> int:
    """Room for the last price with a blank at either side; 8 cells hold any round price."""
    return max(8, len(price(float(series.close[-1]))) + 2) if len(series) else 8


def _candles(canvas: Canvas, area: Frame, picture: Picture, columns: Columns, scale: Scale) -> None:
    for slot, bar in enumerate(picture.bars):
        ink = "up" if bar.rising else "down"
        shape = plot.halves(scale, bar)
        candles.solid(canvas, area.legend, columns.start(slot), columns.cells(slot), shape, ink)
    for slot, candle in picture.candles:
        if slot < columns.history + columns.future:
            ink = "up" if candle.rising else "down"
            shape = plot.halves(scale, candle)
            candles.hollow(canvas, area.legend, columns.start(slot), columns.cells(slot), shape, ink)


def _averages(canvas: Canvas, area: Frame, picture: Picture, columns: Columns, scale: Scale) -> None:
    dots = Dots(area.plot_width, area.price_rows)
    for length, values in sorted(picture.averages.items(), reverse=True):
        run: list[tuple[float, float]] = []
        for slot, value in enumerate((*values, None)):
            if value is not None and scale.holds(value):
                x = columns.start(slot) + (columns.spacing - 1) // 2 + 0.5
                run.append((x, scale.y(value)))
                continue
            dots.line(run, f"ma{length}")
            run = []
    points = [p for p in picture.cone if p.slot < columns.history + columns.future]
    if len(points) > 1:
        median = zip(_places(points, columns), (scale.y(p.q50) for p in points), strict=True)
        dots.line([(x + 0.5, y) for x, y in median], "forecast")
    dots.draw(canvas, area.legend)


def _cone(
    canvas: Canvas, area: Frame, picture: Picture, columns: Columns, scale: Scale, blocks: bool
) -> None:
    points = [p for p in picture.cone if p.slot < columns.history + columns.future]
    if len(points) < 2:
        return
    places = _places(points, columns)
    # The last day's bands hold to the end of its own cells.
    end = columns.start(points[-1].slot) + columns.cells(points[-1].slot) - 1
    for x in range(places[0] + 1, end + 1):
        levels = plot.cone_at(points, places, min(x, places[-1]))
        if levels is None or x == columns.divider:
            continue
        edges = [scale.edge(level) for level in levels]
        for row in range(edges[0] // 8, min(area.price_rows, (edges[3] + 7) // 8)):
            _cone_cell(canvas, area.legend + row, x, [edge - row * 8 for edge in edges], blocks)


def _places(points: Sequence[ConePoint], columns: Columns) -> list[int]:
    """The column of each point; a cone that begins today begins at the divider."""
    places = [columns.start(p.slot) + (columns.cells(p.slot) - 1) // 2 for p in points]
    if columns.divider is not None and points[0].slot == columns.history - 1:
        places[0] = columns.divider
    return places


def _cone_cell(canvas: Canvas, row: int, x: int, edges: list[int], blocks: bool) -> None:
    """Shades one cell by the four band edges, in eighths from the cell's top."""
    if not any(0 < edge < 8 for edge in edges):  # most cells lie within one zone
        canvas.shade(row, x, _ZONES[(edges[0] <= 0 < edges[3]) + (edges[1] <= 0 < edges[2])])
        return
    zones = [_ZONES[(edges[0] <= part < edges[3]) + (edges[1] <= part < edges[2])] for part in range(8)]
    if not canvas.free(row, x):
        canvas.shade(row, x, zones[4])
        return
    upper, lower = zones[0], zones[7]
    if upper == lower or not blocks:
        canvas.shade(row, x, max(zones, key=zones.count))
        return
    # A cell has two colours: where three zones meet the middle one gives way to its neighbour.
    height = sum(zone == lower for zone in zones) or 4
    canvas.shade(row, x, upper)
    if lower == PLAIN:
        # There is no ink of the plain ground, but the upper part can be turned upside down.
        canvas.put(row, x, EIGHTHS[height], "ground")
    else:
        canvas.put(row, x, EIGHTHS[height], lower)


def _volume(canvas: Canvas, area: Frame, picture: Picture, columns: Columns, language: Language) -> None:
    if not area.volume_rows:
        return
    if area.gap:
        text = t("chart.volume", language, lots=short_lots(picture.bars[-1].volume, language))
        canvas.text(area.volume_top - 1, 0, text, "axis")
    end = columns.history + columns.future
    shown = [*enumerate(picture.bars), *(candle for candle in picture.candles if candle[0] < end)]
    largest = max(bar.volume for _, bar in shown)
    canvas.text(area.volume_top, area.plot_width + 1, short_lots(largest, language), "axis")
    bottom = area.volume_top + area.volume_rows - 1
    for slot, bar in shown:
        cells = columns.cells(slot)
        body = range(columns.start(slot), columns.start(slot) + max(1, cells - 1))
        ink = "volume-forecast" if slot >= columns.history else "volume-up" if bar.rising else "volume-down"
        height = plot.volume_eighths(bar.volume, largest, area.volume_rows)
        for x in body:
            for row in range((height + 7) // 8):
                canvas.put(bottom - row, x, EIGHTHS[min(8, height - row * 8)], ink)


def _dates(
    canvas: Canvas, area: Frame, picture: Picture, columns: Columns, language: Language, period: Period
) -> None:
    for label in date_labels(picture.dates, columns, area.plot_width, language, PER_MONTH[period]):
        canvas.text(area.date_row, label.x, label.text, "forecast" if label.forecast else "axis")


def _price_axis(canvas: Canvas, area: Frame, picture: Picture, scale: Scale) -> None:
    # Where the crosshair has written its price nothing else is said.
    rows = range(area.price_rows)
    taken = {row for row in rows if not canvas.free(area.legend + row, area.plot_width + 1)}

    def tag(row: int, text: str, ink: str, ground: str | None) -> None:
        if row in taken:
            return
        taken.add(row)
        canvas.text(area.legend + row, area.plot_width, text.ljust(area.axis_width - 1), ink, ground)

    last = picture.bars[-1]
    before = picture.bars[-2].close if len(picture.bars) > 1 else last.open
    tag(
        scale.row(last.close),
        f" {price(last.close)}",
        "tag",
        "tag-up" if last.close >= before else "tag-down",
    )
    if picture.future:
        end = picture.cone[-1]
        for value in (end.q90, end.q10, end.q50):
            tag(scale.row(value), f" {level(value)}", "forecast", None)
    marks = plot.ticks(scale)
    places = next((d for d in (0, 1) if all(round(p, d) == p for p, _ in marks)), 2)
    for value, row in marks:
        if row in taken:  # a line under a forecast's figure would pass for its height
            continue
        tag(row, f" {value:,.{places}f}", "axis", None)
        for x in range(area.plot_width):
            if canvas.free(area.legend + row, x) and canvas.grounds[area.legend + row][x] == PLAIN:
                canvas.put(area.legend + row, x, "┈", "grid")


def _crosshair(
    canvas: Canvas, area: Frame, picture: Picture, columns: Columns, scale: Scale, slot: int
) -> None:
    """A dotted column through one slot, its date beneath, its close on the axis."""
    x = columns.centre(slot)
    for row in range(area.legend, area.date_row):
        if canvas.free(row, x):
            canvas.put(row, x, "┊", "cross")
    label = f" {picture.dates[slot]:%Y-%m-%d} "
    canvas.text(area.date_row, max(0, min(x - len(label) // 2, area.plot_width - len(label))), label, "tag",
                "tag-cross")  # fmt: skip
    value = next((candle.close for place, candle in picture.candles if place == slot), None)
    close = picture.bars[slot].close if slot < len(picture.bars) else value
    if close is not None:
        row = area.legend + scale.row(close)
        for place in range(area.plot_width):
            if canvas.free(row, place):
                canvas.put(row, place, "┈", "cross")
        text = f" {price(close)}".ljust(area.axis_width - 1)
        canvas.text(row, area.plot_width, text, "tag", "tag-cross")


def _divider(canvas: Canvas, area: Frame, columns: Columns) -> None:
    if columns.divider is not None:
        for row in range(area.legend, area.date_row):
            canvas.put(row, columns.divider, "┊", "divider")


def _legend(
    canvas: Canvas,
    area: Frame,
    picture: Picture,
    columns: Columns,
    language: Language,
    simulated: bool,
    period: Period,
) -> None:
    """The captions: averages and sessions at the left, SIMULATED at the right, forecast between."""
    if not area.legend:
        return
    limit = canvas.width
    if simulated:
        mark = t("chart.simulated", language)
        limit -= cell_len(mark)
        canvas.text(0, limit, mark, "simulated", "simulated")
    if columns.divider is not None:
        caption = t("chart.forecast", language)
        limit = min(columns.divider, limit - cell_len(caption) - 1)
        canvas.text(0, limit, caption, "forecast")
    values = {f"ma{length}": series[-1] for length, series in picture.averages.items()}
    long = [(f"{ink.upper()} {'–' if value is None else level(value)}", ink) for ink, value in values.items()]
    long.append((t(f"chart.bars.{period}", language, count=len(picture.bars)), "axis"))
    fits = sum(cell_len(text) + 2 for text, _ in long[:-1]) <= limit
    x = 0
    for text, ink in long if fits else [(ink.upper(), ink) for ink in values]:
        if x + cell_len(text) < limit:
            x = canvas.text(0, x, text, ink) + 2
