"""What the lists of institutions and margin have in common: a market's day in one answer.

Such a list is verified, judged row by row and kept as a whole; what is missing of them is found by the
store's record of what came in, and asked for day by day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from stockllm.collectors import tables
from stockllm.collectors.failures import NoData, SiteFailure, gave_up
from stockllm.collectors.http import Answer, Web
from stockllm.collectors.market_day import EXCHANGES, SITES, Exchange
from stockllm.data.records import QuarantinedRow
from stockllm.data.sentences import Sentence, in_chinese
from stockllm.data.stores.collected import Collected
from stockllm.market.companies import is_ordinary_share
from stockllm.market.instruments import instrument_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stockllm.data.store import Store
    from stockllm.data.stores.flows import FigureStore
    from stockllm.market.calendar import TradingCalendar

Kind = Literal["flows", "margin", "revenue"]

# A list with less than this part of the companies of the nearest one is not whole.
_WHOLE = 0.8
# Failed days in a row after which a site is left for the next run.
_GIVE_UP = 3


@dataclass(frozen=True)
class RawFigures:
    """A list as it came: ``figures`` of shape (companies, columns), NaN where a number cannot be read.

    ``wrong`` marks rows that contradict themselves. ``left_out`` rows are of warrants and the like.
    """

    codes: Sequence[str]
    lines: Sequence[int]
    figures: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    raw: Callable[[int], str]
    left_out: int = 0


@dataclass(frozen=True)
class FiguresReport:
    """What became of one list. ``accepted + unchanged + revised + quarantined == read``."""

    kind: Kind
    market: Exchange
    period: str
    state: Literal["complete", "no_data"]
    read: int = 0
    accepted: int = 0
    unchanged: int = 0
    revised: int = 0
    quarantined: int = 0
    left_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WalkReport:
    """What came of several days. ``failures`` are the sentences of those that could not be had."""

    reports: tuple[FiguresReport, ...] = ()
    failures: tuple[Sentence, ...] = ()


def is_wanted(code: str) -> bool:
    """Whether a list's row is a share's or an ETF's; a row of nobody is to be seen and not dropped."""
    return not code or is_ordinary_share(code) or instrument_of(code) == "etf"


def numbers(cells: Sequence[str]) -> NDArray[np.float64]:
    """Whole numbers with thousands separators; NaN where a cell holds none."""
    return np.fromiter((tables.number(cell) for cell in cells), np.float64, len(cells))


def fewest(store: Store, kind: Kind, market: Exchange, period: str) -> int:
    """How many companies a whole list has at least, by the complete one nearest to it."""
    known = [entry for entry in store.collected.all(kind, market) if entry.state == "complete"]
    if not known:
        return 0
    return int(min(known, key=lambda entry: _apart(entry.period, period)).read * _WHOLE)


def _apart(one: str, other: str) -> int:
    days = (date.fromisoformat(text if len(text) > 7 else f"{text}-01") for text in (one, other))
    first, second = days
    return abs((first - second).days)


def keep_figures(
    web: Web,
    store: Store,
    kind: Kind,
    target: FigureStore,
    market: Exchange,
    day: date,
    known_at: datetime,
    ask: Callable[[int], RawFigures],
    *,
    period: str = "",
) -> FiguresReport:
    """Ask for a list, judge its rows and keep them, all or none; its record says what came.

    ``ask`` takes the number of companies below which a list is not whole. That there is nothing is
    recorded too, and believed after some times (``Collected.settled``). SiteFailure where there was no
    answer to keep; StoreError where the store holds simulated prices.
    """
    store.expect_simulated(False)
    period = period or day.isoformat()
    site = SITES[market].key
    now = web.clock.now()
    least = max(fewest(store, kind, market, period), web.settings.fewest_shares)
    try:
        raw = ask(least)
    except NoData:
        store.collected.put(Collected(kind, market, period, "no_data", site, now))
        return FiguresReport(kind, market, period, "no_data")
    marks = _judge(raw)
    good = [i for i, reason in enumerate(marks) if not reason]
    source = f"{market} {kind} {period}"
    # Without a company: a gap in its prices of that day would count as explained by them.
    refused = [
        QuarantinedRow(source, raw.lines[i], "", day, reason, raw.raw(i))
        for i, reason in enumerate(marks)
        if reason
    ]
    columns = dict(zip(target.columns, raw.figures[good].T, strict=True))
    with store.transaction(), store.arrivals.bring(kind, source, web.clock.now()) as arrival:
        counts = target.keep_day(arrival, day, [raw.codes[i] for i in good], columns, known_at)
        store.bars.quarantine(refused)
        store.collected.put(
            Collected(
                what=kind,
                subject=market,
                period=period,
                state="complete",
                source=site,
                at=web.clock.now(),
                read=len(raw.codes),
                kept=len(good),
                refused=len(refused),
                left_out=raw.left_out,
            )
        )
    return FiguresReport(
        kind,
        market,
        period,
        "complete",
        len(raw.codes),
        counts.new,
        counts.unchanged,
        counts.revised,
        len(refused),
        raw.left_out,
        dict(Counter(row.reason for row in refused)),
    )


