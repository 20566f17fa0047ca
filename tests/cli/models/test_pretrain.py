"""``stockllm pretrain``: from a universe file to a model that ``stockllm forecast`` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.forecaster.evaluation import calibrate
from stockllm.forecaster.pretraining import batches, recipe
from stockllm.forecaster.pretraining import pretrain as training

Run = Callable[..., Result]


@pytest.fixture
def universe(simulated_home: Home, tmp_path: Path) -> Path:
    """Five stocks outside the 41 and two of them, sixty days each, as a parquet file."""
    import pandas as pd

    with Store.open(simulated_home) as store:
        bars = store.bars.bars("2330")
    rows = [
        (
            code,
            bar.date,
            bar.open / 100,
            bar.high / 100,
            bar.low / 100,
            bar.close / 100,
            bar.volume + int(code),
        )
        for code in ("1101", "1102", "1216", "1301", "1303", "2330", "2317")
        for bar in bars
    ]
    path = tmp_path / "universe.parquet"
    columns = ["code", "date", "open", "high", "low", "close", "volume"]
    pd.DataFrame(rows, columns=columns).to_parquet(path)
    return path


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = partial(
        recipe.Recipe, hidden=16, layers=1, heads=2, feed_forward=24, batch_tokens=300, longest_past=20
    )
    monkeypatch.setattr(recipe, "Recipe", tiny)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)


def test_a_model_in_the_home_that_forecasts(
    run: Run, document: Callable[..., Any], universe: Path, home_dir: Path
) -> None:
    result = run("pretrain", "--universe", universe, "--hold-out", 2, "--steps", 3, "--until", "2026-03-31")
    assert result.exit_code == 0, result.stderr
    target = home_dir / "base_model"
    assert result.stdout == f"The base model is in {target}: forecast with --model {target}.\n"
    told = result.stderr.splitlines()
    assert "universe.parquet: " in told[0]
    assert "bars accepted" in told[0]
    assert re.fullmatch(r"training \d+/\d+ steps, loss \d\.\d{4}, [\d,]+ tokens/s, \d+:\d\d so far", told[1])
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
    refused: Callable[..., str], universe: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    assert words in refused("pretrain", "--universe", universe, *arguments, code=code)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--hold-out", 6), 2, "6 companies cannot be held out of 5"),
        (("--hold-out", 0, "--until", "2020-01-01"), 1, "holds no prices up to 2020-01-01"),
        (("--hold-out", 0, "--until", "2026-02-02"), 1, "No company has the 60 days"),
    ],
)
def test_data_that_will_not_do(
    run: Run, universe: Path, tmp_path: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    target = tmp_path / "new"
    result = run("pretrain", "--universe", universe, "--output-dir", target, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr.splitlines()[-1]
    assert not (target / "model.safetensors").exists()


def test_no_universe(refused: Callable[..., str], tmp_path: Path) -> None:
    sentence = refused("pretrain", "--universe", tmp_path / "none.parquet", code=1)
    assert "There is no file or folder" in sentence


def test_calibrated_and_trained_again_on_more(
    run: Run,
    document: Callable[..., Any],
    refused: Callable[..., str],
    universe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The market is short: sixty days for both trainings and the calibration.
    monkeypatch.setattr(batches, "SHORTEST", 46)
    monkeypatch.setattr(calibrate, "HORIZONS", {1: 1, 5: 2})
    twin, whole = tmp_path / "twin", tmp_path / "whole"
    result = run(
        "pretrain", "--universe", universe, "--hold-out", 2, "--steps", 2, "--until", "2026-03-15",
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
    result = run("pretrain", "--universe", universe, "--twin", twin, "--steps", 2, "--output-dir", whole)
    assert result.exit_code == 0, result.stderr
    assert (whole / "calibration.json").read_bytes() == (twin / "calibration.json").read_bytes()
    held = [json.loads((each / "training.json").read_text("utf-8"))["held_out"] for each in (twin, whole)]
    assert held[0] == held[1]
    assert len(held[0]) == 2
    assert "names no companies held out" in refused("pretrain", "--universe", universe, "--twin", tmp_path)
    assert "There is no folder" in refused("calibrate", "--model", tmp_path / "none", *period)
