"""How fresh and how complete the store is, company by company."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from stockllm.market.calendar import TradingCalendar
from stockllm.market.companies import Company

if TYPE_CHECKING:
    from stockllm.data.records import QuarantinedRow
    from stockllm.data.store import Store

_TAIPEI = timezone(timedelta(hours=8))  # no daylight saving since 1979


@dataclass(frozen=True, slots=True)
class CompanyHealth:
    """The state of one company's bars.

    ``first`` and ``last`` are None where there is no bar. ``gaps`` counts the sessions between them
    on which some other company traded but this one has neither a bar nor a quarantined row.
    ``stale_days`` counts the sessions since ``last`` that are over, today's not included.
    """

    code: str
    name: str
    first: date | None
    last: date | None
    bars: int
    gaps: int
    quarantined: int
    stale_days: int


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The whole store. ``reasons`` counts quarantined rows, those of no known company included."""

    bars: int
    quarantined: int
    reasons: dict[str, int]
    companies: tuple[CompanyHealth, ...]

    def document(self) -> dict[str, Any]:
        """The report as ``stockllm health --json`` prints it; a date that is not there is null."""
        return {
            "bars": self.bars,
            "quarantined": self.quarantined,
            "reasons": dict(sorted(self.reasons.items())),
            "companies": [
                {
                    "code": company.code,
                    "name": company.name,
                    "first": company.first.isoformat() if company.first else None,
                    "last": company.last.isoformat() if company.last else None,
                    "bars": company.bars,
                    "gaps": company.gaps,
                    "quarantined": company.quarantined,
                }
                for company in self.companies
            ],
        }


def health(store: Store, today: date | None = None) -> HealthReport:
    """Examine ``store``. Companies are those with a bar or a quarantined row, by code.

    ``today`` is the day in Taipei from which staleness counts, by the clock where it is not given.
    """
    today = today or datetime.now(UTC).astimezone(_TAIPEI).date()
    calendar = store.calendar()
    market = [day for day in store.bars.traded() if calendar.is_session(day)]
    sessions = frozenset(market)
    refused: dict[str, list[QuarantinedRow]] = defaultdict(list)
    for row in store.bars.quarantined():
        refused[row.code].append(row)
    names = {company.code: company for company in store.companies()}
    stale: dict[date, int] = {}
    companies = []
    for code in sorted({*store.bars.codes(), *refused} - {""}):
        days = store.bars.days(code)
        present = {*days, *(row.date for row in refused[code] if row.date is not None)}
        first, last = (days[0], days[-1]) if days else (None, None)
        if last is not None and last not in stale:
            stale[last] = _over_since(last, today, calendar)
        companies.append(
            CompanyHealth(
                code=code,
                name=names.get(code, Company.bare(code)).name_zh,
                first=first,
                last=last,
                bars=len(days),
                gaps=_gaps(market, sessions, first, last, present),
                quarantined=len(refused[code]),
                stale_days=stale[last] if last is not None else 0,
            )
        )
    return HealthReport(
        bars=sum(company.bars for company in companies),
        quarantined=sum(map(len, refused.values())),
        reasons=dict(Counter(row.reason for rows in refused.values() for row in rows)),
        companies=tuple(companies),
    )


def _gaps(
    market: list[date], sessions: frozenset[date], first: date | None, last: date | None, present: set[date]
) -> int:
    """Days of ``market`` (ascending; ``sessions`` is the same as a set) within the span but not present.

    A day on which this company alone traded is present, so "some other" needs no look of its own.
    """
    if first is None or last is None:
        return 0
    within = bisect_right(market, last) - bisect_left(market, first)
    return within - sum(first <= day <= last for day in present & sessions)


def _over_since(last: date, today: date, calendar: TradingCalendar) -> int:
    return sum(1 for _ in calendar.sessions(last + timedelta(days=1), today - timedelta(days=1)))
