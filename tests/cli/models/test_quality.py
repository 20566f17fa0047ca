"""``stockllm quality``: the table, the document, the sheet and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standin.openai_api import OpenAIStandIn

from stockllm.data.paths import Home


@pytest.fixture
def server(simulated_home: Home) -> Iterator[OpenAIStandIn]:
    with OpenAIStandIn(lambda _, seed: f"It closed at {seed}. This is no advice.") as running:
        yield running


def test_the_table(run: Callable[..., Any], server: OpenAIStandIn) -> None:
    result = run("quality", "--model", server.model, "--tasks", "risk,recommendation", "--count", 3)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("SIMULATED")
    assert "nothing says until when" in result.stderr
    rows = [
        line.split() for line in result.stdout.splitlines() if line.startswith(("risk", "recommendation"))
    ]
    assert [row[:2] for row in rows] == [["risk", "3"], ["recommendation", "3"]]
    assert rows[0][7] == "100.0%"


def test_the_document(document: Callable[..., Any], server: OpenAIStandIn) -> None:
    made = document(
        "quality", "--model", server.model, "--tasks", "risk", "--count", 3, "--language", "zh", "--json"
    )
    assert made["model"] == server.model
    assert made["language"] == "zh"
    assert made["tasks"]["risk"]["answers"] == 3
    assert made["seen"] is None


def test_a_sheet_goes_out_and_comes_back(
    run: Callable[..., Any], document: Callable[..., Any], server: OpenAIStandIn, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.csv"
    result = run("quality", "--model", server.model, "--tasks", "market-analysis,risk", "--sheet", sheet)
    assert result.exit_code == 0, result.stderr
    assert f"in {sheet}" in result.stderr
    rows = list(csv.reader(io.StringIO(sheet.read_text(encoding="utf-8-sig"), newline="")))
    assert len(rows) == 101
    for number, row in enumerate(rows[1:]):
        row[6] = str(number % 5 + 1)
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    facts = document("quality", "--ratings", sheet, "--ratings", sheet, "--json")
    assert (facts["raters"], facts["rated"], facts["mean"], facts["alpha"]) == (2, 100, 3.0, 1.0)
    shown = run("quality", "--ratings", sheet).stdout
    assert "1 rater, 100 of 100 samples rated: mean 3.00" in shown
    assert "needs two ratings" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--model", "ewma"), 2, "writes no text"),
        (("--tasks", "poems"), 2, "no text task"),
        (("--language", "fr"), 2, "choose zh or en"),
        (("--ratings", "none.csv"), 1, "cannot be read"),
        (("--ratings", "none.csv", "--model", "llama"), 2, "leave --model and --sheet out"),
        (("--start", "yesterday"), 2, "no date"),
        (("--model", "openai:http://127.0.0.1:9/v1#m", "--tasks", "risk"), 1, "cannot be reached"),
    ],
)
def test_what_cannot_be_asked(
    refused: Callable[..., str], simulated_home: Home, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("STOCKLLM_OPENAI_RETRIES", "0")
    assert sentence in refused("quality", *arguments, code=code)


def test_a_sheet_that_is_there_is_refused_before_anything_is_asked(
    refused: Callable[..., str], server: OpenAIStandIn, tmp_path: Path
) -> None:
    (tmp_path / "s.csv").write_text("mine")
    assert "may hold ratings" in refused("quality", "--model", server.model, "--sheet", tmp_path / "s.csv")
    assert server.seen == []
