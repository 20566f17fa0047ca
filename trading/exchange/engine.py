"""The matching engine: an account's step through one session. Pure and deterministic.

The exchange simulator and the backtest both step through here, with orders that passed
``trading.exchange.rules``; money is whole TWD, prices are hundredths. docs/exchange.md has it in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol

from stockllm.data.records import Cents
from stockllm.data.stores.exrights import ExRight
from stockllm.market.fees import Charges, charges, trade_value
from stockllm.trading.exchange.rules import Order, check_means

#: Accounts of the double-entry ledger. Debits are positive.
Account = Literal["cash", "receivable", "shares", "capital", "commission", "tax", "gains", "dividends"]
EntryKind = Literal["opening", "settlement", "dividend", "buy", "sell"]


@dataclass(frozen=True, slots=True)
class Quote:
    """A stock's session in hundredths of a TWD. There is none where nobody traded."""

    low: Cents
    high: Cents
    close: Cents


@dataclass(frozen=True, slots=True)
class Action:
    """What the holders of the evening before receive on an ex-date, for each share.

    ``dividend`` is money in hundredths of a TWD, ``gain``/``base`` the new shares.
    """

    code: str
    dividend: Cents
    gain: Cents
    base: Cents

    @classmethod
    def of(cls, row: ExRight) -> Action:
        """What can be read from the exchange's prices of an ex-date.

        They give the right's worth, not its terms: dividend in money and shares on one day cannot
        be told apart, so the whole worth is paid in money then. Where the basis differs from the
        reference a right to subscribe is part of it, which nobody exercises here.
        """
        if row.kind == "rights":
            on_tick = abs(row.basis - row.reference) * 200 <= row.reference  # half a percent: rounding
            base = row.reference if on_tick else row.basis
            return cls(row.code, 0, max(0, row.close_before - base), base)
        return cls(row.code, max(0, row.close_before - row.reference), 0, row.reference)


class Prices(Protocol):
    """What the engine asks of a market; ``trading.exchange.market_data.Market`` is the one there is."""

    def quote(self, code: str, day: date) -> Quote | None:
        """The session ``day`` of ``code``, None where it did not trade."""

    def actions(self, day: date) -> Iterable[Action]:
        """What is paid to holders on the ex-date ``day``, by code."""


@dataclass(slots=True)
class Holding:
    """Shares held, what they cost without commission (TWD), and since which session."""

    shares: int
    cost: int
    since: date


@dataclass(frozen=True, slots=True)
class Booked:
    """An order that waits for its session. ``reserved`` is the cash set aside for it."""

    id: int
    order: Order
    session: date
    reserved: int


@dataclass(frozen=True, slots=True)
class Fill:
    """An order filled whole, at its own price. ``cost`` is what the shares sold had cost, or cost now."""

    id: int
    order: Order
    session: date
    charges: Charges
    cost: int
    settles: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What an ex-date brought: money in TWD and new shares for those held before."""

    code: str
    held: int
    cash: int
    shares: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger, its postings in TWD; debits are positive and the sum is 0."""

    kind: EntryKind
    postings: tuple[tuple[Account, int], ...]
    order: int | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        if sum(amount for _, amount in self.postings):
            raise ValueError(f"an entry that does not balance: {self}")


