"""Forecasting from the dashboard: in a worker, announced, stopped, failed."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import pytest
from looking import WIDE, chart_text, market, shown, toasts
from textual.pilot import Pilot

from stockllm.data.errors import ModelUnavailable
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.tui.app import StockApp
from stockllm.tui.core.top_bar import TopBar
from stockllm.tui.market.forecast_line import ForecastLine
from stockllm.tui.market.watchlist import Watchlist

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


class Model:
    """Stands for the forecaster: waits to be let go, then freezes the forecast it was given."""

    def __init__(self, forecast: PathForecast | None, error: Exception | None = None) -> None:
        self.forecast = forecast
        self.error = error
        self.go = threading.Event()
        self.reported = threading.Event()
        self.asked: list[str] = []

    def __call__(self, home: Home, code: str, progress: Callable[[int, int], None]) -> tuple[str, ...]:
        self.asked.append(code)
        progress(1, 3)
        self.reported.set()
        assert self.go.wait(20)
        progress(3, 3)
        if self.error is not None:
            raise self.error
        assert self.forecast is not None
        with Store.open(home) as store:
            store.ledger.freeze(self.forecast, "fresh")
        return ("The data ends on 2026-03-31.",)


def renamed(forecast: PathForecast, code: str) -> PathForecast:
    return PathForecast(**{name: getattr(forecast, name) for name in forecast.__slots__} | {"code": code})


async def test_f_forecasts_in_a_worker_and_the_cone_appears(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast
) -> None:
    model = Model(renamed(forecast, "2301"))
    app = make_app(home, forecaster=model)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        assert "尚無預測" in shown(app, ForecastLine)
        await pilot.press("f")
        while not model.reported.is_set() or "1/3" not in shown(app, ForecastLine):
            await pilot.pause()
        workers = [worker for worker in app.workers if worker.group == "forecast"]
        assert [worker.is_running for worker in workers] == [True]
        assert "預測中" in shown(app, TopBar)
        await pilot.press("down", "f")
        await pilot.pause()
        assert toasts(app) == ["正在預測 2301 光寶科，請稍候"]
        await pilot.press("up")
        model.go.set()
        await settle(pilot)
        assert model.asked == ["2301"]
        assert market(app).running is None
        detail = market(app).detail
        assert detail is not None
        assert detail.forecast is not None
        assert "80% 區間" in shown(app, ForecastLine)
        assert "99 條路徑" in shown(app, ForecastLine)
        assert "預測 ▸" in chart_text(app)
        assert toasts(app)[1:] == ["The data ends on 2026-03-31."]


async def test_a_forecast_of_a_company_that_was_left_is_announced(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast
) -> None:
    model = Model(renamed(forecast, "2301"))
    app = make_app(home, forecaster=model)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("f", "down")
        await pilot.pause()
        model.go.set()
        await settle(pilot)
        assert toasts(app)[0] == "2301 光寶科 預測完成"
        assert market(app).selected == "2303"


async def test_f_means_the_company_under_the_cursor_however_quick_the_keys(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast
) -> None:
    model = Model(forecast)
    model.go.set()
    app = make_app(home, forecaster=model)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        for _ in range(5):
            market(app).query_one(Watchlist).action_move(1)
        market(app).action_forecast()
        await settle(pilot)
        assert model.asked == ["2330"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelUnavailable("No base model is in its place: run make demo."), "No base model is in its place"),
        (RuntimeError("boom"), "發生未預期的錯誤（RuntimeError）"),
    ],
)
async def test_a_failed_forecast_is_one_sentence_and_the_dashboard_goes_on(
    home: Home, make_app: MakeApp, settle: Settle, error: Exception, sentence: str
) -> None:
    model = Model(None, error)
    model.go.set()
    app = make_app(home, forecaster=model)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("f")
        await settle(pilot)
        assert len(toasts(app)) == 1
        assert toasts(app)[0].startswith(sentence)
        assert "Traceback" not in toasts(app)[0]
        assert market(app).running is None
        await pilot.press("down")
        await settle(pilot)
        assert market(app).selected == "2303"


async def test_leaving_stops_a_forecast_at_its_next_report(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast
) -> None:
    model = Model(forecast)
    app = make_app(home, forecaster=model)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("f")
        while not model.reported.is_set():
            await pilot.pause()
        app.workers.cancel_group(market(app), "forecast")
        model.go.set()
        await settle(pilot)
    with Store.open(home) as store:
        assert len(store.ledger.list("2330")) == 1
