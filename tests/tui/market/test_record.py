"""Beside a forecast stands what its model's forecasts have been worth so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score
from stockllm.forecaster.evaluation.scoring import record
from stockllm.tui.app import StockApp
from stockllm.tui.core import record as records
from stockllm.tui.market.board import load_detail
from stockllm.tui.market.forecast_line import ForecastLine

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


def score(store: Store, forecast: PathForecast, note: str) -> None:
    """Freeze a forecast whose first day came out as badly as the naive one's."""
    id = store.ledger.freeze(forecast, note)
    day = forecast.dates[0]
    store.scores.put([Score(id, 1, day, 0.01, 0.01, True, True, True, 0.0, 0.01, True, True, False)])


def last_line(app: StockApp) -> str:
    return app.screen.query_one(ForecastLine).render().plain.splitlines()[-1]


@pytest.mark.parametrize(
    ("language", "none", "two"),
    [
        ("zh", "紀錄：還沒有預測到期評分。", "紀錄：2 次預測，未證實優於單純預測。"),
        (
            "en",
            "Record: no forecast has been scored yet.",
            "Record: no demonstrated edge over the naive forecast in 2 forecasts.",
        ),
    ],
)
async def test_the_record_stands_beside_the_forecast_and_grows_with_it(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast, language: str, none: str, two: str
) -> None:
    app = make_app(home, language=language)
    async with app.run_test(size=(160, 50)) as pilot:
        await settle(pilot)
        assert not any(word in last_line(app) for word in ("紀錄", "Record"))  # 2301 has no forecast
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        assert last_line(app) == none
        with Store.open(home) as store:
            naive = replace(forecast, code="2317", model="ewma", adapter=None, adapter_hash=None)
            score(store, naive, "naive")
            # One of another company counts: the record is the model's, not the stock's.
            score(store, replace(forecast, code="2317"), "other")
            score(store, forecast, "data")  # the one that the store has already
            said = record(store, model="llama+taiwan-41")
        await pilot.press("r")
        await settle(pilot)
        shown = last_line(app)
        assert shown == two
        assert shown in (said.sentence_zh, said.sentence_en)


async def test_a_narrow_screen_begins_with_what_matters(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast
) -> None:
    with Store.open(home) as store:
        score(store, forecast, "one")
    app = make_app(home, language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        line = app.screen.query_one(ForecastLine)
        assert last_line(app).startswith("Record: no demonstrated edge")
        assert line.size.height == len(line.render().plain.splitlines()) == 3


def test_scores_are_read_again_only_when_there_are_new_ones(home: Home, forecast: PathForecast) -> None:
    with Store.open(home) as store:
        score(store, forecast, "one")
    first = load_detail(home, "2330").record
    assert first is not None
    reads = records._sentences.cache_info().misses
    assert load_detail(home, "2330").record is first
    assert records._sentences.cache_info().misses == reads
    with Store.open(home) as store:
        score(store, forecast, "two")
    assert load_detail(home, "2330").record != first
