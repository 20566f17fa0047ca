"""The candlestick chart as a widget: turns the canvas of ``raster`` into strips."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, ClassVar, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from stockllm.tui.drawing.canvas import PLAIN, Canvas
from stockllm.tui.drawing.periods import PERIODS, SPANS, Period, Span, ahead, resample
from stockllm.tui.drawing.plot import SPACINGS, Ohlcv, View
from stockllm.tui.drawing.raster import Arranged, arrange, paint
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language, clip
from stockllm.tui.market.board import Detail, Past

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries, PathForecast
    from stockllm.tui.core.dashboard import Dashboard
    from stockllm.tui.look.ascii import Charset

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
    "tag-cross",
    "cross",
    "simulated",
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the crosshair stands on. ``before`` is the close it is measured from, None on the first
    bar; ``band`` the 80% range of the close, where the day is forecast."""

    day: date
    bar: Ohlcv
    before: float | None
    band: tuple[float, float] | None = None


class CandleChart(Widget):
    """Candles, averages and volume of one company, and its forecast to the right of the divider.

    Drawn once for each company, size, view, language and theme; repainting reuses it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"chart--{ink}" for ink in INKS}

    @dataclass(eq=False)
    class Pointed(Message):
        """The crosshair came to stand elsewhere, or (None) was taken away."""

        pointer: Pointer | None

    @dataclass(eq=False)
    class Viewed(Message):
        """The user chose another zoom, span or period."""

        spacing: int | None
        period: Period
        span: Span

    detail: reactive[Detail | None] = reactive(None)
    language: reactive[Language] = reactive("zh")
    #: An older forecast to hold against what came, in place of the newest.
    past: reactive[Past | None] = reactive(None)
    #: Cells a session takes; None to let the width decide.
    spacing: reactive[int | None] = reactive(None)
    period: reactive[Period] = reactive("day")
    #: A stretch of time to be fitted into whatever width there is; empty after a zoom by hand.
    span: reactive[Span] = reactive("")
    #: Bars left out at the right.
    back: reactive[int] = reactive(0)
    #: The date under the crosshair.
    cross: reactive[date | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] | None = None
        self._drawn_for: tuple[object, ...] = ()
        self._bars: dict[Period, BarSeries] = {}
        #: The forecast as it was made, and in bars of a period.
        self._forecasts: dict[Period, tuple[PathForecast, PathForecast]] = {}
        #: By ink and ground, until the theme changes.
        self._styles: dict[tuple[str, str], Style] = {}

    def notify_style_update(self) -> None:
        """A theme, or the switch of red and green, changes every colour."""
        super().notify_style_update()
        self._strips = None
        self._styles = {}

    def render_line(self, y: int) -> Strip:
        """One row of the chart."""
        strips = self._lines()
        return strips[y] if y < len(strips) else Strip.blank(self.size.width)

    # What is in view

    def watch_detail(self, before: Detail | None, now: Detail | None) -> None:
        was, self._bars = self._bars.get(self.period), {}
        if before is None or now is None or before.company != now.company:
            self.back, self.cross, self.past = 0, None, None
        elif self.back and was is not None and len(was) > self.back:
            # Newer bars came in: the days in view stay in view.
            bars = self.bars()
            self.back = len(bars) - bisect_right(bars.dates, was.dates[-1 - self.back])

    def bars(self, period: Period | None = None) -> BarSeries:
        """The company's bars of a period, the one shown where none is named."""
        assert self.detail is not None
        period = period or self.period
        if period not in self._bars:
            wanted = self._wanted
            cuts = () if wanted is None else (wanted.as_of, wanted.dates[-1])
            self._bars[period] = resample(self.detail.series, period, cuts)
        return self._bars[period]

    def watch_past(self) -> None:
        self._bars = {}  # weeks are cut where the forecast begins and ends

    @property
    def forecast(self) -> PathForecast | None:
        """The forecast that is drawn, in bars of the period shown."""
        return self._ahead(self.period)

    def _ahead(self, period: Period) -> PathForecast | None:
        wanted = self._wanted
        if wanted is None:
            return None
        known = self._forecasts.get(period)
        if known is None or known[0] is not wanted:
            known = self._forecasts[period] = (wanted, ahead(wanted, period))
        return known[1]

    @property
    def _wanted(self) -> PathForecast | None:
        if self.past is not None:
            return self.past.forecast
        return self.detail.forecast if self.detail else None

    def arranged(self) -> Arranged | None:
        """Where everything stands now; None where there is nothing to show."""
        if self.detail is None:
            return None
        view = View(self.spacing, self.back, self._fit())
        return arrange(self.bars(), self.forecast, *self.size, view)

    def _fit(self) -> int | None:
        """Period and spacing for the span that is wanted, the finest bars that fit; how many they are."""
        if not self.span or self.detail is None or not len(self.detail.series):
            return None
        days = SPANS[self.span] or len(self.detail.series)
        since = self.detail.series.dates[-min(days, len(self.detail.series))]
        for period in PERIODS:
            bars = self.bars(period)
            count = len(bars) - bisect_left(bars.dates, since)
            found = arrange(bars, self._ahead(period), *self.size, View(1))
            if found is None:
                return None
            room = found.columns.history * found.columns.spacing + found.columns.left
            fitting = [spacing for spacing in SPACINGS if spacing * count <= room]
            if fitting or period == PERIODS[-1]:
                self.set_reactive(CandleChart.period, period)
                self.set_reactive(CandleChart.spacing, fitting[-1] if fitting else 1)
                return count
        return None

    # What the user does

    def zoom(self, step: int) -> None:
        """Nearer by ``step`` spacings, farther where it is negative; stops at either end."""
        found = self.arranged()
        if found is None:
            return
        shown = found.columns.spacing
        nearest = min(range(len(SPACINGS)), key=lambda index: abs(SPACINGS[index] - shown))
        self.span = ""
        self.spacing = SPACINGS[min(max(nearest + step, 0), len(SPACINGS) - 1)]
        self._viewed()

    def pan(self, pages: float) -> None:
        """Earlier by a share of what is in view, later where it is negative; stops at either end."""
        found = self.arranged()
        if found is not None:
            shown = found.columns.history
            most = max(0, len(self.bars()) - shown)
            step = round(pages * shown) or (1 if pages > 0 else -1)
            self.back = min(max(self.back + step, 0), most)

    def show_span(self, span: Span) -> None:
        """A stretch of time up to the newest day."""
        self.span, self.back = span, 0
        self._fit()
        self._viewed()
        self.refresh()

    def show_past(self, past: Past) -> None:
        """An older forecast with the days it spoke of in view, as daily bars."""
        self.period, self.span, self.cross = "day", "", None
        bars = self.bars()
        due = bisect_right(bars.dates, past.forecast.dates[-1])
        # Some days after it, so that it is seen where things went on to.
        self.back = max(0, len(bars) - due - 5)

    def show_period(self, period: Period) -> None:
        """Bars of days, weeks or months, as many as the width takes."""
        self.span, self.period, self.spacing, self.back, self.cross = "", period, None, 0, None
        self._viewed()

    def _viewed(self) -> None:
        self.post_message(self.Viewed(self.spacing, self.period, self.span))

    def toggle_cross(self) -> None:
        """The crosshair on the last bar in view, or away."""
        found = self.arranged()
        if found is not None:
            self.cross = None if self.cross else found.picture.dates[found.columns.history - 1]

    def move_cross(self, step: int) -> None:
        """The crosshair ``step`` bars on; the view follows it."""
        found = self.arranged()
        if found is None or self.cross is None:
            return
        bars = self.bars()
        coming = () if self.forecast is None else self.forecast.dates
        days = bars.dates + tuple(day for day in coming if day > bars.dates[-1])
        place = min(max(bisect_left(days, self.cross) + step, 0), len(days) - 1)
        first = len(bars) - self.back - found.columns.history
        if place < first:
            self.back += first - place
        elif place >= len(bars) - self.back and self.back:
            self.back = max(0, len(bars) - 1 - place)
        self.cross = days[place]

    def watch_cross(self) -> None:
        self.post_message(self.Pointed(self.pointer()))

    def pointer(self) -> Pointer | None:
        """What the crosshair stands on."""
        found = self.arranged()
        if found is None or self.cross is None or self.cross not in found.picture.dates:
            return None
        picture = found.picture
        slot = picture.dates.index(self.cross)
        band = next(((p.q10, p.q90) for p in picture.cone if p.slot == slot), None)
        if slot < len(picture.bars):
            place = bisect_left(self.bars().dates, self.cross)
            bars = self.bars()
            before = float(bars.reference[place] if self.period == "day" else bars.close[max(place - 1, 0)])
            return Pointer(self.cross, picture.bars[slot], before if place else None, band)
        candle = next((c for place, c in picture.candles if place == slot), None)
        return None if candle is None else Pointer(self.cross, candle, None, band)

    def on_click(self, event: events.Click) -> None:
        found = self.arranged()
        slot = None if found is None else found.columns.slot_at(event.x)
        if found is not None and slot is not None and slot < len(found.picture.dates):
            day = found.picture.dates[slot]
            self.cross = None if self.cross == day else day

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.zoom(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.zoom(-1)

    # Drawing

    def _lines(self) -> list[Strip]:
        charset = cast("Dashboard", self.app).charset
        wanted = (
            (self.detail, self.past, self.language, self.size, charset),
            (self.spacing, self.period, self.span, self.back, self.cross),
        )
        if self._strips is None or wanted != self._drawn_for:
            self._drawn_for = wanted
            self._strips = self._draw(charset)
        return self._strips

    def _draw(self, charset: Charset) -> list[Strip]:
        notice = self._notice()
        found = None if notice else self.arranged()
        if found is None or self.detail is None:
            return self._centred(notice)
        canvas = Canvas(*self.size)
        paint(
            canvas,
            found,
            self.language,
            simulated=self.detail.simulated,
            period=self.period,
            cross=self.cross,
            blocks=charset == "blocks",
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
        styles = self._styles
        if not styles:
            base = self.rich_style.bgcolor
            colours = {ink: self.get_component_rich_style(f"chart--{ink}").color for ink in INKS}
            colours |= {"ground": base, PLAIN: base}
            for ink in colours:
                # On the simulated mark the ink is the screen's own ground, as on a stamp.
                front = colours["ground"] if ink == "simulated" else colours[ink]
                bold = ink in ("tag", "simulated")
                for ground, back in colours.items():
                    styles[ink, ground] = Style(color=front, bgcolor=back, bold=bold)
        return [
            Strip([Segment(run, styles[ink, ground]) for run, ink, ground in canvas.runs(row)], canvas.width)
            for row in range(canvas.height)
        ]
