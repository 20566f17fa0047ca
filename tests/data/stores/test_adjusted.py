"""Adjusted candles: restatements, and the joint with traded bars."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.data.stores.known import Counts, seconds
from stockllm.market.moments import bars_known

MONDAY = date(2025, 3, 3)
DAYS = [MONDAY + timedelta(n) for n in range(5)]


def put(store: Store, closes: dict[date, float], code: str = "2330") -> Counts:
    days = np.array([day.toordinal() for day in closes], dtype=np.int64)
    price = np.array(list(closes.values()))
    prices = np.stack([price, price * 1.01, price * 0.99, price], axis=1)
    known_at = np.array([seconds(bars_known(day)) for day in closes], dtype=np.int64)
    with store.arrivals.bring("adjusted", "test") as arrival:
        return store.adjusted.keep(arrival, code, days, prices, np.full(len(days), 1000.0), known_at)


def trade(store: Store, closes: dict[date, int], **fields: int) -> None:
    store.bars.put(
        Bar("2330", day, close, close, close, close, 1000, "test", **fields) for day, close in closes.items()
    )


def test_series_and_columns_agree(store: Store) -> None:
    put(store, dict(zip(DAYS, (10.123, 10.2, 10.3, 10.4, 10.5), strict=True)))
    put(store, {DAYS[1]: 20.5, DAYS[2]: 21.5}, "0050")
    assert store.adjusted.codes() == ["0050", "2330"]
    series = store.adjusted.series("2330", DAYS[3])
    assert series.dates == tuple(DAYS[:4])
    assert series.close.tolist() == [10.123, 10.2, 10.3, 10.4]
    assert series.reference.tolist() == [10.123, 10.123, 10.2, 10.3]
    whole = store.adjusted.all()
    assert (whole.codes, whole.starts.tolist()) == (("0050", "2330"), [0, 2, 7])
    assert whole.close[whole.part("2330")].tolist() == [10.123, 10.2, 10.3, 10.4, 10.5]
    assert whole.part("1101") == slice(0, 0)
    assert whole.part("9999") == slice(0, 0)
    assert len(store.adjusted.all(DAYS[1])) == 3
    assert store.adjusted.all(codes=["0050"]).codes == ("0050",)
    assert len(store.adjusted.all(codes=[])) == len(store.adjusted.series("9999")) == 0
    assert store.adjusted.count() == 7


def test_a_later_file_restates_and_what_only_the_older_has_is_scaled_to_it(store: Store) -> None:
    put(store, dict(zip(DAYS[:4], (100.0, 110.0, 120.0, 130.0), strict=True)))
    # A dividend of a tenth was paid since; this file begins on the second day.
    counts = put(store, dict(zip(DAYS[1:], (99.0, 108.0, 117.0, 118.0), strict=True)))
    assert counts == Counts(1, 0, 3)
    series = store.adjusted.series("2330")
    assert series.close == pytest.approx([90.0, 99.0, 108.0, 117.0, 118.0])
    assert series.volume.tolist() == [1000.0] * 5
    # All moments see the same moves, whichever file stated them.
    assert store.adjusted.series("2330", DAYS[2]).close == pytest.approx([90.0, 99.0, 108.0])
    assert put(store, {DAYS[1]: 99.0}) == Counts(0, 1, 0)
    assert store.adjusted.count() == 5


def test_the_move_into_the_first_traded_bar_is_right(store: Store) -> None:
    # Between the joint and today a dividend of a tenth: adjusted closes are 0.9 of the traded ones.
    put(store, dict(zip(DAYS, (81.0, 90.0, 99.0, 110.0, 111.0), strict=True)))
    trade(store, {DAYS[1]: 10000, DAYS[2]: 11000, DAYS[3]: 11000})
    series = store.long_series("2330")
    assert series.dates == tuple(DAYS[:4]), "a day after the traded ones is not appended"
    assert series.close == pytest.approx([90.0, 100.0, 110.0, 110.0])
    assert series.reference[1] == pytest.approx(90.0)
    assert series.high[0] == pytest.approx(90.9)
    assert store.long_series("2330", DAYS[2]).dates == tuple(DAYS[:3])
    assert store.long_series("2330", DAYS[0]).close.tolist() == [81.0], "nothing was traded yet"


def test_without_a_common_day_the_first_reference_joins(store: Store) -> None:
    put(store, {DAYS[0]: 45.0, DAYS[1]: 50.0})
    trade(store, {DAYS[2]: 11000}, reference=10000)
    series = store.long_series("2330")
    assert series.close == pytest.approx([90.0, 100.0, 110.0])
    assert series.reference[2] == 100.0


def test_one_of_both_alone_is_what_there_is(store: Store) -> None:
    put(store, {DAYS[0]: 45.0}, "0050")
    assert store.long_series("0050").close.tolist() == [45.0]
    trade(store, {DAYS[1]: 11000})
    assert store.long_series("2330").close.tolist() == [110.0]
    put(store, {DAYS[2]: 45.0})
    assert store.long_series("2330").dates == (DAYS[1],)
    assert not len(store.long_series("1101"))


def test_values_and_trades_are_unknown_before_the_joint(store: Store) -> None:
    put(store, {DAYS[0]: 45.0})
    trade(store, {DAYS[1]: 11000}, value=5, trades=2)
    series = store.long_series("2330")
    assert series.value is not None
    assert np.isnan(series.value[0])
    assert series.value[1] == 5
