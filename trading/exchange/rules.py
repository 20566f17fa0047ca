"""What an order must be for the exchange to take it. Pure: no clock, no store.

docs/exchange.md has the rules in words. Every refusal is an ``OrderRefused`` with a word for
programs and a sentence in both languages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Literal

from stockllm.data.errors import OrderRefused
from stockllm.data.records import Cents
from stockllm.market.calendar import TradingCalendar
from stockllm.market.fees import Side, charges
from stockllm.market.ticks import limits, round_to_tick, table_of

#: Shares in a lot.
LOT = 1000
#: More than any company has issued; a larger number is a mistake.
MOST_SHARES = 100_000_000_000
#: Ten million TWD a share, in hundredths; a higher price is a mistake.
HIGHEST_PRICE = 1_000_000_000

#: When orders are taken; see ``booked_for``.
Window = Literal["evening", "intraday", "always"]
#: What becomes of a price off its tick.
OffTick = Literal["refuse", "round"]

_OPENS, _CLOSES = time(16, 1), time(9, 0)
_INTRADAY_ENDS = time(13, 0)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the exchange. ``shares`` are shares, never lots."""

    code: str
    side: Side
    shares: int
    price: Cents


@dataclass(frozen=True, slots=True)
class Rules:
    """What one exchange does its own way. ``settlement`` counts sessions until proceeds can be spent."""

    window: Window = "evening"
    settlement: int = 1
    off_tick: OffTick = "refuse"


def check_form(order: Order, day: date, off_tick: OffTick = "refuse") -> Order:
    """``order`` as it is booked for the session ``day``; OrderRefused where its numbers are wrong.

    Shares are whole lots or an odd lot below one. A price off its tick is refused, or with
    ``off_tick`` "round" moved to it: a buy's down, a sale's up.
    """
    if order.side not in ("buy", "sell"):
        raise OrderRefused(
            "side",
            "買賣別錯誤",
            f"There is no side {order.side!r}: it is buy or sell.",
            f"沒有 {order.side!r} 這種買賣別，請填 buy（買進）或 sell（賣出）。",
        )
    if not 0 < order.shares <= MOST_SHARES or (order.shares > LOT and order.shares % LOT):
        raise OrderRefused(
            "shares",
            "股數錯誤",
            f"{order.shares:,} shares cannot be ordered: give whole lots of {LOT:,}, or 1 to {LOT - 1}.",
            f"不能委託 {order.shares:,} 股，請填 {LOT:,} 股的倍數，或 1 至 {LOT - 1} 股的零股。",
        )
    if not 0 < order.price <= HIGHEST_PRICE:
        raise OrderRefused(
            "price",
            "價格錯誤",
            "The price is not above 0, or higher than any: give TWD a share.",
            "價格必須大於 0 且在合理範圍內，請填每股新台幣價格。",
        )
    table = table_of(order.code, day)
    on_tick = round_to_tick(order.price, "down" if order.side == "buy" else "up", table)
    if on_tick == order.price:
        return order
    if off_tick == "refuse" or on_tick == 0:
        raise OrderRefused(
            "off_tick",
            "價格不符升降單位",
            f"{twd(order.price)} is not on its tick: {twd(on_tick)} is the next price that can be asked.",
            f"{twd(order.price)} 不在升降單位上，最接近的可委託價格是 {twd(on_tick)}。",
        )
    return replace(order, price=on_tick)


def check_limits(order: Order, reference: Cents | None, day: date) -> None:
    """OrderRefused where the price lies outside the daily limits about ``reference``.

    None where the reference is not known yet or the share has no limit: nothing is refused then.
    """
    if reference is None:
        return
    down, up = limits(reference, day, table_of(order.code, day))
    if not down <= order.price <= up:
        raise OrderRefused(
            "limits",
            "價格超過漲跌幅",
            f"{twd(order.price)} is outside the day's limits of {twd(down)} to {twd(up)}.",
            f"{twd(order.price)} 不在當日漲跌停 {twd(down)} 至 {twd(up)} 之內，請改價。",
        )


def check_means(order: Order, *, cash: int, shares: int, discount: Decimal) -> int:
    """The cash in TWD to set aside for ``order``; OrderRefused where the means for it are not free.

    ``cash`` and ``shares`` are what is free: not set aside for other orders. A sale must bring more
    than it costs, which an odd lot's commission can prevent.
    """
    cost = charges(order.side, order.code, order.shares, order.price, discount=discount)
    if order.side == "buy":
        if cost.paid > cash:
            raise OrderRefused(
                "cash",
                "現金不足",
                f"The order needs {cost.paid:,} TWD and {cash:,} are free: order less, or cancel another.",
                f"這筆委託需要 {cost.paid:,} 元，可用 {cash:,} 元，請減少股數或取消其他委託。",
            )
        return cost.paid
    if order.shares > shares:
        raise OrderRefused(
            "holdings",
            "庫存不足",
            f"The order sells {order.shares:,} shares of {order.code} and {shares:,} are free: sell less.",
            f"要賣出 {order.code} {order.shares:,} 股，可賣 {shares:,} 股，請減少股數。",
        )
    if cost.received < 0:
        raise OrderRefused(
            "charges",
            "成交金額不足支付手續費",
            f"The charges would exceed the {cost.value:,} TWD that the shares are worth: sell more at once.",
            f"費用會超過成交金額 {cost.value:,} 元，請一次賣出多一點。",
        )
    return 0


def booked_for(now: datetime, window: Window, calendar: TradingCalendar, after: date) -> date:
    """The session that an order placed at ``now`` (Taipei) is booked for; it comes after ``after``.

    "evening" takes orders on weekdays from 16:01 to 08:59, the university simulator's contract;
    "intraday" also from 09:00 to 13:00 on a session's own day, for that session; "always" at any
    time, for the next session that has not begun. OrderRefused outside the window.
    """
    today, clock = now.date(), now.time()
    during = _CLOSES <= clock < _OPENS
    if window == "intraday" and during and clock < _INTRADAY_ENDS and calendar.is_session(today):
        return _first(calendar, max(today, _next(after)))
    if window != "always":
        if today.weekday() >= 5 or (during and not calendar.is_session(today)):
            raise OrderRefused(
                "closed",
                "今日無開盤",
                "There is no session today: orders wait for one.",
                "請等到有開盤的日子再委託。",
            )
        if during:
            raise OrderRefused(
                "closed",
                "非委託時間",
                "Orders are taken on weekdays from 16:01 to 08:59 (Taipei).",
                "平日 16:01 至隔日 08:59（台北時間）才接受委託。",
            )
    return _first(calendar, max(today if clock < _CLOSES else _next(today), _next(after)))


def _next(day: date) -> date:
    return date.fromordinal(day.toordinal() + 1)


def _first(calendar: TradingCalendar, day: date) -> date:
    """The first session from ``day`` on."""
    return calendar.next_sessions(date.fromordinal(day.toordinal() - 1), 1)[0]


def twd(price: Cents) -> str:
    """``34250`` -> ``342.5``: a price as people write it."""
    return f"{price / 100:.2f}".rstrip("0").rstrip(".")
