"""Signals: each rule's verdict per company and day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.records import Signal
from stockllm.data.schema import signals


class SignalStore:
    """The signals of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, given: Iterable[Signal]) -> int:
        """Keep signals; one of the same company, day and rule is replaced. Their number."""
        now = datetime.now(UTC).isoformat()
        rows: list[dict[str, Any]] = [
            {
                "code": s.code,
                "as_of": s.as_of,
                "rule": s.rule,
                "action": s.action,
                "strength": None if s.strength is None else float(s.strength),
                "reason_zh": s.reason_zh,
                "reason_en": s.reason_en,
                "forecast": s.forecast_id,
                "simulated": int(s.simulated),
                "made_at": now,
            }
            for s in given
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(sa.insert(signals).prefix_with("OR REPLACE"), rows)
        return len(rows)

    def latest(self, code: str | None = None) -> list[Signal]:
        """The newest signal of every company and rule, or of ``code`` alone, by company and rule."""
        newest = (
            sa.select(signals.c.code, signals.c.rule, sa.func.max(signals.c.as_of).label("as_of"))
            .group_by(signals.c.code, signals.c.rule)
            .subquery()
        )
        query = sa.select(signals).join(
            newest,
            sa.and_(
                signals.c.code == newest.c.code,
                signals.c.rule == newest.c.rule,
                signals.c.as_of == newest.c.as_of,
            ),
        )
        if code is not None:
            query = query.where(signals.c.code == code, newest.c.code == code)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(signals.c.code, signals.c.rule)).all()
        return [
            Signal(
                row.code,
                row.as_of,
                row.rule,
                row.action,
                row.reason_zh,
                row.reason_en,
                row.strength,
                row.forecast,
                bool(row.simulated),
            )
            for row in rows
        ]
