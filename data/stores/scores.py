"""Scores: what became of the ledger's forecasts, day by day, each written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from stockllm.data import clock
from stockllm.data.database import Database
from stockllm.data.schema import forecast_scores, forecasts
from stockllm.market.moments import Moment


@dataclass(frozen=True, slots=True)
class Score:
    """How one day of one forecast came out.

    ``day`` counts from 1. ``crps`` and ``naive_crps`` (the naive baseline's, from the same evening)
    are of log returns since the origin's close, as are ``error`` (forecast less actual) and
    ``actual``. ``direction`` is whether the call was right, None where none was made. ``ahead`` says
    that the day's bar arrived after the forecast was made, which alone makes none count, ``seen`` that
    the model had been trained on that day, None where nobody can say.
    """

    forecast: int
    day: int
    date: date
    crps: float
    naive_crps: float
    inside50: bool
    inside80: bool
    inside95: bool
    error: float
    actual: float
    direction: bool | None
    ahead: bool
    seen: bool | None


@dataclass(frozen=True, slots=True)
class ScoredDay:
    """A score with what is needed of its forecast to judge a record."""

    score: Score
    code: str
    as_of: date
    model: str
    adapter: str | None
    simulated: bool
    moment: Moment = "evening"


class ScoreStore:
    """The scores of a store. Triggers in the database refuse to change or delete one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, scores: Iterable[Score]) -> int:
        """Keep scores of days not scored before; their number. A day that has one keeps it."""
        moment = clock.now()
        now = moment.isoformat(timespec="seconds")
        given = {(score.forecast, score.day): score for score in scores}
        with self._database.write() as connection:
            clock.saw(connection, moment)
            known: set[tuple[int, int]] = set()
            for forecast in {forecast for forecast, _ in given}:
                query = sa.select(forecast_scores.c.day).where(forecast_scores.c.forecast == forecast)
                known |= {(forecast, day) for day in connection.scalars(query)}
            rows: list[dict[str, Any]] = [
                asdict(score) | {"scored_at": now} for key, score in sorted(given.items()) if key not in known
            ]
            if rows:
                connection.execute(sa.insert(forecast_scores), rows)
        return len(rows)

    def count(self) -> int:
        """How many days are scored; a record stays what it was while this does."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(forecast_scores)) or 0

    def of(self, forecast: int) -> list[Score]:
        """The scores of one forecast, in the order of its days."""
        query = sa.select(forecast_scores).where(forecast_scores.c.forecast == forecast)
        with self._database.read() as connection:
            return [_score(row) for row in connection.execute(query.order_by(forecast_scores.c.day))]

    def open(self, last: date) -> Mapping[int, frozenset[int]]:
        """Forecast id -> the days it is scored on, of all from before ``last`` with days left to score."""
        scored = (
            sa.select(forecast_scores.c.forecast, sa.func.count().label("days"))
            .group_by(forecast_scores.c.forecast)
            .subquery()
        )
        query = (
            sa.select(forecasts.c.id, forecast_scores.c.day)
            .join(scored, scored.c.forecast == forecasts.c.id, isouter=True)
            .join(forecast_scores, forecast_scores.c.forecast == forecasts.c.id, isouter=True)
            .where(forecasts.c.as_of < last, sa.func.coalesce(scored.c.days, 0) < forecasts.c.horizon)
            .order_by(forecasts.c.id)
        )
        found: dict[int, set[int]] = {}
        with self._database.read() as connection:
            for id, day in connection.execute(query):
                found.setdefault(id, set()).update(() if day is None else (day,))
        return {id: frozenset(days) for id, days in found.items()}

    def list(self, code: str | None = None, model: str | None = None) -> list[ScoredDay]:
        """Every score, of ``code`` and of ``model`` (``llama`` or ``llama+ADAPTER``) where given.

        In the order of forecast and day.
        """
        query = sa.select(
            forecast_scores,
            forecasts.c.code,
            forecasts.c.as_of,
            forecasts.c.model,
            forecasts.c.adapter,
            forecasts.c.simulated,
            forecasts.c.moment,
        ).join(forecasts, forecasts.c.id == forecast_scores.c.forecast)
        if code is not None:
            query = query.where(forecasts.c.code == code)
        if model is not None:
            name, _, adapter = model.partition("+")
            query = query.where(forecasts.c.model == name, forecasts.c.adapter == (adapter or None))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(forecast_scores.c.forecast, forecast_scores.c.day)).all()
        return [
            ScoredDay(
                _score(row), row.code, row.as_of, row.model, row.adapter, bool(row.simulated), row.moment
            )
            for row in rows
        ]


def _score(row: sa.Row[Any]) -> Score:
    return Score(
        row.forecast,
        row.day,
        row.date,
        row.crps,
        row.naive_crps,
        bool(row.inside50),
        bool(row.inside80),
        bool(row.inside95),
        row.error,
        row.actual,
        None if row.direction is None else bool(row.direction),
        bool(row.ahead),
        None if row.seen is None else bool(row.seen),
    )
