"""Guessing passwords: bursts, many names, forged addresses; and who trades meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests
from standin.exchange import Served

from stockllm.trading.exchange.access import NotAllowed, PasswordCheck
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.server import desk as desks
from stockllm.trading.server.desk import Allowance, Desk, TooOften

PASSWORD = "a long password"


@pytest.fixture
def desk(replay: Exchange, hashed: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk at which no time goes by, however slow the machine: nothing that was used up comes back."""
    monkeypatch.setattr(desks, "time", SimpleNamespace(monotonic=lambda: 100.0))
    with replay.store.books.write() as books:
        books.set_password(replay.account(books, "someone").id, hashed)
    desk = Desk(replay, rate=10_000)
    yield desk
    desk.close()


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many passwords Argon2 was asked about, by name."""
    asked: Counter[str] = Counter()
    verify = PasswordCheck.verify

    def counted(self: PasswordCheck, name: str, password: str, password_hash: str | None) -> object:
        asked[name] += 1
        if password != PASSWORD:
            raise NotAllowed
        return verify(self, name, password, password_hash)

    monkeypatch.setattr(PasswordCheck, "verify", counted)
    return asked


async def burst(desk: Desk, tries: list[tuple[str, str, str]]) -> Counter[str]:
    """What became of tries (client, name, password) that all come at once."""
    found = await asyncio.gather(*(desk.password(*one) for one in tries), return_exceptions=True)
    return Counter(type(one).__name__ for one in found)


async def test_a_burst_of_guesses_is_not_judged_whole(desk: Desk, looked_at: Counter[str]) -> None:
    tries = [("10.0.0.1", "someone", f"guess {n}") for n in range(190)]
    assert await burst(desk, tries) == {"NotAllowed": 10, "TooOften": 180}
    assert looked_at["someone"] == 10


async def test_many_clients_are_limited_for_the_account(desk: Desk, looked_at: Counter[str]) -> None:
    tries = [(f"10.0.{n}.1", "someone", f"guess {n}") for n in range(100)]
    assert await burst(desk, tries) == {"NotAllowed": 50, "TooOften": 50}


async def test_many_names_are_limited_for_the_client_and_hold_nobody_up(
    desk: Desk, looked_at: Counter[str]
) -> None:
    guesses = [("10.0.0.1", f"nobody {n}", "a guess") for n in range(300)]
    real = ("10.0.0.2", "someone", PASSWORD)
    assert await burst(desk, [*guesses, real]) == {"NotAllowed": 40, "TooOften": 260, "Credential": 1}
    assert looked_at.total() == 41
    assert not desk._turns


async def test_right_passwords_do_not_count(desk: Desk, looked_at: Counter[str]) -> None:
    real = ("10.0.0.1", "someone", PASSWORD)
    assert await burst(desk, [real] * 100) == {"Credential": 100}
    assert looked_at["someone"] == 1, "those that came together were looked at once"
    for _ in range(30):
        desk._passwords._passed.clear()
        assert await burst(desk, [real]) == {"Credential": 1}


def test_long_names_take_no_memory() -> None:
    allowance = Allowance(rate=1, burst=1)
    allowance.take("x" * 60_000)
    assert all(len(key) == 16 for key in allowance._left)


def test_a_forged_address_is_no_other_client(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "time", SimpleNamespace(monotonic=lambda: 100.0))
    caplog.set_level(logging.INFO, desks.LOG.name)
    monkeypatch.setattr(desks.LOG, "propagate", True)
    form = {"account": "someone", "password": "a wrong password"}
    url = f"{served.root}/get_user_stocks"
    codes = [
        requests.post(url, data=form, headers={"X-Forwarded-For": f"10.1.1.{n}"}, timeout=30).status_code
        for n in range(12)
    ]
    assert codes == [200] * 10 + [429] * 2
    assert "a wrong account or password from 127.0.0.1" in caplog.text
    assert "from 127.0.0.1: 429 rate" in caplog.text
    assert "10.1.1" not in caplog.text


def test_too_often_says_when() -> None:
    allowance = Allowance(rate=1 / 60, burst=1)
    allowance.take("a", 0.0)
    with pytest.raises(TooOften) as caught:
        allowance.take("a", 0.0)
    assert caught.value.wait >= 60
