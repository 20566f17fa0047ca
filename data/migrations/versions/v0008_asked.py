"""How often a site was asked that says it has nothing: one such answer is not believed."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE collected ADD COLUMN asked INTEGER DEFAULT 1 NOT NULL")


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
