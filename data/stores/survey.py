"""What the store holds of all companies at once, counted by SQLite: no bar leaves it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from stockllm.data.database import Database
from stockllm.data.records import QuarantinedRow
from stockllm.data.stores.bars import EACH_CODE, to_day

# One pass in the order of the table; no bar leaves SQLite.
_EXTENTS = """
SELECT code, min(date), max(date), count(*), sum(date IN (SELECT value FROM json_each(?)))
FROM bars GROUP BY code
"""

_MISSING = """
SELECT wanted.value FROM json_each(:days) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM bars WHERE code = :code AND date = wanted.value)
ORDER BY wanted.value
"""

# Each company's last bar and the close of the one before it, in three seeks a company.
_LATEST = f"""
{EACH_CODE}, newest(code, day) AS (
    SELECT code, (SELECT max(date) FROM bars WHERE code = each.code) FROM each WHERE code IS NOT NULL
)
SELECT n.code, n.day, b.close, b.reference, p.date, p.close
FROM newest n JOIN bars b ON b.code = n.code AND b.date = n.day
LEFT JOIN bars p ON p.code = n.code
    AND p.date = (SELECT max(date) FROM bars WHERE code = n.code AND date < n.day)
"""


class Extent(NamedTuple):
    """From when to when a company has bars, how many, and how many of them on the days asked about."""

    first: date
    last: date
    bars: int
    on_days: int


class Latest(NamedTuple):
    """A company's last bar: its day, close and reference in hundredths, and the bar before it, if any."""

    day: date
    close: int
    reference: int | None
    day_before: date | None
    close_before: int | None


class SurveyStore:
    """All companies at once. Every error of the database is a StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def extents(self, days: Iterable[date]) -> dict[str, Extent]:
        """Code -> the extent of its bars, of every company that has any; ``days`` are counted."""
        asked = json.dumps([day.isoformat() for day in days])
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(_EXTENTS, (asked,))
            return {
                code: Extent(to_day(first), to_day(last), bars, on_days)
                for code, first, last, bars, on_days in rows
            }

    def missing(self, code: str, days: Iterable[date]) -> list[date]:
        """Those of ``days`` on which ``code`` has no bar, ascending."""
        asked = {"code": code, "days": json.dumps([day.isoformat() for day in days])}
        with self._database.read() as connection:
            return [to_day(row[0]) for row in connection.exec_driver_sql(_MISSING, asked)]

    def latest(self) -> dict[str, Latest]:
        """Code -> its last bar, of every company that has one."""
        with self._database.read() as connection:
            return {
                code: Latest(to_day(day), close, reference, to_day(before) if before else None, close_before)
                for code, day, close, reference, before, close_before in connection.exec_driver_sql(_LATEST)
            }

    def refusals(self) -> list[tuple[str, date | None, str]]:
        """Company, day and reason of every refused row, by company, source and line.

        Without the rows themselves, of which a market of years can hold a great many.
        """
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT code, date, reason FROM quarantine ORDER BY code, source, line, id"
            )
            return [(code, to_day(day) if day else None, sys.intern(reason)) for code, day, reason in rows]

    def newest_quarantined(self, most: int) -> list[QuarantinedRow]:
        """At most ``most`` refused rows, the newest day first and rows without a day last."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT source, line, code, date, reason, raw FROM quarantine"
                " ORDER BY date DESC, code DESC, source, line, id LIMIT ?",
                (most,),
            ).all()
        return [
            QuarantinedRow(source, line, code, to_day(day) if day else None, reason, raw)
            for source, line, code, day, reason, raw in rows
        ]
