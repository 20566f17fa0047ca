"""The small networks: what they may read, that they learn, and that they sample valid candles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from stockllm.data.errors import NotEnoughHistory
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.evaluation.evaluate import failures
from stockllm.forecaster.sampling import neural
from stockllm.forecaster.sampling.neural import AHEAD, LOOK_BACK, Examples, NeuralSampler, gather, train
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import Company

Walk = Callable[..., BarSeries]
KINDS = ("lstm", "cnn")


@pytest.fixture(scope="module")
def market(walk: Walk) -> list[BarSeries]:
    return [replace(walk(seed, 150), code=code) for seed, code in enumerate(("2317", "2330", "2412"))]


def window(series: BarSeries, horizon: int) -> Window:
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(series, Company.bare(series.code), 20, dates)


def poisoned(series: BarSeries, after: int) -> BarSeries:
    """The series with other highs, closes and volumes on every day past number ``after``."""
    factor = np.where(np.arange(len(series)) > after, 1.05, 1.0)
    return replace(
        series, high=series.high * factor, close=series.close * factor, volume=series.volume * factor
    )


def test_it_is_taught_nothing_after_the_given_day(market: list[BarSeries]) -> None:
    until = market[0].dates[119]
    clean = NeuralSampler.on("cnn", market, until)
    assert NeuralSampler.on("cnn", [poisoned(s, 119) for s in market], until).hash == clean.hash
    assert NeuralSampler.on("cnn", [s.until(until) for s in reversed(market)], until).hash == clean.hash
    assert NeuralSampler.on("cnn", [poisoned(s, 118) for s in market], until).hash != clean.hash
    assert NeuralSampler.on("lstm", market, until).hash != clean.hash
    assert clean.examples.days.max() == until.toordinal()


def test_examples_are_the_days_they_say(market: list[BarSeries]) -> None:
    series = market[0]
    examples = gather([series] * 3, series.dates[-1])
    first = 21  # the first origin past the warm-up
    sigma = neural.encode(series).sigma[first + 1]
    moves = np.log(series.close / series.reference)[first + 1 : first + 1 + AHEAD]
    assert examples.moves[0] == pytest.approx(moves / sigma, rel=1e-5)
    assert examples.inputs.shape[1:] == (LOOK_BACK, neural.FEATURES)
    days = [series.dates[first + 1].toordinal(), series.dates[first + AHEAD].toordinal()]
    assert examples.days[0].tolist() == days


def test_validation_days_come_after_every_day_learnt_from(market: list[BarSeries]) -> None:
    examples = gather(market, market[0].dates[-1])
    learn, check = neural._split(examples)
    assert len(learn) >= neural.BATCH / 2
    if not np.array_equal(learn, check):
        assert examples.days[learn, 1].max() < examples.days[check, 0].min()


def made_up(count: int = 3000) -> Examples:
    """Windows whose last close decides the next day: it goes on the same way."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(count, LOOK_BACK, neural.FEATURES)).astype(np.float32)
    moves = rng.normal(0, 0.5, (count, AHEAD)).astype(np.float32)
    moves[:, 0] += 1.5 * np.sign(inputs[:, -1, 3])
    days = np.stack([np.arange(count) // 10, np.arange(count) // 10 + 5], axis=1)
    return Examples(inputs, moves, days)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_is_there_to_learn(kind: Any) -> None:
    import torch

    examples = made_up()
    network = train(kind, examples, steps=250 if kind == "lstm" else 500)
    with torch.inference_mode():
        centre = network(torch.from_numpy(examples.inputs))[:, 0, 0].numpy()
    assert np.corrcoef(centre, np.sign(examples.inputs[:, -1, 3]))[0, 1] > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_repeatable_and_leaves_torch_as_it_was(kind: Any) -> None:
    import torch

    examples = made_up(800)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    networks = [train(kind, examples, steps=30) for _ in range(2)]
    pairs = zip(*(network.parameters() for network in networks), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_valid_seeded_and_as_long_as_asked(
    market: list[BarSeries], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural, "STEPS", 40)
    monkeypatch.setattr(neural, "_networks", {})
    sampler = NeuralSampler.on(kind, market, market[0].dates[-1])
    windows = [window(series, 25) for series in market]
    told: list[int] = []
    drawn = sampler.sample(windows, paths=9, seed=1, progress=told.append)
    assert told == [1, 2, 3]
    for asked, paths in zip(windows, drawn, strict=True):
        assert paths.prices.shape == (9, 25, 4)
        assert failures(paths.prices, round(asked.history.close[-1] * 100)) == 0
    alone = sampler.sample(windows[1:2], paths=9, seed=1)[0]
    assert (alone.prices == drawn[1].prices).all()
    assert (sampler.sample(windows[1:2], paths=9, seed=2)[0].prices != alone.prices).any()
    # What comes after the origin cannot reach it, even where the caller's arrays hold it.
    longer = window(poisoned(market[1], 100)[:101], 25)
    clean = window(market[1][:101], 25)
    assert (
        sampler.sample([longer], paths=9, seed=1)[0].prices
        == sampler.sample([clean], paths=9, seed=1)[0].prices
    ).all()


def test_too_little_to_learn_from(market: list[BarSeries]) -> None:
    with pytest.raises(NotEnoughHistory, match="there are 0 up to 2024-01-01"):
        gather(market, market[0].dates[0].replace(year=2024, day=1))
    with pytest.raises(NotEnoughHistory, match="needs 200 windows"):
        gather(market[:1], market[0].dates[-1] + timedelta(1))


def test_of_a_large_market_a_fixed_part_is_drawn(
    market: list[BarSeries], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural, "MOST_WINDOWS", 250)
    examples = gather(market, market[0].dates[-1])
    assert len(examples.inputs) == 250
    assert examples.digest == gather(market, market[0].dates[-1]).digest
