"""The Portfolio tab and an account elsewhere: a real server of the university's protocol, or none."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from looking import lines, toasts
from standin.exchange import Served
from textual.pilot import Pilot
from textual.widgets import Static

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.brokers import ncku
from stockllm.trading.exchange.access import hash_password
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order
from stockllm.tui.app import StockApp
from stockllm.tui.portfolio.screen import PortfolioScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

PASSWORD = "a long password"


@pytest.fixture(scope="module")
def server(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An exchange elsewhere, at which ``someone`` holds a lot of 2330."""
    root = tmp_path_factory.mktemp("elsewhere") / "home"
    shutil.copytree(filled, root)
    with Store.open(Home(root)) as store:
        exchange = Exchange.open(store, "past", evening=date(2026, 3, 20))
        exchange.add_account("someone", hash_password(PASSWORD))
        session = exchange.next_session()
        (bar,) = store.bars.bars("2330", session, session)
        exchange.place("someone", Order("2330", "buy", 1000, bar.close))
        exchange.advance()
        running = Served(exchange)
        yield running
        running.close()


def at(home: Home, address: str, password: str) -> None:
    whose = f'ncku_url = "{address}"\nncku_password = "{password}"\n'
    home.settings_file.write_text(f'{whose}[trade]\nbroker = "ncku"\naccount = "someone"\n')


async def opened(pilot: Pilot[None], settle: Settle) -> PortfolioScreen:
    await settle(pilot)
    await pilot.press("2")
    await settle(pilot)
    assert isinstance(pilot.app.screen, PortfolioScreen)
    return pilot.app.screen


def head(screen: PortfolioScreen) -> str:
    return str(screen.query_one("#account", Static).render())


async def system_log(pilot: Pilot[None], settle: Settle) -> str:
    """What the log on the System tab says."""
    await pilot.press("5")
    await settle(pilot)
    while pilot.app.screen.pane != "log":  # type: ignore[attr-defined]
        await pilot.press("p")
    await settle(pilot)
    return "\n".join(lines(pilot.app.screen.query_one("#pane")))


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_wrong_credentials_are_a_sentence_and_the_dashboard_goes_on(
    home: Home, server: Served, make_app: MakeApp, settle: Settle, language: str
) -> None:
    at(home, f"{server.root}/stock/api/v1", "not the password")
    app = make_app(home, language=language)
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await opened(pilot, settle)
        (said,) = toasts(app)
        assert ("請檢查帳號與密碼" if language == "zh" else "does not show the holdings") in said
        assert said in head(screen)
        assert "not the password" not in said
        log = await system_log(pilot, settle)
        assert said[:40] in log
        at(home, f"{server.root}/stock/api/v1", PASSWORD)
        await pilot.press("2", "r")
        await settle(pilot)
        assert ("成大模擬交易：someone" if language == "zh" else "university simulator: someone") in head(
            screen
        )
        assert "2330" in "\n".join(lines(screen.query_one("#holdings")))


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_of_an_account_elsewhere_no_past_is_invented(
    home: Home, server: Served, make_app: MakeApp, settle: Settle, language: str
) -> None:
    at(home, f"{server.root}/stock/api/v1", PASSWORD)
    app = make_app(home, language=language)
    async with app.run_test(size=(160, 50)) as pilot:
        screen = await opened(pilot, settle)
        assert ("已實現損益不明" if language == "zh" else "realised gain unknown") in head(screen)
        curve = "\n".join(lines(screen.query_one("#equity")))
        assert ("不提供過去的紀錄" if language == "zh" else "tells nothing of the past") in curve
        assert "%" not in curve
        assert toasts(app) == []


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_without_a_network_it_says_who_does_not_answer(
    home: Home, make_app: MakeApp, settle: Settle, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncku, "QUESTIONS", 1)  # or it would wait between them
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and never listening: every connection is refused
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        at(home, address, PASSWORD)
        app = make_app(home, language=language)
        async with app.run_test(size=(160, 50)) as pilot:
            screen = await opened(pilot, settle)
            (said,) = toasts(app)
            assert address in said
            assert ("沒有回應" if language == "zh" else "does not answer") in said
            assert said in head(screen)
            await pilot.press("b")
            await settle(pilot)
            assert app.screen is screen
            assert address in await system_log(pilot, settle)
            await pilot.press("1")
            await settle(pilot)
            assert app.screen is app.market
            assert app.market.detail is not None
