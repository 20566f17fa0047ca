"""Monthly revenue: the open data of both exchanges, which hold the latest month alone.

TWSE: ``opendata/t187ap05_L``. TPEx: ``mopsfin_t187ap05_O``. Companies report until the 10th, so the list
of a month grows from day to day, and a figure is known from the moment at which it was first seen.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from stockllm.collectors import tables
from stockllm.collectors.clock import taipei, today
from stockllm.collectors.failures import SiteFailure
from stockllm.collectors.figures import (
    FiguresReport,
    RawFigures,
    WalkReport,
    is_wanted,
    keep_figures,
    numbers,
)
from stockllm.collectors.http import TPEX, TWSE_OPENAPI, Answer, Door, Site, Web
from stockllm.collectors.market_day import EXCHANGES, Exchange
from stockllm.data.sentences import Sentence

if TYPE_CHECKING:
    from stockllm.data.store import Store

_SITES: dict[Exchange, Site] = {"TWSE": TWSE_OPENAPI, "TPEx": TPEX}
_MONTH, _CODE, _REVENUE = "資料年月", "公司代號", "營業收入-當月營收"

#: After this day of the month nothing more is expected of the month before.
_LAST_DAY = 20


def wanted_revenue(store: Store, *, now_day: date) -> list[Exchange]:
    """The exchanges to ask: until the 20th every day, then until the month has been seen once."""
    month = (now_day.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    wanted = []
    for market in EXCHANGES:
        entry = store.collected.get("revenue", market, month)
        asked = taipei(entry.at).date() if entry else None
        if asked is None or (now_day.day <= _LAST_DAY and asked < now_day):
            wanted.append(market)
    return wanted


def collect_revenue(
    web: Web, store: Store, *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> WalkReport:
    """Ask both exchanges for the latest month. One that fails leaves the other alone.

    StoreError where the store holds simulated prices.
    """
    wanted = wanted_revenue(store, now_day=today(web.clock))
    reports: list[FiguresReport] = []
    failures: list[Sentence] = []
    for done, market in enumerate(wanted):
        progress(done, len(wanted))
        try:
            reports.append(collect_revenue_of(web, store, market))
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
    return WalkReport(tuple(reports), tuple(failures))


def collect_revenue_of(web: Web, store: Store, market: Exchange) -> FiguresReport:
    """Ask ``market`` for the revenue of the latest month and keep it, all or none."""
    month, raw = fetch_revenue(web, market)
    return keep_figures(
        web,
        store,
        "revenue",
        store.revenue,
        market,
        month,
        web.clock.now(),
        lambda _least: raw,
        period=f"{month:%Y-%m}",
    )


def fetch_revenue(web: Web, market: Exchange) -> tuple[date, RawFigures]:
    """The first day of the latest month, and revenue in TWD, shape (companies, 1).

    Unreadable where the list names more than one month, or one that is not over.
    """
    settings = web.settings
    url = (
        f"{settings.twse_openapi_url}/opendata/t187ap05_L"
        if market == "TWSE"
        else f"{settings.tpex_openapi_url}/mopsfin_t187ap05_O"
    )
    here = today(web.clock)
    what = Sentence(f"the monthly revenue of {market}", zh=f" {market} 的月營收")
    return web.ask(_SITES[market], what, lambda door: _read(_get(door, url), here))


def _get(door: Door, url: str) -> Answer:
    return door.get(url)


def _read(answer: Answer, here: date) -> tuple[date, RawFigures]:
    rows = answer.json()
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise tables.unreadable(answer, "no list of rows")
    if lacking := [name for name in (_MONTH, _CODE, _REVENUE) if name not in rows[0]]:
        raise tables.unreadable(answer, f"no column for {', '.join(lacking)}")
    months = {tables.plain(row.get(_MONTH)) for row in rows}
    if len(months) != 1:
        raise tables.unreadable(answer, f"{len(months)} months in one list")
    month = _month(answer, months.pop())
    if month >= here.replace(day=1):
        raise tables.wrong(answer, f"the month {month:%Y-%m}, which is not over")
    cells = [(tables.plain(row.get(_CODE)), tables.plain(row.get(_REVENUE))) for row in rows]
    chosen = [(i, code, revenue) for i, (code, revenue) in enumerate(cells) if is_wanted(code)]
    revenue = numbers([one for _, _, one in chosen]) * 1000  # thousands of TWD
    return month, RawFigures(
        [code for _, code, _ in chosen],
        [i + 1 for i, _, _ in chosen],
        revenue.reshape(-1, 1),
        np.zeros(len(chosen), dtype=bool),
        lambda i: f"{month:%Y-%m}, {chosen[i][1]}, {chosen[i][2]}",
        len(rows) - len(chosen),
    )


def _month(answer: Answer, text: str) -> date:
    """The first day of a month in years of the Republic: 11506 is June 2026."""
    if not text.isdecimal() or len(text) not in (4, 5) or not 1 <= int(text[-2:]) <= 12:
        raise tables.unreadable(answer, f"the month {text[:20]}")
    return date(int(text[:-2]) + 1911, int(text[-2:]), 1)
