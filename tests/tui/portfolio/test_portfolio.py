"""The Portfolio tab: an account of the local exchange, and orders that are sent only when asked twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from looking import WIDE, lines, market, play, table_text, toasts
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stockllm.data.errors import BrokerError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.rules import Rules
from stockllm.trading.live.history import held_instead, history
from stockllm.tui.app import StockApp
from stockllm.tui.portfolio import reading as portfolio_core
from stockllm.tui.portfolio.messages import TicketChecked
from stockllm.tui.portfolio.screen import PortfolioScreen
from stockllm.tui.portfolio.ticket import TicketScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


@pytest.fixture
def traded(home: Home) -> Home:
    """A home with an exchange that is always open, and two accounts."""
    with Store.open(home) as store:
        exchange = Exchange.open(store, LIVE, rules=Rules(window="always"))
        for name in ("alice", "bob"):
            exchange.add_account(name, "a hash", cash=10_000_000)
    return home


async def portfolio(pilot: Pilot[None], settle: Settle) -> PortfolioScreen:
    await settle(pilot)
    await pilot.press("2")
    await settle(pilot)
    assert isinstance(pilot.app.screen, PortfolioScreen)
    return pilot.app.screen


def head(screen: PortfolioScreen) -> str:
    return str(screen.query_one("#account", Static).render())


async def test_an_order_is_checked_while_typed_sent_when_asked_twice_and_taken_back(
    traded: Home, make_app: MakeApp, settle: Settle
) -> None:
    with Store.open(traded) as store:
        close = store.bars.bars("2330")[-1].close
    app = make_app(traded)
    async with app.run_test(size=WIDE) as pilot:
        screen = await portfolio(pilot, settle)
        assert "本地交易所：alice" in head(screen)
        assert "10,000,000" in head(screen)
        await pilot.press("b")
        await settle(pilot)
        ticket = app.screen
        assert isinstance(ticket, TicketScreen)

        def says() -> str:
            return str(ticket.query_one("#ticket-says", Static).render())

        for name, value, answer in (
            ("company", " ", "請填股票"),
            ("company", "台積電", "請填股數"),
            ("side", "twice", "請填買或賣"),
            ("side", "買", "請填股數"),
            ("shares", "many", "不是股數"),
            ("shares", "1500", ""),
            ("shares", "1000", "請填價格"),
            ("price", "cheap", "不是價格"),
            ("price", "nan", "不是價格"),
            ("price", f"{close / 100 + 0.01:.2f}", ""),
            ("price", f"{close / 200:.0f}", ""),
        ):
            ticket.query_one(f"#{name}", Input).value = value
            await settle(pilot)
            assert ticket.ticket is None, (name, value)
            assert answer in says() or answer == "股數"
            await pilot.press("ctrl+s")
            await settle(pilot)
            assert app.screen is ticket
        ticket.query_one("#price", Input).value = f"{close / 100:.2f}"
        await settle(pilot)
        assert "買進 2330 台積電 1,000 股" in says()
        assert f"{close * 10:,}" in says()
        with Store.open(traded) as store:
            assert Exchange(store, LIVE).orders("alice") == []
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "再按一次" in says()
        with Store.open(traded) as store:
            assert Exchange(store, LIVE).orders("alice") == []
        await pilot.press("ctrl+s")
        await settle(pilot)
        with Store.open(traded) as store:
            (order,) = Exchange(store, LIVE).orders("alice")
        assert (order.code, order.side, order.shares, order.price) == ("2330", "buy", 1000, close)
        assert "委託中" in table_text(app, "#orders")
        assert "10,000,000" in head(screen)
        await pilot.press("tab", "x")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert "已取消" in table_text(app, "#orders")
        await pilot.press("x", "a")
        await settle(pilot)
        assert "bob" in head(screen)
        assert any("不能取消" in toast for toast in toasts(app))
        await pilot.press("l", "e")
        await settle(pilot)
        assert "local exchange: bob" in head(screen)
        assert Path(toasts(app)[-1].splitlines()[-1]).exists()


async def test_without_an_account_it_says_how_to_open_one_and_trouble_is_a_sentence(
    home: Home, bare_home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, words in ((home, "按 n 開一個"), (bare_home, "stockllm demo")):
        app = make_app(place)
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await portfolio(pilot, settle)
            assert words in head(screen)
            assert toasts(app) == []
            await pilot.press("b", "s", "x", "a", "e")
            await settle(pilot)
            assert app.screen is screen
            assert lines(screen.query_one("#orders"))

    def away(*_: object) -> None:
        raise BrokerError("The server does not answer: try again later.")

    monkeypatch.setattr(portfolio_core, "load_portfolio", away)
    home.settings_file.write_text('[trade]\nbroker = "ncku"\naccount = "someone"\n')
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        screen = await portfolio(pilot, settle)
        assert toasts(app) == ["The server does not answer: try again later."]
        assert "成大模擬交易：someone" in head(screen)  # which account it is that does not answer
        await pilot.press("1")
        await settle(pilot)
        assert app.screen is market(app)


async def test_a_check_of_what_stood_there_before_counts_for_nothing(
    traded: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(traded)
    async with app.run_test(size=WIDE) as pilot:
        await portfolio(pilot, settle)
        await pilot.press("b")
        await settle(pilot)
        ticket = app.screen
        assert isinstance(ticket, TicketScreen)
        with Store.open(traded) as store:
            close = store.bars.bars("2301")[-1].close
        ticket.query_one("#shares", Input).value = "1000"
        ticket.query_one("#price", Input).value = f"{close / 100:.2f}"
        await settle(pilot)
        good = ticket.ticket
        assert good is not None
        before = ticket.typed()
        ticket.query_one("#shares", Input).value = "0"
        await settle(pilot)
        ticket.post_message(TicketChecked(before, good, ""))
        await settle(pilot)
        assert ticket.ticket is None


@pytest.fixture
def played(home: Home) -> Home:
    """A home with the account carol, who traded over twelve sessions."""
    play(home)
    return home


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_equity_is_drawn_against_buying_and_holding_with_what_was_realised(
    played: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    with Store.open(played) as store:
        exchange = Exchange(store, "past")
        past = history(store, exchange, "carol")
        assert past is not None
        _, held, companies = held_instead(store, past.opening, past.days[-1])
        equity = exchange.money("carol").equity
    app = make_app(played, language=language)
    async with app.run_test(size=WIDE) as pilot:
        screen = await portfolio(pilot, settle)
        curve = "\n".join(lines(screen.query_one("#equity")))
        assert f"{equity / 20_000_000 - 1:+.2%}" in curve
        assert f"{held[-1] / 20_000_000 - 1:+.2%}" in curve
        assert str(companies) in curve
        assert "2026-03-10" in curve
        assert "⣀" in curve or "⠉" in curve or "⠤" in curve or "⠒" in curve
        total, today = f"{past.realised_total:+,}", f"{past.realised_today:+,}"
        assert past.realised_today not in (0, past.realised_total)
        # Open and realised gains are reckoned from the same cost: together they are all that was gained.
        assert screen.portfolio is not None
        assert screen.portfolio.gain + past.realised_total == equity - past.opening.cash
        said = f"已實現 {total}（當日 {today}）" if language == "zh" else f"realised {total} (day {today})"
        assert said in head(screen)
        # The account trades in the past: its own last session is named, not the newest of the store.
        assert f"{past.days[-1]}  " in head(screen)
        assert f"{past.realised['2330']:+,}" in table_text(app, "#holdings")
        await pilot.press("e")
        await settle(pilot)
        written = [Path(name) for name in toasts(app)[-1].splitlines()[1:]]
        assert [path.exists() for path in written] == [True, True]
        last = written[1].read_text("utf-8-sig").splitlines()[-1]
        assert last == f"carol,{past.days[-1]},{equity},{held[-1]}"


async def test_before_the_first_session_there_is_no_curve_and_it_says_so(
    traded: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(traded)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await portfolio(pilot, settle)
        assert "還沒有撮合過交易日" in "\n".join(lines(screen.query_one("#equity")))
        assert "已實現 +0（當日 +0）" in head(screen)
        assert toasts(app) == []
