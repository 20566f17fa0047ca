"""The palette: from any tab any action of any other, done where it belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from looking import WIDE, ask_for, market, table_text
from textual.pilot import Pilot
from textual.widgets import Input

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.rules import Rules
from stockllm.tui.app import StockApp
from stockllm.tui.core.ask import AskScreen, ConfirmScreen
from stockllm.tui.core.keys import COMMON, TAB_KEYS
from stockllm.tui.core.palette import Palette
from stockllm.tui.core.top_bar import TABS
from stockllm.tui.ledger.screen import LedgerScreen
from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.portfolio.screen import PortfolioScreen
from stockllm.tui.portfolio.ticket import TicketScreen
from stockllm.tui.system.screen import SystemScreen
from stockllm.tui.training.form import TrainForm

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


async def test_every_action_of_every_tab_is_found_from_every_tab_and_says_whose_it_is(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        for number, here in enumerate(TABS, 1):
            await pilot.press(str(number), "l", "colon")  # in turn in either language
            await settle(pilot)
            language = app.language
            screen = app.screen
            assert isinstance(screen, Palette)
            shown = [
                (entry.zh if language == "zh" else entry.en, t(entry.kind, language)) for entry in screen.all
            ]
            for key in (*TAB_KEYS[here], *COMMON):
                if key.name != "palette":
                    assert (t(f"help.{key.name}", language), t("palette.action", language)) in shown
            for tab in TABS:
                for key in TAB_KEYS[tab]:
                    if tab != here and key.action.startswith("screen."):
                        assert (t(f"help.{key.name}", language), t(f"tab.{tab}", language)) in shown
            assert [pair for pair, count in Counter(shown).items() if count > 1] == []
            own = min(n for n, entry in enumerate(screen.all) if entry.kind == "palette.action")
            others = min(n for n, entry in enumerate(screen.all) if entry.kind.startswith("tab."))
            assert own < others
            screen.query_one(Input).value = "排序" if language == "zh" else "sort"
            await settle(pilot)
            listed = table_text(app, "#palette-list").splitlines()
            for tab, key in (("market", "o"), ("ledger", "o")):
                whose = t("palette.action" if tab == here else f"tab.{tab}", language)
                pressed = key if tab == here else f"{TABS.index(tab) + 1} {key}"
                assert any(whose in line and f" {pressed} " in line for line in listed), (here, tab)
            await pilot.press("escape")
            await settle(pilot)


async def test_an_action_of_a_tab_that_was_never_opened_is_done_there_once_it_is_read(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    with Store.open(home) as store:
        Exchange.open(store, LIVE, rules=Rules(window="always")).add_account(
            "alice", "a hash", cash=1_000_000
        )
    app = make_app(home, language="en")
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await ask_for(pilot, settle, TABLE["help.model"][1])
        ledger = app.screen
        assert isinstance(ledger, LedgerScreen)
        assert ledger.model == "llama"  # which it can only know once the ledger was read
        await ask_for(pilot, settle, TABLE["help.buy"][1])
        assert isinstance(app.screen, TicketScreen)
        assert app.screen.portfolio.look.account == "alice"
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, PortfolioScreen)
        await ask_for(pilot, settle, TABLE["help.start_run"][1])
        assert isinstance(app.screen, TrainForm)
        await pilot.press("escape")
        await settle(pilot)
        await ask_for(pilot, settle, TABLE["help.pane"][1])
        assert isinstance(app.screen, SystemScreen)
        assert app.screen.pane == "requests"
        # Tabs that are open do it as well: a span, a list and a key of the market.
        await ask_for(pilot, settle, TABLE["span.1y"][1])
        assert app.screen is market(app)
        assert market(app).chart.span == "1y"
        await pilot.press("3")
        await ask_for(pilot, settle, TABLE["help.week"][0])
        assert app.screen is market(app)
        assert market(app).chart.period == "week"
        await pilot.press("3")
        await ask_for(pilot, settle, "new list")
        assert isinstance(app.screen, AskScreen)
        await pilot.press(*"chips", "enter")
        await settle(pilot)
        assert app.screen is market(app)
        await pilot.press("4")
        await ask_for(pilot, settle, "portfolio take back")
        assert isinstance(app.screen, PortfolioScreen)
        # A tab's name alone is the tab, and on the tab itself its actions answer to it as well.
        await ask_for(pilot, settle, "forecasts")
        assert app.screen is ledger
        await ask_for(pilot, settle, "forecasts adapter")
        assert ledger.adapter == "taiwan-41"


async def test_an_action_chosen_in_one_burst_from_another_tab_takes_its_keys(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home, language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await ask_for(pilot, settle, TABLE["help.filter_ledger"][1])
        await pilot.press(*"2330")
        await settle(pilot)
        assert isinstance(app.screen, LedgerScreen)
        assert app.screen.query_text == "2330"


async def test_nothing_is_done_behind_the_guide(bare_home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(bare_home, language="en")
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        await ask_for(pilot, settle, TABLE["help.cross"][1])
        assert isinstance(app.screen, GuideScreen)
        assert market(app).chart.cross is None
        assert not isinstance(app.screen, ConfirmScreen)
