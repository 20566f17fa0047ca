"""The text tasks' questions and answers, in either language, worked out from what the question shows.

Nothing is invented: every figure in an answer is in its question or is computed from the rows in it, and
news is quoted with its day and source. The one exception is the sentiment task's label, which is what
prices did afterwards, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from stockllm.forecaster.datasets.figures import SHARES_A_LOT, figures
from stockllm.forecaster.encoding.prompts import Example, price_text
from stockllm.forecaster.four_points import four_points
from stockllm.market.companies import display
from stockllm.market.fees import ROUND_TRIP_COST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.records import Article, BarSeries
    from stockllm.forecaster.datasets.figures import Aftermath, Figures
    from stockllm.market.companies import Company

_TAIPEI = ZoneInfo("Asia/Taipei")
#: Daily volatility below and above which a risk is called low and high: 20% and 40% a year.
CALM, WILD = 0.20, 0.40

_SYSTEM = {
    "zh": "你是台股研究助理。只根據所給的資料回答，寫出所依據的數字，並說明風險。",
    "en": "You are a research assistant for Taiwan stocks. Answer from the data given alone, "
    "name the figures you rest on, and say what the risks are.",
}
_RISK_NOTE = {
    "zh": "風險提示：以上只描述過去的價格，不能預測未來，也不是投資建議。",
    "en": "Risk note: this describes past prices, foretells nothing and is no advice to trade.",
}
_TREND = {
    "up": ("上升", "upward"),
    "down": ("下降", "downward"),
    "sideways": ("盤整", "sideways"),
}
_LABEL = {
    "positive": ("正面", "positive"),
    "negative": ("負面", "negative"),
    "neutral": ("中性", "neutral"),
}
_ACTION = {"buy": ("買進", "buy"), "sell": ("賣出", "sell"), "hold": ("觀望", "hold")}


def example(question: str, answer: str, language: str) -> Example:
    """A question and its answer under the text tasks' system message."""
    return Example(
        [{"role": "system", "content": _SYSTEM[language]}, {"role": "user", "content": question}],
        [{"role": "assistant", "content": answer}],
    )


def data_block(rows: BarSeries, company: Company, language: str) -> str:
    """Who and when, and the rows as CSV; prices in TWD, volume in lots of 1,000 shares."""
    name, evening = display(company, language), rows.dates[-1]
    head = (
        f"公司：{company.code} {name}。截至 {evening} 收盤的日線（價格為新台幣元，量為張）："
        if language == "zh"
        else f"Company: {company.code} {name}. Daily bars up to the close of {evening} "
        "(prices in TWD, volume in lots):"
    )
    lines = [
        ",".join(
            [
                day.isoformat(),
                *(
                    price_text(float(column[i]))
                    for column in (rows.reference, rows.open, rows.high, rows.low, rows.close)
                ),
                lots(float(rows.volume[i])),
            ]
        )
        for i, day in enumerate(rows.dates)
    ]
    return "\n".join([head, "date,reference,open,high,low,close,lots", *lines])


def news_block(articles: Sequence[Article], language: str) -> str:
    """Titles with their day (Taipei) and source; a line that says so where there are none."""
    if not articles:
        return "新聞：無。" if language == "zh" else "News: none."
    lines = [f"- {_day(article)} {article.source}: {_line(article.title)}" for article in articles]
    return "\n".join(["新聞：" if language == "zh" else "News:", *lines])


