"""``stockllm pretrain``: from what a store holds to a model that ``stockllm forecast`` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.forecaster.evaluation import calibrate
from stockllm.forecaster.pretraining import pretrain as training
from stockllm.forecaster.pretraining import recipe
from stockllm.market.calendar import default_calendar
from stockllm.market.ticks import round_to_tick

Run = Callable[..., Result]


CODES = ("1101", "1102", "1216", "1301", "1303", "2330", "2317")


@pytest.fixture
def filled(home_dir: Path) -> Home:
    """A simulated store of five stocks outside the 41 and two of them, 115 sessions each."""
    home = Home(home_dir)
    sessions = default_calendar().next_sessions(date(2025, 10, 1), 115)
    with Store.open(home) as store:
        store.set_simulated(True)
        for code in CODES:
            rng = np.random.default_rng(int(code))
            close = 50_000 * np.exp(np.cumsum(rng.normal(0, 0.015, len(sessions))))
            opens = np.concatenate([close[:1], close[:-1]])
            high, low = np.maximum(opens, close) * 1.005, np.minimum(opens, close) * 0.995
            prices = round_to_tick(np.stack([opens, high, low, close], axis=1).astype(np.int64)).tolist()
            volumes = rng.integers(1_000_000, 9_000_000, len(sessions)).tolist()
            store.bars.put(
                Bar(code, day, *row, volume, "test")
                for day, row, volume in zip(sessions, prices, volumes, strict=True)
            )
    return home


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = partial(
        recipe.Recipe,
        hidden=16,
        layers=1,
        heads=2,
        feed_forward=24,
        batch_tokens=900,
        longest_past=20,
        networks=1,
    )
    monkeypatch.setattr(recipe, "Recipe", tiny)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)


def test_a_model_in_the_home_that_forecasts(
    run: Run, document: Callable[..., Any], filled: Home, home_dir: Path
) -> None:
    result = run("pretrain", "--hold-out", 2, "--steps", 3, "--until", "2026-03-31")
    assert result.exit_code == 0, result.stderr
    target = home_dir / "base_model"
    assert result.stdout == f"The base model is in {target}: forecast with --model {target}.\n"
    told = result.stderr.splitlines()
    assert re.fullmatch(r"learning network 1 of 6, \d+:\d\d so far", told[0])
    assert re.fullmatch(r"\d+ days read, \d+:\d\d so far", told[6])
    training = r"training \d+/\d+ steps, loss \d\.\d{4}, [\d,]+ tokens/s, \d+:\d\d so far"
    assert re.fullmatch(training, told[7])
    facts = json.loads((target / "training.json").read_text("utf-8"))
    assert facts["data_end"] == "2026-03-31"
    assert facts["companies"] == 5
    assert len(facts["held_out"]) == 2
    assert not {"2330", "2317"} & set(facts["held_out"])
    (made,) = document("forecast", "2330", "--model", target, "--paths", 3, "--json")
    assert made["model"] == str(target)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--steps", 0), 2, "The number of steps is at least 1, not 0"),
        (("--steps", "nan"), 2, "Invalid value for '--steps'"),
        (("--seed", -1), 2, "The seed is a whole number from 0 on, not -1"),
        (("--until", "soon"), 2, "'soon' is no date"),
    ],
)
def test_wrong_usage(
    refused: Callable[..., str], filled: Home, arguments: tuple[object, ...], code: int, words: str
) -> None:
    assert words in refused("pretrain", *arguments, code=code)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--hold-out", 6), 2, "6 companies cannot be held out of 5"),
        (("--hold-out", 0, "--until", "2020-01-01"), 1, "holds no prices up to 2020-01-01"),
        (("--hold-out", 0, "--until", "2025-12-02"), 1, "No company has the 80 days"),
    ],
)
def test_data_that_will_not_do(
    run: Run, filled: Home, tmp_path: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    target = tmp_path / "new"
    result = run("pretrain", "--output-dir", target, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr.splitlines()[-1]
    assert not (target / "model.safetensors").exists()


def test_no_store(refused: Callable[..., str]) -> None:
    assert "stockllm import" in refused("pretrain", code=1)


def test_a_trunk_that_is_none(refused: Callable[..., str], filled: Home, tmp_path: Path) -> None:
    sentence = "is no trunk of a training"
    assert sentence in refused("pretrain", "--hold-out", 0, "--start-from", tmp_path / "none")


def test_held_out_are_companies_with_traded_and_adjusted_days(filled: Home) -> None:
    from stockllm.cli.models.pretrain import _drawn

    with Store.open(filled) as store:
        assert set(_drawn(store, recipe.Recipe(hold_out=5))) == set(CODES[:5])
        with store.arrivals.bring("adjusted", "test") as arrival:
            for code in ("1102", "1301", "2330", "9999"):
                store.adjusted.keep(
                    arrival, code, np.array([date(2025, 1, 2).toordinal()]), np.full((1, 4), 100.0),
                    np.array([1e6]), np.array([0]),
                )  # fmt: skip
        assert set(_drawn(store, recipe.Recipe(hold_out=2))) == {"1102", "1301"}
        with pytest.raises(UsageError, match="3 companies cannot be held out of 2"):
            _drawn(store, recipe.Recipe(hold_out=3))


def test_calibrated_and_trained_again_on_more(
    run: Run,
    document: Callable[..., Any],
    refused: Callable[..., str],
    filled: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrate, "HORIZONS", {1: 1, 5: 2})
    twin, whole = tmp_path / "twin", tmp_path / "whole"
    result = run(
        "pretrain", "--hold-out", 2, "--steps", 2, "--until", "2026-03-15",
        "--output-dir", twin,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    (twin / "training.json").write_text(
        (twin / "training.json").read_text("utf-8").replace('"recipe"', '"simulated": true, "recipe"'),
        "utf-8",
    )
    period = ("--start", "2026-03-16", "--end", "2026-03-31", "--paths", 3, "--stride", 5)
    result = run("calibrate", "--model", twin, *period, "--codes", "2330,listed")
    assert result.exit_code == 0, result.stderr
    assert "forecasts: widths of days 1, 5: " in result.stdout
    fitted = json.loads((twin / "calibration.json").read_text("utf-8"))
    assert len(fitted["widths"]) == 5
    assert (fitted["start"], fitted["end"]) == ("2026-03-16", "2026-03-31")
    printed = document("calibrate", "--model", twin, *period, "--codes", "2330", "--json")
    assert printed["widths"] == json.loads((twin / "calibration.json").read_text("utf-8"))["widths"]
    assert printed["before"].keys() == printed["after"].keys() == {"1", "5"}
    again = ("evaluate", "--models", str(twin), "--horizon", "1", *period, "--codes", "2330")
    assert "so a period from 2026-03-16 on is no test" in refused(*again)
    result = run("pretrain", "--twin", twin, "--steps", 2, "--output-dir", whole)
    assert result.exit_code == 0, result.stderr
    assert (whole / "calibration.json").read_bytes() == (twin / "calibration.json").read_bytes()
    held = [json.loads((each / "training.json").read_text("utf-8"))["held_out"] for each in (twin, whole)]
    assert held[0] == held[1]
    assert len(held[0]) == 2
    assert "names no companies held out" in refused("pretrain", "--twin", tmp_path)
    assert "There is no folder" in refused("calibrate", "--model", tmp_path / "none", *period)
