"""Keys typed in one burst, faster than any of them is done: each reaches what the one before it opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from looking import WIDE, market
from textual.pilot import Pilot
from textual.widgets import Input

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.rules import Rules
from stockllm.tui.app import StockApp
from stockllm.tui.ledger.screen import LedgerScreen
from stockllm.tui.portfolio.ticket import TicketScreen
from stockllm.tui.training.form import TrainForm

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


async def burst(pilot: Pilot[None], settle: Settle, *keys: str) -> None:
    """All at once, as a terminal hands on what was typed while it was busy."""
    for key in keys:
        pilot.app.simulate_key(key)
    await settle(pilot)


async def test_what_is_typed_after_slash_is_the_filter(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await burst(pilot, settle, "slash", *"2330")
        assert app.screen is market(app)
        assert market(app).query_one("#filter", Input).value == "2330"
        assert market(app).selected == "2330"
        await burst(pilot, settle, "escape", "slash", *"24", "enter", "down", "l")
        assert [row.company.code for row in market(app).watchlist.rows[:2]] == ["2324", "2417"]
        assert market(app).selected == "2417"
        assert app.language == "en"
        # The tab is opened by the first of these keys.
        await burst(pilot, settle, "3", "slash", *"2330", "enter", "O")
        screen = app.screen
        assert isinstance(screen, LedgerScreen)
        assert screen.query_one("#filter", Input).value == "2330"
        assert not screen.descending
        await burst(pilot, settle, "escape", "1", "2", "3", "4", "5", "1", "slash", "escape", "w")
        assert app.screen is market(app)
        assert market(app).chart.period == "week"


async def test_what_is_typed_after_the_palette_is_looked_for_and_done(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home, language="en")
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await burst(pilot, settle, "colon", *"2454", "enter", "w")
        assert market(app).selected == "2454"
        assert market(app).chart.period == "week"
        assert app.screen is market(app)


@pytest.mark.parametrize("size", [WIDE, (80, 24)])
async def test_what_is_typed_after_a_form_opens_is_filled_in(
    home: Home, make_app: MakeApp, settle: Settle, size: tuple[int, int]
) -> None:
    with Store.open(home) as store:
        Exchange.open(store, LIVE, rules=Rules(window="always")).add_account(
            "alice", "a hash", cash=1_000_000
        )
    app = make_app(home)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await burst(pilot, settle, "2")
        await burst(pilot, settle, "b", *"1000", "down", *"50.5")
        assert isinstance(app.screen, TicketScreen)
        assert app.screen.typed()["shares"] == "1000"
        assert app.screen.typed()["price"] == "50.5"
        await burst(pilot, settle, "escape", "4", "s", "2", "3")
        assert isinstance(app.screen, TrainForm)
        assert app.screen.values()["companies"].endswith("23")


async def test_a_key_held_down_waits_for_none(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        codes = [row.company.code for row in market(app).watchlist.rows]
        for _ in range(12):
            app.simulate_key("down")
        await pilot.pause()
        assert market(app).watchlist.cursor == codes[12]
        assert not app.keys_held
