"""The figures of a backtest, against numbers worked out by hand."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from stockllm.trading.backtest.figures import Day, daily_returns, drawdowns, interval, of_equity, of_trades
from stockllm.trading.backtest.trades import Matcher, Trade


def days(*equity: int, **more: int) -> list[Day]:
    first = date(2025, 3, 3)
    return [Day(first + timedelta(days=k), e, e // 2, **more) for k, e in enumerate(equity)]


def trade(paid: int, received: int, sessions: int = 10) -> Trade:
    return Trade("2330", date(2025, 3, 3), date(2025, 3, 17), sessions, 1000, paid, received)


def test_of_a_curve() -> None:
    found = of_equity(days(1000, 1200, 900, 990, traded=100, costs=3, dividends=2, placed=2, filled=1))
    assert found["return"] == pytest.approx(-0.01)
    assert found["annual_return"] == pytest.approx(0.99 ** (252 / 3) - 1)
    assert found["max_drawdown"] == pytest.approx(0.25)
    assert found["max_drawdown_day"] == "2025-03-05"
    assert found["exposure"] == 0.5
    assert found["turnover"] == pytest.approx(400 / 2 / 1022.5)
    assert (found["costs"], found["dividends"], found["orders"], found["fills"]) == (12, 8, 8, 4)
    assert drawdowns(days(1000, 1200, 900, 990)).tolist() == pytest.approx([0, 0, -0.25, -0.175])


def test_of_trades() -> None:
    found = of_trades([trade(1000, 1100), trade(1000, 1300, 5), trade(1000, 900), trade(500, 500)])
    assert found["trades"] == 4
    assert not found["enough_trades"]
    assert found["per_trade"] == pytest.approx(0.075)
    assert found["annualised"] == pytest.approx((0.1 * 25.2 + 0.3 * 50.4 - 0.1 * 25.2 + 0) / 4)
    assert (found["mean_win"], found["mean_loss"]) == pytest.approx((0.2, -0.1))
    assert (found["win_rate"], found["profit_factor"]) == (0.5, 4.0)
    assert of_trades([trade(1, 2)] * 100)["enough_trades"]


def test_nothing_traded() -> None:
    found = of_trades([])
    assert (found["trades"], found["win_rate"], found["profit_factor"]) == (0, None, None)
    assert of_trades([trade(1000, 1100)])["profit_factor"] is None


def test_the_interval() -> None:
    rng = np.random.default_rng(1)
    returns = rng.normal(0.0002, 0.005, 5000)
    low, high = interval(returns) or (0, 0)
    assert low < float(np.prod(1 + returns) - 1) < high
    assert interval(returns) == (low, high)
    # About 1.96 standard deviations of the sum of logs either way.
    assert np.log((1 + high) / (1 + low)) / 2 == pytest.approx(1.96 * 0.005 * 5000**0.5, rel=0.15)
    # A constant lead of nothing has no width, however both move.
    assert interval(returns, returns) == (0, 0)
    wide = interval(returns, rng.normal(0, 0.01, 5000)) or (0, 0)
    assert wide[1] - wide[0] > high - low
    assert interval(returns[:19]) is None


def test_neighbours_stay_together() -> None:
    """Runs of gains and losses widen the interval; cut day by day they would not."""
    runs = np.repeat([0.01, -0.01] * 12, 10)
    mixed = np.tile([0.01, -0.01], 120)
    together, apart = interval(runs), interval(mixed)
    assert together is not None
    assert apart is not None
    assert together[1] - together[0] > 4 * (apart[1] - apart[0])


def test_returns() -> None:
    assert daily_returns(days(100, 110, 99)).tolist() == pytest.approx([0.1, -0.1])


def test_sales_are_matched_with_purchases() -> None:
    matched = Matcher()
    first, second, third = (date(2025, 3, day) for day in (3, 5, 10))
    matched.buy("2330", 2000, 2_000_000, first, 1)
    matched.buy("2317", 1000, 100_000, second, 3)
    matched.grant("2330", 180)
    matched.sell("2330", 2000, 2_100_000, third, 6)
    matched.sell("2330", 180, 190_000, third, 6)
    (trade,) = matched.trades
    assert trade == Trade("2330", first, third, 5, 2180, 2_000_000, 2_290_000)
    (held,) = matched.left(third, 6, lambda _: 12_000)
    assert held == Trade("2317", second, third, 3, 1000, 100_000, 120_000)
