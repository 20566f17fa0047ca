"""Bars: taking them in twice, replacing them, reading them as rows and as columns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import Bar, QuarantinedRow
from stockllm.data.store import Store
from stockllm.data.stores import bars as module

DAY = date(2025, 3, 3)


def bar(day: int = 0, close: int = 10000, code: str = "2330", **more: Any) -> Bar:
    figures: dict[str, Any] = {
        "open": 10000,
        "high": max(10000, close),
        "low": min(10000, close),
        "close": close,
    }
    rest: dict[str, Any] = {"code": code, "date": DAY + timedelta(day), "volume": 1000, "source": "a"}
    return Bar(**(figures | rest | more))


def revisions(store: Store) -> list[tuple[Any, ...]]:
    with store._database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT code, date, close, value, source FROM bar_revisions ORDER BY id"
        )
        return [tuple(row) for row in rows]


FLAGS = ((), ("past_limit",), ("off_tick",), ("past_limit", "off_tick", "repaired"))


@st.composite
def some_bars(draw: st.DrawFn) -> list[Bar]:
    """Up to thirty bars of three companies, no day twice."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(["2330", "2454", "00x"]), st.integers(0, 40)), unique=True, max_size=30
        )
    )
    made = []
    for code, day in keys:
        low, open_, close, high = sorted(draw(st.lists(st.integers(1, 10**8), min_size=4, max_size=4)))
        made.append(
            bar(
                day,
                code=code,
                open=open_,
                high=high,
                low=low,
                close=close,
                volume=draw(st.integers(0, 2**40)),
                value=draw(st.none() | st.integers(0, 2**50)),
                trades=draw(st.none() | st.integers(0, 10**6)),
                reference=draw(st.none() | st.integers(1, 10**8)),
                flags=draw(st.sampled_from(FLAGS)),
                source=draw(st.sampled_from(["a", "b"])),
            )
        )
    return made


@settings(deadline=None, max_examples=25)
@given(first=some_bars(), second=some_bars(), size=st.integers(1, 7))
def test_taking_in_twice_changes_nothing(first: list[Bar], second: list[Bar], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", size)
        with Store.open(Home(Path(folder))) as store:
            assert store.bars.put(first) == (len(first), 0)
            assert store.bars.put(first) == (0, len(first))
            stored = [b for code in store.bars.codes() for b in store.bars.bars(code)]
            assert stored == sorted(first, key=lambda b: (b.code, b.date))
            accepted, unchanged = store.bars.put(second)
            assert accepted + unchanged == len(second)
            assert store.bars.put(second) == (0, len(second))
            keys = {(b.code, b.date) for b in (*first, *second)}
            assert store.bars.count() == len(keys)
            new = len(keys) - len(first)
            assert len(revisions(store)) == accepted - new


def test_a_later_arrival_replaces_and_the_old_one_is_kept(store: Store) -> None:
    old, new = bar(value=5, trades=3), bar(close=10100, source="b")
    store.bars.put([old])
    assert store.bars.put([new]) == (1, 0)
    assert store.bars.bars("2330") == [new]
    assert revisions(store) == [("2330", "2025-03-03", 10000, 5, "a")]


def test_the_same_day_twice_in_one_delivery(store: Store) -> None:
    assert store.bars.put([bar(), bar(close=10100), bar(close=10100)]) == (2, 1)
    assert store.bars.bars("2330") == [bar(close=10100)]
    assert len(revisions(store)) == 1


def test_a_silent_source_takes_nothing_away(store: Store) -> None:
    full = bar(value=5, trades=3, reference=9900, flags=("past_limit", "off_tick"))
    store.bars.put([full])
    assert store.bars.put([bar(source="b")]) == (0, 1)
    assert store.bars.bars("2330") == [full]


def test_a_source_that_knows_more_adds(store: Store) -> None:
    store.bars.put([bar(trades=3, flags=("off_tick",))])
    assert store.bars.put([bar(value=5, flags=("past_limit",), source="b")]) == (1, 0)
    assert store.bars.bars("2330") == [bar(value=5, trades=3, flags=("past_limit", "off_tick"), source="b")]
    assert store.bars.put([bar(value=6)]) == (1, 0)
    assert store.bars.bars("2330")[0].value == 6


def test_nothing_half_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    store.bars.put([bar()])

    def broken() -> Iterator[Bar]:
        yield from (bar(i, close=10100) for i in range(9))
        raise RuntimeError("the file ended")

    with pytest.raises(RuntimeError):
        store.bars.put(broken())
    assert store.bars.bars("2330") == [bar()]
    assert revisions(store) == []
    assert store.bars.put(bar(i) for i in range(9)) == (8, 1)


@pytest.mark.parametrize(
    "wrong", [{"low": 0}, {"low": 10001}, {"high": 9999}, {"volume": -1}, {"close": 10001}, {"open": 9999}]
)
def test_an_impossible_bar_is_refused_by_the_tables(store: Store, wrong: dict[str, int]) -> None:
    bad = replace(bar(1), **wrong)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="nothing was written") as caught:
        store.bars.put([bar(), bad])
    assert "\n" not in str(caught.value)
    assert store.bars.codes() == []


