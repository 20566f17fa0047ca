"""What has been collected, so that nobody asks for it again, and what it says about the calendar.

``what`` is one of

- "day": a whole-market day of an exchange; subject its market, period the ISO date;
- "month": one stock's month; subject the code, period "2025-03", ``through`` the last day it held;
- "ex_rights": an exchange's ex-dates of a month; subject the market, period "2025-03", ``through``
  the last day asked for;
- "schedule": the holiday schedule; no subject, period the year;
- "flows", "margin": a market's list of a day, as "day";
- "revenue": a market's list of a month; subject the market, period "2025-03";
- "futures": the sessions of a future in a month; subject the product, ``through`` the last day that
  was reported;
- "world": a symbol; period "daily", ``through`` the last day in New York that was over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.schema import collected, schedule
from stockllm.market.calendar import TradingCalendar, rule_closed

Kind = Literal["day", "month", "ex_rights", "schedule", "flows", "margin", "revenue", "futures", "world"]

# An exchange that is asked too often has been seen to say that there is nothing, in the very words of a
# true answer. So many answers, so far apart, are believed.
_BELIEVED = 3
_APART = timedelta(hours=12)

#: The exchanges whose silence together closes a day.
MARKETS = ("TWSE", "TPEx")


@dataclass(frozen=True, slots=True)
class Collected:
    """One thing that came in. ``state`` "no_data": the site said that there is nothing.

    ``read`` rows came, ``kept`` of them are bars (or ex-rights, or days), ``refused`` went to
    quarantine, ``left_out`` are of no interest here (warrants and funds in a market's list). ``asked``
    counts the times the site said that there is nothing, hours apart; ``put`` counts them itself.
    """

    what: Kind
    subject: str
    period: str
    state: Literal["complete", "no_data"]
    source: str
    at: datetime
    through: date | None = None
    read: int = 0
    kept: int = 0
    refused: int = 0
    left_out: int = 0
    asked: int = 1

    @property
    def settled(self) -> bool:
        """Whether this is the site's last word: rows, or nothing, said often enough."""
        return self.state == "complete" or self.asked >= _BELIEVED


class CollectedStore:
    """The record of what has been collected, and the exchange's own holiday schedule."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, entry: Collected) -> None:
        """Remember ``entry`` in place of what was known under its key."""
        entry = self._counted(entry)
        row = {name: getattr(entry, name) for name in Collected.__slots__}
        row["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
        with self._database.write() as connection:
            connection.execute(sa.insert(collected).prefix_with("OR REPLACE"), row)

    def _counted(self, entry: Collected) -> Collected:
        """``entry``, with the answers of nothing before it counted in."""
        before = self.get(entry.what, entry.subject, entry.period) if entry.state == "no_data" else None
        if before is None or before.state != "no_data":
            return replace(entry, asked=1)
        if entry.at - before.at < _APART:  # the same silence, heard twice
            return replace(entry, asked=before.asked, at=before.at)
        return replace(entry, asked=before.asked + 1)

    def get(self, what: Kind, subject: str, period: str) -> Collected | None:
        """The entry under this key."""
        query = sa.select(collected).where(
            collected.c.what == what, collected.c.subject == subject, collected.c.period == period
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _entry(row)

    def all(self, what: Kind, subject: str | None = None) -> list[Collected]:
        """The entries of one kind, by subject and period."""
        query = sa.select(collected).where(collected.c.what == what)
        if subject is not None:
            query = query.where(collected.c.subject == subject)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(collected.c.subject, collected.c.period)).mappings()
            return [_entry(row) for row in rows]

    def days(self, market: str) -> dict[date, Collected]:
        """The days of which ``market`` has answered, ascending."""
        return {date.fromisoformat(entry.period): entry for entry in self.all("day", market)}

    def closed_days(self) -> frozenset[date]:
        """The days on which both exchanges say that they have nothing: they did not trade."""
        query = (
            sa.select(collected.c.period)
            .where(collected.c.what == "day", collected.c.state == "no_data")
            .group_by(collected.c.period)
            .having(sa.func.count() == len(MARKETS))
        )
        with self._database.read() as connection:
            return frozenset(date.fromisoformat(period) for period in connection.scalars(query))

    def set_schedule(self, year: int, days: Mapping[date, tuple[bool | None, str]], entry: Collected) -> None:
        """Keep a year's schedule, day -> (whether it is open, what it is called), in place of the old.

        None in place of a yes or no: the schedule names the day and does not tell.
        """
        rows = [{"date": day, "open": is_open, "name": name} for day, (is_open, name) in days.items()]
        first, last = date(year, 1, 1), date(year, 12, 31)
        with self._database.write() as connection:
            connection.execute(sa.delete(schedule).where(schedule.c.date.between(first, last)))
            if rows:
                connection.execute(sa.insert(schedule), rows)
            self.put(entry)

    def schedule(self) -> dict[date, tuple[bool | None, str]]:
        """The days that the schedules name, ascending: as given to ``set_schedule``."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(schedule).order_by(schedule.c.date)).all()
        return {row.date: (None if row.open is None else bool(row.open), row.name) for row in rows}

    def correct(self, calendar: TradingCalendar, until: date | None = None) -> TradingCalendar:
        """``calendar`` as the exchange's schedule and its own silence up to ``until`` have it.

        For a year whose schedule is known, that schedule decides and not the rule; a day of which
        both exchanges say that they have nothing was closed, whatever was scheduled.
        """
        named = self.schedule()
        opened = {day for day, (is_open, _) in named.items() if is_open}
        for year in {int(entry.period) for entry in self.all("schedule") if entry.state == "complete"}:
            day = date(year, 1, 1)
            while day.year == year:
                if day.weekday() < 5 and day not in named:
                    opened.add(day)
                day += timedelta(days=1)
        # Only what the rules got wrong is worth saying; typhoons stand in no schedule.
        calendar = calendar.with_opened(day for day in opened if rule_closed(day))
        calendar = calendar.with_closed(day for day, (is_open, _) in named.items() if is_open is False)
        return calendar.with_closed(day for day in self.closed_days() if until is None or day <= until)


def _entry(row: sa.RowMapping) -> Collected:
    return Collected(**(dict(row) | {"at": datetime.fromisoformat(row["at"])}))
