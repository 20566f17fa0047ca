"""What became of the forecasts: one score per forecast and day, written once."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """CREATE TABLE forecast_scores (
        forecast INTEGER NOT NULL REFERENCES forecasts (id),
        day INTEGER NOT NULL,
        date DATE NOT NULL,
        crps FLOAT NOT NULL,
        naive_crps FLOAT NOT NULL,
        inside50 INTEGER NOT NULL,
        inside80 INTEGER NOT NULL,
        inside95 INTEGER NOT NULL,
        error FLOAT NOT NULL,
        actual FLOAT NOT NULL,
        direction INTEGER,
        ahead INTEGER NOT NULL,
        seen INTEGER,
        scored_at TEXT NOT NULL,
        PRIMARY KEY (forecast, day)
    ) WITHOUT ROWID""",
    # A score that could be changed afterwards would be worth as little as a forecast that could.
    """CREATE TRIGGER scores_no_update BEFORE UPDATE ON forecast_scores
    BEGIN SELECT RAISE(ABORT, 'scores are frozen'); END""",
    """CREATE TRIGGER scores_no_delete BEFORE DELETE ON forecast_scores
    BEGIN SELECT RAISE(ABORT, 'scores are frozen'); END""",
    # INSERT OR REPLACE deletes without firing the delete trigger, so it is stopped before the insert.
    """CREATE TRIGGER scores_no_replace BEFORE INSERT ON forecast_scores
    WHEN EXISTS (SELECT 1 FROM forecast_scores WHERE forecast = NEW.forecast AND day = NEW.day)
    BEGIN SELECT RAISE(ABORT, 'scores are frozen'); END""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
