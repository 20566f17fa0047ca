"""``stockllm refresh``, as the process a user starts, against the stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standin import GeneratedMarket, StandIn
from standin.checks import bars_of

from stockllm.collectors.clock import SystemClock, today
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES
from stockllm.nightly.lock import hold

TODAY = today(SystemClock())
START = TODAY - timedelta(days=50)


@pytest.fixture(scope="module")
def site() -> Iterator[StandIn]:
    """All 41 companies around the present day: the command lives by the machine's own clock."""
    market = GeneratedMarket(START, TODAY + timedelta(days=5), companies=COMPANIES, seed=4)
    with StandIn(market, SystemClock()) as site:
        yield site


@pytest.fixture
def environment(site: StandIn, home_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that send ``stockllm`` to the stand-in, here and in processes of their own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"STOCKLLM_{name.upper()}", raising=False)
    given = site.settings()
    variables = {name: str(getattr(given, name)) for name in Settings.model_fields if name.endswith("_url")}
    variables |= {"fewest_shares": "5", "request_interval": "0", "model": "ewma", "language": "en"}
    variables |= {"prices_from": START.isoformat()}
    for name, value in variables.items():
        monkeypatch.setenv(f"STOCKLLM_{name.upper()}", value)
    return dict(os.environ)


def command(*arguments: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stockllm.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def at_request(site: StandIn, number: int, do: Callable[[], None]) -> None:
    """``do`` when the stand-in has got its ``number``-th request from here on, before it answers."""
    left = [number]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            do()

    site.choose = count


def test_killed_and_run_again(site: StandIn, environment: dict[str, str], home_dir: Path) -> None:
    process: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def kill() -> None:
        started.wait(30)
        process[0].send_signal(signal.SIGKILL)

    at_request(site, 25, kill)
    process.append(command("refresh", environment=environment))
    started.set()
    process[0].communicate(timeout=60)
    assert process[0].returncode == -signal.SIGKILL
    site.choose = None
    seen = len(site.seen)

    again = command("refresh", "--json", environment=environment)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    document = json.loads(out)
    assert (document["outcome"], document["repaired"]) == ("ok", 1)
    assert {step["step"]: step["outcome"] for step in document["steps"]}["news"] == "skipped"
    assert err.startswith("Refresh for the evening of ")
    assert "An earlier refresh had died on the way" in err
    with Store.open(Home(home_dir)) as store:
        evening = date.fromisoformat(document["evening"])
        truth = [bar for bar in site.market.bars(until=datetime.now(UTC)) if bar.date <= evening]
        assert [bar for bar in bars_of(store, site.market) if bar.date <= evening] == truth
        assert [row.outcome for row in store.refreshes.list()] == ["ok", "died"]
        assert len(store.ledger.list()) == len({row.code for row in store.ledger.list()}) == 41
        asked = [one.what for one in store.requests.log(limit=10_000) if one.outcome in ("ok", "no_data")]
        assert len(asked) == len(set(asked)), "something was asked for twice"
    assert len(site.seen) - seen == sum(step["counts"]["requests"] for step in document["steps"])


def test_sigterm_stops_it_between_two_writes(
    site: StandIn, environment: dict[str, str], home_dir: Path
) -> None:
    process: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def stop() -> None:
        started.wait(30)
        process[0].send_signal(signal.SIGTERM)

    at_request(site, 12, stop)
    process.append(command("refresh", environment=environment))
    started.set()
    _, err = process[0].communicate(timeout=60)
    site.choose = None
    assert process[0].returncode == 1
    assert err.splitlines()[-1].startswith("stockllm: Stopped")
    assert "Traceback" not in err
    with Store.open(Home(home_dir)) as store:
        (row,) = store.refreshes.list()
    assert (row.outcome, row.steps[-1].outcome) == ("stopped", "stopped")


def test_the_plan_alone(
    run: Callable[..., Any], document: Callable[..., Any], environment: dict[str, str], site: StandIn
) -> None:
    seen = len(site.seen)
    plan = document("refresh", "--dry-run", "--json")
    assert plan["since"] == START.isoformat()
    assert plan["requests"]["news"] == 0
    assert plan["prices"]["requests"] == plan["requests"]["prices"] + plan["requests"]["gaps"]
    result = run("refresh", "--dry-run")
    assert result.stdout.startswith("Refresh for the evening of ")
    assert "Prices of 41 companies" in result.stdout
    assert result.stderr == ""
    assert len(site.seen) == seen


def test_steps_are_told_one_by_one(run: Callable[..., Any], environment: dict[str, str]) -> None:
    result = run("refresh", "--only", "signals, calendar,news", "--since", f"{TODAY}")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["calendar", "ok"],
        ["news", "skipped"],
        ["signals", "failed"],
    ]
    assert "2330 TSMC: it has no prices" in result.stderr or "more in logs/refresh.log" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("stockllm: Not everything could be done (signals)")


