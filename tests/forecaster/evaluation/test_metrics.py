"""Scores against brute force, closed forms and what they say of made-up forecasters."""

from __future__ import annotations

from datetime import date
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from scipy import stats

from stockllm.forecaster.evaluation import metrics

numbers = st.floats(-0.5, 0.5).map(lambda x: round(x, 4))


def ensembles() -> st.SearchStrategy[np.ndarray]:
    return st.integers(2, 12).flatmap(lambda m: hn.arrays(np.float64, (3, m), elements=numbers))


@given(ensembles(), hn.arrays(np.float64, 3, elements=numbers))
def test_fair_crps_is_its_definition(samples: np.ndarray, actual: np.ndarray) -> None:
    for row, happened, score in zip(samples, actual, metrics.fair_crps(samples, actual), strict=True):
        count = len(row)
        apart = sum(abs(a - b) for a, b in product(row, row)) / (2 * count * (count - 1))
        assert score == pytest.approx(np.abs(row - happened).mean() - apart, abs=1e-12)


@pytest.mark.parametrize("paths", [2, 5, 99])
def test_fair_crps_of_a_normal_is_the_closed_form_whatever_the_number_of_paths(paths: int) -> None:
    rng = np.random.default_rng(1)
    count, at, sigma = 20_000, 0.7, 1.3
    scores = metrics.fair_crps(rng.normal(0, sigma, (count, paths)), np.full(count, at))
    z = at / sigma
    # Gneiting and Raftery 2007, equation 5 (CRPS of a normal), with the sign of a loss.
    closed = sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert scores.mean() == pytest.approx(closed, abs=4 * scores.std() / np.sqrt(count))


def test_one_path_has_no_fair_crps() -> None:
    with pytest.raises(ValueError, match="two paths"):
        metrics.fair_crps(np.zeros((1, 1)), np.zeros(1))


def test_with_99_paths_every_level_is_one_paths_value() -> None:
    samples = np.random.default_rng(2).permutation(np.arange(1.0, 100.0))[None]
    levels = (0.05, 0.10, 0.5, 0.9, 0.95)
    assert metrics.quantiles(samples, levels)[:, 0] == pytest.approx([5, 10, 50, 90, 95])
    low, high = metrics.intervals(samples)
    assert np.stack([low, high])[:, :2, 0] == pytest.approx(np.array([[25, 10], [75, 90]]))


@given(ensembles(), hn.arrays(np.float64, 3, elements=numbers))
def test_pinball_is_its_definition(samples: np.ndarray, actual: np.ndarray) -> None:
    table = metrics.quantiles(samples, metrics.PINBALL_LEVELS)
    for i, happened in enumerate(actual):
        losses = [
            (happened - q) * level if happened >= q else (q - happened) * (1 - level)
            for level, q in zip(metrics.PINBALL_LEVELS, table[:, i], strict=True)
        ]
        assert metrics.pinball(samples, actual)[i] == pytest.approx(np.mean(losses), abs=1e-12)


def test_a_true_forecaster_is_covered_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    samples, actual = rng.normal(size=(20_000, 99)), rng.normal(size=20_000)
    assert metrics.inside(samples, actual).mean(axis=1) == pytest.approx([0.50, 0.80, 0.95], abs=0.01)
    ranks = metrics.pit(samples, actual)
    assert stats.kstest(ranks, "uniform").statistic < 0.015
    assert 0 < ranks.min() < ranks.max() < 1


def test_the_ends_of_an_interval_belong_to_it_and_rounding_does_not_matter() -> None:
    samples = np.arange(1.0, 100.0)[None] / 100
    for at, within in ((0.10, True), (0.10 - 1e-13, True), (0.0999, False), (0.90 + 1e-13, True)):
        assert metrics.inside(samples, np.array([at]))[1, 0] == within
    assert metrics.pit(np.zeros((1, 99)), np.array([1e-12]))[0] == 0.5


