"""Why a company has no bar of a session: nobody traded it, or the data are missing, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from stockllm.data.stores.collected import MARKETS, Collected
from stockllm.market.companies import Company

if TYPE_CHECKING:
    from stockllm.data.store import Store

#: A refused row for one of these reasons says that nobody traded: nothing is missing then.
NO_TRADE = frozenset({"no_trade", "zero_price"})

Why = Literal[
    "not_asked",  # nobody has asked an exchange for it
    "failed",  # the exchange was asked and gave no answer to keep
    "nothing",  # the exchange had nothing for that day, though the other one may have traded
    "refused",  # its row could not be right
]


@dataclass(frozen=True, slots=True)
class Absence:
    """A session of which a company's bar is missing. ``detail``: a failure's sentence, a row's reason."""

    day: date
    why: Why
    detail: str = ""


class Absences:
    """What a store knows of days without a bar. Reads once; make a new one after a change."""

    def __init__(self, store: Store) -> None:
        self._asked = {market: store.collected.days(market) for market in MARKETS}
        self._months: dict[str, dict[str, Collected]] = defaultdict(dict)
        for entry in store.collected.all("month"):
            self._months[entry.subject][entry.period] = entry
        self._refused: dict[str, dict[date, str]] = defaultdict(dict)
        for code, day, reason in store.survey.refusals():
            if day is not None:
                self._refused[code][day] = reason
        self._faults: dict[str, str] = {}
        for fault in store.requests.log(limit=2000, faults=True):
            self._faults.setdefault(fault.what, fault.detail)  # the last one: the log is newest first

    def of(self, company: Company, days: Iterable[date]) -> Iterator[Absence]:
        """Those of ``days``, sessions without a bar of ``company``, that should have one.

        Left out are days on which nobody traded it, as a refused row says or the exchange's own list,
        in which it does not stand. That an exchange has nothing of a month is believed once it has said
        so some times.
        """
        code, market = company.code, company.market
        for day in days:
            reason = self._refused[code].get(day)
            if reason is not None:
                if reason not in NO_TRADE:
                    yield Absence(day, "refused", reason)
                continue
            month = self._months[code].get(f"{day:%Y-%m}")
            if month is not None and month.through is not None and day <= month.through:
                if not month.settled:
                    yield Absence(day, "nothing")
                continue
            entry = self._asked[market].get(day) if market else None
            if entry is None:
                fault = self._faults.get(f"the list of {market} of {day}") or self._faults.get(
                    f"{code} in {day:%Y-%m}"
                )
                yield Absence(day, "failed", fault) if fault else Absence(day, "not_asked")
            elif entry.state == "no_data":
                yield Absence(day, "nothing")


@dataclass(frozen=True, slots=True)
class Spell:
    """``days`` bars missing from ``first`` to ``last``, all for the same reason."""

    first: date
    last: date
    days: int
    why: Why
    detail: str


def spells(absences: Iterable[Absence]) -> tuple[Spell, ...]:
    """Absences in the order of their days, those in a row that share a reason put together."""
    found = []
    for (why, detail), group in groupby(absences, key=lambda absence: (absence.why, absence.detail)):
        days = [absence.day for absence in group]
        found.append(Spell(days[0], days[-1], len(days), why, detail))
    return tuple(found)
