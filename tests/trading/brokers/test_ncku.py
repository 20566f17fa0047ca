"""The broker over HTTP: a server that hangs, breaks off and lies, and one that behaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from standin import FakeClock

from stockllm.data.errors import BrokerError, OrderRefused
from stockllm.data.store import Store
from stockllm.trading.brokers.broker import BookBroker, Broker, LocalBroker
from stockllm.trading.brokers.ncku import NckuBroker
from stockllm.trading.exchange.book import Book
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.market_data import load_market
from stockllm.trading.exchange.rules import Order

from ..conftest import CODES, EVENING, LAST, PASSWORD, SESSIONS, Served

MONDAY, TUESDAY = date(2025, 4, 28), date(2025, 4, 29)
ORDER = Order("2330", "buy", 2000, 95000)


class Faulty:
    """A server in the simulator's place: says what it is told, and remembers what it was sent."""

    def __init__(self) -> None:
        self.answer: Any = {"result": "success", "status": "ok"}
        self.holdings: Any = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.states: list[str] = []
        self.store: Store | None = None
        self.hung = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = self.path.rpartition("/")[2]
                outer.seen.append((call, {k: v[0] for k, v in parse_qs(body.decode()).items()}))
                if call == "get_user_stocks":
                    self.say(outer.holdings, {"result": "success", "status": "", "data": outer.holdings})
                    return
                assert outer.store is not None
                outer.states = [sent.state for sent in outer.store.sent_orders.of(outer.url, "me")]
                self.say(outer.answer, outer.answer)

            def say(self, what: Any, document: Any) -> None:
                if what == "hang":
                    outer.hung.wait(20)
                    return
                if what == "break":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                    return
                if isinstance(what, tuple):
                    status, content = what
                else:
                    status, content = 200, json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status == 307:
                    self.send_header("Location", outer.url + "/buy")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/stock/api/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def orders(self) -> list[dict[str, str]]:
        return [form for call, form in self.seen if call in ("buy", "sell")]

    def close(self) -> None:
        self.hung.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def faulty(market_store: Store) -> Iterator[Faulty]:
    server = Faulty()
    server.store = market_store
    yield server
    server.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2025, 4, 27, 20).replace(day=25))  # a Friday evening: for Monday


@pytest.fixture
def broker(market_store: Store, faulty: Faulty, clock: FakeClock) -> NckuBroker:
    return NckuBroker(market_store, faulty.url + "/", "me", "secret", clock=clock, timeout=(5, 0.3))


def held(lots: Any, price: Any = "950.0000", code: Any = "2330") -> dict[str, Any]:
    return {"stock_code_id": code, "shares": lots, "beginning_price": price, "usid": 1, "user_uid_id": 2}


def states(broker: NckuBroker) -> list[str]:
    return [placed.state for placed in broker.orders()]


def test_an_order_is_written_down_before_it_is_sent(broker: NckuBroker, faulty: Faulty) -> None:
    placed = broker.place(Order("2330", "buy", 2000, 95049))
    assert (placed.state, placed.session, placed.order.price) == ("open", MONDAY, 95000)
    assert faulty.states == ["sending"], "while the request was under way"
    assert faulty.orders() == [
        {
            "account": "me",
            "password": "secret",
            "stock_code": "2330",
            "stock_shares": "2",
            "stock_price": "950",
        }
    ]


def test_a_refusal_is_the_servers_own_words(broker: NckuBroker, faulty: Faulty) -> None:
    faulty.answer = {"result": "failed", "status": "交易失敗(今日無開盤)"}
    with pytest.raises(OrderRefused) as caught:
        broker.place(ORDER)
    assert caught.value.zh == "交易失敗(今日無開盤)"
    assert states(broker) == ["refused"]
    faulty.answer = {"result": "success", "status": "ok"}
    assert broker.place(ORDER).state == "open"


