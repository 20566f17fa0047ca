"""Orders sent to an exchange that tells little about them: written down before they are sent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.records import Cents
from stockllm.data.schema_exchange import sent_orders

#: "sending" stays where the process died over the request; like "unknown", it may have arrived.
SentState = Literal["sending", "booked", "refused", "unknown", "filled", "expired"]


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order as it was sent. ``held`` are the shares of the stock that were held just before.

    ``broker`` is the address it went to, ``answer`` what came back, in a few words.
    """

    id: int
    broker: str
    account: str
    code: str
    side: Literal["buy", "sell"]
    shares: int
    price: Cents
    session: date
    held: int
    state: SentState
    answer: str
    sent_at: datetime


class SentOrderStore:
    """The orders sent from this store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, order: SentOrder) -> int:
        """Write down an order that is about to be sent; its id. ``order.id`` is ignored."""
        row = {name: getattr(order, name) for name in SentOrder.__slots__ if name != "id"}
        row["sent_at"] = order.sent_at.isoformat()
        with self._database.write() as connection:
            (new,) = connection.execute(sa.insert(sent_orders), row).inserted_primary_key or (0,)
        return int(new)

    def end(self, id: int, state: SentState, answer: str) -> None:
        """What became of an order."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(sent_orders).where(sent_orders.c.id == id).values(state=state, answer=answer)
            )

    def of(
        self, broker: str, account: str, *, code: str | None = None, states: Collection[SentState] = ()
    ) -> list[SentOrder]:
        """The orders sent for an account, the last first; of one stock, in some ``states``, or all."""
        query = sa.select(sent_orders).where(sent_orders.c.broker == broker, sent_orders.c.account == account)
        if code is not None:
            query = query.where(sent_orders.c.code == code)
        if states:
            query = query.where(sent_orders.c.state.in_(states))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(sent_orders.c.id.desc())).mappings().all()
        return [SentOrder(**dict(row) | {"sent_at": datetime.fromisoformat(row["sent_at"])}) for row in rows]
