"""Which forecasts and trades paid, in lines that a later tuning can learn preferences from.

Each line says from which evening on it can be known. docs/trading.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import BarSeries, PathForecast
from stockllm.forecaster.encoding.limits import LOOK_BACK, SHORTEST_LOOK_BACK
from stockllm.forecaster.encoding.prompts import prompt_messages, training_messages
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.market.fees import ROUND_TRIP_COST
from stockllm.trading.backtest.trades import Trade
from stockllm.trading.strategy.strategies import advise, expected_gain

if TYPE_CHECKING:
    from pathlib import Path

    from stockllm.data.store import Store
    from stockllm.market.companies import Company
    from stockllm.trading.backtest.backtest import Backtest

Floats = NDArray[np.float64]


def of_backtest(store: Store, made: Backtest) -> Iterator[dict[str, Any]]:
    """The lines of a backtest: its forecasts and pairs by evening and company, then its trades."""
    sampled = made.sampled
    if sampled is not None:
        companies = {code: store.company(code) for code in made.series}
        for day in made.run.days[:-1]:
            for code, series in made.series.items():
                forecast = sampled.of(code, day.session)
                if forecast is not None:
                    yield from of_forecast(forecast, series, companies[code], made.request.strategy)
    yield from map(of_trade, made.run.trades)


def of_ledger(store: Store, strategy: str) -> Iterator[dict[str, Any]]:
    """The lines of the ledger's forecasts whose last day has come, the oldest first.

    ``strategy`` is the one whose verdicts are judged.
    """
    series: dict[str, BarSeries] = {}
    for row in reversed(store.ledger.list(limit=2**31)):
        if row.code not in series:
            series[row.code] = store.bars.series(row.code)
        forecast = store.ledger.get(row.id)
        yield from of_forecast(forecast, series[row.code], store.company(row.code), strategy)


def of_forecast(
    forecast: PathForecast, series: BarSeries, company: Company, strategy: str
) -> Iterator[dict[str, Any]]:
    """What became of a forecast, and the pair it gives; nothing while its last day has not come.

    ``series`` holds the company's bars before and after the evening.
    """
    known = series.until(forecast.as_of)
    ahead = series[len(known) : len(known) + forecast.horizon]
    if len(ahead) < forecast.horizon or not len(known) or known.dates[-1] != forecast.as_of:
        return
    # From each day's reference, so that an ex-date is no loss: what a holder had of it.
    came = np.exp(np.cumsum(np.log(ahead.close / ahead.reference)))
    advice = advise(strategy, known, forecast)
    made_by = {
        "code": forecast.code,
        "as_of": forecast.as_of.isoformat(),
        "known_from": ahead.dates[-1].isoformat(),
        "model": forecast.model,
        "model_hash": forecast.model_hash,
        "adapter": forecast.adapter,
        "adapter_hash": forecast.adapter_hash,
        "style": forecast.prompt,
        "horizon": forecast.horizon,
        "simulated": forecast.simulated,
    }
    gain = float(came[-1]) - 1
    yield (
        {"kind": "forecast"}
        | made_by
        | {
            "paths": forecast.paths,
            "seed": forecast.seed,
            "strategy": strategy,
            "verdict": advice.action if advice is not None else "hold",
            "expected": expected_gain(forecast),
            "came": gain,
            "paid": _paid(advice.action if advice is not None else "hold", gain),
        }
    )
    chosen, rejected = preferred(forecast, came)
    if chosen is not None and rejected is not None:
        window = _window(forecast, known, company)
        yield (
            {"kind": "pair"}
            | made_by
            | {
                "came": gain,
                "prompt": prompt_messages(window, forecast.prompt),
                "chosen": _answer(window, forecast, chosen),
                "rejected": _answer(window, forecast, rejected),
            }
        )


def preferred(forecast: PathForecast, came: Floats) -> tuple[int | None, int | None]:
    """Which of the paths called what came and is nearest to it, and which called the opposite and is
    farthest; None where no path did, or where what came would not have paid for a trade.

    ``came`` are prices as multiples of the last close, shape (horizon,).
    """
    move = float(came[-1]) - 1
    if abs(move) <= ROUND_TRIP_COST:
        return None, None
    closes = forecast.prices[:, :, 3].astype(np.float64) / forecast.last_close
    distance = np.abs(np.log(closes) - np.log(came)).mean(axis=1)
    called = (closes[:, -1] - 1) * np.sign(move)
    right, wrong = np.flatnonzero(called > ROUND_TRIP_COST), np.flatnonzero(called < -ROUND_TRIP_COST)
    return (
        int(right[np.argmin(distance[right])]) if len(right) else None,
        int(wrong[np.argmax(distance[wrong])]) if len(wrong) else None,
    )


def of_trade(trade: Trade) -> dict[str, Any]:
    """The line of a sale."""
    facts = trade.document()
    return {"kind": "trade", "known_from": facts["sold"]} | facts | {"paid_off": trade.profit > 0}


def write(lines: Iterable[dict[str, Any]], target: Path) -> dict[str, int]:
    """Write the lines to a file, which appears whole or not at all; how many of each kind.

    OSError where it cannot be written.
    """
    counts = {"forecast": 0, "pair": 0, "trade": 0}
    draft = target.with_name(f".{target.name}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            for line in lines:
                counts[line["kind"]] += 1
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return counts


def _paid(action: str, gain: float) -> bool | None:
    """Whether acting paid for its round trip; a hold acted on nothing."""
    if action == "hold":
        return None
    return (gain if action == "buy" else -gain) > ROUND_TRIP_COST


def _window(forecast: PathForecast, known: BarSeries, company: Company) -> Window:
    past = max(SHORTEST_LOOK_BACK, min(LOOK_BACK[forecast.prompt], len(known)))
    return open_window(known, company, past, forecast.dates)


def _answer(window: Window, forecast: PathForecast, path: int) -> list[Any]:
    """One path as the model would have said it."""
    prices = forecast.prices[path].astype(np.float64) / 100
    opened, high, low, close = prices.T
    before = np.concatenate(([forecast.last_close / 100], close[:-1]))
    volume = forecast.volumes[path].astype(np.float64)
    future = BarSeries(forecast.code, forecast.dates, opened, high, low, close, volume, before)
    return list(training_messages(replace(window, future=future), forecast.prompt).completion)
