"""The exchange over a store: orders, sessions, replays, and live days as their prices arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import pytest
from standin import FakeClock

from stockllm.data.errors import OrderRefused, UsageError
from stockllm.data.store import Store
from stockllm.data.stores.collected import Collected
from stockllm.trading.exchange.exchange import Exchange, NoAccount
from stockllm.trading.exchange.proof import problems
from stockllm.trading.exchange.rules import Order, Rules
from stockllm.trading.exchange.sessions import NotYet

from ..conftest import EVENING, EX_DATE, LAST, SESSIONS, bar, dump

Live = Callable[[str], tuple[Exchange, FakeClock]]


def inside(exchange: Exchange, code: str = "2330", side: str = "buy", shares: int = 1000) -> Order:
    """An order that the next session fills."""
    session = exchange.next_session()
    (found,) = exchange.store.bars.bars(code, session, session)
    return Order(code, side, shares, found.close)  # type: ignore[arg-type]


def test_buying_selling_and_settling(replay: Exchange) -> None:
    order = inside(replay)
    placed = replay.place("someone", order)
    assert (placed.state, placed.session) == ("open", SESSIONS[5])
    assert replay.money("someone").free == 10_000_000 - placed.reserved
    (done,) = replay.advance()
    assert (done.session, done.filled, done.expired) == (SESSIONS[5], 1, 0)
    (held,) = replay.holdings("someone")
    assert (held.code, held.shares, held.cost, held.id) == ("2330", 1000, order.price * 10, placed.id)
    replay.place("someone", inside(replay, side="sell"))
    replay.advance()
    money = replay.money("someone")
    assert (replay.holdings("someone"), money.shares) == ([], 0)
    assert money.due > 0
    replay.advance()
    after = replay.money("someone")
    assert (after.due, after.cash, after.equity) == (0, money.cash + money.due, money.equity)
    assert [o.state for o in replay.orders("someone")] == ["filled", "filled"]
    assert problems(replay) == []


def test_refusals_change_nothing(replay: Exchange) -> None:
    before = dump(replay)
    good = inside(replay)
    for order, reason in (
        (Order("9999", "buy", 1000, 10000), "code"),
        (Order("2330", "buy", 1500, good.price), "shares"),
        (Order("2330", "buy", 1000, good.price + 1), "off_tick"),
        (Order("2330", "buy", 1000, 10_000_00), "limits"),
        (Order("2330", "buy", 500_000, good.price), "cash"),
        (Order("2330", "sell", 1000, good.price), "holdings"),
        (Order("2330", "buy", -1000, good.price), "shares"),
    ):
        with pytest.raises(OrderRefused) as caught:
            replay.place("someone", order)
        assert caught.value.reason == reason
    for id in (7, -1, 2**63):
        with pytest.raises(OrderRefused, match=f"no open order {id}"):
            replay.cancel("someone", id)
    with pytest.raises(NoAccount):
        replay.place("nobody", good)
    assert dump(replay) == before


def test_an_idempotency_key_books_once(replay: Exchange) -> None:
    order = inside(replay)
    first = replay.place("someone", order, "key-1")
    assert replay.place("someone", order, "key-1") == first
    with pytest.raises(OrderRefused, match="idempotency key"):
        replay.place("someone", Order("2330", "buy", 2000, order.price), "key-1")
    replay.advance()
    again = replay.place("someone", order, "key-1")
    assert (again.id, again.state) == (first.id, "filled")
    assert len(replay.orders("someone")) == 1


def test_a_cancelled_order_is_over(replay: Exchange, market_store: Store) -> None:
    placed = replay.place("someone", inside(replay))
    assert replay.cancel("someone", placed.id).state == "cancelled"
    assert replay.money("someone").free == 10_000_000
    replay.add_account("other", "hash")
    for account in ("someone", "other"):
        with pytest.raises(OrderRefused, match="no open order"):
            replay.cancel(account, placed.id)
    assert replay.advance()[0].filled == 0


def test_an_exchange_may_round(market_store: Store) -> None:
    exchange = Exchange.open(market_store, "past", evening=EVENING, rules=Rules(off_tick="round"))
    exchange.add_account("someone", "hash")
    order = inside(exchange)
    placed = exchange.place("someone", Order("2330", "buy", 1000, order.price + 7), "k")
    assert placed.price == order.price
    assert exchange.place("someone", Order("2330", "buy", 1000, order.price + 7), "k") == placed


def test_a_replay_to_a_day_and_again(replay: Exchange) -> None:
    replay.place("someone", inside(replay))
    assert [a.session for a in replay.advance(SESSIONS[8])] == list(SESSIONS[5:9])
    before = (replay.money("someone"), replay.holdings("someone"), replay.fills("someone"))
    assert replay.advance(SESSIONS[8]) == []
    assert replay.advance(EVENING) == []
    assert (replay.money("someone"), replay.holdings("someone"), replay.fills("someone")) == before


def test_a_replay_ends_with_the_prices(replay: Exchange) -> None:
    replay.advance(LAST)
    assert replay.day() == LAST
    with pytest.raises(NotYet, match="the replay is over"):
        replay.advance()


def test_ex_dates_pay_in_money_and_in_shares(replay: Exchange) -> None:
    while replay.next_session() < EX_DATE:
        for code in ("2330", "2317"):
            if not any(h.code == code for h in replay.holdings("someone")):
                replay.place("someone", inside(replay, code))
        replay.advance()
    before = replay.money("someone")
    (done,) = replay.advance()
    with replay.store.books.read() as books:
        grants = books.grants(replay.account(books, "someone").id)
    cash = {g.code: g.cash for g in grants}
    assert (done.paid, [g.code for g in grants]) == (2, ["2317", "2330"])
    assert cash["2330"] > 0
    assert grants[0].shares in range(95, 106)
    assert {h.code: h.shares for h in replay.holdings("someone")}["2317"] == 1000 + grants[0].shares
    assert replay.money("someone").cash == before.cash + sum(cash.values())
    assert problems(replay) == []


def test_opening(market_store: Store) -> None:
    with pytest.raises(UsageError, match="no exchange 'live'"):
        Exchange(market_store)
    with pytest.raises(UsageError, match="an evening before"):
        Exchange.open(market_store, "past")
    with pytest.raises(UsageError, match="an evening before"):
        Exchange.open(market_store, "past", evening=LAST)
    exchange = Exchange.open(market_store, "past", evening=EVENING)
    with pytest.raises(UsageError, match="already"):
        Exchange.open(market_store, "past", evening=EVENING)
    exchange.add_account("a", "h")
    with pytest.raises(UsageError, match="already"):
        exchange.add_account("a", "h")
    with pytest.raises(UsageError, match="discount"):
        exchange.add_account("b", "h", discount=Decimal("1.5"))
    with pytest.raises(UsageError, match="cannot open"):
        exchange.add_account("b", "h", cash=-1)


def test_an_account_belongs_to_one_exchange(replay: Exchange) -> None:
    other = Exchange.open(replay.store, "other", evening=EVENING)
    with pytest.raises(NoAccount, match="'other' has no account 'someone'"):
        other.money("someone")


def test_a_live_session_waits_for_its_end_and_its_prices(live: Live, market_store: Store) -> None:
    exchange, clock = live("2025-04-30 20:00")
    session = date(2025, 5, 2)  # Labour Day is closed
    assert exchange.next_session() == session
    close = market_store.bars.last_close("2330", LAST)
    assert close
    with pytest.raises(OrderRefused, match="limits"):
        exchange.place("someone", Order("2330", "buy", 1000, 10_000))
    exchange.place("someone", Order("2330", "buy", 1000, close))
    for moment, why in (
        ("2025-05-01 20:00", "has not ended"),
        ("2025-05-02 13:00", "has not ended"),
        ("2025-05-02 18:00", "no prices of 2025-05-02"),
    ):
        clock.set(datetime.fromisoformat(moment))
        with pytest.raises(NotYet, match=why):
            exchange.advance()
    market_store.bars.put([bar("2317", session, 20000)])
    with pytest.raises(NotYet, match="prices of 2330 on 2025-05-02 are not in"):
        exchange.advance()
    assert exchange.orders("someone")[0].state == "open"
    market_store.bars.put([bar("2330", session, close)])
    assert exchange.advance()[0].filled == 1
    with pytest.raises(NotYet, match="2025-05-05 has not ended"):
        exchange.advance()
    assert problems(exchange) == []


def test_a_whole_market_day_without_the_stock_is_a_day_without_a_trade(
    live: Live, market_store: Store
) -> None:
    exchange, clock = live("2025-04-30 20:00")
    close = market_store.bars.last_close("2330", LAST)
    assert close
    exchange.place("someone", Order("2330", "buy", 1000, close))
    clock.set(datetime.fromisoformat("2025-05-02 18:00"))
    market_store.bars.put([bar("2317", date(2025, 5, 2), 20000)])
    market_store.collected.put(Collected("day", "TWSE", "2025-05-02", "complete", "x", clock.now()))
    assert exchange.advance()[0].expired == 1


def test_a_session_that_falls_out_passes_its_orders_on(live: Live, market_store: Store) -> None:
    exchange, clock = live("2025-04-30 20:00")
    close = market_store.bars.last_close("2330", LAST)
    assert close
    exchange.place("someone", Order("2330", "buy", 1000, close))
    clock.set(datetime.fromisoformat("2025-05-05 18:00"))
    for name in ("TWSE", "TPEx"):
        market_store.collected.put(Collected("day", name, "2025-05-02", "no_data", "x", clock.now()))
    market_store.bars.put([bar("2330", date(2025, 5, 5), close)])
    (done,) = exchange.advance()
    assert (done.session, done.filled) == (date(2025, 5, 5), 1)


def test_limits_are_not_judged_by_a_close_that_is_too_old(live: Live, market_store: Store) -> None:
    exchange, clock = live("2025-04-30 20:00")
    clock.set(datetime.fromisoformat("2025-05-02 16:01"))  # that day's prices are not in yet
    placed = exchange.place("someone", Order("2330", "buy", 1000, 10_000))
    assert placed.session == date(2025, 5, 5)
    clock.set(datetime.fromisoformat("2025-05-05 10:00"))
    with pytest.raises(OrderRefused) as caught:
        exchange.place("someone", Order("2330", "buy", 1000, 10_000))
    assert caught.value.status == "非委託時間"
