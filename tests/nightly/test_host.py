"""Hosting the schedule: what is missed is done, what failed is done again, and it ends cleanly."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standin import FakeClock
from standin.clock import TAIPEI

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.nightly.host import GRACE, RETRY_FOR, Host
from stockllm.nightly.lock import Busy, holder
from stockllm.nightly.steps import STEPS

#: In place of a refresh: notes that it ran, and ends with the code in the file "code".
NOTE = (
    "import os, pathlib, sys\n"
    "home = pathlib.Path(os.environ['STOCKLLM_HOME'])\n"
    "with (home / 'ran').open('a') as file: file.write('x')\n"
    "print('first words', file=sys.stderr)\n"
    "print('it ended badly', file=sys.stderr)\n"
    "sys.exit(int((home / 'code').read_text()))\n"
)
#: In place of a refresh that takes its time: says that it has begun, and that it was stopped.
WAIT = (
    "import os, pathlib, signal, sys\n"
    "home = pathlib.Path(os.environ['STOCKLLM_HOME'])\n"
    "def stop(*_):\n"
    "    (home / 'stopped').touch()\n"
    "    sys.exit(1)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "os.kill(int((home / 'parent').read_text()), signal.SIGUSR1)\n"
    "while True: signal.pause()\n"
)


@pytest.fixture
def make(home: Home, clock: FakeClock) -> Callable[..., Host]:
    (home.root / "code").write_text("0")

    def host(program: str = NOTE) -> Host:
        return Host(home, Settings(), "a test", command=(sys.executable, "-c", program), now=clock.now)

    return host


def ran(home: Home) -> int:
    path = home.root / "ran"
    return len(path.read_text()) if path.exists() else 0


def done(home: Home, clock: FakeClock) -> None:
    """A refresh that did its work now."""
    with Store.open(home) as store:
        id = store.refreshes.begin(date(2025, 4, 8), clock.now(), 1)
        for step in STEPS:
            store.refreshes.start(id, step, clock.now())
            store.refreshes.finish(id, step, "ok", clock.now(), counts={}, zh="", en="")
        store.refreshes.end(id, "ok", clock.now())


def test_what_was_missed_is_done_once_at_the_start(
    make: Callable[..., Host], home: Home, clock: FakeClock
) -> None:
    with make():
        pass  # leaving waits for the turn under way, or keeps it from beginning
    host = make()
    before = ran(home)
    host.turn()
    assert ran(home) == before + 1
    done(home, clock)
    host.turn()
    assert ran(home) == before + 1, "nothing was missed"
    clock.set(datetime(2025, 4, 9, 18, 29))
    host.turn()
    assert ran(home) == before + 1
    clock.set(datetime(2025, 4, 9, 18, 30))
    host.turn()
    assert ran(home) == before + 2


def test_a_refresh_that_failed_is_done_again_for_some_hours(
    make: Callable[..., Host], home: Home, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stockllm.schedule")
    (home.root / "code").write_text("1")
    host = make()
    host.turn()
    assert "it ended badly" in caplog.messages
    assert "the refresh ended with exit code 1" in caplog.messages
    start = clock.now()
    tried = [timedelta(0)]
    while clock.now() - start < timedelta(hours=12):
        before = ran(home)
        clock.sleep(600)
        host.look()
        if ran(home) > before:
            tried.append(clock.now() - start)
    assert tried == [timedelta(hours=hour) for hour in range(int(RETRY_FOR.total_seconds() // 3600))]


def test_it_ends_by_stopping_the_refresh_under_way(make: Callable[..., Host], home: Home) -> None:
    (home.root / "parent").write_text(str(os.getpid()))
    begun = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: begun.set())
    try:
        with make(WAIT) as host:
            assert begun.wait(30), "no refresh at the start"
            assert holder(home.schedule_lock) is not None
            child: Any = host._child
            assert child.poll() is None
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert child.poll() == 1
    assert (home.root / "stopped").exists()
    assert holder(home.schedule_lock) is None


def test_one_host_at_a_time(make: Callable[..., Host], home: Home, clock: FakeClock) -> None:
    done(home, clock)
    with make():
        with pytest.raises(Busy, match="a test"), make():
            pytest.fail("hosted twice")
        assert holder(home.schedule_lock) is not None
    with make():
        pass


def test_simulated_prices_have_no_schedule(make: Callable[..., Host], home: Home) -> None:
    with Store.open(home) as store:
        store.set_simulated(True)
    with pytest.raises(StoreError, match="simulated"), make():
        pytest.fail("hosted")
    assert holder(home.schedule_lock) is None


def test_the_job_of_the_evening(make: Callable[..., Host], home: Home, clock: FakeClock) -> None:
    done(home, clock)
    with make() as host:
        job = host._scheduler.get_job("refresh")
        friday = datetime(2025, 4, 11, 18, 31, tzinfo=TAIPEI)
        assert job.trigger.get_next_fire_time(None, friday) == datetime(2025, 4, 12, 18, 30, tzinfo=TAIPEI)
        assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (GRACE.total_seconds(), True, 1)
        look = host._scheduler.get_job("look")
        assert look.func == host.look
        assert look.trigger.interval <= timedelta(minutes=15), "what failed is done again within the hour"


def test_a_program_that_is_not_there_is_tried_again(
    home: Home, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(home, Settings(), "a test", command=(str(Path("/no/such/program")),), now=clock.now)
    host.turn()
    assert "no refresh was possible" in caplog.text
    assert host._retry == clock.now() + timedelta(hours=1)
