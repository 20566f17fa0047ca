"""What the Market tab shows, read from the store. Knows no screen; every function may run in a thread.

Each call opens a store of its own and closes it, so that no two threads share one and a file that
was replaced meanwhile is seen. Heavy imports wait until the first call: the dashboard paints before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from stockllm.market.companies import Company
from stockllm.tui.core.record import record_of
from stockllm.tui.core.store import NothingToShow, open_store

if TYPE_CHECKING:
    from stockllm.data.absences import Spell
    from stockllm.data.paths import Home
    from stockllm.data.records import Action, Article, BarSeries, PathForecast, Signal
    from stockllm.data.store import Store
    from stockllm.data.stores.ledger import LedgerRow
    from stockllm.data.stores.refreshes import RefreshOutcome
    from stockllm.data.stores.scores import Score
    from stockllm.data.stores.survey import Latest

SignalRule = Literal["mean", "four-points", "edge"]

#: The order of the marks in the watchlist.
RULES: tuple[SignalRule, ...] = ("mean", "four-points", "edge")

#: One verdict a rule, in the order of ``RULES``; None where there is none.
Marks = tuple["Action | None", ...]

#: Articles kept at hand for a company.
NEWS = 30

#: Forecasts of a company that can be held against what came.
_HISTORY = 400

#: Days looked back for the bar before a company's last; the longest holiday is eleven, halts are longer.
_RECENT = timedelta(days=45)


@dataclass(frozen=True, slots=True)
class Row:
    """One company in the watchlist.

    ``last`` is the newest close in TWD, ``change`` its move as a share of the day's reference
    price (the close before, where none is stored); None without bars. ``marks`` holds the newest
    verdict of each rule in the order of ``RULES``, None where a rule has given none.
    """

    company: Company
    last: float | None
    change: float | None
    day: date | None
    marks: Marks = (None, None, None)

    def answers(self, query: str) -> bool:
        """Whether code or any name contains ``query``, whatever its case."""
        wanted = query.strip().casefold()
        return any(wanted in name.casefold() for name in self.company.names())


@dataclass(frozen=True, eq=False)
class Board:
    """The watchlist and what it rests on. ``last`` is the newest session of the whole store."""

    rows: tuple[Row, ...]
    last: date
    simulated: bool

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Companies with bars whose last day some rule has not judged."""
        return tuple(row.company.code for row in self.rows if row.day is not None and None in row.marks)

    def with_marks(self, marks: dict[str, Marks]) -> Board:
        """The same board with the marks of some companies put in."""
        rows = (replace(row, marks=marks.get(row.company.code, row.marks)) for row in self.rows)
        return Board(tuple(rows), self.last, self.simulated)

    def marks_still_good(self, newer: Board) -> dict[str, Marks]:
        """The marks to keep for companies that ``newer`` has none for and no later bar of."""
        kept = {row.company.code: row for row in self.rows if None not in row.marks}
        return {
            code: kept[code].marks
            for code in newer.unjudged
            if code in kept and (row := newer.row(code)) is not None and kept[code].day == row.day
        }

    def row(self, code: str) -> Row | None:
        """The row of a company, None if it is not in the list."""
        return self._by_code.get(code)

    @cached_property
    def _by_code(self) -> dict[str, Row]:
        return {row.company.code: row for row in self.rows}


@dataclass(frozen=True, slots=True, eq=False)
class Detail:
    """Everything about one company that the screen shows at once. Compared by identity: it holds arrays.

    ``record`` says in Chinese and English how the forecast's model has done against the naive
    forecast, over all companies; None where there is no forecast.
    """

    company: Company
    series: BarSeries
    forecast: PathForecast | None
    signals: tuple[Signal, ...]
    news: tuple[Article, ...]
    simulated: bool
    #: Its forecasts in the ledger, newest day first; one a day, the last one made.
    history: tuple[LedgerRow, ...] = ()
    record: tuple[str, str] | None = None

    @property
    def stale_forecast(self) -> bool:
        """Whether newer bars have come since the forecast was made."""
        return (
            self.forecast is not None
            and bool(len(self.series))
            and self.forecast.as_of < self.series.dates[-1]
        )


