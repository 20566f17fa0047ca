"""What is true beside prices: institutions, margin, revenue, New York and futures; and how sites tell it.

Every figure follows from its key and the seed alone. ``Truth`` lists what a store must hold, each with
the moment from which it was public.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from standin.clock import TAIPEI
from standin.market import GeneratedMarket
from standin.pages import NO_DATA, names, roc

NEW_YORK = ZoneInfo("America/New_York")
#: A holiday of New York's within the generated weeks; nobody in Taipei knows of it.
HOLIDAY = date(2025, 3, 17)
SYMBOLS = {"^SOX": "SOX", "^GSPC": "SPX", "^IXIC": "IXIC", "TSM": "TSM"}

T86_FIELDS = names(
    "證券代號|證券名稱|外陸資買進股數(不含外資自營商)|外陸資賣出股數(不含外資自營商)|外陸資買賣超股數(不含外資自營商)",
    "外資自營商買進股數|外資自營商賣出股數|外資自營商買賣超股數|投信買進股數|投信賣出股數|投信買賣超股數",
    "自營商買賣超股數|自營商買進股數(自行買賣)|自營商賣出股數(自行買賣)|自營商買賣超股數(自行買賣)",
    "自營商買進股數(避險)|自營商賣出股數(避險)|自營商買賣超股數(避險)|三大法人買賣超股數",
)
DAILY_TRADE_FIELDS = ["代號", "名稱", *["買進股數", "賣出股數", "買賣超股數"] * 7, "三大法人買賣超股數合計"]
MI_MARGN_FIELDS = names(
    "代號|名稱|買進|賣出|現金償還|前日餘額|今日餘額|次一營業日限額|買進|賣出|現券償還|前日餘額|今日餘額",
    "次一營業日限額|資券互抵|註記",
)
BALANCE_FIELDS = names(
    "代號|名稱|前資餘額(張)|資買|資賣|現償|資餘額|資屬證金|資使用率(%)|資限額|前券餘額(張)|券賣|券買|券償|券餘額",
    "券屬證金|券使用率(%)|券限額|資券相抵(張)|備註",
)
FUTURES_FIELDS = (
    "交易日期,契約,到期月份(週別),開盤價,最高價,最低價,收盤價,漲跌價,漲跌%,成交量,結算價,未沖銷契約數,"
    "最後最佳買價,最後最佳賣價,歷史最高價,歷史最低價,是否因訊息面暫停交易,交易時段,價差對單式委託成交量"
)


@dataclass(frozen=True)
class Session:
    """A session of the future's nearest month: prices of the month, and when it ended."""

    day: date
    night: bool
    expiry: str
    prices: tuple[int, int, int, int]
    change: int
    volume: int
    begins: datetime
    ends: datetime


