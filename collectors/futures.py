"""TAIFEX index futures, day and night: a range as CSV, and the latest day from the open data.

``cht/3/futDataDown`` answers a form with a CSV in Big5, a month at most; anything longer gets an empty
web page. ``DailyMarketReportFut`` holds the latest trading day alone, as JSON. A night session is listed
under the trading day that it leads to, sometimes hours after it has ended, and while it runs its row
may be there already with the last price so far: such a row is left out.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from stockllm.collectors import tables
from stockllm.collectors.clock import taipei
from stockllm.collectors.failures import Blocked, NoData, SiteFailure, gave_up
from stockllm.collectors.files.prices_csv import read_day
from stockllm.collectors.files.sheets import Sheet, header_of_text, kind_of, sheet_of_rows, sheet_of_text
from stockllm.collectors.files.world_files import HARMLESS, take_futures
from stockllm.collectors.http import TAIFEX, TAIFEX_OPENAPI, Answer, Door, Web
from stockllm.data.errors import ImportFailed
from stockllm.data.sentences import Sentence
from stockllm.data.stores.collected import Collected
from stockllm.market.moments import futures_known, night_known

if TYPE_CHECKING:
    from stockllm.data.records import ImportReport
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar

#: What is collected: the index future of the Taiwan Stock Exchange.
PRODUCT = "TX"

# The first day with a night session.
FIRST = date(2017, 5, 15)

_GIVE_UP = 3

# For so many days after it a month that lacks a session is asked for again.
_STUBBORN = timedelta(days=10)


@dataclass(frozen=True)
class FuturesReport:
    """What came of the futures. ``reports`` is one a request; ``failures`` are sentences.

    ``night`` says whether the night that leads to the next session is in the store.
    """

    reports: tuple[ImportReport, ...] = ()
    failures: tuple[Sentence, ...] = ()
    night: bool = False


def wanted_futures(store: Store, start: date, end: date, *, now: datetime) -> list[tuple[date, date]]:
    """The months, each from its first day to its last or to ``end``, that have not come in whole."""
    have = {
        entry.period: date.max if entry.state == "no_data" and entry.settled else entry.through
        for entry in store.collected.all("futures", PRODUCT)
    }
    wanted = []
    for first, last in _months(max(start, FIRST), min(end, taipei(now).date())):
        through = have.get(f"{first:%Y-%m}")
        if through is None or through < last:
            wanted.append((first, last))
    return wanted


def collect_futures(
    web: Web,
    store: Store,
    start: date,
    end: date | None = None,
    *,
    calendar: TradingCalendar | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> FuturesReport:
    """Ask TAIFEX for the months from ``start`` to ``end`` (the next session) that are missing.

    Where the night that leads to the next session is over and not among them, the open data are asked
    for it. StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    calendar = calendar or store.calendar()
    now = web.clock.now()
    target = next_session(calendar, now)
    # The night before a month's first session is listed under that session.
    wanted = wanted_futures(store, start, end or target, now=now)
    reports: list[ImportReport] = []
    failures: list[Sentence] = []
    in_a_row = 0
    for done, (first, last) in enumerate(wanted):
        progress(done, len(wanted))
        try:
            reports.append(_collect_month(web, store, first, last, calendar))
            in_a_row = 0
        except NoData:
            in_a_row = 0
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
            in_a_row += 1
            if isinstance(failure, Blocked):
                break
            if in_a_row == _GIVE_UP:
                failures.append(gave_up(TAIFEX.name, _GIVE_UP))
                break
    due = web.clock.now() >= night_known(target, calendar.opened)
    if end is None and due and not has_night(store, target):
        try:
            reports.append(collect_latest(web, store))
        except (SiteFailure, NoData) as failure:
            failures.append(Sentence.of(failure))
    return FuturesReport(tuple(reports), tuple(failures), has_night(store, target))


def collect_latest(web: Web, store: Store) -> ImportReport:
    """Take in the latest day of the open data: what is over by now, and nothing else."""
    store.expect_simulated(False)
    sheet = fetch_latest(web)
    return take_futures(store, "TAIFEX open data", sheet, web.clock.now(), aside=HARMLESS)


def has_night(store: Store, day: date) -> bool:
    """Whether the store has the night that leads to ``day``."""
    nights = store.world.nights(product=PRODUCT).days
    return bool(len(nights)) and int(nights[-1]) >= day.toordinal()


def next_session(calendar: TradingCalendar, now: datetime) -> date:
    """The session whose night is running or was the last to run: until 15:00 today's, then the next."""
    here = taipei(now)
    day = here.date()
    if calendar.is_session(day) and here.hour < 15:
        return day
    return calendar.next_sessions(day, 1)[0]