@dataclass(frozen=True, slots=True)
class CompanyState:
    """How complete one company's bars are: counts of bars, gaps and quarantined rows.

    ``missing`` is the last stretch of days that ought to be there, with the reason.
    """

    code: str
    first: date | None
    last: date | None
    bars: int
    gaps: int
    quarantined: int
    missing: Spell | None = None


@dataclass(frozen=True, slots=True)
class LastRefresh:
    """When the last refresh started, how it ended, and when the next one is due."""

    started: datetime
    outcome: RefreshOutcome
    due: datetime


@dataclass(frozen=True)
class DataState:
    """How complete and how fresh the store is. ``behind`` counts the sessions that are over since
    the last one here, ``stale`` the companies whose bars end before it. ``refresh`` is None where none
    has ever run."""

    last: date | None
    behind: int
    bars: int
    quarantined: int
    gaps: int
    stale: int
    companies: tuple[CompanyState, ...]
    refresh: LastRefresh | None = None

    def company(self, code: str) -> CompanyState | None:
        """The state of one company, None if the store knows nothing of it."""
        return self._by_code.get(code)

    @cached_property
    def _by_code(self) -> dict[str, CompanyState]:
        return {state.code: state for state in self.companies}


def load_board(home: Home) -> Board:
    """The watchlist: the 41 and every other stock with bars, by code."""
    with open_store(home) as store:
        last = store.bars.last_date()
        if last is None:
            raise NothingToShow("empty", home)
        companies = {company.code: company for company in store.companies()}
        latest = store.survey.latest()
        for code in latest.keys() - companies.keys():
            companies[code] = Company.bare(code)
        signals: dict[str, list[Signal]] = {}
        for signal in store.signals.latest():
            signals.setdefault(signal.code, []).append(signal)
        rows = tuple(
            _row(companies[code], latest.get(code), signals.get(code, [])) for code in sorted(companies)
        )
        return Board(rows, last, store.simulated)


def _row(company: Company, latest: Latest | None, signals: list[Signal]) -> Row:
    if latest is None:
        return Row(company, None, None, None)
    before = latest.reference
    if not before and latest.day_before is not None and latest.day - latest.day_before <= _RECENT:
        before = latest.close_before
    change = latest.close / before - 1 if before else None
    # A verdict on an older day says nothing about this close.
    marks = _in_order([signal for signal in signals if signal.as_of == latest.day])
    return Row(company, latest.close / 100, change, latest.day, marks)


def _in_order(signals: Iterable[Signal]) -> Marks:
    actions = {signal.rule: signal.action for signal in signals}
    return tuple(actions.get(rule) for rule in RULES)


def judge(home: Home, codes: Sequence[str], stop: Callable[[], bool]) -> dict[str, Marks]:
    """The marks of companies nobody has judged on their last day. Nothing is stored.

    ``stop`` is asked before each company; once it says so, what is known so far comes back.
    """
    from stockllm.trading.strategy.signals import signals_for

    marks: dict[str, Marks] = {}
    with open_store(home) as store:
        for code in codes:
            if stop():
                break
            forecast_id, forecast = store.ledger.latest(code) or (None, None)
            series = store.bars.series(code)
            marks[code] = _in_order(signals_for(series, forecast, forecast_id, store.simulated))
    return marks


def load_detail(home: Home, code: str) -> Detail:
    """``read_detail`` from the store of ``home``, which is opened for it."""
    with open_store(home) as store:
        return read_detail(store, code)