@pytest.mark.parametrize("fault", ["hang", "break", (500, b"oops"), (503, b"{}")])
@pytest.mark.parametrize(("after", "became"), [([], "expired"), ([held(2)], "filled")])
def test_no_answer_makes_it_unknown_until_the_holdings_tell(
    broker: NckuBroker, faulty: Faulty, clock: FakeClock, fault: Any, after: Any, became: str
) -> None:
    faulty.answer = fault
    assert broker.place(ORDER).state == "unknown"
    assert len(faulty.orders()) == 1, "never sent again"
    faulty.answer = {"result": "success", "status": "ok"}
    free = broker.funds().free
    for moment in (datetime(2025, 4, 25, 21), datetime(2025, 4, 28, 8)):
        clock.set(moment)
        with pytest.raises(OrderRefused, match="Nobody knows whether the order for 2330"):
            broker.place(ORDER)
    assert broker.place(Order("2317", "buy", 1000, 20000)).state == "open", "another stock is free"
    assert len(faulty.orders()) == 2
    faulty.holdings = after
    clock.set(datetime(2025, 4, 28, 16, 1))
    placed = broker.place(ORDER)
    assert (placed.state, placed.session) == ("open", TUESDAY)
    assert states(broker) == ["open", "expired", became]
    assert free == 100_000_000 - 1_900_000 - 2707, "it counts as spent while nobody knows"


def test_a_crash_over_the_request_counts_as_unknown(
    broker: NckuBroker, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            type(broker.store.sent_orders), "end", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            broker.place(ORDER)
    assert states(broker) == ["unknown"]
    with pytest.raises(OrderRefused, match="Nobody knows"):
        broker.place(ORDER)
    assert len(faulty.orders()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"[" * 200_000),
        (200, b"{}"),
        (200, b'{"result": "maybe"}'),
        (307, b""),
        (404, b"{}"),
    ],
)
def test_an_answer_of_an_unknown_form_is_an_error(broker: NckuBroker, faulty: Faulty, answer: Any) -> None:
    faulty.answer = answer
    with pytest.raises(BrokerError, match="in a form that is not known"):
        broker.place(ORDER)
    assert states(broker) == ["unknown"]
    assert len(faulty.orders()) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    "rows",
    [
        (200, b'{"result": "success", "data": null}'),
        (200, b'{"result": "success", "data": {}}'),
        (200, b'{"result": "success"}'),
        (200, b'{"result": "failed", "status": "x"}'),
        (200, b"<html>"),
        (200, b"[" * 200_000),
        [held("one")],
        [held(True)],
        [held(None)],
        [held(-1)],
        [held(1.00005)],
        [held(1, "nan")],
        [held(1, [])],
        [held("1e999999")],
        [held(10**4000)],
        [held(1, "1e999999")],
        [held(1, code="")],
        [held(1, code=None)],
        [{"shares": 1}],
        ["2330"],
    ],
)
def test_holdings_of_an_unknown_form_are_an_error_and_never_none(
    broker: NckuBroker, faulty: Faulty, rows: Any
) -> None:
    faulty.holdings = rows
    with pytest.raises(BrokerError):
        broker.positions()
    with pytest.raises(BrokerError):
        broker.place(ORDER)
    assert faulty.orders() == []


def test_holdings_in_each_form_they_have_had(broker: NckuBroker, faulty: Faulty) -> None:
    faulty.holdings = [held(1, "34.40000", "1213"), held(2, 7.1, 1101), held(1, 8, "1101"), held(0.5)]
    found = broker.positions()
    assert [(p.code, p.shares, p.cost) for p in found.values()] == [
        ("1101", 3000, 22_200),
        ("1213", 1000, 34_400),
        ("2330", 500, 475_000),
    ]


def test_questions_are_asked_again_and_orders_are_not(
    broker: NckuBroker, faulty: Faulty, clock: FakeClock
) -> None:
    faulty.holdings = (500, b"")
    with pytest.raises(BrokerError, match=r"does not answer \(status 500\)"):
        broker.positions()
    assert (len(faulty.seen), clock.slept) == (3, [1, 2])


def test_a_change_that_no_order_explains_needs_a_person(
    broker: NckuBroker, faulty: Faulty, clock: FakeClock
) -> None:
    placed = broker.place(ORDER)
    clock.set(datetime(2025, 4, 28, 17))
    faulty.holdings = [held(7)]
    with pytest.raises(BrokerError, match="went from 0 to 7,000 shares"):
        broker.place(ORDER)
    broker.settle(placed.id, "filled")
    with pytest.raises(OrderRefused, match="no order"):
        broker.settle(placed.id, "filled")
    assert broker.place(ORDER).state == "open"


