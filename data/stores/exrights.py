"""Ex-dates: what the exchanges computed for them, and series adjusted by it.

On an ex-date a share is worth less by what its holder of the day before receives, so its moves are
not measured from the previous close. The exchange publishes three prices for the day:

- ``close_before``, the last close with the right;
- ``reference``, that close less the right's worth (除權息參考價): what the price would be if
  nothing else had moved. Returns and adjusted series rest on it;
- ``basis``, the price the opening auction and the limits start from (開盤競價基準): the reference on
  its tick, without the worth of a right to subscribe. It is what a bar's ``reference`` holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.records import BarSeries, Cents
from stockllm.data.schema import bars, ex_rights


@dataclass(frozen=True, slots=True)
class ExRight:
    """One company's ex-date. ``kind``: dividend is paid in money, rights in shares."""

    code: str
    date: date
    market: str
    kind: Literal["dividend", "rights", "both"]
    close_before: Cents
    reference: Cents
    basis: Cents
    limit_up: Cents | None
    limit_down: Cents | None
    source: str

    @property
    def factor(self) -> float:
        """What a price before the ex-date is multiplied by to compare with one after it."""
        return self.reference / self.close_before


class ExRightStore:
    """The ex-dates of a store, one row per company and day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rows: Iterable[ExRight]) -> tuple[int, int]:
        """Take rows in, all or none; the number new or changed and the number already known."""
        given = {(row.code, row.date): row for row in rows}
        now = datetime.now(UTC).isoformat()
        with self._database.write() as connection:
            days = sorted({day for _, day in given})
            known = {(r.code, r.date): r for r in _rows(connection, days[0], days[-1])} if days else {}
            changed = [row for key, row in given.items() if known.get(key) != row]
            if changed:
                columns = ExRight.__slots__
                connection.execute(
                    sa.insert(ex_rights).prefix_with("OR REPLACE"),
                    [{name: getattr(row, name) for name in columns} | {"arrived_at": now} for row in changed],
                )
        return len(changed), len(given) - len(changed)

    def rows(self, start: date | None = None, end: date | None = None) -> list[ExRight]:
        """All ex-dates from ``start`` to ``end``, both included, by day and code."""
        with self._database.read() as connection:
            return _rows(connection, start or date.min, end or date.max)

    def idle(self, day: date, within: timedelta) -> list[ExRight]:
        """The ex-dates of the time ``within`` up to ``day`` whose share has no bar from then to ``day``.

        The day's own bar does not count unless the ex-date is the day itself.
        """
        bar = sa.select(bars.c.code).where(
            bars.c.code == ex_rights.c.code,
            bars.c.date >= ex_rights.c.date,
            sa.or_(bars.c.date < day, ex_rights.c.date == day),
            bars.c.date <= day,
        )
        query = sa.select(ex_rights).where(ex_rights.c.date.between(day - within, day), ~bar.exists())
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(ex_rights.c.date, ex_rights.c.code))
            return [_ex_right(row) for row in rows.mappings()]

    def of(self, code: str) -> list[ExRight]:
        """The ex-dates of ``code``, oldest first."""
        query = sa.select(ex_rights).where(ex_rights.c.code == code).order_by(ex_rights.c.date)
        with self._database.read() as connection:
            return [_ex_right(row) for row in connection.execute(query).mappings()]


def adjusted(series: BarSeries, ex_rights: Sequence[ExRight], as_of: date | None = None) -> BarSeries:
    """``series`` with the prices before every ex-date scaled down to compare with those after it.

    The result ends with ``as_of`` (the last day where None) and uses the ex-dates up to its own last
    day alone: what could be known that evening. So the last day's prices are the observed ones.
    ``reference`` scales with its own day; volume, value and trades stay as observed.
    """
    import numpy as np

    if as_of is not None:
        series = series.until(as_of)
    if not len(series):
        return series
    known = [row for row in ex_rights if series.dates[0] < row.date <= series.dates[-1]]
    if not known:
        return series
    days = np.array([day.toordinal() for day in series.dates])
    scale = np.ones(len(series))
    for row in known:
        scale[days < row.date.toordinal()] *= row.factor
    return BarSeries(
        series.code,
        series.dates,
        series.open * scale,
        series.high * scale,
        series.low * scale,
        series.close * scale,
        series.volume,
        series.reference * scale,
        series.value,
        series.trades,
    )


def _rows(connection: sa.Connection, start: date, end: date) -> list[ExRight]:
    query = sa.select(ex_rights).where(ex_rights.c.date.between(start, end))
    query = query.order_by(ex_rights.c.date, ex_rights.c.code)
    return [_ex_right(row) for row in connection.execute(query).mappings()]


def _ex_right(row: sa.RowMapping) -> ExRight:
    return ExRight(**{name: row[name] for name in ExRight.__slots__})
