"""Shares bought on margin and sold short: a market's day in one answer, published late in the evening.

TWSE: ``rwd/zh/marginTrading/MI_MARGN``, whose second table has 16 columns, twelve of them sharing six
names; read by position where the header is the known one. Its first row is the market's total. TPEx:
``www/zh-tw/margin/balance``, 20 columns by name, totals in ``summary``. Both count lots of 1,000 shares,
and a day's balance must follow from the day before.
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
from stockllm.market.moments import at_taipei, margin_known

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar

_LOT = 1000

_SIX = ("前日餘額", "今日餘額", "次一營業日限額")
_MI_MARGN = [
    *("代號", "名稱", "買進", "賣出", "現金償還", *_SIX),
    *("買進", "賣出", "現券償還", *_SIX, "資券互抵", "註記"),
]
# Before, in, out, repaid, balance: of margin, then of short sales.
_MI_MARGN_PLACES = ("code", (5, 2, 3, 4, 6), (11, 9, 8, 10, 12))
_BALANCE = (
    ("前資餘額(張)", "資買", "資賣", "現償", "資餘額"),
    ("前券餘額(張)", "券賣", "券買", "券償", "券餘額"),
)


def published(day: date) -> datetime:
    """From when on a day's lists can be asked for."""
    return at_taipei(day, 22)


def wanted_margin(
    store: Store, start: date, end: date | None = None, *, now: datetime, calendar: TradingCalendar
) -> dict[Exchange, list[date]]:
    """The days of which each exchange's list is missing, oldest first."""
    last = last_day(calendar, now, published)
    last = min(end, last) if end else last
    return {m: missing_days(store, "margin", m, start, last, calendar=calendar) for m in EXCHANGES}


def collect_margin(
    web: Web,
    store: Store,
    start: date,
    end: date | None = None,
    *,
    calendar: TradingCalendar | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> WalkReport:
    """Ask both exchanges for the days from ``start`` to ``end`` (the last one published) that are missing.

    On an evening that is the day before. StoreError where the store holds simulated prices.
    """
    calendar = calendar or store.calendar()
    wanted = wanted_margin(store, start, end, now=web.clock.now(), calendar=calendar)
    return walk(web, wanted, lambda market, day: collect_margin_day(web, store, market, day), progress)


def collect_margin_day(web: Web, store: Store, market: Exchange, day: date) -> FiguresReport:
    """Ask ``market`` for the balances of ``day``, judge every row and keep them, all or none."""
    return keep_figures(
        web,
        store,
        "margin",
        store.margin,
        market,
        day,
        margin_known(day),
        lambda least: fetch_margin(web, market, day, fewest=least),
    )


def fetch_margin(web: Web, market: Exchange, day: date, *, fewest: int = 1) -> RawFigures:
    """Balances in shares, shape (companies, 2): bought on margin, sold short.

    NoData where the exchange says that there are none, Unreadable where it lists fewer than ``fewest``
    companies.
    """

    def ask(door: Door) -> RawFigures:
        if market == "TWSE":
            params = {"date": f"{day:%Y%m%d}", "selectType": "ALL", "response": "json"}
            answer = door.get(f"{web.settings.twse_url}/rwd/zh/marginTrading/MI_MARGN", params)
        else:
            params = {"date": f"{day:%Y/%m/%d}", "response": "json"}
            answer = door.get(f"{web.settings.tpex_url}/www/zh-tw/margin/balance", params)
        return whole(answer, _read(answer, market, day), fewest)

    what = Sentence(f"the margin balances of {market} of {day}", zh=f" {market} {day} 的融資融券餘額")
    return web.ask(SITES[market], what, ask)


def _read(answer: Answer, market: Exchange, day: date) -> RawFigures:
    document = tables.mapping(answer)
    tables.status(answer, document)
    tables.same_day(answer, document.get("date"), day)
    given = document.get("tables")
    if not isinstance(given, list):
        raise tables.unreadable(answer, "no tables")
    for table in given:
        if not isinstance(table, dict) or not isinstance(table.get("fields"), list):
            continue
        tables.same_title(answer, table.get("title"), day)
        place = _place([_name(field) for field in table["fields"]], market)
        if place is None:
            continue
        rows = tables.whole_rows(answer, table)
        if not rows:
            raise tables.no_data(answer)
        return _figures(rows, *place)
    raise tables.unreadable(answer, "no table with the known columns")


def _name(field: object) -> str:
    return "".join(tables.plain(field).split())


def _place(names: list[str], market: Exchange) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """Where the code is, and the five columns of margin and of short sales; None in another table."""
    if market == "TWSE":
        return (0, *_MI_MARGN_PLACES[1:]) if names == _MI_MARGN else None
    if "代號" not in names or any(name not in names for column in _BALANCE for name in column):
        return None
    margin, short = (tuple(names.index(name) for name in column) for column in _BALANCE)
    return names.index("代號"), margin, short


def _figures(
    rows: list[list[object]], code: int, margin: tuple[int, ...], short: tuple[int, ...]
) -> RawFigures:
    # The market's total stands in a row without a code.
    listed = [i for i, row in enumerate(rows) if not row or tables.plain(row[code])]
    codes = [tables.plain(rows[i][code]) if rows[i] else "" for i in listed]
    chosen = [(i, one) for i, one in zip(listed, codes, strict=True) if is_wanted(one)]
    balances, wrong = [], np.zeros(len(chosen), dtype=bool)
    for places in (margin, short):
        before, more, less, repaid, balance = (
            numbers([tables.plain(rows[i][at]) if rows[i] else "" for i, _ in chosen]) for at in places
        )
        with np.errstate(invalid="ignore"):
            wrong |= np.asarray(np.abs(before + more - less - repaid - balance) > 0.5)
        balances.append(balance * _LOT)
    return RawFigures(
        [one for _, one in chosen],
        [i + 1 for i, _ in chosen],
        np.stack(balances, axis=1),
        wrong,
        lambda i: ", ".join(tables.plain(cell) for cell in rows[chosen[i][0]]),
        len(rows) - len(chosen),
    )