def test_news_that_outlast_the_day_are_no_failure(
    run: Callable[..., Any], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_NEWSAPI_KEY", "a-key")
    monkeypatch.setenv("STOCKLLM_NEWSAPI_REQUESTS_PER_DAY", "3")
    result = run("refresh", "--only", "news")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("news  partial  ")
    assert "79 left for the next run" in result.stdout
    assert "NewsAPI allows 3 requests in 24 h" in result.stderr


def test_the_log_names_every_fault(
    run: Callable[..., Any], environment: dict[str, str], site: StandIn, home_dir: Path
) -> None:
    site.order("500", "truncated", route="holidaySchedule")
    assert run("refresh", "--only", "calendar").exit_code == 0
    log = (home_dir / "logs" / "refresh.log").read_text("utf-8")
    assert "HTTP 500" in log
    assert "cut short" in log
    assert "calendar ok" in log


def test_what_is_wrong_is_one_sentence(
    refused: Callable[..., str], environment: dict[str, str], home_dir: Path
) -> None:
    assert "no step supper" in refused("refresh", "--only", "supper")
    assert "names no step" in refused("refresh", "--only", " ,")
    assert "is no date" in refused("refresh", "--since", "yesterday")
    assert f"up to today, {TODAY}" in refused("refresh", "--since", f"{TODAY + timedelta(days=1)}")
    with hold(Home(home_dir).ensure().refresh_lock, "another refresh"):
        assert f"another refresh (process {os.getpid()}, since" in refused("refresh", code=1)


def test_a_simulated_store_is_refused(
    refused: Callable[..., str], environment: dict[str, str], simulated_home: Home, site: StandIn
) -> None:
    seen = len(site.seen)
    assert "simulated" in refused("refresh", code=1)
    assert len(site.seen) == seen


def test_a_forecast_by_hand_goes_on_and_says_what_is_missing(
    run: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Lunar New Year lies as far behind as data that are called old.
    monkeypatch.setattr("stockllm.forecaster.forecast.STALE_AFTER", timedelta(days=60))
    with Store.open(Home(home_dir)) as store:
        sessions = list(store.calendar().sessions(TODAY - timedelta(days=90), TODAY - timedelta(days=1)))
        last = sessions[-3]
        store.bars.put(Bar("2330", day, 1000, 1000, 1000, 1000, 1000, "x") for day in sessions[:-2])
    result = run("forecast", "2330", "--model", "ewma", "--paths", 9)
    assert result.exit_code == 0
    told = [line for line in result.stderr.splitlines() if "missing" in line]
    assert len(told) == 1
    assert told[0].startswith("stockllm: 2330 TSMC: ")
    assert f"{sessions[-2]}" in told[0]
    assert told[0].endswith(f"; the forecast goes on from {last}.")
    assert "missing" not in run("forecast", "2330", "--model", "ewma", "--as-of", last).stderr