def market_analysis(rows: BarSeries, company: Company, articles: Sequence[Article], language: str) -> Example:
    """Return, trend, volatility, drawdown, volume and news of the rows shown."""
    f = figures(rows)
    zh, en = _TREND[f.trend]
    if language == "zh":
        ask = "請寫一段行情分析。"
        answer = [
            f"價格：{rows.dates[-1]} 收盤 {price_text(f.close)} 元；{_back(f, language)}",
            f"趨勢：5 日均價 {f.mean5:.2f}，20 日均價 {f.mean20:.2f}，"
            f"差 {_pc(f.mean5 / f.mean20 - 1)}，屬{zh}。",
            f"波動：日波動率 {_pc(f.volatility, sign=False)}（年化 {_pc(f.annual, sign=False)}），"
            f"期間最大回落 {_pc(f.drawdown)}。",
            f"成交量：最後一日 {lots(float(rows.volume[-1]))} 張，是 20 日平均的 {f.volume_ratio:.2f} 倍。",
            _news_said(articles, language),
        ]
    else:
        ask = "Write an analysis of the market in this stock."
        answer = [
            f"Price: the close of {rows.dates[-1]} is {price_text(f.close)} TWD; {_back(f, language)}",
            f"Trend: the 5-day mean {f.mean5:.2f} against the 20-day mean {f.mean20:.2f}, "
            f"{_pc(f.mean5 / f.mean20 - 1)} apart: {en}.",
            f"Volatility: {_pc(f.volatility, sign=False)} a day ({_pc(f.annual, sign=False)} a year), "
            f"deepest fall from a high {_pc(f.drawdown)}.",
            f"Volume: {lots(float(rows.volume[-1]))} lots on the last day, {f.volume_ratio:.2f} times the "
            "20-day mean.",
            _news_said(articles, language),
        ]
    question = "\n".join([data_block(rows, company, language), news_block(articles, language), ask])
    return example(question, "\n".join([*answer, _RISK_NOTE[language]]), language)


def risk(rows: BarSeries, company: Company, language: str) -> Example:
    """Volatility, value at risk, drawdown and the worst day, and how they are called."""
    f = figures(rows)
    level = "low" if f.annual < CALM else "high" if f.annual > WILD else "medium"
    if language == "zh":
        named = {"low": "低", "medium": "中", "high": "高"}[level]
        ask = "請評估持有這檔股票的風險。"
        answer = [
            f"風險等級：{named}（年化波動率 {_pc(f.annual, sign=False)}；"
            f"低於 {CALM:.0%} 為低，高於 {WILD:.0%} 為高）。",
            f"日波動率 {_pc(f.volatility, sign=False)}，由 {f.days} 個交易日的對數漲跌計算。",
            f"歷史法 95% 一日風險值：{_pc(f.var95)}，亦即 {f.days} 日中約每二十日有一日比這更差。",
            f"期間最大回落 {_pc(f.drawdown)}；最差的一日是 {f.worst_day}，{_pc(f.worst)}。",
            "單日漲跌幅以參考價的 10% 為限，連續跌停時無法賣出，風險值不含這一點。",
        ]
    else:
        ask = "Assess the risk of holding this stock."
        answer = [
            f"Risk level: {level} (volatility {_pc(f.annual, sign=False)} a year; below {CALM:.0%} is low, "
            f"above {WILD:.0%} high).",
            f"Daily volatility {_pc(f.volatility, sign=False)}, from the log moves of {f.days} trading days.",
            f"Historical 95% value at risk for one day: {_pc(f.var95)}; of the {f.days} days about one in "
            "twenty was worse.",
            f"Deepest fall from a high {_pc(f.drawdown)}; the worst day was {f.worst_day}, {_pc(f.worst)}.",
            "A day's move is limited to 10% of the reference price; a stock locked at its limit cannot be "
            "sold, which value at risk leaves out.",
        ]
    question = "\n".join([data_block(rows, company, language), ask])
    return example(question, "\n".join([*answer, _RISK_NOTE[language]]), language)


def recommendation(rows: BarSeries, company: Company, language: str) -> Example:
    """The verdict of the four buy and sell points on the last row, with what fired."""
    verdict = four_points(rows)
    f = figures(rows)
    zh, en = _ACTION[verdict.action]
    cost = _pc(ROUND_TRIP_COST, sign=False)
    if language == "zh":
        ask = "依四大買賣點，建議買進、賣出或觀望？"
        why = "；".join(point.zh for point in verdict.points) or verdict.why_not_zh
        answer = [
            f"建議：{zh}（{rows.dates[-1]}，依四大買賣點）。",
            f"理由：{why}。",
            f"成本：買賣一趟的手續費與證交稅約 {cost}；日波動率 {_pc(f.volatility, sign=False)}，"
            f"期間最大回落 {_pc(f.drawdown)}。",
            "這個規則只看量價，未證實能勝過持有。",
        ]
    else:
        ask = "By the four buy and sell points: buy, sell or hold?"
        why = "; ".join(point.en for point in verdict.points) or verdict.why_not_en
        answer = [
            f"Recommendation: {en} ({rows.dates[-1]}, by the four points).",
            f"Reason: {why}.",
            f"Cost: commissions and tax of buying and selling again are about {cost}; daily volatility "
            f"{_pc(f.volatility, sign=False)}, deepest fall from a high {_pc(f.drawdown)}.",
            "The rule looks at price and volume alone and has not been shown to beat holding.",
        ]
    question = "\n".join([data_block(rows, company, language), ask])
    return example(question, "\n".join([*answer, _RISK_NOTE[language]]), language)


