"""Every key that the dashboard declares, pressed, and what it changes before the user's eyes.

A row is a binding, one of its keys, what is looked at, and what is to be seen there afterwards (or how it
differs from before). One app walks along a whole table. The last test fails for a key that is in no table
and in none of the tests that ``ELSEWHERE`` names.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from looking import WIDE, market, shown, toasts
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Input, Static

import stockllm.tui
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.accounts import open_new
from stockllm.trading.exchange.exchange import LIVE
from stockllm.trading.exchange.opening import new_account
from stockllm.tui.app import StockApp
from stockllm.tui.core.ask import AskScreen, ConfirmScreen
from stockllm.tui.core.help import HelpScreen
from stockllm.tui.core.palette import Palette
from stockllm.tui.core.text_screen import TextScreen
from stockllm.tui.drawing.table import Table
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.market.news import NewsScreen
from stockllm.tui.market.quote import Quote
from stockllm.tui.portfolio.account import AccountScreen
from stockllm.tui.portfolio.ticket import TicketScreen
from stockllm.tui.training.form import TrainForm

#: Where the tests of the dashboard lie.
TESTS = Path(__file__).parents[1]

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]
Look = Callable[[StockApp], Any]
Row = tuple[str, str, Look, Any]


# What is looked at


def top(app: StockApp) -> object:
    """What lies in front: a tab by its name, anything else by its kind."""
    return getattr(app.screen, "TAB", type(app.screen))


def focus(app: StockApp) -> str | None:
    return app.focused.id if app.focused else None


def language(app: StockApp) -> str:
    return str(getattr(app.screen, "language", app.language))


def days(app: StockApp) -> int:
    found = market(app).chart.arranged()
    assert found is not None
    return found.columns.history


def back(app: StockApp) -> int:
    return market(app).chart.back


def crosshair(app: StockApp) -> date | None:
    return market(app).chart.cross


def company(app: StockApp) -> int:
    """The line of the company that list and chart show."""
    screen = market(app)
    assert screen.detail is not None
    assert screen.detail.company.code == screen.selected == screen.watchlist.cursor
    return screen.watchlist.places[screen.selected]


def line(app: StockApp) -> int:
    """The line of the cursor in the table that has the focus, or in the palette's."""
    table = app.focused if isinstance(app.focused, Table) else app.screen.query_one(Table)
    assert table.index is not None
    return table.index


def told(selector: str) -> Look:
    return lambda app: "".join(str(box.render()) for box in app.screen.query(selector).results(Static))


def screen_has(name: str) -> Look:
    return lambda app: getattr(app.screen, name, "")


def toast(app: StockApp) -> str:
    return toasts(app)[-1] if toasts(app) else ""


# How it differs


def more(before: Any, after: Any) -> bool:
    return bool(after > before)


def less(before: Any, after: Any) -> bool:
    return bool(after < before)


def says(words: str) -> Callable[[str, str], bool]:
    return lambda before, after: words in after and words not in before


def moves(kind: str, look: Look, page: int, last: int) -> list[Row]:
    """The keys of a list whose cursor stands on its first line; ``page`` lines are a page."""
    steps = (("down", "down", 1), ("down", "j", 2), ("up", "up", 1), ("up", "k", 0))
    steps += (("pagedown", "pagedown", page), ("pageup", "pageup", 0))
    steps += (("last", "end", last), ("first", "home", 0), ("last", "G", last), ("first", "g", 0))
    return [(f"{kind}.{name}", key, look, wanted) for name, key, wanted in steps]


