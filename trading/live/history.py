"""What an account of the store's exchange did so far: its equity each session, what its sales brought,
and what buying everything on its first evening and holding it would have come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from stockllm.data.store import Store
from stockllm.data.stores.book_rows import FillRow, GrantRow, OrderRow
from stockllm.market.companies import COMPANIES
from stockllm.market.fees import trade_value
from stockllm.trading.backtest.backtest import Request, buy_and_hold
from stockllm.trading.backtest.trades import Matcher
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.market_data import load_market
from stockllm.trading.strategy.policy import Policy


@dataclass(frozen=True, slots=True)
class Opening:
    """How an account began: on which evening, with what cash in TWD, at what charges."""

    evening: date
    cash: int
    discount: Decimal
    settlement: int


@dataclass(frozen=True, slots=True)
class History:
    """An account's past. ``days[0]`` is the evening it was opened on; ``equity`` is in TWD, a value a day.

    ``realised`` is by code what sales brought more than the shares sold had cost, after all charges on
    both sides, and the dividends in money; ``realised_today`` is what the last of the days added.
    """

    opening: Opening
    days: tuple[date, ...]
    equity: tuple[int, ...]
    realised: dict[str, int]
    realised_today: int

    @property
    def gain(self) -> float:
        """The last day's equity over the opening sum, less 1."""
        return self.equity[-1] / self.opening.cash - 1

    @property
    def realised_total(self) -> int:
        """All that was realised, in TWD."""
        return sum(self.realised.values())


def history(store: Store, exchange: Exchange, name: str) -> History | None:
    """The past of an account, from the books and the store's closes; None where it began without cash."""
    with store.books.read() as books:
        row, account = exchange.row(books), exchange.account(books, name)
        flows = books.flows(account.id)
        orders = {order.id: order for order in books.orders(account.id, state="filled")}
        fills, grants = books.fills(account.id), books.grants(account.id)
    evening = min(flows, default=row.day)
    cash = flows.get(evening, 0)  # nothing fills on the evening itself
    if not cash:
        return None
    codes = {order.code for order in orders.values()}
    market = load_market(store, codes, evening + timedelta(days=1), row.day, store.calendar())
    days = (evening, *market.sessions)
    held: dict[str, int] = defaultdict(int)
    changes = _changes(orders, fills, grants)
    money, equity = 0, []
    for day in days:
        money += flows.get(day, 0)
        for code, shares in changes.get(day, ()):
            held[code] += shares
        worth = sum(trade_value(n, market.close(code, day) or 0) for code, n in held.items() if n)
        equity.append(money + worth)
    realised = _realised(orders, fills, grants)
    return History(
        Opening(evening, cash, account.discount, row.settlement),
        days,
        tuple(equity),
        _sums(realised),
        sum(amount for day, _, amount in realised if day == days[-1] and len(days) > 1),
    )


def held_instead(store: Store, opening: Opening, end: date) -> tuple[tuple[date, ...], tuple[int, ...], int]:
    """Buying all companies for equal parts of the same cash on the same evening, and holding them.

    Through the same engine at the same charges: the days up to ``end``, the equity of each in TWD, and
    how many companies had a price on that evening to be bought at. No day where none had.
    """
    start = opening.evening + timedelta(days=1)
    codes = tuple(c.code for c in COMPANIES if store.bars.last_close(c.code, opening.evening))
    market = load_market(store, codes, start, end, store.calendar())
    if not codes or not market.sessions:
        return (), (), len(codes)
    request = Request(
        start, end, codes, "hold", policy=Policy(discount=opening.discount), cash=opening.cash,
        settlement=opening.settlement,
    )  # fmt: skip
    series = {code: store.bars.series(code, end=end) for code in codes}
    run = buy_and_hold(market, opening.evening, request, series)
    return tuple(day.session for day in run.days), tuple(day.equity for day in run.days), len(codes)


def _cash(fill: FillRow, orders: dict[int, OrderRow]) -> int:
    """What a fill brought in, negative for a purchase."""
    if orders[fill.order_id].side == "buy":
        return -(fill.value + fill.commission)
    return fill.value - fill.commission - fill.tax


def _changes(
    orders: dict[int, OrderRow], fills: list[FillRow], grants: list[GrantRow]
) -> dict[date, list[tuple[str, int]]]:
    """By session which shares came and went."""
    found: dict[date, list[tuple[str, int]]] = defaultdict(list)
    for grant in grants:
        found[grant.session].append((grant.code, grant.shares))
    for fill in fills:
        order = orders[fill.order_id]
        found[fill.session].append((order.code, order.shares if order.side == "buy" else -order.shares))
    return found


def paid_for_held(exchange: Exchange, name: str) -> dict[str, int]:
    """What the account's holdings have cost by code, in TWD, the commission of the purchases included.

    The cost that ``realised`` is reckoned from: what an account gained is what it realised and what its
    holdings are worth more than this.
    """
    with exchange.store.books.read() as books:
        account = exchange.account(books, name)
        orders = {order.id: order for order in books.orders(account.id, state="filled")}
        fills, grants = books.fills(account.id), books.grants(account.id)
    return _matched(orders, fills, grants).paid()


def _matched(orders: dict[int, OrderRow], fills: list[FillRow], grants: list[GrantRow]) -> Matcher:
    """Every sale with its purchases."""
    matched = Matcher()
    for event in _in_order(fills, grants):
        if isinstance(event, GrantRow):
            matched.grant(event.code, event.shares)
            continue
        order, cash = orders[event.order_id], _cash(event, orders)
        if order.side == "buy":
            matched.buy(order.code, order.shares, -cash, event.session, 0)
        else:
            matched.sell(order.code, order.shares, cash, event.session, 0)
    return matched


def _realised(
    orders: dict[int, OrderRow], fills: list[FillRow], grants: list[GrantRow]
) -> list[tuple[date, str, int]]:
    """What was realised: the session, the code, and the TWD."""
    trades = _matched(orders, fills, grants).trades
    sold = [(trade.sold, trade.code, trade.profit) for trade in trades]
    return sold + [(grant.session, grant.code, grant.cash) for grant in grants]


def _in_order(fills: list[FillRow], grants: list[GrantRow]) -> Iterator[FillRow | GrantRow]:
    """As the engine did them: session by session, ex-dates first, then the fills by order."""
    events: list[tuple[date, int, int, FillRow | GrantRow]] = [
        *((grant.session, 0, n, grant) for n, grant in enumerate(grants)),
        *((fill.session, 1, fill.order_id, fill) for fill in fills),
    ]
    for *_, event in sorted(events, key=lambda each: each[:3]):
        yield event


def _sums(realised: list[tuple[date, str, int]]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for _, code, amount in realised:
        found[code] += amount
    return dict(found)
