"""The clock the collectors live by: theirs to ask and to wait on, a test's to turn."""

from __future__ import annotations

import time as system
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Protocol

#: Taiwan has kept one offset since 1980.
TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The present moment, aware."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        system.sleep(max(0.0, seconds))


def taipei(moment: datetime) -> datetime:
    """A moment as the clocks on the exchanges' walls show it."""
    return moment.astimezone(TAIPEI)


def today(clock: Clock) -> date:
    """The date in Taipei."""
    return taipei(clock.now()).date()