MARKET: list[Row] = [
    *moves("list", company, 40, 40),
    ("market.zoom", "plus", days, less),
    ("market.zoom", "equals_sign", days, less),
    ("market.zoom", "right_square_bracket", days, less),
    ("market.zoom_out", "minus", days, more),
    ("market.zoom_out", "left_square_bracket", days, more),
    ("market.pan", "left", back, more),
    ("market.pan_right", "right", back, 0),
    ("market.page", "shift+left", back, more),
    ("market.page_right", "shift+right", back, 0),
    ("market.page", "comma", back, more),
    ("market.page_right", "full_stop", back, 0),
    ("market.page", "comma", back, more),
    ("market.newest", "zero", back, 0),
    ("market.cross", "x", crosshair, date(2026, 3, 31)),
    ("market.pan", "left", crosshair, date(2026, 3, 30)),
    ("market.clear", "escape", crosshair, None),
    ("market.span", "v", lambda app: market(app).chart.span, "1m"),
    ("market.week", "w", lambda app: market(app).chart.period, "week"),
    ("market.month", "m", lambda app: market(app).chart.period, "month"),
    ("market.day", "d", lambda app: market(app).chart.period, "day"),
    ("market.order", "o", lambda app: market(app).watchlist.order, "name"),
    ("market.reverse", "O", lambda app: market(app).watchlist.descending, True),
    ("market.mark", "a", lambda app: dict(market(app).lists), {"自選": ("2301",)}),
    ("market.list", "s", lambda app: len(market(app).watchlist.rows), 1),
    ("market.list", "s", lambda app: len(market(app).watchlist.rows), 41),
    ("market.panel", "p", lambda app: app.screen.query_one("#info").classes, frozenset({"show-news"})),
    ("market.news", "n", top, NewsScreen),
    ("news.language", "l", lambda app: str(app.screen.query_one("#news").border_title), says("News")),
    ("news.close", "q", top, "market"),
    ("market.news", "n", top, NewsScreen),
    ("news.close", "n", top, "market"),
    ("market.news", "n", top, NewsScreen),
    ("news.close", "escape", top, "market"),
    ("app.language", "l", lambda app: shown(app, Quote), says("上市")),
    ("app.colours", "c", lambda app: (app.up_colour, app.theme), ("green", "stockllm-dark-green")),
    ("app.look", "t", lambda app: (app.look, app.theme), ("light", "stockllm-light-green")),
]

#: What lies over the tabs, and the tabs.
OVER: list[Row] = [
    ("app.help", "question_mark", top, HelpScreen),
    ("help.language", "l", told("#help-text"), says("forecast this stock")),
    ("help.close", "escape", top, "market"),
    ("app.help", "question_mark", top, HelpScreen),
    ("help.close", "question_mark", top, "market"),
    ("app.help", "question_mark", top, HelpScreen),
    ("help.close", "q", top, "market"),
    ("app.palette", "colon", top, Palette),
    ("palette.down", "down", line, 1),
    ("palette.pagedown", "pagedown", line, 11),
    ("palette.up", "up", line, 10),
    ("palette.pageup", "pageup", line, 0),
    ("palette.close", "escape", top, "market"),
    ("app.palette", "ctrl+p", top, Palette),
    ("palette.close", "escape", top, "market"),
    ("app.tab.portfolio", "2", top, "portfolio"),
    ("app.tab.ledger", "3", top, "ledger"),
    ("app.tab.training", "4", top, "training"),
    ("app.tab.system", "5", top, "system"),
    ("app.tab.market", "1", top, "market"),
]

PORTFOLIO: list[Row] = [
    ("app.tab.portfolio", "2", told("#account"), says("alice")),
    ("portfolio.account", "a", told("#account"), says("bob")),
    ("portfolio.focus", "tab", focus, "orders"),
    ("portfolio.buy", "b", top, TicketScreen),
    ("ticket.down", "down", focus, "price"),
    ("ticket.up", "up", focus, "shares"),
    ("ticket.close", "escape", top, "portfolio"),
    ("portfolio.sell", "s", lambda app: app.screen.query_one("#side", Input).value
     if isinstance(app.screen, TicketScreen) else None, "賣"),
    ("ticket.close", "escape", top, "portfolio"),
    ("portfolio.new_account", "n", top, AccountScreen),
    ("account.down", "down", focus, "cash"),
    ("account.up", "up", focus, "name"),
    ("account.close", "escape", top, "portfolio"),
]  # fmt: skip

