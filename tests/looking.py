"""What a test sees of the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date

import numpy as np
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from stockllm.data.paths import Home
from stockllm.data.records import Bar, PathForecast
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order
from stockllm.tui.app import StockApp
from stockllm.tui.drawing.table import Table
from stockllm.tui.market.chart import CandleChart
from stockllm.tui.market.screen import MarketScreen

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


async def ask_for(pilot: Pilot[None], settle: Callable[[Pilot[None]], Awaitable[None]], words: str) -> None:
    """The first thing that answers to ``words`` in the palette, as a user would."""
    await pilot.press("colon")
    await settle(pilot)
    pilot.app.screen.query_one("#palette-input", Input).value = words
    await pilot.pause()
    await pilot.press("enter")
    await settle(pilot)


def toasts(app: StockApp) -> list[str]:
    """What was said in the corner, oldest first."""
    return [note.message for note in app._notifications]


def play(home: Home) -> None:
    """Opens the account carol, which buys, sells a part and holds the rest over twelve sessions."""
    orders = {
        0: ("2330", "buy", 3000),
        1: ("2317", "buy", 3000),
        6: ("2330", "sell", 1000),
        11: ("2330", "sell", 1000),
    }
    with Store.open(home) as store:
        exchange = Exchange.open(store, "past", evening=date(2026, 3, 10))
        exchange.add_account("carol", "a hash", cash=20_000_000)
        for number in range(12):
            if number in orders:
                code, side, shares = orders[number]
                session = exchange.next_session()
                (bar,) = store.bars.bars(code, session, session)
                exchange.place("carol", Order(code, side, shares, bar.close))  # type: ignore[arg-type]
            exchange.advance()


def long_and_old(forecast: PathForecast, bars: list[Bar], back: int) -> PathForecast:
    """Twenty days from ``back`` sessions before the last bar on, as they would have been forecast then."""
    days = tuple(bar.date for bar in bars) + forecast.dates
    origin = len(bars) - 1 - back
    moved = forecast.prices * (bars[origin].close / forecast.last_close)
    return replace(
        forecast,
        as_of=days[origin],
        dates=days[origin + 1 : origin + 1 + forecast.horizon],
        last_close=bars[origin].close,
        prices=np.rint(moved).astype(np.int32),
    )
