"""Refreshes: what ran for which evening, step by step, and how it ended.

A step is written down before it begins, so that a crash leaves a step without an end. Whoever holds
the refresh's lock next knows that its process is dead and says so (``bury``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.schema import refresh_steps, refreshes

StepOutcome = Literal[
    "running",
    "ok",
    "partial",  # some of it could not be done and is left for the next run
    "failed",  # nothing of it could be done
    "skipped",  # there was nothing it could do, for want of a key say
    "stopped",  # by the user or a signal
    "died",  # its process did not live to say how it ended
]
#: "partial": some step was not ok. The others as for a step.
RefreshOutcome = Literal["running", "ok", "partial", "stopped", "died"]


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of one refresh. ``ended`` is None while it runs, and for good where it died.

    ``zh`` and ``en`` say in a sentence what came of it, each of ``notes`` in both languages what went
    wrong or was left out.
    """

    step: str
    started: datetime
    ended: datetime | None
    outcome: StepOutcome
    counts: dict[str, int]
    zh: str
    en: str
    notes: tuple[tuple[str, str], ...]

    @property
    def seconds(self) -> float | None:
        """How long it took, None where it has no end."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()


@dataclass(frozen=True, slots=True)
class RefreshRow:
    """One refresh. ``evening`` is the last session whose prices were out when it started."""

    id: int
    evening: date
    started: datetime
    ended: datetime | None
    outcome: RefreshOutcome
    pid: int
    steps: tuple[StepRow, ...]


class RefreshStore:
    """The record of refreshes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, evening: date, at: datetime, pid: int) -> int:
        """Record that a refresh for ``evening`` starts; its id."""
        row = {"evening": evening, "started": _text(at), "outcome": "running", "pid": pid}
        with self._database.write() as connection:
            (key,) = connection.execute(sa.insert(refreshes), row).inserted_primary_key or (0,)
        return int(key)

    def end(self, id: int, outcome: RefreshOutcome, at: datetime) -> None:
        """Record how a refresh ended."""
        change = sa.update(refreshes).where(refreshes.c.id == id)
        with self._database.write() as connection:
            connection.execute(change.values(outcome=outcome, ended=_text(at)))

    def start(self, id: int, step: str, at: datetime) -> None:
        """Record that a step of refresh ``id`` starts."""
        row: dict[str, Any] = {"refresh": id, "step": step, "started": _text(at), "outcome": "running"}
        row |= {"counts": "{}", "sentence_zh": "", "sentence_en": "", "notes": "[]"}
        before = sa.select(sa.func.count()).where(refresh_steps.c.refresh == id)
        with self._database.write() as connection:
            row["place"] = connection.scalar(before)
            connection.execute(sa.insert(refresh_steps), row)

    def finish(
        self,
        id: int,
        step: str,
        outcome: StepOutcome,
        at: datetime,
        *,
        counts: Mapping[str, int],
        zh: str,
        en: str,
        notes: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Record how a step ended, with what it counted and a sentence in both languages."""
        change = sa.update(refresh_steps).where(refresh_steps.c.refresh == id, refresh_steps.c.step == step)
        values = {
            "ended": _text(at),
            "outcome": outcome,
            "counts": json.dumps(dict(counts)),
            "sentence_zh": zh,
            "sentence_en": en,
            "notes": json.dumps([list(note) for note in notes], ensure_ascii=False),
        }
        with self._database.write() as connection:
            connection.execute(change, values)

    def bury(self) -> list[RefreshRow]:
        """Say of every refresh without an end, and of the step it was at, that it died; those refreshes.

        For the holder of the refresh's lock alone: then nobody lives who could still end them.
        """
        with self._database.write() as connection:
            left = refreshes.c.outcome == "running"
            ids = list(connection.scalars(sa.select(refreshes.c.id).where(left)))
            connection.execute(sa.update(refreshes).where(left).values(outcome="died"))
            dead = sa.update(refresh_steps).where(refresh_steps.c.outcome == "running")
            connection.execute(dead.values(outcome="died"))
        return [row for row in self.list(limit=1_000_000) if row.id in ids] if ids else []

    def list(self, limit: int = 20, *, since: datetime | None = None) -> list[RefreshRow]:
        """The last ``limit`` refreshes, of those started at or after ``since``; newest first."""
        query = sa.select(refreshes).order_by(refreshes.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(refreshes.c.started >= _text(since))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            ids = [row.id for row in rows]
            steps: dict[int, list[StepRow]] = {id: [] for id in ids}
            wanted = sa.select(refresh_steps).where(
                refresh_steps.c.refresh.between(min(ids, default=0), max(ids, default=0))
            )
            for row in connection.execute(wanted.order_by(refresh_steps.c.place)):
                if row.refresh in steps:
                    steps[row.refresh].append(_step(row))
        return [
            RefreshRow(
                row.id,
                row.evening,
                datetime.fromisoformat(row.started),
                datetime.fromisoformat(row.ended) if row.ended else None,
                row.outcome,
                row.pid,
                tuple(steps[row.id]),
            )
            for row in rows
        ]


def _step(row: sa.Row[Any]) -> StepRow:
    return StepRow(
        row.step,
        datetime.fromisoformat(row.started),
        datetime.fromisoformat(row.ended) if row.ended else None,
        row.outcome,
        json.loads(row.counts),
        row.sentence_zh,
        row.sentence_en,
        tuple((zh, en) for zh, en in json.loads(row.notes)),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