LEDGER: list[Row] = [
    ("app.tab.ledger", "3", top, "ledger"),
    ("ledger.model", "m", told("#record"), says("llama")),
    ("ledger.adapter", "a", told("#record"), says("taiwan-41")),
    ("ledger.order_ledger", "o", lambda app: (app.screen.order, app.screen.descending), ("due", True)),  # type: ignore[attr-defined]
    ("ledger.reverse", "O", lambda app: app.screen.descending, False),  # type: ignore[attr-defined]
    ("ledger.filter_ledger", "slash", focus, "filter"),
    ("ledger.clear_ledger", "escape", focus, "ledger"),
]

TRAINING: list[Row] = [
    ("app.tab.training", "4", focus, "runs"),
    ("training.focus", "tab", focus, "adapters"),
    ("training.start_run", "s", top, TrainForm),
    ("form.up", "up", focus, lambda before, after: before == "companies" and after != before),
    ("form.down", "down", focus, "companies"),
    ("form.close", "escape", top, "training"),
    ("training.start_run", "s", top, TrainForm),
    ("form.start", "ctrl+enter", toast, says("stockllm train")),
]

SYSTEM: list[Row] = [
    ("app.tab.system", "5", screen_has("pane"), "refresh"),
    ("system.pane", "p", screen_has("pane"), "requests"),
    ("system.pane_back", "P", screen_has("pane"), "refresh"),
    ("system.focus", "tab", focus, "freshness"),
    *moves("table", line, 40, 40),
    ("table.down", "down", line, 1),
    ("table.pick", "enter", lambda app: (top(app), market(app).selected), ("market", "2303")),
]

GUIDE: list[Row] = [
    ("guide.language", "l", told("#guide"), says("There is no store yet")),
    ("guide.guide_import", "i", top, AskScreen),
    ("ask.close", "escape", top, GuideScreen),
    ("guide.guide_refresh", "u", toast, says("stockllm refresh")),
    ("guide.quit", "q", lambda app: app.return_code, 0),
]

#: Keys that need more than a row, with the test that presses them and looks.
ELSEWHERE = {
    ("app.export", "e"): "test_export.test_e_writes_what_is_shown_as_picture_and_table",
    ("app.reload", "r"): "test_market.test_r_reads_the_store_again",
    ("app.quit", "q"): "test_market.test_q_quits",
    ("market.forecast", "f"): "test_forecasting.test_f_forecasts_in_a_worker_and_the_cone_appears",
    ("market.filter", "slash"): "test_market.test_slash_filters_enter_keeps_and_escape_clears",
    ("market.compare", "b"): "test_chart.test_an_older_forecast_is_held_against_what_came",
    ("market.compare_next", "B"): "test_chart.test_an_older_forecast_is_held_against_what_came",
    ("list.pick", "enter"): "test_keys.test_enter_reads_the_company_again",
    ("portfolio.cancel_order", "x"): "test_portfolio."
    "test_an_order_is_checked_while_typed_sent_when_asked_twice_and_taken_back",
    ("ticket.send", "ctrl+s"): "test_portfolio."
    "test_an_order_is_checked_while_typed_sent_when_asked_twice_and_taken_back",
    ("account.open", "ctrl+s"): "test_accounts.test_an_account_is_opened_in_a_form_that_says_what_is_wrong",
    ("ledger.score", "u"): "test_ledger.test_u_scores_what_has_come_and_trouble_is_one_sentence",
    ("training.stop_run", "x"): "test_training."
    "test_the_form_starts_a_process_that_is_followed_stopped_and_found_again",
    ("training.resume_run", "u"): "test_training."
    "test_the_form_starts_a_process_that_is_followed_stopped_and_found_again",
    ("form.start", "ctrl+s"): "test_training."
    "test_the_form_starts_a_process_that_is_followed_stopped_and_found_again",
    ("training.default", "d"): "test_training.test_adapters_show_their_cards_become_default_and_are_compared",
    ("training.compare_adapters", "v"): "test_training."
    "test_adapters_show_their_cards_become_default_and_are_compared",
    ("system.refresh_now", "u"): "test_system."
    "test_u_says_what_it_would_ask_and_refreshes_in_a_process_of_its_own",
    ("system.stop_refresh", "x"): "test_system."
    "test_x_stops_whoever_refreshes_and_a_failure_is_its_last_sentence",
    ("guide.guide_demo", "d"): "test_trouble.test_the_guide_makes_the_demo_or_imports_and_shows_what_came",
    (
        "guide.reload",
        "r",
    ): "test_trouble.test_an_empty_store_shows_the_guide_and_r_finds_the_data_that_came",
}

