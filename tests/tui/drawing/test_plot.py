"""The chart's geometry: what every chart must hold, whatever the prices and the size."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.records import BarSeries, PathForecast
from stockllm.tui.drawing import plot
from stockllm.tui.drawing.plot import SPACINGS, ConePoint, Ohlcv

PRICES = st.floats(min_value=0.01, max_value=20_000, allow_nan=False)


@st.composite
def candles(draw: st.DrawFn) -> Ohlcv:
    """A valid candle: low <= open, close <= high."""
    low, first, second, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
    opened, close = draw(st.sampled_from([(first, second), (second, first)]))
    return Ohlcv(opened, high, low, close, draw(st.floats(0, 1e9)))


@st.composite
def points(draw: st.DrawFn) -> ConePoint:
    return ConePoint(0, *sorted(draw(st.tuples(*[PRICES] * 5))))


@given(st.lists(candles(), min_size=1, max_size=30), st.integers(1, 60))
def test_every_price_in_view_lies_in_the_plot(shown: list[Ohlcv], rows: int) -> None:
    scale = plot.scale([price for c in shown for price in (c.low, c.high)], rows)
    for candle in shown:
        for price in (candle.open, candle.high, candle.low, candle.close):
            assert scale.holds(price)
            assert 0 <= scale.row(price) < rows
            assert 0 <= scale.part(price, 2) < 2 * rows
            assert 0 <= scale.edge(price) <= 8 * rows


@given(candles(), st.lists(candles(), max_size=5), st.integers(1, 60))
def test_a_body_never_leaves_its_wick(candle: Ohlcv, others: list[Ohlcv], rows: int) -> None:
    scale = plot.scale([price for c in (candle, *others) for price in (c.low, c.high)], rows)
    shape = plot.halves(scale, candle)
    assert 0 <= shape.top <= shape.body_top <= shape.body_bottom <= shape.bottom < 2 * rows


@given(PRICES, PRICES, st.integers(1, 60))
def test_a_higher_price_is_never_drawn_lower(first: float, second: float, rows: int) -> None:
    scale = plot.scale([first, second], rows)
    high, low = max(first, second), min(first, second)
    assert scale.y(high) <= scale.y(low)
    assert scale.row(high) <= scale.row(low)
    assert scale.edge(high) <= scale.edge(low)


@given(st.lists(points(), min_size=2, max_size=8), st.data())
def test_the_bands_of_the_cone_stay_nested_at_every_column(
    cone: list[ConePoint], data: st.DataObject
) -> None:
    steps = data.draw(st.lists(st.integers(1, 6), min_size=len(cone), max_size=len(cone)))
    places = [sum(steps[: index + 1]) for index in range(len(cone))]
    scale = plot.scale([level for point in cone for level in point.levels], 20)
    assert plot.cone_at(cone, places, places[0] - 1) is None
    assert plot.cone_at(cone, places, places[-1] + 1) is None
    for x in range(places[0], places[-1] + 1):
        levels = plot.cone_at(cone, places, x)
        assert levels is not None
        edges = [scale.edge(level) for level in levels]
        assert edges == sorted(edges)
    for point, place in zip(cone, places, strict=True):
        assert plot.cone_at(cone, places, place) == pytest.approx(point.levels)


@given(st.floats(0.01, 20_000), st.floats(0.0001, 1.0), st.integers(2, 60))
def test_labels_are_round_rising_and_apart(price: float, width: float, rows: int) -> None:
    scale = plot.scale([price, price * (1 + width)], rows)
    marks = plot.ticks(scale)
    values = [value for value, _ in marks]
    places = [row for _, row in marks]
    assert values == sorted(values, reverse=True)
    assert all(scale.low - 1e-6 <= value <= scale.high + 1e-6 for value in values)
    assert len(marks) <= rows / plot.TICK_ROWS + 1
    assert all(b - a >= plot.TICK_ROWS - 1 for a, b in pairwise(places))


@given(st.integers(12, 300), st.integers(1, 3000), st.integers(0, 60), st.sampled_from([None, *SPACINGS]))
def test_columns_fill_the_plot_and_never_overlap(
    width: int, sessions: int, future: int, spacing: int | None
) -> None:
    columns = plot.columns(width, sessions, future, spacing)
    assert 1 <= columns.history <= sessions
    assert columns.future <= future
    slots = range(columns.history + columns.future)
    taken = [
        x for slot in slots for x in range(columns.start(slot), columns.start(slot) + columns.cells(slot))
    ]
    if columns.divider is not None:
        taken.append(columns.divider)
    assert len(taken) == len(set(taken))
    assert min(taken) >= 0
    assert max(taken) == width - 1
    assert (columns.divider is None) == (columns.future == 0)


@given(st.floats(0, 1e9), st.floats(1, 1e9), st.integers(1, 9))
def test_volume_bars_stay_in_their_panel(volume: float, largest: float, rows: int) -> None:
    height = plot.volume_eighths(min(volume, largest), largest, rows)
    assert 0 <= height <= 8 * rows
    assert (height > 0) == (volume > 0)


def test_flat_and_absent_prices_still_have_a_scale() -> None:
    assert plot.scale([50.0, 50.0], 10).low < 50.0 < plot.scale([50.0, 50.0], 10).high
    assert plot.scale([], 10).high > plot.scale([], 10).low


def test_averages_are_those_of_the_whole_history_not_of_the_view(series: BarSeries) -> None:
    shown = plot.picture(series, None, 10)
    assert len(shown.bars) == 10
    for length in plot.AVERAGES:
        values = shown.averages[length]
        for back in range(1, 11):
            end = len(series) - back + 1
            assert values[-back] == pytest.approx(float(series.close[end - length : end].mean()))


def test_an_average_begins_where_it_has_all_its_days(series: BarSeries) -> None:
    shown = plot.picture(series[:70], None, 70)
    assert shown.averages[60][:59] == (None,) * 59
    assert shown.averages[60][59] == pytest.approx(float(series.close[:60].mean()))


def test_the_cone_begins_at_the_last_close_and_ends_at_the_last_day(
    series: BarSeries, forecast: PathForecast
) -> None:
    shown = plot.picture(series, forecast, 30)
    assert shown.future == 5
    assert shown.cone[0].slot == 29
    assert set(shown.cone[0].levels) == {float(series.close[-1])}
    assert [point.slot for point in shown.cone] == [29, 30, 31, 32, 33, 34]
    assert [slot for slot, _ in shown.candles] == [30, 31, 32, 33, 34]
    low, high = min(shown.prices()), max(shown.prices())
    assert all(low <= level <= high for point in shown.cone for level in point.levels)


def test_a_forecast_that_days_have_overtaken_lies_over_them(
    series: BarSeries, forecast: PathForecast
) -> None:
    """Two of its days have come: the cone covers them, candles are drawn only for the three to come."""
    moved = [day - timedelta(days=7) for day in forecast.dates]
    assert sum(day <= series.dates[-1] for day in moved) > 0
    older = PathForecast(
        **{name: getattr(forecast, name) for name in forecast.__slots__}
        | {"as_of": series.dates[-6], "dates": tuple(series.dates[-5:-3]) + forecast.dates[:3]}
    )
    shown = plot.picture(series, older, 30)
    assert shown.future == 3
    assert shown.cone[0].slot == 24
    assert [slot for slot, _ in shown.candles] == [30, 31, 32]


def test_a_forecast_from_before_the_view_has_no_beginning_in_it(
    series: BarSeries, forecast: PathForecast
) -> None:
    older = PathForecast(
        **{name: getattr(forecast, name) for name in forecast.__slots__} | {"as_of": date(2020, 1, 2)}
    )
    assert [point.slot for point in plot.picture(series, older, 30).cone] == [30, 31, 32, 33, 34]
