"""The features and the world look back only; what is unknown stays unknown."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import Market

from stockllm.forecaster.outlook.network import (
    BOTH,
    EVENING,
    NEW_YORK,
    NIGHT,
    Network,
    world_columns,
)
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.outlook.world import World, _new_york_moves, _night_moves, _scaled
from stockllm.market.moments import new_york_close


@pytest.fixture(scope="module")
def whole(market: Market) -> Outlook:
    return Outlook.of(market.panel(), market.world)


@settings(max_examples=12, deadline=None)
@given(row=st.integers(40, 159))
def test_a_day_is_seen_the_same_with_and_without_what_came_later(
    request: pytest.FixtureRequest, row: int
) -> None:
    market: Market = request.getfixturevalue("market")
    whole: Outlook = request.getfixturevalue("whole")
    network: Network = request.getfixturevalue("network")
    cut = Outlook.of(market.panel(row), market.known(row + 1))
    columns = np.arange(len(market.series))
    rows = np.full(len(columns), row)
    one, other = cut.examples(rows, columns), whole.examples(rows, columns)
    for name in ("table", "expected", "moves"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=2e-6, rtol=0)
    assert (one.night == other.night).all()
    assert (one.new_york == other.new_york).all()
    for shown in (EVENING, NEW_YORK, BOTH, NIGHT):
        for mine, theirs in zip(
            cut.letters(network, rows, columns, shown), whole.letters(network, rows, columns, shown),
            strict=True,
        ):  # fmt: skip
            # Float noise may tip a value that lies between two letters.
            assert np.abs(mine - theirs).max() <= 1
            assert (mine == theirs).mean() > 0.95


def test_a_stock_is_spoken_about_once_it_has_traded_long_enough(market: Market, network: Network) -> None:
    outlook = Outlook.of(market.panel(), market.world)
    for row, known in ((20, False), (21, True)):
        lines, heads = outlook.letters(network, np.array([row]), np.array([0]), BOTH)
        assert (lines[0, 2:] >= 0).all() == known
        assert (heads >= 0).all() == known


def test_each_moment_is_shown_its_sources_and_no_others(whole: Outlook, market: Market) -> None:
    rows, columns = np.array([150, 151]), np.array([0, 5])
    answers = whole.answers
    for shown, wanted in ((NIGHT, answers.night), (NEW_YORK, answers.new_york), (BOTH, answers.both)):
        found = whole.expected(rows, columns, shown)
        np.testing.assert_allclose(found, wanted[rows, columns], rtol=1e-6)
    assert np.isnan(whole.expected(rows, columns, EVENING)).all()
    # What is hidden leaves no trace in what the network reads.
    blank = world_columns(np.zeros(2), np.zeros((2, 4)), np.zeros(2, bool), np.zeros(2, bool))
    inputs = whole.examples(rows, columns).inputs(np.full(2, EVENING))
    assert (inputs[:, -blank.shape[1] :] == blank).all()
    # A night that is missing leaves New York, and the other way round.
    for gone, shown in ((slice(0, 1), NEW_YORK), (slice(1, 4), NIGHT)):
        moves = market.world.moves.copy()
        moves[150, gone] = np.nan
        torn = Outlook.of(market.panel(), World(market.world.days, moves))
        first = slice(0, 1)
        np.testing.assert_allclose(
            torn.expected(rows[first], columns[first], BOTH),
            torn.expected(rows[first], columns[first], shown),
        )
        assert np.isfinite(torn.expected(rows[first], columns[first], BOTH)).all()


def test_what_the_world_says_is_learnt_from_the_days_before(whole: Outlook, market: Market) -> None:
    """The ridge finds a market that the world moves, with the right sign and about the right size."""
    rows, columns = np.meshgrid(np.arange(120, 160), np.arange(24), indexing="ij")
    found = whole.answers.both[rows, columns].ravel()
    true = whole.found.scaled[rows, columns].ravel()
    assert np.corrcoef(found, true)[0, 1] > 0.35
    assert 0.5 < (found @ true) / (found @ found) < 1.6
    # Before it has learnt, it says nothing.
    assert np.isnan(whole.answers.both[:60]).all()


def test_a_stock_without_slope_is_given_the_mean_one_s(market: Market) -> None:
    late = market.series[0][130:]
    from stockllm.forecaster.outlook.panel import Panel

    outlook = Outlook.of(Panel.of([late, *market.series[1:]]), market.world)
    rows = np.full(24, 155)
    found = outlook.expected(rows, np.arange(24), BOTH)
    assert np.isfinite(found).all()
    assert abs(found[0] - np.median(found[1:])) < 4 * np.std(found[1:]) + 0.1


def test_a_stock_that_nobody_knows_has_unknown_words(
    whole: Outlook, market: Market, network: Network
) -> None:
    from dataclasses import replace

    from stockllm.forecaster.encoding.windows import open_window
    from stockllm.market.companies import resolve

    series = market.series[0]
    day = series.dates[-1] + timedelta(days=1)
    stranger = open_window(replace(series, code="2330"), resolve("2330"), 9, [day])
    (words,) = whole.words(network, [stranger])
    assert words.lines.shape == (10, 4)
    assert (words.lines == -1).all()
    assert (words.heads == -1).all()


# --- the world before a session ------------------------------------------------------------------

MONDAY = date(2025, 3, 3).toordinal()


def weekdays(first: int, count: int) -> np.ndarray:
    days = [day for day in range(first, first + 3 * count) if date.fromordinal(day).weekday() < 5]
    return np.array(days[:count])


def test_new_york_s_day_is_known_before_the_next_session() -> None:
    days = weekdays(MONDAY, 10)
    closes = np.exp(np.arange(10) / 100.0)
    moves = _new_york_moves(days, closes, days + 1, None)
    # Each session sees the close of the day before: one day's move, two of them over a weekend never.
    assert np.isnan(moves[0])
    np.testing.assert_allclose(moves[1:], 0.01, atol=1e-9)
    # A session is not told of its own day in New York, which begins after it.
    wild = closes.copy()
    wild[-1] = 100.0
    np.testing.assert_allclose(_new_york_moves(days, wild, days, None)[1:], moves[:-1], atol=1e-9)


@pytest.mark.parametrize("missing", [7, 10, 30])
def test_a_gap_in_a_source_is_no_move(missing: int) -> None:
    sessions = weekdays(MONDAY, 60)
    gap = (sessions >= MONDAY + 28) & (sessions < MONDAY + 28 + missing)
    dates, closes = sessions[~gap], np.exp(np.cumsum(np.full((~gap).sum(), 0.01)))
    moves = _new_york_moves(dates, closes, sessions, None)
    known = moves[np.isfinite(moves)]
    # No jump over the gap, and once it is noticed no standstill either.
    assert known.max() <= 0.01 + 1e-9
    inside = (sessions > MONDAY + 28 + 6) & (sessions <= MONDAY + 28 + missing)
    assert np.isnan(moves[inside]).all()
    assert np.isfinite(moves[-5:]).all()


def test_a_close_that_has_not_come_in_is_unknown_and_no_standstill() -> None:
    sessions = weekdays(MONDAY, 10)
    closes = np.exp(np.cumsum(np.full(8, 0.01)))
    # The source ends before New York's last day: nobody knows the last moves.
    moves = _new_york_moves(sessions[:8], closes, sessions, None)
    assert np.isfinite(moves[2:9]).all()
    assert np.isnan(moves[9])


def test_a_session_still_running_is_unknown_however_its_bar_is_stamped() -> None:
    sessions = weekdays(MONDAY, 10)
    closes = np.exp(np.cumsum(np.full(10, 0.01)))
    over = new_york_close(date.fromordinal(int(sessions[8])))
    for until, known in ((over, True), (over - timedelta(minutes=1), False)):
        moves = _new_york_moves(sessions, closes, sessions, until)
        assert np.isfinite(moves[9]) == known
        assert np.isfinite(moves[8])


def test_nights_are_the_sessions_they_are_dated_by() -> None:
    sessions = weekdays(MONDAY, 5)
    moves = _night_moves(sessions[[0, 2, 3]], np.array([1.0, -2.0, 3.0]), sessions)
    np.testing.assert_allclose(moves[[0, 2, 3]], np.log1p([0.01, -0.02, 0.03]))
    assert np.isnan(moves[[1, 4]]).all()
    assert np.isnan(_night_moves(sessions[:0], np.zeros(0), sessions)).all()


@settings(max_examples=30)
@given(
    values=st.lists(st.floats(-0.2, 0.2) | st.just(float("nan")), min_size=30, max_size=80), data=st.data()
)
def test_a_move_is_scaled_by_those_before_it(values: list[float], data: Any) -> None:
    moves = np.array(values)
    cut = data.draw(st.integers(1, len(moves)))
    other = moves.copy()
    other[cut:] = data.draw(st.floats(-0.2, 0.2))
    np.testing.assert_array_equal(_scaled(moves)[:cut], _scaled(other)[:cut])
    assert np.isnan(_scaled(moves)[np.isnan(moves)]).all()
    assert np.nanmax(np.abs(_scaled(np.append(moves, [0.1] * 30)))) <= 6