def sentiment(article: Article, company: Company, after: Aftermath, horizon: int, language: str) -> Example:
    """An article, and what the stock did after it beyond what the market did."""
    name = display(company, language)
    zh, en = _LABEL[after.label]
    words = "\n".join(part for part in (_line(article.title), _line(article.description)) if part)
    own, market, abnormal = (_pc(value) for value in (after.own, after.market, after.abnormal))
    usual = _pc(after.usual, sign=False)
    if language == "zh":
        question = (
            f"公司：{company.code} {name}\n新聞（{_day(article)}，{article.source}）：\n{words}\n"
            f"這則新聞之後 {horizon} 個交易日，股價相對大盤是正面、負面或中性？"
        )
        answer = (
            f"{zh}。{after.base} 收盤後至 {after.end}，股價對數報酬 {own}，資料庫內各公司平均 {market}，"
            f"異常報酬 {abnormal}；此股 {horizon} 日的常見幅度為 {usual}，超過其一半才算正面或負面。\n"
            "這個標籤由事後股價算出，不是對文字的解讀；單一新聞未必是漲跌的原因。"
        )
    else:
        days = "trading day" if horizon == 1 else f"{horizon} trading days"
        question = (
            f"Company: {company.code} {name}\nNews ({_day(article)}, {article.source}):\n{words}\n"
            f"Over the next {days}, was the stock positive, negative or neutral against the market?"
        )
        answer = (
            f"{en.capitalize()}. From the close of {after.base} to {after.end} the stock's log return was "
            f"{own}, the mean of the store's companies {market}, so the abnormal return was {abnormal}; "
            f"usual for this stock over as long is {usual}, and half of that makes it positive or negative.\n"
            "The label is computed from prices afterwards, it is no reading of the words, and one article "
            "need not be the cause."
        )
    return example(question, answer, language)


def _back(f: Figures, language: str) -> str:
    if language == "zh":
        return (
            f"近 5 日 {_pc(f.change5)}，{f.days} 日累計 {_pc(f.change)}，"
            f"區間 {price_text(f.low)} 至 {price_text(f.high)} 元。"
        )
    return (
        f"{_pc(f.change5)} over 5 days, {_pc(f.change)} over the {f.days} days, "
        f"between {price_text(f.low)} and {price_text(f.high)} TWD."
    )


def _news_said(articles: Sequence[Article], language: str) -> str:
    if not articles:
        return (
            "新聞：資料中沒有可引用的新聞。"
            if language == "zh"
            else "News: the data holds none that could be quoted."
        )
    said = "；".join(f"{_day(a)} {a.source}「{_line(a.title)}」" for a in articles)
    if language == "zh":
        return f"新聞：{said}。標題只供參考，未用於上述數字。"
    said = "; ".join(f'{_day(a)} {a.source}, "{_line(a.title)}"' for a in articles)
    return f"News: {said}. Titles are quoted alone and entered none of the figures."


def _pc(value: float, *, sign: bool = True) -> str:
    """A share as per cent with two decimals."""
    return f"{100 * value + 0.0:{'+' if sign else ''}.2f}%"


def lots(shares: float) -> str:
    """Shares in lots of 1,000, whole lots without decimals."""
    count = shares / SHARES_A_LOT
    return f"{count:.0f}" if count >= 10 else f"{count:.3f}".rstrip("0").rstrip(".")


def _day(article: Article) -> str:
    return article.published_at.astimezone(_TAIPEI).date().isoformat()


def _line(text: str) -> str:
    return " ".join(text.split())
