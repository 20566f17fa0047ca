"""Three rules that each look at one company on one day and say buy, sell or hold, and why.

- ``mean``: A is the mean of the last 20 closes, B the mean of the forecast closes; buy when B lies
  above A, sell when below, hold when the two are close. The rule of the older course project that
  fitted closes alone.
- ``four-points``: twstock's BestFourPoint, see ``stockllm.forecaster.four_points``.
- ``edge``: how probable the sampled paths themselves hold a gain, or a loss, larger than what
  buying and selling again costs.

A signal is advice with its figures, not an order. A forecast that was made for an earlier day than
the last bar is stale: the rules that need one then hold, and say of which day it was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stockllm.data.errors import NotEnoughHistory
from stockllm.data.records import Signal
from stockllm.forecaster.four_points import four_points
from stockllm.market.fees import ROUND_TRIP_COST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.records import Action, BarSeries, PathForecast
    from stockllm.data.store import Store

#: Closes in A, the mean rule's look-back.
MEAN_DAYS = 20

#: The mean rule holds while B is within this share of A: up to one tick of most prices.
MEAN_TOLERANCE = 0.001

#: The edge rule acts above this probability. One half would flip on a single path; with 99 paths a
#: fair coin strays by 0.05.
EDGE_THRESHOLD = 0.55


def signals_for(
    series: BarSeries, forecast: PathForecast | None, forecast_id: int | None, simulated: bool
) -> list[Signal]:
    """The three verdicts on the last day of ``series``; pure, nothing is read or stored.

    ``forecast`` may be None, stale or of any number of paths; ``forecast_id`` is carried by the
    signals that used it. ``strength`` is B / A - 1 for the mean rule; for the edge rule the
    probability of a loss past the cost where it sells, else that of a gain; None where a rule had
    nothing to go by, and always for the four points. An empty series has no day to judge: [].
    """
    if not len(series):
        return []
    blank = Signal(series.code, series.dates[-1], "mean", "hold", "", "", simulated=simulated)
    used = replace(blank, forecast_id=forecast_id)
    usable = _usable(series, forecast)
    if isinstance(usable, tuple):
        zh, en = usable
        return [
            replace(blank, rule="mean", reason_zh=f"{zh}。", reason_en=f"{en}."),
            _four_points(series, blank),
            replace(blank, rule="edge", reason_zh=f"{zh}。", reason_en=f"{en}."),
        ]
    return [_mean(series, usable, used), _four_points(series, blank), _edge(usable, used)]


def refresh_signals(store: Store, codes: Sequence[str]) -> list[Signal]:
    """Judge each company on its last bar with its newest forecast, store the signals, return them.

    Companies come in the order given. Raises NotEnoughHistory for a company without a single bar,
    before anything is stored.
    """
    signals: list[Signal] = []
    for code in codes:
        series = store.bars.series(code)
        if not len(series):
            raise NotEnoughHistory(
                f"{code} has no prices in the store, so there is nothing to judge; "
                "bring some in with 'stockllm import PATH'.",
                zh=f"資料庫沒有 {code} 的股價，無從判斷：請用 'stockllm import PATH' 匯入。",
            )
        forecast_id, forecast = store.ledger.latest(code) or (None, None)
        simulated = store.simulated or (forecast is not None and forecast.simulated)
        signals.extend(signals_for(series, forecast, forecast_id, simulated))
    store.signals.put(signals)
    return signals


def _usable(series: BarSeries, forecast: PathForecast | None) -> PathForecast | tuple[str, str]:
    """The forecast if it starts from the last bar, else why it cannot be used, in both languages."""
    last = series.dates[-1]
    if forecast is None:
        return "尚無預測，請先執行 stockllm forecast", "There is no forecast yet; run 'stockllm forecast'"
    if forecast.code != series.code:
        raise ValueError(f"a forecast of {forecast.code} says nothing about {series.code}")
    if forecast.as_of != last:
        return (
            f"預測作於 {forecast.as_of}，與最後交易日 {last} 不符，請重新執行 stockllm forecast",
            f"The forecast is of {forecast.as_of}, but the last bar is of {last}; "
            "run 'stockllm forecast' again",
        )
    if forecast.paths == 0 or forecast.horizon == 0:
        return "預測沒有任何路徑", "The forecast holds no path"
    return forecast


def _mean(series: BarSeries, forecast: PathForecast, blank: Signal) -> Signal:
    import numpy as np

    closes = series.close[-MEAN_DAYS:]
    known = int(np.count_nonzero(np.isfinite(closes) & (closes > 0)))
    if known < MEAN_DAYS:
        return replace(
            blank,
            rule="mean",
            forecast_id=None,
            reason_zh=f"近 {MEAN_DAYS} 日只有 {known} 天的收盤價，無法計算均價。",
            reason_en=f"Only {known} of the last {MEAN_DAYS} closes are known, too few for their mean.",
        )
    a = float(closes.mean())
    b = float(np.median(forecast.prices[:, :, 3], axis=0).mean()) / 100
    ratio = b / a - 1
    action: Action = "hold" if abs(ratio) <= MEAN_TOLERANCE else "buy" if b > a else "sell"
    zh = {"buy": "高於", "sell": "低於", "hold": "相當於"}[action]
    en = {"buy": "is above", "sell": "is below", "hold": "is close to"}[action]
    return replace(
        blank,
        rule="mean",
        action=action,
        strength=ratio,
        reason_zh=f"預測 {forecast.horizon} 日收盤均價 B = {b:,.2f}，"
        f"{zh}近 {MEAN_DAYS} 日收盤均價 A = {a:,.2f}（{ratio:+.2%}）。",
        reason_en=f"B = {b:,.2f}, the mean of the {forecast.horizon} forecast closes, "
        f"{en} A = {a:,.2f}, the mean of the last {MEAN_DAYS} closes ({ratio:+.2%}).",
    )


def _four_points(series: BarSeries, blank: Signal) -> Signal:
    verdict = four_points(series)
    zh, en = verdict.why_not_zh, verdict.why_not_en
    if verdict.action != "hold":
        numbers = ", ".join(str(p.number) for p in verdict.points)
        side_zh, side_en = ("買點", "Buy") if verdict.action == "buy" else ("賣點", "Sell")
        plural = "s" if len(verdict.points) > 1 else ""
        zh = f"{side_zh} {numbers}：" + "；".join(p.zh for p in verdict.points)
        en = f"{side_en} point{plural} {numbers}: " + "; ".join(p.en for p in verdict.points)
    return replace(
        blank,
        rule="four-points",
        action=verdict.action,
        reason_zh=f"{zh}。",
        reason_en=f"{en}.",
    )


def _edge(forecast: PathForecast, blank: Signal) -> Signal:
    import numpy as np

    moves = forecast.prices[:, -1, 3].astype(np.float64) / forecast.last_close - 1
    gains = int(np.count_nonzero(moves > ROUND_TRIP_COST))
    losses = int(np.count_nonzero(moves < -ROUND_TRIP_COST))
    paths = forecast.paths
    gain, loss = gains / paths, losses / paths
    action: Action = "buy" if gain > EDGE_THRESHOLD else "sell" if loss > EDGE_THRESHOLD else "hold"
    verdict_zh, verdict_en = (
        (f"皆未超過門檻 {EDGE_THRESHOLD:.0%}", f"neither is above {EDGE_THRESHOLD:.0%}")
        if action == "hold"
        else (
            f"超過門檻 {EDGE_THRESHOLD:.0%}",
            f"{gain if action == 'buy' else loss:.1%} is above {EDGE_THRESHOLD:.0%}",
        )
    )
    return replace(
        blank,
        rule="edge",
        action=action,
        strength=loss if action == "sell" else gain,
        reason_zh=f"{forecast.horizon} 個交易日後，{paths} 條路徑中漲逾來回成本 {ROUND_TRIP_COST:.3%} "
        f"者 {gains} 條（{gain:.1%}），跌逾者 {losses} 條（{loss:.1%}），{verdict_zh}。",
        reason_en=f"After {forecast.horizon} trading days {gains} of {paths} paths ({gain:.1%}) "
        f"gain more than the round-trip cost of {ROUND_TRIP_COST:.3%} and {losses} ({loss:.1%}) "
        f"lose more than it; {verdict_en}.",
    )
