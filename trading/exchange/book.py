"""One account on the engine, in memory: the exchange without a store, for backtests and for proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from stockllm.data.errors import OrderRefused
from stockllm.data.records import Cents
from stockllm.trading.exchange.engine import Booked, Portfolio, Step, step
from stockllm.trading.exchange.market_data import Market
from stockllm.trading.exchange.rules import Order, Rules, check_form, check_limits

if TYPE_CHECKING:
    from stockllm.data.stores.book_rows import OrderRow


@dataclass(slots=True)
class Book:
    """An account and its open orders on the evening of ``day``, the last session it went through.

    Orders are booked for the market's next session, which ``advance`` takes.
    """

    market: Market
    day: date
    portfolio: Portfolio
    rules: Rules = field(default_factory=Rules)
    number: int = 0
    open: dict[int, Booked] = field(default_factory=dict)
    _last_id: int = 0

    @classmethod
    def start(
        cls,
        market: Market,
        evening: date,
        cash: int,
        *,
        discount: Decimal = Decimal(1),
        rules: Rules | None = None,
    ) -> Book:
        """A new account on ``evening``, whose first session is the market's first one after it."""
        return cls(market, evening, Portfolio(cash, discount), rules or Rules())

    @property
    def next_session(self) -> date | None:
        """The session that orders are booked for, None where the market's days have run out."""
        return self.market.session_after(self.day)

    def place(self, order: Order) -> Booked:
        """Book ``order`` for the next session; OrderRefused, with nothing changed, where it cannot be."""
        session = self.next_session
        if session is None:
            raise OrderRefused(
                "closed", "今日無開盤", "The market has no further session.", "之後沒有交易日了。"
            )
        if self.market.close(order.code, self.day) is None:
            raise unknown_code(order.code)
        order = check_form(order, session, self.rules.off_tick)
        check_limits(order, self.market.reference(order.code, session), session)
        reserved = self.portfolio.reserve(order, self._selling(order.code))
        self._last_id += 1
        booked = Booked(self._last_id, order, session, reserved)
        self.open[booked.id] = booked
        return booked

    def cancel(self, id: int) -> Booked:
        """Take an open order back. OrderRefused where it is not open."""
        booked = self.open.pop(id, None)
        if booked is None:
            raise not_open(id)
        self.portfolio.release(booked)
        return booked

    def advance(self) -> Step:
        """Go through the next session. ValueError where the market's days have run out."""
        session = self.next_session
        if session is None:
            raise ValueError("the market has no further session")
        orders = list(self.open.values())
        self.open.clear()
        self.number += 1
        done = step(self.portfolio, orders, self.market, session, self.number, self.rules.settlement)
        self.day = session
        return done

    def equity(self) -> int:
        """What everything is worth in TWD at the last closes."""
        closes: dict[str, Cents] = {}
        for code in self.portfolio.holdings:
            close = self.market.close(code, self.day)
            assert close is not None, "a share that was bought has traded"
            closes[code] = close
        return self.portfolio.worth(closes)

    def _selling(self, code: str) -> int:
        return sum(
            b.order.shares for b in self.open.values() if b.order.side == "sell" and b.order.code == code
        )


def unknown_code(code: str) -> OrderRefused:
    """The refusal of a stock that has never traded here."""
    return OrderRefused(
        "code",
        "股票代號錯誤",
        f"No stock with prices has the code {code[:12]!r}.",
        f"沒有代號 {code[:12]!r} 的股票，或它還沒有股價。",
    )


def not_open(id: int) -> OrderRefused:
    """The refusal to cancel what is not there any more."""
    return OrderRefused(
        "not_open",
        "委託不存在或已結束",
        f"There is no open order {id}.",
        f"沒有等待中的委託 {id}，請先列出委託。",
    )


def same_order(known: OrderRow, order: Order) -> OrderRow:
    """The order an idempotency key stands for. OrderRefused where this is another one."""
    if (known.code, known.side, known.shares) != (order.code, order.side, order.shares) or (
        known.price != order.price
    ):
        raise OrderRefused(
            "key",
            "重複的識別碼",
            "This idempotency key was used for another order.",
            "這個識別碼已用於另一筆委託，請換一個。",
        )
    return known
