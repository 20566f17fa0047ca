"""Stocks in another time's market: what is theirs stays, every day remains a day that can trade."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import BOUND, WARM_UP, encode
from stockllm.forecaster.pretraining.batches import Batches
from stockllm.forecaster.pretraining.recipe import Recipe
from stockllm.forecaster.pretraining.transplant import LEAD, Factor, Host, ordinals

Walk = Callable[..., BarSeries]


def market_of(count: int, days: int = 200, sigma: float = 0.0) -> list[BarSeries]:
    """Stocks that all make the market's moves, and ``sigma`` of their own."""
    rng = np.random.default_rng(5)
    moves = rng.normal(0, 0.01, days)
    made = []
    for number in range(count):
        close = 100 * np.exp(np.cumsum(moves + rng.normal(0, sigma, days) if sigma else moves))
        reference = np.concatenate([[100.0], close[:-1]])
        opened = reference * np.exp(moves / 2)
        high, low = np.maximum(opened, close), np.minimum(opened, close)
        volume = np.full(days, 1e6)
        made.append(BarSeries(str(2000 + number), _dates(days), opened, high, low, close, volume, reference))
    return made


def _dates(days: int) -> Any:
    from datetime import date, timedelta

    return tuple(date(2025, 1, 1) + timedelta(days=n) for n in range(days))


def test_the_factor_is_the_mean_of_those_that_traded() -> None:
    stocks = market_of(6, sigma=0.01)
    factor = Factor.of([*stocks[:4], stocks[4], stocks[5][100:]])
    assert factor.days.tolist() == ordinals(stocks[0])[1:].tolist()
    expected = np.mean([np.log(s.close / s.reference)[150] for s in stocks])
    assert factor.moves[149, 1] == pytest.approx(expected)
    assert factor.on(np.array([1, int(factor.days[7])]))[:, 1].tolist() == [0.0, factor.moves[7, 1]]
    few = Factor.of(stocks[:4])
    assert len(few.days) == 0
    assert few.on(np.array([5])).tolist() == [[0.0, 0.0]]


def test_its_own_market_changes_nothing(walk: Walk) -> None:
    others = [replace(walk(seed, days=200), code=str(seed)) for seed in range(6)]
    stock, factor = others[0], Factor.of(others)
    host = Host(stock, factor)
    market = factor.on(ordinals(stock))
    there = host.window(60, 80, market[WARM_UP + 60 - LEAD : WARM_UP + 140])
    here = encode(stock[WARM_UP : WARM_UP + 140])[60:]
    # Up to the tick: on a low day's grid a move may round by one.
    assert (np.abs(there.steps - here.steps) <= 3).mean() > 0.97
    assert (there.buckets == here.buckets).mean() > 0.97


def test_a_stock_that_is_the_market_becomes_the_other_market() -> None:
    stocks = market_of(6)
    factor = Factor.of(stocks)
    host = Host(stocks[0], factor)
    assert host.beta == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    other = np.repeat(rng.normal(0, 0.02, (LEAD + 50, 1)), 2, axis=1)
    days = host.window(70, 50, other)
    moves = days.steps[:, 3] * days.sigma[:-1] / 8
    assert np.abs(moves - other[LEAD:, 1]).max() < 0.006
    assert np.corrcoef(moves, other[LEAD:, 1])[0, 1] > 0.99


@given(seed=st.integers(0, 200), first=st.integers(0, 60), scale=st.floats(0.0, 0.2))
def test_every_day_stays_one_that_can_trade(walk: Walk, seed: int, first: int, scale: float) -> None:
    others = [replace(walk(seed + k, days=160), code=str(k)) for k in range(5)]
    host = Host(others[0], Factor.of(others))
    rng = np.random.default_rng(seed)
    days = host.window(first, 60, rng.normal(0, scale, (LEAD + 60, 2)))
    assert len(days.buckets) == 60
    opened, high, low, close = days.steps.T
    assert (low <= np.minimum(opened, close)).all()
    assert (np.maximum(opened, close) <= high).all()
    assert (np.abs(days.steps) <= BOUND).all()
    assert np.isfinite(days.sigma).all()


def test_batches_take_their_share_of_transplants(embedded_tokenizer: Any, walk: Walk) -> None:
    recent = [replace(walk(seed, days=100), code=str(seed)) for seed in range(6)]
    older = [replace(walk(seed, days=400), code=str(seed)) for seed in range(10, 16)]
    recipe = Recipe(batch_tokens=400, longest_past=30, reference_share=0.0, mirror_share=0.0)

    def drawn(share: float) -> set[tuple[int, ...]]:
        supply = Batches(recent, older, embedded_tokenizer, replace(recipe, transplant_share=share))
        return {tuple(days) for _ in range(15) for days in supply.batch()}

    assert drawn(1.0)
    assert not drawn(1.0) & drawn(0.0)
    assert drawn(0.0) == drawn(0.0)
    # Too few stocks to speak of a market: there is nothing to exchange, and it goes on without.
    alone = Batches(recent[:2], [], embedded_tokenizer, replace(recipe, transplant_share=1.0))
    assert alone.batch()
