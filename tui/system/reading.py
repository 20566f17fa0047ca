"""What the System tab shows, read from the store. Knows no screen; every function may run in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.market.companies import Company
from stockllm.tui.core import export, jobs
from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from stockllm.data.absences import Spell
    from stockllm.data.health import CompanyHealth
    from stockllm.data.paths import Home
    from stockllm.data.records import QuarantinedRow
    from stockllm.data.stores.refreshes import RefreshRow
    from stockllm.data.stores.requests import RequestRow
    from stockllm.nightly.lock import Holder

#: Sites that are asked, by the key of the request log.
SITES = ("twse", "twse_openapi", "tpex", "newsapi")

#: Bars that the calendar of the days to come is learned from.
_A_MONTH = timedelta(days=30)

_REFRESHES = 30
_REQUESTS = 100
_QUARANTINED = 2000
_LOG_LINES = 300


@dataclass(frozen=True, slots=True)
class SiteState:
    """Requests to a site in the last 24 hours, how many of them went wrong, how many there may be
    (None: no limit but their spacing), and until when it must not be asked, with the reason."""

    site: str
    sent: int
    faults: int
    limit: int | None
    barred: datetime | None
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class SystemState:
    """Refreshes, sites, requests and logs as they are now.

    ``holder`` is the process that refreshes, ``host`` the one that hosts the schedule. ``due`` is when
    the next refresh is due by the schedule, whether or not anybody hosts it.
    """

    simulated: bool
    refreshes: tuple[RefreshRow, ...]
    holder: Holder | None
    host: Holder | None
    due: datetime
    sites: tuple[SiteState, ...]
    requests: tuple[RequestRow, ...]
    log: tuple[str, ...]


def load_system(home: Home, now: datetime) -> SystemState:
    """Everything but what health has to count; quick enough to be asked every second."""
    from stockllm.data.settings import Settings
    from stockllm.nightly.lock import holder
    from stockllm.nightly.times import next_due

    settings = Settings.load(home)
    with open_store(home) as store:
        since = now - timedelta(hours=24)
        wrong: dict[str, int] = {}
        for row in store.requests.log(limit=1000, faults=True):
            if row.at > since:
                wrong[row.site] = wrong.get(row.site, 0) + 1
        sites = []
        for site in SITES:
            bar = store.requests.barred(site, now=now)
            sites.append(
                SiteState(
                    site,
                    store.requests.count(site, since=since),
                    wrong.get(site, 0),
                    settings.newsapi_requests_per_day if site == "newsapi" else None,
                    bar.until if bar else None,
                    bar.why if bar else "",
                )
            )
        return SystemState(
            store.simulated,
            tuple(store.refreshes.list(limit=_REFRESHES)),
            holder(home.refresh_lock),
            holder(home.schedule_lock),
            next_due(store.calendar(since=now.date() - _A_MONTH), settings.refresh_at, now),
            tuple(sites),
            tuple(store.requests.log(limit=_REQUESTS)),
            tuple(_logs(home)),
        )


def _logs(home: Home) -> list[str]:
    """The ends of the logs, each under its name, the dashboard's own last."""
    lines: list[str] = []
    for name in ("refresh.log", "schedule.log", "tui.log"):
        found = jobs.tail(home.logs / name, _LOG_LINES)
        if found:
            lines += [f"── {name}", *found]
    return lines


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh and complete one company's bars are; ``missing`` is the last stretch without a bar."""

    company: Company
    first: date | None
    last: date | None
    bars: int
    behind: int
    gaps: int
    quarantined: int
    missing: Spell | None


@dataclass(frozen=True, slots=True, eq=False)
class StoreState:
    """Freshness company by company, the stalest first, and the rows in quarantine, the newest first."""

    companies: tuple[Freshness, ...]
    quarantined: tuple[QuarantinedRow, ...]
    reasons: dict[str, int]


def load_store_state(home: Home, now: datetime) -> StoreState:
    """What health finds; the slowest of the loads."""
    from stockllm.tui.core.examined import examined

    with open_store(home) as store:
        report = examined(store, now)
        known = {company.code: company for company in store.companies()}
        rows = store.survey.newest_quarantined(_QUARANTINED)
    found = [_freshness(each, known) for each in report.companies]
    return StoreState(
        tuple(sorted(found, key=lambda each: (-each.behind, -each.gaps, each.company.code))),
        tuple(rows),
        report.reasons,
    )


def _freshness(each: CompanyHealth, known: dict[str, Company]) -> Freshness:
    company = known.get(each.code) or Company.bare(each.code, each.name)
    missing = each.missing[-1] if each.missing else None
    return Freshness(
        company, each.first, each.last, each.bars, each.stale_days, each.gaps, each.quarantined, missing
    )


def plan_refresh(home: Home, now: datetime, language: str) -> list[str]:
    """What a refresh would ask for, in words. Sends and changes nothing.

    StoreError for a store of simulated prices.
    """
    from stockllm.data.settings import Settings
    from stockllm.nightly.refresh import plan_refresh as plan

    with open_store(home) as store:
        return plan(store, Settings.load(home), now=now).lines(language)


def export_state(home: Home, state: StoreState, now: datetime) -> Path:
    """The freshness of every company as a CSV."""
    heading = ("code", "name", "first", "last", "bars", "sessions_behind", "gaps", "quarantined", "missing")
    rows = [
        (
            each.company.code, each.company.name_zh, each.first, each.last, each.bars, each.behind,
            each.gaps, each.quarantined,
            "" if each.missing is None else f"{each.missing.first}..{each.missing.last} {each.missing.why}",
        )
        for each in state.companies
    ]  # fmt: skip
    return export.write_csv(export.folder(home) / f"freshness-{now:%Y-%m-%d-%H%M%S}.csv", heading, rows)
