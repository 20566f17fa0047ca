"""Adjusted candles, the institutions, margin, revenue, the world and index futures."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PRICES = "open FLOAT NOT NULL, high FLOAT NOT NULL, low FLOAT NOT NULL, close FLOAT NOT NULL"
_KNOWN = "known_at INTEGER NOT NULL, arrival INTEGER NOT NULL REFERENCES arrivals (id)"
_ORDERED = "CHECK (open BETWEEN low AND high AND close BETWEEN low AND high)"

_STATEMENTS = (
    """CREATE TABLE arrivals (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        arrived_at TEXT NOT NULL,
        state TEXT NOT NULL,
        pid INTEGER NOT NULL,
        CONSTRAINT arrival_state CHECK (state IN ('arriving', 'whole'))
    )""",
    "CREATE INDEX arrivals_by_state ON arrivals (state) WHERE state = 'arriving'",
    f"""CREATE TABLE adjusted_bars (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        {_PRICES},
        volume INTEGER NOT NULL,
        {_KNOWN},
        PRIMARY KEY (code, date, arrival),
        CONSTRAINT adjusted_positive CHECK (low > 0 AND volume >= 0),
        CONSTRAINT adjusted_ordered {_ORDERED}
    ) WITHOUT ROWID""",
    f"""CREATE TABLE institutional_flows (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        foreign_net INTEGER NOT NULL,
        trust_net INTEGER NOT NULL,
        dealer_net INTEGER NOT NULL,
        {_KNOWN},
        PRIMARY KEY (code, date, arrival)
    ) WITHOUT ROWID""",
    f"""CREATE TABLE margin_balances (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        margin INTEGER NOT NULL,
        short INTEGER NOT NULL,
        {_KNOWN},
        PRIMARY KEY (code, date, arrival)
    ) WITHOUT ROWID""",
    f"""CREATE TABLE monthly_revenues (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        revenue INTEGER NOT NULL,
        {_KNOWN},
        PRIMARY KEY (code, date, arrival)
    ) WITHOUT ROWID""",
    f"""CREATE TABLE world_bars (
        symbol TEXT NOT NULL,
        date DATE NOT NULL,
        {_PRICES},
        volume INTEGER,
        {_KNOWN},
        PRIMARY KEY (symbol, date, arrival),
        CONSTRAINT world_positive CHECK (low > 0),
        CONSTRAINT world_ordered {_ORDERED}
    ) WITHOUT ROWID""",
    f"""CREATE TABLE index_futures (
        product TEXT NOT NULL,
        session TEXT NOT NULL,
        date DATE NOT NULL,
        expiry TEXT NOT NULL,
        {_PRICES},
        change FLOAT,
        change_pct FLOAT,
        volume INTEGER,
        settlement FLOAT,
        open_interest INTEGER,
        {_KNOWN},
        PRIMARY KEY (product, session, date, expiry, arrival),
        CONSTRAINT futures_positive CHECK (low > 0),
        CONSTRAINT futures_ordered {_ORDERED},
        CONSTRAINT futures_session CHECK (session IN ('day', 'night'))
    ) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
