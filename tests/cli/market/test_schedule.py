"""``stockllm schedule``: the daemon as a process, and what the other commands show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from standin import GeneratedMarket, StandIn

from stockllm.collectors.clock import SystemClock, today
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.nightly.lock import hold, holder

TAIPEI = timezone(timedelta(hours=8))
TODAY = today(SystemClock())


def test_the_daemon_catches_up_and_ends_on_sigterm(home_dir: Path) -> None:
    market = GeneratedMarket(TODAY - timedelta(days=40), TODAY + timedelta(days=5))
    begun = threading.Event()
    with StandIn(market, SystemClock()) as site:
        given = site.settings()
        variables = {
            f"STOCKLLM_{n.upper()}": getattr(given, n) for n in Settings.model_fields if n.endswith("_url")
        }
        variables |= {
            "STOCKLLM_HOME": str(home_dir),
            "STOCKLLM_LANGUAGE": "en",
            "STOCKLLM_FEWEST_SHARES": "1",
        }

        def hang() -> str:
            begun.set()
            return "hang"

        site.choose = hang
        clean = {name: value for name, value in os.environ.items() if not name.startswith("STOCKLLM_")}
        daemon = subprocess.Popen(
            [sys.executable, "-m", "stockllm.cli.main", "schedule", "run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean | variables,
        )
        assert begun.wait(60), "no refresh was begun at the start"
        home = Home(home_dir)
        refreshing = holder(home.refresh_lock)
        assert refreshing is not None
        assert refreshing.pid != daemon.pid, "a refresh has a process of its own"
        second = subprocess.run(
            [sys.executable, "-m", "stockllm.cli.main", "schedule", "run"],
            capture_output=True,
            text=True,
            env=clean | variables,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert f"stockllm schedule run (process {daemon.pid}" in second.stderr
        daemon.send_signal(signal.SIGTERM)
        _, err = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, err
    assert "Traceback" not in err
    assert err.startswith("On schedule; next refresh ")
    assert holder(home.schedule_lock) is None
    assert holder(home.refresh_lock) is None
    with Store.open(home) as store:
        (row,) = store.refreshes.list()
    assert (row.outcome, row.pid) == ("stopped", refreshing.pid)
    log = (home.logs / "schedule.log").read_text("utf-8")
    assert "starts" in log
    assert "the refresh was stopped" in log


def test_status(document: Callable[..., Any], run: Callable[..., Any], home_dir: Path) -> None:
    home = Home(home_dir)
    started = datetime(2025, 4, 8, 18, 30, tzinfo=TAIPEI)
    with Store.open(home) as store:
        id = store.refreshes.begin(date(2025, 4, 8), started, 1)
        store.refreshes.start(id, "prices", started)
        said: dict[str, Any] = {"zh": "一項", "en": "One job.", "notes": [("壞", "bad")]}
        ended = started + timedelta(seconds=75)
        store.refreshes.finish(id, "prices", "partial", ended, counts={"done": 1}, **said)
        store.refreshes.start(id, "news", started)
        store.refreshes.bury()
    with hold(home.schedule_lock, "the dashboard"):
        status = document("schedule", "status", "--json")
        text = run("schedule", "status").stdout
    assert status["host"]["who"] == "the dashboard"
    assert status["host"]["pid"] == os.getpid()
    assert status["refreshing"] is None
    assert (
        datetime.fromisoformat(status["missed"])
        < datetime.now(TAIPEI)
        < datetime.fromisoformat(status["next"])
    )
    (refresh,) = status["refreshes"]
    assert (refresh["outcome"], refresh["ended"]) == ("died", None)
    assert refresh["steps"][0]["seconds"] == 75
    assert refresh["steps"][0]["notes_en"] == ["bad"]
    assert f"Hosted by: the dashboard ({os.getpid()})" in text
    assert "has not been done" in text
    assert "Last refresh: 2025-04-08 18:30  died  -" in text
    assert "prices  partial  1 min 15 s  One job." in text


def test_health_tells_of_the_last_refresh_and_of_what_is_missing(
    document: Callable[..., Any], run: Callable[..., Any], home_dir: Path
) -> None:
    from stockllm.data.records import Bar

    with Store.open(Home(home_dir)) as store:
        store.bars.put([Bar("2330", TODAY - timedelta(days=30), 1000, 1000, 1000, 1000, 1000, "x")])
        id = store.refreshes.begin(date(2025, 4, 8), datetime(2025, 4, 8, 18, 30, tzinfo=TAIPEI), 1)
        store.refreshes.start(id, "prices", datetime(2025, 4, 8, 18, 30, tzinfo=TAIPEI))
    health = document("health", "--json")
    assert health["refresh"]["evening"] == "2025-04-08"
    (company,) = health["companies"]
    (spell,) = company["missing"]
    assert (spell["days"], spell["why"]) == (company["stale_days"], "not_asked")
    text = run("health").stdout
    assert "Days that are missing, and why:" in text
    assert f"({spell['days']}) not asked for yet" in text
    assert "Last refresh: 2025-04-08 18:30, running" in text
    assert "prices: running" in text


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A crontab of the test's own, and no systemd."""
    folder, table = tmp_path / "bin", tmp_path / "table"
    folder.mkdir()
    program = folder / "crontab"
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" != -l ]; then /bin/cat > {table}; exit; fi\n'
        f"[ -f {table} ] && exec /bin/cat {table}\n"
        "echo no crontab >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return table


def test_install_shows_asks_and_writes(
    run: Callable[..., Any], crontab: Path, home_dir: Path, document: Callable[..., Any]
) -> None:
    from typer.testing import CliRunner

    from stockllm.cli.main import app

    declined = CliRunner().invoke(app, ["schedule", "install"], input="n\n")
    assert declined.exit_code == 1
    assert "Nothing was written." in declined.stderr
    assert "input ended" not in declined.stderr
    assert "stockllm.cli.main refresh" in declined.stdout
    assert not crontab.exists()
    unanswered = run("schedule", "install")
    assert unanswered.exit_code == 1
    assert not crontab.exists()
    assert run("schedule", "install", "--yes").exit_code == 0
    assert f"STOCKLLM_HOME={home_dir}" in crontab.read_text()
    assert document("schedule", "status", "--json")["installed"] == ["cron"]
    assert run("schedule", "uninstall").stdout == "Removed: cron\n"
    assert crontab.read_text() == ""
    assert run("schedule", "uninstall").stdout == "Nothing was installed.\n"


def test_install_on_a_machine_with_nothing(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "schedule run" in refused("schedule", "install", code=1)
    assert "systemd or cron" in refused("schedule", "install", "--with", "at")


def test_the_document_is_json(document: Callable[..., Any], home_dir: Path) -> None:
    Store.open(Home(home_dir)).close()
    status = document("schedule", "status", "--json")
    assert json.dumps(status)
    assert (status["host"], status["refreshes"], status["at"]) == (None, [], "18:30")
