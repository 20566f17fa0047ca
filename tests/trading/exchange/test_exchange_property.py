"""Whatever is done to the books, they agree with the engine in memory, with themselves and with zero."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stockllm.data.errors import OrderRefused
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.data.stores.books import Books
from stockllm.trading.exchange.book import Book
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.market_data import load_market
from stockllm.trading.exchange.proof import problems
from stockllm.trading.exchange.rules import LOT, Order, Rules
from stockllm.trading.exchange.sessions import NotYet

from ..conftest import CODES, EVENING, LAST

CASH = 3_000_000
#: What a session writes, in turn; the books must survive a stop at each of them.
WRITES = ("set_holdings", "add_fills", "add_grants", "add_entry", "end_orders", "set_money", "set_day", "log")


class Stopped(Exception):
    """The process ends here."""


class Trading(RuleBasedStateMachine):
    """An exchange in a store beside the same account in memory."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store: Store | None = None
        self.ids: dict[int, int] = {}  # the store's order -> the memory's
        self.keys: dict[str, tuple[Order, int]] = {}

    @initialize(settlement=st.integers(0, 2), discount=st.sampled_from(["1", "0.28"]))
    def open(self, settlement: int, discount: str) -> None:
        shutil.copytree(self.template, self.folder / "home")
        self.store = Store.open(Home(self.folder / "home"))
        rules = Rules(settlement=settlement)
        self.exchange = Exchange.open(self.store, "past", evening=EVENING, rules=rules)
        self.exchange.add_account("someone", "hash", cash=CASH, discount=Decimal(discount))
        market = load_market(self.store, CODES, EVENING, LAST, self.store.calendar())
        self.book = Book.start(market, EVENING, CASH, discount=Decimal(discount), rules=rules)

    def teardown(self) -> None:
        if self.store is not None:
            self.store.close()
        shutil.rmtree(self.folder)

    def _order(self, code: str, side: str, shares: int, off: int) -> Order:
        close = self.book.market.close(code, self.book.day)
        assert close
        return Order(code, side, shares, close + off)  # type: ignore[arg-type]

    @rule(
        code=st.sampled_from(CODES),
        side=st.sampled_from(["buy", "buy", "sell"]),
        shares=st.integers(1, 4).map(lambda n: n * LOT) | st.integers(1, 1200),
        off=st.sampled_from([0, 0, 0, 100, -100, 3, 10**6]),
    )
    def place(self, code: str, side: str, shares: int, off: int) -> None:
        order = self._order(code, side, shares, off)
        refused = []
        for placing in (self.exchange.place, None):
            try:
                if placing is not None:
                    placed = placing("someone", order)
                elif self.book.next_session is not None:
                    booked = self.book.place(order)
            except OrderRefused as error:
                refused.append((error.reason, str(error)))
        if refused:
            assert len(refused) == 2
            assert refused[0] == refused[1]
        elif self.book.next_session is not None:
            assert (placed.session, placed.reserved) == (booked.session, booked.reserved)
            self.ids[placed.id] = booked.id

    @rule(key=st.sampled_from(["a", "b"]), shares=st.integers(1, 2))
    @precondition(lambda self: self.book.next_session is not None)
    def place_once(self, key: str, shares: int) -> None:
        order = self._order("6166", "buy", shares, 0)
        known = self.keys.get(key)
        if known is not None:
            count = len(self.exchange.orders("someone"))
            if known[0] == order:
                assert self.exchange.place("someone", order, key).id == known[1]
            else:
                with pytest.raises(OrderRefused, match="idempotency"):
                    self.exchange.place("someone", order, key)
            assert len(self.exchange.orders("someone")) == count
            return
        with suppress(OrderRefused):
            placed = self.exchange.place("someone", order, key)
            self.keys[key] = order, placed.id
            self.ids[placed.id] = self.book.place(order).id

    @rule(pick=st.integers(0, 50))
    def cancel(self, pick: int) -> None:
        orders = self.exchange.orders("someone")
        if not orders:
            return
        order = orders[pick % len(orders)]
        if order.state == "open":
            self.exchange.cancel("someone", order.id)
            self.book.cancel(self.ids[order.id])
        else:
            with pytest.raises(OrderRefused, match="no open order"):
                self.exchange.cancel("someone", order.id)

    @rule()
    def advance(self) -> None:
        if self.book.next_session is None:
            with pytest.raises(NotYet):
                self.exchange.advance()
            return
        (done,) = self.exchange.advance()
        step = self.book.advance()
        assert (done.session, done.filled, done.expired) == (
            self.book.day,
            len(step.fills),
            len(step.expired),
        )

    @rule()
    def advance_to_where_it_is(self) -> None:
        assert self.exchange.advance(self.book.day) == []

    @rule(write=st.sampled_from(WRITES), after=st.integers(0, 3))
    def crash_in_a_session(self, write: str, after: int) -> None:
        calls = 0
        real = getattr(Books, write)

        def stop(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise Stopped
            return real(*arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Books, write, stop)
            try:
                done = self.exchange.advance()
            except (Stopped, NotYet):
                done = []
        if done:
            self.book.advance()
        self.reopen()

    @rule()
    def reopen(self) -> None:
        assert self.store is not None
        self.store.close()
        self.store = Store.open(Home(self.folder / "home"))
        self.exchange = Exchange(self.store, "past")

    @invariant()
    def the_books_agree(self) -> None:
        if self.store is None:
            return
        assert problems(self.exchange) == []
        own, money = self.book.portfolio, self.exchange.money("someone")
        assert (money.day, money.cash, money.free, money.due) == (
            self.book.day,
            own.cash,
            own.free,
            own.receivable,
        )
        assert money.equity == self.book.equity()
        assert min(money.free, money.cash, money.shares) >= 0
        held = {h.code: (h.shares, h.cost) for h in self.exchange.holdings("someone")}
        assert held == {code: (h.shares, h.cost) for code, h in own.holdings.items()}
        fills = self.exchange.fills("someone")
        assert len({f.order_id for f in fills}) == len(fills)


def test_the_books_and_the_engine_agree(filled_home: Path) -> None:
    Trading.template = filled_home
    machine: Any = Trading.TestCase
    machine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
    machine().runTest()


def test_the_books_notice(filled_home: Path, tmp_path: Path) -> None:
    """The proof is worth something: each of these faults is found."""
    shutil.copytree(filled_home, tmp_path / "home")
    with Store.open(Home(tmp_path / "home")) as store:
        exchange = Exchange.open(store, "past", evening=EVENING)
        exchange.add_account("someone", "hash")
        (first,) = store.bars.bars("2330", exchange.next_session(), exchange.next_session())
        exchange.place("someone", Order("2330", "buy", LOT, first.close))
        exchange.advance()
        exchange.place("someone", Order("2330", "sell", LOT, first.close))
        assert problems(exchange) == []
        for statement, what in (
            ("UPDATE accounts SET cash = cash - 1", "cash is"),
            ("UPDATE accounts SET reserved = 5", "set aside is 5 and should be 0"),
            ("UPDATE holdings SET cost = cost + 1", "cost of holdings"),
            ("UPDATE holdings SET shares = 500", "shares is"),
            ("UPDATE orders SET state = 'expired' WHERE state = 'filled'", "fills is 1"),
            ("UPDATE accounts SET discount = '0.5'", "charges of order 1"),
            ("UPDATE orders SET shares = 2000 WHERE state = 'open'", "exceed what is held"),
            ("INSERT INTO postings VALUES (1, 'gains', 3)", "does not balance"),
        ):
            with suppress(Stopped), store.books.write() as books:
                books._run(statement)
                seen = [f"{p}" for p in _seen(exchange, books)]
                assert any(what in line for line in seen), (statement, seen)
                raise Stopped


def _seen(exchange: Exchange, books: Books) -> list[str]:
    """What the proof finds inside an open transaction."""
    from contextlib import nullcontext
    from unittest.mock import patch

    with patch.object(type(exchange.store.books), "read", lambda _: nullcontext(books)):
        return problems(exchange)
