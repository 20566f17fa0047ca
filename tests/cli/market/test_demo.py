"""``stockllm demo``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stockllm.cli.market import demo as demo_module
from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home
from stockllm.data.store import Store


def test_makes_a_flagged_store_of_its_own(document: Callable[..., Any], home_dir: Path) -> None:
    made = document("demo", "--sessions", 20, "--end", "2026-03-31", "--json")
    assert made == {
        "simulated": True,
        "home": str(home_dir / "demo"),
        "companies": 41,
        "bars": made["bars"],
        "first": "2026-03-04",
        "last": "2026-03-31",
        "world": {"symbols": ["SOX", "SPX", "TSM"], "nights": 21, "until": "2026-04-01", "flows": 41},
        "created": True,
    }
    assert 41 * 20 - 20 < made["bars"] <= 41 * 20
    assert not (home_dir / "store.sqlite").exists()
    with Store.open(Home(home_dir / "demo"), create=False) as store:
        assert store.simulated


def test_keeps_what_is_there_unless_reset(run: Callable[..., Any], document: Callable[..., Any]) -> None:
    first = run("demo", "--sessions", 5, "--end", "2026-03-31")
    assert first.exit_code == 0
    assert first.stdout.startswith("SIMULATED 模擬資料")
    again = run("demo", "--sessions", 6, "--end", "2026-03-31")
    assert again.exit_code == 0
    assert "--reset" in again.stderr
    assert "Kept" in again.stdout
    assert document("demo", "--json")["bars"] <= 41 * 5
    assert document("demo", "--reset", "--sessions", 6, "--end", "2026-03-31", "--json")["created"] is True
    assert document("demo", "--json")["bars"] > 41 * 5


def test_says_what_world_moves_it(run: Callable[..., Any], home_dir: Path) -> None:
    made = run("demo", "--sessions", 5, "--end", "2026-03-31")
    assert "SOX, SPX, TSM and TX by day and night, to the morning of 2026-04-01" in made.stdout
    assert "41 companies" in made.stdout
    with Store.open(Home(home_dir / "demo"), create=False) as store:
        assert len(store.flows.codes()) == 41


def test_an_older_demo_has_no_world_and_says_how_to_get_one(
    run: Callable[..., Any], home_dir: Path, small_market: SimulatedMarket
) -> None:
    from stockllm.collectors.simulated import write

    write(replace(small_market, world=None), Home(home_dir / "demo"))
    assert "No world moves it" in run("demo").stdout


def test_leaves_the_night_for_a_morning(
    document: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document("demo", "--sessions", 120, "--json")  # up to today, on the machine's own clock
    monkeypatch.setenv("STOCKLLM_HOME", str(home_dir / "demo"))
    asked = ("forecast", "2330", "--model", "ewma+world", "--paths", 19, "--moment", "morning", "--json")
    (made,) = document(*asked)
    assert made["moment"] == "morning"
    assert made["knows"] == ["prices", "TX night", "SOX", "SPX", "TSM"]
    assert made["known_until"] == f"{made['candles'][0]['date']}T08:59:00+08:00"


def test_a_home_that_is_the_demo_gets_no_demo_inside(
    document: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document("demo", "--sessions", 5, "--json")
    monkeypatch.setenv("STOCKLLM_HOME", str(home_dir / "demo"))
    assert document("demo", "--json")["home"] == str(home_dir / "demo")


def test_ends_after_taipeis_last_session(
    document: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import datetime

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2026, 3, 31, hour, 0, tzinfo=tz)

    monkeypatch.setattr(demo_module, "datetime", Clock)
    hour = 13
    assert demo_module._last_day("") == date(2026, 3, 30)
    hour = 14
    assert demo_module._last_day("") == date(2026, 3, 31)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--end", "yesterday"], "yesterday"),
        (["--end", "2035-01-02"], "2030"),
        (["--sessions", "0"], "--sessions"),
        (["--sessions", "99999"], "or fewer"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_wrong_usage_leaves_nothing(
    arguments: list[str], said: str, refused: Callable[..., str], home_dir: Path
) -> None:
    assert said in refused("demo", *arguments)
    assert not (home_dir / "demo").exists()


def test_a_home_that_cannot_be_made_is_one_sentence(refused: Callable[..., str], home_dir: Path) -> None:
    home_dir.write_text("a file where the folder belongs")
    assert "STOCKLLM_HOME" in refused("demo", "--sessions", 2, code=1)


def test_real_prices_are_never_replaced(
    refused: Callable[..., str], home_dir: Path, small_market: SimulatedMarket
) -> None:
    home = Home(home_dir / "demo")
    with Store.open(home) as store:
        store.bars.put([replace(small_market.bars[0], source="exchange")])
    assert "not simulated" in refused("demo", "--sessions", 2, "--reset", code=1)
    assert "no demo store" in refused("demo", "--sessions", 2, code=1)
    with Store.open(home, create=False) as store:
        assert store.bars.count() == 1


def test_a_file_that_is_no_store_is_kept_beside_the_new_one(
    run: Callable[..., Any], refused: Callable[..., str], home_dir: Path
) -> None:
    home = Home(home_dir / "demo").ensure()
    home.store.write_text("not a database" * 100)
    assert "store.sqlite" in refused("demo", code=1)
    result = run("demo", "--reset", "--sessions", 3)
    assert result.exit_code == 0, result.stderr
    assert "store.unreadable" in result.stderr
    assert (home.root / "store.unreadable").read_text().startswith("not a database")
