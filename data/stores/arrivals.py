"""What came in together, piece by piece, and becomes visible as a whole.

A large file is written in pieces, so that other processes may write between them. Until the last piece
is in, its rows are hidden from every reader (``data.stores.known``). An import that fails takes them away;
what a killed process left is taken away by the next import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.errors import StoreError
from stockllm.data.schema_history import (
    adjusted_bars,
    arrivals,
    index_futures,
    institutional_flows,
    margin_balances,
    monthly_revenues,
    world_bars,
)
from stockllm.data.stores.known import SEEN, Arrival, Counts, subjects

if TYPE_CHECKING:
    from stockllm.data.stores.bars import BarStore

#: Kind of arrival -> the table whose rows name it.
KINDS = {
    "adjusted": adjusted_bars,
    "flows": institutional_flows,
    "margin": margin_balances,
    "revenue": monthly_revenues,
    "world": world_bars,
    "futures": index_futures,
}

# Where a process cannot be asked after, it counts as gone after so long.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class ArrivalRow:
    """An arrival that is whole: what it held, from where, and when it came in."""

    id: int
    kind: str
    source: str
    at: datetime


class ArrivalStore:
    """The record of arrivals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def bring(self, kind: str, source: str, at: datetime | None = None) -> Iterator[Arrival]:
        """An arrival for the length of the block: visible at its end, gone with any exception.

        One that writes nothing leaves no trace.
        """
        at = (at or datetime.now(UTC)).astimezone(UTC)
        row = {"kind": kind, "source": source, "arrived_at": at.isoformat(), "state": "arriving"}
        with self._database.write() as connection:
            _sweep(connection)
            (key,) = connection.execute(
                sa.insert(arrivals), row | {"pid": os.getpid()}
            ).inserted_primary_key or (0,)
        arrival = Arrival(int(key), source, at)
        try:
            yield arrival
        except BaseException:
            with self._database.write() as connection:
                _remove(connection, arrival.id, rows=arrival.kept > 0)
            raise
        with self._database.write() as connection:
            if arrival.kept:
                change = sa.update(arrivals).where(arrivals.c.id == arrival.id).values(state="whole")
                if not connection.execute(change).rowcount:
                    raise _taken_away(source)
            else:
                _remove(connection, arrival.id, rows=False)

    def list(self) -> list[ArrivalRow]:
        """The whole arrivals that can be undone, the newest first."""
        query = sa.select(arrivals).where(arrivals.c.state == "whole").order_by(arrivals.c.id.desc())
        with self._database.read() as connection:
            return [
                ArrivalRow(row.id, row.kind, row.source, datetime.fromisoformat(row.arrived_at))
                for row in connection.execute(query)
            ]

    def undo(self, id: int, bars: BarStore) -> tuple[ArrivalRow, Counts]:
        """Take an arrival back: what it was, and what it had (brought, 0, replaced).

        Older versions count again. StoreError where there is none of this id, UsageError where a later
        arrival has replaced some of its bars.
        """
        with self._database.write() as connection:
            row = next((each for each in self.list() if each.id == id), None)
            if row is None:
                raise StoreError(
                    f"There is no import {id}: see 'stockllm imports list'.",
                    zh=f"沒有編號 {id} 的匯入：請見 'stockllm imports list'。",
                )
            counts = bars.undo(row.at) if row.kind == "prices" else Counts(_count(connection, id))
            _remove(connection, id, rows=row.kind != "prices")
        return row, counts

    def last(self, kind: str) -> tuple[str, datetime] | None:
        """Source and moment of the last whole arrival of ``kind``."""
        query = (
            sa.select(arrivals.c.source, arrivals.c.arrived_at)
            .where(arrivals.c.kind == kind, arrivals.c.state == "whole")
            .order_by(arrivals.c.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.source, datetime.fromisoformat(row.arrived_at))

    def extents(self) -> dict[str, tuple[int, date, date]]:
        """Kind -> its number of companies, symbols or futures, the first and the last day of any of them.

        Kinds without a row are absent. A few seeks for each subject, however many its days are.
        """
        found = {}
        for kind, table in KINDS.items():
            subject = table.primary_key.columns.keys()[0]
            days = f"SELECT date FROM {table.name} WHERE {subject} = :one AND {SEEN} ORDER BY date"
            with self._database.read() as connection:
                spans = [
                    connection.exec_driver_sql(
                        f"SELECT ({days} LIMIT 1), ({days} DESC LIMIT 1)", {"one": one}
                    ).one()
                    for one in subjects(connection, table.name, subject)
                ]
            if spans:
                first, last = min(span[0] for span in spans), max(span[1] for span in spans)
                found[kind] = (len(spans), date.fromisoformat(first), date.fromisoformat(last))
        return found


def _taken_away(source: str) -> StoreError:
    return StoreError(
        f"What {source} brought was taken for a dead process's and removed: import it again, alone.",
        zh=f"{source} 帶入的資料被誤認為已中斷的匯入而移除：請單獨重新匯入。",
    )


def _count(connection: sa.Connection, id: int) -> int:
    query = sa.select(sa.func.count())
    return sum(
        connection.scalar(query.select_from(table).where(table.c.arrival == id)) or 0
        for table in KINDS.values()
    )


def _sweep(connection: sa.Connection) -> None:
    """Take away what processes that are no more have left half done."""
    query = sa.select(arrivals).where(arrivals.c.state == "arriving")
    for row in connection.execute(query).all():
        if not _alive(row.pid, datetime.fromisoformat(row.arrived_at)):
            _remove(connection, row.id, rows=True)


def _remove(connection: sa.Connection, id: int, *, rows: bool) -> None:
    if rows:
        for table in KINDS.values():
            connection.execute(sa.delete(table).where(table.c.arrival == id))
    connection.execute(sa.delete(arrivals).where(arrivals.c.id == id))


def _alive(pid: int, began: datetime) -> bool:
    """Whether the process that began an arrival may still be at it."""
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return datetime.now(UTC) - began < _PATIENCE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
