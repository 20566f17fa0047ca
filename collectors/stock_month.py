"""One stock's month, fetched by twstock's own fetchers over our session.

twstock 1.5.1 knows where each exchange keeps a stock's month and how to ask for it. Left alone it
has no time limit, tries five times at once, takes an outage for an empty month, and dies of «X0.50»
and «除息». So its fetch runs as it is, with a session of ours in place of the one it would make and
our own reading in place of its ``purify``; nothing of twstock is changed for anybody else.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from io import BytesIO, TextIOWrapper
from threading import Lock
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.collectors import tables
from stockllm.collectors.bases import IDLE, apply_bases
from stockllm.collectors.failures import NoData
from stockllm.collectors.files.prices_csv import read_day
from stockllm.collectors.http import Answer, Door, Web
from stockllm.collectors.market_day import SITES, Exchange, last_published
from stockllm.collectors.tables import Table
from stockllm.data.errors import UnknownCompany
from stockllm.data.sentences import Sentence
from stockllm.data.stores.collected import Collected
from stockllm.data.validation import RawRows, validate
from stockllm.data.validation_day import rebased

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stockllm.data.records import Bar
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

_IMPORTING = Lock()
_NEEDED = ("date", *tables.FIGURES, "change")

# TPEx gives a month's volume and value in thousands: within one of them two figures are the same.
_COARSE = 1000


@dataclass(frozen=True)
class MonthReport:
    """What became of one stock's month; counts as in ``DayReport``."""

    code: str
    month: date
    state: Literal["complete", "no_data"]
    source: str
    through: date
    read: int = 0
    accepted: int = 0
    unchanged: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def exchange_of(company: Company) -> Exchange:
    """Where a company's share is listed: as it says itself, else by twstock's lists.

    UnknownCompany where neither knows.
    """
    if company.market:
        return company.market
    listed = _twstock().codes.get(company.code)
    if listed is None:
        raise UnknownCompany(
            f"Nobody knows on which exchange {company.code} is listed: name its market in a company list.",
            zh=f"不知道 {company.code} 在哪個市場上市：請在公司清單中註明其市場。",
        )
    return "TWSE" if listed.data_source == "twse" else "TPEx"


def collect_month(
    web: Web, store: Store, company: Company, month: date, *, calendar: TradingCalendar | None = None
) -> MonthReport:
    """Ask for the month that ``month`` lies in, judge every row and keep them, all or none.

    SiteFailure where the exchange gave no answer to keep, UnknownCompany where nobody knows which
    exchange to ask, StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    calendar = calendar or store.calendar()
    market, code = exchange_of(company), company.code
    first = month.replace(day=1)
    last = month.replace(day=monthrange(month.year, month.month)[1])
    through = min(last, last_published(market, calendar, web.clock.now()))
    now = web.clock.now()
    entry = Collected("month", code, f"{first:%Y-%m}", "no_data", SITES[market].key, now, through)
    try:
        rows = fetch_month(web, market, code, first)
    except NoData:
        store.collected.put(entry)
        return MonthReport(code, first, "no_data", entry.source, through)

    ex_dates = [row for row in store.ex_rights.of(code) if first - IDLE <= row.date <= last]
    bases = {row.date: row.basis for row in ex_dates}
    rows = _with_bases(rows, bases)
    # The exchange itself lists a session it held; that it invents weekends has been seen elsewhere.
    traded = (date.fromordinal(day) for day in rows.days[rows.volumes > 0].tolist() if day > 0)
    verdict = validate(
        rows,
        calendar=calendar.with_opened(day for day in traded if day.weekday() < 5),
        known=store.bars.series(code),
    )
    bars = _based(verdict.bars, rows, bases)
    if market == "TPEx":
        stored = {bar.date: bar for bar in store.bars.bars(code, first, last)}
        bars = [_finer(bar, stored.get(bar.date)) for bar in bars]
    with store.transaction():
        accepted, unchanged = store.bars.put(bars)
        store.bars.quarantine(verdict.quarantined)
        apply_bases(store, ex_dates)
        store.collected.put(
            replace(
                entry,
                state="complete",
                source=rows.source,
                read=len(rows),
                kept=len(bars),
                refused=len(verdict.quarantined),
            )
        )
    reasons = dict(Counter(row.reason for row in verdict.quarantined))
    return MonthReport(
        code,
        first,
        "complete",
        rows.source,
        through,
        len(rows),
        accepted,
        unchanged,
        len(verdict.quarantined),
        reasons,
    )


def fetch_month(web: Web, market: Exchange, code: str, month: date) -> RawRows:
    """The exchange's rows of ``code`` in the month that begins with ``month``.

    NoData where it has none, WrongAnswer where they are of another stock or month.
    """
    settings = web.settings
    url = (
        f"{settings.twse_url}/rwd/zh/afterTrading/STOCK_DAY"
        if market == "TWSE"
        else f"{settings.tpex_url}/www/zh-tw/afterTrading/tradingStock"
    )

    def ask(door: Door) -> RawRows:
        session = _Session(door)
        document = _fetch(market, url, session, code, month)
        return _read(session.answer, document, market, code, month)

    return web.ask(
        SITES[market], Sentence(f"{code} in {month:%Y-%m}", zh=f" {code} 在 {month:%Y-%m} 的股價"), ask
    )


class _Session:
    """What twstock takes for a requests session; remembers the answer, which twstock unpacks."""

    answer: Answer

    def __init__(self, door: Door) -> None:
        self._door = door

    def get(self, url: str, *, params: Mapping[str, Any], proxies: object = None) -> Answer:
        del proxies  # twstock's setting; ours are the environment's
        self.answer = self._door.get(url, {"response": "json"} | dict(params))
        tables.mapping(self.answer)  # twstock looks up "stat" without asking whether it is there
        return self.answer


def _fetch(market: Exchange, url: str, session: _Session, code: str, month: date) -> dict[str, Any]:
    """twstock's own fetch, whose two global names are bound to what is ours for this call alone."""
    stock = _twstock().stock
    fetcher: Any = stock.DATA_FETCHER["twse" if market == "TWSE" else "tpex"]()
    fetcher.REPORT_URL = url
    fetcher.purify = lambda document: document.get("data", [])
    theirs = type(fetcher).fetch
    names = vars(stock) | {"get_session": lambda: session, "get_proxies": dict}
    fetch = FunctionType(theirs.__code__, names, theirs.__name__, theirs.__defaults__)
    document: dict[str, Any] = fetch(fetcher, month.year, month.month, code, retry=1)
    return document


