"""What time it is, in one place, and the latest moment that a store has seen.

A computer's clock can be set back. A store cannot forget: ``saw`` keeps the latest moment at which
anything came in, and no undone import or deleted bar takes it away. What is frozen while the clock reads
earlier than that is known for what it is.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from stockllm.market.moments import at_taipei

if TYPE_CHECKING:
    import sqlalchemy as sa

_KEY = "seen_until"


def now() -> datetime:
    """The moment on this computer's clock, in UTC."""
    return datetime.now(UTC)


def saw(connection: sa.Connection, moment: datetime) -> None:
    """Remember that the store was at work at ``moment``, unless it has seen a later one."""
    connection.exec_driver_sql(
        "INSERT INTO meta (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
        (_KEY, moment.astimezone(UTC).isoformat(timespec="microseconds")),
    )


def seen_until(connection: sa.Connection) -> datetime | None:
    """The latest moment of which the store gives evidence; None where it has seen nothing.

    A bar is evidence too: who holds one of a day has seen the close of that day.
    """
    value = connection.exec_driver_sql("SELECT value FROM meta WHERE key = ?", (_KEY,)).scalar_one_or_none()
    found = [datetime.fromisoformat(value)] if value else []
    for table in ("bars", "bar_revisions"):
        last = connection.exec_driver_sql(f"SELECT max(date) FROM {table}").scalar_one()
        if last:
            found.append(at_taipei(date.fromisoformat(last), 13, 30))
    return max(found, default=None)
