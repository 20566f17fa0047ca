"""Outcomes: which forecasts paid, which answers are preferred, and that no line is known too early."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.forecaster.encoding.prompts import training_messages
from stockllm.forecaster.encoding.windows import open_window
from stockllm.forecaster.forecast import forecast
from stockllm.trading.backtest.backtest import Request, backtest
from stockllm.trading.backtest.outcomes import of_backtest, of_forecast, of_ledger, preferred, write
from stockllm.trading.strategy.policy import Policy

from ..conftest import CODES, SESSIONS

LOOSE = Policy(position_cap=Decimal("0.3"), stop=Decimal(1), minimum_edge=None)
REQUEST = Request(SESSIONS[24], SESSIONS[-1], CODES, "mean", "ewma", LOOSE, 10_000_000, horizon=3, paths=19)


def made(closes: list[list[float]], last: int = 10_000) -> PathForecast:
    """A forecast of paths whose closes are these multiples of the last one."""
    prices = np.repeat(np.rint(np.array(closes) * last).astype(np.int32)[:, :, None], 4, axis=2)
    days = tuple(date(2025, 3, 4 + k) for k in range(prices.shape[1]))
    return PathForecast(
        "2330", "", "", date(2025, 3, 3), last, days, prices, np.ones(prices.shape[:2], dtype=np.int64),
        datetime.now(UTC), "ewma", "h", None, None, "compact", 1, False,
    )  # fmt: skip


def test_the_nearest_that_called_it_and_the_farthest_that_called_the_opposite() -> None:
    paths = made([[1.0, 1.02], [1.01, 1.05], [1.0, 1.001], [0.99, 0.98], [0.9, 0.9], [0.995, 0.997]])
    assert preferred(paths, np.array([1.01, 1.04])) == (1, 4)
    assert preferred(paths, np.array([0.99, 0.985])) == (3, 1)
    assert preferred(paths, np.array([1.1, 1.003])) == (None, None), "no trade would have paid"
    assert preferred(made([[1.0, 1.02]]), np.array([1.0, 1.02])) == (0, None)


def test_a_path_is_told_as_the_model_would_tell_it(market_store: Store) -> None:
    """The path that is what came gives the answer that training would have shown."""
    series = market_store.bars.series("2317")
    evening, horizon = SESSIONS[30], 3
    known = series.until(evening)
    future = series[len(known) : len(known) + horizon]
    true = np.stack([future.open, future.high, future.low, future.close], axis=1)
    last = round(float(known.close[-1]) * 100)
    move = float(future.close[-1] / known.close[-1]) - 1
    assert abs(move) > 0.01
    other = np.repeat(known.close[-1] * (1 - np.sign(move) * np.linspace(0.02, 0.06, 3))[:, None], 4, axis=1)
    given = replace(
        made([[1.0] * 3, [1.0] * 3], last),
        code="2317",
        as_of=evening,
        dates=future.dates,
        prices=np.rint(np.stack([other, true]) * 100).astype(np.int32),
        volumes=np.tile(future.volume.astype(np.int64), (2, 1)),
    )
    company = market_store.company("2317")
    facts, pair = of_forecast(given, series, company, "edge")
    window = replace(open_window(known, company, len(known), future.dates), future=future)
    example = training_messages(window, "compact")
    assert (pair["prompt"], pair["chosen"]) == (example.prompt, example.completion)
    assert pair["rejected"] != pair["chosen"]
    assert facts["came"] == pytest.approx(move)


def lines_of(store: Store) -> list[dict[str, Any]]:
    return list(of_backtest(store, backtest(store, REQUEST)))


def test_no_line_is_known_too_early(market_store: Store) -> None:
    cut = SESSIONS[34]
    before = [line for line in lines_of(market_store) if line["known_from"] <= cut.isoformat()]
    later = [
        replace(row, open=row.low, close=row.high)
        for code in CODES
        for row in market_store.bars.bars(code)
        if row.date > cut
    ]
    market_store.bars.put(later)
    after = [line for line in lines_of(market_store) if line["known_from"] <= cut.isoformat()]
    assert before == after
    assert {line["kind"] for line in before} == {"forecast", "pair", "trade"}
    for line in before:
        assert line["kind"] == "trade" or line["as_of"] < line["known_from"]


def test_what_paid(market_store: Store) -> None:
    lines = lines_of(market_store)
    judged = [line for line in lines if line["kind"] == "forecast"]
    assert {line["verdict"] for line in judged} >= {"buy", "sell"}
    for line in judged:
        way = {"buy": 1, "sell": -1, "hold": 0}[line["verdict"]]
        assert line["paid"] == (None if not way else way * line["came"] > 0.00585)
    for line in lines:
        if line["kind"] == "trade":
            assert line["paid_off"] == (line["received"] > line["paid"])


def test_the_ledgers_forecasts_once_their_days_have_come(market_store: Store, tmp_path: Path) -> None:
    for evening in (SESSIONS[30], SESSIONS[-2]):
        forecast(market_store, ["2330", "2317"], model="ewma", paths=9, horizon=3, as_of=evening)
    target = tmp_path / "outcomes.jsonl"
    counts = write(of_ledger(market_store, "edge"), target)
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert (counts["forecast"], counts["trade"]) == (2, 0)
    assert len(lines) == sum(counts.values())
    assert {line["as_of"] for line in lines} == {SESSIONS[30].isoformat()}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["outcomes.jsonl"]
