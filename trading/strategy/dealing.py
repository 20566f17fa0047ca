"""An evening of an account: how it stands, what the policy makes of it, and sending the orders.

Live trading, a replay and the backtest come through here with their brokers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from stockllm.data.errors import BrokerError, OrderRefused
from stockllm.data.records import Cents
from stockllm.trading.brokers.broker import Broker, Placed
from stockllm.trading.exchange.market_data import Market
from stockllm.trading.exchange.rules import Order
from stockllm.trading.strategy.policy import Advice, Plan, Policy, Standing, decide

#: Orders that may still fill.
_ALIVE = ("open", "unknown")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an order of a plan: placed, or the sentence why not."""

    order: Order
    placed: Placed | None
    why_zh: str = ""
    why_en: str = ""


def standing(broker: Broker, evening: date, peak: int) -> Standing:
    """The account on ``evening``; ``peak`` is the highest equity on the evenings before.

    OrderRefused where no orders are taken now, BrokerError where the broker cannot be asked.
    """
    session = broker.session()
    funds = broker.funds()
    alive = tuple(order for order in broker.orders() if order.state in _ALIVE)
    highest = max(peak, funds.equity or 0)
    return Standing(evening, session, funds.free, funds.equity, highest, broker.positions(), alive)


def references(market: Market, codes: Iterable[str], session: date) -> dict[str, Cents]:
    """What the limits of the coming ``session`` are measured from; the last close where there are none."""
    evening = session - timedelta(days=1)
    found = {code: market.reference(code, session) or market.close(code, evening) for code in codes}
    return {code: price for code, price in found.items() if price is not None}


def plan(
    broker: Broker, market: Market, advice: Mapping[str, Advice], policy: Policy, evening: date, peak: int
) -> Plan:
    """What to do after ``evening``. ``advice`` is by code; raises what ``standing`` does."""
    known = standing(broker, evening, peak)
    prices = references(market, {*advice, *known.positions}, known.session)
    return decide(advice.values(), known, prices, policy)


def send(broker: Broker, plan: Plan) -> list[Sent]:
    """Send the orders of ``plan`` in their order, and say what became of each.

    A refused one does not stop the others. A broker that cannot be asked any more does: none of the
    rest is sent.
    """
    done: list[Sent] = []
    for number, order in enumerate(plan.orders):
        try:
            done.append(Sent(order, broker.place(order)))
        except OrderRefused as error:
            done.append(Sent(order, None, error.zh, str(error)))
        except BrokerError as error:
            done.append(Sent(order, None, str(error), str(error)))
            zh, en = "券商無法連線，未送出。", "Not sent: the broker could not be asked."
            done += [Sent(rest, None, zh, en) for rest in plan.orders[number + 1 :]]
            break
    return done
