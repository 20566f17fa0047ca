"""A clock that waits for nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

TAIPEI = timezone(timedelta(hours=8))


class FakeClock:
    """Starts at ``moment`` (Taipei where it has no zone) and moves when somebody sleeps on it."""

    def __init__(self, moment: datetime) -> None:
        self._now = moment if moment.tzinfo else moment.replace(tzinfo=TAIPEI)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now.astimezone(UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Turn it to ``moment``, Taipei where it has no zone; never back."""
        moment = moment if moment.tzinfo else moment.replace(tzinfo=TAIPEI)
        self._now = max(self._now, moment)
