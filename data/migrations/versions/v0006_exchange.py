"""The simulated exchange: its accounts, orders, fills, holdings and ledger, and orders sent elsewhere."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = (
    """CREATE TABLE exchanges (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        mode TEXT NOT NULL,
        day DATE NOT NULL,
        number INTEGER NOT NULL,
        hours TEXT NOT NULL,
        settlement INTEGER NOT NULL,
        off_tick TEXT NOT NULL,
        opened_at TEXT NOT NULL,
        CONSTRAINT exchange_mode CHECK (mode IN ('live', 'replay'))
    )""",
    """CREATE TABLE accounts (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        exchange INTEGER NOT NULL REFERENCES exchanges (id),
        name TEXT NOT NULL UNIQUE,
        password TEXT NOT NULL,
        discount TEXT NOT NULL,
        cash INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        opened_at TEXT NOT NULL,
        CONSTRAINT account_not_overdrawn CHECK (cash >= 0 AND reserved BETWEEN 0 AND cash)
    )""",
    "CREATE INDEX accounts_by_exchange ON accounts (exchange)",
    """CREATE TABLE account_tokens (
        digest TEXT NOT NULL PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES accounts (id),
        made_at TEXT NOT NULL,
        expires_at TEXT NOT NULL
    )""",
    """CREATE TABLE orders (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES accounts (id),
        once TEXT,
        code TEXT NOT NULL,
        side TEXT NOT NULL,
        shares INTEGER NOT NULL,
        price INTEGER NOT NULL,
        session DATE NOT NULL,
        reserved INTEGER NOT NULL,
        state TEXT NOT NULL,
        placed_at TEXT NOT NULL,
        ended_at TEXT,
        CONSTRAINT order_positive CHECK (shares > 0 AND price > 0 AND reserved >= 0),
        CONSTRAINT order_state CHECK (state IN ('open', 'filled', 'expired', 'cancelled')),
        CONSTRAINT order_side CHECK (side IN ('buy', 'sell'))
    )""",
    "CREATE UNIQUE INDEX orders_once ON orders (account, once)",
    "CREATE INDEX orders_open ON orders (account, code) WHERE state = 'open'",
    """CREATE TABLE fills (
        order_id INTEGER NOT NULL PRIMARY KEY REFERENCES orders (id),
        account INTEGER NOT NULL REFERENCES accounts (id),
        session DATE NOT NULL,
        value INTEGER NOT NULL,
        commission INTEGER NOT NULL,
        tax INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        settles INTEGER NOT NULL
    )""",
    "CREATE INDEX fills_by_account ON fills (account, settles)",
    """CREATE TABLE holdings (
        account INTEGER NOT NULL REFERENCES accounts (id),
        code TEXT NOT NULL,
        id INTEGER NOT NULL,
        shares INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        since DATE NOT NULL,
        PRIMARY KEY (account, code),
        CONSTRAINT holding_positive CHECK (shares > 0 AND cost >= 0)
    ) WITHOUT ROWID""",
    """CREATE TABLE grants (
        account INTEGER NOT NULL REFERENCES accounts (id),
        code TEXT NOT NULL,
        session DATE NOT NULL,
        held INTEGER NOT NULL,
        cash INTEGER NOT NULL,
        shares INTEGER NOT NULL,
        PRIMARY KEY (account, code, session)
    ) WITHOUT ROWID""",
    """CREATE TABLE entries (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        account INTEGER NOT NULL REFERENCES accounts (id),
        session DATE NOT NULL,
        kind TEXT NOT NULL,
        order_id INTEGER REFERENCES orders (id),
        code TEXT
    )""",
    "CREATE INDEX entries_by_account ON entries (account)",
    """CREATE TABLE postings (
        entry INTEGER NOT NULL REFERENCES entries (id),
        ledger TEXT NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (entry, ledger)
    ) WITHOUT ROWID""",
    """CREATE TABLE audit (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        exchange INTEGER NOT NULL REFERENCES exchanges (id),
        account INTEGER REFERENCES accounts (id),
        what TEXT NOT NULL,
        detail TEXT NOT NULL
    )""",
    """CREATE TABLE sent_orders (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        broker TEXT NOT NULL,
        account TEXT NOT NULL,
        code TEXT NOT NULL,
        side TEXT NOT NULL,
        shares INTEGER NOT NULL,
        price INTEGER NOT NULL,
        session DATE NOT NULL,
        held INTEGER NOT NULL,
        state TEXT NOT NULL,
        answer TEXT NOT NULL,
        sent_at TEXT NOT NULL,
        CONSTRAINT sent_state CHECK (state IN
            ('sending', 'booked', 'refused', 'unknown', 'filled', 'expired'))
    )""",
    "CREATE INDEX sent_orders_by_stock ON sent_orders (broker, account, code)",
)

#: What has happened stays: no row of these is ever changed or taken away.
_FROZEN = (
    ("fills", "order_id = NEW.order_id"),
    ("grants", "account = NEW.account AND code = NEW.code AND session = NEW.session"),
    ("entries", "id = NEW.id"),
    ("postings", "entry = NEW.entry AND ledger = NEW.ledger"),
    ("audit", "id = NEW.id"),
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
    for table, same in _FROZEN:
        refuse = "BEGIN SELECT RAISE(ABORT, 'the books are frozen'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        # INSERT OR REPLACE deletes without firing the delete trigger, so it is stopped before the insert.
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}"
        )


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
