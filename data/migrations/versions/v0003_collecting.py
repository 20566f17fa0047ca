"""What the collectors remember: requests, what came in, the holiday schedule, ex-rights, news turns."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """CREATE TABLE requests (
        id INTEGER NOT NULL PRIMARY KEY,
        site TEXT NOT NULL,
        at TEXT NOT NULL,
        what TEXT NOT NULL,
        outcome TEXT NOT NULL,
        detail TEXT NOT NULL
    )""",
    "CREATE INDEX requests_by_site ON requests (site, at)",
    """CREATE TABLE site_bars (
        site TEXT NOT NULL PRIMARY KEY,
        until TEXT NOT NULL,
        times INTEGER NOT NULL,
        why TEXT NOT NULL
    )""",
    """CREATE TABLE collected (
        what TEXT NOT NULL,
        subject TEXT NOT NULL,
        period TEXT NOT NULL,
        state TEXT NOT NULL,
        source TEXT NOT NULL,
        through DATE,
        read INTEGER NOT NULL,
        kept INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        left_out INTEGER NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (what, subject, period)
    ) WITHOUT ROWID""",
    """CREATE TABLE schedule (
        date DATE NOT NULL PRIMARY KEY,
        open INTEGER,
        name TEXT NOT NULL
    )""",
    """CREATE TABLE ex_rights (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        market TEXT NOT NULL,
        kind TEXT NOT NULL,
        close_before INTEGER NOT NULL,
        reference INTEGER NOT NULL,
        basis INTEGER NOT NULL,
        limit_up INTEGER,
        limit_down INTEGER,
        source TEXT NOT NULL,
        arrived_at TEXT NOT NULL,
        PRIMARY KEY (code, date),
        CONSTRAINT ex_rights_positive CHECK (close_before > 0 AND reference > 0 AND basis > 0)
    ) WITHOUT ROWID""",
    "CREATE INDEX ex_rights_by_date ON ex_rights (date)",
    """CREATE TABLE news_turns (
        code TEXT NOT NULL,
        language TEXT NOT NULL,
        served_at TEXT NOT NULL,
        newest TEXT,
        outcome TEXT NOT NULL,
        PRIMARY KEY (code, language)
    ) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
