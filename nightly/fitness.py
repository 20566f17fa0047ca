"""Which companies may be forecast and judged this evening, and why the others may not.

A forecast of a company whose last day is missing speaks about the wrong day; one with a hole in the
days that the model reads takes two moves for one. Neither is made. A share that nobody traded lacks
nothing: its last bar is its last word, for as long as a forecast from it still has a day to come.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from stockllm.collectors.market_day import EXCHANGES, last_published
from stockllm.collectors.stock_month import exchange_of
from stockllm.data.absences import Absence, Absences
from stockllm.data.errors import UnknownCompany
from stockllm.data.health import HealthReport, health
from stockllm.nightly.names import WHY_NAMES

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

#: The bars that a forecast reads (``forecaster.encoding.limits.LOOK_BACK``).
READ = 32
#: The trading days that a forecast speaks about.
HORIZON = 5


def examine(store: Store, now: datetime) -> HealthReport:
    """The store's health at a moment: once both exchanges have published an evening's lists, that
    evening's bars are missing too."""
    return health(store, last_evening(store, now) + timedelta(days=1))


def last_evening(store: Store, now: datetime) -> date:
    """The last session whose lists both exchanges have published by a moment."""
    calendar = store.calendar()
    return min(last_published(market, calendar, now) for market in EXCHANGES)


@dataclass(frozen=True, slots=True)
class Unfit:
    """A company left out, with the reason as a clause in both languages.

    ``lacking``: data are missing that ought to be there; else there is nothing more to be had.
    """

    company: Company
    lacking: bool
    zh: str
    en: str

    @property
    def note(self) -> tuple[str, str]:
        """Company and reason in Chinese and in English."""
        return (
            f"{self.company.code} {self.company.name_zh}：{self.zh}",
            f"{self.company.code} {self.company.name_en or self.company.name_zh}: {self.en}",
        )


def fit(store: Store, companies: Sequence[Company], now: datetime) -> tuple[list[Company], list[Unfit]]:
    """(the companies whose bars are whole up to the last published session, the others)."""
    calendar = store.calendar()
    absences = Absences(store)
    ready: list[Company] = []
    unfit: list[Unfit] = []
    for company in companies:
        try:
            last = last_published(exchange_of(company), calendar, now)
        except UnknownCompany as error:
            unfit.append(Unfit(company, True, str(error), str(error)))
            continue
        reason = _reason(store, company, last, calendar, absences)
        if reason is None:
            ready.append(company)
        else:
            unfit.append(Unfit(company, *reason))
    return ready, unfit


def _reason(
    store: Store, company: Company, last: date, calendar: TradingCalendar, absences: Absences
) -> tuple[bool, str, str] | None:
    days = store.bars.days(company.code)
    days = days[: bisect_right(days, last)]
    if not days:
        missing = next(absences.of(company, [last]), None)
        return missing is not None, "沒有任何價格", "it has no prices"
    own = frozenset(days)
    first = days[-READ] if len(days) >= READ else days[0]
    sessions = [day for day in calendar.sessions(first, last) if day not in own]
    missing_days = list(absences.of(company, sessions))
    # A refused row inside is an old, settled matter; on the last day it leaves nothing to start from.
    missing_days = [a for a in missing_days if a.why != "refused" or a.day > days[-1]]
    if missing_days:
        zh, en = _clauses(missing_days)
        return True, zh, en
    silent = list(islice(calendar.sessions(days[-1], last), HORIZON + 1))
    if len(silent) > HORIZON:
        return (
            False,
            f"自 {days[-1]} 之後沒有成交",
            f"nobody has traded it since {days[-1]}",
        )
    return None


def _clauses(missing: Iterable[Absence]) -> tuple[str, str]:
    missing = list(missing)
    days = f"{missing[0].day}"
    if len(missing) > 1:
        days += f" … {missing[-1].day}"
    zh, en = WHY_NAMES[missing[-1].why]
    detail = f" ({missing[-1].detail})" if missing[-1].detail else ""
    number = len(missing)
    return (
        f"缺 {days} 共 {number} 個交易日：{zh}{detail}",
        f"{number} trading day{'s' if number > 1 else ''} missing, {days}: {en}{detail}",
    )
