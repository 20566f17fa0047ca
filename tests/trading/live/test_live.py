"""Trading an account as it stands: the right evening, its peak, and refusals that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import pytest
from standin import FakeClock

from stockllm.data.errors import BrokerError, NotEnoughHistory, OrderRefused, StockllmError
from stockllm.data.store import Store
from stockllm.trading.brokers.broker import LocalBroker, Placed
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.rules import Order
from stockllm.trading.live.live import Account, catch_up, fitted, look, plan_evening
from stockllm.trading.strategy.dealing import send
from stockllm.trading.strategy.policy import Policy

from ..conftest import CODES, EVENING, SESSIONS, bar

Live = Callable[[str], tuple[Exchange, FakeClock]]
POLICY = Policy(minimum_edge=None)


def of(exchange: Exchange) -> Account:
    return Account("local", "someone", LocalBroker(exchange, "someone"), Decimal(1), exchange)


def test_a_replay_decides_on_its_own_evening(replay: Exchange) -> None:
    plan = plan_evening(replay.store, of(replay), "hold", CODES, POLICY)
    assert (plan.standing.evening, plan.standing.session) == (EVENING, SESSIONS[5])
    closes = {code: replay.store.bars.last_close(code, EVENING) for code in CODES}
    assert {order.code: order.price for order in plan.orders}.items() <= closes.items()


def test_an_ex_date_is_ordered_at_its_basis(replay: Exchange) -> None:
    replay.advance(SESSIONS[8])
    plan = plan_evening(replay.store, of(replay), "hold", ["2330"], POLICY)
    (order,) = plan.orders
    (row,) = [row for row in replay.store.ex_rights.rows() if row.code == "2330"]
    assert (plan.standing.session, order.price) == (row.date, row.basis)


def test_live_wants_the_last_session_in_and_matched(live: Live) -> None:
    exchange, clock = live("2025-04-30 16:01")
    store, mine = exchange.store, of(exchange)
    assert plan_evening(store, mine, "hold", CODES, POLICY).standing.evening == date(2025, 4, 30)
    clock.set(datetime(2025, 5, 2, 16, 5))
    with pytest.raises(StockllmError, match="session before 2025-05-05 is 2025-05-02: refresh"):
        plan_evening(store, mine, "hold", CODES, POLICY)
    store.bars.put([bar(code, date(2025, 5, 2), 50_000) for code in CODES])
    with pytest.raises(StockllmError, match="exchange advance"):
        plan_evening(store, mine, "hold", CODES, POLICY)
    catch_up(mine)
    assert exchange.day() == date(2025, 5, 2)
    assert plan_evening(store, mine, "hold", CODES, POLICY).orders
    catch_up(mine)
    assert exchange.day() == date(2025, 5, 2)


def test_without_prices(replay: Exchange) -> None:
    with pytest.raises(NotEnoughHistory, match="no signals"):
        plan_evening(replay.store, of(replay), "hold", ["9999"], POLICY)


def test_outside_the_window(live: Live) -> None:
    exchange, _ = live("2025-04-30 10:00")
    with pytest.raises(OrderRefused):
        plan_evening(exchange.store, of(exchange), "hold", CODES, POLICY)


def test_the_peak_is_kept_until_it_is_forgotten(replay: Exchange) -> None:
    mine, store = of(replay), replay.store
    assert look(store, mine).drawdown is None
    mine.set_peak(store, 20_000_000)
    stopped = plan_evening(store, mine, "hold", CODES, POLICY)
    assert stopped.stopped
    assert stopped.standing.drawdown == 0.5
    assert look(store, mine).drawdown == 0.5
    assert not plan_evening(store, mine, "hold", CODES, POLICY, new_peak=True).stopped
    assert mine.peak(store) == 20_000_000, "a plan writes nothing"


def test_a_refusal_stops_no_other_and_a_dead_broker_stops_all(
    replay: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = of(replay)
    plan = plan_evening(replay.store, mine, "hold", CODES, POLICY)
    assert len(plan.orders) == 3
    place, tried = LocalBroker.place, list[str]()

    def failing(error: Exception) -> Callable[..., Placed]:
        def act(self: LocalBroker, order: Order, once: str | None = None) -> Placed:
            tried.append(order.code)
            if len(tried) == 1:
                raise error
            return place(self, order, once)

        return act

    monkeypatch.setattr(LocalBroker, "place", failing(BrokerError("It is gone.")))
    assert [each.placed for each in send(mine.broker, plan)] == [None, None, None]
    assert len(tried) == 1
    tried.clear()
    monkeypatch.setattr(LocalBroker, "place", failing(OrderRefused("cash", "現金不足", "No cash.")))
    sent = send(mine.broker, plan)
    assert [each.placed is not None for each in sent] == [False, True, True]
    assert (sent[0].why_zh, sent[0].why_en) == ("現金不足", "No cash.")


def test_limits_fit_the_account(replay: Exchange, market_store: Store) -> None:
    mine = of(replay)
    elsewhere = Account("ncku", "someone", mine.broker, Decimal("0.6"), None)
    assert fitted(Policy(), mine).odd_lots
    assert not fitted(Policy(), elsewhere).odd_lots
    assert fitted(Policy(), elsewhere).discount == Decimal("0.6")
