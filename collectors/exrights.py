"""Ex-dates: TWSE's ``TWT49U`` and TPEx's ``bulletin/exDailyQ``, a calendar month at a time.

A month, because TWSE has answered longer spans with a web page. What comes in goes to the store's
``ex_rights`` and, where the bars of those days are there already, into their ``reference``.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from stockllm.collectors import tables
from stockllm.collectors.bases import IDLE, apply_bases
from stockllm.collectors.clock import today
from stockllm.collectors.failures import NoData, SiteFailure, gave_up
from stockllm.collectors.files.prices_csv import read_day
from stockllm.collectors.http import Answer, Door, Web
from stockllm.collectors.market_day import EXCHANGES, SITES, Exchange
from stockllm.data.records import QuarantinedRow
from stockllm.data.sentences import Sentence
from stockllm.data.stores.collected import Collected
from stockllm.data.stores.exrights import ExRight
from stockllm.market.companies import is_ordinary_share

if TYPE_CHECKING:
    from stockllm.data.store import Store

_KINDS: dict[str, Literal["dividend", "rights", "both"]] = {
    "息": "dividend",
    "除息": "dividend",
    "權": "rights",
    "除權": "rights",
    "權息": "both",
    "除權息": "both",
}

#: The exchanges' names of the columns -> ours.
_COLUMNS = {
    "資料日期": "date",
    "除權息日期": "date",
    "股票代號": "code",
    "代號": "code",
    "除權息前收盤價": "close_before",
    "除權息參考價": "reference",
    "權/息": "kind",
    "漲停價格": "limit_up",
    "漲停價": "limit_up",
    "跌停價格": "limit_down",
    "跌停價": "limit_down",
    "開盤競價基準": "basis",
    "開始交易基準價": "basis",
}
#: Months in a row that fail before the rest is left for the next run.
_GIVE_UP = 3

_NEEDED = ("date", "code", "close_before", "reference", "kind", "basis")


@dataclass(frozen=True)
class ExRightsReport:
    """What came of the ex-dates: ``new`` or changed rows, ``applied`` to that many bars.

    ``refused`` rows, whose prices cannot be right, are in quarantine; ``left_out`` ones are of funds and
    the like. ``failures`` are the sentences of the months that could not be had.
    """

    months: int = 0
    new: int = 0
    known: int = 0
    refused: int = 0
    left_out: int = 0
    applied: int = 0
    failures: tuple[str, ...] = ()


def missing_months(store: Store, market: Exchange, start: date, end: date) -> list[date]:
    """The months (their first days) from ``start`` to ``end`` not yet asked for to their end."""
    have = {
        entry.period: entry.through
        for entry in store.collected.all("ex_rights", market)
        if entry.settled  # that there is nothing is not believed once
    }
    missing = []
    for first, last in _months(start, end):
        through = have.get(f"{first:%Y-%m}")
        if through is None or through < min(last, end):
            missing.append(first)
    return missing


def wanted_months(store: Store, start: date, end: date) -> dict[Exchange, list[date]]:
    """What ``collect_exrights`` asks each exchange for, if both answer: the first days of months."""
    return {market: missing_months(store, market, start - IDLE, end) for market in EXCHANGES}


def collect_exrights(
    web: Web,
    store: Store,
    start: date,
    end: date | None = None,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ExRightsReport:
    """Ask both exchanges for the ex-dates of the months from ``start`` to ``end`` (today).

    The time before is asked for too as far back as an untraded share may keep its base.
    Months that were asked for before are not asked for again. A month that cannot be had leaves the
    others alone; an exchange that turns us away, or fails three months in a row, is asked for nothing
    more. StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    end = min(end or today(web.clock), today(web.clock))
    wanted = wanted_months(store, start, end)
    months = new = known = bad = left_out = 0
    failures: list[str] = []
    applied = 0
    total, done = sum(map(len, wanted.values())), 0
    for market, missing in wanted.items():
        in_a_row = 0
        for first in missing:
            progress(done, total)
            done += 1
            if in_a_row == _GIVE_UP:
                site = SITES[market].name
                failures.append(gave_up(site, _GIVE_UP))
                break
            if refusal := web.barred(SITES[market]):
                failures.append(refusal.why)
                break
            last = min(first.replace(day=monthrange(first.year, first.month)[1]), end)
            state: Literal["complete", "no_data"] = "complete"  # a table without rows is an answer
            try:
                rows, refused, others = fetch_exrights(web, market, first, last)
            except NoData:
                rows, refused, others, state = [], [], 0, "no_data"
            except SiteFailure as failure:
                failures.append(Sentence.of(failure))
                in_a_row += 1
                continue
            in_a_row = 0
            with store.transaction():
                added, same = store.ex_rights.put(rows)
                store.bars.quarantine(refused)
                applied += apply_bases(store, rows)
                store.collected.put(
                    Collected(
                        what="ex_rights",
                        subject=market,
                        period=f"{first:%Y-%m}",
                        state=state,
                        source=SITES[market].key,
                        at=web.clock.now(),
                        through=last,
                        read=len(rows) + len(refused),
                        kept=len(rows),
                        refused=len(refused),
                        left_out=others,
                    )
                )
            months, new, known = months + 1, new + added, known + same
            bad, left_out = bad + len(refused), left_out + others
    return ExRightsReport(months, new, known, bad, left_out, applied, tuple(failures))


