"""How fresh and how complete the store is, company by company."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from stockllm.data.absences import Absence, Absences, Spell, spells
from stockllm.market.companies import Company

if TYPE_CHECKING:
    from stockllm.data.store import Store

_TAIPEI = timezone(timedelta(hours=8))  # no daylight saving since 1979


@dataclass(frozen=True, slots=True)
class CompanyHealth:
    """The state of one company's bars.

    ``first`` and ``last`` are None where there is no bar. ``gaps`` counts the sessions between them
    on which some other company traded but this one has neither a bar nor a quarantined row, and which
    no answer of its exchange explains. ``stale_days`` counts the sessions since ``last`` that are over,
    today's not included. ``missing`` are the bars that ought to be there, oldest first: within the
    span, and after ``last``.
    """

    code: str
    name: str
    first: date | None
    last: date | None
    bars: int
    gaps: int
    quarantined: int
    stale_days: int
    missing: tuple[Spell, ...]


#: What a store holds beside traded bars, in Traditional Chinese and English.
HISTORY_NAMES = {
    "adjusted": ("還原股價", "adjusted prices"),
    "flows": ("法人買賣超", "institutional flows"),
    "margin": ("融資融券", "margin balances"),
    "revenue": ("月營收", "monthly revenue"),
    "world": ("國際行情", "world prices"),
    "futures": ("指數期貨", "index futures"),
}


@dataclass(frozen=True, slots=True)
class HistoryHealth:
    """One kind of figures beside traded bars: how many companies, symbols or futures, and their time."""

    kind: str
    subjects: int
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The whole store. ``reasons`` counts quarantined rows, those of no known company included.

    ``history`` has the kinds of figures that there are beside traded bars.
    """

    bars: int
    quarantined: int
    reasons: dict[str, int]
    companies: tuple[CompanyHealth, ...]
    history: tuple[HistoryHealth, ...] = ()

    def document(self) -> dict[str, Any]:
        """The report as ``stockllm health --json`` prints it; a date that is not there is null."""
        return {
            "bars": self.bars,
            "quarantined": self.quarantined,
            "reasons": dict(sorted(self.reasons.items())),
            "history": [
                {
                    "kind": one.kind,
                    "subjects": one.subjects,
                    "first": one.first.isoformat(),
                    "last": one.last.isoformat(),
                }
                for one in self.history
            ],
            "companies": [
                {
                    "code": company.code,
                    "name": company.name,
                    "first": company.first.isoformat() if company.first else None,
                    "last": company.last.isoformat() if company.last else None,
                    "bars": company.bars,
                    "gaps": company.gaps,
                    "quarantined": company.quarantined,
                    "stale_days": company.stale_days,
                    "missing": [
                        {
                            "first": spell.first.isoformat(),
                            "last": spell.last.isoformat(),
                            "days": spell.days,
                            "why": spell.why,
                            "detail": spell.detail,
                        }
                        for spell in company.missing
                    ],
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
    refused: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for code, _, reason in store.survey.refusals():
        refused[code] += 1
        reasons[reason] += 1
    names = {company.code: company for company in store.companies()}
    absences = Absences(store)
    extents = store.survey.extents(market)
    later: dict[date, list[date]] = {}
    companies = []
    for code in sorted({*extents, *refused} - {""}):
        extent = extents.get(code)
        company = names.get(code, Company.bare(code))
        gaps: list[Absence] = []
        after: list[date] = []
        if extent is not None:
            first, last = extent.first, extent.last
            inside = market[bisect_left(market, first) : bisect_right(market, last)]
            if extent.on_days < len(inside):
                gaps = list(absences.of(company, store.survey.missing(code, inside)))
            if last not in later:
                later[last] = list(calendar.sessions(last + timedelta(days=1), today - timedelta(days=1)))
            after = later[last]
        companies.append(
            CompanyHealth(
                code=code,
                name=company.name_zh,
                first=extent.first if extent else None,
                last=extent.last if extent else None,
                bars=extent.bars if extent else 0,
                gaps=sum(absence.why != "refused" for absence in gaps),
                quarantined=refused[code],
                stale_days=len(after),
                missing=spells((*gaps, *absences.of(company, after))),
            )
        )
    return HealthReport(
        bars=sum(company.bars for company in companies),
        quarantined=refused.total(),
        reasons=dict(reasons),
        companies=tuple(companies),
        history=tuple(
            HistoryHealth(kind, subjects, first, last)
            for kind, (subjects, first, last) in store.arrivals.extents().items()
        ),
    )
