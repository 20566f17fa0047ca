"""The four points: they agree with twstock itself, and say why where twstock would raise."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.records import BarSeries
from stockllm.forecaster.four_points import CLOSES_NEEDED, buy_or_sell, four_points


def series(
    closes: list[float], opens: list[float] | None = None, volumes: list[float] | None = None
) -> BarSeries:
    close = np.array(closes, dtype=np.float64)
    open_ = close.copy() if opens is None else np.array(opens, dtype=np.float64)
    volume = np.full(len(closes), 5_000.0) if volumes is None else np.array(volumes, dtype=np.float64)
    days = tuple(date(2026, 3, 2) + timedelta(days=i) for i in range(len(closes)))
    return BarSeries(
        "2330", days, open_, np.maximum(open_, close), np.minimum(open_, close), close, volume, close.copy()
    )


def twstock_verdict(s: BarSeries) -> Any:
    """twstock's own answer, on the whole series, from an object like its ``Stock``."""
    from twstock.analytics import Analytics, BestFourPoint

    stock = Analytics()
    stock.price = stock.close = s.close.tolist()
    stock.open, stock.high, stock.low = s.open.tolist(), s.high.tolist(), s.low.tolist()
    stock.capacity = s.volume.tolist()
    return BestFourPoint(stock).best_four_point()


tick = st.integers(min_value=1, max_value=400).map(lambda n: n * 0.5)
days = st.integers(min_value=CLOSES_NEEDED, max_value=40).flatmap(
    lambda n: st.tuples(
        st.lists(tick, min_size=n, max_size=n),
        st.lists(tick, min_size=n, max_size=n),
        st.lists(st.integers(min_value=1, max_value=9).map(float), min_size=n, max_size=n),
    )
)


@given(days)
@settings(max_examples=300, deadline=None)
def test_agrees_with_twstock_on_the_whole_series(
    given_days: tuple[list[float], list[float], list[float]],
) -> None:
    s = series(*given_days)
    expected = twstock_verdict(s)
    found = four_points(s)
    if expected is None:
        assert found.action == "hold"
        assert found.points == ()
        assert found.why_not_zh
        assert found.why_not_en
        assert buy_or_sell(s) is None
    else:
        is_buy, names = expected
        assert found.action == buy_or_sell(s) == ("buy" if is_buy else "sell")
        assert [p.zh.split("（")[0] for p in found.points] == names.split(", ")
        assert all(p.en for p in found.points)


def test_a_buy_wins_over_a_sell() -> None:
    # Closes below the open on more volume (sell 1) while the 3-day mean lies above the 6-day one (buy 4).
    s = series([10, 10, 10, 20, 21, 20], [10, 10, 10, 20, 20, 22], [1, 1, 1, 1, 1, 2])
    found = four_points(s)
    assert found.action == "buy"
    assert 4 in [p.number for p in found.points]


def test_each_buy_point_names_its_figures() -> None:
    s = series([100, 98, 96, 95, 94, 109], [100, 99, 97, 96, 95, 97], [9e6] * 5 + [12e6])
    points = {p.number: p for p in four_points(s).points}
    assert set(points) == {1, 3, 4}
    assert "9,000 → 12,000" in points[1].zh
    assert "收盤 109 高於開盤 97" in points[1].zh
    assert "above the open 97" in points[1].en
    assert "99.33" in points[3].en  # (95 + 94 + 109) / 3
    assert "98.67" in points[4].zh  # (100 + 98 + 96 + 95 + 94 + 109) / 6
    assert four_points(series([100] * 6)).action == "hold"


def test_each_sell_point_names_its_figures() -> None:
    s = series([100, 102, 104, 105, 106, 97], [100, 101, 103, 104, 104, 104], [9e6] * 5 + [7e6])
    verdict = four_points(s)
    assert verdict.action == "buy"  # the 3-day mean is still above the 6-day one
    s = series([106, 102, 101, 102, 103, 97], [100, 101, 103, 104, 104, 104], [9e6] * 5 + [7e6])
    points = {p.number: p for p in four_points(s).points}
    assert set(points) == {2, 3, 4}
    assert "below the previous open 104" in points[2].en
    assert "前日開盤 104" in points[2].zh


@pytest.mark.parametrize("n", range(CLOSES_NEEDED))
def test_too_few_closes(n: int) -> None:
    found = four_points(series([100.0 + i for i in range(n)]))
    assert found.action == "hold"
    assert f"只有 {n} 天" in found.why_not_zh
    assert f"{n} closes" in found.why_not_en


@pytest.mark.parametrize("bad", [float("nan"), 0.0, float("inf")])
@pytest.mark.parametrize("day", range(CLOSES_NEEDED))
def test_missing_close(day: int, bad: float) -> None:
    closes = [100.0, 101, 102, 103, 104, 105]
    closes[day] = bad
    found = four_points(series(closes, opens=[100.0] * 6))
    assert found.action == "hold"
    assert str(date(2026, 3, 2 + day)) in found.why_not_en
    assert str(date(2026, 3, 2 + day)) in found.why_not_zh


def test_missing_close_before_the_days_needed_does_not_matter() -> None:
    assert four_points(series([float("nan"), 100, 101, 102, 103, 104, 105])).action == "buy"


@pytest.mark.parametrize("day", [4, 5])
@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_no_volume(day: int, bad: float) -> None:
    volumes = [1000.0] * 6
    volumes[day] = bad
    found = four_points(series([100.0, 101, 102, 103, 104, 105], volumes=volumes))
    assert found.action == "hold"
    assert "volume" in found.why_not_en


def test_missing_open_of_yesterday() -> None:
    opens = [100.0, 100, 100, 100, float("nan"), 100]
    assert four_points(series([100.0, 101, 102, 103, 104, 105], opens=opens)).action == "hold"


def test_the_rule_comes_without_the_rest_of_twstock_and_reaches_no_network() -> None:
    script = """
import socket, sys
from datetime import date, timedelta
import numpy as np
from stockllm.data.records import BarSeries
from stockllm.forecaster.four_points import four_points
def refuse(*args, **kwargs):
    raise AssertionError("the network was reached for")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
close = np.array([100.0, 101, 102, 103, 104, 105])
days = tuple(date(2026, 3, 2) + timedelta(days=i) for i in range(6))
volume = np.arange(1000.0, 1006.0)
found = four_points(BarSeries("2330", days, close - 1, close + 1, close - 2, close, volume, close))
assert found.action == "buy", found
assert not {name for name in sys.modules if name.split(".")[0] in ("twstock", "requests", "lxml")}
import twstock
"""
    subprocess.run([sys.executable, "-c", script], check=True)
