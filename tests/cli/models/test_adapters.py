"""``stockllm adapters`` and ``stockllm settings``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.forecaster.models.cards import CARD_FILE, Card
from stockllm.forecaster.models.registry import base_model_dir, weights_hash

Run = Callable[..., Any]


@pytest.fixture
def two(home_dir: Path) -> Home:
    """An adapter that was worse than its base, and one of which nobody knows."""
    home = Home(home_dir)
    for name, crps in (("worse", 0.011), ("unknown", None)):
        folder = home.adapters / name
        folder.mkdir(parents=True)
        card = Card(
            name=name, base="llama", base_hash=weights_hash(base_model_dir()), hash="0",
            made_at="2026-01-01T00:00:00+08:00", companies=["2330"], data_start="2025-01-02",
            data_end="2025-12-31", validation_from=None, embargo=5, simulated=False, prompt="compact",
            tasks=["5/5"], engine="peft", steps=2, examples={}, losses={}, flags={}, run="",
            crps_base=None if crps is None else 0.010, crps_adapter=crps,
        )  # fmt: skip
        (folder / CARD_FILE).write_text(json.dumps(asdict(card)), encoding="utf-8")
    return home


def test_which_forecasts_and_why(two: Home, run: Run, document: Run) -> None:
    found = document("adapters", "list", "--json")
    assert found["default"] == "llama"
    assert "no adapter's card says that it beat the base" in found["why_en"]
    gains = {each["name"]: each["gain"] for each in found["adapters"]}
    assert gains["unknown"] is None
    assert gains["worse"] == pytest.approx(-0.1)
    shown = run("adapters", "list").stdout
    assert "+10.0%" in shown
    assert "llama forecasts where no model is named" in shown
    assert "llama forecasts: no adapter's card" in json.dumps(document("doctor", "--json"))


def test_pin_and_let_go(two: Home, run: Run, document: Run) -> None:
    assert document("adapters", "use", "worse", "--json")["default"] == "llama+worse"
    assert Settings.load(two).model == "llama+worse"
    assert "the setting 'model' pins it" in run("adapters", "list").stdout
    assert document("adapters", "use", "auto", "--json")["default"] == "llama"
    assert Settings.load(two).model == "auto"


def test_show_and_remove(two: Home, run: Run, document: Run) -> None:
    assert "CRPS on validation: 0.01100, the base alone 0.01000" in run("adapters", "show", "worse").stdout
    run("adapters", "use", "worse")
    assert run("adapters", "remove", "worse").exit_code == 0
    assert not (two.adapters / "worse").exists()
    assert Settings.load(two).model == "auto"
    assert [each["name"] for each in document("adapters", "list", "--json")["adapters"]] == ["unknown"]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("adapters", "show", "none"), "There is no adapter 'none'", 1),
        (("adapters", "remove", "none"), "worse", 1),
        (("adapters", "use", "none"), "no model 'none'", 1),
        (("settings", "get", "langauge"), "nearest: language", 2),
        (("settings", "set", "language", "fr"), "'language' is wrong", 2),
        (("settings", "set", "lists", "x"), "is a list or a table", 2),
    ],
)
def test_refusals(
    two: Home, refused: Callable[..., str], arguments: tuple[str, ...], words: str, code: int
) -> None:
    before = two.settings_file.read_bytes() if two.settings_file.exists() else None
    assert words in refused(*arguments, code=code)
    assert before == (two.settings_file.read_bytes() if two.settings_file.exists() else None)


def test_settings(home_dir: Path, run: Run, document: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_NEWSAPI_KEY", "a-secret")
    every = document("settings", "get", "--json")
    assert (every["model"], every["trade.stop"], every["newsapi_key"]) == ("auto", "0.20", "set")
    assert document("settings", "set", "trade.stop", "0.1", "--json") == {"trade.stop": "0.1"}
    assert document("settings", "set", "dashboard_schedule", "true", "--json") == {"dashboard_schedule": True}
    assert document("settings", "set", "openai_retries", "5", "--json") == {"openai_retries": 5}
    assert run("settings", "get", "openai_retries").stdout.strip() == "5"
    assert document("settings", "set", "openai_retries", "default", "--json") == {"openai_retries": 3}
    told = run("settings", "set", "language", "zh").stdout
    assert "wins over the file" in told  # the variable is set by the fixture
