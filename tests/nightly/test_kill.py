"""Killed with SIGKILL at any moment, the next refresh completes, and nothing is lost or doubled.

Beside the home whose refreshes are killed stands another whose refreshes are not: in the end of
every evening both hold the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from standin import MEMORY, FakeClock, GeneratedMarket, StandIn
from standin.checks import bars_of

from stockllm.data.paths import Home
from stockllm.data.store import Store

START, FIRST = date(2025, 2, 3), date(2025, 3, 27)
KILLS = 50
MARKET = GeneratedMarket(START, date(2025, 5, 29), typhoons=frozenset({date(2025, 4, 1)}), seed=8)
TESTS = Path(__file__).resolve().parents[1]

#: What must be equal in both homes: all that a refresh brings in, but for moments of the real clock.
TABLES = {
    "bars": "code, date, open, high, low, close, volume, value, trades, reference, flags",
    "ex_rights": "code, date, kind, close_before, reference, basis, limit_up, limit_down",
    "articles": "url_key, title, published_at, language",
    "article_companies": "code, (SELECT url_key FROM articles WHERE id = article)",
    "quarantine": "code, date, reason, raw",
    "collected": "what, subject, period, state, through",
    "schedule": "date, open, name",
    "forecasts": "key",
    "current_forecasts": "code, (SELECT key FROM forecasts WHERE id = forecast_id)",
    "forecast_scores": "(SELECT key FROM forecasts WHERE id = forecast), day, crps, actual",
    "signals": "code, as_of, rule, action, reason_en",
    "news_turns": "code, language, outcome, newest",
}


def content(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(home / "store.sqlite")) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {columns} FROM {table}"), key=repr)
            for table, columns in TABLES.items()
        }


class Driver:
    """The program that forks refreshes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STOCKLLM_")}
        self._settings = settings
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "nightly" / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        )

    def refresh(self, home: Path, moment: datetime, kill_at: int | None = None) -> dict[str, Any]:
        order = {"home": str(home), "moment": moment.isoformat(), "kill_at": kill_at}
        order |= {"settings": self._settings, "codes": [c.code for c in MARKET.companies]}  # type: ignore[dict-item]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


@contextmanager
def driver(site: StandIn) -> Iterator[Driver]:
    given = site.settings(fewest_shares=2, model="ewma", prices_from=START).model_dump(mode="json")
    running = Driver(given | {"newsapi_key": "a-key"})
    try:
        yield running
    finally:
        running.close()


def test_killed_at_fifty_moments(capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(50)
    clock = FakeClock(datetime.combine(FIRST, time(18, 0)))
    kills = 0
    places: list[float] = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, StandIn(MARKET, clock) as site:
        killed, spared = (Path(folder) / name for name in ("killed", "spared"))
        site.allowance = 10_000  # both homes use one key here
        with driver(site) as drive:
            evening = FIRST
            while kills < KILLS:
                clock.set(datetime.combine(evening, time(18, 30)))
                whole = drive.refresh(spared, clock.now())
                assert (whole["status"], whole["outcome"]) == (0, "ok")
                for attempt in range(1, 7):
                    clock.set(datetime.combine(evening, time(18, 30)) + timedelta(minutes=15 * attempt))
                    at = draw.randint(1, whole["moments"]) if attempt < 6 and kills < KILLS else None
                    done = drive.refresh(killed, clock.now(), at)
                    if done["status"] == 0:
                        break
                    assert done["status"] == -signal.SIGKILL
                    kills += 1
                    places.append(at / whole["moments"])  # type: ignore[operator]
                assert (done["status"], done["outcome"]) == (0, "ok")
                ours, theirs = content(killed), content(spared)
                for table in TABLES:
                    assert ours[table] == theirs[table], (evening, table)
                evening += timedelta(days=1 if evening.weekday() < 4 else 3)
        with Store.open(Home(killed)) as store:
            assert bars_of(store, MARKET) == [b for b in MARKET.bars(until=clock.now()) if b.date >= START]
            rows = store.refreshes.list(limit=1000)
            assert {row.outcome for row in rows} == {"ok", "died"}
            died = [row for row in rows if row.outcome == "died"]
            assert KILLS * 0.8 < len(died) <= KILLS  # some died before they had begun
            assert all(row.ended is None for row in died)
            steps = {step.step for row in died for step in row.steps if step.outcome == "died"}
            assert len(steps) >= 5, "the kills fell into few steps"
            assert max(places) > 0.8
            assert min(places) < 0.1
    with capsys.disabled():
        print(f"\n{kills} kills on {len(rows) - len(died)} evenings, in {', '.join(sorted(steps))}")