class World:
    """The truth beside the prices of ``market``."""

    def __init__(self, market: GeneratedMarket, seed: int = 1) -> None:
        self.market = market
        self.seed = seed

    def _draw(self, *key: object) -> random.Random:
        return random.Random(f"{self.seed} {key}")

    # Institutions and margin

    def codes(self, exchange: str) -> list[str]:
        """The shares and the ETF that the lists of ``exchange`` hold."""
        return [company.code for company in self.market.of(exchange)] + ["0050"] * (exchange == "TWSE")

    def flow(self, code: str, day: date) -> tuple[int, int, int, int]:
        """Net shares of foreign investors, their dealers, trusts and dealers."""
        draw = self._draw("flow", code, day)
        return (draw.randrange(-9_000_000, 9_000_000), draw.randrange(-5000, 5000) * draw.randrange(2),
                draw.randrange(-900_000, 900_000), draw.randrange(-90_000, 90_000))  # fmt: skip

    def balance(self, code: str, day: date) -> tuple[int, int]:
        """Lots bought on margin and sold short at the end of ``day``."""
        draw = self._draw("margin", code, day)
        return draw.randrange(100, 50_000), draw.randrange(0, 900)

    def revenue(self, code: str, month: date) -> int:
        """Thousands of TWD."""
        return self._draw("revenue", code, month.year, month.month).randrange(10_000, 300_000_000)

    def lists(self, exchange: str, now: datetime, hour: int, minute: int) -> list[date]:
        """The sessions whose lists are out at ``now``, published at this time of their evening."""
        return [
            day for day in self.market.sessions() if datetime.combine(day, time(hour, minute), TAIPEI) <= now
        ]

    # Futures

    def sessions(self) -> Iterator[Session]:
        """All sessions of the nearest month, in order of time."""
        days = self.market.sessions()
        close = 22_000
        for before, day in zip([None, *days], days, strict=False):
            for night in (True, False):
                if night and before is None:
                    continue
                draw = self._draw("futures", day, night)
                open_, last = close + draw.randrange(-40, 40), close + draw.randrange(-300, 300)
                prices = (open_, max(open_, last) + draw.randrange(30), min(open_, last) - 5, last)
                if night:
                    assert before is not None
                    # A day that was to be a session, and was closed by a typhoon, still names its night.
                    begins = datetime.combine(before, time(15), TAIPEI)
                    ends = begins + timedelta(hours=14)
                else:
                    begins = datetime.combine(day, time(8, 45), TAIPEI)
                    ends = datetime.combine(day, time(13, 45), TAIPEI)
                yield Session(day, night, _expiry(day), prices, last - close, draw.randrange(9, 99_999),
                              begins, ends)  # fmt: skip
                if not night:
                    close = last

    # New York

    def new_york_days(self) -> list[date]:
        day, days = self.market.start - timedelta(days=40), []
        while day <= self.market.end + timedelta(days=5):
            if day.weekday() < 5 and day != HOLIDAY:
                days.append(day)
            day += timedelta(days=1)
        return days

    def bar(self, symbol: str, day: date) -> tuple[float, float, float, float, int]:
        draw = self._draw("world", symbol, day)
        open_, last = (round(4000 + draw.gauss(0, 60), 2) for _ in range(2))
        return (
            open_,
            round(max(open_, last) + 3.25, 2),
            round(min(open_, last) - 2.5, 2),
            last,
            draw.randrange(9**6),
        )


def _expiry(day: date) -> str:
    """The month whose third Wednesday is not past."""
    first = day.replace(day=1)
    third = first + timedelta(days=(2 - first.weekday()) % 7 + 14)
    if day > third:
        first = (first + timedelta(days=32)).replace(day=1)
    return f"{first:%Y%m}"


# The pages


def flows(world: World, exchange: str, day: date, now: datetime) -> dict[str, Any]:
    """T86 or dailyTrade."""
    if day not in world.lists(exchange, now, 16, 40):
        if exchange == "TWSE":
            return NO_DATA
        table = {"title": "三大法人買賣明細資訊", "date": roc(day), "totalCount": 0}
        return {"tables": [table | {"fields": DAILY_TRADE_FIELDS, "data": []}], "date": f"{day:%Y%m%d}",
                "stat": "ok"}  # fmt: skip
    rows = [_flow_row(world, exchange, code, day) for code in world.codes(exchange)]
    other = ["030001", "某某認購", *["0"] * (len(rows[0]) - 2)]
    rows.append(other)
    if exchange == "TWSE":
        return {
            "stat": "OK",
            "date": f"{day:%Y%m%d}",
            "title": f"{roc(day, '年')} 三大法人買賣超日報",
            "selectType": "ALLBUT0999",
            "fields": T86_FIELDS,
            "data": rows,
            "total": len(rows),
        }
    empty = {"title": "", "date": roc(day), "totalCount": 0, "fields": DAILY_TRADE_FIELDS, "data": []}
    table = {**empty, "title": "三大法人買賣明細資訊", "totalCount": len(rows), "data": rows}
    return {"tables": [table, empty], "date": f"{day:%Y%m%d}", "stat": "ok"}


