"""A small plot of lines over time, in braille dots: coverage, errors, losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from stockllm.tui.drawing.canvas import Canvas, Dots
from stockllm.tui.look.text import clip

INKS = ("axis", "first", "second", "mark", "title")


@dataclass(frozen=True, slots=True)
class Plot:
    """What a curve shows. Points are (x, y) with x rising; ``marks`` are levels drawn across, each with
    its label; ``ends`` are the words under the first and the last x. ``notice`` stands where there is
    no point. ``digits`` are the decimals of a percentage, ``legend`` names the two lines,
    each in its own colour, after the title."""

    title: str
    first: tuple[tuple[float, float], ...] = ()
    second: tuple[tuple[float, float], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()
    ends: tuple[str, str] = ("", "")
    notice: str = ""
    percent: bool = False
    digits: int = 0
    legend: tuple[str, str] = ("", "")

    def label(self, value: float) -> str:
        """A level as it is written beside the plot."""
        if self.percent:
            return f"{value:.{self.digits}%}"
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.4g}"


class Curve(Widget):
    """One plot. The first line is bright, the second quiet; marks are dotted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"curve--{ink}" for ink in INKS}

    plot: reactive[Plot | None] = reactive(None)

    #: What was drawn last, and for which plot and size.
    _drawn: tuple[Plot, int, int, Canvas] | None = None

    def render_line(self, y: int) -> Strip:
        """One row of the plot."""
        width, height = self.size
        if self.plot is None or y >= height:
            return Strip.blank(width, self.rich_style)
        if self._drawn is None or self._drawn[:3] != (self.plot, width, height):
            self._drawn = (self.plot, width, height, draw(self.plot, width, height))
        canvas = self._drawn[3]
        ground = self.rich_style.bgcolor
        styles = {
            ink: Style(color=self.get_component_rich_style(f"curve--{ink}").color, bgcolor=ground)
            for ink in INKS
        }
        styles["text"] = Style(bgcolor=ground)
        return Strip([Segment(text, styles[ink]) for text, ink, _ in canvas.runs(y)], width)


def draw(plot: Plot, width: int, height: int) -> Canvas:
    """The plot in ``width`` by ``height`` cells: title, lines, labels of levels at the left, ends below."""
    canvas = Canvas(width, height)
    if width < 12 or height < 3:
        return canvas
    x = canvas.text(0, 0, clip(plot.title, width), "title")
    for name, ink in zip(plot.legend, ("first", "second"), strict=True):
        if name and x < width:
            x = canvas.text(0, x + 2 if x else 0, clip(name, width - x - 2), ink)
    points = [*plot.first, *plot.second]
    if not points:
        canvas.text(height // 2, 1, clip(plot.notice, width - 2), "axis")
        return canvas
    low, high = _limits([y for _, y in points] + [level for level, _ in plot.marks])
    rows = height - (2 if any(plot.ends) and height > 4 else 1)
    labels = {0: plot.label(high), rows - 1: plot.label(low)}
    margin = max(cell_len(label) for label in [*labels.values(), *(text for _, text in plot.marks)]) + 1
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    wide = max(1, width - margin)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        return across * (wide - 0.51), (high - y) / (high - low) * (rows - 0.01)

    for level, text in plot.marks:
        row = min(int(place(left, level)[1]), rows - 1)
        labels[row] = text
        for x in range(wide):
            canvas.put(1 + row, margin + x, "┈", "mark")
    dots = Dots(wide, rows)
    for ink, line in (("second", plot.second), ("first", plot.first)):
        drawn = [place(x, y) for x, y in line]
        dots.line(drawn if len(drawn) != 1 else [drawn[0], drawn[0]], ink)
    for (row, x), (mask, ink) in dots.cells.items():
        canvas.put(1 + row, margin + x, chr(0x2800 + mask), ink)
    for row, text in labels.items():
        canvas.text(1 + row, 0, text.rjust(margin - 1), "axis")
    if rows < height - 1:
        first, last = plot.ends
        canvas.text(height - 1, margin, clip(first, wide), "axis")
        if cell_len(first) + cell_len(last) < wide:
            canvas.text(height - 1, width - cell_len(last), last, "axis")
    return canvas


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest value with a little air, never the same, and not below 0 where no value is."""
    low, high = min(values), max(values)
    air = (high - low) * 0.05 or max(abs(high) * 0.05, 1e-9)
    return (max(0.0, low - air) if low >= 0 else low - air), high + air
