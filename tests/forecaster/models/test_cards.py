"""The card of an adapter, for programs and for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stockllm.forecaster.models.cards import Card, losses_of, read_card, readme, versions, write_card

CARD = Card(
    name="compact-20260331-abc123",
    base="llama",
    base_hash="b" * 64,
    hash="a" * 64,
    made_at="2026-04-01T20:00:00+08:00",
    companies=["2330", "2317"],
    data_start="2024-12-09",
    data_end="2025-11-21",
    validation_from="2025-12-22",
    embargo=20,
    simulated=False,
    prompt="compact",
    tasks=["1/1", "60/20"],
    engine="peft",
    steps=60,
    examples={"windows": 7776, "drawn": 1920, "used": 1900, "too_long": {"60/20": 20}},
    losses={"first_loss": 2.5, "last_loss": None},
    flags={"rank": 16, "codes": ["2330", "2317"], "max_steps": None},
    run="x",
    versions={"torch": "2.13.0"},
    speed={"windows_per_second": 30.26, "tokens_per_second": 5123.4, "padding": 0.0123, "seconds": 3.0},
)


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    write_card(tmp_path, CARD)
    assert read_card(tmp_path) == CARD
    document = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "card.json").write_text(json.dumps(document | {"later": 1}), encoding="utf-8")
    assert read_card(tmp_path) == CARD


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}', "7"])
def test_what_is_no_card_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):  # noqa: PT011  (json's own is one too)
        read_card(tmp_path)
    with pytest.raises(OSError):  # noqa: PT011
        read_card(tmp_path / "absent")


def test_the_readme_says_what_it_was_made_of() -> None:
    text = readme(CARD)
    for part in (
        "library_name: peft",
        "stockllm forecast 2330 --model llama+compact-20260331-abc123",
        "2: 2330, 2317",
        "2024-12-09 to 2025-11-21",
        "validated from 2025-12-22 on, 20 market days before it left out",
        "7,776, of which 1,900 were read",
        "| too long for the model | 20 |",
        "| first loss | 2.5000 |",
        "| speed | 30.3 windows/s, 5,123 tokens/s, 1.2% padding |",
        "| rank | 16 |",
        "torch 2.13.0",
    ):
        assert part in text
    assert "last loss" not in text
    assert "SIMULATED" not in text
    assert "| speed |" not in readme(replace(CARD, speed={}))
    simulated = readme(replace(CARD, simulated=True, validation_from=None))
    assert "SIMULATED 模擬資料" in simulated
    assert "every day trained" in simulated


def test_losses_are_the_first_and_the_last() -> None:
    history = [
        {"eval_loss": 3.0, "step": 0},
        {"loss": 2.9, "step": 1},
        {"loss": 2.7, "step": 2},
        {"eval_loss": 2.8, "step": 2},
        {"train_runtime": 1.0},
    ]
    assert losses_of(history) == {
        "first_loss": 2.9,
        "last_loss": 2.7,
        "validation_loss_before": 3.0,
        "validation_loss_after": 2.8,
    }
    assert set(losses_of([]).values()) == {None}


def test_versions_are_those_installed() -> None:
    assert {"stockllm", "torch", "transformers", "trl", "peft"} <= set(versions())