@dataclass(slots=True)
class Step:
    """What one session did to one account."""

    settled: int = 0
    grants: list[Grant] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    expired: list[Booked] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Portfolio:
    """What one account owns. ``reserved`` is the part of ``cash`` set aside for open buys.

    ``due`` holds sale proceeds by the number of the session from which they can be spent.
    """

    cash: int
    discount: Decimal = Decimal(1)
    reserved: int = 0
    holdings: dict[str, Holding] = field(default_factory=dict)
    due: dict[int, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Cash in TWD that a new order may use."""
        return self.cash - self.reserved

    @property
    def receivable(self) -> int:
        """Sale proceeds in TWD that cannot be spent yet."""
        return sum(self.due.values())

    def reserve(self, order: Order, selling: int) -> int:
        """Set aside what ``order`` needs; the cash in TWD. OrderRefused where it is not free.

        ``selling`` is how many shares of the stock open sales hold already.
        """
        held = self.holdings.get(order.code)
        free = (held.shares if held else 0) - selling
        amount = check_means(order, cash=self.free, shares=free, discount=self.discount)
        self.reserved += amount
        return amount

    def release(self, booked: Booked) -> None:
        """Give back what a cancelled order had set aside."""
        self.reserved -= booked.reserved

    def worth(self, closes: dict[str, Cents]) -> int:
        """Equity in TWD: cash, what is due, and every holding at its price in ``closes``."""
        held = sum(trade_value(h.shares, closes[code]) for code, h in self.holdings.items())
        return self.cash + self.receivable + held


def step(
    portfolio: Portfolio, orders: Iterable[Booked], prices: Prices, day: date, number: int, settlement: int
) -> Step:
    """Take ``portfolio`` through the session ``day``; what happened.

    ``orders`` are those booked for it, ``number`` counts the account's sessions from 1 and
    ``settlement`` the sessions until proceeds can be spent. In turn: proceeds due are settled,
    ex-dates pay those who held the evening before, each order fills whole at its own price if that
    lies within low..high, in the order of ids, and expires otherwise.
    """
    done = Step()
    amount = portfolio.due.pop(number, 0)
    if amount:
        portfolio.cash += amount
        done.settled = amount
        done.entries.append(Entry("settlement", (("cash", amount), ("receivable", -amount))))
    for action in prices.actions(day):
        _pay(portfolio, action, done)
    for booked in sorted(orders, key=lambda each: each.id):
        quote = prices.quote(booked.order.code, day)
        if quote is not None and quote.low <= booked.order.price <= quote.high:
            _fill(portfolio, booked, day, number, settlement, done)
        else:
            portfolio.reserved -= booked.reserved
            done.expired.append(booked)
    return done


def _pay(portfolio: Portfolio, action: Action, done: Step) -> None:
    held = portfolio.holdings.get(action.code)
    if held is None:
        return
    before = held.shares
    new, rest = divmod(before * action.gain, action.base)
    # A fraction of a share is paid out: ``rest`` is its worth in hundredths already.
    cash = (before * action.dividend + rest) // 100
    held.shares += new
    portfolio.cash += cash
    if cash:
        done.entries.append(Entry("dividend", (("cash", cash), ("dividends", -cash)), code=action.code))
    if cash or new:
        done.grants.append(Grant(action.code, before, cash, new))


def _fill(portfolio: Portfolio, booked: Booked, day: date, number: int, settlement: int, done: Step) -> None:
    order = booked.order
    cost = charges(order.side, order.code, order.shares, order.price, discount=portfolio.discount)
    portfolio.reserved -= booked.reserved
    held = portfolio.holdings.get(order.code)
    if order.side == "buy":
        portfolio.cash -= cost.paid
        if held is None:
            portfolio.holdings[order.code] = Holding(order.shares, cost.value, day)
        else:
            held.shares += order.shares
            held.cost += cost.value
        postings: tuple[tuple[Account, int], ...] = (
            ("shares", cost.value),
            ("commission", cost.commission),
            ("cash", -cost.paid),
        )
        fill = Fill(booked.id, order, day, cost, cost.value, number)
    else:
        if held is None or held.shares < order.shares:
            raise ValueError(f"order {booked.id} sells what is not held")
        basis = held.cost * order.shares // held.shares
        held.shares -= order.shares
        held.cost -= basis
        if not held.shares:
            del portfolio.holdings[order.code]
        due = number + settlement
        if settlement:
            portfolio.due[due] = portfolio.due.get(due, 0) + cost.received
        else:
            portfolio.cash += cost.received
        postings = (
            ("receivable" if settlement else "cash", cost.received),
            ("commission", cost.commission),
            ("tax", cost.tax),
            ("shares", -basis),
            ("gains", basis - cost.value),
        )
        fill = Fill(booked.id, order, day, cost, basis, due)
    done.fills.append(fill)
    done.entries.append(Entry(order.side, postings, booked.id, order.code))
