"""Ticks and limits: the exchange's worked examples, and what must hold for every price."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.market.ticks import ETF_TABLE, limits, round_to_tick, tick, tick_table

PRICES = st.integers(100, 2_000_000)
MODES = st.sampled_from(["nearest", "down", "up"])


@pytest.mark.parametrize(
    ("reference", "down", "up"),
    [(6300, 5670, 6930), (83900, 75600, 92200), (960, 864, 1055), (107500, 96800, 118000)],
)
def test_worked_limits(reference: int, down: int, up: int) -> None:
    assert limits(reference) == (down, up)


@pytest.mark.parametrize(
    ("price", "size"),
    [
        (999, 1),
        (1000, 5),
        (4999, 5),
        (5000, 10),
        (9999, 10),
        (10000, 50),
        (49999, 50),
        (50000, 100),
        (99999, 100),
        (100000, 500),
    ],
)
def test_bands(price: int, size: int) -> None:
    assert tick(price) == size


def test_rounding_by_direction() -> None:
    assert round_to_tick(3427, "down") == 3425
    assert round_to_tick(6626, "up") == 6630
    assert round_to_tick(145625, "down") == 145500
    assert round_to_tick(145625, "up") == 146000
    assert round_to_tick(145750) == 146000, "a tie goes up"
    with pytest.raises(ValueError, match="sideways"):
        round_to_tick(100, "sideways")  # type: ignore[call-overload]


def test_rules_have_dates() -> None:
    assert limits(10000, date(2015, 5, 29)) == (9300, 10700)
    assert limits(10000, date(2015, 6, 1)) == limits(10000)
    assert tick_table(date(2026, 1, 1)) is tick_table(date(2010, 1, 1))
    assert tick(4900, ETF_TABLE) == 1
    assert tick(5000, ETF_TABLE) == 5


@given(PRICES, MODES)
def test_rounding_is_idempotent_and_within_a_tick(price: int, mode: str) -> None:
    rounded = round_to_tick(price, mode)  # type: ignore[call-overload]
    assert round_to_tick(rounded, mode) == rounded  # type: ignore[call-overload]
    assert rounded % tick(rounded) == 0
    assert abs(rounded - price) < tick(price) or rounded == price


@given(PRICES, PRICES, MODES)
def test_rounding_is_monotone(a: int, b: int, mode: str) -> None:
    low, high = sorted((a, b))
    assert round_to_tick(low, mode) <= round_to_tick(high, mode)  # type: ignore[call-overload]


@given(PRICES, PRICES)
def test_limits_are_the_outermost_ticks_within_ten_percent(a: int, b: int) -> None:
    for reference in (a, b):
        down, up = limits(reference)
        assert down % tick(down) == up % tick(up) == 0
        assert Fraction(down) >= Fraction(reference * 9, 10)
        assert Fraction(up) <= Fraction(reference * 11, 10)
        assert up + tick(up) > Fraction(reference * 11, 10), "the next tick up lies outside"
        assert down - tick(down - 1) < Fraction(reference * 9, 10)
    low, high = sorted((a, b))
    assert limits(low)[0] <= limits(high)[0]
    assert limits(low)[1] <= limits(high)[1]


@given(st.lists(PRICES, min_size=1, max_size=20), MODES)
def test_arrays_agree_with_ints(prices: list[int], mode: str) -> None:
    array = np.array(prices, dtype=np.int64)
    assert tick(array).tolist() == [tick(p) for p in prices]
    assert round_to_tick(array, mode).tolist() == [round_to_tick(p, mode) for p in prices]  # type: ignore[call-overload]
    down, up = limits(array)
    assert list(zip(down.tolist(), up.tolist(), strict=True)) == [limits(p) for p in prices]
