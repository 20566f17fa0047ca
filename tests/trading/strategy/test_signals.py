"""The three rules: their invariants, their sentences, and what they do without a usable forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.errors import NotEnoughHistory
from stockllm.data.paths import Home
from stockllm.data.records import Bar, BarSeries, PathForecast, Signal
from stockllm.data.store import Store
from stockllm.market.fees import ROUND_TRIP_COST
from stockllm.trading.strategy.signals import (
    EDGE_THRESHOLD,
    MEAN_DAYS,
    MEAN_TOLERANCE,
    refresh_signals,
    signals_for,
)

FIRST = date(2026, 1, 5)


def days(n: int, after: date = FIRST - timedelta(days=1)) -> tuple[date, ...]:
    """``n`` weekdays after ``after``."""
    found: list[date] = []
    while len(found) < n:
        after += timedelta(days=1)
        if after.weekday() < 5:
            found.append(after)
    return tuple(found)


def flat_series(n: int = 30, price: float = 100.0) -> BarSeries:
    column = np.full(n, price)
    return BarSeries("2330", days(n), *(column.copy() for _ in range(4)), np.full(n, 5e6), column.copy())


def forecast_of(series: BarSeries, closes: np.ndarray, **changes: object) -> PathForecast:
    """A forecast from the series' last day whose paths close at ``closes``, shape (paths, horizon), TWD."""
    cents = np.round(np.asarray(closes, dtype=np.float64) * 100).astype(np.int32)
    made = PathForecast(
        code=series.code,
        name="台積電",
        market="TWSE",
        as_of=series.dates[-1],
        last_close=round(float(series.close[-1]) * 100),
        dates=days(cents.shape[1], series.dates[-1]),
        prices=np.repeat(cents[:, :, None], 4, axis=2),
        volumes=np.full(cents.shape, 1000, dtype=np.int64),
        made_at=datetime(2026, 4, 1, tzinfo=UTC),
        model="ewma",
        model_hash="0",
        adapter=None,
        adapter_hash=None,
        prompt="compact",
        seed=1,
        simulated=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def by_rule(signals: list[Signal]) -> dict[str, Signal]:
    found = {s.rule: s for s in signals}
    assert list(found) == ["mean", "four-points", "edge"]
    return dict(found)


cents = st.integers(min_value=1, max_value=500_000)
tables = st.tuples(st.integers(1, 12), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(cents, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@given(tables, st.lists(cents, min_size=1, max_size=30), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_forecast_gives_three_coherent_verdicts(
    table: list[list[int]], past: list[int], simulated: bool
) -> None:
    series = flat_series(len(past))
    series.close[:] = np.array(past) / 100
    forecast = forecast_of(series, np.array(table) / 100, simulated=simulated)
    found = by_rule(signals_for(series, forecast, 7, simulated))
    for signal in found.values():
        assert signal.code == "2330"
        assert signal.as_of == series.dates[-1]
        assert signal.simulated is simulated
        assert signal.reason_zh.endswith("。")
        assert signal.reason_en.endswith(".")
        assert "nan" not in signal.reason_en

    mean = found["mean"]
    if len(series) < MEAN_DAYS:
        assert (mean.action, mean.strength, mean.forecast_id) == ("hold", None, None)
    else:
        a = float(series.close[-MEAN_DAYS:].mean())
        b = float(np.median(forecast.prices[:, :, 3], axis=0).mean()) / 100
        assert mean.strength == pytest.approx(b / a - 1)
        assert mean.action != "buy" or b > a
        assert mean.action != "sell" or b < a
        assert mean.action == "hold" or abs(b / a - 1) > MEAN_TOLERANCE
        assert f"{a:,.2f}" in mean.reason_zh
        assert f"{b:,.2f}" in mean.reason_en
        assert mean.forecast_id == 7

    edge = found["edge"]
    moves = forecast.prices[:, -1, 3] / forecast.last_close - 1
    gain, loss = float((moves > ROUND_TRIP_COST).mean()), float((moves < -ROUND_TRIP_COST).mean())
    assert (edge.action == "buy") == (gain > EDGE_THRESHOLD)
    assert (edge.action == "sell") == (loss > EDGE_THRESHOLD)
    assert edge.strength == pytest.approx(loss if edge.action == "sell" else gain)
    assert edge.forecast_id == 7
    for figure in (f"{gain:.1%}", f"{loss:.1%}", str(forecast.paths), str(forecast.horizon)):
        assert figure in edge.reason_zh
        assert figure in edge.reason_en

    assert found["four-points"].forecast_id is None
    assert found["four-points"].strength is None


def test_mean_uses_the_median_path_day_by_day() -> None:
    series = flat_series()
    # One wild path moves the mean of the closes, not their median.
    closes = np.array([[101.0, 103.0], [101.0, 103.0], [5000.0, 5000.0]])
    mean = by_rule(signals_for(series, forecast_of(series, closes), 1, False))["mean"]
    assert mean.action == "buy"
    assert mean.strength == pytest.approx(0.02)
    assert mean.reason_en == (
        "B = 102.00, the mean of the 2 forecast closes, is above A = 100.00, "
        "the mean of the last 20 closes (+2.00%)."
    )
    assert mean.reason_zh == "預測 2 日收盤均價 B = 102.00，高於近 20 日收盤均價 A = 100.00（+2.00%）。"


@pytest.mark.parametrize(
    ("close", "action"), [(100.05, "hold"), (99.95, "hold"), (100.2, "buy"), (99.8, "sell")]
)
def test_mean_holds_when_very_close(close: float, action: str) -> None:
    series = flat_series()
    mean = by_rule(signals_for(series, forecast_of(series, np.full((5, 3), close)), 1, False))["mean"]
    assert mean.action == action


def test_edge_needs_more_than_the_cost() -> None:
    series = flat_series()
    # Every path gains 0.5%, less than the 0.585% of buying and selling again.
    edge = by_rule(signals_for(series, forecast_of(series, np.full((20, 5), 100.5)), 1, False))["edge"]
    assert (edge.action, edge.strength) == ("hold", 0.0)
    closes = np.full((20, 5), 100.0)
    closes[:12, -1] = 101.0
    edge = by_rule(signals_for(series, forecast_of(series, closes), 1, False))["edge"]
    assert (edge.action, edge.strength) == ("buy", 0.6)
    assert edge.reason_en == (
        "After 5 trading days 12 of 20 paths (60.0%) gain more than the round-trip cost of 0.585% "
        "and 0 (0.0%) lose more than it; 60.0% is above 55%."
    )
    closes[:12, -1] = 99.0
    edge = by_rule(signals_for(series, forecast_of(series, closes), 1, False))["edge"]
    assert (edge.action, edge.strength) == ("sell", 0.6)


def test_a_stale_forecast_holds_and_names_its_date() -> None:
    series = flat_series()
    old = forecast_of(series, np.full((5, 3), 120.0), as_of=date(2025, 12, 1))
    found = by_rule(signals_for(series, old, 4, False))
    for rule in ("mean", "edge"):
        assert (found[rule].action, found[rule].strength, found[rule].forecast_id) == ("hold", None, None)
        assert "2025-12-01" in found[rule].reason_zh
        assert "2025-12-01" in found[rule].reason_en


def test_without_forecast_days_or_company() -> None:
    series = flat_series()
    found = by_rule(signals_for(series, None, None, True))
    assert {s.action for s in found.values()} == {"hold"}
    assert "stockllm forecast" in found["mean"].reason_zh
    assert all(s.simulated for s in found.values())
    assert signals_for(series[:0], None, None, False) == []
    with pytest.raises(ValueError, match="2317"):
        signals_for(series, forecast_of(series, np.full((5, 3), 120.0), code="2317"), 1, False)
    missing = flat_series()
    missing.close[-3] = float("nan")
    held = by_rule(signals_for(missing, forecast_of(series, np.full((5, 3), 120.0)), 1, False))
    assert held["mean"].action == "hold"
    assert "19 of the last 20" in held["mean"].reason_en
    assert held["four-points"].action == "hold"


@pytest.fixture
def store(home_dir: Path) -> Iterator[Store]:
    with Store.open(Home.locate()) as opened:
        opened.bars.put(
            Bar("2330", day, 10_000, 10_000 + i, 10_000, 10_000 + i, 1000 * (i + 1), "test")
            for i, day in enumerate(days(30))
        )
        yield opened


def test_refresh_stores_what_it_returns(store: Store) -> None:
    series = store.bars.series("2330")
    forecast_id = store.ledger.freeze(forecast_of(series, np.full((9, 5), 120.0)), "data")
    found = refresh_signals(store, ["2330"])
    assert [s.action for s in found] == ["buy", "buy", "buy"]
    assert [s.forecast_id for s in found] == [forecast_id, None, forecast_id]
    assert sorted(store.signals.latest("2330"), key=lambda s: s.rule) == sorted(found, key=lambda s: s.rule)


def test_refresh_holds_once_a_newer_bar_is_in(store: Store) -> None:
    series = store.bars.series("2330")
    store.ledger.freeze(forecast_of(series, np.full((9, 5), 120.0)), "data")
    (next_day,) = days(1, series.dates[-1])
    store.bars.put([Bar("2330", next_day, 10_100, 10_100, 10_000, 10_050, 9_000, "test")])
    found = by_rule(refresh_signals(store, ["2330"]))
    assert found["mean"].action == found["edge"].action == "hold"
    assert str(series.dates[-1]) in found["edge"].reason_zh


def test_refresh_carries_the_simulated_mark(home_dir: Path) -> None:
    with Store.open(Home.locate()) as store:
        store.set_simulated(True)
        store.bars.put([Bar("2330", FIRST, 10_000, 10_000, 10_000, 10_000, 1000, "simulated")])
        assert all(s.simulated for s in refresh_signals(store, ["2330"]))


def test_refresh_of_a_company_without_prices_stores_nothing(store: Store) -> None:
    with pytest.raises(NotEnoughHistory, match="2317 has no prices"):
        refresh_signals(store, ["2330", "2317"])
    assert store.signals.latest() == []
