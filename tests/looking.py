"""What a test sees of the dashboard."""

from __future__ import annotations

from textual.widget import Widget

from stockllm.tui.app import StockApp
from stockllm.tui.chart import CandleChart
from stockllm.tui.market_screen import MarketScreen
from stockllm.tui.table import Table

WIDE = (160, 50)


def market(app: StockApp) -> MarketScreen:
    """The market tab, whatever lies over it."""
    return app.market


def shown(app: StockApp, kind: type[Widget]) -> str:
    """The text of a widget of the market tab."""
    return market(app).query_one(kind).render().plain  # type: ignore[union-attr]


def lines(widget: Widget) -> list[str]:
    """A widget that draws lines, as text, through the filters of the app."""
    found = [widget.render_line(y) for y in range(widget.size.height)]
    return ["".join(s.text for s in strip) for strip in found]


def chart_text(app: StockApp) -> str:
    """The chart."""
    return "\n".join(lines(market(app).query_one(CandleChart)))


def table_text(app: StockApp, selector: str) -> str:
    """A table of the screen on top."""
    return "\n".join(lines(app.screen.query_one(selector, Table)))


def toasts(app: StockApp) -> list[str]:
    """What was said in the corner, oldest first."""
    return [note.message for note in app._notifications]
