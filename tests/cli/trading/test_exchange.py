"""``stockllm exchange``: opening, accounts, sessions, the server, and each refusal's one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from stockllm.cli.main import app
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order

Document = Callable[..., Any]
Refused = Callable[..., str]
START = "2026-02-02"


def add(name: str, *more: str, password: str = "a long password") -> Any:
    command = ["exchange", "account", "add", name, "--password-stdin", "--json", *more]
    return CliRunner().invoke(app, command, input=password + "\n")


@pytest.fixture
def past(simulated_home: Home, document: Document) -> Home:
    """A replay named past, with an account."""
    assert document("exchange", "open", "past", "--from", START, "--json")["day"] == START
    assert add("me", "--exchange", "past", "--discount", "0.6", "--cash", "5000000").exit_code == 0
    return simulated_home


def test_a_replay_step_by_step(past: Home, document: Document, run: Any) -> None:
    with Store.open(past) as store:
        exchange = Exchange(store, "past")
        session = exchange.next_session()
        code = next(c for c in store.bars.codes() if store.bars.bars(c, session, session))
        (bar,) = store.bars.bars(code, session, session)
        exchange.place("me", Order(code, "buy", 1, bar.low))
    done = document("exchange", "advance", "--exchange", "past", "--json")
    assert done["sessions"][0]["filled"] == 1
    (account,) = document("exchange", "account", "list", "--json")
    assert (account["account"], account["exchange"], account["discount"]) == ("me", "past", "0.6")
    assert account["equity"] == account["free"] + account["shares"]
    assert document("exchange", "check", "--exchange", "past", "--json") == {
        "exchange": "past",
        "problems": [],
    }
    trail = document("exchange", "audit", "--exchange", "past", "--json")
    assert [line["what"] for line in trail] == ["session", "order", "account", "exchange"]
    again = document("exchange", "advance", "--exchange", "past", "--to", done["day"], "--json")
    assert again["sessions"] == []
    shown = run("exchange", "replay", "past", "--to", "2026-02-06")
    assert shown.exit_code == 0
    assert shown.stdout.count("0 filled") == 3
    assert "SIMULATED" in shown.stdout
    (row,) = document("exchange", "list", "--json")
    assert (row["name"], row["mode"], row["day"], row["accounts"]) == ("past", "replay", "2026-02-06", 1)


def test_the_live_exchange_opens_with_its_first_account(simulated_home: Home, document: Document) -> None:
    assert add("me").exit_code == 0
    assert [row["name"] for row in document("exchange", "list", "--json")] == ["live"]


def test_a_refused_account_opens_no_exchange(simulated_home: Home, document: Document) -> None:
    for more in (("--discount", "5"), ("--cash", "-1")):
        assert add("me", *more).exit_code == 2
    assert document("exchange", "list", "--json") == []


def test_a_password_is_never_typed_where_it_would_show(simulated_home: Home) -> None:
    command = [sys.executable, "-m", "stockllm.cli.main", "exchange", "account", "add", "me"]
    environment = os.environ | {"STOCKLLM_HOME": str(simulated_home.root)}
    done = subprocess.run(
        command,
        env=environment,
        input="a long password\n" * 2,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # without a terminal at all
    )
    assert (done.returncode, done.stdout) == (2, "")
    question, sentence = done.stderr.splitlines()
    assert sentence.startswith("stockllm: 沒有終端機")
    assert "Warning" not in question


def test_words_on_a_screen(past: Home, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, word in (("list", "past"), ("check", "The books agree"), ("audit", "cash=5000000")):
        shown = run("exchange", command, *([] if command == "list" else ["--exchange", "past"]))
        assert word in shown.stdout
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    assert "帳目相符" in run("exchange", "check", "--exchange", "past").stdout
    assert "可用現金" in run("exchange", "account", "list").stdout


def test_a_password_is_changed(past: Home, run: Any) -> None:
    with Store.open(past) as store, store.books.read() as books:
        before = books.account("me")
    command = ["exchange", "account", "password", "me", "--password-stdin"]
    assert CliRunner().invoke(app, command, input="another password\n").exit_code == 0
    with Store.open(past) as store, store.books.read() as books:
        after = books.account("me")
    assert before
    assert after
    assert before.password != after.password


REFUSALS = [
    ("open x", "A replay needs --from"),
    ("open live --from 2026-02-02", "A replay needs --from"),
    ("open past --from 2026-02-02", "already"),
    ("open x --from 2030-01-01", "A replay begins on an evening before"),
    ("open x --from tomorrow", "is no date"),
    ("open ../x --from 2026-02-02", "cannot be a name"),
    ("open x --from 2026-02-02 --hours night", "There are no hours"),
    ("open x --from 2026-02-02 --off-tick guess", "--off-tick is refuse or round"),
    ("advance", "There is no exchange 'live'"),
    ("advance --exchange past --to never", "is no date"),
    ("check --exchange nothing", "There is no exchange 'nothing'"),
    ("serve", "There is no exchange 'live'"),
    ("serve --exchange past --port 70000", "65535"),
    ("serve --exchange past --host 203.0.113.1", "cannot be used"),
    ("account add a/b", "cannot be a name"),
    ("account add you --cash much", "is no whole number"),
    ("account add you --discount cheap", "is no discount"),
    ("account add you --discount NaN", "is no discount"),
    ("account add me", "already"),
    ("account password nobody", "There is no account"),
]


def test_refusals(past: Home, refused: Refused) -> None:
    for command, sentence in REFUSALS:
        assert sentence in refused("exchange", *command.split()), command


def test_passwords_and_sums_out_of_range(past: Home) -> None:
    for more, password, sentence in (
        ((), "short", "8 to 128 characters"),
        ((), "", "8 to 128 characters"),
        (("--cash", "-5"), "a long password", "cannot open an account"),
        (("--discount", "1.5"), "a long password", "A discount of 1.5"),
    ):
        result = add("you", "--exchange", "past", *more, password=password)
        assert (result.exit_code, result.stdout) == (2, "")
        assert sentence in result.stderr


def test_a_replay_that_is_over_fails(past: Home, refused: Refused, document: Document, run: Any) -> None:
    shown = run("exchange", "advance", "--exchange", "past", "--to", "2026-04-30")
    assert shown.exit_code == 1
    assert "2026-03-31 0 filled" in shown.stdout, "what was matched before is told"
    document("exchange", "advance", "--exchange", "past", "--to", "2026-03-31", "--json")
    assert "the replay is over" in refused("exchange", "advance", "--exchange", "past", code=1)


def test_the_server_from_start_to_end(past: Home) -> None:
    command = [sys.executable, "-m", "stockllm.cli.main", "exchange", "serve", "--exchange", "past"]
    environment = os.environ | {"STOCKLLM_HOME": str(past.root), "STOCKLLM_LANGUAGE": "en"}
    with subprocess.Popen(
        [*command, "--port", "0", "--every", "0.05"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        base = server.stdout.readline().strip()
        root = base.removesuffix("/stock/api/v1")
        assert requests.get(f"{base}/stock_type?stock_code=2330", timeout=30).json() == {"type": "TWSE"}
        while requests.get(f"{root}/v1/exchange", timeout=30).json()["day"] < "2026-02-05":
            pass  # sessions go by
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert (server.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert "SIMULATED" in err
    assert "Serving past" in err
    assert "session 2026-02-05" in (past.logs / "exchange.log").read_text("utf-8")
