"""The engine: worked examples, ex-dates, and what no order may do to an account."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockllm.data.errors import OrderRefused
from stockllm.data.stores.exrights import ExRight
from stockllm.market.fees import Charges, charges
from stockllm.trading.exchange.book import Book
from stockllm.trading.exchange.engine import Action, Entry, Step
from stockllm.trading.exchange.market_data import Market
from stockllm.trading.exchange.rules import Order, Rules

EVENING = date(2025, 3, 3)
SESSIONS = tuple(EVENING + timedelta(days=k) for k in range(1, 9))


def market(*days: tuple[int, int, int], **more: Any) -> Market:
    """2330 with these lows, highs and closes, after a close of 100."""
    prices = np.array([days], dtype=np.int32)
    return Market(SESSIONS[: len(days)], ["2330"], prices, before={"2330": 10000}, **more)


def flat(n: int = 8, **more: Any) -> Market:
    return market(*[(9900, 10100, 10000)] * n, **more)


def book(prices: Market, cash: int = 1_000_000, **more: Any) -> Book:
    return Book.start(prices, EVENING, cash, **more)


def buy(price: int = 10000, shares: int = 1000) -> Order:
    return Order("2330", "buy", shares, price)


def sell(price: int = 10000, shares: int = 1000) -> Order:
    return Order("2330", "sell", shares, price)


def balance(steps: list[Step], account: str) -> int:
    return sum(amount for s in steps for e in s.entries for name, amount in e.postings if name == account)


def test_a_round_trip_to_the_dollar() -> None:
    b = book(flat())
    b.place(buy(9950))
    bought = b.advance()
    assert [f.charges for f in bought.fills] == [Charges(99_500, 141, 0)]
    assert (b.portfolio.cash, b.portfolio.reserved) == (900_359, 0)
    assert b.equity() == 900_359 + 100_000
    b.place(sell(10100))
    sold = b.advance()
    assert [(f.charges.commission, f.charges.tax, f.cost) for f in sold.fills] == [(143, 303, 99_500)]
    assert (b.portfolio.cash, b.portfolio.receivable, b.portfolio.holdings) == (900_359, 100_554, {})
    settled = b.advance()
    assert (b.portfolio.cash, b.portfolio.receivable, settled.settled) == (1_000_913, 0, 100_554)
    steps = [bought, sold, settled]
    assert balance(steps, "gains") == -1500
    assert balance(steps, "commission") == 284
    assert balance(steps, "cash") == 913


@pytest.mark.parametrize(("settlement", "sessions"), [(0, 0), (1, 1), (2, 2)])
def test_settlement(settlement: int, sessions: int) -> None:
    b = book(flat(), 100_142, rules=Rules(settlement=settlement))
    b.place(buy())
    b.advance()
    b.place(sell())
    b.advance()
    for _ in range(sessions):
        assert b.portfolio.free == 0
        with pytest.raises(OrderRefused, match="0 are free"):
            b.place(buy(9900, 1))
        b.advance()
    assert b.portfolio.free == 100_000 - 142 - 300


@pytest.mark.parametrize(
    ("price", "filled"), [(9890, False), (9900, True), (10000, True), (10100, True), (10150, False)]
)
def test_filled_within_the_days_range_and_expired_outside(price: int, filled: bool) -> None:
    b = book(flat())
    booked = b.place(buy(price))
    assert b.portfolio.reserved == booked.reserved > 0
    done = b.advance()
    assert (len(done.fills), len(done.expired)) == ((1, 0) if filled else (0, 1))
    assert b.portfolio.reserved == 0
    assert all(f.order.price == price for f in done.fills)
    assert b.advance().fills == [], "an order lives for one session"


def test_a_day_without_a_trade_fills_nothing_and_keeps_the_price() -> None:
    b = book(market((9900, 10100, 10050), (0, 0, 0), (9900, 10100, 10000)))
    b.place(buy())
    b.advance()
    before = b.equity()
    b.place(sell())
    assert len(b.advance().expired) == 1
    assert b.equity() == before
    with pytest.raises(OrderRefused, match=r"limits of 90\.5 to 110\.5"):
        b.place(sell(11100))


def test_the_same_cash_and_shares_are_not_promised_twice() -> None:
    b = book(flat(), 150_000)
    first = b.place(buy())
    with pytest.raises(OrderRefused, match="49,858 are free"):
        b.place(buy())
    b.cancel(first.id)
    with pytest.raises(OrderRefused, match="no open order"):
        b.cancel(first.id)
    b.place(buy())
    b.advance()
    b.place(sell(shares=600))
    with pytest.raises(OrderRefused, match="400 are free"):
        b.place(sell(shares=500))
    b.place(sell(shares=400))


def test_unknown_stocks_and_the_end_of_the_data() -> None:
    b = book(flat(1))
    with pytest.raises(OrderRefused, match="No stock with prices"):
        b.place(Order("1101", "buy", 1000, 10000))
    b.advance()
    assert b.next_session is None
    with pytest.raises(OrderRefused, match="no further session"):
        b.place(buy())
    with pytest.raises(ValueError, match="no further session"):
        b.advance()


def ex_right(kind: Any, close: int, reference: int, basis: int) -> ExRight:
    return ExRight("2330", SESSIONS[1], "TWSE", kind, close, reference, basis, None, None, "test")


def through_ex_date(row: ExRight, shares: int = 1000) -> tuple[Book, Step]:
    prices = flat(3, actions=[(row.date, Action.of(row))], references={("2330", row.date): row.basis})
    b = book(prices)
    b.place(buy(shares=shares))
    b.advance()
    return b, b.advance()


def test_a_dividend_in_money() -> None:
    b, done = through_ex_date(ex_right("dividend", 10000, 9720, 9700))
    assert [(g.held, g.cash, g.shares) for g in done.grants] == [(1000, 2800, 0)]
    assert b.portfolio.cash == 1_000_000 - 100_142 + 2800
    assert balance([done], "dividends") == -2800


def test_a_dividend_in_shares_pays_out_the_fraction() -> None:
    # 100 new shares for 1,000: 100 / 1.1 = 90.91. Of 999 shares 99.9 new: the 0.9 is worth 81.8.
    b, done = through_ex_date(ex_right("rights", 10000, 9091, 9090), 999)
    assert [(g.held, g.cash, g.shares) for g in done.grants] == [(999, 80, 99)]
    assert b.portfolio.holdings["2330"].shares == 1098
    assert b.portfolio.holdings["2330"].cost == 99_900


def test_a_right_to_subscribe_brings_only_the_free_shares() -> None:
    _, done = through_ex_date(ex_right("rights", 10000, 8500, 9090))
    assert [g.shares for g in done.grants] == [1000 * 910 // 9090]


def test_both_at_once_are_paid_in_money() -> None:
    _, done = through_ex_date(ex_right("both", 10000, 9000, 9000))
    assert [(g.cash, g.shares) for g in done.grants] == [(10_000, 0)]


def test_who_buys_on_the_ex_date_receives_nothing_and_its_limits_start_from_the_basis() -> None:
    row = ex_right("dividend", 10000, 9000, 9000)
    prices = flat(3, actions=[(row.date, Action.of(row))], references={("2330", row.date): row.basis})
    b = book(prices)
    b.advance()
    with pytest.raises(OrderRefused, match="limits of 81 to 99"):
        b.place(buy(10000))
    b.place(buy(9900))
    done = b.advance()
    assert (len(done.fills), done.grants) == (1, [])


def test_a_new_listing_has_no_limits() -> None:
    b = book(flat(2, unlimited=[("2330", SESSIONS[0])]))
    b.place(buy(15000))
    b.advance()
    with pytest.raises(OrderRefused, match="limits"):
        b.place(buy(15000))


def test_an_entry_that_does_not_balance_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="balance"):
        Entry("buy", (("cash", -10), ("shares", 9)))


ORDERS = st.builds(
    Order,
    st.just("2330"),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 3).map(lambda n: n * 1000) | st.integers(1, 999),
    st.integers(90, 110).map(lambda n: n * 100),
)
DAYS = st.tuples(st.integers(90, 100), st.integers(0, 10), st.integers(0, 10)).map(
    lambda d: (d[0] * 100, (d[0] + d[1]) * 100, (d[0] + min(d[1], d[2])) * 100)
)


@settings(deadline=None, max_examples=60)
@given(
    days=st.lists(DAYS, min_size=8, max_size=8),
    orders=st.lists(st.lists(ORDERS, max_size=5), min_size=8, max_size=8),
    discount=st.sampled_from([Decimal(1), Decimal("0.28")]),
    settlement=st.integers(0, 2),
    row=st.sampled_from([None, ("dividend", 9500, 9500), ("rights", 9300, 9300), ("both", 9000, 9000)]),
)
def test_whatever_is_ordered(days: Any, orders: Any, discount: Decimal, settlement: int, row: Any) -> None:
    actions = [(SESSIONS[3], Action.of(ex_right(row[0], 10000, *row[1:])))] if row else []
    b = book(market(*days, actions=actions), 400_000, discount=discount, rules=Rules(settlement=settlement))
    steps = []
    for batch in orders:
        before = b.equity()
        placed = set()
        for order in batch:
            with suppress(OrderRefused):
                placed.add(b.place(order).id)
        assert b.equity() == before, "an order alone moves nothing"
        done = b.advance()
        steps.append(done)
        assert {f.id for f in done.fills} | {e.id for e in done.expired} == placed
        assert len(done.fills) + len(done.expired) == len(placed)
        for fill in done.fills:
            o = fill.order
            assert fill.charges == charges(o.side, o.code, o.shares, o.price, discount=discount)
        own = b.portfolio
        assert own.reserved == 0
        assert own.cash >= 0
        assert own.receivable == balance(steps, "receivable")
        assert own.cash == 400_000 + balance(steps, "cash")
        assert sum(h.cost for h in own.holdings.values()) == balance(steps, "shares")
        assert all(h.shares > 0 and h.cost >= 0 for h in own.holdings.values())


def test_the_same_orders_give_the_same_account() -> None:
    ends = []
    for _ in range(2):
        b = book(flat())
        for k in range(4):
            b.place(buy(9900 + 50 * k, 100 + k))
            b.advance()
        ends.append((b.portfolio.cash, b.portfolio.holdings, b.equity()))
    assert ends[0] == ends[1]