def fetch_exrights(
    web: Web, market: Exchange, start: date, end: date
) -> tuple[list[ExRight], list[QuarantinedRow], int]:
    """The exchange's ex-dates from ``start`` to ``end``, the rows that cannot be right, and how many
    are of no ordinary share.

    NoData where there are none, WrongAnswer where a row or the heading names another time.
    """
    site = SITES[market]

    def ask(door: Door) -> tuple[list[ExRight], list[QuarantinedRow], int]:
        if market == "TWSE":
            params = {"startDate": f"{start:%Y%m%d}", "endDate": f"{end:%Y%m%d}", "response": "json"}
            answer = door.get(f"{web.settings.twse_url}/rwd/zh/exRight/TWT49U", params)
        else:
            form = {"startDate": f"{start:%Y/%m/%d}", "endDate": f"{end:%Y/%m/%d}", "response": "json"}
            answer = door.post(f"{web.settings.tpex_url}/www/zh-tw/bulletin/exDailyQ", form)
        return _read(answer, market, start, end)

    return web.ask(
        site,
        Sentence(
            f"the ex-dates of {market} from {start} to {end}", zh=f" {market} {start} 至 {end} 的除權息"
        ),
        ask,
    )


def _read(
    answer: Answer, market: Exchange, start: date, end: date
) -> tuple[list[ExRight], list[QuarantinedRow], int]:
    document = tables.mapping(answer)
    tables.status(answer, document)
    given = [document] if market == "TWSE" else document.get("tables")
    if not isinstance(given, list) or not given:
        raise tables.unreadable(answer, "no table")
    span = tables.plain(document.get("date"))
    if market == "TPEx" and span and span != f"{start:%Y%m%d}~{end:%Y%m%d}":
        raise tables.wrong(answer, f"the days {span[:40]}")
    if market == "TWSE":
        tables.same_title(answer, document.get("title"), start)
    rows: list[ExRight] = []
    refused: list[QuarantinedRow] = []
    others = 0
    for line, cells in enumerate(_cells(answer, given), start=1):
        code = cells.get("code", "")
        if not is_ordinary_share(code) and cells:
            others += 1
            continue
        row = _ex_right(answer, market, cells)
        if row is None:
            source = f"{market} ex-dates {start:%Y-%m}"
            # Without its date: a gap in the prices of that day would count as explained by it.
            refused.append(QuarantinedRow(source, line, code, None, "unreadable_ex_date", str(cells)))
        elif not start <= row.date <= end:
            raise tables.wrong(answer, f"the day {row.date} of {code}")
        else:
            rows.append(row)
    return rows, refused, others


def _cells(answer: Answer, given: Iterable[Any]) -> Iterator[dict[str, str]]:
    for table in given:
        if not isinstance(table, dict) or "fields" not in table:
            continue
        fields, data = table["fields"], table.get("data")
        if not isinstance(fields, list) or not isinstance(data, list):
            raise tables.unreadable(answer, "a table without rows")
        place = {_COLUMNS.get("".join(tables.plain(name).split())): i for i, name in enumerate(fields)}
        if data and (lacking := [name for name in _NEEDED if name not in place]):
            raise tables.unreadable(answer, f"no column for {', '.join(lacking)}")
        total = table.get("totalCount", table.get("total", len(data)))
        if isinstance(total, int) and total != len(data):
            raise tables.unreadable(answer, f"{len(data)} rows of {total}")
        for row in data:
            whole = isinstance(row, list) and len(row) == len(fields)
            yield {n: tables.plain(row[i]) for n, i in place.items() if n is not None} if whole else {}


def _ex_right(answer: Answer, market: Exchange, cells: dict[str, str]) -> ExRight | None:
    """One row, None where it cannot be right: unlike a bar it has no neighbours to be judged by."""
    day = read_day(cells.get("date", ""))
    close, reference, basis, up, down = (
        _cents(cells.get(name, ""))
        for name in ("close_before", "reference", "basis", "limit_up", "limit_down")
    )
    kind = _KINDS.get(cells.get("kind", ""))
    if not (day and kind and close and reference and basis):
        return None
    # Halving twice over is the most that has been seen; a tenth is a misprint.
    if not 0.1 < reference / close < 1.5:
        return None
    return ExRight(
        cells["code"], date.fromordinal(day), market, kind, close, reference, basis, up, down, answer.site.key
    )


def _cents(text: str) -> int | None:
    try:
        cents = round(float(text.replace(",", "")) * 100)
    except (ValueError, OverflowError):
        return None
    return cents if cents > 0 else None


def _months(start: date, end: date) -> Iterator[tuple[date, date]]:
    """The first and last days of the months from ``start`` to ``end``."""
    first = start.replace(day=1)
    while first <= end:
        last = first.replace(day=monthrange(first.year, first.month)[1])
        yield first, last
        first = last + timedelta(days=1)
