"""Baselines that know the world: their paths have the quantiles that they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from worlds import Market, make_market, make_network

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import encode
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.outlook.network import HORIZONS, LEVELS
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.sampling.informed import _RANKS, NetworkSampler, WorldWalk, follow
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve

Walk = Callable[..., BarSeries]


def asked(series: BarSeries, horizon: int) -> Window:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, resolve("2330"), 20, dates)


def ends(window: Window, prices: np.ndarray, day: int) -> np.ndarray:
    """Moves to the close of the ``day``-th day, in sigmas over the root of days."""
    sigma = encode(window.history).sigma[-1]
    last = float(window.history.close[-1]) * 100
    return np.log(prices[:, day - 1, 3] / last) / sigma / day**0.5


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_paths_have_the_quantiles_they_are_given(walk: Walk, shift: float) -> None:
    window = asked(walk(2, 60, start=480.0, sigma=0.02, wild=False), 20)
    # Another distribution at each horizon: narrow, askew, wide; none of them the walk's.
    given = np.stack(
        [0.8 * _RANKS + shift, _RANKS + 0.25 * np.maximum(_RANKS, 0) - shift, 1.2 * _RANKS - shift]
    )
    drawn = follow(window, given, paths=4000, seed=1)
    assert drawn.prices.shape == (4000, 20, 4)
    for line, day in zip(given, HORIZONS, strict=True):
        found = np.quantile(ends(window, drawn.prices, day), LEVELS)
        # 4,000 draws leave some 3% of a sigma in the middle and 6% at the ends; a tick is 5%.
        np.testing.assert_allclose(found[4:-4], line[4:-4], atol=0.12)
        np.testing.assert_allclose(found, line, atol=0.25)
    again = follow(window, given, paths=4000, seed=1)
    assert (again.prices == drawn.prices).all()


def test_days_between_the_horizons_lie_between(walk: Walk) -> None:
    window = asked(walk(2, 60, start=480.0, sigma=0.01, wild=False), 5)
    given = np.stack([_RANKS, 0.5 * _RANKS, 0.5 * _RANKS])
    drawn = follow(window, given, paths=3000, seed=1)
    spreads = [float(ends(window, drawn.prices, day).std()) for day in range(1, 6)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] == pytest.approx(1.0, abs=0.08)
    assert spreads[4] == pytest.approx(0.5, abs=0.05)


@pytest.fixture(scope="module")
def world() -> tuple[Market, Outlook]:
    market = make_market(days=130)
    known = market.known(121)
    known.moves[120] = 1.5  # a loud night before the first session ahead
    return market, Outlook.of(market.panel(120), known)


def first_session(market: Market, code: str, horizon: int = 2) -> Window:
    """The window of the first session that the outlook does not have, named as one of its stocks."""
    series = market.series[0]
    return replace(
        open_window(series[:120], resolve("2330"), 20, series.dates[120 : 120 + horizon]), code=code
    )


def test_the_world_moves_the_first_day_alone(world: tuple[Market, Outlook]) -> None:
    market, outlook = world
    window = first_session(market, "3000", horizon=3)
    calm, moved = (
        WorldWalk(outlook, moment).sample([window], paths=500, seed=1)[0].prices
        for moment in ("evening", "morning")
    )
    row, column = np.array([120]), np.array([0])
    expected = float(outlook.answers.both[row, column][0])
    assert expected > 0.3
    for day in (1, 2, 3):
        off = np.median(ends(window, moved, day) - ends(window, calm, day)) * day**0.5
        assert off == pytest.approx(expected, abs=0.1)


def test_where_nothing_is_known_they_are_naive(world: tuple[Market, Outlook]) -> None:
    market, outlook = world
    network = make_network()
    sampler = NetworkSampler(outlook, "morning", 0, network=network)
    known, stranger = first_session(market, "3000"), first_session(market, "9999")
    later = replace(known, future_dates=market.series[0].dates[125:127])
    assert sampler.hash == network.digest
    found = sampler.quantiles([known, stranger, later])
    assert np.abs(found[0] - _RANKS).max() > 0.1
    np.testing.assert_array_equal(found[1:], np.broadcast_to(_RANKS, (2, 3, 40)))
    walk = WorldWalk(outlook, "morning")
    for window in (stranger, later):
        (unmoved,) = WorldWalk(outlook, "evening").sample([window], paths=4, seed=1)
        (same,) = walk.sample([window], paths=4, seed=1)
        assert (unmoved.prices == same.prices).all()


def test_a_window_is_sampled_alike_in_any_company(world: tuple[Market, Outlook]) -> None:
    market, outlook = world
    windows = [first_session(market, code) for code in ("3000", "3004", "3010")]
    for sampler in (
        WorldWalk(outlook, "morning"), NetworkSampler(outlook, "morning", 0, network=make_network()),
    ):  # fmt: skip
        told: list[int] = []
        together = sampler.sample(windows, paths=6, seed=3, progress=told.append)
        assert told == [1, 2, 3]
        for window, drawn in zip(windows, together, strict=True):
            (alone,) = sampler.sample([window], paths=6, seed=3)
            assert (alone.prices == drawn.prices).all()
