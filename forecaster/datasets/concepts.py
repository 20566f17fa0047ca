"""Terms of the market, each explained and worked through with the figures of the rows shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from stockllm.forecaster.datasets.answers import data_block, example, lots
from stockllm.forecaster.datasets.figures import YEAR, figures
from stockllm.forecaster.encoding.prompts import price_text
from stockllm.market.fees import COMMISSION_RATE, ROUND_TRIP_COST, SALES_TAX_RATE
from stockllm.market.ticks import limits, table_of, tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from stockllm.data.records import BarSeries
    from stockllm.forecaster.encoding.prompts import Example
    from stockllm.market.companies import Company

#: (Chinese name, English name, its explanation worked through in both languages).
Worked = tuple[str, str]


def concept(number: int, rows: BarSeries, company: Company, language: str) -> Example:
    """The ``number``-th term, explained with these rows, which end on the evening asked about."""
    zh, en, work = TERMS[number]
    ask = (
        f"什麼是「{zh}」？請用上面的數字算一次。"
        if language == "zh"
        else f"What is {en}? Work it through with the figures above."
    )
    chinese, english = work(rows)
    question = f"{data_block(rows, company, language)}\n{ask}"
    return example(question, chinese if language == "zh" else english, language)


def _log_return(rows: BarSeries) -> Worked:
    close, reference = float(rows.close[-1]), float(rows.reference[-1])
    a, b, day = price_text(close), price_text(reference), rows.dates[-1]
    log, simple = math.log(close / reference), close / reference - 1
    return (
        f"對數報酬是收盤價除以當日參考價的自然對數，相加即為多日報酬。{day}：ln({a} / {b}) = {log:+.4f}，"
        f"一般報酬則為 {simple:+.4f}。",
        "A log return is the natural logarithm of the close over the day's reference price; those of several "
        f"days add up. {day}: ln({a} / {b}) = {log:+.4f}, where the simple return is {simple:+.4f}.",
    )


def _volatility(rows: BarSeries) -> Worked:
    f = figures(rows)
    return (
        f"波動率是每日對數報酬的標準差。以 {f.days} 日計算為 {f.volatility:.4f}；乘上 {YEAR} 的平方根，"
        f"年化為 {f.annual:.4f}。波動率只說幅度，不說方向。",
        f"Volatility is the standard deviation of daily log returns. Over these {f.days} days it is "
        f"{f.volatility:.4f}; times the square root of {YEAR} that is {f.annual:.4f} a year. It tells the "
        "size of moves, not their direction.",
    )


def _drawdown(rows: BarSeries) -> Worked:
    f = figures(rows)
    return (
        f"最大回落是從先前高點（以收盤的累計報酬計）跌下的最大比例。這 {f.days} 日為 {f.drawdown:+.4f}；"
        "為零表示收盤從未低於先前的高點。",
        "The maximum drawdown is the deepest fall from an earlier high, on returns cumulated close by close. "
        f"Over these {f.days} days it is {f.drawdown:+.4f}; zero would mean that no close lay below an "
        "earlier high.",
    )


def _value_at_risk(rows: BarSeries) -> Worked:
    f = figures(rows)
    return (
        f"歷史法的 95% 一日風險值是過去每日漲跌的 5% 分位數。這 {f.days} 日為 {f.var95:+.4f}；最差一日 "
        f"{f.worst_day} 為 {f.worst:+.4f}，可見風險值不是最壞的情形。",
        "The historical 95% value at risk for one day is the 5% quantile of past daily moves. Over these "
        f"{f.days} days it is {f.var95:+.4f}; the worst day, {f.worst_day}, was {f.worst:+.4f}, so it is not "
        "the worst that can be.",
    )


def _moving_average(rows: BarSeries) -> Worked:
    closes = rows.close[-5:].tolist()
    terms = " + ".join(price_text(close) for close in closes)
    mean = sum(closes) / len(closes)
    return (
        f"5 日均價是最近 5 個收盤價的平均：({terms}) / 5 = {mean:.2f}。它落後於價格，轉折總是後知後覺。",
        f"The 5-day moving average is the mean of the last 5 closes: ({terms}) / 5 = {mean:.2f}. It lags the "
        "price and sees every turn late.",
    )


def _limit(rows: BarSeries) -> Worked:
    close = round(float(rows.close[-1]) * 100)
    down, up = (price_text(int(price) / 100) for price in limits(close, rows.dates[-1]))
    last = price_text(close / 100)
    return (
        f"漲跌停是一日可成交的價格範圍：參考價的上下 10%，取範圍內最近的檔位。若次日參考價為 {last}"
        f"（無除權息），漲停 {up}，跌停 {down}。",
        "Limit-up and limit-down bound a day's prices: 10% above and below the reference price, at the "
        f"nearest tick inside. With {last} as the next day's reference (no ex-date), they are {up} "
        f"and {down}.",
    )


def _tick(rows: BarSeries) -> Worked:
    close = round(float(rows.close[-1]) * 100)
    step = tick(close, table_of(rows.code, rows.dates[-1])) / 100
    return (
        f"檔位是報價的最小單位，隨價格而變。收盤 {price_text(close / 100)} 元時一檔為 {step:g} 元，"
        f"相當於 {step * 100 / close * 100:.3f}%。",
        "A tick is the smallest step of a quoted price and grows with the price. At the close of "
        f"{price_text(close / 100)} TWD it is {step:g} TWD, which is {step * 100 / close * 100:.3f}%.",
    )


def _cost(rows: BarSeries) -> Worked:
    price, commission, tax = float(rows.close[-1]), float(COMMISSION_RATE), float(SALES_TAX_RATE)
    lot = price * 1000 * ROUND_TRIP_COST
    return (
        f"交易成本：買賣各付手續費 {commission:.4%}（未打折），賣出另付證交稅 {tax:.1%}，一趟共 "
        f"{ROUND_TRIP_COST:.3%}。以 {price_text(price)} 元買賣一張，約 {lot:,.0f} 元；漲幅不到此數就是虧損。",
        f"The cost of a round trip: commission of {commission:.4%} on either side (no discount) and "
        f"{tax:.1%} tax on the sale, {ROUND_TRIP_COST:.3%} in all. One lot at {price_text(price)} TWD costs "
        f"about {lot:,.0f} TWD; a smaller gain is a loss.",
    )


def _volume(rows: BarSeries) -> Worked:
    f = figures(rows)
    last = lots(float(rows.volume[-1]))
    return (
        f"量比在此是當日成交量除以最近 20 日的平均。{rows.dates[-1]} 成交 {last} 張，"
        f"量比 {f.volume_ratio:.2f}；"
        "大於 1 表示比平常活絡。",
        "The volume ratio is here the day's volume over the mean of the last 20 days. "
        f"{rows.dates[-1]} traded {last} lots, a ratio of {f.volume_ratio:.2f}; above 1 is busier "
        "than usual.",
    )


def _band(rows: BarSeries) -> Worked:
    f = figures(rows)
    low, high = (f.close * math.exp(side * 1.2816 * f.volatility) for side in (-1, 1))
    return (
        f"80% 區間：若次日的對數報酬為常態、平均為零、標準差為 {f.volatility:.4f}，收盤有八成機會落在 "
        f"{low:.2f} 至 {high:.2f} 元之間"
        f"（收盤 {price_text(f.close)} 元乘以 exp(±1.2816 × {f.volatility:.4f})）。"
        "實際報酬的尾巴較厚，漲跌停也會截斷它。",
        f"An 80% band: were the next log return normal with mean zero and standard deviation "
        f"{f.volatility:.4f}, the close would lie between {low:.2f} and {high:.2f} TWD in eight cases of ten "
        f"({price_text(f.close)} TWD times exp(±1.2816 × {f.volatility:.4f})). Real returns have fatter "
        "tails, and the daily limits cut them.",
    )


def _candle(rows: BarSeries) -> Worked:
    i = len(rows) - 1
    o, h, low, c = (float(getattr(rows, name)[i]) for name in ("open", "high", "low", "close"))
    upper, lower = h - max(o, c), min(o, c) - low
    words = [price_text(x) for x in (o, h, low, c)]
    body = "紅" if c > o else "綠" if c < o else "十字"
    colour = "rising" if c > o else "falling" if c < o else "with no body"
    return (
        f"K 線以開高低收畫一日。{rows.dates[-1]}：開 {words[0]}、高 {words[1]}、低 {words[2]}、"
        f"收 {words[3]}，為{body} K；實體 {abs(c - o):.2f} 元，上影 {upper:.2f} 元，下影 {lower:.2f} 元。",
        f"A candle draws a day by its open, high, low and close. {rows.dates[-1]}: {', '.join(words)}, a "
        f"candle {colour}; its body is {abs(c - o):.2f} TWD, its upper shadow {upper:.2f} and its lower "
        f"{lower:.2f} TWD.",
    )


def _momentum(rows: BarSeries) -> Worked:
    moves = np.log(rows.close[-10:] / rows.reference[-10:])
    share = int((moves > 0).sum())
    return (
        f"動能常以近期累計報酬衡量。最近 {len(moves)} 日的對數報酬合計 {float(moves.sum()):+.4f}，"
        f"其中 {share} 日上漲。短期動能是否持續，並無保證。",
        f"Momentum is often measured by the return of recent days. The log returns of the last {len(moves)} "
        f"days sum to {float(moves.sum()):+.4f}, with {share} rising days. Nothing guarantees that it lasts.",
    )


TERMS: tuple[tuple[str, str, Callable[[BarSeries], Worked]], ...] = (
    ("對數報酬", "a log return", _log_return),
    ("波動率", "volatility", _volatility),
    ("最大回落", "the maximum drawdown", _drawdown),
    ("風險值", "value at risk", _value_at_risk),
    ("移動平均", "a moving average", _moving_average),
    ("漲跌停", "a daily price limit", _limit),
    ("檔位", "a tick", _tick),
    ("交易成本", "the cost of a round trip", _cost),
    ("量比", "a volume ratio", _volume),
    ("預測區間", "a forecast band", _band),
    ("K 線", "a candle", _candle),
    ("動能", "momentum", _momentum),
)