def _judge(raw: RawFigures) -> list[str]:
    """Each row's reason not to keep it, empty where there is none."""
    readable = np.asarray((np.abs(raw.figures) < 1e15).all(axis=1))  # which a NaN is not
    seen: set[str] = set()
    marks = []
    for code, fine, wrong in zip(raw.codes, readable.tolist(), raw.wrong.tolist(), strict=True):
        reason = "unreadable" if not code or not fine else "sum_differs" if wrong else ""
        if not reason and code in seen:
            reason = "duplicate"
        if not reason:
            seen.add(code)
        marks.append(reason)
    return marks


def whole(answer: Answer, raw: RawFigures, least: int) -> RawFigures:
    """``raw``, or Unreadable where it has fewer than ``least`` companies."""
    if len(raw.codes) < least:
        raise tables.unreadable(answer, f"{len(raw.codes)} companies, where other lists have {least} or more")
    return raw


def missing_days(
    store: Store, kind: Kind, market: Exchange, start: date, end: date, *, calendar: TradingCalendar
) -> list[date]:
    """The sessions from ``start`` to ``end`` whose list has not come in, oldest first.

    A list that the exchange said once it has not is missing still.
    """
    settled = {entry.period for entry in store.collected.all(kind, market) if entry.settled}
    return [day for day in calendar.sessions(start, end) if day.isoformat() not in settled]


def walk(
    web: Web,
    wanted: dict[Exchange, list[date]],
    collect: Callable[[Exchange, date], FiguresReport],
    progress: Callable[[int, int], None],
) -> WalkReport:
    """Collect days of both exchanges in turn. A day that fails leaves the others alone; a site that turns
    us away, or fails three times in a row, is asked for nothing more."""
    reports: list[FiguresReport] = []
    failures: list[Sentence] = []
    in_a_row = dict.fromkeys(EXCHANGES, 0)
    stopped: set[Exchange] = set()
    jobs = sorted(
        ((number, market, day) for market, days in wanted.items() for number, day in enumerate(days)),
        key=lambda job: (job[0], job[1]),
    )
    for done, (_, market, day) in enumerate(jobs):
        progress(done, len(jobs))
        if market in stopped:
            continue
        site = SITES[market]
        if refusal := web.barred(site):
            failures.append(
                Sentence(
                    f"{site.name} is left alone for now: {refusal.why}",
                    zh=f"{in_chinese(site.name)}先前拒絕了請求，暫不詢問。",
                )
            )
            stopped.add(market)
            continue
        try:
            reports.append(collect(market, day))
            in_a_row[market] = 0
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
            in_a_row[market] += 1
            if in_a_row[market] == _GIVE_UP:
                failures.append(gave_up(site.name, _GIVE_UP))
                stopped.add(market)
    return WalkReport(tuple(reports), tuple(failures))


def last_day(calendar: TradingCalendar, now: datetime, published: Callable[[date], datetime]) -> date:
    """The last session whose list is out by ``now``."""
    from stockllm.collectors.clock import taipei

    day = taipei(now).date()
    while not calendar.is_session(day) or now < published(day):
        day -= timedelta(days=1)
    return day
