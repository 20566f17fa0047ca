"""The university's protocol against the real server, with a client written for that simulator."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from stockllm.market.ticks import round_to_tick
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Rules
from stockllm.trading.server import desk

from ..conftest import EVENING, PASSWORD, SESSIONS, Served, dump


class StockApi:
    """What clients of the university's simulator look like."""

    def __init__(self, base: str, account: str, password: str) -> None:
        self.base, self.account, self.password = base, account, password

    def history(self, code: str, start: str, stop: str) -> Any:
        url = f"{self.base}/api_get_stock_info_from_date_json/{code}/{start}/{stop}"
        result = requests.get(url, timeout=30).json()
        return result["data"] if result["result"] == "success" else []

    def holdings(self) -> Any:
        form = {"account": self.account, "password": self.password}
        result = requests.post(f"{self.base}/get_user_stocks", data=form, timeout=30).json()
        return result["data"] if result["result"] == "success" else []

    def trade(self, side: str, code: Any, shares: Any, price: Any) -> tuple[bool, str]:
        form = {
            "account": self.account,
            "password": self.password,
            "stock_code": code,
            "stock_shares": shares,
            "stock_price": price,
        }
        result = requests.post(f"{self.base}/{side}", data=form, timeout=30).json()
        return result["result"] == "success", "Status: " + result["status"]


@pytest.fixture
def client(served: Served) -> StockApi:
    return StockApi(f"{served.root}/stock/api/v1", "someone", PASSWORD)


def close_of(served: Served, code: str = "2330") -> float:
    session = served.exchange.next_session()
    (found,) = served.exchange.store.bars.bars(code, session, session)
    return found.close / 100


def test_history(client: StockApi) -> None:
    rows = client.history("2330", "20250303", "20250430")
    days = [datetime.fromtimestamp(row["date"], UTC) for row in rows]
    assert [day.date() for day in days] == list(SESSIONS[4::-1]), "newest first, none after the replay's day"
    assert {day.hour for day in days} == {0}
    row = rows[0]
    assert list(row) == [
        "capacity",
        "change",
        "close",
        "date",
        "high",
        "low",
        "open",
        "shdid",
        "stock_code_id",
        "transaction_volume",
        "turnover",
    ]
    assert (row["stock_code_id"], row["capacity"]) == ("2330", 5_000_000)
    assert row["change"] == pytest.approx(row["close"] - rows[1]["close"])
    assert row["low"] <= row["close"] <= row["high"]
    assert all(isinstance(row["close"], int) for row in rows if row["close"] == int(row["close"]))
    assert len({r["shdid"] for r in rows + client.history("2317", "20250303", "20250430")}) == 2 * len(rows)


def test_a_round_trip(served: Served, client: StockApi) -> None:
    price = close_of(served)
    assert client.trade("buy", 2330, 2, price) == (True, "Status: 委託成功")
    assert client.holdings() == [], "booked, not filled"
    served.exchange.advance()
    (row,) = client.holdings()
    assert row == {
        "usid": 1,
        "stock_name": "台積電",
        "beginning_price": price,
        "shares": 2,
        "createtime": row["createtime"],
        "stock_code_id": "2330",
        "user_uid_id": 1,
    }
    assert datetime.fromtimestamp(row["createtime"], UTC).date() == SESSIONS[5]
    assert client.trade("sell", "2330", "1", str(close_of(served)))[0]
    served.exchange.advance()
    assert client.holdings()[0]["shares"] == 1
    assert client.trade("buy", "2330", 1, f"{close_of(served):.15f}")[0], "what a float prints"


def test_stocks_and_their_types(served: Served) -> None:
    for base in ("/stock/api/v1", "/sim_stock/trading_api", "/stock/trading_api", ""):
        listed = requests.get(f"{served.root}{base}/stock_list", timeout=30).json()
        assert listed["2330"] == {"name": "台積電", "type": "TWSE"}
        assert set(listed) == {"2330", "2317", "6166"}
        one = requests.get(f"{served.root}{base}/stock_type", params={"stock_code": "2330"}, timeout=30)
        assert one.json() == {"type": "TWSE"}


GOOD = {"account": "someone", "password": PASSWORD, "stock_code": "2330", "stock_shares": "1"}


