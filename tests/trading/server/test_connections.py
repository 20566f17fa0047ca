"""Connections that only stand there, heads that never end, hosts that are not meant; and who trades."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import requests
from standin.exchange import Served

from stockllm.trading.server import connections
from stockllm.trading.server.serve import Gate


def connect(served: Served) -> socket.socket:
    port = int(served.root.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def closed(connection: socket.socket) -> bool:
    """Whether the server hangs up, in this test's patience."""
    with suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def asked(served: Served, request: bytes) -> str:
    with connect(served) as connection:
        connection.sendall(request)
        answer = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    return answer.decode()


@pytest.fixture
def small(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Served]:
    def start(*, of_address: int = 300, head: float = 60.0) -> Served:
        monkeypatch.setattr(connections, "MOST_OF_ADDRESS", of_address)
        monkeypatch.setattr(connections, "HEAD_S", head)
        return serve()

    return start


def test_idle_connections_make_room_for_clients(small: Callable[..., Served]) -> None:
    served = small(of_address=20)
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(served)) for _ in range(100)]
        for _ in range(5):  # each on a connection of its own
            answer = requests.get(f"{served.root}/stock_type?stock_code=2330", timeout=30)
            assert answer.status_code == 200
        with requests.Session() as session:  # and on one that is kept, among newcomers
            for _ in range(3):
                assert session.get(f"{served.root}/stock_list", timeout=30).status_code == 200
                idle += [stack.enter_context(connect(served)) for _ in range(10)]
        assert all(closed(one) for one in idle[:80])


def test_a_head_has_its_time(small: Callable[..., Served]) -> None:
    served = small(head=0.2)
    with connect(served) as silent, connect(served) as slow, connect(served) as second:
        slow.sendall(b"GET /stock_list HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        second.sendall(b"GET /stock_type?stock_code=2330 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert second.recv(65_536).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /stock")  # keep-alive does not wait for this one's end either
        assert closed(silent)
        assert closed(slow)
        with suppress(ConnectionResetError):
            while second.recv(65_536):
                pass


def test_a_request_has_one_length_and_a_known_host(served: Served) -> None:
    two = asked(
        served,
        b"POST /stock/api/v1/buy HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/exchange HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    )
    assert two.startswith("HTTP/1.1 400 ")
    assert "connection: close" in two.lower()
    assert two.count("HTTP/1.1") == 1, "what follows is not taken for a request"
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8081"):
        answer = requests.get(f"{served.root}/v1/exchange", headers={"Host": host}, timeout=30)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (421, "host")
    for host in ("localhost", "127.0.0.1:1", "[::1]:8081", "LOCALHOST:80"):
        assert (
            requests.get(f"{served.root}/v1/exchange", headers={"Host": host}, timeout=30).status_code == 200
        )
    slash = requests.get(f"{served.root}/v1/exchange/", allow_redirects=False, timeout=30)
    assert (slash.status_code, slash.headers.get("location")) == (404, None)


def test_what_is_no_http_is_answered_in_the_protocols_form(served: Served) -> None:
    answer = asked(served, b"no HTTP at all\r\n\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    assert json.loads(body) == {"result": "failed", "status": "格式錯誤"}


async def test_too_many_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from stockllm.trading.server import serve

    monkeypatch.setattr(serve, "MOST_REQUESTS", 0)
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError("it went through")

    scope = {"type": "http", "method": "GET", "path": "/buy", "headers": []}
    await Gate(never)(scope, never, send)
    assert said[0]["status"] == 503
    assert json.loads(said[1]["body"]) == {"result": "failed", "status": "系統忙碌"}
