"""Facts about the store itself, one line each."""

from __future__ import annotations

from stockllm.data.database import Database


class NoteStore:
    """Key and value texts: ``created_at``, ``simulated``, and what later parts need to remember."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """The text under ``key``."""
        with self._database.read() as connection:
            value: str | None = connection.exec_driver_sql(
                "SELECT value FROM meta WHERE key = ?", (key,)
            ).scalar_one_or_none()
        return value

    def set(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key`` in place of what was there."""
        with self._database.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO meta (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
