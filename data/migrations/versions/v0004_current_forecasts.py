"""Which frozen forecast of a company was asked for last: the one that signals and screens show."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """CREATE TABLE current_forecasts (
        code TEXT NOT NULL PRIMARY KEY,
        forecast_id INTEGER NOT NULL REFERENCES forecasts (id)
    )""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
