"""The records of the exchange's books: what each of its tables holds, a row at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from stockllm.data.records import Cents

Mode = Literal["live", "replay"]
OrderState = Literal["open", "filled", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """An exchange. ``day`` is the last session that was matched, ``number`` how many were."""

    id: int
    name: str
    mode: Mode
    day: date
    number: int
    hours: str
    settlement: int
    off_tick: str


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account; ``cash`` and the ``reserved`` part of it in TWD, ``password`` as its hash."""

    id: int
    exchange: int
    name: str
    password: str
    discount: Decimal
    cash: int
    reserved: int
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the books have it. ``once`` is the client's idempotency key."""

    id: int
    account: int
    once: str | None
    code: str
    side: Literal["buy", "sell"]
    shares: int
    price: Cents
    session: date
    reserved: int
    state: OrderState
    placed_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill. ``cost`` is what the shares had cost, ``settles`` the session that frees the proceeds."""

    order_id: int
    account: int
    session: date
    value: int
    commission: int
    tax: int
    cost: int
    settles: int


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """Shares held and what they cost in TWD without commission. ``id`` is the order that began it."""

    code: str
    id: int
    shares: int
    cost: int
    since: date


@dataclass(frozen=True, slots=True)
class GrantRow:
    """What an ex-date brought for the shares ``held`` before it."""

    code: str
    session: date
    held: int
    cash: int
    shares: int


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the audit trail."""

    at: datetime
    account: int | None
    what: str
    detail: dict[str, Any]
