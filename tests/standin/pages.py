"""The sites' answers about a generated market, in the shapes that public clients document."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from standin.market import OTHERS, GeneratedMarket, Quote
from stockllm.market.calendar import default_calendar

NO_DATA = {"stat": "很抱歉，沒有符合條件的資料!"}


def names(*parts: str) -> list[str]:
    return "|".join(parts).split("|")


DAY_FIELDS = {
    "TWSE": names(
        "證券代號|證券名稱|成交股數|成交筆數|成交金額|開盤價|最高價|最低價|收盤價|漲跌(+/-)|漲跌價差",
        "最後揭示買價|最後揭示買量|最後揭示賣價|最後揭示賣量|本益比",
    ),
    "TPEx": names(
        "代號|名稱|收盤 |漲跌|開盤 |最高 |最低|均價 |成交股數  | 成交金額(元)| 成交筆數 |最後買價",
        "最後買量(張數)|最後賣價|最後賣量(張數)|發行股數 |次日參考價|次日 漲停價 |次日 跌停價",
    ),
}
MONTH_FIELDS = {
    "TWSE": names("日期|成交股數|成交金額|開盤價|最高價|最低價|收盤價|漲跌價差|成交筆數|註記"),
    "TPEx": names("日 期|成交張數|成交仟元|開盤|最高|最低|收盤|漲跌|筆數"),
}
EX_FIELDS = {
    "TWSE": names(
        "資料日期|股票代號|股票名稱|除權息前收盤價|除權息參考價|權值+息值|權/息|漲停價格|跌停價格|開盤競價基準",
        "減除股利參考價|詳細資料|最近一次申報資料 季別/日期|最近一次申報每股 (單位)淨值",
        "最近一次申報每股 (單位)盈餘",
    ),
    "TPEx": names(
        "除權息日期|代號|名稱|除權息前收盤價|除權息參考價|權值|息值|權值+息值|權/息|漲停價|跌停價|開始交易基準價",
        "減除股利參考價|現金股利|每仟股無償配股|現金增資股數|現金增資認購價|公開承銷股數|員工認購股數",
        "原股東認購股數|按持股比例仟股認購",
    ),
}


def roc(day: date, mark: str = "/") -> str:
    if mark == "年":
        return f"{day.year - 1911}年{day.month:02d}月{day.day:02d}日"
    return f"{day.year - 1911}{mark}{day.month:02d}{mark}{day.day:02d}"


def price(cents: int) -> str:
    return f"{cents / 100:,.2f}"


def signed(cents: int) -> str:
    return f"{cents / 100:+.2f}" if cents else "0.00"


# A whole market's day


def day_list(market: GeneratedMarket, exchange: str, day: date) -> dict[str, Any]:
    """MI_INDEX or dailyQuotes of a session."""
    rows = [_day_row(exchange, c.listed_name, market.quotes[c.code, day]) for c in market.of(exchange)]
    rows += [_other_row(exchange, code, name) for code, name in OTHERS]
    if exchange == "TWSE":
        indices = {"title": f"{roc(day, '年')} 價格指數(臺灣證券交易所)", "fields": ["指數", "收盤指數"]}
        quotes = {
            "title": f"{roc(day, '年')} 每日收盤行情(全部)",
            "fields": DAY_FIELDS[exchange],
            "data": rows,
            "hints": "單位：元、股",
        }
        tables = [{**indices, "data": [["寶島股價指數", "25,000.00"]]}, {}, quotes]
        return {"tables": tables, "date": f"{day:%Y%m%d}", "type": "ALLBUT0999", "stat": "OK"}
    table = {
        "title": "上櫃股票行情",
        "date": roc(day),
        "totalCount": len(rows),
        "fields": DAY_FIELDS[exchange],
        "data": rows,
    }
    managed = {
        "title": "管理股票",
        "date": roc(day),
        "totalCount": 0,
        "fields": DAY_FIELDS[exchange],
        "data": [],
    }
    return {"tables": [table, managed], "date": f"{day:%Y%m%d}", "flagField": "張數", "stat": "ok"}


def empty_day(exchange: str, day: date) -> dict[str, Any]:
    """What an exchange answers about a day without a list."""
    if exchange == "TWSE":
        return NO_DATA
    table = {
        "title": "上櫃股票行情",
        "date": roc(day),
        "totalCount": 0,
        "fields": DAY_FIELDS["TPEx"],
        "data": [],
    }
    return {"tables": [table], "date": f"{day:%Y%m%d}", "stat": "ok"}


def _day_row(exchange: str, name: str, quote: Quote) -> list[str]:
    traded = quote.prices is not None
    open_, high, low, last = map(price, quote.prices) if quote.prices else ("--",) * 4
    volume, value, trades = f"{quote.volume:,}", f"{quote.value:,}", f"{quote.trades:,}"
    ex_date = quote.ex
    if exchange == "TWSE":
        sign = "<p> </p>"
        change = "0.00"
        if ex_date:
            sign = "<p>X</p>"
        elif traded and quote.change:
            colour, mark = ("red", "+") if quote.change > 0 else ("green", "-")
            sign = f"<p style= color:{colour}>{mark}</p>"
            change = price(abs(quote.change))
        figures = [volume, trades, value, open_, high, low, last, sign, change]
        return [quote.code, name, *figures, last, "10", last, "12", "15.20"]
    change = "除息 " if ex_date else signed(quote.change) + " " if traded else "---"
    blank = "----"
    cells = [last, change, open_, high, low] if traded else [blank, change, blank, blank, blank]
    rest = [volume, value, trades, last, "10", last, "12", "100,000,000", last, last, last]
    return [quote.code, name, *cells, last, *rest]


def _other_row(exchange: str, code: str, name: str) -> list[str]:
    cells = ["1,000", "3", "9,000", *["9.00"] * 4, "<p> </p>", "0.00", *["9.00"] * 5]
    if exchange == "TWSE":
        return [code, name, *cells]
    return [code, name, *["9.00"] * 6, "1,000", "9,000", "3", *["9.00"] * 8]


def open_data(market: GeneratedMarket, exchange: str, day: date) -> list[dict[str, str]]:
    """STOCK_DAY_ALL or tpex_mainboard_daily_close_quotes: strings, one object a stock."""
    rows = []
    stamp = f"{day.year - 1911}{day:%m%d}"
    for company in market.of(exchange):
        quote = market.quotes[company.code, day]
        open_, high, low, last = (f"{p / 100:.2f}" for p in quote.prices) if quote.prices else ("",) * 4
        change = "" if quote.prices is None else "0.0000" if quote.ex else f"{quote.change / 100:.4f}"
        volume, value, trades = str(quote.volume), str(quote.value), str(quote.trades)
        if exchange == "TWSE":
            rows.append({"Date": stamp, "Code": company.code, "Name": company.listed_name})
            rows[-1] |= {"TradeVolume": volume, "TradeValue": value, "OpeningPrice": open_}
            rows[-1] |= {"HighestPrice": high, "LowestPrice": low, "ClosingPrice": last}
            rows[-1] |= {"Change": change, "Transaction": trades}
        else:
            rows.append({"Date": stamp, "SecuritiesCompanyCode": company.code})
            rows[-1] |= {"CompanyName": company.listed_name, "Close": last, "Change": change + " "}
            rows[-1] |= {"Open": open_, "High": high, "Low": low, "TradingShares": volume}
            rows[-1] |= {"TransactionAmount": value, "TransactionNumber": trades, "LatesAskPrice": last}
    return rows


# One stock's month


def month(
    market: GeneratedMarket, exchange: str, code: str, days: Sequence[date], first: date
) -> dict[str, Any]:
    """STOCK_DAY or tradingStock: the sessions of ``days``."""
    company = next(c for c in market.companies if c.code == code)
    rows = [_month_row(exchange, market.quotes[code, day]) for day in days]
    heading = f"{first.year - 1911}年{first.month:02d}月 {code} {company.listed_name}"
    if exchange == "TWSE":
        return {
            "stat": "OK",
            "date": f"{first:%Y%m%d}",
            "title": f"{heading}           各日成交資訊",
            "fields": MONTH_FIELDS[exchange],
            "data": rows,
            "notes": ["符號說明:+/-/X表示漲/跌/不比價"],
            "total": len(rows),
        }
    table = {
        "title": "個股日成交資訊",
        "subtitle": heading,
        "date": f"{first.year - 1911}/{first.month:02d}",
        "fields": MONTH_FIELDS[exchange],
        "data": rows,
        "totalCount": len(rows),
        "summary": [],
    }
    return {
        "tables": [table],
        "date": f"{first:%Y%m%d}",
        "code": code,
        "name": company.listed_name,
        "flagField": "張數",
        "stat": "ok",
    }


def no_such_month() -> dict[str, Any]:
    """What tradingStock answers where it does not understand the question: ok, and nothing."""
    table = {"title": "個股日成交資訊", "subtitle": "請輸入股票代碼及資料年月", "totalCount": 0}
    return {"tables": [table | {"fields": MONTH_FIELDS["TPEx"], "data": []}], "stat": "ok"}


def _month_row(exchange: str, quote: Quote) -> list[str]:
    prices = [price(p) for p in quote.prices] if quote.prices else ["--"] * 4
    change = signed(quote.change) if quote.prices else "0.00"
    if exchange == "TWSE":
        if quote.ex:
            change = "X0.00"
        head = [roc(quote.day), f"{quote.volume:,}", f"{quote.value:,}"]
        return [*head, *prices, change, f"{quote.trades:,}", ""]
    if quote.ex:
        change = "除息"
    head = [roc(quote.day), f"{quote.volume // 1000:,}", f"{quote.value // 1000:,}"]
    return [*head, *prices, change, f"{quote.trades:,}"]


# Ex-dates


def ex_rights(market: GeneratedMarket, exchange: str, start: date, end: date) -> dict[str, Any]:
    """TWT49U or exDailyQ."""
    rows = []
    for quote in market.ex_quotes(exchange, start, end):
        worth = (quote.before - quote.base) / 100
        limits = [price(quote.base * 11 // 10), price(quote.base * 9 // 10)]
        base, before = price(quote.base), price(quote.before)
        if exchange == "TWSE":
            tail = [f"{worth:.6f}", "息", *limits, base, base, f"{quote.code},{quote.day:%Y%m%d}", "", "", ""]
            rows.append([roc(quote.day, "年"), quote.code, "某某", before, base, *tail])
        else:
            tail = ["0.000000", f"{worth:.6f}", f"{worth:.6f}", "除息", *limits, base, base, f"{worth:.2f}"]
            rows.append([roc(quote.day), quote.code, "某某", before, base, *tail, *["0"] * 7])
    if exchange == "TWSE":
        span = f"{roc(start, '年')} 至 {roc(end, '年')}"
        head = {"stat": "OK", "title": f"{span} 除權除息計算結果表"}
        return {**head, "fields": EX_FIELDS[exchange], "data": rows}
    table = {"title": "", "totalCount": len(rows), "fields": EX_FIELDS[exchange], "data": rows}
    return {"date": f"{start:%Y%m%d}~{end:%Y%m%d}", "tables": [table], "stat": "ok"}


# Holidays


def holidays(year: int) -> dict[str, Any]:
    """The schedule of a year, by the rules; with both kinds of rows that are sessions after all."""
    calendar = default_calendar()
    rows = []
    day = date(year, 1, 1)
    while day.year == year:
        if day.weekday() < 5 and not calendar.is_session(day) and day not in calendar.closed:
            before, after = day - timedelta(days=1), calendar.next_sessions(day, 1)[0]
            if day.month in (1, 2) and before.year == year and calendar.is_session(before):
                rows.append(
                    [before.isoformat(), "農曆春節前最後交易日", "農曆春節前最後交易日。<br>次日起放假"]
                )
            if day.month in (1, 2) and before.year == year and calendar.is_session(before):
                # Two days for settlement alone, of which some years' schedules say so.
                note = f"{day.month}月{day.day}日市場無交易，僅辦理結算交割作業。"
                rows.append([day.isoformat(), "農曆春節前最後交易日", note])
            else:
                rows.append([day.isoformat(), "假日", "依規定放假1日。"])
            if day.month == 1 and after.year == year:
                rows.append([after.isoformat(), "國曆新年開始交易日", "國曆新年開始交易。"])
        day += timedelta(days=1)
    rows.append([date(year, 2, 28).isoformat(), "和平紀念日", "依規定放假1日。"])
    return {
        "stat": "ok",
        "queryYear": year - 1911,
        "title": f"中華民國 {year - 1911} 年市場開休市日期",
        "fields": ["日期", "名稱", "說明"],
        "data": rows,
        "total": len(rows),
    }


# News


def news(company_name: str, language: str, now: datetime, count: int) -> dict[str, Any]:
    """``/v2/everything`` of a company: the same articles however often it is asked."""
    articles = []
    for n in range(count):
        at = (now - timedelta(days=2)).replace(hour=n % 24, minute=0, second=0, microsecond=0)
        title = f"{company_name} 營收成長 {n}" if language == "zh" else f"{company_name} revenue grows {n}"
        articles.append(
            {
                "source": {"id": None, "name": "Example"},
                "author": None,
                "title": title,
                "description": f"{title} ({at:%Y-%m-%d})",
                "url": f"https://news.example/{language}/{company_name}/{at:%Y%m%d}/{n}?utm_source=x",
                "urlToImage": None,
                "publishedAt": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "content": "… [+1200 chars]",
            }
        )
    return {"status": "ok", "totalResults": len(articles), "articles": articles}
