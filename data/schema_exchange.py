"""The tables of the simulated exchange, and of orders sent to another one.

Money is whole TWD, prices are hundredths. Triggers refuse to change or delete what has happened:
fills, grants, entries, postings and the audit trail.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Date, ForeignKey, Index, Integer, Table, Text

from stockllm.data.schema import metadata


def _account(*, primary_key: bool = False) -> Column[int]:
    return Column("account", Integer, ForeignKey("accounts.id"), nullable=False, primary_key=primary_key)


#: Exchanges. A live one moves with the calendar, a replay when it is told to. ``day`` is the last
#: session that was matched, ``number`` how many were; ``hours`` is the window for orders.
exchanges = Table(
    "exchanges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("mode", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("number", Integer, nullable=False),
    Column("hours", Text, nullable=False),
    Column("settlement", Integer, nullable=False),
    Column("off_tick", Text, nullable=False),
    Column("opened_at", Text, nullable=False),
    CheckConstraint("mode IN ('live', 'replay')", name="exchange_mode"),
    sqlite_autoincrement=True,
)

#: Accounts. ``password`` is an Argon2 hash; ``discount`` a decimal; ``reserved`` the part of ``cash``
#: that is set aside for open orders.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange", Integer, ForeignKey("exchanges.id"), nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text, nullable=False),
    Column("discount", Text, nullable=False),
    Column("cash", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("opened_at", Text, nullable=False),
    CheckConstraint("cash >= 0 AND reserved BETWEEN 0 AND cash", name="account_not_overdrawn"),
    sqlite_autoincrement=True,
)
Index("accounts_by_exchange", accounts.c.exchange)

#: Tokens, as SHA-256 digests.
account_tokens = Table(
    "account_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    _account(),
    Column("made_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
)

#: Orders. ``once`` is the client's idempotency key, ``reserved`` the cash set aside.
orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    _account(),
    Column("once", Text),
    Column("code", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("shares", Integer, nullable=False),
    Column("price", Integer, nullable=False),
    Column("session", Date, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("placed_at", Text, nullable=False),
    Column("ended_at", Text),
    CheckConstraint("shares > 0 AND price > 0 AND reserved >= 0", name="order_positive"),
    CheckConstraint("state IN ('open', 'filled', 'expired', 'cancelled')", name="order_state"),
    CheckConstraint("side IN ('buy', 'sell')", name="order_side"),
    sqlite_autoincrement=True,
)
Index("orders_once", orders.c.account, orders.c.once, unique=True)
Index("orders_open", orders.c.account, orders.c.code, sqlite_where=orders.c.state == "open")

#: One fill an order at most. ``settles`` is the number of the session that frees the proceeds.
fills = Table(
    "fills",
    metadata,
    Column("order_id", Integer, ForeignKey("orders.id"), primary_key=True),
    _account(),
    Column("session", Date, nullable=False),
    Column("value", Integer, nullable=False),
    Column("commission", Integer, nullable=False),
    Column("tax", Integer, nullable=False),
    Column("cost", Integer, nullable=False),
    Column("settles", Integer, nullable=False),
)
Index("fills_by_account", fills.c.account, fills.c.settles)

#: What is held. ``id`` is the order that began the holding.
holdings = Table(
    "holdings",
    metadata,
    _account(primary_key=True),
    Column("code", Text, primary_key=True),
    Column("id", Integer, nullable=False),
    Column("shares", Integer, nullable=False),
    Column("cost", Integer, nullable=False),
    Column("since", Date, nullable=False),
    CheckConstraint("shares > 0 AND cost >= 0", name="holding_positive"),
    sqlite_with_rowid=False,
)

#: What ex-dates brought.
grants = Table(
    "grants",
    metadata,
    _account(primary_key=True),
    Column("code", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("held", Integer, nullable=False),
    Column("cash", Integer, nullable=False),
    Column("shares", Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: The double-entry ledger; the postings of an entry add up to 0, debits are positive.
entries = Table(
    "entries",
    metadata,
    Column("id", Integer, primary_key=True),
    _account(),
    Column("session", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("order_id", Integer, ForeignKey("orders.id")),
    Column("code", Text),
    sqlite_autoincrement=True,
)
Index("entries_by_account", entries.c.account)

postings = Table(
    "postings",
    metadata,
    Column("entry", Integer, ForeignKey("entries.id"), primary_key=True),
    Column("ledger", Text, primary_key=True),
    Column("amount", Integer, nullable=False),
    sqlite_with_rowid=False,
)

#: Who did what and when; no secret is ever written here.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("exchange", Integer, ForeignKey("exchanges.id"), nullable=False),
    Column("account", Integer, ForeignKey("accounts.id")),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

#: Orders sent to an exchange that answers over HTTP and tells little; see ``data.stores.sent_orders``.
sent_orders = Table(
    "sent_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("broker", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("shares", Integer, nullable=False),
    Column("price", Integer, nullable=False),
    Column("session", Date, nullable=False),
    Column("held", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("sent_at", Text, nullable=False),
    CheckConstraint(
        "state IN ('sending', 'booked', 'refused', 'unknown', 'filled', 'expired')", name="sent_state"
    ),
    sqlite_autoincrement=True,
)
Index("sent_orders_by_stock", sent_orders.c.broker, sent_orders.c.account, sent_orders.c.code)
