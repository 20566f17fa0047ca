"""At which moment a forecast was made, until when it knew, and what the store had seen by then.

Whether a forecast counts is derived from these and never stored, so older forecasts are judged anew by
the calendar as soon as the columns are there. ``witnessed`` stays NULL for them.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Columns are added without touching a row, which the triggers of the ledger would refuse.
_STATEMENTS = (
    "ALTER TABLE forecasts ADD COLUMN moment TEXT NOT NULL DEFAULT 'evening'"
    " CHECK (moment IN ('evening', 'morning', 'open'))",
    "ALTER TABLE forecasts ADD COLUMN known_until TEXT",
    "ALTER TABLE forecasts ADD COLUMN witnessed TEXT",
    # The latest moment at which anything came in; see data.clock.
    "INSERT INTO meta (key, value) SELECT 'seen_until', at FROM (SELECT max(at) AS at FROM"
    " (SELECT max(arrived_at) AS at FROM bars UNION ALL SELECT max(replaced_at) FROM bar_revisions))"
    " WHERE at IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
