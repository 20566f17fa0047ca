"""What foreign investors, investment trusts and dealers bought: a market's day in one answer.

TWSE: ``rwd/zh/fund/T86``, 19 columns of shares, padded names. TPEx: ``www/zh-tw/insti/dailyTrade``, 24
columns of which 21 share three names, so they are read by position, and only where the header is the one
that is known. Both give a total of the three, which each row must add up to.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from stockllm.collectors import tables
from stockllm.collectors.figures import (
    FiguresReport,
    RawFigures,
    WalkReport,
    is_wanted,
    keep_figures,
    last_day,
    missing_days,
    numbers,
    walk,
    whole,
)
from stockllm.collectors.http import Answer, Door, Web
from stockllm.collectors.market_day import EXCHANGES, SITES, Exchange
from stockllm.data.sentences import Sentence
from stockllm.market.moments import at_taipei, flows_known

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar

_T86 = {
    "證券代號": "code",
    "外陸資買賣超股數(不含外資自營商)": "foreign",
    "外資自營商買賣超股數": "foreign_dealers",
    "投信買賣超股數": "trust",
    "自營商買賣超股數": "dealer",
    "三大法人買賣超股數": "total",
}
_DAILY_TRADE = ["代號", "名稱", *["買進股數", "賣出股數", "買賣超股數"] * 7, "三大法人買賣超股數合計"]
# Foreign investors with their dealers, trusts, dealers of both kinds.
_DAILY_TRADE_PLACES = {"code": 0, "foreign": 10, "trust": 13, "dealer": 22, "total": 23}


def published(day: date) -> datetime:
    """From when on a day's lists can be asked for."""
    return at_taipei(day, 17, 30)


def wanted_flows(
    store: Store, start: date, end: date | None = None, *, now: datetime, calendar: TradingCalendar
) -> dict[Exchange, list[date]]:
    """The days of which each exchange's list is missing, oldest first."""
    last = last_day(calendar, now, published)
    last = min(end, last) if end else last
    return {m: missing_days(store, "flows", m, start, last, calendar=calendar) for m in EXCHANGES}


def collect_flows(
    web: Web,
    store: Store,
    start: date,
    end: date | None = None,
    *,
    calendar: TradingCalendar | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> WalkReport:
    """Ask both exchanges for the days from ``start`` to ``end`` (the last one published) that are missing.

    StoreError where the store holds simulated prices.
    """
    calendar = calendar or store.calendar()
    wanted = wanted_flows(store, start, end, now=web.clock.now(), calendar=calendar)
    return walk(web, wanted, lambda market, day: collect_flows_day(web, store, market, day), progress)


def collect_flows_day(web: Web, store: Store, market: Exchange, day: date) -> FiguresReport:
    """Ask ``market`` for what was bought on ``day``, judge every row and keep them, all or none."""
    return keep_figures(
        web,
        store,
        "flows",
        store.flows,
        market,
        day,
        flows_known(day),
        lambda least: fetch_flows(web, market, day, fewest=least),
    )


def fetch_flows(web: Web, market: Exchange, day: date, *, fewest: int = 1) -> RawFigures:
    """Net purchases in shares, shape (companies, 3): foreign investors, investment trusts, dealers.

    NoData where the exchange says that there are none, Unreadable where it lists fewer than ``fewest``
    companies.
    """

    def ask(door: Door) -> RawFigures:
        if market == "TWSE":
            params = {"date": f"{day:%Y%m%d}", "selectType": "ALLBUT0999", "response": "json"}
            answer = door.get(f"{web.settings.twse_url}/rwd/zh/fund/T86", params)
        else:
            params = {"type": "Daily", "sect": "EW", "date": f"{day:%Y/%m/%d}", "response": "json"}
            answer = door.get(f"{web.settings.tpex_url}/www/zh-tw/insti/dailyTrade", params)
        return whole(answer, _read(answer, market, day), fewest)

    what = Sentence(f"the institutions' trades of {market} of {day}", zh=f" {market} {day} 的法人買賣超")
    return web.ask(SITES[market], what, ask)


def _read(answer: Answer, market: Exchange, day: date) -> RawFigures:
    document = tables.mapping(answer)
    tables.status(answer, document)
    tables.same_day(answer, document.get("date"), day)
    given = [document] if market == "TWSE" else document.get("tables")
    if not isinstance(given, list):
        raise tables.unreadable(answer, "no tables")
    for table in given:
        if isinstance(table, dict):
            tables.same_title(answer, table.get("title"), day)
            if market == "TPEx" and table.get("date"):
                tables.same_day(answer, table["date"], day)
    rows: list[list[object]] = []
    place: dict[str, int] | None = None
    for table in given:
        found = _place(table, market)
        if found is not None:
            # One of TPEx's tables is there without rows.
            more = tables.whole_rows(answer, table)
            if place not in (None, found) and more and rows:
                raise tables.unreadable(answer, "two tables of different columns")
            place = found if more or place is None else place
            rows += more
    if place is None:
        raise tables.unreadable(answer, "no table with the known columns")
    if not rows:
        raise tables.no_data(answer)
    return _figures(rows, place)


def _place(table: object, market: Exchange) -> dict[str, int] | None:
    """Where our columns are in a table; None where it is another one."""
    if not isinstance(table, dict) or not isinstance(table.get("fields"), list):
        return None
    names = ["".join(tables.plain(field).split()) for field in table["fields"]]
    if market == "TPEx":
        return _DAILY_TRADE_PLACES if names == _DAILY_TRADE else None
    place = {_T86[name]: i for i, name in enumerate(names) if name in _T86}
    return place if len(place) == len(_T86) else None


def _figures(rows: list[list[object]], place: dict[str, int]) -> RawFigures:
    cells = {name: [tables.plain(row[i]) if row else "" for row in rows] for name, i in place.items()}
    chosen = [i for i, code in enumerate(cells["code"]) if is_wanted(code)]
    kept = {name: [column[i] for i in chosen] for name, column in cells.items()}
    foreign = numbers(kept["foreign"])
    if "foreign_dealers" in kept:
        foreign = foreign + numbers(kept["foreign_dealers"])
    figures = np.stack([foreign, numbers(kept["trust"]), numbers(kept["dealer"])], axis=1)
    total = numbers(kept["total"])
    with np.errstate(invalid="ignore"):
        wrong = np.asarray(np.abs(figures.sum(axis=1) - total) > 0.5)
    return RawFigures(
        kept["code"],
        [i + 1 for i in chosen],
        figures,
        wrong,
        lambda i: ", ".join(f"{name} {column[i]}" for name, column in sorted(kept.items())),
        len(rows) - len(chosen),
    )
