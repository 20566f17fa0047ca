"""Bars: what was observed, day by day, with what a later arrival replaced and what was refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stockllm.data import clock
from stockllm.data.database import Database
from stockllm.data.errors import UsageError
from stockllm.data.records import Bar, BarFlag, BarSeries, QuarantinedRow
from stockllm.data.stores.known import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

# Code -> (open, high, low, close) in hundredths.
_Prices = dict[str, tuple[int, int, int, int]]

# The order of the bits in the column ``flags``; new ones go to the end.
_FLAGS: tuple[BarFlag, ...] = ("past_limit", "off_tick", "repaired")
_BIT = {flag: 1 << i for i, flag in enumerate(_FLAGS)}
_PAST_LIMIT = _BIT["past_limit"]
_FLAG_SETS: tuple[tuple[BarFlag, ...], ...] = tuple(
    tuple(flag for i, flag in enumerate(_FLAGS) if bits >> i & 1) for bits in range(1 << len(_FLAGS))
)

_BATCH = 5000

_COLUMNS = "code, date, open, high, low, close, volume, value, trades, reference, flags, source, arrived_at"

# New bars of one batch wait here, beside the stored ones, so that SQL does the comparing.
_STAGE = f"CREATE TEMP TABLE IF NOT EXISTS incoming ({_COLUMNS}, PRIMARY KEY (code, date)) WITHOUT ROWID"
_FILL = f"INSERT INTO incoming ({_COLUMNS}) VALUES ({', '.join('?' * 13)})"
# A source that is silent on value, trades or reference contradicts nobody, and a flag is not taken
# back by a file that holds too few days to see the reason for it.
_DROP_UNCHANGED = """
DELETE FROM incoming WHERE EXISTS (
    SELECT 1 FROM bars b
    WHERE b.code = incoming.code AND b.date = incoming.date
      AND b.open = incoming.open AND b.high = incoming.high AND b.low = incoming.low
      AND b.close = incoming.close AND b.volume = incoming.volume
      AND (incoming.value IS NULL OR incoming.value IS b.value)
      AND (incoming.trades IS NULL OR incoming.trades IS b.trades)
      AND (incoming.reference IS NULL OR incoming.reference IS b.reference)
      AND incoming.flags | b.flags = b.flags
)
"""
_KEEP_OLD = f"""
INSERT INTO bar_revisions ({_COLUMNS}, replaced_at)
SELECT {", ".join("b." + c for c in _COLUMNS.split(", "))}, ?
FROM incoming i JOIN bars b ON b.code = i.code AND b.date = i.date
"""
_SAME = (
    "open = excluded.open AND high = excluded.high AND low = excluded.low"
    " AND close = excluded.close AND volume = excluded.volume"
)
_UPSERT = f"""
INSERT INTO bars ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming WHERE true
ON CONFLICT (code, date) DO UPDATE SET
    value = CASE WHEN {_SAME} THEN coalesce(excluded.value, value) ELSE excluded.value END,
    trades = CASE WHEN {_SAME} THEN coalesce(excluded.trades, trades) ELSE excluded.trades END,
    reference = CASE WHEN {_SAME} THEN coalesce(excluded.reference, reference) ELSE excluded.reference END,
    flags = CASE WHEN {_SAME} THEN excluded.flags | flags ELSE excluded.flags END,
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, source = excluded.source, arrived_at = excluded.arrived_at
"""

# One seek per company in place of a pass over every row.
EACH_CODE = """
WITH RECURSIVE each(code) AS (
    SELECT min(code) FROM bars
    UNION ALL
    SELECT (SELECT min(code) FROM bars WHERE code > each.code) FROM each WHERE each.code IS NOT NULL
)
"""

# Companies share their days: a day is read once, and kept once.
to_day = lru_cache(maxsize=16_384)(date.fromisoformat)

# The bar next to a day, for many codes in two seeks each.
_NEXT_TO = """
SELECT b.code, b.open, b.high, b.low, b.close
FROM json_each(?) AS wanted JOIN bars b ON b.code = wanted.value
    AND b.date = (SELECT {pick}(date) FROM bars WHERE code = wanted.value AND date {side} ?)
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A bar that is no longer counted: when it came in, and when another replaced it or it was undone."""

    bar: Bar
    arrived_at: datetime
    replaced_at: datetime


class BarStore:
    """The bars of a store. Every error of the database is a StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, bars: Iterable[Bar]) -> tuple[int, int]:
        """Take bars in, all or none; the number accepted and the number already known: see ``take``."""
        counts = self.take(bars)
        return counts.new + counts.revised, counts.unchanged

    def take(self, bars: Iterable[Bar], at: datetime | None = None) -> Counts:
        """Take bars in, all or none, as arriving ``at``, which is now.

        A bar that differs from the stored one of its day replaces it, and the old one is kept in
        ``bar_revisions``. A bar whose ``value``, ``trades`` or ``reference`` is None leaves what is
        stored there, unless its prices or volume differ.
        """
        moment = at or clock.now()
        now = moment.isoformat()
        new = unchanged = revised = 0
        with self._database.write() as connection:
            clock.saw(connection, moment)
            connection.exec_driver_sql(_STAGE)
            for batch in _batches(bars, now):
                connection.exec_driver_sql("DELETE FROM incoming")
                connection.exec_driver_sql(_FILL, batch)
                known = connection.exec_driver_sql(_DROP_UNCHANGED).rowcount
                unchanged += known
                if known < len(batch):
                    replaced = connection.exec_driver_sql(_KEEP_OLD, (now,)).rowcount
                    connection.exec_driver_sql(_UPSERT)
                    revised += replaced
                    new += len(batch) - known - replaced
            connection.exec_driver_sql("DROP TABLE incoming")
        return Counts(new, unchanged, revised)

    def undo(self, at: datetime) -> Counts:
        """Take back what ``take`` brought ``at``: (bars taken away, 0, bars whose older version is back).

        What is taken away is kept in ``bar_revisions``. UsageError where a later arrival has
        replaced some of it: that one must be undone first.
        """
        came, now = at.isoformat(), clock.now().isoformat()
        with self._database.write() as connection:
            later = connection.exec_driver_sql(
                "SELECT count(*) FROM bar_revisions r JOIN bars b ON b.code = r.code AND b.date = r.date"
                " WHERE r.arrived_at = ? AND b.arrived_at <> ?",
                (came, came),
            ).scalar_one()
            if later:
                raise UsageError(
                    f"{later} of its bars were replaced later: undo that import first.",
                    zh=f"其中 {later} 筆後來又被取代：請先復原後來的匯入。",
                )
            connection.exec_driver_sql(
                f"INSERT INTO bar_revisions ({_COLUMNS}, replaced_at)"
                f" SELECT {_COLUMNS}, ? FROM bars WHERE arrived_at = ?",
                (now, came),
            )
            gone = connection.exec_driver_sql("DELETE FROM bars WHERE arrived_at = ?", (came,)).rowcount
            # A file that names a day twice replaced its own row: the oldest is what was there before.
            oldest = (
                "SELECT min(id) FROM bar_revisions WHERE replaced_at = ? AND arrived_at <> ?"
                " GROUP BY code, date"
            )
            back = connection.exec_driver_sql(
                f"INSERT INTO bars ({_COLUMNS}) SELECT {_COLUMNS} FROM bar_revisions WHERE id IN ({oldest})",
                (came, came),
            ).rowcount
            connection.exec_driver_sql(f"DELETE FROM bar_revisions WHERE id IN ({oldest})", (came, came))
            connection.exec_driver_sql("DELETE FROM quarantine WHERE arrived_at = ?", (came,))
        return Counts(gone - back, 0, back)

    def revisions(self, code: str) -> list[Revision]:
        """What was replaced of ``code``, by day, the older version first."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT {_COLUMNS}, replaced_at FROM bar_revisions WHERE code = ? ORDER BY date, id", (code,)
            ).all()
        return [
            Revision(
                _bar(row), datetime.fromisoformat(row.arrived_at), datetime.fromisoformat(row.replaced_at)
            )
            for row in rows
        ]

    def rebase(self, bars: Iterable[Bar]) -> int:
        """Give stored bars the reference and the flags of ``bars``, whose figures are theirs.

        For what becomes known of a day after its bar: unlike ``put`` it takes a flag back. The old
        bars are kept in ``bar_revisions``. The number of bars changed.
        """
        now = clock.now().isoformat()
        where = "code = ? AND date = ? AND (reference IS NOT ? OR flags <> ?)"
        keep = f"INSERT INTO bar_revisions ({_COLUMNS}, replaced_at) SELECT {_COLUMNS}, ? FROM bars"
        changed = 0
        with self._database.write() as connection:
            for bar in bars:
                key = (bar.code, bar.date.isoformat(), bar.reference, _bits(bar))
                connection.exec_driver_sql(f"{keep} WHERE {where}", (now, *key))
                changed += connection.exec_driver_sql(
                    f"UPDATE bars SET reference = ?, flags = ?, arrived_at = ? WHERE {where}",
                    (bar.reference, _bits(bar), now, *key),
                ).rowcount
        return changed

    def quarantine(self, rows: Iterable[QuarantinedRow], at: datetime | None = None) -> int:
        """Keep rows that were refused ``at`` (now), each once; the number not kept before."""
        now = (at or clock.now()).isoformat()
        statement = (
            "INSERT INTO quarantine (source, line, code, date, reason, raw, arrived_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        new = 0
        with self._database.write() as connection:
            batch: list[tuple[Any, ...]] = []
            for row in rows:
                day = row.date.isoformat() if row.date else None
                batch.append((row.source, row.line, row.code, day, row.reason, row.raw, now))
                if len(batch) == _BATCH:
                    new += connection.exec_driver_sql(statement, batch).rowcount
                    batch = []
            if batch:
                new += connection.exec_driver_sql(statement, batch).rowcount
        return new

    def codes(self) -> list[str]:
        """The codes that have bars, ascending."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(f"{EACH_CODE} SELECT code FROM each WHERE code IS NOT NULL")
            return [row[0] for row in rows]

    def count(self, code: str | None = None) -> int:
        """The number of bars of ``code``, or of the whole store."""
        where, values = ("WHERE code = ?", (code,)) if code is not None else ("", ())
        with self._database.read() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM bars {where}", values).scalar_one())

    def span(self, code: str) -> tuple[date, date] | None:
        """The first and the last day of ``code``, None where it has no bar."""
        with self._database.read() as connection:
            first, last = connection.exec_driver_sql(
                # Two subqueries are two seeks; min and max of one query read the whole company.
                "SELECT (SELECT min(date) FROM bars WHERE code = :code),"
                " (SELECT max(date) FROM bars WHERE code = :code)",
                {"code": code},
            ).one()
        return (date.fromisoformat(first), date.fromisoformat(last)) if first else None

    def last_date(self) -> date | None:
        """The last day any company has a bar of."""
        with self._database.read() as connection:
            last = connection.exec_driver_sql("SELECT max(date) FROM bars").scalar_one()
        return date.fromisoformat(last) if last else None

    def traded(self, since: date = date.min) -> Mapping[date, int]:
        """Day -> number of companies that traded on it, ascending by day; from ``since`` on."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT date, count(*) FROM bars WHERE date >= ? AND volume > 0 GROUP BY date ORDER BY date",
                (since.isoformat(),),
            )
            return {date.fromisoformat(day): count for day, count in rows}

    def days(self, code: str) -> list[date]:
        """The days on which ``code`` has a bar, ascending."""
        with self._database.read() as connection:
            rows = connection.exec_driver_sql("SELECT date FROM bars WHERE code = ? ORDER BY date", (code,))
            return [date.fromisoformat(day) for (day,) in rows]

    def days_with_bars(self, start: date, end: date) -> list[date]:
        """The days from ``start`` to ``end`` on which any company has a bar, oldest first."""
        with self._database.read() as connection:
            # One seek per day in place of a pass over every row.
            rows = connection.exec_driver_sql(
                "WITH RECURSIVE each(day) AS (SELECT min(date) FROM bars WHERE date >= :start UNION ALL"
                " SELECT (SELECT min(date) FROM bars WHERE date > each.day) FROM each"
                " WHERE each.day < :end) SELECT day FROM each WHERE day <= :end",
                {"start": start.isoformat(), "end": end.isoformat()},
            )
            return [date.fromisoformat(row[0]) for row in rows]

    def last_close(self, code: str, until: date) -> int | None:
        """The last close of ``code`` up to ``until``, in hundredths; None where there is no bar."""
        with self._database.read() as connection:
            found = connection.exec_driver_sql(
                "SELECT close FROM bars WHERE code = ? AND date <= ? AND volume > 0"
                " ORDER BY date DESC LIMIT 1",
                (code, until.isoformat()),
            ).scalar_one_or_none()
        return None if found is None else int(found)

    def beside(self, day: date, codes: Iterable[str]) -> tuple[_Prices, _Prices]:
        """Each code's last bar before ``day`` and first one after it: open, high, low and close.

        Codes without such a bar are absent.
        """
        wanted = json.dumps(list(codes))
        with self._database.read() as connection:
            before, after = (
                {
                    code: (opening, high, low, close)
                    for code, opening, high, low, close in connection.exec_driver_sql(
                        _NEXT_TO.format(pick=pick, side=side), (wanted, day.isoformat())
                    )
                }
                for pick, side in (("max", "<"), ("min", ">"))
            )
        return before, after

    def arrivals(self, code: str) -> dict[date, datetime]:
        """Day -> when a bar of it first came in, whatever has replaced it since."""
        query = (
            "SELECT date, min(arrived_at) FROM (SELECT date, arrived_at FROM bars WHERE code = :code"
            " UNION ALL SELECT date, arrived_at FROM bar_revisions WHERE code = :code) GROUP BY date"
        )
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(query, {"code": code})
            return {date.fromisoformat(day): datetime.fromisoformat(at) for day, at in rows}

    def bars(self, code: str, start: date | None = None, end: date | None = None) -> list[Bar]:
        """The bars of ``code`` from ``start`` to ``end``, both included, oldest first."""
        rows = self._rows(_COLUMNS, code, start, end)
        return [_bar(row) for row in rows]

    def series(self, code: str, end: date | None = None, since: date | None = None) -> BarSeries:
        """The bars of ``code`` up to and including ``end`` as columns; empty where it has none.

        ``BarSeries`` says what its ``reference`` is: the stored one, else the open on the first day
        and where the move went past the limit, else the previous close.
        """
        import numpy as np

        rows = self._rows(
            "date, open, high, low, close, volume, reference, value, trades, flags", code, since, end
        )
        dates = tuple(to_day(row[0]) for row in rows)
        # One C-ordered row per column; None, where a source was silent, becomes NaN.
        table = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 9).T.copy()
        table[:4] /= 100
        opens, highs, lows, closes, volume, stored, value, trades, flags = table
        past_limit = (flags.astype(np.int64) & _PAST_LIMIT) != 0
        reference = np.where(past_limit, opens, np.concatenate((opens[:1], closes[:-1])))
        reference = np.where(np.isnan(stored), reference, stored / 100)
        return BarSeries(
            code,
            dates,
            opens,
            highs,
            lows,
            closes,
            volume,
            reference,
            None if np.isnan(value).all() else value,
            None if np.isnan(trades).all() else trades,
        )

    def quarantined(self, code: str | None = None) -> list[QuarantinedRow]:
        """The refused rows of ``code``, or all, in the order of company, source and line."""
        where, values = ("WHERE code = ?", (code,)) if code is not None else ("", ())
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(
                f"SELECT source, line, code, date, reason, raw FROM quarantine {where}"
                " ORDER BY code, source, line, id",
                values,
            ).all()
        return [
            QuarantinedRow(source, line, of, to_day(day) if day else None, reason, raw)
            for source, line, of, day, reason, raw in rows
        ]

    def _rows(self, columns: str, code: str, start: date | None, end: date | None) -> list[Any]:
        with self._database.read() as connection:
            return list(
                connection.exec_driver_sql(
                    f"SELECT {columns} FROM bars WHERE code = ? AND date BETWEEN ? AND ? ORDER BY date",
                    (code, (start or date.min).isoformat(), (end or date.max).isoformat()),
                ).all()
            )


def _bar(row: Any) -> Bar:
    return Bar(
        row.code,
        date.fromisoformat(row.date),
        row.open,
        row.high,
        row.low,
        row.close,
        row.volume,
        row.source,
        row.value,
        row.trades,
        row.reference,
        _FLAG_SETS[row.flags],
    )


def _bits(bar: Bar) -> int:
    return sum(_BIT[flag] for flag in set(bar.flags)) if bar.flags else 0


def _batches(bars: Iterable[Bar], now: str) -> Iterator[list[tuple[Any, ...]]]:
    """Rows for the database, a few thousand at a time, no day of a company twice in one batch."""
    batch: list[tuple[Any, ...]] = []
    seen: set[tuple[str, date]] = set()
    for bar in bars:
        key = (bar.code, bar.date)
        if len(batch) == _BATCH or key in seen:
            yield batch
            batch, seen = [], set()
        seen.add(key)
        batch.append(
            (
                bar.code,
                bar.date.isoformat(),
                bar.open,
                bar.high,
                bar.low,
                bar.close,
                bar.volume,
                bar.value,
                bar.trades,
                bar.reference,
                _bits(bar),
                bar.source,
                now,
            )
        )
    if batch:
        yield batch
