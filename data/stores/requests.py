"""Requests to sites: each is reserved before it is sent, so that no restart and no second process
can send one too soon or one too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.schema import requests, site_bars

Outcome = Literal[
    "sent",  # no answer was seen: under way, or the process died over it
    "ok",
    "no_data",  # the site answers that it has nothing for this question
    "outage",  # no answer, an error of the server, or a sentence in place of data
    "blocked",  # the site turns us away
    "wrong_answer",  # about another day, month or company than asked for
    "unreadable",  # cut short, or not of the form that is known
    "refused",  # the service names what is wrong with the request or the key
]


class Budget(NamedTuple):
    """At most ``limit`` requests in any ``window``."""

    limit: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that may be sent at ``at``, which may lie a little ahead."""

    id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a site must not be asked now, and from when on it may be."""

    kind: Literal["barred", "spent"]
    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as the log has it."""

    id: int
    site: str
    at: datetime
    what: str
    outcome: Outcome
    detail: str


class RequestStore:
    """The log of requests, from which spacing, budgets and bars follow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(
        self, site: str, what: str, *, now: datetime, interval: timedelta, budgets: Sequence[Budget] = ()
    ) -> Reservation | Refusal:
        """Take the next place in the queue of ``site``, or say why there is none.

        Places lie ``interval`` apart, over all processes. A request that is reserved counts,
        whether or not it is ever sent. ``what`` must hold no secret: it is kept.
        """
        with self._database.write() as connection:
            bar = connection.execute(sa.select(site_bars).where(site_bars.c.site == site)).one_or_none()
            if bar is not None and _moment(bar.until) > now:
                return Refusal("barred", _moment(bar.until), bar.why)
            # What lies further ahead than any queue was written before the clock was put back.
            text = connection.scalar(
                sa.select(sa.func.max(requests.c.at)).where(
                    requests.c.site == site, requests.c.at <= _text(now + 100 * interval)
                )
            )
            at = now if text is None else max(now, _moment(text) + interval)
            for limit, window in budgets:
                since = _text(at - window)
                spent = list(
                    connection.scalars(
                        sa.select(requests.c.at)
                        .where(requests.c.site == site, requests.c.at > since, requests.c.at <= _text(at))
                        .order_by(requests.c.at.desc())
                        .limit(limit)
                    )
                )
                if len(spent) == limit:
                    hours = window.total_seconds() / 3600
                    return Refusal("spent", _moment(spent[-1]) + window, f"{limit} requests in {hours:g} h")
            row = {"site": site, "at": _text(at), "what": what, "outcome": "sent", "detail": ""}
            (key,) = connection.execute(sa.insert(requests), row).inserted_primary_key or (0,)
        return Reservation(int(key), at)

    def finish(self, reservation: int, outcome: Outcome, detail: str = "") -> None:
        """Say how a reserved request ended."""
        change = sa.update(requests).where(requests.c.id == reservation)
        with self._database.write() as connection:
            connection.execute(change.values(outcome=outcome, detail=detail))

    def bar(self, site: str, why: str, *, now: datetime, pause: timedelta, longest: timedelta) -> datetime:
        """Ask ``site`` nothing for ``pause``, doubled with every time in a row; when it may be asked."""
        with self._database.write() as connection:
            query = sa.select(site_bars.c.times).where(site_bars.c.site == site)
            times = connection.scalar(query) or 0
            until: datetime = now + min(pause * 2 ** min(int(times), 20), longest)
            row = {"site": site, "until": _text(until), "times": times + 1, "why": why}
            connection.execute(sa.insert(site_bars).prefix_with("OR REPLACE"), row)
        return until

    def unbar(self, site: str) -> None:
        """Forget that ``site`` ever turned us away: it has answered."""
        with self._database.read() as connection:
            known = connection.scalar(sa.select(site_bars.c.site).where(site_bars.c.site == site))
        if known is not None:
            with self._database.write() as connection:
                connection.execute(sa.delete(site_bars).where(site_bars.c.site == site))

    def barred(self, site: str, *, now: datetime) -> Refusal | None:
        """The bar on ``site`` that is in force."""
        with self._database.read() as connection:
            bar = connection.execute(sa.select(site_bars).where(site_bars.c.site == site)).one_or_none()
        if bar is None or _moment(bar.until) <= now:
            return None
        return Refusal("barred", _moment(bar.until), bar.why)

    def count(self, site: str, *, since: datetime) -> int:
        """The requests to ``site`` after ``since``."""
        query = sa.select(sa.func.count()).where(requests.c.site == site, requests.c.at > _text(since))
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def log(self, *, limit: int = 100, site: str | None = None, faults: bool = False) -> list[RequestRow]:
        """The last ``limit`` requests, newest first; with ``faults`` those alone that went wrong."""
        query = sa.select(requests).order_by(requests.c.id.desc()).limit(limit)
        if site is not None:
            query = query.where(requests.c.site == site)
        if faults:
            query = query.where(requests.c.outcome.not_in(("ok", "no_data")))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [RequestRow(r.id, r.site, _moment(r.at), r.what, r.outcome, r.detail) for r in rows]

    def prune(self, *, before: datetime) -> int:
        """Drop the log's rows from before a moment; their number."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(requests).where(requests.c.at < _text(before))).rowcount


def _text(moment: datetime) -> str:
    """A moment as it sorts: always in UTC, always with six digits behind the second."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
