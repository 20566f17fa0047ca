"""Error paths with the real thing: a store that is locked, a worker that fails, a training that is killed.

Each is one sentence in the reader's language, a line of the System log in either, and the dashboard goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from looking import WIDE, market, toasts
from textual.pilot import Pilot
from textual.widgets import Input, Static

from stockllm.data import database
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.rules import Rules
from stockllm.tui.app import StockApp
from stockllm.tui.core.jobs import Job
from stockllm.tui.core.text_screen import TextScreen
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.portfolio.ticket import TicketScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

#: Another process that holds the store's lock until its input ends.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""

BUSY = {"zh": "另一個 stockllm 正在寫入資料庫", "en": "is being written by another stockllm"}


@contextmanager
def held(home: Home, kind: str) -> Iterator[None]:
    """The store's lock in another process's hands."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.store), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.stdin.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is waited for as long as a test may."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)


async def log_of(pilot: Pilot[None], settle: Settle) -> str:
    """The newest line of the log on the System tab, whole, as Enter shows it."""
    await pilot.press("5")
    await settle(pilot)
    while pilot.app.screen.pane != "log":  # type: ignore[attr-defined]
        await pilot.press("p")
    await settle(pilot)
    await pilot.press("enter")
    await settle(pilot)
    whole = pilot.app.screen
    assert isinstance(whole, TextScreen)
    await pilot.press("escape")
    await settle(pilot)
    return whole.said


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_store_that_is_written_elsewhere_is_read_and_an_order_is_told_why_not(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    with Store.open(home) as store:
        Exchange.open(store, LIVE, rules=Rules(window="always")).add_account("alice", "a hash")
        close = store.bars.bars("2330")[-1].close
    app = make_app(home, language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        with held(home, "IMMEDIATE"):
            await pilot.press("down", "r", "2")
            await settle(pilot)
            assert market(app).detail is not None
            assert toasts(app) == []  # whoever writes does not keep others from reading
            await pilot.press("b")
            await settle(pilot)
            ticket = app.screen
            assert isinstance(ticket, TicketScreen)
            for name, value in (("company", "2330"), ("shares", "1000"), ("price", f"{close / 100:.2f}")):
                ticket.query_one(f"#{name}", Input).value = value
            await settle(pilot)
            assert ticket.ticket is not None, str(ticket.query_one("#ticket-says", Static).render())
            await pilot.press("ctrl+s", "ctrl+s")
            await settle(pilot)
            assert BUSY[language] in toasts(app)[-1]
        with Store.open(home) as store:
            assert Exchange(store, LIVE).orders("alice") == []
        other = "en" if language == "zh" else "zh"
        assert BUSY[language] in await log_of(pilot, settle)
        await pilot.press("l")
        await settle(pilot)
        assert BUSY[other] in await log_of(pilot, settle)


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_store_that_cannot_be_read_for_a_while_keeps_what_is_shown(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    app = make_app(home, language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        shown = market(app).detail
        with held(home, "EXCLUSIVE"):
            for keys in (("r",), ("3",), ("2",), ("5",), ("1",)):
                await pilot.press(*keys)
                await settle(pilot)
            assert toasts(app)
            assert all(BUSY[language] in toast for toast in toasts(app))
            assert app.screen is market(app)
            assert market(app).detail is shown
        said = len(toasts(app))
        await pilot.press("r", "3", "r", "2", "r")
        await settle(pilot)
        assert len(toasts(app)) == said
        assert BUSY[language] in await log_of(pilot, settle)


async def test_a_store_that_is_locked_at_the_start_is_the_guide_and_r_goes_on(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    with held(home, "EXCLUSIVE"):
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            assert isinstance(app.screen, GuideScreen)
            said = app.screen.query_one("#guide", Static)
            assert BUSY["zh"] in str(said.render())
            await pilot.press("l")
            await settle(pilot)
            assert BUSY["en"] in str(said.render())


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_worker_that_fails_over_what_nobody_foresaw(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    def broken(*_: object) -> tuple[str, ...]:
        raise ZeroDivisionError("nobody foresaw this")

    app = make_app(home, broken, language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("f")
        await settle(pilot)
        (said,) = toasts(app)
        assert (
            "發生未預期的錯誤（ZeroDivisionError）" if language == "zh" else "Something unexpected"
        ) in said
        assert "nobody foresaw this" not in said
        assert market(app).running is None
        log = await log_of(pilot, settle)
        assert "ZeroDivisionError" in log
        await pilot.press("1", "down")
        await settle(pilot)
        assert app.screen is market(app)


#: What stands for a training: says something and would go on for ever.
TRAINING = "import signal; print('step 3 of 60, all is well', flush=True); signal.pause()"


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_training_that_is_killed_is_a_sentence(
    home: Home, make_app: MakeApp, settle: Settle, language: str
) -> None:
    app = make_app(home, command=(sys.executable, "-c", TRAINING), language=language)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("4")
        await settle(pilot)
        screen = app.screen
        screen.start_command("train", ["train"])  # type: ignore[attr-defined]
        await settle(pilot)
        (job,) = screen.jobs  # type: ignore[attr-defined]
        assert isinstance(job, Job)
        job.process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not job.ended():
            assert time.monotonic() < deadline
            await pilot.pause(0.02)
        await pilot.press("r")
        await settle(pilot)
        said = toasts(app)[-1]
        assert "SIGKILL" in said
        assert ("終止" if language == "zh" else "was killed") in said
        assert "all is well" not in said
        assert "SIGKILL" in await log_of(pilot, settle)
        await pilot.press("4", "1")
        await settle(pilot)
        assert app.screen is market(app)
