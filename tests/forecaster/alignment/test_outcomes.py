"""Outcomes and pairs: scored against what came, with nothing of what came later."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.forecaster.alignment.options import AlignOptions
from stockllm.forecaster.alignment.outcomes import (
    Outcomes,
    contributions,
    distance,
    gather,
    later,
    pairs,
    said,
)
from stockllm.forecaster.alignment.reward import NO_CANDLES, OutcomeReward
from stockllm.forecaster.encoding.answers import Reader
from stockllm.forecaster.evaluation import metrics
from stockllm.forecaster.evaluation.scoring import score_due
from stockllm.forecaster.forecast import forecast
from stockllm.forecaster.models.registry import resolve_model

CODES = ("2330", "2317")
OPTIONS = AlignOptions("dpo", model="ewma")
numbers = st.floats(-0.5, 0.5, allow_subnormal=False)


def freeze(store: Store, every: list[date], model: str = "ewma", paths: int = 12, horizon: int = 3) -> None:
    for day in every:
        forecast(store, CODES, model=model, as_of=day, paths=paths, horizon=horizon, today=day)


def evenings(store: Store, count: int = 4, last: int = -20) -> list[date]:
    return store.bars.days("2330")[last - count * 3 : last : 3]


def outcomes(store: Store, options: AlignOptions = OPTIONS) -> Outcomes:
    return gather(store, options, resolve_model(options.model, store.home))


@given(arrays(np.float64, st.tuples(st.integers(2, 9), st.just(1)), elements=numbers), numbers)
def test_one_day_is_crps_in_usual_moves(returns: np.ndarray, actual: float) -> None:
    usual, came = np.array([0.02]), np.array([actual])
    own = distance(returns, came, usual)
    # Both terms of the score: the mean distance, less half of what the contributions took off it.
    score = own.mean() - (own - contributions(returns, came, usual)).mean() / 2
    assert score == pytest.approx(metrics.fair_crps(returns.T, came)[0] / 0.02, abs=1e-9)


@given(arrays(np.float64, (6, 3), elements=numbers), arrays(np.float64, (3,), elements=numbers))
def test_a_contribution_is_the_derivative_of_the_score(returns: np.ndarray, actual: np.ndarray) -> None:
    """A little more of path i moves the energy score by its contribution, up to what is common to all."""
    usual = np.array([0.02, 0.03, 0.04])
    own = distance(returns, actual, usual)
    between = distance(returns[:, None], returns[None], usual)

    def score(weights: np.ndarray) -> float:
        return float(weights @ own - weights @ between @ weights / 2 * 6 / 5)

    even, small = np.full(6, 1 / 6), 1e-6
    slopes = [(score(even + small * np.eye(6)[i]) - score(even)) / small for i in range(6)]
    assert slopes == pytest.approx(contributions(returns, actual, usual).tolist(), abs=1e-3)


def test_the_nearest_path_is_chosen_and_a_far_one_rejected(filled_home: Home) -> None:
    with Store.open(filled_home) as store:
        freeze(store, evenings(store))
        score_due(store)
        found = outcomes(store).found
        made, without = pairs(found, 0.5, 2, 7)
        series = {code: store.bars.series(code) for code in CODES}
    assert len(found) == 8
    assert made
    assert without == 8 - len({pair.forecast for pair in made})
    for outcome in found:
        its = series[outcome.window.code]
        origin = its.dates.index(outcome.forecast.as_of)
        came = np.log(its.close[origin + 1 : origin + 4] / its.close[origin])
        assert outcome.actual == pytest.approx(came)
        nearest = int(np.argmin((((outcome.returns - came) / outcome.usual) ** 2).sum(axis=1)))
        mine = [pair for pair in made if pair.forecast == outcome.id]
        assert len(mine) <= 2
        assert all(pair.chosen == said(outcome, nearest) for pair in mine)
        assert all(pair.margin >= 0.5 and pair.rejected.prompt == pair.chosen.prompt for pair in mine)
        assert all(pair.rejected.completion != pair.chosen.completion for pair in mine)
    assert made == pairs(found, 0.5, 2, 7)[0]
    assert not pairs(found, 99, 2, 7)[0]


def test_nothing_after_the_last_day_is_read(filled_home: Home, tmp_path: Path) -> None:
    """With every bar after ``until`` another, and none of the scores after it, the pairs are the same."""
    other = Home(tmp_path / "other")
    with Store.open(filled_home) as store, Store.open(other) as changed:
        days = store.bars.days("2330")
        until = days[-25]
        changed.set_simulated(True)
        for code in CODES:
            changed.bars.put(
                bar if bar.date <= until else Bar(code, bar.date, 900, 1000, 800, 950, 7, "test")
                for bar in store.bars.bars(code)
            )
        found = []
        for each in (store, changed):
            freeze(each, [*evenings(each, 4, -32), *days[-29:-23]])
            score_due(each)
            options = AlignOptions("dpo", model="ewma", until=until)
            result = outcomes(each, options)
            assert result.waiting > 0
            assert result.last_day <= until
            found.append(pairs(result.found, 0.2, 3, 1)[0])
    assert found[0] == found[1]
    assert found[0]


def test_what_is_not_scored_or_was_made_of_other_bars_is_left_out(filled_home: Home) -> None:
    with Store.open(filled_home) as store:
        every = evenings(store, 3)
        freeze(store, every)
        freeze(store, every[:1], paths=1)
        freeze(store, store.bars.days("2330")[-2:-1])
        with pytest.raises(NotEnoughHistory, match="10 wait for days or scores") as caught:
            outcomes(store)
        assert caught.value.zh
        score_due(store)
        whole = outcomes(store)
        assert (whole.entries, len(whole.found), whole.waiting, whole.single) == (10, 6, 2, 2)
        assert outcomes(store, AlignOptions("dpo", model="ewma", codes=("2317",))).entries == 5
        assert outcomes(store, AlignOptions("dpo", model="ewma", since=every[1])).entries == 6
        first = store.bars.bars("2330")[5]
        store.bars.put(
            [Bar("2330", first.date, first.open, first.high, first.low, first.low, 1, "corrected")]
        )
        assert outcomes(store).changed == 3


def test_the_later_evenings_are_kept_apart(filled_home: Home) -> None:
    """No pair that is learned from knows a day after the first evening that is asked about later."""
    with Store.open(filled_home) as store:
        freeze(store, store.bars.days("2330")[-40:-20:2])
        score_due(store)
        made, _ = pairs(outcomes(store).found, 0.1, 1, 1)
    before, after = later(made)
    assert before
    assert {pair.origin for pair in after} == set(sorted({pair.origin for pair in made})[-2:])
    assert max(pair.last for pair in before) <= min(pair.origin for pair in after)
    assert len(before) + len(after) < len(made)
    assert later(made[:1]) == (made[:1], [])


def test_an_empty_ledger_says_so(filled_home: Home) -> None:
    with Store.open(filled_home) as store:
        with pytest.raises(NotEnoughHistory, match="The ledger is empty") as caught:
            outcomes(store)
        assert "帳本是空的" in caught.value.zh
        freeze(store, evenings(store, 1))
        score_due(store)
        with pytest.raises(NotEnoughHistory, match="0 forecasts of llama "):
            outcomes(store, AlignOptions("dpo"))
        assert outcomes(store, AlignOptions("dpo", entries="all")).entries == 2


def test_a_path_reads_as_the_model_would_have_said_it(filled_home: Home, tiny_model: Path) -> None:
    """The text of a sampled path gives the very prices back."""
    with Store.open(filled_home) as store:
        freeze(store, evenings(store, 1), model=str(tiny_model), paths=6)
        score_due(store)
        found = outcomes(store, AlignOptions("dpo", model=str(tiny_model))).found
    assert found
    for outcome in found:
        reader = Reader(outcome.window, "compact")
        for path in range(6):
            answer = reader.read(said(outcome, path).completion[0]["content"])
            assert answer.exact
            np.testing.assert_array_equal(answer.prices, outcome.forecast.prices[path])


def test_reward_is_the_negative_contribution(filled_home: Home) -> None:
    with Store.open(filled_home) as store:
        freeze(store, evenings(store, 1))
        score_due(store)
        first, second = outcomes(store).found
    reward = OutcomeReward([first, second], "compact")
    texts = [said(first, path).completion for path in range(4)]
    reader = Reader(first.window, "compact")
    read = np.stack(
        [np.log(reader.read(t[0]["content"]).prices[:, 3] / first.forecast.last_close) for t in texts]
    )
    nonsense = [{"role": "assistant", "content": "up, surely"}]
    order = [texts[0], nonsense, texts[1], texts[2], nonsense, texts[3]]
    ids = [first.id, second.id, first.id, first.id, first.id, first.id]
    found = reward(completions=order, outcome=ids, prompts=[], log_metric=None)
    expected = -contributions(read, first.actual, first.usual)
    assert [found[i] for i in (0, 2, 3, 5)] == pytest.approx(expected.tolist())
    assert found[1] == NO_CANDLES
    assert found[4] < min(found[i] for i in (0, 2, 3, 5))
    assert (reward.read, reward.failed) == (6, 2)
    form = OutcomeReward([first, second], "compact", format_alone=True)
    assert form(completions=order, outcome=ids) == [0, NO_CANDLES, 0, 0, NO_CANDLES, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "ppo"},
        {"entries": "mine"},
        {"reference": "friend"},
        {"method": "orpo", "reference": "base"},
        {"method": "reward", "beta": 0.1},
        {"method": "dpo", "reward_model": "x"},
        {"method": "kto", "batch_size": 1},
        {"beta": -1.0},
        {"beta": float("nan")},
        {"margin": -0.1},
        {"generations": 1},
        {"max_steps": 0},
        {"learning_rate": 0.0},
        {"name": "../elsewhere"},
        {"since": date(2026, 2, 2), "until": date(2026, 1, 2)},
    ],
)
def test_one_sentence_for_each_wrong_option(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        AlignOptions(**({"method": "dpo"} | wrong))  # type: ignore[arg-type]
    assert caught.value.zh
    assert "\n" not in str(caught.value)


def test_document_is_of_json_values() -> None:
    given_day = date(2026, 1, 2)
    document = AlignOptions("grpo", until=given_day, codes=("2330",)).document()
    assert document["until"] == "2026-01-02"
    assert (document["beta"], document["reference"]) == (0.04, "start")
    assert AlignOptions("grpo", until=given_day + timedelta(1)).document() != document
