"""What time it is, in one place, and the latest moment that a store has seen.

A computer's clock can be set back. A store cannot forget: ``saw`` keeps the latest moment at which
anything came in, and no undone import or deleted bar takes it away. What is frozen while the clock reads
earlier than that is known for what it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
    """The latest moment that the store has seen; None where it has seen nothing.

    Bars are taken in only when their session is over by the clock, so this lies after each of them.
    """
    value = connection.exec_driver_sql("SELECT value FROM meta WHERE key = ?", (_KEY,)).scalar_one_or_none()
    return datetime.fromisoformat(value) if value else None
