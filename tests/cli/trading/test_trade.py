"""``stockllm trade``, ``portfolio``, ``orders`` and ``cancel`` on a replay of the simulated market."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stockllm.cli.main import app
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.data.stores.sent_orders import SentOrder
from stockllm.trading.exchange.exchange import Exchange

Document = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture
def evening(simulated_home: Home) -> str:
    """A replay's evening, ten sessions before the end, with the account ``me``."""
    with Store.open(simulated_home) as store:
        days = store.bars.days(store.bars.codes()[0])
        exchange = Exchange.open(store, "past", evening=days[-11])
        exchange.add_account("me", "hash", cash=100_000_000)
    return days[-11].isoformat()


def books(home: Home) -> list[str]:
    """Everything in the store."""
    with closing(sqlite3.connect(home.store)) as connection:
        return list(connection.iterdump())


def test_an_evening_from_plan_to_holdings(
    document: Document, run: Callable[..., Result], simulated_home: Home, evening: str
) -> None:
    before = books(simulated_home)
    asked = ("trade", "--strategy", "four-points", "--json")
    plan = document(*asked, "--dry-run")
    assert books(simulated_home) == before
    assert (plan["evening"], plan["account"], plan["sent"]) == (evening, "me", [])
    wanted = [order for each in plan["decisions"] for order in each["orders"]]
    assert wanted
    assert all(each["reason_zh"] and each["reason_en"] for each in plan["decisions"])

    done = document(*asked, "--yes")
    assert [each["state"] for each in done["sent"]] == ["open"] * len(wanted)
    assert [{k: each[k] for k in wanted[0]} for each in done["sent"]] == wanted
    listed = document("orders", "--open", "--json")
    assert [each["id"] for each in listed] == [each["id"] for each in done["sent"]][::-1]
    # Once more: what is on its way is not ordered again.
    again = document(*asked, "--yes")
    assert again["sent"] == []
    assert sum(each["why"] == "pending" for each in again["decisions"]) == len(wanted)

    (gone,) = document("cancel", str(listed[0]["id"]), "--json")["cancelled"]
    assert gone["state"] == "cancelled"
    assert len(document("orders", "--open", "--json")) == len(wanted) - 1
    run("exchange", "advance", "--exchange", "past")
    assert document("orders", "--open", "--json") == []
    filled = sum(each["state"] == "filled" for each in document("orders", "--json"))
    shown = document("portfolio", "--json")
    assert len(shown["holdings"]) == filled > 0
    assert shown["equity"] == shown["free"] + sum(each["worth"] for each in shown["holdings"])
    assert run("portfolio").exit_code == 0


def test_the_question(simulated_home: Home, evening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    before = books(simulated_home)
    no = CliRunner().invoke(app, ["trade", "--strategy", "hold"], input="n\n")
    assert no.exit_code == 0
    assert "沒有送出" in no.stderr
    assert "買進並持有。" in no.stdout
    silent = CliRunner().invoke(app, ["trade", "--strategy", "hold"], input="")
    assert silent.exit_code == 1
    assert books(simulated_home) == before
    assert CliRunner().invoke(app, ["trade", "--strategy", "hold"], input="y\n").exit_code == 0
    assert books(simulated_home) != before


def test_forecasts_of_the_evening_are_asked_for(
    document: Document, refused: Refused, run: Callable[..., Result], evening: str
) -> None:
    sentence = refused("trade", "--strategy", "mean", "--dry-run", "2330", code=1)
    assert f"forecast --all --as-of {evening}" in sentence
    made = run("forecast", "2330", "--as-of", evening, "--model", "ewma", "--paths", "9")
    assert made.exit_code == 0
    plan = document("trade", "--strategy", "mean", "--min-edge", "off", "--dry-run", "--json", "2330", "2317")
    reasons = {each["code"]: each["reason_en"] for each in plan["decisions"]}
    assert "forecast closes" in reasons["2330"]
    assert "no forecast" in reasons["2317"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("trade", "--strategy", "martingale", "--dry-run"), "no strategy 'martingale'"),
        (("trade", "--json"), "--yes to send"),
        (("trade", "--account", "nobody", "--dry-run"), "name one of me"),
        (("trade", "--broker", "other", "--dry-run"), "local or ncku"),
        (("trade", "--stop", "0", "--dry-run"), "above 0"),
        (("trade", "--position-cap", "much", "--dry-run"), "'much' is no part"),
        (("trade", "--cash-floor", "-0.2", "--dry-run"), "from 0 to 1"),
        (("trade", "--broker", "ncku", "--account", "me", "--dry-run"), "STOCKLLM_NCKU_PASSWORD"),
        (("cancel",), "--all"),
        (("cancel", "3", "--all"), "--all"),
        (("cancel", "three"), "no whole number"),
    ],
)
def test_what_cannot_be_asked(
    refused: Refused, simulated_home: Home, evening: str, arguments: tuple[str, ...], part: str
) -> None:
    before = books(simulated_home)
    assert part in refused(*arguments)
    assert books(simulated_home) == before


def test_no_account_and_no_such_order(
    refused: Refused, run: Callable[..., Result], simulated_home: Home
) -> None:
    assert "exchange account add" in refused("trade", "--dry-run")
    with Store.open(simulated_home) as store:
        day = store.bars.days(store.bars.codes()[0])[-5]
        Exchange.open(store, "past", evening=day).add_account("empty", "hash", cash=0)
    for id in ("77", str(10**30)):
        assert f"no open order {id}" in refused("cancel", id, code=1)
    result = run("trade", "--strategy", "hold", "--yes")
    assert result.exit_code == 0
    assert "nothing to order" in result.stdout
    assert "No orders" in run("orders").stdout
    assert "No shares" in run("portfolio").stdout


def test_an_unreachable_server_changes_nothing(
    refused: Refused, simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_NCKU_PASSWORD", "secret-word")
    monkeypatch.setenv("STOCKLLM_NCKU_URL", "http://127.0.0.1:9/stock")
    monkeypatch.setattr("stockllm.collectors.clock.SystemClock.sleep", lambda *_: None)
    before = books(simulated_home)
    for command in ("portfolio", "trade"):
        asked = (command, "--broker", "ncku", "--account", "me", *(["--dry-run"] * (command == "trade")))
        sentence = refused(*asked, code=1)
        assert "secret-word" not in sentence
    assert books(simulated_home) == before


def test_a_persons_word_for_an_order_elsewhere(
    document: Document, refused: Refused, simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_NCKU_PASSWORD", "secret-word")
    monkeypatch.setenv("STOCKLLM_NCKU_URL", "http://127.0.0.1:9/stock")
    at = datetime(2026, 3, 30, 20, tzinfo=UTC)
    with Store.open(simulated_home) as store:
        id = store.sent_orders.begin(
            SentOrder(
                0, "http://127.0.0.1:9/stock", "me", "2330", "buy", 1000, 90_000, date(2026, 3, 31), 0,
                "unknown", "", at,
            )
        )  # fmt: skip
    mine = ("orders", "--broker", "ncku", "--account", "me")
    assert document(*mine, "--json")[0]["state"] == "unknown"
    for wrong in (f"{id}=open", f"{id}", "x=filled"):
        refused(*mine, "--settle", wrong)
    refused(*mine, "--settle", f"{id + 1}=filled", code=1)
    assert document(*mine, "--settle", f"{id}=expired", "--json")[0]["state"] == "expired"
    refused(*mine, "--settle", f"{id}=filled", code=1)
