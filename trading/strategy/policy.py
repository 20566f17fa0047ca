"""The risk policy: what advice, an account and limits make of an evening. Pure and deterministic.

Live trading and the backtest decide here and nowhere else; docs/trading.md has it in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from stockllm.data.errors import UsageError
from stockllm.data.records import Action, Cents
from stockllm.market.fees import charges, trade_value
from stockllm.market.ticks import round_to_tick, table_of
from stockllm.trading.brokers.broker import Placed, Position
from stockllm.trading.exchange.rules import LOT, Order, twd

#: Why a decision is what it is; the first two come with orders.
Why = Literal[
    "buy", "sell", "stop", "hold", "stale", "pending", "held", "stopped", "edge", "cap", "cash", "equity",
    "price", "odd",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits. Parts are of the equity; ``minimum_edge`` None does not ask for an edge.

    ``discount`` is the part of the commission that the account is charged.
    """

    position_cap: Decimal = Decimal("0.10")
    cash_floor: Decimal = Decimal("0.05")
    stop: Decimal = Decimal("0.20")
    minimum_edge: Decimal | None = Decimal(0)
    odd_lots: bool = True
    discount: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        """UsageError for a limit that is none."""
        for name, value, low, high in (
            ("position cap", self.position_cap, 0, 1),
            ("cash floor", self.cash_floor, 0, 1),
            ("stop", self.stop, 0, 1),
            ("minimum edge", self.minimum_edge, -1, 1),
            ("discount", self.discount, 0, 1),
        ):
            if value is not None and not (value.is_finite() and low <= value <= high):
                raise UsageError(
                    f"The {name} is a part from {low} to {high}, not {value}.",
                    zh=f"{name} 須介於 {low} 與 {high} 之間，而不是 {value}。",
                )
        if not self.position_cap or not self.stop or not self.discount:
            raise UsageError(
                "The position cap, the stop and the discount lie above 0.",
                zh="持股上限、停損與折扣都必須大於 0。",
            )


@dataclass(frozen=True, slots=True)
class Advice:
    """A strategy's verdict on a company on the evening ``as_of``.

    ``strength`` orders buys, higher first. ``expected`` is the forecast's mean gain from the last
    close to its last day, as a part of that close; None where the strategy uses no forecast.
    """

    code: str
    as_of: date
    action: Action
    strength: float | None
    expected: float | None
    reason_zh: str
    reason_en: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The account on an evening. Money in TWD; ``equity`` is None where its broker does not tell.

    ``orders`` are those that may still fill. ``peak`` is the highest equity so far, this evening's
    included.
    """

    evening: date
    session: date
    free: int
    equity: int | None
    peak: int
    positions: Mapping[str, Position]
    orders: Sequence[Placed] = ()

    @property
    def drawdown(self) -> float:
        """How far the equity is below its peak, as a part of it."""
        return 1 - self.equity / self.peak if self.equity is not None and self.peak > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a company and why; no orders where nothing is to be done."""

    code: str
    why: Why
    reason_zh: str
    reason_en: str
    orders: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of an evening, sales first, then buys in the order they get their cash."""

    standing: Standing
    stopped: bool
    decisions: tuple[Decision, ...]

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders in the order they are to be sent."""
        return tuple(order for decision in self.decisions for order in decision.orders)


def decide(
    advice: Iterable[Advice], standing: Standing, references: Mapping[str, Cents], policy: Policy
) -> Plan:
    """What to do for the session of ``standing``; one decision for each company advised on or held.

    ``references`` are what the coming session's limits are measured from, in hundredths.
    """
    known = {each.code: each for each in advice}
    equity = standing.equity
    stopped = equity is not None and Decimal(standing.peak - equity) >= policy.stop * standing.peak > 0
    evening = _Evening(standing, references, policy, {order.order.code for order in standing.orders})
    sales = [
        evening.sale(position, known.get(code), stopped)
        for code, position in sorted(standing.positions.items())
    ]
    rest = [each for code, each in known.items() if code not in standing.positions]
    buys = sorted((each for each in rest if each.action == "buy"), key=_rank)
    others = sorted((each for each in rest if each.action != "buy"), key=lambda each: each.code)
    decisions = [
        *sorted(sales, key=lambda each: not each.orders),
        *(evening.buy(each, stopped) for each in buys),
        *(evening.nothing(each) for each in others),
    ]
    return Plan(standing, stopped, tuple(decisions))


