"""The same period, day by day through the HTTP server and in the backtest: the same to the dollar.

Day by day is what a user does with ``stockllm trade`` each evening: forecasts in the ledger, verdicts,
policy, orders over HTTP; then the server's exchange goes through the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from standin import FakeClock

from stockllm.data.errors import OrderRefused
from stockllm.data.store import Store
from stockllm.forecaster.forecast import forecast
from stockllm.trading.backtest.backtest import Backtest, Request, backtest
from stockllm.trading.brokers.broker import Funds, Placed, Position
from stockllm.trading.brokers.ncku import NckuBroker
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.proof import problems
from stockllm.trading.exchange.rules import Order, Rules
from stockllm.trading.live.live import Account, plan_evening
from stockllm.trading.strategy.dealing import send
from stockllm.trading.strategy.policy import Policy

from ..conftest import CODES, EVENING, EX_DATE, PASSWORD, SESSIONS, Served

CASH = 2_000_000
Open = Callable[[date, Rules], Served]


@pytest.fixture
def open_server(market_store: Store, hashed: str) -> Iterator[Open]:
    """A replay from an evening on, served, with the account ``someone``."""
    running: list[Served] = []

    def start(evening: date, rules: Rules) -> Served:
        exchange = Exchange.open(market_store, "replay", evening=evening, rules=rules)
        exchange.add_account("someone", hashed, cash=CASH)
        running.append(Served(exchange))
        return running[-1]

    yield start
    for each in running:
        each.close()


class ModernBroker:
    """A client of the modern protocol, written from its OpenAPI document alone."""

    def __init__(self, served: Served) -> None:
        self.served = served
        login = {"account": "someone", "password": PASSWORD}
        self.header = {"Authorization": f"Bearer {self.ask('POST', 'tokens', json=login)['token']}"}

    def ask(self, method: str, path: str, **more: Any) -> Any:
        header = getattr(self, "header", {})
        answer = self.served.session.request(
            method, f"{self.served.root}/v1/{path}", headers=header, timeout=30, **more
        )
        document = answer.json()
        if answer.status_code >= 400:
            error = document["error"]
            raise OrderRefused(error["reason"], error["message_zh"], error["message"])
        return document

    def session(self) -> date:
        return date.fromisoformat(self.ask("GET", "exchange")["next_session"])

    def funds(self) -> Funds:
        cash = self.ask("GET", "cash")
        return Funds(cash["free"], cash["equity"])

    def positions(self) -> dict[str, Position]:
        return {r["code"]: Position(r["code"], r["shares"], r["cost"]) for r in self.ask("GET", "holdings")}

    def orders(self) -> list[Placed]:
        return [_placed(row) for row in self.ask("GET", "orders")]

    def place(self, order: Order, once: str | None = None) -> Placed:
        new = {
            "code": order.code,
            "side": order.side,
            "shares": order.shares,
            "price": f"{order.price / 100}",
        }
        return _placed(self.ask("POST", "orders", json=new))

    def cancel(self, id: int) -> Placed:
        return _placed(self.ask("DELETE", f"orders/{id}"))


def _placed(row: dict[str, Any]) -> Placed:
    order = Order(row["code"], row["side"], row["shares"], round(float(row["price"]) * 100))
    return Placed(row["id"], order, date.fromisoformat(row["session"]), row["state"])


def same(served: Served, equity: list[int], made: Backtest) -> None:
    """Fills and equity of the server's books are those of the backtest."""
    assert equity == [day.equity for day in made.run.days]
    orders = {order.id: order for order in served.exchange.orders("someone")}
    fills = [
        (f.session, o.code, o.side, o.shares, o.price, f.value, f.commission, f.tax, f.cost)
        for f in served.exchange.fills("someone")
        for o in (orders[f.order_id],)
    ]
    assert fills == [
        (
            f.session, f.order.code, f.order.side, f.order.shares, f.order.price,
            f.charges.value, f.charges.commission, f.charges.tax, f.cost,
        )
        for f in made.run.fills
    ]  # fmt: skip
    assert len(orders) == sum(day.placed for day in made.run.days)
    assert problems(served.exchange) == []


@pytest.mark.parametrize(("strategy", "settlement"), [("hold", 0), ("four-points", 2)])
def test_over_the_modern_protocol_with_ex_dates_and_odd_lots(
    open_server: Open, market_store: Store, strategy: str, settlement: int
) -> None:
    served = open_server(EVENING, Rules("always", settlement))
    policy = Policy(position_cap=Decimal("0.35"), stop=Decimal("0.10"))
    account = Account("local", "someone", ModernBroker(served), Decimal(1), served.exchange)
    equity = [CASH]
    for _ in SESSIONS[5:]:
        plan = plan_evening(market_store, account, strategy, CODES, policy)
        account.set_peak(market_store, plan.standing.peak)
        assert all(each.placed for each in send(account.broker, plan))
        served.exchange.advance()
        equity.append(served.exchange.money("someone").equity)
    made = backtest(
        market_store,
        Request(SESSIONS[5], SESSIONS[-1], CODES, strategy, "ewma", policy, CASH, settlement=settlement),
    )
    same(served, equity, made)
    # The period has what parity could fail on.
    assert any(fill.order.shares % 1000 for fill in made.run.fills)
    assert made.run.trades
    if strategy == "hold":
        assert any(day.stopped for day in made.run.days)
        assert sum(day.dividends for day in made.run.days if day.session == EX_DATE) > 0


def test_over_the_universitys_protocol_with_forecasts(open_server: Open, market_store: Store) -> None:
    start = 24  # forecasts read twenty sessions
    served = open_server(SESSIONS[start - 1], Rules("evening", 0, "round"))
    policy = Policy(Decimal("0.4"), Decimal("0.1"), Decimal(1), None, odd_lots=False)
    clock = FakeClock(datetime.combine(SESSIONS[start - 1], time(20)))
    url = f"{served.root}/stock/api/v1"
    broker = NckuBroker(market_store, url, "someone", PASSWORD, clock=clock, opening_cash=CASH)
    account = Account("ncku", "someone", broker, Decimal(1), None)
    equity = [CASH]
    for evening in SESSIONS[start - 1 : -1]:
        clock.set(datetime.combine(evening, time(20)))
        ready = [code for code in CODES if market_store.bars.bars(code, evening, evening)]
        ready = [code for code in ready if len(market_store.bars.series(code, end=evening)) >= 20]
        forecast(market_store, ready, model="ewma", paths=9, as_of=evening)
        broker.reconcile()
        plan = plan_evening(market_store, account, "mean", CODES, policy)
        assert plan.standing.equity == equity[-1], "what the client reckons is what the books have"
        account.set_peak(market_store, plan.standing.peak)
        assert all(each.placed for each in send(broker, plan))
        served.exchange.advance()
        equity.append(served.exchange.money("someone").equity)
    request = Request(
        SESSIONS[start], SESSIONS[-1], CODES, "mean", "ewma", policy, CASH, paths=9, settlement=0
    )
    made = backtest(market_store, request)
    same(served, equity, made)
    assert made.forecasts["ledger"] > 40
    assert made.forecasts["made"] == 0, "all of them were made evening by evening"
    assert len(made.run.trades) > 2
