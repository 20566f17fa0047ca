"""Training runs: what was started, with which options, and how it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.errors import StoreError
from stockllm.data.schema import runs

RunState = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One training run. ``pid`` is the process that runs it; ``finished`` is None while it does.

    A run whose process was killed stays "running": whoever shows it asks the system for the pid.
    """

    id: int
    name: str
    started: datetime
    finished: datetime | None
    state: RunState
    detail: str
    options: dict[str, Any]
    pid: int
    log: Path | None


class RunStore:
    """The record of training runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, name: str, options: Mapping[str, Any], log: Path | None = None) -> int:
        """Record that this process starts to train ``name``; the id to finish it by.

        ``options`` must be writable as JSON.
        """
        row = {
            "name": name,
            "started": datetime.now(UTC).isoformat(),
            "state": "running",
            "detail": "",
            "options": json.dumps(dict(options), ensure_ascii=False),
            "pid": os.getpid(),
            "log": str(log) if log else None,
        }
        with self._database.write() as connection:
            (key,) = connection.execute(sa.insert(runs), row).inserted_primary_key or (0,)
        return int(key)

    def finish(self, id: int, state: RunState, detail: str = "") -> None:
        """Record how a run ended; ``detail`` is a sentence for people."""
        change = sa.update(runs).where(runs.c.id == id)
        with self._database.write() as connection:
            changed = connection.execute(
                change, {"finished": datetime.now(UTC).isoformat(), "state": state, "detail": detail}
            ).rowcount
        if not changed:
            raise StoreError(
                f"There is no training run {id} in the store: list the runs there are.",
                zh=f"資料庫中沒有編號 {id} 的訓練：請先列出現有的訓練。",
            )

    def list(self, limit: int = 100) -> list[RunRow]:
        """The last ``limit`` runs, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(runs).order_by(runs.c.id.desc()).limit(limit)).all()
        return [
            RunRow(
                row.id,
                row.name,
                datetime.fromisoformat(row.started),
                datetime.fromisoformat(row.finished) if row.finished else None,
                row.state,
                row.detail,
                json.loads(row.options),
                row.pid,
                Path(row.log) if row.log else None,
            )
            for row in rows
        ]