def test_direction_judges_calls_alone() -> None:
    samples = np.array([[0.1, 0.2, -0.1], [-0.1, -0.2, 0.0], [0.1, -0.1, 0.0], [0.1, 0.1, 0.1]])
    balance = metrics.tendency(samples)
    assert balance == pytest.approx([1 / 3, -2 / 3, 0, 1])
    # Right, wrong, no call, and a price that stood still.
    assert metrics.direction(balance, np.array([0.05, 0.05, 0.05, 0.0])) == (1, 2)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # statsmodels' proportion_confint(method="wilson") gives these.
    [(52, 100, 0.4231658, 0.6153545), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert metrics.wilson(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_wilson_of_nothing() -> None:
    assert metrics.wilson(0, 0) is None


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share(counts: tuple[int, int]) -> None:
    between = metrics.wilson(*counts)
    assert between is not None
    assert 0 <= between[0] <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= between[1] <= 1


def test_rank_ic_is_the_mean_of_the_dates_spearmans() -> None:
    rng = np.random.default_rng(4)
    dates = np.repeat([1, 2, 3, 4], [20, 30, 3, 10])
    forecast, actual = rng.normal(size=63).round(1), rng.normal(size=63).round(1)
    forecast[53:] = 0.0  # the last date: no opinion; the third: too few stocks
    expected = [stats.spearmanr(forecast[dates == d], actual[dates == d]).statistic for d in (1, 2)]
    assert metrics.rank_ic(forecast, actual, dates) == pytest.approx(np.mean(expected))
    assert metrics.rank_ic(np.zeros(63), actual, dates) is None


def test_by_date() -> None:
    days, means = metrics.by_date(np.array([1.0, 5.0, 3.0]), np.array([9, 2, 9]))
    assert (days.tolist(), means.tolist()) == ([2, 9], [5.0, 2.0])


@pytest.mark.parametrize(("horizon", "stride", "shared"), [(1, 1, 0), (5, 1, 4), (5, 5, 0), (20, 5, 3)])
def test_overlap_counts_the_evenings_before_a_forecast_ends(horizon: int, stride: int, shared: int) -> None:
    first = date(2026, 1, 5).toordinal()
    origins = np.arange(first, first + 60, stride)
    assert metrics.overlap(origins, origins + horizon) == shared


def overlapping(rng: np.random.Generator, dates: int, days: int) -> np.ndarray:
    noise = rng.normal(size=dates + days - 1)
    return np.convolve(noise, np.ones(days), "valid") / np.sqrt(days)


@pytest.mark.parametrize(("dates", "days", "most"), [(60, 1, 0.065), (60, 5, 0.13), (60, 20, 0.10)])
def test_diebold_mariano_seldom_finds_what_is_not_there(dates: int, days: int, most: float) -> None:
    rng = np.random.default_rng(5)
    found = [metrics.diebold_mariano(overlapping(rng, dates, days), days - 1) for _ in range(1500)]
    share = np.mean([p is not None and p < 0.05 for p in found])
    assert 0.02 < share < most


@pytest.mark.parametrize(("dates", "days", "least"), [(60, 1, 0.9), (240, 5, 0.9)])
def test_diebold_mariano_finds_what_is_there(dates: int, days: int, least: float) -> None:
    rng = np.random.default_rng(6)
    shift = 4 * np.sqrt(days / dates)  # four standard errors of the mean
    found = [metrics.diebold_mariano(overlapping(rng, dates, days) + shift, days - 1) for _ in range(300)]
    assert np.mean([p is not None and p < 0.05 for p in found]) > least


def test_diebold_mariano_without_overlap_is_the_t_test() -> None:
    values = np.random.default_rng(7).normal(0.2, 1, 30)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert metrics.diebold_mariano(values, 0) == pytest.approx(expected)
    assert metrics.diebold_mariano(-values, 0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "shared"),
    [(np.ones(4), 0), (np.zeros(40), 0), (np.random.default_rng(8).normal(size=36), 19)],
    ids=["few", "equal", "overlapping"],
)
def test_diebold_mariano_says_nothing_where_the_data_cannot_tell(values: np.ndarray, shared: int) -> None:
    assert metrics.diebold_mariano(values, shared) is None


@settings(max_examples=50)
@given(hn.arrays(np.float64, st.integers(1, 60), elements=numbers), st.integers(0, 30))
def test_diebold_mariano_is_a_probability_or_nothing(values: np.ndarray, shared: int) -> None:
    p = metrics.diebold_mariano(values, shared)
    assert p is None or 0 <= p <= 1
