"""Brokers: one interface to whoever takes orders, and the two that live in this process.

``trading.brokers.ncku`` has the one that speaks the university simulator's protocol over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from stockllm.data.errors import OrderRefused
from stockllm.data.stores.book_rows import OrderRow
from stockllm.trading.exchange.book import Book
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order

#: "unknown": it was sent and nobody knows whether it arrived. It may fill.
State = Literal["open", "filled", "expired", "cancelled", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Position:
    """Shares of one stock and what they cost together, in TWD without commission."""

    code: str
    shares: int
    cost: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as its broker knows it. ``id`` is the broker's own."""

    id: int
    order: Order
    session: date
    state: State


@dataclass(frozen=True, slots=True)
class Funds:
    """Cash in TWD: what a new order may use, and what all is worth. None where a broker does not tell.

    ``estimated`` funds were reckoned from the orders that this store sent.
    """

    free: int
    equity: int | None
    estimated: bool = False


class Broker(Protocol):
    """Takes orders for one account. Every call may raise BrokerError where the broker is elsewhere."""

    def session(self) -> date:
        """The session that an order placed now is booked for. OrderRefused where none is taken now."""

    def funds(self) -> Funds:
        """What there is to spend."""

    def positions(self) -> dict[str, Position]:
        """What is held, by code."""

    def orders(self) -> list[Placed]:
        """The account's orders as far as they are known, the last first."""

    def place(self, order: Order, once: str | None = None) -> Placed:
        """Send an order. OrderRefused where it is not taken.

        ``once`` makes a repeated call harmless where the broker knows such keys.
        """

    def cancel(self, id: int) -> Placed:
        """Take an open order back. OrderRefused where that cannot be done."""


class LocalBroker:
    """An account on the store's own exchange."""

    def __init__(self, exchange: Exchange, account: str) -> None:
        self.exchange = exchange
        self.account = account

    def session(self) -> date:
        return self.exchange.next_session()

    def funds(self) -> Funds:
        money = self.exchange.money(self.account)
        return Funds(money.free, money.equity)

    def positions(self) -> dict[str, Position]:
        rows = self.exchange.holdings(self.account)
        return {row.code: Position(row.code, row.shares, row.cost) for row in rows}

    def orders(self) -> list[Placed]:
        return [_placed(row) for row in self.exchange.orders(self.account)]

    def place(self, order: Order, once: str | None = None) -> Placed:
        return _placed(self.exchange.place(self.account, order, once))

    def cancel(self, id: int) -> Placed:
        return _placed(self.exchange.cancel(self.account, id))


class BookBroker:
    """An account in memory: what a backtest trades on. ``book.advance()`` moves it."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def session(self) -> date:
        session = self.book.next_session
        if session is None:
            raise OrderRefused(
                "closed", "今日無開盤", "The market has no further session.", "之後沒有交易日了。"
            )
        return session

    def funds(self) -> Funds:
        return Funds(self.book.portfolio.free, self.book.equity())

    def positions(self) -> dict[str, Position]:
        held = self.book.portfolio.holdings
        return {code: Position(code, held[code].shares, held[code].cost) for code in sorted(held)}

    def orders(self) -> list[Placed]:
        return [
            Placed(booked.id, booked.order, booked.session, "open")
            for booked in sorted(self.book.open.values(), key=lambda each: -each.id)
        ]

    def place(self, order: Order, once: str | None = None) -> Placed:
        del once  # a call in memory is not repeated
        booked = self.book.place(order)
        return Placed(booked.id, booked.order, booked.session, "open")

    def cancel(self, id: int) -> Placed:
        booked = self.book.cancel(id)
        return Placed(id, booked.order, booked.session, "cancelled")


def _placed(row: OrderRow) -> Placed:
    return Placed(row.id, Order(row.code, row.side, row.shares, row.price), row.session, row.state)
