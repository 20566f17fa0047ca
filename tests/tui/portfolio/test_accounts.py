"""Accounts in the Portfolio tab: opened in a form, walked along, and the settings' own first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from looking import WIDE, lines, toasts
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.accounts import open_new
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.opening import new_account
from stockllm.tui.app import StockApp
from stockllm.tui.look.text import Language
from stockllm.tui.portfolio.account import AccountScreen
from stockllm.tui.portfolio.screen import PortfolioScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

#: What is typed, by field, and a part of what is said to it, in Chinese and English.
WRONG = (
    ("name", "", "請為帳戶取個名稱", "Give the account a name"),
    ("name", "我的", "不能當名稱", "cannot be a name"),
    ("name", "taken", "已有名為 'taken' 的帳戶", "There is an account 'taken' already"),
    ("cash", "lots", "不是整數", "is no whole number"),
    ("cash", "-5", "-5 元不能開戶", "-5 TWD cannot open an account"),
    ("discount", "cheap", "不是折扣", "is no discount"),
    ("discount", "1.5", "折扣 1.5 不能使用", "A discount of 1.5 cannot be given"),
    ("password", "short", "密碼須為 8 到 128 個字元", "A password has 8 to 128 characters"),
)


async def portfolio(pilot: Pilot[None], settle: Settle) -> PortfolioScreen:
    """The Portfolio tab, read."""
    await settle(pilot)
    await pilot.press("2")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, PortfolioScreen)
    return screen


def head(screen: PortfolioScreen) -> str:
    return str(screen.query_one("#account", Static).render())


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [(80, 24), WIDE], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_an_account_is_opened_in_a_form_that_says_what_is_wrong(
    home: Home, make_app: MakeApp, settle: Settle, language: Language, size: tuple[int, int]
) -> None:
    english = language == "en"
    app = make_app(home, language=language)
    async with app.run_test(size=size) as pilot:
        screen = await portfolio(pilot, settle)
        assert ("press n to open one" if english else "按 n 開一個") in head(screen)
        with Store.open(home) as store:
            open_new(store, new_account("taken", "1000", "1"), None, LIVE)
        await pilot.press("n")
        await settle(pilot)
        form = app.screen
        assert isinstance(form, AccountScreen)
        says = form.query_one("#account-says", Static)
        for label in form.query(".form-label").results(Static):
            text = str(label.render())
            assert cell_len(text) <= label.size.width, text
        good = {"name": "mine", "cash": "2,000,000", "discount": "0.6", "password": ""}
        for field, value, zh, en in WRONG if size == (80, 24) else WRONG[2::3]:
            for name, typed in (good | {field: value}).items():
                form.query_one(f"#{name}", Input).value = typed
            await settle(pilot)
            said = str(says.render())
            assert (en if english else zh) in said
            assert says.has_class("wrong")
            assert said.replace(" ", "") in "".join(lines(says)).replace(" ", ""), "it is cut off"
            await pilot.press("ctrl+s")
            assert app.screen is form
        for name, typed in good.items():
            form.query_one(f"#{name}", Input).value = typed
        await settle(pilot)
        assert "2,000,000" in str(says.render())
        assert str(says.render()).replace(" ", "") in "".join(lines(says)).replace(" ", "")
        await pilot.press("ctrl+s", "ctrl+s")
        await settle(pilot)
        assert app.screen is screen
        assert ("local exchange: mine" if english else "本地交易所：mine") in head(screen)
        assert "2,000,000" in head(screen)
        assert toasts(app)[-1] == ("Opened the account mine." if english else "已開戶：mine")
        await pilot.press("a")
        await settle(pilot)
        assert "taken" in head(screen)
    with Store.open(home) as store:
        exchange = Exchange(store, LIVE)
        with store.books.read() as books:
            row = exchange.account(books, "mine")
        assert (row.cash, str(row.discount)) == (2_000_000, "0.6")


async def test_the_account_of_the_settings_comes_first_and_a_servers_keeps_its_own_broker(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    with Store.open(home) as store:
        for name in ("alice", "bob"):
            open_new(store, new_account(name, "1000", "1"), None, LIVE)
    home.settings_file.write_text('[trade]\naccount = "bob"\n')
    app = make_app(home, language="en")
    async with app.run_test(size=WIDE) as pilot:
        screen = await portfolio(pilot, settle)
        assert "local exchange: bob" in head(screen)
        await pilot.press("a")
        await settle(pilot)
        assert "local exchange: alice" in head(screen)
    # The one at a server has no password here, which is said; the local ones are a key away all the same.
    home.settings_file.write_text('[trade]\nbroker = "ncku"\naccount = "alice"\n')
    app = make_app(home, language="en")
    async with app.run_test(size=WIDE) as pilot:
        screen = await portfolio(pilot, settle)
        assert "STOCKLLM_NCKU_PASSWORD" in head(screen)
        for name in ("alice", "bob"):
            await pilot.press("a")
            await settle(pilot)
            assert f"local exchange: {name}" in head(screen)


async def test_a_form_that_is_left_opens_nothing(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("2", "n", *"mine", "escape")
        await settle(pilot)
        assert isinstance(app.screen, PortfolioScreen)
        assert "按 n 開一個" in head(app.screen)
    with Store.open(home) as store, store.books.read() as books:
        assert books.accounts() == []
