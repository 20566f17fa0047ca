"""Two commands at once: the second waits for the first, whatever becomes of that, and says so."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stockllm.data import database
from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.data.waiting import be_brief, be_patient

BAR = Bar("2330", date(2025, 1, 2), 100, 100, 100, 100, 1, "s")

HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 20)


@pytest.fixture
def home(tmp_path: Path, empty_store: Path) -> Home:
    home = Home(tmp_path / "home").ensure()
    home.store.write_bytes(empty_store.read_bytes())
    return home


@pytest.fixture
def first(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(home.store, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_the_second_waits_until_the_first_has_ended(home: Home, first: sqlite3.Connection, kind: str) -> None:
    told: list[str] = []

    def end() -> None:
        told.append("waits")
        first.execute("COMMIT")

    first.execute(f"BEGIN {kind}")
    be_patient(end)
    with Store.open(home) as store:  # opening looks at the tables, which the exclusive one holds up
        assert store.bars.put([BAR]) == (1, 0)
    assert told == ["waits"]


def test_a_reader_that_holds_up_a_commit_is_waited_for(home: Home, first: sqlite3.Connection) -> None:
    with Store.open(home) as store:
        be_patient()
        first.execute("BEGIN")
        first.execute("SELECT count(*) FROM bars").fetchall()
        import threading

        # Ends once the commit has been refused for longer than the usual wait.
        timer = threading.Timer(0.2, lambda: reader.execute("COMMIT"))
        with closing(sqlite3.connect(home.store, isolation_level=None, check_same_thread=False)) as reader:
            first.execute("COMMIT")
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM bars").fetchall()
            timer.start()
            assert store.bars.put([BAR]) == (1, 0)
            timer.join()


def test_a_first_that_is_killed_holds_nothing_up(home: Home) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        be_patient(lambda: os.kill(holder.pid, signal.SIGKILL))
        with Store.open(home) as store:
            assert store.bars.put([BAR]) == (1, 0)


def test_who_may_not_wait_is_told_at_once(home: Home, first: sqlite3.Connection) -> None:
    with Store.open(home) as store:
        be_brief()
        first.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="written by another stockllm"):
            store.bars.put([BAR])


def test_a_command_says_that_it_waits(
    home: Home, first: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stockllm.cli import main

    said: list[str] = []

    def say(sentence: str, *_: Any) -> None:
        said.append(sentence)
        if first.in_transaction:
            first.execute("COMMIT")

    monkeypatch.setattr(main, "say", say)
    monkeypatch.setenv("STOCKLLM_HOME", str(home.root))
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "en")
    prices = tmp_path / "2330.csv"
    prices.write_text("date,open,high,low,close,volume\n2025-01-02,100,101,99,100,1000\n")
    first.execute("BEGIN IMMEDIATE")
    assert CliRunner().invoke(main.app, ["import", str(prices)]).exit_code == 0
    assert said == ["Another stockllm is writing the store; this one goes on when that has ended ..."]
    with Store.open(home) as store:
        assert store.bars.count() == 1
