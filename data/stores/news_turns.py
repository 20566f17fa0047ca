"""Whose turn it is to have its news fetched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.schema import news_turns


@dataclass(frozen=True, slots=True)
class NewsTurn:
    """When a company's news in one language were last asked for and how that ended.

    ``newest`` is when the newest article found then or before was published; None where none was.
    """

    code: str
    language: str
    served_at: datetime
    newest: datetime | None
    outcome: str


class NewsTurnStore:
    """The turns of a store, one row per company and language."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def serve(
        self, code: str, language: str, at: datetime, outcome: str, newest: datetime | None = None
    ) -> None:
        """Say that this turn was served at ``at``. A ``newest`` that is older or None changes none."""
        with self._database.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO news_turns (code, language, served_at, newest, outcome) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (code, language) DO UPDATE SET served_at = excluded.served_at,"
                " outcome = excluded.outcome,"
                " newest = max(coalesce(excluded.newest, ''),"
                # One that lies ahead was an article's wrong date.
                " CASE WHEN newest > excluded.served_at THEN '' ELSE coalesce(newest, '') END)",
                (code, language, _text(at), _text(newest) if newest else None, outcome),
            )

    def all(self) -> dict[tuple[str, str], NewsTurn]:
        """(code, language) -> its last turn."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(news_turns)).all()
        return {
            (row.code, row.language): NewsTurn(
                row.code,
                row.language,
                datetime.fromisoformat(row.served_at),
                datetime.fromisoformat(row.newest) if row.newest else None,
                row.outcome,
            )
            for row in rows
        }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
