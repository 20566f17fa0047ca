"""Migrations: where they lead, and that a failed one leaves nothing behind."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stockllm.data import migrations, schema, schema_exchange
from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store

BAR = Bar("2330", date(2025, 3, 3), 10000, 10000, 10000, 10000, 1000, "test")


def test_migrations_lead_to_the_schema(store: Store) -> None:
    with store._database.read() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema_exchange.metadata) == []
        assert context.get_current_revision() == schema.HEAD
        made = {
            name: " ".join(sql.split())
            for name, sql in connection.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            )
        }
        for table in schema_exchange.metadata.tables.values():
            for check in table.constraints:
                if isinstance(check, sa.CheckConstraint):
                    assert str(check.sqltext) in made[table.name]
            assert (table.dialect_options["sqlite"]["with_rowid"] is False) == (
                "WITHOUT ROWID" in made[table.name]
            )


def _with_one_more(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stockllm whose migrations go one further than this one's."""
    last, new = schema.HEAD, f"{int(schema.HEAD) + 1:04d}"
    shutil.copytree(
        migrations.FOLDER / "versions", folder / "versions", ignore=shutil.ignore_patterns("__py*")
    )
    (folder / "versions" / f"v{new}_more.py").write_text(
        "from alembic import op\n"
        f"revision = '{new}'\ndown_revision = '{last}'\nbranch_labels = None\ndepends_on = None\n"
        f"def upgrade():\n{body}"
    )
    monkeypatch.setattr(migrations, "upgrade", partial(migrations.upgrade, folder=folder))
    monkeypatch.setattr(schema, "HEAD", new)


def _dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_an_older_store_is_brought_up_to_date(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(home) as store:
        store.bars.put([BAR])
        created = store.notes.get("created_at")
    _with_one_more(tmp_path, "    op.execute('CREATE TABLE more (id INTEGER)')\n", monkeypatch)
    with Store.open(home, create=False) as store:
        assert store.bars.bars("2330") == [BAR]
        assert store.notes.get("created_at") == created
    assert any("CREATE TABLE more" in line for line in _dump(home.store))


@pytest.mark.parametrize("error", ["1 / 0", "op.execute('DROP TABLE nothing')"])
def test_a_failed_migration_leaves_the_store_as_it_was(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    with Store.open(home) as store:
        store.bars.put([BAR])
    before = _dump(home.store)
    body = (
        "    op.execute('CREATE TABLE more (id INTEGER)')\n"
        "    op.execute('DELETE FROM bars')\n"
        "    op.execute('DROP TABLE signals')\n"
        f"    {error}\n"
    )
    with monkeypatch.context() as patch:
        _with_one_more(tmp_path, body, patch)
        with pytest.raises(StoreError) as caught:
            Store.open(home)
        assert "\n" not in str(caught.value)
    assert _dump(home.store) == before
    with Store.open(home) as store:
        assert store.bars.bars("2330") == [BAR]


def test_a_failed_first_migration_leaves_no_tables(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_one_more(tmp_path, "    1 / 0\n", monkeypatch)
    with pytest.raises(StoreError, match="left as it was"):
        Store.open(home)
    assert not any("CREATE TABLE" in line for line in _dump(home.store))
