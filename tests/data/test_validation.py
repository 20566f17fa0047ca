"""Which rows become bars, which do not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.reasons import NAMES, name_of
from stockllm.data.records import BarSeries
from stockllm.data.validation import REASONS, RawRows, Validated, validate
from stockllm.market.calendar import default_calendar
from stockllm.market.ticks import limits, round_to_tick, tick

NAN = float("nan")
SESSIONS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 12, 31)))

Row = tuple[date | None, float, float, float, float, float]


def rows_of(rows: Sequence[Row], **more: Any) -> RawRows:
    table = np.array([row[1:5] for row in rows], dtype=np.float64).reshape(-1, 4)
    return RawRows(
        "2330",
        "test.csv",
        np.arange(2, len(rows) + 2),
        np.array([row[0].toordinal() if row[0] else 0 for row in rows], dtype=np.int64),
        table,
        np.array([row[5] for row in rows], dtype=np.float64),
        lambda i: f"row {i}",
        **more,
    )


def flat(price: float, n: int, start: int = 0, volume: float = 1000) -> list[Row]:
    return [(day, price, price, price, price, volume) for day in SESSIONS[start : start + n]]


def reasons(result: Validated) -> dict[int, str]:
    """Line -> reason; rows were numbered from 2."""
    return {row.line: row.reason for row in result.quarantined}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, 10, 10, 10, 10, 1), "unreadable"),
        ((SESSIONS[1], NAN, 10, 10, 10, 1), "unreadable"),
        ((SESSIONS[1], 10, 10, 10, 10, NAN), "unreadable"),
        ((SESSIONS[1], 10, 10, 10, 10, 1.5), "unreadable"),
        ((SESSIONS[1], 10, float("inf"), 10, 10, 1), "unreadable"),
        ((SESSIONS[1], 10, 1e300, 10, 10, 1), "unreadable"),
        ((SESSIONS[1], 0, 0, 0, 0, 0), "zero_price"),
        ((SESSIONS[1], 10, 10, 0, 10, 1), "zero_price"),
        ((SESSIONS[1], 10, 10, -5, 10, 1), "zero_price"),
        ((SESSIONS[1], 10, 10, 10, 10, -1), "negative_volume"),
        ((date(2025, 3, 8), 10, 10, 10, 10, 1), "not_a_session"),
        ((date(2025, 4, 4), 10, 10, 10, 10, 1), "not_a_session"),
        ((SESSIONS[1], 10, 9.9, 10.1, 10, 1), "low_above_high"),
        ((SESSIONS[1], 11, 10.5, 10, 10, 1), "open_outside_range"),
        ((SESSIONS[1], 10, 10.5, 10, 9.99, 1), "close_outside_range"),
        ((SESSIONS[1], 1000, 1000, 1000, 1000, 1), "jump_100x"),
        ((SESSIONS[0], 10, 10, 10, 10, 1), "duplicate"),
    ],
)
def test_reasons(row: Row, reason: str) -> None:
    result = validate(rows_of([*flat(10, 1), row, *flat(10, 3, 2)]))
    assert reasons(result) == {3: reason}
    (kept,) = result.quarantined
    assert (kept.code, kept.source, kept.raw, kept.date) == ("2330", "test.csv", "row 1", row[0])
    assert len(result.bars) == 4
    assert reason in REASONS


def test_blank_prices_are_a_day_without_a_trade() -> None:
    rows = rows_of([*flat(10, 1), (SESSIONS[1], NAN, NAN, NAN, NAN, 0)], blank=np.array([False, True]))
    assert reasons(validate(rows)) == {3: "no_trade"}


def test_no_rows() -> None:
    assert validate(rows_of([])) == ([], [], 0)


def test_a_bar_carries_everything() -> None:
    row: Row = (SESSIONS[0], 37.45, 37.55, 35.5, 35.5, 53594040)
    columns = {
        "values": np.array([1940182343.0]),
        "trades": np.array([28766.0]),
        "changes": np.array([-2.15]),
    }
    (bar,) = validate(rows_of([row], **columns)).bars
    assert (bar.open, bar.high, bar.low, bar.close) == (3745, 3755, 3550, 3550)
    assert (bar.volume, bar.value, bar.trades, bar.reference) == (53594040, 1940182343, 28766, 3765)
    assert (bar.date, bar.source, bar.flags) == (SESSIONS[0], "test.csv", ())
    assert all(type(n) is int for n in (bar.open, bar.volume, bar.value, bar.trades, bar.reference))


def test_bars_come_in_order_of_date() -> None:
    result = validate(rows_of(flat(10, 5)[::-1]))
    assert [bar.date for bar in result.bars] == list(SESSIONS[:5])


# Jumps


@pytest.mark.parametrize("factor", [100, 0.01, 70, 1 / 140])
@pytest.mark.parametrize(("first", "length"), [(0, 1), (10, 1), (19, 1), (5, 4), (0, 6), (14, 6)])
def test_a_hundredfold_glitch(factor: float, first: int, length: int) -> None:
    rows = flat(50, 20)
    for i in range(first, first + length):
        rows[i] = (rows[i][0], *(price * factor for price in rows[i][1:5]), rows[i][5])
    assert reasons(validate(rows_of(rows))) == dict.fromkeys(
        range(first + 2, first + length + 2), "jump_100x"
    )


def test_two_glitches_in_opposite_directions() -> None:
    rows = flat(50, 8)
    rows[2:4] = [flat(5000, 4)[2], flat(0.5, 4)[3]]
    assert reasons(validate(rows_of(rows))) == {4: "jump_100x", 5: "jump_100x"}


def test_one_price_of_the_four_a_hundredfold() -> None:
    rows = flat(50, 8)
    rows[3] = (rows[3][0], 50, 5000, 50, 50, 1)
    rows[5] = (rows[5][0], 50, 50, 0.5, 50, 1)
    assert reasons(validate(rows_of(rows))) == {5: "jump_100x", 7: "jump_100x"}


@pytest.mark.parametrize("ratio", [10, 0.1, 20, 0.05, 4, 1.5])
def test_a_split_is_kept_and_flagged(ratio: float) -> None:
    result = validate(rows_of([*flat(100, 10), *flat(100 * ratio, 10, 10)]))
    assert not result.quarantined
    assert [bar.date for bar in result.bars if "past_limit" in bar.flags] == [SESSIONS[10]]


def test_a_glitch_moves_no_limit() -> None:
    """The day after a glitch is measured from the last good close."""
    rows = [*flat(50, 3), *flat(5000, 1, 3), *flat(54, 1, 4)]
    assert [bar.flags for bar in validate(rows_of(rows)).bars] == [(), (), (), ()]


def test_a_duplicate_of_a_glitch_is_no_duplicate() -> None:
    rows = flat(50, 6)
    rows.insert(2, (rows[2][0], 5000, 5000, 5000, 5000, 1))
    assert reasons(validate(rows_of(rows))) == {4: "jump_100x"}


def series(price: float, n: int) -> BarSeries:
    column = np.full(n, float(price))
    return BarSeries("2330", SESSIONS[:n], column, column, column, column, column, column)


def test_known_bars_expose_a_single_glitch_and_measure_the_first_row() -> None:
    new = rows_of(flat(5000, 1, 10))
    assert not validate(new).quarantined
    assert reasons(validate(new, known=series(50, 10))) == {2: "jump_100x"}
    (bar,) = validate(rows_of(flat(56, 1, 10)), known=series(50, 10)).bars
    assert bar.flags == ("past_limit",)
    assert validate(rows_of(flat(50, 5)), known=series(50, 10)) == validate(rows_of(flat(50, 5)))


def test_rows_outweigh_the_known_bar_of_their_own_day() -> None:
    known = series(5000, 1)  # the first row of this company was a glitch and came alone
    assert not validate(rows_of(flat(50, 3)), known=known).quarantined


# Limits and references


def test_limits_are_exact_on_the_grid() -> None:
    down, up = limits(83900)
    at: list[Row] = [*flat(839, 1), (SESSIONS[1], 839, up / 100, down / 100, 839, 1)]
    assert validate(rows_of(at)).bars[1].flags == ()
    past: list[Row] = [*flat(839, 1), (SESSIONS[1], 839, 923, 839, 839, 1)]
    assert validate(rows_of(past)).bars[1].flags == ("past_limit",)


def test_an_adjusted_series_may_round_past_its_limit() -> None:
    rows: list[Row] = [*flat(10.23, 1), (SESSIONS[1], 11.26, 11.26, 11.26, 11.26, 1)]
    assert [bar.flags for bar in validate(rows_of(rows)).bars] == [("off_tick",), ("off_tick",)]


def test_seven_percent_before_june_2015() -> None:
    days = tuple(default_calendar().sessions(date(2015, 5, 27), date(2015, 6, 3)))
    prices = (100, 107, 115, 126, 126, 126)
    rows: list[Row] = [(d, p, p, p, p, 1) for d, p in zip(days, prices, strict=True)]
    flagged = [bar.date for bar in validate(rows_of(rows)).bars if bar.flags]
    assert flagged == [date(2015, 5, 29)]


def test_a_change_gives_the_reference_of_an_ex_date() -> None:
    rows = [*flat(100, 2), *flat(80, 1, 2)]
    changes = np.array([NAN, 0.0, 1.0])
    bars = validate(rows_of(rows, changes=changes)).bars
    assert [bar.reference for bar in bars] == [None, None, 7900]
    assert bars[2].flags == ()
    # X0.00: not comparable, so the move counts from the close before.
    bars = validate(rows_of(rows, changes=np.array([NAN, 0.0, 0.0]))).bars
    assert (bars[2].reference, bars[2].flags) == (None, ("past_limit",))


def test_a_change_counted_from_a_glitch_is_not_believed() -> None:
    rows = [*flat(50, 2), *flat(5000, 1, 2), *flat(50, 2, 3)]
    result = validate(rows_of(rows, changes=np.array([NAN, 0, 4950, -4950, 0])))
    assert reasons(result) == {4: "jump_100x"}
    assert all(bar.reference is None and not bar.flags for bar in result.bars)


# Rounding


def test_float_noise_is_no_repair_but_a_third_decimal_is() -> None:
    noisy = float(np.float32(37.4))
    assert noisy != 37.4
    result = validate(rows_of(flat(noisy, 1)))
    assert (result.bars[0].close, result.bars[0].flags, result.repaired) == (3740, (), 0)
    result = validate(rows_of(flat(37.403, 1)))
    assert (result.bars[0].close, result.bars[0].flags, result.repaired) == (3740, ("repaired",), 1)
    result = validate(rows_of([*flat(37.403, 1), (date(2025, 3, 8), 10.001, 11, 10, 10, 1)]))
    assert result.repaired == 1, "a refused row is not counted as repaired"


def test_off_tick() -> None:
    assert validate(rows_of(flat(50.05, 1))).bars[0].flags == ("off_tick",)


def test_days_beyond_the_rules() -> None:
    saturday, sunday = date(1998, 3, 14), date(1998, 3, 15)
    rows: list[Row] = [(saturday, 10, 10, 10, 10, 1), (sunday, 10, 10, 10, 10, 1)]
    assert reasons(validate(rows_of(rows))) == {3: "not_a_session"}


ANY_PRICE = st.one_of(
    st.floats(0.01, 5000), st.sampled_from([0.0, NAN, -1.0, 1e12, 10.0, 10.005, 1000.0]), st.integers(1, 3000)
)
ANY_ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.dates(date(1990, 1, 1), date(2035, 1, 1)), st.sampled_from(SESSIONS)),
        ANY_PRICE,
        ANY_PRICE,
        ANY_PRICE,
        ANY_PRICE,
        st.one_of(st.integers(-5, 10**10).map(float), st.just(NAN)),
    ),
    max_size=30,
)


@given(ANY_ROWS)
def test_every_row_is_accounted_for_and_every_bar_is_sound(rows: list[Row]) -> None:
    result = validate(rows_of(rows))
    assert len(result.bars) + len(result.quarantined) == len(rows)
    assert len({row.line for row in result.quarantined}) == len(result.quarantined)
    assert set(Counter(row.reason for row in result.quarantined)) <= set(REASONS)
    days = [bar.date for bar in result.bars]
    assert days == sorted(set(days))
    for bar in result.bars:
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume >= 0
        off = any(price % tick(price) for price in (bar.open, bar.high, bar.low, bar.close))
        assert off == ("off_tick" in bar.flags)
    assert result.repaired == sum("repaired" in bar.flags for bar in result.bars)


@given(st.lists(st.floats(-0.099, 0.099), min_size=1, max_size=60), st.integers(2000, 100_000))
def test_an_honest_series_passes_untouched(moves: list[float], start: int) -> None:
    rows: list[Row] = []
    price = round_to_tick(start)
    for day, move in zip(SESSIONS, moves, strict=False):
        down, up = limits(price)
        price = min(max(round_to_tick(int(price * (1 + move))), down), up)
        rows.append((day, price / 100, price / 100, price / 100, price / 100, 1))
    result = validate(rows_of(rows))
    assert not result.quarantined
    assert all(bar.flags == () for bar in result.bars)
    assert validate(rows_of(rows[::-1])).bars == result.bars


def test_every_reason_has_words_in_both_languages() -> None:
    assert set(REASONS) <= set(NAMES)
    for reason in REASONS:
        chinese, english = name_of(reason, "zh"), name_of(reason, "en")
        assert any(character > "\u2e7f" for character in chinese)
        assert "_" not in english
    assert name_of("of another version", "zh") == "of another version"