def fetch_futures(web: Web, first: date, last: date) -> Sheet:
    """TAIFEX's rows from ``first`` to ``last``, at most a month apart.

    NoData where it has none, WrongAnswer where a row is of another time or product.
    """

    def ask(door: Door) -> Sheet:
        url = f"{web.settings.taifex_url}/cht/3/futDataDown"
        form = {
            "down_type": "1",
            "commodity_id": PRODUCT,
            "queryStartDate": f"{first:%Y/%m/%d}",
            "queryEndDate": f"{last:%Y/%m/%d}",
        }
        return _read(door.post(url, form, headers={"Referer": url}), first, last)

    what = Sentence(f"the futures from {first} to {last}", zh=f" {first} 至 {last} 的期貨行情")
    return web.ask(TAIFEX, what, ask)


def fetch_latest(web: Web) -> Sheet:
    """The open data's rows of the future: those of the latest day."""

    def ask(door: Door) -> Sheet:
        answer = door.get(f"{web.settings.taifex_openapi_url}/DailyMarketReportFut")
        rows = answer.json()
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise tables.unreadable(answer, "no list of rows")
        own = [row for row in rows if tables.plain(row.get("Contract")) == PRODUCT]
        if not own:
            raise tables.no_data(answer)
        header = [_ENGLISH.get(name, name) for name in own[0]]
        try:
            cells = [[tables.plain(row.get(name)) for name in own[0]] for row in own]
            return sheet_of_rows(header, cells, "futures", answer.what)
        except ImportFailed as failure:
            raise tables.unreadable(answer, str(failure).split(":")[0]) from failure

    return web.ask(TAIFEX_OPENAPI, Sentence("the latest futures", zh="最新的期貨行情"), ask)


#: The open data's names of columns -> those that files have.
_ENGLISH = {
    "Date": "date",
    "Contract": "product",
    "ContractMonth(Week)": "expiry",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Last": "close",
    "Change": "change",
    "%": "change_pct",
    "Volume": "volume",
    "SettlementPrice": "settlement",
    "OpenInterest": "open_interest",
    "TradingSession": "session",
}


def _collect_month(
    web: Web, store: Store, first: date, last: date, calendar: TradingCalendar
) -> ImportReport:
    asked = web.clock.now()
    entry = Collected("futures", PRODUCT, f"{first:%Y-%m}", "no_data", TAIFEX.key, asked)
    try:
        sheet = fetch_futures(web, first, last)
    except NoData:
        if last.day == monthrange(first.year, first.month)[1]:
            store.collected.put(entry)
        raise  # within a month its first session may be still to come
    with store.transaction():
        report = take_futures(store, f"TAIFEX {first:%Y-%m}", sheet, web.clock.now(), aside=HARMLESS)
        store.collected.put(
            replace(
                entry,
                state="complete",
                through=_through(store, first, last, asked, calendar),
                read=report.read,
                kept=report.accepted + report.unchanged + report.revised,
                refused=sum(n for why, n in report.reasons.items() if why not in HARMLESS),
                left_out=sum(n for why, n in report.reasons.items() if why in HARMLESS),
            )
        )
    return report


def _through(store: Store, first: date, last: date, asked: datetime, calendar: TradingCalendar) -> date:
    """The last day of which everything is here: the last session's day and night, if they are over.

    A session that stays away for days was none.
    """
    if taipei(asked).date() > last + _STUBBORN:
        return last
    through = last if asked >= futures_known(last) else last - timedelta(days=1)
    days, nights = store.world.days(product=PRODUCT).days, store.world.nights(product=PRODUCT).days
    for day in reversed(list(calendar.sessions(first, through))):
        if day.toordinal() in days and day.toordinal() in nights:
            break
        through = day - timedelta(days=1)
    return through


def _read(answer: Answer, first: date, last: date) -> Sheet:
    text = answer.text
    if not text.endswith("\n"):
        raise tables.unreadable(answer, "a table that was cut short")
    header = header_of_text(text)
    if kind_of(header) != "futures":
        raise tables.unreadable(answer, "no table of futures")
    if not any(line.strip() for line in text.splitlines()[1:]):
        raise tables.no_data(answer)
    try:
        sheet = sheet_of_text(text, "futures", str(answer.what))
    except ImportFailed as failure:
        raise tables.unreadable(answer, str(failure).split(":")[0]) from failure
    for cell, product in zip(sheet.columns["date"], sheet.columns.get("product", ()), strict=False):
        day = read_day(cell)
        if day and not first.toordinal() <= day <= last.toordinal():
            raise tables.wrong(answer, f"the day {cell[:20]}")
        if product.strip() not in (PRODUCT, ""):
            raise tables.wrong(answer, f"the product {product[:20]}")
    return sheet


def _months(start: date, end: date) -> Iterator[tuple[date, date]]:
    first = start.replace(day=1)
    while first <= end:
        month_end = first.replace(day=monthrange(first.year, first.month)[1])
        yield first, min(month_end, end)
        first = month_end + timedelta(days=1)