def _rank(advice: Advice) -> tuple[float, bytes]:
    """The strongest first; equals in an order that differs from evening to evening."""
    strength = advice.strength if advice.strength is not None else advice.expected
    turn = hashlib.sha256(f"{advice.as_of} {advice.code}".encode()).digest()
    return -(strength or 0.0), turn


class _Evening:
    """The decisions of one evening, each taking its cash before the next one asks."""

    def __init__(
        self, standing: Standing, references: Mapping[str, Cents], policy: Policy, pending: set[str]
    ) -> None:
        self.standing, self.references, self.policy, self.pending = standing, references, policy, pending
        equity = standing.equity or 0
        self.cap = int(policy.position_cap * equity)
        self.left = standing.free - int(policy.cash_floor * equity)

    def sale(self, held: Position, advice: Advice | None, stopped: bool) -> Decision:
        """What becomes of a holding."""
        code = held.code
        if code in self.pending:
            return _pending(code)
        if stopped:
            down = self.standing.drawdown
            zh = f"淨值自高點回落 {down:.1%}，達停損線 {self.policy.stop:.0%}，全部賣出。"
            en = f"Equity is {down:.1%} below its peak, past the stop at {self.policy.stop:.0%}: all is sold."
            return self._sold(held, "stop", zh, en)
        if advice is None:
            return Decision(code, "hold", "持有中，沒有訊號。", "Held, and there is no signal.")
        if advice.as_of != self.standing.evening:
            return self._stale(advice)
        if advice.action == "sell":
            return self._sold(held, "sell", advice.reason_zh, advice.reason_en)
        added = advice.action == "buy"
        zh = ("已持有，不加碼。" if added else "續抱。") + advice.reason_zh
        en = ("Held already, and not added to. " if added else "Kept. ") + advice.reason_en
        return Decision(code, "held" if added else "hold", zh, en)

    def buy(self, advice: Advice, stopped: bool) -> Decision:
        """A company not held that is to be bought."""
        barred = self._barred(advice, stopped)
        if barred is not None:
            return barred
        code, policy = advice.code, self.policy
        price = self._price(code, "down")
        if price is None:
            return _no_price(code)
        shares = self._affordable(code, price)
        if not shares:
            return self._too_little(code, price)
        order = Order(code, "buy", shares, price)
        if advice.expected is not None and policy.minimum_edge is not None:
            wanted = round_trip(order, policy.discount) + float(policy.minimum_edge)
            if advice.expected <= wanted:
                return Decision(
                    code,
                    "edge",
                    f"預測平均漲幅 {advice.expected:+.2%}，不足來回成本加最低優勢 {wanted:.2%}。",
                    f"The forecast's mean gain of {advice.expected:+.2%} is not above the "
                    f"{wanted:.2%} of round trip and minimum edge.",
                )
        self.left -= charges("buy", code, shares, price, discount=policy.discount).paid
        return Decision(code, "buy", advice.reason_zh, advice.reason_en, (order,))

    def _barred(self, advice: Advice, stopped: bool) -> Decision | None:
        """Why nothing is bought, whatever it costs."""
        code = advice.code
        if code in self.pending:
            return _pending(code)
        if advice.as_of != self.standing.evening:
            return self._stale(advice)
        if stopped:
            down = self.standing.drawdown
            return Decision(
                code,
                "stopped",
                f"淨值自高點回落 {down:.1%}，停止買進。",
                f"Nothing is bought while equity is {down:.1%} below its peak.",
            )
        if self.standing.equity is None:
            return Decision(
                code,
                "equity",
                "券商未提供淨值，無法計算部位上限。",
                "The broker does not tell the equity, so there is no position cap to keep.",
            )
        return None

    def nothing(self, advice: Advice) -> Decision:
        """A company not held, and not to be bought."""
        if advice.as_of != self.standing.evening:
            return self._stale(advice)
        if advice.action == "sell":
            zh, en = "未持有，無可賣出。", "Not held, so there is nothing to sell. "
            return Decision(advice.code, "hold", zh + advice.reason_zh, en + advice.reason_en)
        return Decision(advice.code, "hold", advice.reason_zh, advice.reason_en)

    def _sold(self, held: Position, why: Why, zh: str, en: str) -> Decision:
        price = self._price(held.code, "up")
        if price is None:
            return _no_price(held.code)
        orders = tuple(self._worth_selling(held, price))
        if not orders:
            return Decision(
                held.code,
                "odd",
                f"{held.shares:,} 股零股無法賣出或不敷手續費。",
                f"{held.shares:,} shares are an odd lot that cannot be sold here, or not for its charges.",
            )
        return Decision(held.code, why, zh, en, orders)

    def _worth_selling(self, held: Position, price: Cents) -> Iterator[Order]:
        """The holding as orders: its lots, and the odd rest where that may be sold and pays for it."""
        lots, odd = held.shares // LOT * LOT, held.shares % LOT
        for shares in (lots, odd if self.policy.odd_lots else 0):
            if shares:
                brought = charges("sell", held.code, shares, price, discount=self.policy.discount).received
                if brought > 0:
                    yield Order(held.code, "sell", shares, price)

    def _price(self, code: str, way: Literal["up", "down"]) -> Cents | None:
        reference = self.references.get(code)
        if reference is None:
            return None
        return round_to_tick(reference, way, table_of(code, self.standing.session)) or None

    def _affordable(self, code: str, price: Cents) -> int:
        """Shares that the cap and the cash above the floor allow, in lots or as an odd lot."""
        budget = min(self.cap, self.left)
        if budget <= 0:
            return 0
        lots = _most(code, price, budget, LOT, budget * 100 // (price * LOT), self.policy)
        if lots or self._unit(code, price) == LOT:
            return lots
        return _most(code, price, budget, 1, min(LOT - 1, budget * 100 // price), self.policy)

    def _unit(self, code: str, price: Cents) -> int:
        """The least that is bought: a share where a lot is more than the cap, else a lot.

        So that what little cash is left buys no crumbs.
        """
        lot = charges("buy", code, LOT, price, discount=self.policy.discount).paid
        return 1 if self.policy.odd_lots and lot > self.cap else LOT

    def _too_little(self, code: str, price: Cents) -> Decision:
        one = self._unit(code, price)
        need = charges("buy", code, one, price, discount=self.policy.discount).paid
        if self.left < need:
            return Decision(
                code,
                "cash",
                f"現金下限之上只剩 {max(0, self.left):,} 元，不足買進 {one:,} 股（{need:,} 元）。",
                f"{max(0, self.left):,} TWD are left above the cash floor, and {one:,} "
                f"{'share takes' if one == 1 else 'shares take'} {need:,}.",
            )
        return Decision(
            code,
            "cap",
            f"部位上限 {self.cap:,} 元，不足買進 {one:,} 股（{need:,} 元）。",
            f"The position cap of {self.cap:,} TWD is less than the {need:,} "
            f"of {one:,} {'share' if one == 1 else 'shares'} at {twd(price)}.",
        )

    def _stale(self, advice: Advice) -> Decision:
        return Decision(
            advice.code,
            "stale",
            f"訊號作於 {advice.as_of}，不是 {self.standing.evening} 收盤後的判斷。",
            f"The signal is of {advice.as_of} and not of the evening of {self.standing.evening}.",
        )


def round_trip(order: Order, discount: Decimal) -> float:
    """What buying and selling again at the order's price costs, as a part of its value."""
    value = trade_value(order.shares, order.price)
    if not value:
        return 1.0
    bought = charges("buy", order.code, order.shares, order.price, discount=discount)
    sold = charges("sell", order.code, order.shares, order.price, discount=discount)
    return (bought.commission + sold.commission + sold.tax) / value


def _most(code: str, price: Cents, budget: int, unit: int, units: int, policy: Policy) -> int:
    """The most shares, in multiples of ``unit``, that ``budget`` TWD pay with their commission."""
    while units > 0 and charges("buy", code, units * unit, price, discount=policy.discount).paid > budget:
        # The commission is about a seven-hundredth of the value: a few steps and it fits.
        over = charges("buy", code, units * unit, price, discount=policy.discount).paid - budget
        units -= max(1, over * 100 // (price * unit))
    return max(0, units) * unit


def _pending(code: str) -> Decision:
    return Decision(
        code,
        "pending",
        "已有未結束或狀態不明的委託，不再下單。",
        "An order in it is open, or nobody knows what became of it: no other one is sent.",
    )


def _no_price(code: str) -> Decision:
    return Decision(code, "price", "沒有參考價，無法下單。", "There is no reference price to order at.")
