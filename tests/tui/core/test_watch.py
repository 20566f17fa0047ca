"""The dashboard shows by itself what another process wrote, and leaves the user where they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

from looking import WIDE, market, play, table_text, toasts
from textual.pilot import Pilot
from textual.widgets import Static

from stockllm.data.paths import Home
from stockllm.tui.app import StockApp
from stockllm.tui.core.store_watch import StoreWatch, mark
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.market.screen import MarketScreen
from stockllm.tui.portfolio.ticket import TicketScreen

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]

#: What the nightly job would do: a bar of the next session for every company, in a process of its own.
NIGHT = """
import sys
from datetime import date
from pathlib import Path
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
with Store.open(Home(Path(sys.argv[1]))) as store:
    last = [store.bars.bars(code)[-1] for code in store.bars.codes()]
    store.bars.put(
        [Bar(b.code, date(2026, 4, 1), b.close, b.close, b.close, b.close, b.volume, "night") for b in last]
    )
"""


def night(home: Home) -> None:
    """Another process writes to the store."""
    subprocess.run([sys.executable, "-c", NIGHT, str(home.root)], check=True)


async def look(pilot: Pilot[None], settle: Settle) -> None:
    """The clock strikes, twice: once to see the change, once to see that it has come to rest."""
    for _ in range(2):
        market(pilot.app).look_at_store()  # type: ignore[arg-type]
        await settle(pilot)


def test_a_change_counts_once_it_has_come_to_rest() -> None:
    watch = StoreWatch()
    one, two, three = ((1, 1, 100, at) for at in (1, 2, 3))
    assert [watch.look(seen) for seen in (one, one, two, two, two)] == [False, False, False, True, False]
    assert [watch.look(seen) for seen in (None, None, three, three)] == [False, False, False, True]
    busy = StoreWatch()
    seen = [busy.look((1, 1, 100, at)) for at in range(13)]
    assert seen.index(True) == 6  # a writer that never rests is shown now and then
    assert seen.count(True) == 2


def test_every_commit_leaves_a_mark(home: Home, bare_home: Home) -> None:
    before = mark(home)
    assert before == mark(home)
    night(home)
    assert mark(home) != before
    assert mark(bare_home) is None


async def test_what_the_night_brought_is_shown_and_the_view_stays(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "3", "1")
        await settle(pilot)
        await pilot.press("plus", "left", "left", "x")
        await settle(pilot)
        screen = market(app)
        chart, selected = screen.chart, screen.selected
        found = chart.arranged()
        assert found is not None
        days, cross, back = found.picture.dates, chart.cross, chart.back
        assert back > 0
        assert cross is not None
        board = screen.board
        assert board is not None
        await look(pilot, settle)
        assert screen.board is board  # nothing was written: nothing is read
        night(home)
        await look(pilot, settle)
        assert screen.board is not None
        assert screen.board.last == date(2026, 4, 1)
        assert screen.detail is not None
        assert screen.detail.series.dates[-1] == date(2026, 4, 1)
        found = chart.arranged()
        assert found is not None
        assert found.picture.dates == days
        assert (screen.selected, screen.watchlist.cursor, chart.cross, chart.back) == (
            selected, selected, cross, back + 1,
        )  # fmt: skip
        assert toasts(app) == []
        board = screen.board
        await look(pilot, settle)
        assert screen.board is board


async def test_other_tabs_catch_up_when_they_are_seen_and_a_ticket_is_left_alone(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("2")
        await settle(pilot)
        assert "按 n 開一個" in str(app.screen.query_one("#account", Static).render())
        play(home)  # another connection, as another process has
        await look(pilot, settle)
        assert "carol" in str(app.screen.query_one("#account", Static).render())
        assert "2330" in table_text(app, "#holdings")
        await pilot.press("b")
        await settle(pilot)
        ticket = app.screen
        assert isinstance(ticket, TicketScreen)
        await pilot.press("7")
        night(home)
        await look(pilot, settle)
        assert app.screen is ticket
        assert ticket.typed()["shares"] == "7"
        assert market(app).board is not None
        assert market(app).board.last == date(2026, 4, 1)  # type: ignore[union-attr]


async def test_the_guide_leaves_when_something_came_in(
    filled: Path, bare_home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(bare_home)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await look(pilot, settle)
        assert isinstance(app.screen, GuideScreen)
        shutil.copytree(filled, bare_home.root)
        await look(pilot, settle)
        await settle(pilot)
        assert isinstance(app.screen, MarketScreen)
        assert app.screen.detail is not None
