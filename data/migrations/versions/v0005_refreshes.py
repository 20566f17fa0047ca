"""Refreshes: which ran for which evening, and what became of each of their steps."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """CREATE TABLE refreshes (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        evening DATE NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        outcome TEXT NOT NULL,
        pid INTEGER NOT NULL
    )""",
    "CREATE INDEX refreshes_by_start ON refreshes (started)",
    """CREATE TABLE refresh_steps (
        refresh INTEGER NOT NULL REFERENCES refreshes (id),
        step TEXT NOT NULL,
        place INTEGER NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        outcome TEXT NOT NULL,
        counts TEXT NOT NULL,
        sentence_zh TEXT NOT NULL,
        sentence_en TEXT NOT NULL,
        notes TEXT NOT NULL,
        PRIMARY KEY (refresh, step)
    ) WITHOUT ROWID""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