def test_a_number_past_64_bits(store: Store) -> None:
    with pytest.raises(StoreError, match="64 bits"):
        store.bars.put([bar(volume=2**63)])


def test_spans_and_counts(store: Store) -> None:
    assert (store.bars.codes(), store.bars.last_date(), store.bars.span("2330")) == ([], None, None)
    store.bars.put(
        [bar(0), bar(3), bar(1, code="00631"), bar(2, code="2330A"), bar(0, code="2454", volume=0)]
    )
    assert store.bars.codes() == ["00631", "2330", "2330A", "2454"]
    assert store.bars.span("2330") == (DAY, DAY + timedelta(3))
    assert store.bars.last_date() == DAY + timedelta(3)
    assert (store.bars.count(), store.bars.count("2330"), store.bars.count("x")) == (5, 2, 0)
    assert store.bars.traded() == {DAY + timedelta(i): 1 for i in range(4)}


def test_a_part_of_the_bars(store: Store) -> None:
    made = [bar(i) for i in range(5)]
    store.bars.put(reversed(made))
    assert store.bars.bars("2330") == made
    assert store.bars.bars("2330", start=made[1].date, end=made[3].date) == made[1:4]
    assert store.bars.bars("2330", end=made[0].date) == made[:1]
    assert store.bars.bars("2454") == []
    assert store.bars.days("2330") == [b.date for b in made]


# Series


def test_series_columns(store: Store) -> None:
    store.bars.put([bar(0, 10100), bar(1, 9900, value=7, volume=2**40), bar(5, 10050)])
    series = store.bars.series("2330")
    assert series.code == "2330"
    assert series.dates == (DAY, DAY + timedelta(1), DAY + timedelta(5))
    np.testing.assert_array_equal(series.open, [100, 100, 100])
    np.testing.assert_array_equal(series.high, [101, 100, 100.5])
    np.testing.assert_array_equal(series.low, [100, 99, 100])
    np.testing.assert_array_equal(series.close, [101, 99, 100.5])
    np.testing.assert_array_equal(series.volume, [1000, 2**40, 1000])
    assert series.value is not None
    np.testing.assert_array_equal(series.value, [np.nan, 7, np.nan])
    assert series.trades is None
    for column in (series.open, series.close, series.volume, series.reference):
        assert column.dtype == np.float64
        assert column.flags.c_contiguous


def test_reference_prices(store: Store) -> None:
    store.bars.put(
        [
            bar(0, 10100),  # the first day: its open
            bar(1, 10200),  # the close before
            bar(2, 6000, open=6100, high=6100, low=6000, flags=("past_limit",)),  # a split: its open
            bar(3, 5900, open=5950, high=5950, low=5900, reference=5800),  # told by the exchange
            bar(
                4, 3000, open=3000, high=3000, reference=2900, flags=("past_limit", "off_tick")
            ),  # told, and past
            bar(5, 3100, open=3050, high=3100, low=3050, flags=("off_tick",)),
        ]
    )
    np.testing.assert_array_equal(store.bars.series("2330").reference, [100, 101, 61, 58, 29, 30])


def test_a_first_day_with_a_reference(store: Store) -> None:
    store.bars.put([bar(reference=9500)])
    np.testing.assert_array_equal(store.bars.series("2330").reference, [95])


def test_series_until_a_day(store: Store) -> None:
    store.bars.put([bar(i, 10000 + i, trades=i) for i in range(6)])
    whole = store.bars.series("2330")
    part = store.bars.series("2330", end=DAY + timedelta(2))
    expected = whole.until(DAY + timedelta(2))
    assert part.dates == expected.dates
    for name in ("open", "high", "low", "close", "volume", "reference", "trades"):
        np.testing.assert_array_equal(getattr(part, name), getattr(expected, name))


def test_an_empty_series(store: Store) -> None:
    series = store.bars.series("2330")
    assert len(series) == 0
    assert series.reference.shape == series.open.shape == (0,)


# Quarantine


def test_quarantine_keeps_each_row_once(store: Store) -> None:
    rows = [
        QuarantinedRow("a.csv", 3, "2330", DAY, "zero_price", "0,0,0"),
        QuarantinedRow("a.csv", 2, "2330", None, "unreadable", "x,y"),
        QuarantinedRow("a.csv", 4, "2330", DAY, "duplicate", "x,y"),
        QuarantinedRow("b.csv", 2, "1101", DAY, "zero_price", "0,0,0"),
    ]
    assert store.bars.quarantine(rows) == 4
    assert store.bars.quarantine(iter(rows)) == 0
    assert store.bars.quarantined() == [rows[3], rows[1], rows[0], rows[2]]
    assert store.bars.quarantined("2330") == [rows[1], rows[0], rows[2]]
    assert store.bars.quarantined("x") == []


def test_quarantine_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 4)
    rows = [QuarantinedRow("a.csv", i, "2330", DAY, "zero_price", "") for i in range(10)]
    assert store.bars.quarantine(rows) == 10
    assert store.bars.quarantine(rows) == 0
