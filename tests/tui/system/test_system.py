"""The System tab: freshness, refreshes step by step, requests, quarantine, log, and running one now."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from looking import WIDE, market, table_text, toasts
from textual.pilot import Pilot
from textual.widgets import Static

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import QuarantinedRow
from stockllm.data.store import Store
from stockllm.nightly.lock import hold
from stockllm.tui.app import StockApp
from stockllm.tui.core import jobs
from stockllm.tui.core.ask import ConfirmScreen
from stockllm.tui.drawing.table import Table
from stockllm.tui.system import reading as system_core
from stockllm.tui.system.screen import SystemScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

STARTED = datetime(2026, 3, 31, 10, 30, tzinfo=UTC)

#: What stands for ``stockllm refresh``: holds the lock, writes a step, waits to be let go.
REFRESH = """
import os, sys, time
from datetime import UTC, datetime
from pathlib import Path
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.nightly.lock import hold
assert sys.argv[1:] == ["refresh"]
home = Home.locate()
with hold(home.refresh_lock, "test refresh"), Store.open(home) as store:
    id = store.refreshes.begin(datetime(2026, 4, 1).date(), datetime.now(UTC), os.getpid())
    store.refreshes.start(id, "prices", datetime.now(UTC))
    deadline = time.monotonic() + 60
    while not (home.root / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    store.refreshes.finish(id, "prices", "ok", datetime.now(UTC), counts={}, zh="好了。", en="Done.")
    store.refreshes.end(id, "ok", datetime.now(UTC))
"""


def remember_a_refresh(store: Store) -> None:
    """Two steps, one of them in trouble."""
    id = store.refreshes.begin(date(2026, 3, 31), STARTED, 4711)
    for number, (step, outcome) in enumerate((("prices", "ok"), ("news", "partial"))):
        start = STARTED + timedelta(seconds=100 * number)
        store.refreshes.start(id, step, start)
        store.refreshes.finish(
            id, step, outcome, start + timedelta(seconds=83), counts={},  # type: ignore[arg-type]
            zh=f"{step} 的結果", en=f"{step} came",
            notes=[("額度用完", "the budget is spent")] if number else [],
        )  # fmt: skip
    store.refreshes.end(id, "partial", STARTED + timedelta(seconds=183))


async def system(pilot: Pilot[None], settle: Settle) -> SystemScreen:
    await settle(pilot)
    await pilot.press("5")
    await settle(pilot)
    assert isinstance(pilot.app.screen, SystemScreen)
    return pilot.app.screen


def line(screen: SystemScreen) -> str:
    return str(screen.query_one("#system-line", Static).render())


async def test_each_pane_tells_what_the_store_remembers(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    now = datetime(2026, 4, 1, 10, 0, tzinfo=UTC)
    with Store.open(home) as store:
        remember_a_refresh(store)
        store.bars.quarantine([QuarantinedRow("a.csv", 3, "2330", date(2026, 3, 2), "zero_price", "0,0,0")])
        for number in range(3):
            made = store.requests.reserve("newsapi", f"q={number}", now=now, interval=timedelta(seconds=1))
            store.requests.finish(made.id, "outage" if number else "ok", "nobody home")  # type: ignore[union-attr]
        store.requests.bar("tpex", "too many", now=now, pause=timedelta(hours=9), longest=timedelta(hours=9))
    home.logs.mkdir(exist_ok=True)
    (home.logs / "refresh.log").write_text("2026-03-31 ERROR nightly something\n" * 3)
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        screen = await system(pilot, settle)
        assert "03/31 18:30 部分完成" in line(screen)
        assert "下次 04/02 18:30" in line(screen)
        text = table_text(app, "#pane")
        assert "1分23秒" in text
        assert "news 的結果" in text
        assert "額度用完" in text
        fresh = table_text(app, "#freshness")
        assert len([row for row in fresh.splitlines() if "2026-03-31" in row]) >= 40
        bad = next(row for row in fresh.splitlines() if row.split()[:1] == ["2330"])
        # A session behind, one row in quarantine; the evening of 1 April is published and not in yet.
        assert bad.split()[-4:] == ["1", "·", "1", "尚未向交易所取得"]
        await pilot.press("p")
        await settle(pilot)
        text = table_text(app, "#pane")
        assert "3/100 次，2 次有問題" in text
        assert "too many" in text
        assert "nobody home" in text
        await pilot.press("p")
        await settle(pilot)
        assert "價格為零" in table_text(app, "#pane")
        await pilot.press("p", "l")
        await settle(pilot)
        assert "ERROR nightly" in table_text(app, "#pane")
        await pilot.press("p")
        await settle(pilot)
        assert "the budget is spent" in table_text(app, "#pane")
        await pilot.press("enter", "e")
        await settle(pilot)
        assert Path(toasts(app)[-1].splitlines()[-1]).read_text("utf-8-sig").startswith("code,name")
        await pilot.press("tab", "tab", "home", "enter")
        await settle(pilot)
        assert app.screen in (screen, market(app))


async def test_a_small_window_shows_one_pane_at_a_time(home: Home, make_app: MakeApp, settle: Settle) -> None:
    app = make_app(home)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await system(pilot, settle)
        seen = []
        for _ in range(5):
            fresh, pane = screen.query_one("#freshness"), screen.query_one("#pane")
            seen.append((bool(fresh.display and fresh.size.width), bool(pane.display and pane.size.width)))
            await pilot.press("p")
            await settle(pilot)
        assert seen == [(False, True), (True, False), (False, True), (False, True), (False, True)]


async def until(pilot: Pilot[None], settle: Settle, true: Callable[[], bool]) -> None:
    """Waits for another process; fails after a minute."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


async def test_u_says_what_it_would_ask_and_refreshes_in_a_process_of_its_own(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home, command=(sys.executable, "-c", REFRESH))
    async with app.run_test(size=WIDE) as pilot:
        screen = await system(pilot, settle)
        await pilot.press("u")
        await settle(pilot)
        assert isinstance(app.screen, ConfirmScreen)
        assert "請求" in app.screen.question
        await pilot.press("n")
        await settle(pilot)
        assert screen.job is None
        await pilot.press("u")
        await settle(pilot)
        await pilot.press("y")
        await until(pilot, settle, lambda: "更新進行中：股價" in line(screen))
        job = screen.job
        assert job is not None
        assert os.getsid(job.process.pid) == job.process.pid
        await pilot.press("u")
        await settle(pilot)
        assert toasts(app)[-1] == "更新正在進行中。"
        (home.root / "go").touch()
        await until(pilot, settle, lambda: "完成" in line(screen))
        await settle(pilot)
        assert "好了。" in table_text(app, "#pane")
        assert screen.job is None
        assert not screen._clock._active.is_set()


async def test_x_stops_whoever_refreshes_and_a_failure_is_its_last_sentence(
    home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(
        home, command=(sys.executable, "-c", "import sys; sys.exit('stockllm: the site is shut.')")
    )
    stopped: list[int] = []
    monkeypatch.setattr(jobs, "stop", stopped.append)
    async with app.run_test(size=WIDE) as pilot:
        screen = await system(pilot, settle)
        await pilot.press("x")
        await settle(pilot)
        assert toasts(app)[-1] == "沒有進行中的更新。"
        with hold(home.refresh_lock, "somebody"):
            await pilot.press("r")
            await settle(pilot)
            assert str(os.getpid()) in line(screen)
            await pilot.press("x")
            await settle(pilot)
            await pilot.press("y")
            await settle(pilot)
            assert stopped == [os.getpid()]
        await pilot.press("r")
        await settle(pilot)
        await pilot.press("u")
        await settle(pilot)
        await pilot.press("y")
        await until(pilot, settle, lambda: toasts(app)[-1] == "the site is shut.")
        assert app.troubles[-1].title == "更新失敗"
        await pilot.press("P")
        await settle(pilot)
        assert "the site is shut." in table_text(app, "#pane")


async def test_trouble_is_a_sentence_and_no_store_is_no_trouble(
    home: Home, bare_home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise StoreError("The store is busy: try again.")

    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await system(pilot, settle)
        assert "stockllm demo" in line(screen)
        assert toasts(app) == []
    monkeypatch.setattr(system_core, "load_system", locked)
    app = make_app(home, command=("/no/such/program",))
    async with app.run_test(size=WIDE) as pilot:
        screen = await system(pilot, settle)
        assert toasts(app) == ["The store is busy: try again."]
        screen.start()
        await settle(pilot)
        assert "無法啟動" in toasts(app)[-1]


async def test_logs_are_shown_newest_first_and_tracebacks_as_they_were_written(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    home.logs.mkdir(exist_ok=True)
    (home.logs / "refresh.log").write_text("2026-03-30 INFO one\n2026-03-31 INFO two\n")
    trace = "Traceback (most recent call last):\n  in a place\nValueError: odd\n"
    (home.logs / "tui.log").write_text(f"2026-03-30 INFO three\n2026-03-31 ERROR four\n{trace}")
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        screen = await system(pilot, settle)
        screen.pane = "log"
        await settle(pilot)
        said = [row.cells[0][0] for row in screen.query_one("#pane", Table).rows]
        newest = ["2026-03-31 ERROR four", *trace.splitlines(), "2026-03-30 INFO three"]
        older = ["2026-03-31 INFO two", "2026-03-30 INFO one"]
        assert said == ["── tui.log", *newest, "── refresh.log", *older]


def test_the_end_of_a_log_is_read_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert jobs.tail(log, 3) == []
    log.write_text("".join(f"line {n}\n" for n in range(5000)), encoding="utf-8")
    assert jobs.tail(log, 3) == ["line 4997", "line 4998", "line 4999"]
    assert jobs.last_sentence(log) == "line 4999"
