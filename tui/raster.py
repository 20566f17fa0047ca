"""Draws a picture of the market into a canvas: candles, averages, cone, volume, axes.

What stands in front: candles, then averages, then the shading of the cone, then the grid. Bodies
and wicks have half a row's resolution, the edges of the cone and the volume bars an eighth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from stockllm.tui import candles, plot
from stockllm.tui.axis import date_labels
from stockllm.tui.canvas import PLAIN, Canvas, Dots
from stockllm.tui.plot import Columns, ConePoint, Picture, Scale
from stockllm.tui.strings import t
from stockllm.tui.text import Language, level, price, short_lots

if TYPE_CHECKING:
    from stockllm.data.records import PathForecast, Series

EIGHTHS = " ▁▂▃▄▅▆▇█"

#: Grounds from outside the cone inwards.
_ZONES = (PLAIN, "cone80", "cone50")


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


def draw(
    series: Series,
    forecast: PathForecast | None,
    width: int,
    height: int,
    language: Language = "zh",
    spacing: int | None = None,
    simulated: bool = False,
) -> Canvas:
    """The chart of ``series`` and ``forecast`` in ``width`` by ``height`` cells.

    ``spacing`` is the cells a session takes, None to choose. An empty series gives a blank canvas.
    """
    canvas = Canvas(width, height)
    if not len(series) or width < 12 or height < 4:
        return canvas
    area = frame(width, height, _axis_width(series))
    columns = _columns(series, forecast, area, spacing)
    picture = plot.picture(series, forecast, columns.history)
    scale = plot.scale(picture.prices(), area.price_rows)
    _candles(canvas, area, picture, columns, scale)
    _averages(canvas, area, picture, columns, scale)
    _cone(canvas, area, picture, columns, scale)
    _volume(canvas, area, picture, columns, language)
    _dates(canvas, area, picture, columns, language)
    _price_axis(canvas, area, picture, scale)
    _divider(canvas, area, columns)
    _legend(canvas, area, picture, columns, language, simulated)
    return canvas


def spacing_shown(series: Series, forecast: PathForecast | None, width: int, spacing: int | None) -> int:
    """The cells a session takes in a chart ``width`` cells wide, once the width had its say."""
    return _columns(series, forecast, frame(width, 24, _axis_width(series)), spacing).spacing


def _axis_width(series: Series) -> int:
    """Room for the last price with a blank at either side; 8 cells hold any round price."""
    return max(8, len(price(float(series.close[-1]))) + 2) if len(series) else 8


def _columns(series: Series, forecast: PathForecast | None, area: Frame, spacing: int | None) -> Columns:
    return plot.columns(area.plot_width, len(series), plot.future_sessions(series, forecast), spacing)


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


def _cone(canvas: Canvas, area: Frame, picture: Picture, columns: Columns, scale: Scale) -> None:
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
            _cone_cell(canvas, area.legend + row, x, [edge - row * 8 for edge in edges])


def _places(points: Sequence[ConePoint], columns: Columns) -> list[int]:
    """The column of each point; a cone that begins today begins at the divider."""
    places = [columns.start(p.slot) + (columns.cells(p.slot) - 1) // 2 for p in points]
    if columns.divider is not None and points[0].slot == columns.history - 1:
        places[0] = columns.divider
    return places


def _cone_cell(canvas: Canvas, row: int, x: int, edges: list[int]) -> None:
    """Shades one cell by the four band edges, in eighths from the cell's top."""
    zones = [_ZONES[(edges[0] <= part < edges[3]) + (edges[1] <= part < edges[2])] for part in range(8)]
    if not canvas.free(row, x):
        canvas.shade(row, x, zones[4])
        return
    upper, lower = zones[0], zones[7]
    if upper == lower:
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


def _dates(canvas: Canvas, area: Frame, picture: Picture, columns: Columns, language: Language) -> None:
    for label in date_labels(picture.dates, columns, area.plot_width, language):
        canvas.text(area.date_row, label.x, label.text, "forecast" if label.forecast else "axis")


def _price_axis(canvas: Canvas, area: Frame, picture: Picture, scale: Scale) -> None:
    taken: set[int] = set()

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


def _divider(canvas: Canvas, area: Frame, columns: Columns) -> None:
    if columns.divider is not None:
        for row in range(area.legend, area.date_row):
            canvas.put(row, columns.divider, "┊", "divider")


def _legend(
    canvas: Canvas, area: Frame, picture: Picture, columns: Columns, language: Language, simulated: bool
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
    long.append((t("chart.sessions", language, count=len(picture.bars)), "axis"))
    fits = sum(cell_len(text) + 2 for text, _ in long[:-1]) <= limit
    x = 0
    for text, ink in long if fits else [(ink.upper(), ink) for ink in values]:
        if x + cell_len(text) < limit:
            x = canvas.text(0, x, text, ink) + 2
