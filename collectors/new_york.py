"""New York's indices and shares from Yahoo's charts: ``v8/finance/chart/SYMBOL``, a symbol a request.

A bar is stamped at its start, and the one of a session that is still open carries the last price so far:
a day is taken once New York has closed, and not before. Shares are adjusted for splits as a whole, so
where the days that both have differ by a factor, the whole history is asked for again.

The charts are asked for through our own way out and not through ``yfinance``: that opens connections of
its own, past our spacing, limits and records, to addresses that cannot be set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stockllm.collectors import tables
from stockllm.collectors.failures import Blocked, BudgetSpent, Outage, Refused, SiteFailure
from stockllm.collectors.files.sheets import Sheet
from stockllm.collectors.files.world_files import HARMLESS, take_world
from stockllm.collectors.http import YAHOO, Answer, Door, Web
from stockllm.data.sentences import Sentence, in_chinese
from stockllm.data.stores.collected import Collected
from stockllm.data.stores.world import SYMBOLS
from stockllm.market.moments import NEW_YORK, new_york_close

if TYPE_CHECKING:
    from stockllm.data.records import ImportReport
    from stockllm.data.store import Store

#: How far back the first request for a symbol goes.
FIRST = date(2016, 1, 4)

# Days that are asked for again, to see whether a split has restated them.
_OVERLAP = timedelta(days=10)

# So long after the close a day without a bar was none.
_LATE = timedelta(hours=6)

# Two closes of one day that differ by more than this part are of two adjustments.
_RESTATED = 0.02


@dataclass(frozen=True)
class WorldReport:
    """What came of the symbols. ``reports`` is one a request; ``failures`` are sentences.

    ``through`` is the last day in New York that was over, ``lacking`` the symbols without it.
    """

    through: date
    reports: tuple[ImportReport, ...] = ()
    failures: tuple[Sentence, ...] = ()
    lacking: tuple[str, ...] = ()


def last_closed(now: datetime) -> date:
    """The last weekday on which New York has closed by ``now``; its holidays are not known here."""
    day = now.astimezone(NEW_YORK).date()
    while day.weekday() >= 5 or new_york_close(day) > now:
        day -= timedelta(days=1)
    return day


def wanted_symbols(store: Store, symbols: Sequence[str], *, now: datetime) -> list[str]:
    """The symbols that have not been asked for since New York closed last."""
    last = last_closed(now)
    have = {entry.subject: entry.through for entry in store.collected.all("world")}
    wanted = []
    for symbol in symbols:
        through = have.get(symbol)
        if through is None or through < last:
            wanted.append(symbol)
    return wanted


def collect_world(
    web: Web,
    store: Store,
    symbols: Sequence[str] | None = None,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> WorldReport:
    """Ask for the days of ``symbols`` (the settings' where None) that the store lacks.

    A symbol that fails leaves the others alone; a site that turns us away is asked nothing more.
    StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    symbols = list(web.settings.world_symbols if symbols is None else symbols)
    through = last_closed(web.clock.now())
    wanted = wanted_symbols(store, symbols, now=web.clock.now())
    reports: list[ImportReport] = []
    failures: list[Sentence] = []
    for done, symbol in enumerate(wanted):
        progress(done, len(wanted))
        try:
            reports += _collect(web, store, symbol)
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
            if isinstance(failure, (Blocked, BudgetSpent)):
                break
    known = store.world.bars(symbols)
    lacking = [name for name in symbols if not len(known[name]) or known[name].days[-1] < through.toordinal()]
    return WorldReport(through, tuple(reports), tuple(failures), tuple(lacking))


def fetch_world(web: Web, symbol: str, start: date) -> Sheet:
    """The days of ``symbol`` from ``start`` on, today's too if New York has opened.

    WrongAnswer where the chart is another symbol's, or its days are none; Refused where Yahoo says why it
    gives none.
    """
    theirs = SYMBOLS.get(symbol, symbol)
    now = web.clock.now()
    begin = datetime(start.year, start.month, start.day, tzinfo=NEW_YORK)
    params = {
        "interval": "1d",
        "period1": f"{begin.timestamp():.0f}",
        "period2": f"{now.timestamp():.0f}",
    }

    def ask(door: Door) -> Sheet:
        answer = door.get(f"{web.settings.yahoo_url}/v8/finance/chart/{theirs}", params)
        return _read(answer, symbol, theirs, start)

    return web.ask(
        YAHOO, Sentence(f"the days of {symbol} from {start}", zh=f" {symbol} 自 {start} 的行情"), ask
    )


def _collect(web: Web, store: Store, symbol: str) -> list[ImportReport]:
    known = store.world.bars([symbol])[symbol]
    start = FIRST
    if len(known):
        start = max(FIRST, date.fromordinal(int(known.days[-1])) - _OVERLAP)
    # A moment before the request: a session that ends while it is under way is not over for it.
    now = web.clock.now()
    sheet = fetch_world(web, symbol, start)
    if start != FIRST and _restated(store, symbol, sheet):
        start = min(FIRST, date.fromordinal(int(known.days[0])))
        now = web.clock.now()
        sheet = fetch_world(web, symbol, start)
    with store.transaction():
        report = take_world(store, f"Yahoo {symbol}", sheet, now, aside=HARMLESS)
        store.collected.put(
            Collected(
                what="world",
                subject=symbol,
                period="daily",
                state="complete",
                source=YAHOO.key,
                at=now,
                through=_through(sheet, now),
                read=report.read,
                kept=report.accepted + report.unchanged + report.revised,
                refused=sum(n for why, n in report.reasons.items() if why not in HARMLESS),
                left_out=sum(n for why, n in report.reasons.items() if why in HARMLESS),
            )
        )
    return [report]


def _through(sheet: Sheet, now: datetime) -> date:
    """The last day that needs no asking for: the last one over, unless it is missing and may yet come.

    Some hours after the close it is missing because New York had a holiday.
    """
    last = last_closed(now)
    if last.toordinal() in sheet.days(NEW_YORK) or now >= new_york_close(last) + _LATE:
        return last
    return last - timedelta(days=1)


def _restated(store: Store, symbol: str, sheet: Sheet) -> bool:
    """Whether the days that both have differ by a factor, as after a split."""
    known = store.world.bars([symbol])[symbol]
    closes = dict(zip(known.days.tolist(), known.close.tolist(), strict=True))
    for day, close in zip(sheet.days(NEW_YORK).tolist(), sheet.numbers("close").tolist(), strict=True):
        before = closes.get(day)
        if before and close > 0 and abs(close / before - 1) > _RESTATED:
            return True
    return False


def _read(answer: Answer, symbol: str, theirs: str, start: date) -> Sheet:
    document = answer.json()
    chart = document.get("chart") if isinstance(document, dict) else None
    if not isinstance(chart, dict):
        if answer.status_code == 404:
            raise tables.unreadable(answer, "HTTP 404")
        raise _said(answer, document)
    if chart.get("error"):
        raise _said(answer, chart["error"])
    results = chart.get("result")
    result = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else None
    if result is None:
        raise tables.unreadable(answer, "no chart")
    meta = result.get("meta")
    named = str(meta.get("symbol", "")) if isinstance(meta, dict) else ""
    if named.upper() != theirs.upper():
        raise tables.wrong(answer, f"the symbol {named[:20] or 'nobody named'}")
    stamps = result.get("timestamp") or []
    quote = _quote(answer, result)
    columns: dict[str, list[Any]] = {name: quote.get(name) or [] for name in _COLUMNS}
    if not isinstance(stamps, list) or any(
        not isinstance(column, list) or len(column) != len(stamps) for column in columns.values()
    ):
        raise tables.unreadable(answer, "columns of different lengths")
    if not stamps:
        raise tables.unreadable(answer, "no days")
    rows = _rows(answer, symbol, stamps, columns)
    if rows and rows[0][1] < start.isoformat():
        raise tables.wrong(answer, f"the day {rows[0][1]}")
    cells = list(zip(*rows, strict=True)) if rows else [()] * 7
    names = ("symbol", "date", *_COLUMNS)
    return Sheet(
        "world",
        {name: list(column) for name, column in zip(names, cells, strict=True)},
        list(range(1, len(rows) + 1)),
        lambda i: ",".join(rows[i]),
    )


_COLUMNS = ("open", "high", "low", "close", "volume")


def _quote(answer: Answer, result: dict[str, Any]) -> dict[str, Any]:
    indicators = result.get("indicators")
    quotes = indicators.get("quote") if isinstance(indicators, dict) else None
    if not isinstance(quotes, list) or not quotes or not isinstance(quotes[0], dict):
        raise tables.unreadable(answer, "no quotes")
    return quotes[0]


def _rows(
    answer: Answer, symbol: str, stamps: Sequence[Any], columns: dict[str, list[Any]]
) -> list[tuple[str, ...]]:
    """Rows of text, a day each: of two of one day the later counts, and days without a price are none."""
    rows: dict[str, tuple[str, ...]] = {}
    for stamp, *figures in zip(stamps, *columns.values(), strict=True):
        if not isinstance(stamp, (int, float)):
            raise tables.unreadable(answer, "a stamp that is no number")
        day = datetime.fromtimestamp(stamp, UTC).astimezone(NEW_YORK).date().isoformat()
        if all(figure is None for figure in figures[:4]):
            continue
        rows[day] = (symbol, day, *("" if figure is None else str(figure) for figure in figures))
    return [rows[day] for day in sorted(rows)]


def _said(answer: Answer, error: object) -> SiteFailure:
    """What Yahoo says in place of a chart."""
    found = error.get("error", error) if isinstance(error, dict) else {}
    code = str(found.get("code", "")) if isinstance(found, dict) else str(found)
    said = str(found.get("description", "")) if isinstance(found, dict) else ""
    text = " ".join(f"{code} {said}".split())[:100]
    if answer.status_code == 429 or "Too Many" in text:
        return Blocked(
            f"{YAHOO.name} turned the request for {answer.what} away: {text or 'too many requests'}.",
            zh=f"{YAHOO.name} 拒絕了{in_chinese(answer.what)}的請求。",
        )
    if answer.status_code >= 500 or not text:
        return Outage(
            f"{YAHOO.name} answered {answer.what} with HTTP {answer.status_code}: "
            "it is asked again on the next run.",
            zh=f"{YAHOO.name} 以 HTTP {answer.status_code} 回應{in_chinese(answer.what)}：下次更新會再問。",
        )
    return Refused(
        f"{YAHOO.name} has no chart for {answer.what} ({text}): see that the symbol is right.",
        code or "refused",
        zh=f"{YAHOO.name} 沒有{in_chinese(answer.what)}（{text}）：請確認代號是否正確。",
    )