ANSWERS = {("confirm.yes", key): True for key in ("y", "enter")} | {
    ("confirm.no", key): False for key in ("n", "escape", "q")
}
CLOSED = [("text.close", key) for key in ("escape", "enter", "q")]

TABLES = {
    "market": MARKET, "over": OVER, "portfolio": PORTFOLIO, "ledger": LEDGER, "training": TRAINING,
    "system": SYSTEM, "guide": GUIDE,
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
async def test_keys_do_what_they_say(
    home: Home, bare_home: Home, make_app: MakeApp, settle: Settle, name: str
) -> None:
    if name == "portfolio":
        with Store.open(home) as store:
            for account in ("alice", "bob"):
                open_new(store, new_account(account, "1000000", "1"), None, LIVE)
    # The list and the freshness of 41 companies fit into their windows: a page is then all of them.
    app = make_app(bare_home if name == "guide" else home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        for place, (binding, key, look, wanted) in enumerate(TABLES[name]):
            before = look(app) if look(app) is not None else ""
            await pilot.press(key)
            await settle(pilot)
            after = look(app)
            good = (
                wanted(before, after)
                if callable(wanted) and not isinstance(wanted, type)
                else after == wanted
            )
            assert good, f"{place}: {binding} {key}: {before} -> {after}"
            assert callable(wanted) or before != after, f"{place}: {binding} {key} changes nothing: {after}"


async def test_enter_reads_the_company_again(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        with Store.open(home) as store:
            bar = store.bars.bars("2301")[-1]
            store.bars.put(
                [replace(bar, date=date(2026, 4, 1), open=12_300, high=12_300, low=12_300, close=12_300)]
            )
        assert "123.0" not in shown(app, Quote)
        await pilot.press("enter")
        await settle(pilot)
        assert "2026-04-01" in shown(app, Quote)


async def test_the_small_questions_and_texts_close_on_each_of_their_keys(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    answers: list[bool | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for (_, key), answer in ANSWERS.items():
            await app.push_screen(ConfirmScreen("zh", "好嗎？"), answers.append)
            await pilot.press(key)
            await settle(pilot)
            assert answers[-1] is answer, key
            assert top(app) == "market"
        assert len(answers) == len(ANSWERS)
        for _, key in CLOSED:
            await app.push_screen(TextScreen("zh", "題", "文"))
            await pilot.press(key)
            await settle(pilot)
            assert top(app) == "market", key


def declared() -> set[tuple[str, str]]:
    """Each key of each binding that a class of the dashboard declares."""
    found = set()
    for module in pkgutil.walk_packages(stockllm.tui.__path__, "stockllm.tui."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and kind.__module__.startswith("stockllm.tui."):
                for binding in vars(kind).get("BINDINGS", ()):
                    assert isinstance(binding, Binding)
                    found |= {(str(binding.id), key.strip()) for key in binding.key.split(",")}
    return found


def pressed() -> Iterable[tuple[str, str]]:
    for table in TABLES.values():
        yield from ((binding, key) for binding, key, _, _ in table)
    yield from (*ELSEWHERE, *ANSWERS, *CLOSED)


def test_every_key_that_is_declared_is_pressed_by_a_test() -> None:
    assert declared() - set(pressed()) == set()
    assert set(pressed()) - declared() == set()


@pytest.mark.parametrize(("key", "place"), [(key, place) for (_, key), place in ELSEWHERE.items()])
def test_the_tests_elsewhere_press_the_key(key: str, place: str) -> None:
    file, name = place.split(".")
    parts = next(TESTS.rglob(f"{file}.py")).read_text(encoding="utf-8").split("\n\n\n")
    (test,) = [part for part in parts if f"async def {name}(" in part]
    assert f'"{key}"' in test
    assert "assert" in test
