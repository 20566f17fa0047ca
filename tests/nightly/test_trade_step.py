"""The refresh trades for an account that opted in, once an evening, and for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from standin import FakeClock, GeneratedMarket, StandIn

from stockllm.data.settings import TradeSettings
from stockllm.data.store import Store
from stockllm.data.stores.refreshes import StepRow
from stockllm.nightly.refresh import refresh
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.proof import problems

from .conftest import nightly_settings

EVENINGS = (datetime(2025, 4, 8, 18, 30), datetime(2025, 4, 9, 18, 30))


def step_of(store: Store, site: StandIn, clock: FakeClock, market: GeneratedMarket, **trade: Any) -> StepRow:
    settings = nightly_settings(site, trade=TradeSettings(**trade))
    report = refresh(store, settings, clock=clock, companies=market.companies)
    (step,) = [step for step in report.row.steps if step.step == "trade"]
    return step


def account(store: Store, clock: FakeClock, name: str = "me") -> Exchange:
    exchange = Exchange.open(store, clock=clock)
    exchange.add_account(name, "hash", cash=50_000_000)
    return exchange


def test_nobody_asked(night: Callable[..., Any], store: Store) -> None:
    report = night()
    (step,) = [step for step in report.row.steps if step.step == "trade"]
    assert (report.ok, step.outcome) == (True, "skipped")


def test_two_evenings(store: Store, site: StandIn, clock: FakeClock, market: GeneratedMarket) -> None:
    opted = {"nightly": True, "account": "me", "strategy": "hold", "position_cap": 0.2}
    assert step_of(store, site, clock, market).outcome == "skipped"
    exchange = account(store, clock)
    first = step_of(store, site, clock, market, **opted)
    assert (first.outcome, first.counts["placed"]) == ("ok", len(market.companies))
    placed = exchange.orders("me")
    assert {order.session for order in placed} == {date(2025, 4, 9)}
    again = step_of(store, site, clock, market, **opted)
    assert (again.outcome, again.counts["orders"]) == ("ok", 0)
    assert exchange.orders("me") == placed, "twice of an evening orders once"

    clock.set(EVENINGS[1])
    second = step_of(store, site, clock, market, **opted)
    assert second.outcome == "ok"
    assert exchange.day() == date(2025, 4, 9), "the session before was matched first"
    ended = {order.state for order in exchange.orders("me") if order.session == date(2025, 4, 9)}
    assert ended <= {"filled", "expired"}
    held = {holding.code for holding in exchange.holdings("me")}
    assert held
    asked = {order.code for order in exchange.orders("me") if order.state == "open"}
    assert asked.isdisjoint(held)
    assert problems(exchange) == []


def test_what_stops_it_stops_no_other_step(
    store: Store, site: StandIn, clock: FakeClock, market: GeneratedMarket
) -> None:
    missing = step_of(store, site, clock, market, nightly=True, account="nobody")
    assert missing.outcome == "failed"
    assert "exchange account add" in missing.en
    past = Exchange.open(store, "past", evening=date(2025, 3, 3), clock=clock)
    past.add_account("me", "hash")
    replay = step_of(store, site, clock, market, nightly=True, account="me", strategy="hold")
    assert (replay.outcome, past.orders("me")) == ("skipped", [])
    account(store, clock, "other")
    clock.set(datetime(2025, 4, 12, 18, 30))  # a Saturday
    shut = step_of(store, site, clock, market, nightly=True, account="other", strategy="hold")
    assert shut.outcome == "skipped"