def _flow_row(world: World, exchange: str, code: str, day: date) -> list[str]:
    foreign, dealers, trust, dealer = world.flow(code, day)
    total = f"{foreign + dealers + trust + dealer:,}"

    def three(net: int) -> list[str]:
        return [f"{max(net, 0) + 5:,}", f"{max(-net, 0) + 5:,}", f"{net:,}"]

    name = "某某".ljust(14)  # padded, as the exchange does
    if exchange == "TWSE":
        head = [code.ljust(6), name, *three(foreign), *three(dealers), *three(trust)]
        return [*head, f"{dealer:,}", *three(dealer - 100), *three(100), total]
    own = [*three(dealer - 100), *three(100), *three(dealer)]
    return [
        code,
        name,
        *three(foreign),
        *three(dealers),
        *three(foreign + dealers),
        *three(trust),
        *own,
        total,
    ]


def margin(world: World, exchange: str, day: date, now: datetime) -> dict[str, Any]:
    """MI_MARGN or margin/balance."""
    if day not in world.lists(exchange, now, 21, 30):
        if exchange == "TWSE":
            return NO_DATA
        table = {"title": "上櫃股票融資融券餘額", "date": roc(day), "totalCount": 0}
        return {"tables": [table | {"fields": BALANCE_FIELDS, "data": [], "summary": []}],
                "date": f"{day:%Y%m%d}", "stat": "ok"}  # fmt: skip
    rows = [_margin_row(world, exchange, code, day) for code in world.codes(exchange)]
    if exchange == "TWSE":
        total = ["　", "合計", *["1,000"] * 13, "　"]
        statistics = {"title": f"{roc(day, '年')} 信用交易統計", "fields": ["項目", "買進", "賣出"],
                      "data": [["融資(交易單位)", "1", "2"]]}  # fmt: skip
        table = {"title": f"{roc(day, '年')} 融資融券彙總 (全部)", "fields": MI_MARGN_FIELDS}
        return {
            "stat": "OK",
            "date": f"{day:%Y%m%d}",
            "tables": [statistics, table | {"data": [total, *rows]}],
        }
    table = {"title": "上櫃股票融資融券餘額", "date": roc(day), "fields": BALANCE_FIELDS, "data": rows}
    table |= {"totalCount": len(rows), "summary": [["", "合計", *["9"] * 18]]}
    return {"tables": [table], "date": f"{day:%Y%m%d}", "stat": "ok"}


def _margin_row(world: World, exchange: str, code: str, day: date) -> list[str]:
    balance, short = world.balance(code, day)
    more, less, repaid = 30, 20, 1
    before, before_short = balance - more + less + repaid, short - 7 + 3 + 2
    if exchange == "TWSE":
        lots = [f"{n:,}" for n in (more, less, repaid, before, balance, 99_999)]
        shorts = [f"{n:,}" for n in (3, 7, 2, before_short, short, 99_999)]
        return [code, "某某", *lots, *shorts, "3", " "]
    lots = [f"{n:,}" for n in (before, more, less, repaid, balance)]
    shorts = [f"{n:,}" for n in (before_short, 7, 3, 2, short)]
    return [code, "某某", *lots, "5", "1.20", "99,999", *shorts, "0", "0.10", "99,999", "0", " "]


