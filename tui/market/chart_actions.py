"""What the keys of the market tab do to its chart."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial

from textual import on, work
from textual.reactive import reactive

from stockllm.tui.core import export
from stockllm.tui.core.messages import LoadFailed
from stockllm.tui.core.tab import TabScreen, Write
from stockllm.tui.drawing.periods import SPANS, Period, Span
from stockllm.tui.look.strings import t
from stockllm.tui.market import board as core
from stockllm.tui.market.board import Detail, Past
from stockllm.tui.market.chart import CandleChart
from stockllm.tui.market.forecast_line import ForecastLine
from stockllm.tui.market.messages import PastLoaded
from stockllm.tui.market.news import NewsScreen
from stockllm.tui.market.outcome_line import OutcomeLine
from stockllm.tui.market.quote import Quote


class ChartActions(TabScreen):
    """Zoom, pan, crosshair, spans, periods, comparison with older forecasts, news and export."""

    #: The code of the selected company, whose ``detail`` may still be on its way.
    selected: str = ""
    _awaiting: Past | None = None

    detail: reactive[Detail | None] = reactive(None, repaint=False)
    #: The older forecast that is held against what came.
    past: reactive[Past | None] = reactive(None, repaint=False)

    @property
    def chart(self) -> CandleChart:
        """The chart."""
        return self.query_one(CandleChart)

    def action_zoom(self, step: int) -> None:
        """Nearer or farther."""
        self.chart.zoom(step)

    def action_pan(self, step: int) -> None:
        """Earlier (1) or later (-1): the crosshair by a bar if there is one, else an eighth of the view."""
        if self.chart.cross is None:
            self.chart.pan(step / 8)
        else:
            self.chart.move_cross(-step)

    def action_page(self, step: int) -> None:
        """A whole view earlier (1) or later (-1)."""
        self.chart.pan(step)

    def action_newest(self) -> None:
        """Back to the newest bar."""
        self.chart.back = 0

    def action_cross(self) -> None:
        """The crosshair, on or off."""
        self.chart.toggle_cross()

    def action_span(self, span: Span | None = None) -> None:
        """The span named, else the next one."""
        spans = list(SPANS)
        now = self.chart.span
        self.chart.show_span(span or spans[(spans.index(now) + 1) % len(spans) if now in spans else 0])

    def action_period(self, period: Period) -> None:
        """Bars of days, weeks or months."""
        self.chart.show_period(period)

    @on(CandleChart.Viewed)
    def _viewed(self, message: CandleChart.Viewed) -> None:
        where = {"spacing": message.spacing, "period": message.period, "span": message.span}
        self.stock.remember({"dashboard": where})

    @on(CandleChart.Pointed)
    def _pointed(self, message: CandleChart.Pointed) -> None:
        self.query_one(Quote).pointer = message.pointer

    # Older forecasts

    def action_compare(self, step: int) -> None:
        """The forecast before the one shown (1), or after it (-1); after the newest, none."""
        if self.detail is None:
            return
        dates = self.detail.series.dates
        rows = [row for row in self.detail.history if dates and row.as_of < dates[-1]]
        if not rows:
            self.notify(t("toast.no_past", self.language), severity="warning")
            return
        now = next((n for n, row in enumerate(rows) if self._compared(row.as_of)), -1) if self.past else -1
        wanted = now + step
        if wanted < 0:
            self.past = None
        elif wanted < len(rows):
            self.load_past(rows[wanted].id)

    def _compared(self, as_of: object) -> bool:
        return self.past is not None and self.past.forecast.as_of == as_of

    @work(thread=True, exclusive=True, exit_on_error=False, group="past", description="read a forecast")
    def load_past(self, id: int) -> None:
        try:
            self.post_message(PastLoaded(core.load_past(self.stock.home, id)))
        except Exception as error:
            self.post_message(LoadFailed("past", error))

    @on(PastLoaded)
    def _past_loaded(self, message: PastLoaded) -> None:
        self._awaiting = message.past
        self.compare_awaited()

    def compare_awaited(self) -> None:
        """Show the older forecast that was read, once its company is the one shown."""
        past = self._awaiting
        if past is not None and self.detail is not None:
            if past.forecast.code == self.detail.company.code:
                self.past = past
                self._awaiting = None
            elif past.forecast.code != self.selected:
                self._awaiting = None

    def watch_past(self, past: Past | None) -> None:
        for line in self.query(ForecastLine):
            line.display = past is None
        for outcome in self.query(OutcomeLine):
            outcome.display = past is not None
        for chart in self.query(CandleChart):
            if past is not None:
                chart.show_past(past)

    # News

    def action_news(self) -> None:
        """The company's articles."""
        if self.detail is not None:
            self.app.push_screen(NewsScreen(self.language, self.detail, self.stock.now(), self.visit))

    def visit(self, url: str) -> None:
        """Open an article in the browser; the address comes from outside, so it must be one of the web."""
        if url.startswith(("https://", "http://")):
            self.stock.browse(url)
        else:
            self.notify(t("toast.no_address", self.language, url=url), severity="warning", markup=False)

    # Export

    def exports(self) -> Write | None:
        """The chart as it is shown, as PNG and CSV."""
        found = self.chart.arranged()
        if self.detail is None or found is None or not len(self.detail.series):
            return None
        bars, forecast = self.chart.bars(), self.chart.forecast
        end, shown = len(bars) - self.chart.back, found.columns.history
        if forecast is not None and forecast.as_of in bars.dates[end - shown : end]:
            # All that came of it, or a day to the right of the view would look as if it were still to come.
            due = bisect_right(bars.dates, forecast.dates[-1])
            end, shown = max(end, due), shown + max(0, due - end)
        else:
            forecast = None
        view = export.View(
            bars[:end], forecast, shown, self.chart.period, self.chart.span or self.chart.period
        )
        self.notify(t("toast.exporting", self.language), timeout=2)
        return partial(
            export.chart, self.stock.home, self.detail.company, view,
            language=self.language, up_colour=self.stock.up_colour, simulated=self.detail.simulated,
        )  # fmt: skip
