"""Strategies: which rule's verdicts are acted upon. docs/trading.md has them in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stockllm.data.errors import UsageError
from stockllm.trading.strategy.policy import Advice
from stockllm.trading.strategy.signals import signals_for

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries, PathForecast

#: Every strategy, and whether it acts on forecasts.
STRATEGIES: dict[str, bool] = {"mean": True, "four-points": False, "edge": True, "hold": False}


def needs_forecast(strategy: str) -> bool:
    """Whether ``strategy`` acts on forecasts. UsageError where there is none of this name."""
    if strategy not in STRATEGIES:
        raise UsageError(
            f"There is no strategy '{strategy}': choose among {', '.join(STRATEGIES)}.",
            zh=f"沒有名為 '{strategy}' 的策略：請從 {', '.join(STRATEGIES)} 中選擇。",
        )
    return STRATEGIES[strategy]


def advise(strategy: str, series: BarSeries, forecast: PathForecast | None) -> Advice | None:
    """The verdict of ``strategy`` on the last day of ``series``; None where the series is empty.

    ``forecast`` is one made on that evening; another one, or none, makes the verdict a hold that
    says so. UsageError for an unknown strategy.
    """
    asked = forecast if needs_forecast(strategy) else None
    if not len(series):
        return None
    if strategy == "hold":
        zh, en = "買進並持有。", "Buy and hold."
        return Advice(series.code, series.dates[-1], "buy", None, None, zh, en)
    (signal,) = (each for each in signals_for(series, asked, None, False) if each.rule == strategy)
    usable = asked is not None and asked.as_of == signal.as_of and asked.paths > 0
    return Advice(
        signal.code,
        signal.as_of,
        signal.action,
        signal.strength,
        expected_gain(asked) if asked is not None and usable else None,
        signal.reason_zh,
        signal.reason_en,
    )


def expected_gain(forecast: PathForecast) -> float:
    """What the paths gain on average from the last close to their last day, as a part of that close."""
    return float(forecast.prices[:, -1, 3].mean()) / forecast.last_close - 1
