"""The chart's keys: spans, periods, pan, crosshair, comparison, news."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from looking import WIDE, chart_text, long_and_old, market, shown, table_text, toasts
from textual.pilot import Pilot

from stockllm.data.paths import Home
from stockllm.data.records import Article, Bar, BarSeries, PathForecast
from stockllm.data.store import Store
from stockllm.forecaster.evaluation.scoring import score_due
from stockllm.tui.app import StockApp
from stockllm.tui.drawing.periods import ahead, resample
from stockllm.tui.market.chart import CandleChart
from stockllm.tui.market.forecast_line import ForecastLine
from stockllm.tui.market.news import NewsScreen
from stockllm.tui.market.outcome_line import OutcomeLine
from stockllm.tui.market.quote import Quote

if TYPE_CHECKING:
    pass

Settle = Callable[[Pilot[None]], Awaitable[None]]
MakeApp = Callable[..., StockApp]


def test_periods_keep_every_open_high_low_close_and_share(series: BarSeries) -> None:
    for period in ("week", "month", "quarter"):
        made = resample(series, period)  # type: ignore[arg-type]
        assert made.volume.sum() == series.volume.sum()
        assert (made.open[0], made.close[-1]) == (series.open[0], series.close[-1])
        assert (made.high.max(), made.low.min()) == (series.high.max(), series.low.min())
        assert made.dates[-1] == series.dates[-1]
        places = [series.dates.index(day) for day in made.dates]
        assert np.array_equal(made.close, series.close[places])
        first = [0, *(place + 1 for place in places[:-1])]
        for n, (a, b) in enumerate(zip(first, places, strict=True)):
            assert made.high[n] == series.high[a : b + 1].max()
            assert made.open[n] == series.open[a]
    mondays = {day - timedelta(days=day.weekday()) for day in series.dates}
    assert len(resample(series, "week")) == len(mondays)
    assert len(resample(series, "month")) == len({(day.year, day.month) for day in series.dates})
    assert resample(series[:0], "week") is not None


async def test_spans_and_periods_show_what_they_say(
    home: Home, make_app: MakeApp, settle: Settle, series: BarSeries
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        chart = market(app).chart
        for span, words in (("1m", "日線 21 日"), ("3m", "日線 63 日"), ("1y", "週線"), ("all", "週線")):
            await pilot.press("v")
            await settle(pilot)
            assert chart.span == span
            assert words in chart_text(app), span
        await pilot.press("m")
        await settle(pilot)
        assert f"月線 {len(resample(series, 'month'))} 月" in chart_text(app)
        assert "預測 ▸" not in chart_text(app)
        await pilot.press("w")
        await settle(pilot)
        assert f"週線 {len(resample(series, 'week'))} 週" in chart_text(app)
        await pilot.press("d", "l")
        await settle(pilot)
        assert "days" in chart_text(app)
        assert market(app).chart.period == "day"


async def test_the_chart_pans_to_both_ends_and_no_farther(
    home: Home, make_app: MakeApp, settle: Settle
) -> None:
    app = make_app(home)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, "plus", "plus")
        await settle(pilot)
        chart = market(app).chart
        newest = chart_text(app)
        assert "03/31" in newest
        assert "預測 ▸" in newest
        await pilot.press("left")
        await settle(pilot)
        assert 0 < chart.back < 10
        assert "預測 ▸" not in chart_text(app)
        await pilot.press(*["comma"] * 9)
        await settle(pilot)
        found = chart.arranged()
        assert found is not None
        assert found.picture.dates[0] == market(app).detail.series.dates[0]  # type: ignore[union-attr]
        await pilot.press(*["full_stop"] * 9)
        await settle(pilot)
        assert chart_text(app) == newest
        await pilot.press("left", "zero")
        await settle(pilot)
        assert chart_text(app) == newest


async def test_the_crosshair_reads_out_each_day_and_the_view_follows(
    home: Home, make_app: MakeApp, settle: Settle, bars: list[Bar]
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, "x")
        await settle(pilot)
        chart = market(app).chart
        assert chart.cross == bars[-1].date
        await pilot.press("left", "left")
        await settle(pilot)
        read, bar = shown(app, Quote).splitlines()[1], bars[-3]
        assert str(bar.date) in read
        for cents in (bar.open, bar.high, bar.low, bar.close):
            assert f"{cents / 100:,.0f}" in read
        assert f"{bar.close / bars[-4].close - 1:+.2%}" in read
        assert f"{bar.volume / 1000:,.0f}張" in read
        assert str(bar.date) in chart_text(app)
        await pilot.press(*["right"] * 4)
        await settle(pilot)
        assert chart.cross is not None
        assert chart.cross > bars[-1].date
        assert "80%" in shown(app, Quote)
        await pilot.press(*["plus"] * 6, *["left"] * 20)
        await settle(pilot)
        assert chart.back > 0
        assert str(chart.cross) in chart_text(app)
        await pilot.press("escape")
        await settle(pilot)
        assert chart.cross is None
        assert "2026-03-31" in shown(app, Quote)
        await pilot.click(CandleChart, offset=(20, 10))
        await settle(pilot)
        assert chart.cross is not None


def earlier(forecast: PathForecast, bars: list[Bar], back: int) -> PathForecast:
    """The forecast as it would have been made ``back`` sessions before the last bar."""
    days = tuple(bar.date for bar in bars)
    origin = len(days) - 1 - back
    later = (days + forecast.dates)[origin + 1 : origin + 6]
    moved = forecast.prices * (bars[origin].close / forecast.last_close)
    return replace(
        forecast,
        as_of=days[origin],
        dates=later,
        last_close=bars[origin].close,
        prices=np.rint(moved).astype(np.int32),
    )


async def test_an_older_forecast_is_held_against_what_came(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast, bars: list[Bar]
) -> None:
    with Store.open(home) as store:
        for back in (20, 8, 2):
            store.ledger.freeze(earlier(forecast, bars, back), "past")
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("b")
        await settle(pilot)
        assert toasts(app) == ["這檔股票沒有更早的預測可以比對。"]
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        screen = market(app)
        line = screen.query_one(OutcomeLine)
        assert not line.display
        await pilot.press("b")
        await settle(pilot)
        assert line.display
        assert not screen.query_one(ForecastLine).display
        assert "尚未到期" in shown(app, OutcomeLine)
        await pilot.press("b")
        await settle(pilot)
        due = bars[-4]
        assert str(due.date) in shown(app, OutcomeLine)
        assert f"實際 {due.close / 100:,.0f}" in shown(app, OutcomeLine)
        assert ("✓" in shown(app, OutcomeLine)) != ("✗" in shown(app, OutcomeLine))
        found = screen.chart.arranged()
        assert found is not None
        assert len(found.picture.cone) == 6
        await pilot.press("b", "b")
        await settle(pilot)
        assert str(bars[-21].date) in shown(app, OutcomeLine)
        await pilot.press("B", "B")
        await settle(pilot)
        assert "尚未到期" in shown(app, OutcomeLine)
        await pilot.press("escape")
        await settle(pilot)
        assert screen.query_one(ForecastLine).display


async def test_a_close_on_the_edge_of_the_band_is_a_hit_as_the_ledger_has_it(
    home: Home, make_app: MakeApp, settle: Settle, forecast: PathForecast, bars: list[Bar]
) -> None:
    """What came is kept as a log return: 100.50 comes back as 100.49999999999999."""
    place = next(
        place
        for place in range(len(bars) - 10, 20, -1)
        if math.exp(math.log(bars[place + 5].close / bars[place].close)) * bars[place].close
        < bars[place + 5].close
    )
    close = bars[place + 5].close
    old = earlier(forecast, bars, len(bars) - 1 - place)
    with Store.open(home) as store:
        store.ledger.freeze(replace(old, prices=np.full_like(old.prices, close)), "flat")
        score_due(store)
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, "b")
        await settle(pilot)
        assert "✓ 落在區間內" in shown(app, OutcomeLine)
        assert f"實際 {close / 100:,.0f}" in shown(app, OutcomeLine)
    with Store.open(home) as store:
        (last,) = (each.score for each in store.scores.list("2330") if each.score.day == 5)
    assert last.inside80


async def test_news_are_listed_with_age_and_source_and_open_in_the_browser(
    home: Home, make_app: MakeApp, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(home) as store:
        newest = store.news.articles("2330")[0]
        store.news.put(
            [
                Article(
                    "javascript:alert(1)", "假的", "Nobody", newest.published_at + timedelta(hours=1), "zh"
                )
            ],
            "2330",
        )
    app = make_app(home)
    opened: list[str] = []
    monkeypatch.setattr(StockApp, "open_url", lambda _app, url, **_: opened.append(url))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(app.screen, NewsScreen)
        text = table_text(app, "#news-list")
        assert "經濟日報" in text
        assert "3小時前" in text
        await pilot.press("enter")
        await settle(pilot)
        assert opened == []
        assert "javascript" in toasts(app)[0]
        await pilot.press("down", "enter")
        await settle(pilot)
        assert opened == [newest.url]
        await pilot.press("escape")
        await settle(pilot)
        assert app.screen is market(app)


def test_a_forecast_of_weeks_is_its_daily_paths_put_together(long_forecast: PathForecast) -> None:
    daily = long_forecast
    weekly = ahead(daily, "week")
    assert ahead(daily, "day") is daily
    assert weekly.paths == daily.paths
    assert weekly.horizon == len(weekly.dates) < daily.horizon
    assert (weekly.as_of, weekly.last_close) == (daily.as_of, daily.last_close)
    mondays = [day - timedelta(days=day.weekday()) for day in daily.dates]
    for number, end in enumerate(weekly.dates):
        days = [k for k, monday in enumerate(mondays) if monday == end - timedelta(days=end.weekday())]
        assert end == daily.dates[days[-1]]
        for path in (0, 41, 98):
            opened, high, low, close = weekly.prices[path, number].tolist()
            assert (opened, close) == (daily.prices[path, days[0], 0], daily.prices[path, days[-1], 3])
            assert high == max(daily.prices[path, k, 1] for k in days)
            assert low == min(daily.prices[path, k, 2] for k in days)
            assert weekly.volumes[path, number] == sum(daily.volumes[path, k] for k in days)
        # The band of a week's close is the band of its last day: nothing is smoothed or guessed.
        assert weekly.quantiles("close")[:, number].tolist() == daily.quantiles("close")[:, days[-1]].tolist()
    assert ahead(daily, "month").prices[:, :, 3].shape[0] == daily.paths


@pytest.mark.parametrize("key", ["w", "m"])
async def test_weeks_and_months_show_the_forecast_too(
    home: Home, make_app: MakeApp, settle: Settle, key: str
) -> None:
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5)
        await settle(pilot)
        daily = market(app).chart.arranged()
        await pilot.press(key)
        await settle(pilot)
        found = market(app).chart.arranged()
        assert daily is not None
        assert found is not None
        assert market(app).chart.period != "day"
        assert "預測 ▸" in chart_text(app)
        assert found.picture.cone[-1].levels == daily.picture.cone[-1].levels  # they end on the same day
        assert 0 < len(found.picture.candles) < len(daily.picture.candles)


@pytest.mark.parametrize("key", ["w", "m"])
async def test_an_older_forecast_in_weeks_is_held_against_the_closes_of_its_own_days(
    home: Home, make_app: MakeApp, settle: Settle, long_forecast: PathForecast, bars: list[Bar], key: str
) -> None:
    """Made on a Thursday and due on a Thursday: the weeks are cut there."""
    old = long_and_old(long_forecast, bars, 43)
    assert {old.as_of.weekday(), old.dates[-1].weekday()} == {3}
    with Store.open(home) as store:
        store.ledger.freeze(old, "past")
    closes = {bar.date: bar.close / 100 for bar in bars}
    app = make_app(home)
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press(*["down"] * 5, key)
        await settle(pilot)
        plain = market(app).chart.bars()
        await pilot.press("b", key)
        await settle(pilot)
        found = market(app).chart.arranged()
        assert found is not None
        period = market(app).chart.period
        in_view = {found.picture.dates[point.slot]: point for point in found.picture.cone}
        assert tuple(in_view) == (old.as_of, *ahead(old, period).dates)
        for day, point in in_view.items():
            assert found.picture.bars[point.slot].close == closes[day]
        assert len(found.picture.bars) > len(plain)
        await pilot.press("escape", key)
        await settle(pilot)
        assert market(app).chart.bars().dates == plain.dates  # without it weeks are whole again
