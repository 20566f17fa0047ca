"""``stockllm ledger``: scoring what has come, and the record in words and figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store

Run = Callable[..., Any]


@pytest.fixture
def home(home_dir: Path, small_market: SimulatedMarket) -> Home:
    """A store with two companies' bars, and forecasts of the last days by two models and an adapter."""
    days = small_market.sessions
    with Store.open(Home(home_dir)) as store:
        store.set_simulated(True)
        store.bars.put(bar for bar in small_market.bars if bar.code in ("2330", "2317"))
        for origin, code, model, adapter in (
            (-4, "2330", "llama", None), (-3, "2330", "llama", "mine"), (-3, "2317", "llama", None),
            (-2, "2330", "ewma", None), (-1, "2330", "llama", None),
        ):  # fmt: skip
            close = store.bars.bars(code)[origin].close
            ahead = store.calendar().next_sessions(days[origin], 2)
            prices = np.full((99, 2, 4), close, dtype=np.int32)
            prices += np.arange(99, dtype=np.int32)[:, None, None] * 100
            store.ledger.freeze(
                PathForecast(
                    code, code, "TWSE", days[origin], close, ahead, prices, np.ones((99, 2), dtype=np.int64),
                    datetime(2020, 1, 1, tzinfo=UTC), model, "hash", adapter, adapter and "hash", "compact",
                    1, True,
                ),
                f"{origin}",
            )  # fmt: skip
    return Home(home_dir)


def test_score_then_nothing_is_left(home: Home, document: Run) -> None:
    first = document("ledger", "score", "--json")
    assert (first["forecasts"], first["days"]) == (4, 7)
    assert first["record"]["forecasts"] == 3
    again = document("ledger", "score", "--json")
    assert (first["waiting"], again["waiting"]) == (2, 2)
    assert (again["forecasts"], again["days"]) == (0, 0)
    assert again["record"] == first["record"]


def test_show(home: Home, run: Run, document: Run) -> None:
    run("ledger", "score")
    found = document("ledger", "show", "--json")
    assert found["total"] == 5
    assert [each["days_scored"] for each in found["forecasts"]] == [0, 1, 2, 2, 2]
    assert found["models"].keys() == {"ewma", "llama", "llama+mine"}
    assert "no demonstrated edge over the naive forecast in 3 forecasts" in found["record"]["sentence_en"]
    assert found["forecasts"][0]["crps"] is None
    assert found["forecasts"][2]["counts"] is True
    assert len(found["forecasts"][2]["days"]) == 2
    assert {each["code"] for each in document("ledger", "show", "--code", "鴻海", "--json")["forecasts"]} == {
        "2317"
    }
    tuned = document("ledger", "show", "--model", "llama+mine", "--json")
    assert (tuned["total"], tuned["record"]["forecasts"]) == (1, 1)
    assert len(document("ledger", "show", "--limit", 2, "--json")["forecasts"]) == 2


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["no demonstrated edge over the naive forecast in 3 forecasts", "llama+mine", "Ratio", "yes"]),
        ("zh", ["未證實優於單純預測", "llama+mine", "比值", "是"]),
    ],
)
def test_words(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch, language: str, words: list[str]
) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", language)
    for action in ("score", "show"):
        result = run("ledger", action)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("SIMULATED")
        assert words[0] in result.stdout
    assert [word for word in words if word not in result.stdout] == []
    assert "5" in run("ledger", "show", "--limit", 1).stdout.splitlines()[-1]


def test_an_empty_ledger(simulated_home: Home, run: Run, document: Run) -> None:
    assert "nothing" not in run("ledger", "score").stderr
    found = document("ledger", "show", "--json")
    assert found["forecasts"] == []
    assert found["record"]["crps_ratio"] is None
    assert "no forecast has been scored yet" in run("ledger", "show").stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--limit", "0"), "1 or more", 2),
        (("--model", "gpt"), "it has ewma, llama, llama+mine", 2),
        (("--code", "台積典"), "nearest", 2),
        (("--code", "2303", "--model", "ewma"), "make one with", 2),
    ],
)
def test_refusals(
    home: Home, refused: Callable[..., str], arguments: tuple[str, ...], words: str, code: int
) -> None:
    assert words in refused("ledger", "show", *arguments, code=code)


def test_no_store(home_dir: Path, refused: Callable[..., str]) -> None:
    assert "no store" in refused("ledger", "score", code=1)
    assert "no store" in refused("ledger", "show", code=1)
