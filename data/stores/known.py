"""The one gate to figures that carry the moment they became public.

`known` answers every reader: what was public by ``until``, and of figures that were revised the
version that counted then. Three rules hold for whatever passes it:

- A figure is known from its ``known_at`` on: a session from its end, however its bar is stamped.
- A revised figure is known from the moment the revision arrived here, and the earlier version counts
  until then: nobody who asks about a moment before sees it. History that is imported for the first time
  counts as known when it was public, because no other version of it was ever seen here.
- Rows of an arrival that is still under way, or whose process died, are known to nobody.

Adjusted candles differ in one point: each dividend restates the whole series, so a later version of it
counts at once and for all moments (``data.stores.adjusted``). Their levels say nothing about the moment,
only their moves do.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

# date.toordinal() of a day that SQLite gives as a Julian day.
_DAY = "julianday(date) - 1721424.5"
#: Leaves out what is still arriving.
SEEN = "arrival NOT IN (SELECT id FROM arrivals WHERE state = 'arriving')"

# Single precision keeps 24 bits: 18.05 may come back as 18.0499992. Less than this is no revision.
_NOISE = 2e-7


@dataclass
class Arrival:
    """An arrival under way. ``at`` is when it began; ``kept`` counts the rows that were written."""

    id: int
    source: str
    at: datetime
    kept: int = 0


class Counts(NamedTuple):
    """What became of figures: ``new``, the same as before, and those that replace an earlier version."""

    new: int = 0
    unchanged: int = 0
    revised: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


def seconds(moment: datetime) -> int:
    """A moment as the tables keep it. ValueError for one without an offset."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no offset: a moment must be aware")
    return int(moment.astimezone(UTC).timestamp())


def known(
    connection: sa.Connection,
    table: str,
    subject: Mapping[str, str],
    columns: Sequence[str],
    until: datetime | None,
    *,
    expiry: bool = False,
    versions: bool = False,
) -> NDArray[np.float64]:
    """What was known of ``subject`` by ``until``, oldest first; None stands for now and for ever.

    The result has shape (2 + columns, n): the day as a proleptic ordinal, ``columns`` in order (NaN
    where a source was silent), and ``known_at`` in seconds. With ``expiry`` that number follows the
    day, and each day has the nearest expiry alone. With ``versions`` every version is there, in order of
    day and arrival, and the last row is the number of the arrival in place of ``known_at``.
    """
    import numpy as np

    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    names = ["CAST(expiry AS INTEGER)", *columns] if expiry else list(columns)
    where = "".join(f"{name} = ? AND " for name in subject)
    moment = _FOREVER if until is None else seconds(until)
    rows = raw.execute(
        f"SELECT {', '.join((_DAY, *names))}, {'arrival' if versions else 'known_at'} FROM {table}"
        f" WHERE {where}known_at <= ? AND {SEEN} ORDER BY date{', expiry' if expiry else ''}, arrival",
        (*subject.values(), moment),
    ).fetchall()
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * (len(names) + 2))
    except TypeError:  # a None, where a source was silent, becomes NaN in an array alone
        flat = np.array(rows, dtype=np.float64)
    found = flat.reshape(-1, len(names) + 2).T.copy()
    if versions:
        return found
    keys = found[: 2 if expiry else 1]
    changes = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    found = found[:, np.concatenate((changes, [True]))[: found.shape[1]]]
    if expiry and found.shape[1]:  # the nearest month of each day
        found = found[:, np.concatenate(([True], found[0, 1:] != found[0, :-1]))]
    return found


_FOREVER = 2**62


def subjects(connection: sa.Connection, table: str, column: str) -> list[str]:
    """The codes or symbols that ``table`` has rows of, ascending; one seek each."""
    query = (
        f"WITH RECURSIVE each(one) AS (SELECT min({column}) FROM {table} UNION ALL"
        f" SELECT (SELECT min({column}) FROM {table} WHERE {column} > each.one) FROM each"
        " WHERE each.one IS NOT NULL) SELECT one FROM each WHERE one IS NOT NULL"
        f" AND EXISTS (SELECT 1 FROM {table} WHERE {column} = one AND {SEEN})"
    )
    return [row[0] for row in connection.exec_driver_sql(query)]


