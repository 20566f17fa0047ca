"""A company that was read is shown at once, for as long as the store is what it was."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.tui.app import StockApp
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.market import board
from stockllm.tui.market.details import Details

MakeApp = Callable[..., StockApp]
Settle = Callable[[Pilot[None]], Awaitable[None]]


def add_bar(home: Home, code: str) -> Bar:
    """Somebody else writes one more bar of a company."""
    with Store.open(home) as store:
        last = store.bars.bars(code)[-1]
        new = replace(last, volume=last.volume + 1)
        store.bars.put([new])
    return new


def test_a_company_is_read_once_until_the_store_changes(home: Home) -> None:
    details = Details()
    assert details.kept("2330") is None
    first = details.read(home, "2330")
    assert details.read(home, "2330") is first
    assert details.kept("2330") is first
    new = add_bar(home, "2317")
    again = details.read(home, "2330")
    assert again is not first
    assert details.read(home, "2317").series.volume[-1] == new.volume
    details.close()
    assert details.kept("2330") is None


def test_another_file_in_its_place_and_no_file_are_seen(home: Home, simulated: Any) -> None:
    details = Details()
    assert not details.read(home, "2330").simulated
    home.store.unlink()
    with pytest.raises(NothingToShow):
        details.read(home, "2330")
    shutil.copy(Home(simulated).store, home.store)
    assert details.read(home, "2330").simulated
    details.close()


def test_only_the_last_ones_are_kept(home: Home) -> None:
    details = Details(most=2)
    codes = ["2330", "2317", "2454"]
    for code in codes:
        details.read(home, code)
    assert [details.kept(code) is not None for code in codes] == [False, True, True]
    details.close()


async def test_the_neighbours_are_read_while_keys_rest_and_shown_in_the_next_painting(
    home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        market = app.market
        wanted = market.watchlist.around(market.selected, 3)
        while any(market.details.kept(code) is None for code in wanted):
            await pilot.pause(0.02)
        await settle(pilot)

        def late(*_given: object) -> None:
            raise AssertionError("it was to be at hand")

        monkeypatch.setattr(board, "read_detail", late)
        await pilot.press("down")
        assert market.detail is not None
        assert market.detail.company.code == market.selected == wanted[0]
        await settle(pilot)
        assert not app._notifications


async def test_what_is_kept_is_corrected_when_the_store_has_changed(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        market = app.market
        code = market.selected
        await pilot.press("down")
        await settle(pilot)
        new = add_bar(home, code)
        await pilot.press("up")
        await settle(pilot)
        assert market.detail is not None
        assert market.detail.series.volume[-1] == new.volume