def _read(answer: Answer, document: Mapping[str, Any], market: Exchange, code: str, month: date) -> RawRows:
    tables.status(answer, document)
    tables.same_day(answer, document.get("date"), month)
    given = [document] if market == "TWSE" else document.get("tables")
    if not isinstance(given, list) or not given:
        raise tables.unreadable(answer, "no table")
    for table in given:
        for title in (table.get("title"), table.get("subtitle")) if isinstance(table, dict) else ():
            tables.same_title(answer, title, month, whole_month=True)
    # TWSE names the stock in the title alone, TPEx beside the table too.
    named = tables.plain(document.get("code", "") if market == "TPEx" else document.get("title"))
    if code not in named.split():
        raise tables.wrong(answer, f"the stock {named[:40] or 'nobody named'}")
    table = tables.find(answer, given, _NEEDED)
    if not len(table):
        raise tables.no_data(answer)
    days = np.fromiter(map(read_day, table.columns["date"]), dtype=np.int64, count=len(table))
    for day in days[days > 0].tolist():
        if (date.fromordinal(day).year, date.fromordinal(day).month) != (month.year, month.month):
            raise tables.wrong(answer, f"the day {date.fromordinal(day)}")
    return _rows(table, days, code, f"{market} {code} {month:%Y-%m}")


def _rows(table: Table, days: np.ndarray[Any, np.dtype[np.int64]], code: str, source: str) -> RawRows:
    return RawRows(
        code=code,
        source=source,
        lines=np.array(table.lines, dtype=np.int64),
        days=days,
        prices=table.prices(),
        volumes=table.numbers("volume"),
        raw=table.raw,
        blank=table.blank() & (days > 0),
        changes=table.changes(),
        values=table.numbers("value"),
        trades=table.numbers("trades"),
    )


def _with_bases(rows: RawRows, bases: Mapping[date, int]) -> RawRows:
    """The rows, with the moves of ex-dates measured from the base the exchange computed."""
    if not bases or rows.changes is None:
        return rows
    base = np.array(
        [bases.get(date.fromordinal(day), 0) if day > 0 else 0 for day in rows.days.tolist()],
        dtype=np.float64,
    )
    return replace(rows, changes=np.where(base > 0, rows.prices[:, 3] - base / 100, rows.changes))


def _based(bars: Iterable[Bar], rows: RawRows, bases: Mapping[date, int]) -> list[Bar]:
    """The bars, measured from what the exchange says of their bases.

    A close equal to the base gives it away by no change: of an ex-date the base is known, of another
    day it is the close itself, so that a missing day before cannot make it seem past the limit.
    """
    changes = rows.changes if rows.changes is not None else np.full(len(rows), np.nan)
    still = {date.fromordinal(day) for day in rows.days[changes == 0].tolist() if day > 0}
    return [
        rebased(bar, bases[bar.date])
        if bar.date in bases
        else rebased(bar, bar.close, known=False)
        if bar.date in still
        else bar
        for bar in bars
    ]


def _finer(bar: Bar, stored: Bar | None) -> Bar:
    """``bar``, with the stored volume and value where they say the same to the share, not the lot."""
    if (
        stored is None
        or (bar.open, bar.high, bar.low, bar.close) != (stored.open, stored.high, stored.low, stored.close)
        or abs(bar.volume - stored.volume) >= _COARSE
    ):
        return bar
    value = stored.value if _alike(bar.value, stored.value) else bar.value
    return replace(bar, volume=stored.volume, value=value)


def _alike(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and abs(one - other) < _COARSE


@cache
def _twstock() -> Any:
    """twstock, imported once and not before use: it reads its lists of codes for a third of a second.

    Its command line comes along and wraps sys.stdout, which in the dashboard is no file, so it gets
    one of its own.
    """
    with _IMPORTING, redirect_stdout(TextIOWrapper(BytesIO())):
        import twstock
    return twstock