def keep(
    connection: sa.Connection,
    table: str,
    subject: Mapping[str, str],
    arrival: Arrival,
    days: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.float64]],
    known_at: NDArray[np.int64],
    *,
    expiries: NDArray[np.int64] | None = None,
    whole: Sequence[str] = (),
    restated: bool = False,
) -> Counts:
    """Keep the figures of ``subject``, no day (and expiry) twice; those already stored are left alone.

    ``columns`` hold NaN where the source is silent, which contradicts nobody. ``whole`` names those of
    whole numbers. A figure that differs from the stored one becomes a version of ``arrival``, known
    from its arrival on; a ``restated`` one from ``known_at`` on.
    """
    import numpy as np

    if not len(days):
        return Counts()
    wide = _key(days, expiries)
    order = np.argsort(wide, kind="stable")
    wide, known_at = wide[order], known_at[order].astype(np.int64)
    given = np.stack([np.asarray(column, dtype=np.float64)[order] for column in columns.values()])
    stored = _stored(connection, table, subject, list(columns), expiries is not None)
    at = np.searchsorted(stored[0], wide)
    if stored.shape[1]:
        at = np.minimum(at, stored.shape[1] - 1)
        there = stored[0, at] == wide
        before = np.where(there, stored[1:, at], np.nan)
    else:
        there = np.zeros(len(wide), dtype=bool)
        before = np.full_like(given, np.nan)
    given = np.where(np.isnan(given), before, given)
    with np.errstate(invalid="ignore"):
        same = (np.abs(given - before) <= _NOISE * np.abs(before)) | (np.isnan(given) & np.isnan(before))
    unchanged = there & same.all(axis=0)
    revised = there & ~unchanged
    if revised.any() and not restated:
        known_at = np.where(revised, np.maximum(known_at, seconds(arrival.at)), known_at)
    write = np.flatnonzero(~unchanged)
    if len(write):
        _insert(connection, table, subject, arrival, wide[write], columns, given[:, write],
                known_at[write], expiries is not None, whole)  # fmt: skip
        arrival.kept += len(write)
    return Counts(int((~there).sum()), int(unchanged.sum()), int(revised.sum()))


def keep_day(
    connection: sa.Connection,
    table: str,
    arrival: Arrival,
    day: date,
    codes: Sequence[str],
    columns: Mapping[str, NDArray[np.float64]],
    known_at: datetime,
) -> Counts:
    """Keep one day's figures of many companies, none twice: whole numbers, otherwise as ``keep`` does."""
    import numpy as np

    if not codes:
        return Counts()
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    names = ", ".join(f"t.{name}" for name in columns)
    # One seek a company; of its versions the last one stays.
    last = {
        row[0]: row[1:-1]
        for row in raw.execute(
            f"SELECT t.code, {names}, t.arrival FROM json_each(?) AS w JOIN {table} t"
            f" ON t.code = w.value AND t.date = ? AND {SEEN} ORDER BY t.code, t.arrival",
            (json.dumps(list(codes)), day.isoformat()),
        )
    }
    given = [tuple(int(one) for one in row) for row in np.stack(list(columns.values())).T.tolist()]
    public, revised_at = seconds(known_at), max(seconds(known_at), seconds(arrival.at))
    rows = [
        (code, day.isoformat(), *figures, revised_at if code in last else public, arrival.id)
        for code, figures in zip(codes, given, strict=True)
        if last.get(code) != figures
    ]
    raw.executemany(
        f"INSERT INTO {table} (code, date, {', '.join(columns)}, known_at, arrival)"
        f" VALUES ({', '.join('?' * (len(columns) + 4))})",
        rows,
    )
    arrival.kept += len(rows)
    revised = sum(row[0] in last for row in rows)
    return Counts(len(rows) - revised, len(codes) - len(rows), revised)


def _key(days: NDArray[np.int64], expiries: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Day and expiry as one number; both fit a float without loss."""
    return days if expiries is None else days * 1_000_000 + expiries


def _stored(
    connection: sa.Connection, table: str, subject: Mapping[str, str], columns: Sequence[str], expiry: bool
) -> NDArray[np.float64]:
    """The last version of every figure of ``subject``, whatever its moment: keys, then columns."""
    import numpy as np

    names = ["CAST(expiry AS INTEGER)", *columns] if expiry else list(columns)
    found = known(connection, table, subject, names, None, versions=True)[:-1]
    if expiry:
        keys = found[0] * 1_000_000 + found[1]
        order = np.argsort(keys, kind="stable")  # versions stay in order of arrival
        found = np.concatenate((keys[None, order], found[2:, order]))
    last = np.concatenate((found[0, 1:] != found[0, :-1], [True]))[: found.shape[1]]
    return found[:, last]


def _insert(
    connection: sa.Connection,
    table: str,
    subject: Mapping[str, str],
    arrival: Arrival,
    keys: NDArray[np.int64],
    columns: Mapping[str, Any],
    values: NDArray[np.float64],
    known_at: NDArray[np.int64],
    expiry: bool,
    whole: Sequence[str],
) -> None:
    from datetime import date

    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    days = (keys // 1_000_000 if expiry else keys).tolist()
    texts = {day: date.fromordinal(day).isoformat() for day in set(days)}
    lists: list[Any] = [[texts[day] for day in days]]
    if expiry:
        lists.append([str(number) for number in (keys % 1_000_000).tolist()])
    for name, column in zip(columns, values, strict=True):
        numbers = column.tolist()
        if name in whole:
            lists.append([None if isnan(one) else int(one) for one in numbers])
        else:
            lists.append([None if isnan(one) else one for one in numbers])
    lists.append(known_at.tolist())
    names = [*subject, "date", *(["expiry"] if expiry else []), *columns, "known_at", "arrival"]
    fixed = tuple(subject.values())
    raw.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
        ((*fixed, *row, arrival.id) for row in zip(*lists, strict=True)),
    )
