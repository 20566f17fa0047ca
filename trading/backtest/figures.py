"""The figures of a backtest, from its equity and its trades. docs/trading.md defines each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.trading.backtest.trades import YEAR, Trade

#: The bootstrap: resamples, sessions in a block, and its seed.
RESAMPLES, BLOCK, SEED = 2000, 10, 3407
#: Fewer sessions than this and no interval is given.
FEWEST_DAYS = 2 * BLOCK
#: The university's scoring asks for so many trades.
ENOUGH_TRADES = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Day:
    """A session's evening. TWD: ``equity`` in all, ``shares`` of it in holdings, ``traded`` that session."""

    session: date
    equity: int
    shares: int
    traded: int = 0
    costs: int = 0
    dividends: int = 0
    placed: int = 0
    filled: int = 0
    stopped: bool = False


def of_equity(days: Sequence[Day]) -> dict[str, Any]:
    """What the curve says. ``days[0]`` is the evening before the first session; two days at least."""
    equity = np.array([day.equity for day in days], dtype=np.float64)
    returns = daily_returns(days)
    sessions = len(returns)
    total = float(equity[-1] / equity[0] - 1)
    depths = 1 - equity / np.maximum.accumulate(equity)
    mean = float(equity.mean())
    return {
        "start_equity": days[0].equity,
        "end_equity": days[-1].equity,
        "return": total,
        "annual_return": float((1 + total) ** (YEAR / sessions) - 1) if total > -1 else -1.0,
        "volatility": float(returns.std(ddof=1) * YEAR**0.5) if sessions > 1 else None,
        "max_drawdown": float(depths.max()),
        "max_drawdown_day": days[int(depths.argmax())].session.isoformat(),
        "exposure": float(np.mean([day.shares / day.equity if day.equity else 0.0 for day in days[1:]])),
        "turnover": sum(day.traded for day in days) / 2 / mean if mean else 0.0,
        "costs": sum(day.costs for day in days),
        "dividends": sum(day.dividends for day in days),
        "orders": sum(day.placed for day in days),
        "fills": sum(day.filled for day in days),
        "stopped_evenings": sum(day.stopped for day in days),
    }


def of_trades(trades: Sequence[Trade]) -> dict[str, Any]:
    """The university's own scoring of the trades; None where there is nothing to take a mean of."""
    gains = [trade.gain for trade in trades]
    wins, losses = [g for g in gains if g > 0], [g for g in gains if g < 0]
    profit = sum(trade.profit for trade in trades if trade.profit > 0)
    loss = -sum(trade.profit for trade in trades if trade.profit < 0)
    return {
        "trades": len(trades),
        "enough_trades": len(trades) >= ENOUGH_TRADES,
        "per_trade": _mean(gains),
        "annualised": _mean([trade.annualised for trade in trades]),
        "mean_win": _mean(wins),
        "mean_loss": _mean(losses),
        "win_rate": len(wins) / len(trades) if trades else None,
        "profit_factor": profit / loss if loss else None,
        "sessions_held": _mean([float(trade.sessions) for trade in trades]),
    }


def daily_returns(days: Sequence[Day]) -> Floats:
    """Simple returns between evenings, shape (len(days) - 1,)."""
    equity = np.array([day.equity for day in days], dtype=np.float64)
    return equity[1:] / equity[:-1] - 1


def interval(returns: Floats, against: Floats | None = None) -> tuple[float, float] | None:
    """95% of the cumulative return, or of its lead over ``against``, by a circular block bootstrap.

    Blocks of 10 sessions keep what neighbouring days have in common; both series are cut at the same
    places (Politis and Romano, 1992). None where there are too few days.
    """
    days = len(returns)
    if days < FEWEST_DAYS:
        return None
    rng = np.random.default_rng(SEED)
    starts = rng.integers(0, days, (RESAMPLES, -(-days // BLOCK)))
    picks = ((starts[:, :, None] + np.arange(BLOCK)) % days).reshape(RESAMPLES, -1)[:, :days]
    ends = np.prod(1 + returns[picks], axis=1)
    if against is not None:
        ends = ends - np.prod(1 + against[picks], axis=1) + 1
    low, high = np.quantile(ends - 1, [0.025, 0.975])
    return float(low), float(high)


def drawdowns(days: Sequence[Day]) -> Floats:
    """How far each evening's equity is below its peak so far, shape (len(days),), 0 or less."""
    equity = np.array([day.equity for day in days], dtype=np.float64)
    depth: Floats = equity / np.maximum.accumulate(equity) - 1
    return depth


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
