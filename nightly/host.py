"""Hosting the schedule: APScheduler in a thread, each refresh in a process of its own.

A process of its own, because a host lives for months: what a model and its libraries take is given
back every night, a crash costs a night and not the schedule, and a dashboard that hosts stays quick.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stockllm.collectors.clock import TAIPEI, taipei
from stockllm.data.errors import StockllmError
from stockllm.data.private import opener
from stockllm.data.store import Store
from stockllm.nightly.lock import hold
from stockllm.nightly.times import missed

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

#: A refresh that could not bring all prices in is done again after this, and for this long after it
#: was due; an exchange that turned us away is left alone for an hour too.
RETRY = timedelta(hours=1)
RETRY_FOR = timedelta(hours=6)

#: How late a run may start that the machine slept through.
GRACE = timedelta(hours=23)

# A machine that sleeps stops the scheduler's timer too. Looking this often, it is late by no more.
_LOOK = timedelta(minutes=10)

# How long a refresh that is to stop may take to write down that it was stopped.
_PATIENCE_S = 60.0

_log = logging.getLogger("stockllm.schedule")


def _now() -> datetime:
    return datetime.now(UTC)


class Host:
    """Refreshes ``home`` by the schedule while it is open, and at once where a refresh was missed.

    A context manager. ``who`` is what others are told who hosts. ``command`` is what refreshes, and
    ``now`` the clock, in a test. Entering raises Busy where another process hosts the schedule of this
    home, StoreError where its store cannot be used or holds simulated prices.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        who: str,
        *,
        command: Sequence[str] = (sys.executable, "-m", "stockllm.cli.main", "refresh"),
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._home = home
        self._at = settings.refresh_at
        self._who = who
        self._command = tuple(command)
        self._now = now
        self._stack = ExitStack()
        self._closing = threading.Event()
        self._retry: datetime | None = None
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._scheduler: Any = None

    def __enter__(self) -> Host:
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.cron import CronTrigger
        from apscheduler.triggers.interval import IntervalTrigger

        with Store.open(self._home) as store:
            store.expect_simulated(False)
        with self._stack as stack:
            stack.enter_context(hold(self._home.schedule_lock, self._who))
            # One thread: what comes due while a refresh runs waits for it.
            self._scheduler = scheduler = BackgroundScheduler(
                timezone=TAIPEI,
                executors={"default": ThreadPoolExecutor(1)},
                job_defaults={
                    "coalesce": True,
                    "max_instances": 1,
                    "misfire_grace_time": int(GRACE.total_seconds()),
                },
            )
            at = CronTrigger(
                hour=self._at.hour, minute=self._at.minute, second=self._at.second, timezone=TAIPEI
            )
            scheduler.add_job(self.turn, at, id="refresh")
            scheduler.add_job(self.turn, id="catch-up")
            scheduler.add_job(self.look, IntervalTrigger(seconds=int(_LOOK.total_seconds())), id="look")
            scheduler.start()
            stack.callback(scheduler.shutdown)  # waits for the turn under way
            # A scheduler that is told to end while a job comes due hands it to an executor that is gone.
            stack.callback(scheduler.remove_all_jobs)
            stack.callback(self._stop_child)
            self._stack = stack.pop_all()
        _log.info("%s hosts the schedule, at %s in Taipei", self._who, f"{self._at:%H:%M}")
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._stack.close()
        _log.info("%s hosts the schedule no longer", self._who)

    def turn(self) -> None:
        """Refresh if one is due that has not been done; see to it that one that failed is done again."""
        self._retry = None
        try:
            if (due := self._missed()) is None or self._closing.is_set():
                return
            _log.info("the refresh of %s starts", taipei(due))
            code = self._run()
            if self._closing.is_set():
                _log.info("the refresh was stopped")
                return
            left = self._missed()
            _log.info("the refresh ended with exit code %d", code)
            if left is not None and self._now() + RETRY < left + RETRY_FOR:
                self._retry = self._now() + RETRY
                _log.info("prices are missing still: once more at %s", taipei(self._retry))
        except (StockllmError, OSError) as error:
            self._retry = self._now() + RETRY
            _log.error("no refresh was possible: %s", error)

    def look(self) -> None:
        """Take the turn that a failed one has put off."""
        if self._retry is not None and self._now() >= self._retry:
            self.turn()

    def _missed(self) -> datetime | None:
        with Store.open(self._home) as store:
            return missed(store, self._at, self._now())

    def _run(self) -> int:
        """The exit code of a refresh in a process of its own; its last words go to the log."""
        words = self._home.logs / "refresh.err"
        with open(words, "wb", opener=opener) as file:
            with self._lock:
                if self._closing.is_set():
                    return 1
                self._child = subprocess.Popen(
                    self._command,
                    env=os.environ | {"STOCKLLM_HOME": str(self._home.root)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=file,
                    start_new_session=True,  # a Ctrl-C is for the host, which stops it once
                )
            code = self._child.wait()
        self._child = None
        if code and (said := words.read_text("utf-8", "replace").splitlines()):
            _log.warning("%s", said[-1])
        return code

    def _stop_child(self) -> None:
        with self._lock:
            child = self._child
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()  # what it wrote is whole, and the next refresh says that it died