def read_detail(store: Store, code: str) -> Detail:
    """One company: bars, newest forecast, signals, news.

    Signals that were never stored for the last bar and this forecast are judged here and not
    stored: looking at a company changes nothing.
    """
    series = store.bars.series(code)
    forecast_id, forecast = store.ledger.latest(code) or (None, None)
    simulated = store.simulated or (forecast is not None and forecast.simulated)
    signals = {signal.rule: signal for signal in store.signals.latest(code)}
    if len(series) and not _current(signals, series.dates[-1], forecast_id):
        from stockllm.trading.strategy.signals import signals_for

        signals |= {s.rule: s for s in signals_for(series, forecast, forecast_id, simulated)}
    return Detail(
        store.company(code),
        series,
        forecast,
        tuple(signals[rule] for rule in RULES if rule in signals),
        tuple(store.news.articles(code, limit=NEWS)),
        simulated,
        history=_by_day(store.ledger.list(code, limit=_HISTORY)),
        record=None if forecast is None else record_of(store, forecast),
    )


def _by_day(rows: Iterable[LedgerRow]) -> tuple[LedgerRow, ...]:
    """The last one made of each day, newest day first."""
    days: dict[date, LedgerRow] = {}
    for row in rows:
        days.setdefault(row.as_of, row)
    return tuple(days[day] for day in sorted(days, reverse=True))


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An older forecast and what became of it: the score of its last scored day, None before it came."""

    forecast: PathForecast
    score: Score | None


def load_past(home: Home, id: int) -> Past:
    """A forecast of the ledger with the score of its last day that has one."""
    with open_store(home) as store:
        forecast = store.ledger.get(id)
        scores = [each.score for each in store.scores.list(forecast.code) if each.score.forecast == id]
    return Past(forecast, max(scores, key=lambda score: score.day, default=None))


def _current(signals: dict[SignalRule, Signal], day: date, forecast_id: int | None) -> bool:
    """Whether every rule was judged on ``day``, and none before the newest forecast was made."""
    return all(
        rule in signals and signals[rule].as_of == day and signals[rule].forecast_id in (None, forecast_id)
        for rule in RULES
    ) and (forecast_id is None or any(s.forecast_id == forecast_id for s in signals.values()))


def load_data_state(home: Home, now: datetime) -> DataState:
    """Freshness, gaps and quarantine of the whole store; the slowest of the loads."""
    from stockllm.tui.core.examined import examined

    with open_store(home) as store:
        report = examined(store, now)
        refresh = _last_refresh(store, now)
    last = max((company.last for company in report.companies if company.last), default=None)
    return DataState(
        last,
        min((company.stale_days for company in report.companies if company.last), default=0),
        report.bars,
        report.quarantined,
        sum(company.gaps for company in report.companies),
        sum(company.last is not None and company.last != last for company in report.companies),
        tuple(
            CompanyState(
                c.code, c.first, c.last, c.bars, c.gaps, c.quarantined, c.missing[-1] if c.missing else None
            )
            for c in report.companies
        ),
        refresh,
    )


def _last_refresh(store: Store, now: datetime) -> LastRefresh | None:
    rows = store.refreshes.list(limit=1)
    if not rows:
        return None
    from stockllm.data.settings import Settings
    from stockllm.nightly.times import next_due

    due = next_due(store.calendar(since=now.date() - _RECENT), Settings.load(store.home).refresh_at, now)
    return LastRefresh(rows[0].started, rows[0].outcome, due)


#: Told how many of how many units of work are done.
Progress = Callable[[int, int], None]

#: Makes a forecast: home, code, progress -> warnings. ``forecast_one`` but in tests.
Forecaster = Callable[["Home", str, Progress], tuple[str, ...]]


def forecast_one(home: Home, code: str, progress: Progress) -> tuple[str, ...]:
    """Forecasts one company into the ledger and judges it anew; returns the warnings, a sentence each.

    Imports torch: seconds, the first time. Raises StockllmError with the sentence to show, and
    whatever ``progress`` raises.
    """
    from stockllm.data.settings import Settings
    from stockllm.forecaster.forecast import forecast
    from stockllm.trading.strategy.signals import refresh_signals

    settings = Settings.load(home)
    with open_store(home) as store:
        entries = forecast(store, [code], model=settings.model, progress=progress)
        refresh_signals(store, [code])
    return tuple(warning.sentence(settings.language) for entry in entries for warning in entry.warnings)
