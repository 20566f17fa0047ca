"""The modern protocol: tokens, idempotency keys, and that no secret is written anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from stockllm.trading.exchange.proof import problems
from stockllm.trading.server.desk import Allowance, TooOften
from stockllm.trading.server.serve import log_to

from ..conftest import PASSWORD, Served, dump


class Client:
    """A session with a token."""

    def __init__(self, served: Served) -> None:
        self.root, self.session = served.root + "/v1", served.session
        login = {"account": "someone", "password": PASSWORD}
        answer = self.session.post(f"{self.root}/tokens", json=login, timeout=30)
        assert answer.status_code == 201
        self.token = answer.json()["token"]

    def ask(self, method: str, path: str, key: str | None = None, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        headers |= more.pop("headers", {})
        answer = self.session.request(method, f"{self.root}/{path}", headers=headers, timeout=30, **more)
        return answer.status_code, answer.json() if answer.content else None


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served)


@pytest.fixture
def order(served: Served) -> dict[str, Any]:
    session = served.exchange.next_session()
    (found,) = served.exchange.store.bars.bars("2330", session, session)
    return {"code": "2330", "side": "buy", "shares": 1000, "price": f"{found.close / 100:.2f}"}


def test_an_order_from_booking_to_its_fill(served: Served, client: Client, order: dict[str, Any]) -> None:
    status, placed = client.ask("POST", "orders", "key", json=order)
    assert status == 201
    assert {k: placed[k] for k in order} == order
    assert (placed["state"], placed["key"]) == ("open", "key")
    assert client.ask("POST", "orders", "key", json=order) == (201, placed)
    assert client.ask("POST", "orders", "key", json=order | {"shares": 2000})[0] == 409
    assert client.ask("GET", "orders")[1] == [placed]
    assert client.ask("GET", "cash")[1]["free"] == 10_000_000 - placed["reserved"]
    served.exchange.advance()
    assert client.ask("GET", f"orders/{placed['id']}")[1]["state"] == "filled"
    (held,) = client.ask("GET", "holdings")[1]
    assert (held["code"], held["name"], held["shares"]) == ("2330", "台積電", 1000)
    (fill,) = client.ask("GET", "fills")[1]
    assert fill["commission"] == fill["value"] * 1425 // 1_000_000
    money = client.ask("GET", "cash")[1]
    assert money["equity"] == money["cash"] + money["shares"] == 10_000_000 - fill["commission"]


def test_cancelling_and_pages(client: Client, order: dict[str, Any]) -> None:
    ids = [client.ask("POST", "orders", json=order | {"shares": n})[1]["id"] for n in (1, 2, 3)]
    assert client.ask("DELETE", f"orders/{ids[1]}")[1]["state"] == "cancelled"
    status, answer = client.ask("DELETE", f"orders/{ids[1]}")
    assert (status, answer["error"]["reason"]) == (409, "not_open")
    assert [o["id"] for o in client.ask("GET", "orders?state=open")[1]] == [ids[2], ids[0]]
    assert [o["id"] for o in client.ask("GET", f"orders?limit=1&before={ids[2]}")[1]] == [ids[1]]
    assert client.ask("GET", "orders/99")[0] == 404


#: What an order may have wrong, and what it is refused with. One server answers all of them.
BAD_ORDERS: list[tuple[dict[str, Any], int, str]] = [
    ({"price": "949.3"}, 422, "off_tick"),
    ({"price": "949.333"}, 422, "form"),
    ({"price": 5000}, 422, "limits"),
    ({"price": -1}, 422, "form"),
    ({"price": "NaN"}, 422, "form"),
    ({"price": float("inf")}, 422, "form"),
    ({"price": None}, 422, "form"),
    ({"price": True}, 422, "form"),
    ({"price": 1e300}, 422, "form"),
    ({"shares": 1500}, 422, "shares"),
    ({"shares": 0}, 422, "form"),
    ({"shares": "1000"}, 422, "form"),
    ({"shares": 1000.5}, 422, "form"),
    ({"shares": 10**30}, 422, "form"),
    ({"shares": 50_000_000}, 422, "cash"),
    ({"side": "sell"}, 422, "holdings"),
    ({"side": "short"}, 422, "form"),
    ({"code": "9999"}, 422, "code"),
    ({"code": "2330\n"}, 422, "form"),
    ({"code": ["2330"]}, 422, "form"),
    ({"more": 1}, 422, "form"),
]


def test_bad_orders(served: Served, client: Client, order: dict[str, Any]) -> None:
    before = dump(served.exchange)
    kind = {"Content-Type": "application/json"}
    for changes, status, reason in BAD_ORDERS:
        body = json.dumps(order | changes)
        found, answer = client.ask("POST", "orders", "key", data=body, headers=kind)
        assert (found, answer["error"]["reason"]) == (status, reason), changes
        assert answer["error"]["message"]
        assert answer["error"]["message_zh"]
        assert dump(served.exchange) == before, changes


def test_no_document_at_all(served: Served, client: Client) -> None:
    before = dump(served.exchange)
    for body in ("", "[", "[" * 60_000, "null", "[]", '"x"', "{" * 30_000):
        kind = {"Content-Type": "application/json"}
        status, answer = client.ask("POST", "orders", data=body, headers=kind)
        assert (status, answer["error"]["reason"]) in ((400, "form"), (422, "form")), body[:9]
    assert dump(served.exchange) == before


def test_keys_and_ids_out_of_range(client: Client, order: dict[str, Any]) -> None:
    assert client.ask("POST", "orders", "k" * 201, json=order)[0] == 422
    for path in ("orders/0", "orders/-1", f"orders/{2**63}", "orders/x", "orders?limit=0", "orders?state=x"):
        assert client.ask("GET", path)[0] == 422
    status, answer = client.ask("POST", "orders", data=b" " * 70_000)
    assert (status, answer["error"]["reason"]) == (413, "size")


def test_tokens(served: Served, client: Client) -> None:
    url = f"{served.root}/v1/cash"
    for header in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic eDp5"}):
        answer = requests.get(url, headers=header, timeout=30)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["reason"] == "account"
    with served.exchange.store.books.read() as books:
        assert client.token not in "".join(books._raw.iterdump()), "only a digest is kept"
    assert client.ask("DELETE", "tokens") == (204, None)
    assert client.ask("GET", "cash")[0] == 401
    again = Client(served)
    with served.exchange.store.books.write() as books:
        own = served.exchange.account(books, "someone")
        books.set_password(own.id, own.password)
    assert again.ask("GET", "cash")[0] == 401, "a new password ends the tokens of the old"


def test_the_description(served: Served) -> None:
    described = requests.get(f"{served.root}/openapi.json", timeout=30).json()
    assert {"/v1/orders", "/v1/orders/{id}", "/v1/cash", "/stock/api/v1/buy"} <= set(described["paths"])
    assert requests.get(f"{served.root}/docs", timeout=30).status_code == 404


@pytest.fixture
def log(served: Served) -> Iterator[Path]:
    home = served.exchange.store.home
    loggers = [logging.getLogger(name) for name in ("stockllm.exchange", "uvicorn.error")]
    kept = [(logger.handlers[:], logger.propagate) for logger in loggers]
    log_to(home)
    yield home.logs / "exchange.log"
    for logger, (handlers, propagate) in zip(loggers, kept, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers, logger.propagate = handlers, propagate


def test_no_secret_is_written(
    served: Served,
    client: Client,
    log: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "hunter2-hunter2"
    get, post = served.session.get, served.session.post
    base = f"{served.root}/stock/api/v1"
    answers = [
        get(f"{base}/buy", params={"account": "someone", "password": secret}, timeout=30),
        get(f"{base}/{secret}", timeout=30),
        post(f"{base}/buy", data={"account": "someone", "password": secret}, timeout=30),
        post(f"{base}/buy", data={"account": secret, "password": secret, "stock_price": secret}, timeout=30),
        post(f"{served.root}/v1/tokens", json={"account": "someone", "password": [secret]}, timeout=30),
        post(f"{served.root}/v1/tokens", json={secret: "someone", "account": "a"}, timeout=30),
        get(f"{served.root}/v1/cash", headers={"Authorization": f"Bearer {secret}"}, timeout=30),
    ]
    monkeypatch.setattr(type(served.exchange), "book", lambda *_: 1 / 0)
    status, answer = client.ask(
        "POST", "orders", json={"code": "2330", "side": "buy", "shares": 1, "price": 1}
    )
    assert (status, answer["error"]["reason"]) == (500, "fault")
    written = log.read_text("utf-8")
    assert "405 method" in written
    assert "ZeroDivisionError" in written
    seen = written + "".join(capfd.readouterr()) + "".join(dump(served.exchange))
    seen += "".join(a.text for a in answers[:5])
    assert secret not in seen
    assert PASSWORD not in seen
    assert client.token not in seen
    assert problems(served.exchange) == []


def test_an_allowance_fills_again() -> None:
    allowance = Allowance(rate=2, burst=3)
    for _ in range(3):
        allowance.take("a", 100.0)
    with pytest.raises(TooOften) as caught:
        allowance.take("a", 100.0)
    assert caught.value.wait == 1
    allowance.take("b", 100.0)
    allowance.take("a", 100.5)
    with pytest.raises(TooOften):
        allowance.take("a", 100.5)


def test_many_callers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from stockllm.trading.server import desk

    monkeypatch.setattr(desk, "_MOST_BUCKETS", 10)
    allowance = Allowance(rate=1, burst=1)
    for n in range(10):
        allowance.take(str(n), 0.0)
    with pytest.raises(TooOften):
        allowance.take("one more", 0.0)
    allowance.take("one more", 2.0)
    assert len(allowance._left) == 1
