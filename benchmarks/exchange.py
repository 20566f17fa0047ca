"""The exchange as a server: orders a second on loopback with 20 clients, and whether all are in the books.

The server is ``stockllm exchange serve`` in a process of its own; the clients are 20 kept connections,
each one an account that waits for every answer before it sends the next order. Afterwards the books
are read: every order that was acknowledged is there, once.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

CLIENTS = 20
ORDERS = 200
PASSWORD = "a long password"


def main() -> None:
    """Print the table."""
    print(
        f"| {CLIENTS} clients, {ORDERS} orders each | seconds | orders a second | slowest | lost | doubled |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        prices = _prepare(home)
        command = [sys.executable, "-m", "stockllm.cli.main", "exchange", "serve", "--exchange", "past"]
        environment = os.environ | {"STOCKLLM_HOME": str(home)}
        with subprocess.Popen(
            [*command, "--port", "0", "--rate", "100000"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().split(":")[2].split("/")[0])
                for name, protocol in (("university", _university), ("modern", _modern)):
                    _line(home, name, *asyncio.run(_trade(port, prices, protocol)))
            finally:
                server.terminate()


def _prepare(home: Path) -> dict[str, int]:
    """A store with the simulated market and 20 accounts; prices in TWD that can be asked, by code."""
    from stockllm.collectors.simulated import simulate, write
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.trading.exchange.access import hash_password
    from stockllm.trading.exchange.exchange import Exchange

    write(simulate(date(2026, 3, 31), 60, 1), Home(home))
    with Store.open(Home(home)) as store:
        exchange = Exchange.open(store, "past", evening=date(2026, 3, 2))
        hashed = hash_password(PASSWORD)
        for number in range(CLIENTS):
            exchange.add_account(f"client{number}", hashed, cash=10**15)
        closes = {code: store.bars.last_close(code, exchange.day()) for code in store.bars.codes()}
        return {code: close for code, close in closes.items() if close}


async def _trade(port: int, prices: dict[str, int], protocol: Any) -> tuple[float, list[float], int]:
    """Let every client send its orders; the seconds, each answer's time, and the number acknowledged."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
    keys = [await protocol(*pair, f"client{k}", None, 0, prices) for k, pair in enumerate(connections)]
    times: list[float] = []
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        for k in range(1, ORDERS + 1):
            began = time.perf_counter()
            ok = await protocol(*connections[number], f"client{number}", keys[number], k, prices)
            times.append(time.perf_counter() - began)
            done += ok

    start = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    taken = time.perf_counter() - start
    for _, writer in connections:
        writer.close()
    return taken, times, done


async def _university(reader: Any, writer: Any, name: str, _: Any, k: int, prices: dict[str, int]) -> Any:
    """Order number ``k``, one lot each; 0 looks at the holdings, so that the password has been seen."""
    form = {"account": name, "password": PASSWORD}
    if k:
        code = list(prices)[k % len(prices)]
        form |= {"stock_code": code, "stock_shares": "1", "stock_price": str(prices[code] / 100)}
    path = "/stock/api/v1/buy" if k else "/stock/api/v1/get_user_stocks"
    answer = await _post(reader, writer, path, urlencode(form), "application/x-www-form-urlencoded", "")
    return bool(answer["result"] == "success")


async def _modern(reader: Any, writer: Any, name: str, key: Any, k: int, prices: dict[str, int]) -> Any:
    """Order number ``k`` under its own idempotency key; 0 fetches the token."""
    if not k:
        login = json.dumps({"account": name, "password": PASSWORD})
        return (await _post(reader, writer, "/v1/tokens", login, "application/json", ""))["token"]
    code = list(prices)[k % len(prices)]
    order = {"code": code, "side": "buy", "shares": 1000, "price": str(prices[code] / 100)}
    head = f"Authorization: Bearer {key}\r\nIdempotency-Key: {name}-{k}\r\n"
    return "id" in await _post(reader, writer, "/v1/orders", json.dumps(order), "application/json", head)


async def _post(reader: Any, writer: Any, path: str, body: str, kind: str, head: str) -> Any:
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{head}"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    (length,) = (line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return json.loads(await reader.readexactly(int(length.split(b":")[1])))


def _line(home: Path, name: str, taken: float, times: list[float], done: int) -> None:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.trading.exchange.exchange import Exchange
    from stockllm.trading.exchange.proof import problems

    with Store.open(Home(home)) as store:
        exchange = Exchange(store, "past")
        found = [o for k in range(CLIENTS) for o in exchange.orders(f"client{k}")]
        mine = [o for o in found if (o.once is None) == (name == "university")]
        keys = [(o.account, o.once) for o in mine if o.once]
        lost, doubled = max(0, done - len(mine)), max(0, len(mine) - done) + len(keys) - len(set(keys))
        assert problems(exchange) == []
    slowest = max(times) * 1000
    print(f"| {name} | {taken:.1f} | {done / taken:,.0f} | {slowest:.0f} ms | {lost} | {doubled} |")


if __name__ == "__main__":
    main()
