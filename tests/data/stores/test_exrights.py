"""Ex-dates in the store, and series adjusted by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import StoreError
from stockllm.data.records import Bar, BarSeries
from stockllm.data.store import Store
from stockllm.data.stores.exrights import ExRight, adjusted

ROW = ExRight("1525", date(2026, 6, 25), "TWSE", "dividend", 6580, 6300, 6300, 6930, 5670, "twse")
DAYS = tuple(date(2025, 3, 3) + timedelta(days=n) for n in range(8))


def flat(*prices: float) -> BarSeries:
    column = np.array(prices)
    days = DAYS[: len(prices)]
    return BarSeries("1101", days, column, column + 1, column - 1, column, column * 100, column, column * 2)


def ex(day: date, before: int = 10000, reference: int = 9000) -> ExRight:
    return replace(ROW, code="1101", date=day, close_before=before, reference=reference, basis=reference)


def test_rows_are_kept_once_and_replaced_when_they_change(store: Store) -> None:
    assert store.ex_rights.put([ROW]) == (1, 0)
    assert store.ex_rights.put([ROW]) == (0, 1)
    assert store.ex_rights.put([replace(ROW, basis=6290), replace(ROW, code="2330")]) == (2, 0)
    assert store.ex_rights.put([]) == (0, 0)
    assert [row.code for row in store.ex_rights.rows()] == ["1525", "2330"]
    assert store.ex_rights.of("1525") == [replace(ROW, basis=6290)]
    assert store.ex_rights.rows(date(2026, 6, 26)) == []
    with pytest.raises(StoreError):
        store.ex_rights.put([replace(ROW, basis=0)])


def test_which_shares_still_wait_for_a_trade(store: Store) -> None:
    day, within = date(2025, 3, 5), timedelta(days=30)
    store.ex_rights.put([ex(date(2025, 3, 3))])
    assert store.ex_rights.idle(day, within) == [ex(date(2025, 3, 3))]
    store.bars.put([Bar("1101", day, 9000, 9000, 9000, 9000, 1, "x")])
    assert len(store.ex_rights.idle(day, within)) == 1  # the day's own bar is the one it waits for
    assert store.ex_rights.idle(date(2025, 3, 6), within) == []
    assert store.ex_rights.idle(date(2025, 5, 6), within) == []


def test_prices_before_an_ex_date_are_scaled_to_it() -> None:
    series = flat(100, 100, 90, 90)
    result = adjusted(series, [ex(DAYS[2])])
    assert result.close.tolist() == pytest.approx([90, 90, 90, 90])
    assert result.high.tolist() == pytest.approx([90.9, 90.9, 91, 91])
    assert result.reference.tolist() == pytest.approx([90, 90, 90, 90])
    assert result.volume.tolist() == series.volume.tolist()
    assert result.value is series.value


def test_only_what_was_known_is_used() -> None:
    series = flat(100, 100, 90, 90, 81)
    rows = [ex(DAYS[2]), ex(DAYS[4])]
    assert adjusted(series, rows, DAYS[1]).close.tolist() == [100, 100]
    assert adjusted(series, rows, DAYS[3]).close.tolist() == pytest.approx([90, 90, 90, 90])
    assert adjusted(series, rows).close.tolist() == pytest.approx([81] * 5)
    # An ex-date after the last bar, or before the first, changes nothing.
    assert adjusted(flat(100, 100), rows, DAYS[4]).close.tolist() == [100, 100]
    assert adjusted(series, [ex(DAYS[0])]).close.tolist() == series.close.tolist()
    assert len(adjusted(flat(), rows)) == 0


@given(
    st.lists(st.floats(1, 1000), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(DAYS), st.integers(5000, 10000)),
    st.sampled_from(DAYS),
)
def test_the_last_day_is_always_as_observed(prices: list[float], falls: dict[date, int], as_of: date) -> None:
    series = flat(*prices)
    rows = [ex(day, reference=reference) for day, reference in falls.items()]
    result = adjusted(series, rows, as_of)
    seen = series.until(as_of)
    assert result.dates == seen.dates
    if len(seen):
        assert result.close[-1] == seen.close[-1]
        later = [row for row in rows if row.date > seen.dates[-1]]
        assert adjusted(series, later, as_of).close.tolist() == seen.close.tolist()
