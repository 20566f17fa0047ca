"""What the dashboard says of refreshes and of what is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta, timezone

from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.tui.app import StockApp
from stockllm.tui.market.data_panel import DataPanel

Settle = Callable[[Pilot[None]], Awaitable[None]]
STARTED = datetime(2026, 3, 31, 18, 30, tzinfo=timezone(timedelta(hours=8)))


def shown(app: StockApp) -> str:
    """What a data panel says where it has room."""
    panel = app.screen.query(DataPanel).first()
    return "\n".join("".join(piece for piece, _ in line) for line in panel.lines(60, 12))


async def test_the_last_refresh_and_what_is_missing_are_shown(home: Home, settle: Settle) -> None:
    with Store.open(home) as store:
        id = store.refreshes.begin(date(2026, 3, 31), STARTED, 1)
        store.refreshes.end(id, "partial", STARTED + timedelta(minutes=4))
    app = StockApp(home, Settings.load(home), now=lambda: STARTED + timedelta(days=2))
    async with app.run_test(size=(150, 50)) as pilot:
        await settle(pilot)
        assert "更新 03-31 18:30 部分完成 · 下次 04-07 18:30" in shown(app)
        assert "尚未向交易所取得" in shown(app)
        await pilot.press("l")
        await settle(pilot)
        assert "refreshed 03-31 18:30 partial · next 04-07 18:30" in shown(app)
        assert "not asked for yet" in shown(app)


async def test_a_store_that_was_never_refreshed_says_nothing_of_it(
    home: Home, make_app: Callable[..., StockApp], settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(150, 50)) as pilot:
        await settle(pilot)
        assert "更新 " not in shown(app)
        # Freshness does not hang on a refresh: the evening's lists are out and not in the store.
        assert "落後 1 個交易日" in shown(app)
