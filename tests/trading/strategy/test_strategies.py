"""Strategies: a rule's verdict as advice, and what a forecast has to do with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from stockllm.data.errors import UsageError
from stockllm.data.records import BarSeries, PathForecast
from stockllm.trading.strategy.strategies import STRATEGIES, advise, expected_gain, needs_forecast


def series(closes: list[float]) -> BarSeries:
    dates = tuple(date(2025, 1, 1) + timedelta(days=k) for k in range(len(closes)))
    c = np.array(closes)
    return BarSeries("2330", dates, c, c, c, c, np.arange(1.0, len(c) + 1) * 1e6, c)


def forecast(of: BarSeries, gains: list[float]) -> PathForecast:
    last = round(float(of.close[-1]) * 100)
    ends = np.array([[[round(last * (1 + gain))] * 4] for gain in gains], dtype=np.int32)
    day = of.dates[-1] + timedelta(days=1)
    return PathForecast(
        of.code, "", "", of.dates[-1], last, (day,), ends, np.ones((len(gains), 1), dtype=np.int64),
        datetime.now(UTC), "ewma", "h", None, None, "compact", 1, False,
    )  # fmt: skip


def test_each_rule_speaks_for_its_strategy() -> None:
    rising = series([100.0 + k for k in range(30)])
    up = forecast(rising, [0.02] * 9 + [-0.02])
    assert {name: advise(name, rising, up).action for name in STRATEGIES} == {  # type: ignore[union-attr]
        "mean": "buy", "four-points": "buy", "edge": "buy", "hold": "buy",
    }  # fmt: skip
    edge, points = advise("edge", rising, up), advise("four-points", rising, up)
    assert edge is not None
    assert points is not None
    assert edge.strength == 0.9
    assert edge.expected == pytest.approx(0.016, abs=1e-4)
    assert edge.expected == expected_gain(up)
    assert (points.expected, points.as_of) == (None, rising.dates[-1])


def test_no_forecast_or_an_older_one_is_a_hold_that_says_so() -> None:
    rising = series([100.0 + k for k in range(30)])
    old = replace(forecast(rising, [0.02]), as_of=rising.dates[-2])
    for given in (None, old):
        found = advise("edge", rising, given)
        assert found is not None
        assert (found.action, found.expected) == ("hold", None)
        assert "forecast" in found.reason_en


def test_nothing_to_judge_and_unknown_names() -> None:
    assert advise("hold", series([]), None) is None
    with pytest.raises(UsageError, match="choose among mean, four-points, edge, hold"):
        needs_forecast("martingale")