def test_what_cannot_be_sent(broker: NckuBroker, faulty: Faulty, clock: FakeClock) -> None:
    with pytest.raises(OrderRefused, match="whole lots"):
        broker.place(Order("2330", "buy", 500, 95000))
    with pytest.raises(OrderRefused, match="0 are held"):
        broker.place(Order("2330", "sell", 1000, 95000))
    broker.place(ORDER)
    with pytest.raises(OrderRefused, match="is booked for 2025-04-28"):
        broker.place(ORDER)
    with pytest.raises(OrderRefused, match="cannot take order"):
        broker.cancel(1)
    clock.set(datetime(2025, 4, 28, 10))
    with pytest.raises(OrderRefused, match="Orders are taken"):
        broker.place(ORDER)
    assert len(faulty.orders()) == 1


def test_nobody_listens(market_store: Store, faulty: Faulty, clock: FakeClock) -> None:
    broker = NckuBroker(market_store, faulty.url, "me", "secret", clock=clock, timeout=(5, 5))
    faulty.close()
    faulty._server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # for the fixture
    faulty._thread = threading.Thread(target=faulty._server.serve_forever)
    faulty._thread.start()
    with pytest.raises(BrokerError, match="does not answer") as caught:
        broker.place(ORDER)
    assert "secret" not in str(caught.value)
    with pytest.raises(BrokerError, match="nothing was sent"):
        broker._send(ORDER, MONDAY, 0)
    assert states(broker) == ["refused"]


# The same orders through every broker


def orders_of(market: Any, day: date, held: Callable[[str], int]) -> list[Order]:
    """What a strategy without a thought would do on the evening of ``day``: at most one a stock."""
    asked = []
    for k, code in enumerate(CODES):
        close = market.close(code, day)
        if (day.toordinal() + k) % 3 == 0 and held(code) >= 1000:
            asked.append(Order(code, "sell", 1000, close))
        elif (day.toordinal() + k) % 2:
            asked.append(Order(code, "buy", 1000 * (1 + k), close))
    return asked


def trade(broker: Broker, market: Any, day: date) -> None:
    held = broker.positions()
    for order in orders_of(market, day, lambda code: held[code].shares if code in held else 0):
        with suppress(OrderRefused):  # the cash runs out, for all of them alike
            broker.place(order)


def test_every_broker_comes_to_the_same_dollar(served: Served, market_store: Store) -> None:
    exchange = served.exchange
    local = Exchange.open(market_store, "beside", evening=EVENING)
    local.add_account("myself", "hash", cash=10_000_000)
    market = load_market(market_store, CODES, EVENING, LAST, market_store.calendar())
    book = Book.start(market, EVENING, 10_000_000)
    clock = FakeClock(datetime.combine(EVENING, datetime.min.time()))
    http = NckuBroker(market_store, f"{served.root}/stock/api/v1", "someone", PASSWORD, clock=clock)
    within, memory = LocalBroker(local, "myself"), BookBroker(book)
    filled = []
    for day in SESSIONS[4:-1]:
        clock.set(datetime.combine(day, datetime.min.time()).replace(hour=20))
        for broker in (http, within, memory):
            trade(broker, market, day)
        exchange.advance()
        local.advance()
        filled += book.advance().fills
        assert exchange.money("someone") == local.money("myself")
        assert exchange.money("someone").equity == book.equity()
        assert exchange.money("someone").cash == book.portfolio.cash
    clock.set(datetime(2025, 5, 1, 20))
    http.reconcile()
    assert len(filled) > 20
    ours = [(f.value, f.commission, f.tax, f.session) for f in exchange.fills("someone")]
    assert ours == [(f.charges.value, f.charges.commission, f.charges.tax, f.session) for f in filled]
    seen = [placed.state for placed in http.orders() if placed.state != "refused"]
    assert seen.count("filled") == len(filled)
    assert set(seen) == {"filled", "expired"}
