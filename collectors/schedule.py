"""The exchange's holiday schedule: ``rwd/zh/holidaySchedule/holidaySchedule``, a year at a time.

A row names a day and what it is. Those that say 開始交易 or 最後交易 are sessions, the first or last
around a holiday; those that say 市場無交易, 放假 or 補假 are closed days. In some years the days of
settlement before the Lunar New Year are called the last ones too, and the remark says of the row's own date
that there is 市場無交易: such a day is closed, while a remark about other dates closes nothing. A row of
another wording on a weekday says nothing here and is counted, so that the rules decide for it. Of some past
years the site has no schedule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from stockllm.collectors import tables
from stockllm.collectors.clock import taipei
from stockllm.collectors.failures import NoData, SiteFailure
from stockllm.collectors.files.prices_csv import read_day
from stockllm.collectors.http import TWSE, Answer, Door, Web
from stockllm.data.sentences import Sentence
from stockllm.data.stores.collected import Collected
from stockllm.market.calendar import RULE_YEARS

if TYPE_CHECKING:
    from stockllm.data.store import Store

_OPEN = ("開始交易", "最後交易")
_NO_TRADE = "市場無交易"
_CLOSED = (_NO_TRADE, "放假", "補假", "休市")
_DATE = re.compile(r"(\d{1,2})月(\d{1,2})日")
_SPAN = re.compile(r"(\d{1,2})月(\d{1,2})日\s*[至~到-]\s*(?:(\d{1,2})月)?(\d{1,2})日")
_CLAUSE = re.compile(r"[。；;<]")

#: A schedule changes during its year, seldom.
_FRESH = timedelta(days=7)

#: From this month on the next year's schedule is out.
_NEXT_YEAR_FROM = 11


@dataclass(frozen=True)
class ScheduleReport:
    """The years asked for, how many days they name, and which rows said nothing that is known."""

    years: tuple[int, ...] = ()
    days: int = 0
    unknown: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def collect_schedule(web: Web, store: Store, start: date | None = None) -> ScheduleReport:
    """Ask for the schedules of the years from ``start`` (today) on that are not known or a week old.

    A past year's schedule is asked for once. A failure leaves the rules and what is known in force.
    """
    years: list[int] = []
    unknown: list[str] = []
    failures: list[str] = []
    days = 0
    for year in wanted_years(store, start, now=web.clock.now()):
        try:
            named = fetch_schedule(web, year)
        except NoData:
            if year < taipei(web.clock.now()).year:  # next year's is not out yet, a past one's is gone
                nothing = Collected("schedule", "", str(year), "no_data", TWSE.key, web.clock.now())
                store.collected.put(nothing)
            continue
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
            continue
        kept = {day: name for day, name in named.items() if name[0] is not None}
        entry = Collected(
            what="schedule",
            subject="",
            period=str(year),
            state="complete",
            source=TWSE.key,
            at=web.clock.now(),
            read=len(named),
            kept=len(kept),
            left_out=len(named) - len(kept),
        )
        store.collected.set_schedule(year, named, entry)
        years.append(year)
        days += len(kept)
        unknown += [f"{day} {name}" for day, (is_open, name) in named.items() if is_open is None]
    return ScheduleReport(tuple(years), days, tuple(unknown), tuple(failures))


def wanted_years(store: Store, start: date | None = None, *, now: datetime) -> list[int]:
    """The years whose schedules ``collect_schedule`` asks for."""
    here = taipei(now).date()
    last = here.year + (here.month >= _NEXT_YEAR_FROM)
    years = []
    for year in range(max((start or here).year, RULE_YEARS.start), last + 1):
        entry = store.collected.get("schedule", "", str(year))
        known = entry is not None and entry.settled
        if entry is None or not known or (year >= here.year and now - entry.at >= _FRESH):
            years.append(year)
    return years


def fetch_schedule(web: Web, year: int) -> dict[date, tuple[bool | None, str]]:
    """Day -> (whether it is a session, None where its row does not tell, and its name).

    WrongAnswer where a row is of another year: the site answers with the present one where it does
    not understand the question.
    """

    def ask(door: Door) -> dict[date, tuple[bool | None, str]]:
        url = f"{web.settings.twse_url}/rwd/zh/holidaySchedule/holidaySchedule"
        answer = door.get(url, {"response": "json", "date": f"{year}0101"})
        return _read(answer, year)

    return web.ask(TWSE, Sentence(f"the holidays of {year}", zh=f" {year} 年的休市日"), ask)


def _read(answer: Answer, year: int) -> dict[date, tuple[bool | None, str]]:
    document = tables.mapping(answer)
    tables.status(answer, document)
    rows = document.get("data")
    if not isinstance(rows, list):
        raise tables.unreadable(answer, "no rows")
    if not rows:
        raise tables.no_data(answer)
    named: dict[date, tuple[bool | None, str]] = {}
    for row in rows:
        cells = [tables.plain(cell) for cell in row] if isinstance(row, list) else []
        ordinal = read_day(cells[0]) if len(cells) >= 2 else 0
        if not ordinal:
            raise tables.unreadable(answer, "a row without a day")
        day = date.fromordinal(ordinal)
        if day.year != year:
            raise tables.wrong(answer, f"the day {day}")
        text = " ".join(cells[1:])
        # In this order: the last session before a holiday has «放假» in its remarks too.
        if _settles_only(text, day):
            named[day] = (False, cells[1])
        elif any(word in text for word in _OPEN):
            named[day] = (True, cells[1])
        elif any(word in text for word in _CLOSED):
            named.setdefault(day, (False, cells[1]))
        elif day.weekday() < 5:
            named.setdefault(day, (None, text))
    return named


def _settles_only(text: str, day: date) -> bool:
    """Whether the remark says of ``day`` itself that the market does not trade."""
    for clause in _CLAUSE.split(text):
        before, said, _ = clause.partition(_NO_TRADE)
        if not said:
            continue
        if (day.month, day.day) in {(int(m), int(d)) for m, d in _DATE.findall(before)}:
            return True
        for month, first, until_month, last in _SPAN.findall(before):
            begin, end = (int(month), int(first)), (int(until_month or month), int(last))
            if begin <= (day.month, day.day) <= end:
                return True
    return False
