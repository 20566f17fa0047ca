"""Which requests a backfill needs: one stock's months or the whole market's days, whichever are fewer.

A month of one stock and a day of all stocks cost one request each. For 41 companies a month's 20
sessions are cheaper than 33 stocks of TWSE, and 8 stocks of TPEx are cheaper than 20 sessions; a
company that lacks a month where the others lack a day gets its month and they get their day.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from stockllm.collectors.clock import taipei
from stockllm.collectors.failures import Blocked, SiteFailure, gave_up
from stockllm.collectors.http import Web
from stockllm.collectors.market_day import EXCHANGES, SITES, Exchange, collect_day, last_published
from stockllm.collectors.stock_month import collect_month, exchange_of
from stockllm.data.sentences import Sentence

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.data.stores.collected import Collected
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

#: Called with (jobs done, jobs in all).
Progress = Callable[[int, int], None]

# How long an answer takes, beside the wait between two.
_ANSWER_S = 0.5

# Failed jobs in a row after which a site is left for the next run.
_GIVE_UP = 3

# For so many days after it an exchange that alone has nothing for a day is asked again.
_STUBBORN = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Job:
    """One request: the market's ``day``, or the month of ``company`` that begins with ``day``."""

    market: Exchange
    day: date
    company: Company | None = None