#: What a form may have wrong, and what the exchange says. One server answers all of them.
BAD_ORDERS: list[tuple[dict[str, Any], str]] = [
    ({"password": "a wrong password"}, "帳號或密碼錯誤"),
    ({"password": "x" * 201}, "欄位錯誤 password"),
    ({"account": "nobody"}, "帳號或密碼錯誤"),
    ({"account": "someone\0"}, "欄位錯誤 account"),
    ({"account": None}, "缺少欄位 account"),
    ({"stock_price": None}, "缺少欄位 stock_price"),
    ({"stock_price": ""}, "缺少欄位 stock_price"),
    ({"stock_code": "9999"}, "股票代號錯誤"),
    ({"stock_code": "../../2330"}, "股票代號錯誤"),
    ({"stock_code": "2330' OR 1=1"}, "股票代號錯誤"),
    ({"stock_code": "２３３０"}, "股票代號錯誤"),
    ({"stock_price": "{price}3"}, "價格不符升降單位"),
    ({"stock_price": "1.234"}, "價格不符升降單位"),
    ({"stock_price": "5000"}, "價格超過漲跌幅"),
    ({"stock_price": "10"}, "價格超過漲跌幅"),
    ({"stock_price": "-950"}, "價格錯誤"),
    ({"stock_price": "0"}, "價格錯誤"),
    ({"stock_price": "nan"}, "價格錯誤"),
    ({"stock_price": "inf"}, "價格錯誤"),
    ({"stock_price": "1e3"}, "價格錯誤"),
    ({"stock_price": "９５０"}, "價格錯誤"),
    ({"stock_price": "9" * 100}, "價格錯誤"),
    ({"stock_price": "999999999"}, "價格錯誤"),
    ({"stock_shares": "0"}, "股數錯誤"),
    ({"stock_shares": "-1"}, "股數錯誤"),
    ({"stock_shares": "1.5"}, "股數錯誤"),
    ({"stock_shares": "0x10"}, "股數錯誤"),
    ({"stock_shares": "999999999999"}, "股數錯誤"),
    ({"stock_shares": "9" * 150}, "股數錯誤"),
    ({"stock_shares": "NaN"}, "股數錯誤"),
    ({"stock_shares": "1000"}, "現金不足"),
    ({"stock_shares": ["1", "1"]}, "欄位錯誤 stock_shares"),
]


def test_bad_orders(served: Served) -> None:
    price = f"{close_of(served):.1f}"
    before = dump(served.exchange)
    for changes, status in BAD_ORDERS:
        form = {k: v for k, v in (GOOD | {"stock_price": price} | changes).items() if v is not None}
        form = {k: v.replace("{price}", price) if isinstance(v, str) else v for k, v in form.items()}
        answer = served.university("buy", **form)
        assert answer == {"result": "failed", "status": f"交易失敗({status})"}, changes
        assert dump(served.exchange) == before, changes


def test_an_exchange_that_rounds_takes_any_decimals(market_store: Any, hashed: str) -> None:
    exchange = Exchange.open(market_store, "rounds", evening=EVENING, rules=Rules(off_tick="round"))
    exchange.add_account("someone", hashed, cash=10_000_000)
    running = Served(exchange)
    booked = {"result": "success", "status": "委託成功"}
    try:
        close = close_of(running)
        assert running.university("buy", **GOOD, stock_price=f"{close + 0.271:.3f}") == booked
        assert exchange.orders("someone")[0].price == round(close * 100), "a buy goes down to its tick"
        exchange.advance()
        close = close_of(running)
        assert running.university("sell", **GOOD, stock_price=f"{close:.2f}1") == booked
        above = round_to_tick(round(close * 100) + 1, "up")
        assert exchange.orders("someone")[0].price == above > close * 100, "a sale goes up"
        refused = running.university("buy", **GOOD, stock_price="0.004")
        assert refused == {"result": "failed", "status": "交易失敗(價格錯誤)"}
    finally:
        running.close()


def test_selling_what_is_not_held(served: Served) -> None:
    before = dump(served.exchange)
    answer = served.university("sell", **GOOD, stock_price=close_of(served))
    assert answer == {"result": "failed", "status": "交易失敗(庫存不足)"}
    assert dump(served.exchange) == before


def test_a_shut_window_in_the_simulators_own_words(
    live: Callable[[str], Any], hashed: str, market_store: Any
) -> None:
    exchange, clock = live("2025-05-03 20:00")  # a Saturday
    with market_store.books.write() as books:
        books.set_password(exchange.account(books, "someone").id, hashed)
    running = Served(exchange)
    try:
        order = GOOD | {"stock_price": "950"}
        closed = {"result": "failed", "status": "交易失敗(今日無開盤)"}
        assert running.university("buy", **order) == closed
        clock.set(datetime(2025, 5, 5, 10))
        assert running.university("buy", **order)["status"] == "交易失敗(非委託時間)"
        status = requests.get(f"{running.root}/v1/exchange", timeout=30).json()
        assert status["next_session"] is None
        assert "16:01 to 08:59" in status["why"]
        clock.set(datetime(2025, 5, 5, 16, 1))
        assert running.university("buy", **order)["result"] == "success"
        assert exchange.orders("someone")[0].session == date(2025, 5, 6)
    finally:
        running.close()


BAD_QUESTIONS: list[tuple[str, str | None]] = [
    ("2330/20250303/2025-03-31", "日期格式錯誤"),
    ("2330/20250303/20250332", "日期格式錯誤"),
    ("2330/0/99999999", "日期格式錯誤"),
    ("9999/20250303/20250331", "查無資料"),
    ("2330/20250331/20250303", "查無資料"),
    ("2330/19000101/19000201", "查無資料"),
    ("..%2F..%2Fetc/20250303/20250331", None),
    ("2330%00/20250303/20250331", "查無資料"),
    ("%E5%8F%B0/20250303/20250331", "查無資料"),
]


