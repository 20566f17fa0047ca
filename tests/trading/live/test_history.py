"""An account's past: its equity each session and what its sales brought, out of the books alone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from stockllm.data.store import Store
from stockllm.trading.backtest.backtest import Request, backtest
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order
from stockllm.trading.live.history import held_instead, history
from stockllm.trading.strategy.policy import Policy

CASH = 10_000_000


def order(store: Store, exchange: Exchange, code: str, side: str, shares: int) -> Order:
    """At the price in the middle of the session to come, so that it fills."""
    session = exchange.next_session()
    (bar,) = store.bars.bars(code, session, session)
    return Order(code, side, shares, bar.close)  # type: ignore[arg-type]


def trade(store: Store, exchange: Exchange) -> dict[object, int]:
    """Buys, holds through the ex-dates, sells part of it; the equity of every evening as it was then."""
    seen: dict[object, int] = {exchange.day(): exchange.money("someone").equity}
    exchange.place("someone", order(store, exchange, "2330", "buy", 3000))
    exchange.place("someone", order(store, exchange, "2317", "buy", 2000))
    for number in range(14):
        if number == 9:
            exchange.place("someone", order(store, exchange, "2330", "sell", 1000))
        if number == 13:
            exchange.place("someone", order(store, exchange, "2330", "sell", 2000))
        exchange.advance()
        seen[exchange.day()] = exchange.money("someone").equity
    return seen


def test_equity_is_what_it_was_on_every_evening(market_store: Store, replay: Exchange) -> None:
    seen = trade(market_store, replay)
    past = history(market_store, replay, "someone")
    assert past is not None
    assert past.opening.cash == CASH
    assert dict(zip(past.days, past.equity, strict=True)) == seen
    assert len(set(past.equity)) > 10
    assert past.gain == pytest.approx(past.equity[-1] / CASH - 1)


def test_what_was_gained_is_realised_or_open(market_store: Store, replay: Exchange) -> None:
    trade(market_store, replay)
    past = history(market_store, replay, "someone")
    assert past is not None
    money = replay.money("someone")
    held = replay.holdings("someone")
    assert [row.code for row in held] == ["2317"]  # of 2330 all was sold, dividends and gains are realised
    (ordered,) = (row.id for row in replay.orders("someone", "filled") if row.code == "2317")
    (bought,) = (fill for fill in replay.fills("someone") if fill.order_id == ordered)
    unrealised = money.shares - sum(row.cost for row in held)
    assert past.realised_total + unrealised - bought.commission == money.equity - CASH
    assert past.realised["2330"] != 0
    # 2317 paid for the fraction of a new share, if for one, and sold nothing.
    grants = {
        code: sum(g.cash for g in _grants(market_store, replay) if g.code == code) for code in past.realised
    }
    assert past.realised.get("2317", 0) == grants.get("2317", 0)
    assert grants["2330"] > 0
    sold = [fill for fill in replay.fills("someone") if fill.tax and fill.session == past.days[-1]]
    assert sold
    assert past.realised_today != 0


def _grants(store: Store, exchange: Exchange) -> list:  # type: ignore[type-arg]
    with store.books.read() as books:
        return books.grants(exchange.account(books, "someone").id)


def test_an_account_that_did_nothing_stood_still(market_store: Store, replay: Exchange) -> None:
    fresh = history(market_store, replay, "someone")
    assert fresh is not None
    assert (fresh.equity, fresh.realised, fresh.realised_today) == ((CASH,), {}, 0)
    replay.advance()
    replay.add_account("later", "hash", cash=5_000, discount=Decimal("0.6"))
    replay.add_account("poor", "hash", cash=0)
    replay.advance()
    still = history(market_store, replay, "someone")
    later = history(market_store, replay, "later")
    assert still is not None
    assert later is not None
    assert still.equity == (CASH,) * 3
    assert later.days == still.days[1:]
    assert later.opening.discount == Decimal("0.6")
    assert history(market_store, replay, "poor") is None


def test_holding_instead_is_what_the_backtest_compares_with(market_store: Store, replay: Exchange) -> None:
    for _ in range(10):
        replay.advance()
    past = history(market_store, replay, "someone")
    assert past is not None
    days, equity, companies = held_instead(market_store, past.opening, replay.day())
    assert companies == 3
    assert days == past.days
    start = past.opening.evening + timedelta(days=1)
    request = Request(
        start, replay.day(), ("2317", "2330", "6166"), "hold", policy=Policy(), cash=CASH, settlement=1
    )
    assert list(equity) == [day.equity for day in backtest(market_store, request).buy_and_hold.days]
    assert equity[0] == CASH != equity[-1]
    assert held_instead(market_store, past.opening, past.opening.evening) == ((), (), 3)
