"""The server is killed fifty times while orders come in: none acknowledged is lost, none is doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests

from stockllm.data.store import Store
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.proof import problems

from ..conftest import PASSWORD

KILLS = 50
CLIENTS = 4


class Trader(threading.Thread):
    """Sends orders one after the other; a broken connection is followed by the same order again."""

    def __init__(self, number: int, order: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.order = f"client{number}", order
        self.up = threading.Event()
        self.ended = False
        self.root = self.token = ""
        self.acknowledged: dict[str, int] = {}
        self.sent = 0
        self.again: list[str] = []
        self.enough = threading.Semaphore(0)

    def run(self) -> None:
        while not self.ended:
            if not self.up.wait(0.2):
                continue
            with requests.Session() as session:
                self._trade(session)

    def _trade(self, session: requests.Session) -> None:
        while self.up.is_set():
            key = self.again[-1] if self.again else f"{self.name}-{self.sent}"
            headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
            if not self.again:
                self.sent += 1
                self.again.append(key)
            try:
                answer = session.post(self.root + "/v1/orders", json=self.order, headers=headers, timeout=20)
            except requests.RequestException:
                return  # nobody knows; the same key goes out again
            assert answer.status_code == 201, answer.text
            self.acknowledged[key] = answer.json()["id"]
            self.again.clear()
            self.enough.release()


def test_killed_again_and_again(market_store: Store, hashed: str) -> None:
    from ..conftest import EVENING

    exchange = Exchange.open(market_store, "past", evening=EVENING)
    (found,) = market_store.bars.bars("2330", exchange.next_session(), exchange.next_session())
    order = {"code": "2330", "side": "buy", "shares": 1, "price": f"{found.close / 100:.2f}"}
    traders = [Trader(n, order) for n in range(CLIENTS)]
    for trader in traders:
        exchange.add_account(trader.name, hashed, cash=10**12)
    chance = random.Random(3)
    program = [sys.executable, str(Path(__file__).with_name("killed_server.py")), str(market_store.home.root)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            for kill in range(KILLS):
                server.stdin.write("start\n")
                server.stdin.flush()
                root = f"http://127.0.0.1:{int(server.stdout.readline())}"
                for trader in traders:
                    if not kill:  # tokens outlive the server
                        login = {"account": trader.name, "password": PASSWORD}
                        answer = requests.post(f"{root}/v1/tokens", json=login, timeout=30)
                        trader.token = answer.json()["token"]
                        trader.start()
                    trader.root = root
                    trader.up.set()
                for _ in range(chance.randint(0, 6)):  # under load, at another moment each time
                    assert traders[kill % CLIENTS].enough.acquire(timeout=60)
                server.stdin.write("kill\n")
                server.stdin.flush()
                for trader in traders:
                    trader.up.clear()
                assert server.stdout.readline() == "dead\n"
        finally:
            for trader in traders:
                trader.ended = True
                if trader.ident:
                    trader.join(60)
            server.stdin.close()
    acknowledged = 0
    for trader in traders:
        rows = exchange.orders(trader.name)
        keys = [row.once for row in rows]
        assert len(keys) == len(set(keys)), "none is doubled"
        kept = {row.once: row.id for row in rows}
        lost = {key: id for key, id in trader.acknowledged.items() if kept.get(key) != id}
        assert lost == {}, "none that was acknowledged is lost"
        assert set(kept) <= trader.acknowledged.keys() | set(trader.again), "none appears from nowhere"
        acknowledged += len(trader.acknowledged)
    assert acknowledged > KILLS
    assert problems(exchange) == []
    market_store.check()
