"""``stockllm dataset``: the table, the document, the check, and a sentence for every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home

Run = Callable[..., Any]


@pytest.fixture
def days(small_market: SimulatedMarket) -> str:
    return f"{small_market.sessions[0]}:{small_market.sessions[-1]}"


def test_build_and_check(simulated_home: Home, run: Run, days: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = run(
        "dataset", "build", "--task", "recommendation", "--format", "openai", "--train", days, "--codes",
        "2330,鴻海", "--max-examples", 15, out,
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert "SIMULATED" in made.stdout
    assert "--price-per-million" in made.stdout
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "dataset_card.json", "train.jsonl"]
    checked = run("dataset", "check", out / "train.jsonl", "--format", "openai")
    assert (checked.exit_code, checked.stdout) == (0, "train.jsonl: 15 x openai\n")


def test_document(simulated_home: Home, document: Run, days: str, tmp_path: Path) -> None:
    found = document(
        "dataset", "build", "--task", "prices", "--windows", "5/5,1/1", "--train", days, "--codes", "2330",
        "--json", tmp_path / "out",
    )  # fmt: skip
    assert found["windows"] == ["1/1", "5/5"]
    assert found["embargo"] == 5
    assert found == json.loads((tmp_path / "out" / "dataset_card.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--task", "poems"), "no dataset task 'poems'"),
        (("--format", "xml"), "no layout 'xml'"),
        (("--train", "2026-01-01"), "no range"),
        (("--train", "2026-01-01:soon"), "no date"),
        (("--prompt", "reference"), "no prompt styles"),
        (("--windows", "5"), "no task"),
        (("--codes", "nobody"), "nobody"),
    ],
)
def test_refusals(
    simulated_home: Home, refused: Run, days: str, tmp_path: Path, more: tuple[str, ...], what: str
) -> None:
    sentence = refused("dataset", "build", "--task", "risk", "--train", days, *more, tmp_path / "out")
    assert what in sentence
    assert not (tmp_path / "out").exists()


def test_check_names_the_line(simulated_home: Home, refused: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    good = json.dumps({"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]})
    file.write_text(f"{good}\n{good.replace('assistant', 'robot')}\n")
    assert "Line 2" in refused("dataset", "check", file, "--format", "messages")
    file.write_text(f"{good}\nnot json\n")
    assert "Line 2 of mine.jsonl is no JSON" in refused("dataset", "check", file, "--format", "messages")
    file.write_text("")
    assert "empty" in refused("dataset", "check", file, "--format", "messages")
    refused("dataset", "check", tmp_path / "absent", "--format", "messages", code=1)
    file.write_text(f"{good}\n" * 3)
    assert "no fewer than 10" in refused("dataset", "check", file, "--format", "openai")
