"""``stockllm prices`` and ``stockllm imports``: what is stored, what it replaced, and taking it back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar

Run = Callable[..., Any]
DAYS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 4, 30)))


def write(path: Path, price: float, days: tuple[date, ...] = DAYS) -> Path:
    rows = [f"{day},12000,{price},{price + 5},{price},{price}" for day in days]
    path.write_text("\n".join(["date,capacity,open,high,low,close", *rows, ""]))
    return path


@pytest.fixture
def changed(home_dir: Path, tmp_path: Path, run: Run) -> Path:
    """A store whose two last days a second import changed."""
    assert run("import", write(tmp_path / "2330.csv", 1000)).exit_code == 0
    result = run("import", write(tmp_path / "2330_again.csv", 1050, DAYS[-2:]))
    assert result.exit_code == 0, result.stderr
    assert "changed 2" in result.stdout
    return home_dir


def test_a_table_and_a_document(changed: Path, run: Run, document: Run) -> None:
    shown = run("prices", "台積電", "--last", 3).stdout.splitlines()
    assert shown[0].split() == ["Date", "Open", "High", "Low", "Close", "Lots", "Notes"]
    assert shown[-1].split() == [str(DAYS[-1]), "1,050.00", "1,055.00", "1,050.00", "1,050.00", "12"]
    assert len(shown) == 4
    assert len(document("prices", "2330", "--json")["prices"]) == 20
    (last,) = document("prices", "2330", "--last", 1, "--json")["prices"]
    assert (last["close"], last["volume_shares"], last["date"]) == (1050, 12000, str(DAYS[-1]))


def test_files_hold_all_and_come_in_again_unchanged(
    changed: Path, tmp_path: Path, run: Run, document: Run
) -> None:
    out = tmp_path / "2330_out.csv"
    assert run("prices", "2330", "--csv", out).exit_code == 0
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == len(DAYS)
    assert document("import", out, "--json")["kinds"][0]["unchanged"] == len(DAYS)
    out = tmp_path / "out.parquet"
    assert document("prices", "2330", "--parquet", out, "--last", 5, "--json")["rows"] == 5
    assert pq.read_table(out).num_rows == 5
    assert document("import", out, "--json")["kinds"][0]["unchanged"] == 5
    assert not list(tmp_path.glob("*.part"))


def test_older_versions_stay_in_sight_and_come_back(changed: Path, run: Run, document: Run) -> None:
    found = document("prices", "2330", "--revisions", "--json")["revisions"]
    assert [(each["close"], each["now"]["close"]) for each in found] == [(1000, 1050)] * 2
    shown = run("prices", "2330", "--revisions").stdout
    assert "until" in shown
    assert "now" in shown
    assert [each["kind"] for each in document("imports", "list", "--json")] == ["prices", "prices"]
    undone = document("imports", "undo", "--json")
    assert (undone["taken_away"], undone["brought_back"]) == (0, 2)
    assert document("prices", "2330", "--last", 1, "--json")["prices"][0]["close"] == 1000
    assert "2330.csv" in run("imports", "list").stdout
    assert "taken away" in run("imports", "undo").stdout


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("prices", "2330", "--last", "0"), "1 or more", 2),
        (("prices", "2330", "--revisions", "--csv", "x.csv"), "exclude each other", 2),
        (("prices", "2317"), "no prices of 2317", 1),
        (("prices", "2330", "--csv", "/nowhere/x.csv"), "cannot be written", 2),
        (("imports", "undo", "99"), "no import 99", 1),
    ],
)
def test_refusals(
    changed: Path, refused: Callable[..., str], arguments: tuple[str, ...], words: str, code: int
) -> None:
    assert words in refused(*arguments, code=code)


def test_nothing_to_undo(home_dir: Path, refused: Callable[..., str]) -> None:
    with Store.open(Home(home_dir)) as store:
        store.bars.put([Bar("2330", DAYS[0], 100, 100, 100, 100, 1, "x")])
    assert "could be undone" in refused("imports", "undo", code=1)