def revenue(world: World, exchange: str, now: datetime) -> list[dict[str, str]]:
    """t187ap05_L or mopsfin_t187ap05_O: the companies that have reported so far, one after the other."""
    here = now.astimezone(TAIPEI)
    month = here.date().replace(day=1) - timedelta(days=1)
    codes = world.codes(exchange)
    # The first has reported on the 2nd, all have on the 10th; before, the list is last month's.
    if here.day < 2:
        month = month.replace(day=1) - timedelta(days=1)
    elif here.day < 10:
        codes = codes[: max(1, len(codes) // 2)]
    return [
        {
            "出表日期": f"{here.year - 1911}{here:%m%d}",
            "資料年月": f"{month.year - 1911}{month:%m}",
            "公司代號": code,
            "公司名稱": "某某",
            "產業別": "半導體業",
            "營業收入-當月營收": str(world.revenue(code, month)),
            "營業收入-上月營收": "1",
            "備註": "-",
        }
        for code in codes
        if code != "0050"
    ]


def futures_csv(world: World, start: date, end: date, now: datetime, *, running: bool, late: bool) -> bytes:
    """futDataDown: Big5. ``running`` shows a session before its end, ``late`` hides the last night."""
    shown = [s for s in world.sessions() if start <= s.day <= end and s.begins <= now]
    over = [s for s in shown if s.ends <= now]
    if late and over and over[-1].night:
        over = over[:-1]
    rows = [FUTURES_FIELDS]
    for session in shown if running else over:
        rows += _futures_rows(session)
    return ("\r\n".join(rows) + "\r\n").encode("big5")


def _futures_rows(session: Session) -> list[str]:
    day, kind = f"{session.day:%Y/%m/%d}", "盤後" if session.night else "一般"
    open_, high, low, last = session.prices
    settled = "-,-" if session.night else f"{last + 1},{session.volume + 7}"
    percent = f"{session.change / 220:.2f}%"
    figures = f"{open_},{high},{low},{last},{session.change},{percent},{session.volume},{settled}"
    tail = f"1,2,3,4,,{kind},"
    later = f"{day},TX,{int(session.expiry) + 1}  ,1,2,1,2,1,1%,3,-,-,{tail}"
    spread = f"{day},TX,{session.expiry}/{int(session.expiry) + 1},5,6,5,6,1,1%,3,-,-,{tail}"
    weekly = f"{day},TX,{session.expiry}W1,1,2,1,2,1,1%,3,-,-,{tail}"
    return [f"{day},TX,{session.expiry}  ,{figures},{tail}", later, spread, weekly]


def futures_open(world: World, now: datetime, *, running: bool) -> list[dict[str, str]]:
    """DailyMarketReportFut: the latest trading day, other products too."""
    shown = [s for s in world.sessions() if s.begins <= now and (running or s.ends <= now)]
    if not shown:
        return []
    rows = []
    for s in (s for s in shown if s.day == shown[-1].day):
        open_, high, low, last = s.prices
        row = {"Date": f"{s.day:%Y%m%d}", "Contract": "TX", "ContractMonth(Week)": s.expiry}
        row |= {"Open": str(open_), "High": str(high), "Low": str(low), "Last": str(last)}
        row |= {"Change": str(s.change), "%": f"{s.change / 220:.2f}%", "Volume": str(s.volume)}
        settlement = "NULL" if s.night else str(last + 1)
        interest = "NULL" if s.night else str(s.volume + 7)
        row |= {"SettlementPrice": settlement, "OpenInterest": interest, "BestBid": "1", "BestAsk": "2"}
        row |= {"HistoricalHigh": "9", "HistoricalLow": "1", "TradingHalt": ""}
        rows.append(row | {"TradingSession": "盤後" if s.night else "一般"})
        rows.append(rows[-1] | {"ContractMonth(Week)": f"{s.expiry}/{int(s.expiry) + 1}"})
        rows.append(rows[-2] | {"Contract": "MTX"})
    return rows


def chart(world: World, theirs: str, asked: dict[str, str], now: datetime) -> tuple[int, dict[str, Any]]:
    """v8/finance/chart: bars stamped at their start, the one of an open session at this moment."""
    if theirs not in SYMBOLS:
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return 404, {"chart": {"result": None, "error": error}}
    start, end = (datetime.fromtimestamp(int(asked[name]), UTC) for name in ("period1", "period2"))
    stamps: list[int] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("open", "high", "low", "close", "volume")}
    for day in world.new_york_days():
        opens = datetime.combine(day, time(9, 30), NEW_YORK)
        if not start <= opens <= min(end, now):
            continue
        bar = world.bar(SYMBOLS[theirs], day)
        running = now < datetime.combine(day, time(16), NEW_YORK)
        if running:
            bar = (bar[0], bar[0] + 1, bar[0] - 1, bar[0] + 0.5, 7)
        stamps.append(int((now if running else opens).timestamp()))
        for name, figure in zip(columns, bar, strict=True):
            columns[name].append(figure)
    if stamps:  # a day without a price, as Yahoo has them
        stamps.append(stamps[-1] + 60)
        for column in columns.values():
            column.append(None)
    result = {"meta": {"symbol": theirs, "exchangeTimezoneName": "America/New_York"}, "timestamp": stamps}
    return 200, {"chart": {"result": [result | {"indicators": {"quote": [columns]}}], "error": None}}