def test_bad_questions(served: Served) -> None:
    for path, status in BAD_QUESTIONS:
        url = f"{served.root}/stock/api/v1/api_get_stock_info_from_date_json/{path}"
        answer = served.session.get(url, timeout=30)
        assert answer.json()["result"] == "failed", path
        if status is None:
            assert answer.status_code == 404, path
        else:
            assert answer.json() == {"result": "failed", "status": status, "data": []}, path


def raw(served: Served, request: bytes) -> str:
    """What the server says to these bytes."""
    address = urlsplit(served.root)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(OSError):  # it may hang up on what it did not read
            while part := connection.recv(65_536):
                answer += part
        return answer.decode() or "HTTP/1.1 400 hung up"


def test_what_is_no_order_at_all(served: Served) -> None:
    before = dump(served.exchange)
    post = served.session.post
    base = f"{served.root}/stock/api/v1"
    json_body = post(f"{base}/buy", json=GOOD, timeout=30)
    assert json_body.json() == {"result": "failed", "status": "交易失敗(格式錯誤)"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"%ff%fe", b"\xff\xfe=1", b"a;b", b"&".join(b"a=1" for _ in range(1000))):
        answer = post(f"{base}/buy", data=body, headers=form, timeout=30)
        assert answer.json()["result"] == "failed"
    large = post(f"{base}/buy", data=b"account=" + b"x" * 70_000, headers=form, timeout=30)
    assert (large.status_code, large.json()) == (413, {"result": "failed", "status": "內容過大"})
    head = b"POST /stock/api/v1/buy HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 3
    assert " 413 " in raw(served, chunked).splitlines()[0]
    lying = head + b"Content-Length: 99999999999999999999\r\n\r\nx"
    assert raw(served, lying).splitlines()[0].split()[1] in ("400", "413")
    long = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 200_000
    assert " 400 " in raw(served, long).splitlines()[0]
    assert " 400 " in raw(served, b"\x16\x03\x01\x02\x00\r\n\r\n").splitlines()[0]
    for path in ("/nothing", "/../../etc/passwd", "/stock/api/v1/buy/../../secret", "/%2e%2e/%2e%2e"):
        answer = served.session.get(served.root + path, timeout=30)
        assert answer.json()["result"] == "failed"
        assert answer.status_code in (404, 405)
    assert served.session.get(f"{base}/buy", params=GOOD, timeout=30).status_code == 405
    assert dump(served.exchange) == before


def test_a_body_that_never_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from stockllm.trading.server import serve

    monkeypatch.setattr(serve, "SLOWEST_BODY_S", 0.05)
    address = urlsplit(served.root)
    assert address.hostname
    for path, body in (("/stock/api/v1/buy", b'"failed"'), ("/v1/orders", b'"slow"')):
        with socket.create_connection((address.hostname, address.port or 0), 30) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\naccount="
            connection.sendall(head.encode())
            answer = b""
            while part := connection.recv(65_536):  # until it hangs up
                answer += part
        assert answer.startswith(b"HTTP/1.1 408 "), path
        assert body in answer


def test_too_many_requests(serve: Callable[..., Served]) -> None:
    slow = serve(rate=2)
    answers = [requests.get(f"{slow.root}/stock_type?stock_code=2330", timeout=30) for _ in range(8)]
    last = answers[-1]
    assert (last.status_code, last.json()["status"]) == (429, "請求過於頻繁")
    assert int(last.headers["Retry-After"]) >= 1
    assert answers[0].json() == {"type": "TWSE"}


def test_wrong_passwords_run_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine twelve tries take so long that one is given back meanwhile.
    monkeypatch.setattr(desk, "time", SimpleNamespace(monotonic=lambda: 100.0))
    form = {"account": "someone", "password": "a wrong password"}
    url = f"{served.root}/stock/api/v1/get_user_stocks"
    codes = [requests.post(url, data=form, timeout=30).status_code for _ in range(12)]
    assert codes == [200] * 10 + [429] * 2
    assert served.university("get_user_stocks", account="other", password="x")["result"] == "failed"


def test_a_changed_password_counts_at_once(served: Served, hashed: str) -> None:
    from stockllm.trading.exchange.access import hash_password

    form = {"account": "someone", "password": PASSWORD}
    assert served.university("get_user_stocks", **form)["result"] == "success"
    exchange = served.exchange

    def change(new: str) -> None:
        with exchange.store.books.write() as books:
            books.set_password(exchange.account(books, "someone").id, new)

    change(hash_password("another password"))
    order = GOOD | {"stock_price": str(close_of(served))}
    assert served.university("buy", **order)["status"] == "交易失敗(帳號或密碼錯誤)"
    assert served.university("get_user_stocks", **form)["result"] == "failed"
    change(hashed)
    assert served.university("get_user_stocks", **form)["result"] == "success"


def test_an_account_of_another_exchange_is_no_account(served: Served, hashed: str) -> None:
    other = Exchange.open(served.exchange.store, "other", evening=EVENING)
    other.add_account("elsewhere", hashed)
    answer = served.university("get_user_stocks", account="elsewhere", password=PASSWORD)
    assert answer == {"result": "failed", "status": "帳號或密碼錯誤", "data": []}
