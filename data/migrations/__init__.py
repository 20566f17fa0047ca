"""Numbered migrations, append-only, run from inside the package so that a wheel has them too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def upgrade(connection: Connection, folder: Path = FOLDER) -> None:
    """Bring the database of ``connection`` to the newest revision in ``folder``.

    The caller's transaction holds all of it, so a migration that fails leaves nothing behind.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(folder))

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)

    context = MigrationContext.configure(connection, opts={"fn": steps, "script": script})
    with Operations.context(context):
        context.run_migrations()
