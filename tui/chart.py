"""The candlestick chart as a widget: turns the canvas of ``raster`` into strips."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from stockllm.tui.board import Detail
from stockllm.tui.canvas import PLAIN, Canvas
from stockllm.tui.plot import SPACINGS
from stockllm.tui.raster import draw, spacing_shown
from stockllm.tui.strings import t
from stockllm.tui.text import Language, clip

#: Inks of the canvas, each with a component class of its own.
INKS = (
    "text",
    "axis",
    "grid",
    "divider",
    "forecast",
    "up",
    "down",
    "volume-up",
    "volume-down",
    "volume-forecast",
    "ma5",
    "ma20",
    "ma60",
    "cone80",
    "cone50",
    "tag",
    "tag-up",
    "tag-down",
    "simulated",
)


class CandleChart(Widget):
    """Candles, averages and volume of one company, and its forecast to the right of the divider.

    Drawn once for each company, size, zoom, language and theme; scrolling and repainting reuse it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{ink}" for ink in INKS}

    detail: reactive[Detail | None] = reactive(None)
    language: reactive[Language] = reactive("zh")
    #: Cells a session takes; None to let the width decide.
    spacing: reactive[int | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] | None = None
        self._drawn_for: tuple[object, ...] = ()

    def notify_style_update(self) -> None:
        """A theme, or the switch of red and green, changes every colour."""
        super().notify_style_update()
        self._strips = None

    def render_line(self, y: int) -> Strip:
        """One row of the chart."""
        strips = self._lines()
        return strips[y] if y < len(strips) else Strip.blank(self.size.width)

    def zoom(self, step: int) -> None:
        """Nearer by ``step`` spacings, farther where it is negative; stops at either end."""
        if self.detail is None:
            return
        shown = spacing_shown(self.detail.series, self.detail.forecast, self.size.width, self.spacing)
        nearest = min(range(len(SPACINGS)), key=lambda index: abs(SPACINGS[index] - shown))
        self.spacing = SPACINGS[min(max(nearest + step, 0), len(SPACINGS) - 1)]

    def _lines(self) -> list[Strip]:
        wanted = (self.detail, self.language, self.spacing, self.size)
        if self._strips is None or wanted != self._drawn_for:
            self._drawn_for = wanted
            self._strips = self._draw()
        return self._strips

    def _draw(self) -> list[Strip]:
        width, height = self.size
        notice = self._notice()
        if notice or self.detail is None:
            return self._centred(notice)
        canvas = draw(
            self.detail.series,
            self.detail.forecast,
            width,
            height,
            self.language,
            self.spacing,
            self.detail.simulated,
        )
        return self._strips_of(canvas)

    def _notice(self) -> str:
        """Why there is no chart, empty where there is one."""
        if self.detail is None:
            return t("chart.loading", self.language)
        if not len(self.detail.series):
            return t("chart.none", self.language)
        return t("chart.small", self.language) if self.size.width < 24 or self.size.height < 6 else ""

    def _centred(self, notice: str) -> list[Strip]:
        width, height = self.size
        canvas = Canvas(width, height)
        text = clip(notice, width)
        canvas.text(height // 2, max(0, (width - cell_len(text)) // 2), text, "axis")
        return self._strips_of(canvas)

    def _strips_of(self, canvas: Canvas) -> list[Strip]:
        base = self.rich_style
        colours = {ink: self.get_component_rich_style(f"chart--{ink}").color for ink in INKS}
        colours |= {"ground": base.bgcolor, PLAIN: base.bgcolor}
        styles: dict[tuple[str, str], Style] = {}

        def style(ink: str, ground: str) -> Style:
            key = (ink, ground)
            if key not in styles:
                # On the simulated mark the ink is the screen's own ground, as on a stamp.
                front = colours["ground"] if ink == "simulated" else colours[ink]
                styles[key] = Style(color=front, bgcolor=colours[ground], bold=ink in ("tag", "simulated"))
            return styles[key]

        return [
            Strip([Segment(text, style(ink, ground)) for text, ink, ground in canvas.runs(row)], canvas.width)
            for row in range(canvas.height)
        ]
