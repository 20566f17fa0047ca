"""``stockllm align``: the document, the table, and a sentence for every refusal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.evaluation.scoring import score_due
from stockllm.forecaster.forecast import forecast

Run = Callable[..., Any]
QUICK = ("--method", "dpo", "--max-steps", "1", "--batch-size", "2", "--margin", "0.1")


@pytest.fixture
def scored_home(simulated_home: Home, small_market: SimulatedMarket) -> Home:
    """Forecasts of two companies on three evenings, scored."""
    with Store.open(simulated_home) as store:
        for day in small_market.sessions[-25:-16:3]:
            forecast(store, ["2330", "2317"], model="llama", as_of=day, paths=8, horizon=2, today=day)
        score_due(store)
    return simulated_home


def test_align_forecast_and_compare(
    scored_home: Home, document: Run, run: Run, small_market: SimulatedMarket
) -> None:
    days = small_market.sessions
    period = f"{days[-4]}:{days[-1]}"
    found = document(
        "align", *QUICK, "--name", "mine", "--evaluate", period, "--codes", "2330,鴻海", "--horizon", "1",
        "--paths", 4, "--json",
    )  # fmt: skip
    assert found["model"] == "llama+mine"
    assert date.fromisoformat(found["learned_to"]) < days[-4]
    assert found["evaluation"]["windows"] == 8
    assert set(found["evaluation"]["format"]) == {"llama", "llama+mine"}
    assert found["simulated"] is True
    shown = run(
        "align", *QUICK, "--evaluate", period, "--codes", "2330", "--horizon", "1", "--paths", 4,
        "--name", "other",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.stderr
    assert "SIMULATED" in shown.stdout
    lines = shown.stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("before", "after"))] == [
        ["before", "1"], ["after", "1"],
    ]  # fmt: skip
    assert lines[-1].startswith("Next: stockllm forecast 2330 --model llama+other")


@pytest.mark.parametrize(
    ("more", "what", "code"),
    [
        (("--method", "ppo"), "--method 'ppo'", 2),
        (("--beta", "-1"), "--beta", 2),
        (("--method", "orpo", "--reference", "base"), "no reference", 2),
        (("--reference", "friend"), "start or base", 2),
        (("--prompt", "xml"), "no prompt style", 2),
        (("--until", "soon"), "no date", 2),
        (("--codes", "nobody"), "nobody", 2),
        (("--model", "ewma"), "no weights", 2),
        (("--model", "gpt"), "no model 'gpt'", 1),
        (("--evaluate", "2026-03-01"), "no period", 2),
        (("--method", "reward", "--evaluate", "2026-03-01:2026-03-31"), "forecasts nothing", 2),
        (("--method", "grpo", "--reward-model", "nobody"), "ledger is empty", 1),
        ((), "ledger is empty", 1),
    ],
)
def test_refusals(simulated_home: Home, refused: Run, more: tuple[str, ...], what: str, code: int) -> None:
    assert what in refused("align", *QUICK, *more, code=code)
    assert not list(simulated_home.adapters.iterdir())


def test_a_period_that_was_read_is_refused_before_training(
    scored_home: Home, refused: Run, small_market: SimulatedMarket
) -> None:
    early, last = small_market.sessions[-20], small_market.sessions[-1]
    assert "are no test" in refused("align", *QUICK, "--evaluate", f"{early}:{last}")
    assert not list(scored_home.adapters.iterdir())