@dataclass(frozen=True)
class Plan:
    """The requests to send, and what the two ways alone would have cost.

    ``seconds`` is how long they take at the allowed pace if nothing fails.
    """

    start: date
    end: date
    companies: int
    jobs: tuple[Job, ...]
    stock_months: int
    market_days: int
    seconds: float

    @property
    def months(self) -> int:
        """How many of the jobs are one stock's month."""
        return sum(job.company is not None for job in self.jobs)

    @property
    def days(self) -> int:
        """How many of the jobs are a whole market's day."""
        return len(self.jobs) - self.months

    def lines(self, language: str) -> list[str]:
        """The plan in words, to be printed before it starts."""
        span = f"{self.start} … {self.end}"
        if not self.jobs:
            zh, en = "股價沒有缺漏，不需要任何請求", "No price is missing; nothing is asked for"
            return [f"{zh if language != 'en' else en} ({span}, {self.companies})."]
        if language == "en":
            time = _duration(self.seconds, "en")
            return [
                f"Prices of {self.companies} companies, {span}: {len(self.jobs)} requests, "
                f"{self.days} market days and {self.months} stock-months; about {time}.",
                f"By stock-months alone: {self.stock_months}; by market days alone: {self.market_days}.",
            ]
        return [
            f"{self.companies} 家公司的股價，{span}：{len(self.jobs)} 個請求，"
            f"全市場單日 {self.days} 個、個股單月 {self.months} 個；約需{_duration(self.seconds, 'zh')}。",
            f"若只抓個股單月要 {self.stock_months} 個，只抓全市場單日要 {self.market_days} 個。",
        ]

    def document(self) -> dict[str, Any]:
        """The plan for ``--json``."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "companies": self.companies,
            "requests": len(self.jobs),
            "market_days": self.days,
            "stock_months": self.months,
            "alone": {"market_days": self.market_days, "stock_months": self.stock_months},
            "seconds": round(self.seconds),
        }


@dataclass
class PlanReport:
    """What became of a plan. ``failures`` are sentences, one a job that failed; ``stopped`` names the
    sites that were left alone before their jobs were done, with the reason."""

    jobs: int = 0
    done: int = 0
    accepted: int = 0
    unchanged: int = 0
    quarantined: int = 0
    no_data: int = 0
    failures: list[str] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """The jobs that the next run has to do."""
        return self.jobs - self.done


def plan_prices(
    store: Store,
    companies: Sequence[Company],
    start: date,
    end: date | None = None,
    *,
    now: datetime,
    settings: Settings,
    calendar: TradingCalendar | None = None,
) -> Plan:
    """What is missing of the companies' prices from ``start`` to ``end`` (the last published day).

    A day is missing where the company has no bar of it and neither the exchange's day nor the
    company's month has been collected; a row refused from some file does not count, since the
    exchange may have the right one. UnknownCompany where nobody knows where a company is listed.
    """
    calendar = calendar or store.calendar()
    listed: dict[Exchange, list[Company]] = {market: [] for market in EXCHANGES}
    for company in companies:
        listed[exchange_of(company)].append(company)
    jobs: dict[Exchange, list[Job]] = {market: [] for market in EXCHANGES}
    stock_months = market_days = 0
    stop = start
    for market, own in listed.items():
        if not own:
            continue
        last = last_published(market, calendar, now)
        last = min(end, last) if end else last
        stop = max(stop, last)
        asked = store.collected.days(market)
        again = _unconfirmed(store, now)
        settled = {day for day, entry in asked.items() if _settled(day, entry)} - again
        have = {company.code: _have(store, company, settled) for company in own}
        for first, month_end in _months(start, last):
            sessions = list(calendar.sessions(max(first, start), min(month_end, last)))
            lacking = {company: [day for day in sessions if not have[company.code](day)] for company in own}
            lacking = {company: days for company, days in lacking.items() if days}
            by_month, days = _cheapest(lacking)
            days |= {day for day in again if max(first, start) <= day <= min(month_end, last)}
            stock_months += len(lacking)
            market_days += len(set(chain.from_iterable(lacking.values())))
            jobs[market] += [Job(market, first, company) for company in by_month]
            jobs[market] += [Job(market, day) for day in sorted(days)]
    # Turn and turn about: while one site is waited for, the other is asked.
    mixed = tuple(job for pair in zip_longest(*jobs.values()) for job in pair if job is not None)
    longest = max(map(len, jobs.values()))
    seconds = max(longest * settings.request_interval, 0.0) + len(mixed) * _ANSWER_S
    return Plan(start, stop, len(companies), mixed, stock_months, market_days, seconds)


def run_plan(
    web: Web,
    store: Store,
    plan: Plan,
    *,
    progress: Progress | None = None,
    calendar: TradingCalendar | None = None,
) -> PlanReport:
    """Do the jobs of ``plan``. A job that fails is left for the next plan, which finds it missing.

    A site that turns us away, or fails three jobs in a row, is asked for nothing more.
    """
    report = PlanReport(jobs=len(plan.jobs))
    calendar = calendar or store.calendar()
    in_a_row = dict.fromkeys(EXCHANGES, 0)
    for number, job in enumerate(plan.jobs, start=1):
        if job.market not in report.stopped:
            try:
                _do(web, store, job, report, calendar)
                in_a_row[job.market] = 0
            except SiteFailure as failure:
                report.failures.append(Sentence.of(failure))
                in_a_row[job.market] += 1
                if isinstance(failure, Blocked):
                    report.stopped[job.market] = Sentence.of(failure)
                elif in_a_row[job.market] == _GIVE_UP:
                    site = SITES[job.market].name
                    report.stopped[job.market] = gave_up(site, _GIVE_UP)
        if progress is not None:
            progress(number, len(plan.jobs))
    return report


def _do(web: Web, store: Store, job: Job, report: PlanReport, calendar: TradingCalendar) -> None:
    done = (
        collect_day(web, store, job.market, job.day, calendar=calendar)
        if job.company is None
        else collect_month(web, store, job.company, job.day, calendar=calendar)
    )
    report.done += 1
    report.accepted += done.accepted
    report.unchanged += done.unchanged
    report.quarantined += done.quarantined
    report.no_data += done.state == "no_data"


def _have(store: Store, company: Company, settled: set[date]) -> Callable[[date], bool]:
    """Whether a day of the company needs no asking for."""
    days = set(store.bars.days(company.code))
    months = {
        entry.period: entry.through
        for entry in store.collected.all("month", company.code)
        if entry.settled  # that there is nothing is not believed once
    }

    def have(day: date) -> bool:
        through = months.get(f"{day:%Y-%m}")
        return (
            day in days
            or day in settled
            or day < company.listed_since
            or (through is not None and day <= through)
        )

    return have


def _cheapest(lacking: dict[Company, list[date]]) -> tuple[list[Company], set[date]]:
    """Who gets a month of their own, and the days that the market is asked for: the fewest of both.

    Those that lack the most days are the first to get a month; as many as pays.
    """
    order = sorted(lacking, key=lambda company: (len(lacking[company]), company.code))
    best = (len(order), len(order), 0)  # (cost, months, companies served by days)
    days: set[date] = set()
    for served, company in enumerate(order, start=1):
        days |= set(lacking[company])
        months = len(order) - served
        # At equal cost days win: they bring every other share too.
        best = min(best, (len(days) + months, months, served))
    served = best[2]
    return order[served:], set(chain.from_iterable(lacking[company] for company in order[:served]))


def _settled(day: date, entry: Collected) -> bool:
    """Whether an exchange's answer about ``day`` is its last word.

    That it has nothing is believed after some times, and some time. Where both exchanges have nothing the
    day was closed, and nobody asks.
    """
    late = taipei(entry.at).date() >= day + _STUBBORN
    return entry.state == "complete" or (late and entry.asked > 1)


def _unconfirmed(store: Store, now: datetime) -> set[date]:
    """Days on which both exchanges had nothing, asked on the very day: they may have been late."""
    here = taipei(now).date()
    closed = store.collected.closed_days()
    return {
        day
        for market in EXCHANGES
        for day, entry in store.collected.days(market).items()
        if day in closed and day < here and taipei(entry.at).date() <= day
    }


def _months(start: date, end: date) -> Iterator[tuple[date, date]]:
    first = start.replace(day=1)
    while first <= end:
        last = first.replace(day=monthrange(first.year, first.month)[1])
        yield first, last
        first = last + timedelta(days=1)


def _duration(seconds: float, language: str) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s" if language == "en" else f" {max(1, round(seconds))} 秒"
    hours, rest = divmod(minutes, 60)
    if language == "en":
        return f"{hours} h {rest} min" if hours else f"{minutes} min"
    return f" {hours} 小時 {rest} 分" if hours else f" {minutes} 分"
