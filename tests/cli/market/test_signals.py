"""``stockllm signals``: the table, the document, and one sentence for what cannot be answered."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from stockllm.cli.main import app
from stockllm.data.paths import Home
from stockllm.data.records import Bar, PathForecast
from stockllm.data.store import Store

RULES = ["mean", "four-points", "edge"]
LAST = date(2026, 2, 13)


def fill(*codes: str, simulated: bool = False, forecast: bool = False) -> None:
    """A store in which each company rises by one TWD a day for 30 sessions, up to ``LAST``."""
    with Store.open(Home.locate()) as store:
        store.set_simulated(simulated)
        days = [d for d in (LAST - timedelta(days=k) for k in range(60, -1, -1)) if d.weekday() < 5][-30:]
        for code in codes:
            closes = [10_000 + 100 * i for i in range(len(days))]
            store.bars.put(
                Bar(code, day, close - 50, close, close - 50, close, 1_000_000 + close, "test")
                for day, close in zip(days, closes, strict=True)
            )
        if forecast:
            store.ledger.freeze(rising(codes[0], closes[-1], simulated), "data")


def rising(code: str, last_close: int, simulated: bool) -> PathForecast:
    """Nine paths that all end 5% higher."""
    prices = np.full((9, 5, 4), round(last_close * 1.05), dtype=np.int32)
    days = tuple(LAST + timedelta(days=k) for k in (3, 4, 5, 6, 7))
    return PathForecast(
        code, "台積電", "TWSE", LAST, last_close, days, prices, np.full((9, 5), 1_000, dtype=np.int64),
        datetime(2026, 2, 13, 8, tzinfo=UTC), "ewma", "0", None, None, "compact", 1, simulated,
    )  # fmt: skip


def run(*arguments: str, language: str = "zh") -> Any:
    return CliRunner().invoke(app, ["signals", *arguments], env={"STOCKLLM_LANGUAGE": language})


def test_document(home_dir: Path) -> None:
    fill("2330", "2317", forecast=True)
    result = run("--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [(s["code"], s["rule"]) for s in found] == [(c, r) for c in ("2317", "2330") for r in RULES]
    assert " ".join(found[0]) == (
        "code name as_of rule action strength reason_zh reason_en forecast_id simulated"
    )
    mean, points, edge = found[3:]
    assert mean["name"] == "台積電"
    assert mean["as_of"] == "2026-02-13"
    assert [s["action"] for s in (mean, points, edge)] == ["buy", "buy", "buy"]
    assert mean["forecast_id"] == edge["forecast_id"] == 1
    assert edge["strength"] == 1.0
    assert points["forecast_id"] is points["strength"] is None
    assert found[0]["action"] == "hold"
    assert not any(s["simulated"] for s in found)
    with Store.open(Home.locate()) as store:
        assert len(store.signals.latest()) == 6


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh", ["代號", "台積電", "買進", "均價", "四大買賣點", "高於近 20 日收盤均價", "不是投資建議"]),
        ("en", ["Code", "TSMC", "buy", "mean", "four points", "above A", "no investment advice"]),
    ],
)
def test_table_in_the_language_of_the_settings(home_dir: Path, language: str, words: list[str]) -> None:
    fill("2330", forecast=True)
    result = run("2330", language=language)
    assert result.exit_code == 0
    assert [w for w in words if w not in result.stdout] == []
    assert "SIMULATED" not in result.stdout


def test_companies_are_named_as_people_name_them_and_once(home_dir: Path) -> None:
    fill("2330", "2317")
    found = json.loads(run("台積電", "2330", "Foxconn", "--json").stdout)
    assert [s["code"] for s in found] == ["2330"] * 3 + ["2317"] * 3


def test_simulated_is_said(home_dir: Path) -> None:
    fill("2330", simulated=True, forecast=True)
    assert "SIMULATED" in run("2330").stdout
    assert all(s["simulated"] for s in json.loads(run("--json").stdout))


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [("9998", 2, "9998"), ("2303", 1, "沒有 2303 的股價"), ("台積典", 2, "2330")],
)
def test_one_sentence_for_what_cannot_be_judged(home_dir: Path, query: str, code: int, words: str) -> None:
    fill("2330")
    result = run(query, "--json")
    assert result.exit_code == code
    assert result.stdout == ""
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_empty_store_and_no_store(home_dir: Path) -> None:
    result = run()
    assert result.exit_code == 1
    assert "stockllm import" in result.stderr
    fill()
    result = run()
    assert result.exit_code == 1
    assert "資料庫沒有股價" in result.stderr
    assert result.stdout == ""


def test_a_share_outside_the_41(home_dir: Path) -> None:
    fill("2412")
    found = json.loads(run("2412", "--json").stdout)
    assert {s["code"] for s in found} == {"2412"}
    assert run("2412").exit_code == 0
