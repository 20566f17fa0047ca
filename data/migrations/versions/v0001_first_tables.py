"""The first tables: bars, news, the ledger, signals and training runs."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_FIGURES = """
    open INTEGER NOT NULL,
    high INTEGER NOT NULL,
    low INTEGER NOT NULL,
    close INTEGER NOT NULL,
    volume INTEGER NOT NULL,
    value INTEGER,
    trades INTEGER,
    reference INTEGER,
    flags INTEGER NOT NULL,
    source TEXT NOT NULL,
    arrived_at TEXT NOT NULL
"""

_STATEMENTS = (
    "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE companies (
        code TEXT NOT NULL PRIMARY KEY,
        name_zh TEXT NOT NULL,
        name_en TEXT NOT NULL,
        listed_name TEXT NOT NULL,
        market TEXT NOT NULL,
        industry TEXT NOT NULL,
        listed_since DATE NOT NULL,
        isin TEXT NOT NULL,
        aliases TEXT NOT NULL
    )""",
    f"""CREATE TABLE bars (
        code TEXT NOT NULL,
        date DATE NOT NULL,
        {_FIGURES},
        PRIMARY KEY (code, date),
        CONSTRAINT bar_positive CHECK (low > 0 AND volume >= 0),
        CONSTRAINT bar_ordered CHECK (open BETWEEN low AND high AND close BETWEEN low AND high)
    ) WITHOUT ROWID""",
    "CREATE INDEX bars_by_date ON bars (date, volume)",
    f"""CREATE TABLE bar_revisions (
        id INTEGER NOT NULL PRIMARY KEY,
        code TEXT NOT NULL,
        date DATE NOT NULL,
        {_FIGURES},
        replaced_at TEXT NOT NULL
    )""",
    "CREATE INDEX bar_revisions_by_bar ON bar_revisions (code, date)",
    """CREATE TABLE quarantine (
        id INTEGER NOT NULL PRIMARY KEY,
        source TEXT NOT NULL,
        line INTEGER NOT NULL,
        code TEXT NOT NULL,
        date DATE,
        reason TEXT NOT NULL,
        raw TEXT NOT NULL,
        arrived_at TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX quarantine_once ON quarantine (code, source, line, reason, raw)",
    """CREATE TABLE articles (
        id INTEGER NOT NULL PRIMARY KEY,
        url_key TEXT NOT NULL UNIQUE,
        title_key TEXT NOT NULL,
        url TEXT NOT NULL,
        title TEXT NOT NULL,
        source TEXT NOT NULL,
        author TEXT NOT NULL,
        published_at TEXT NOT NULL,
        language TEXT NOT NULL,
        description TEXT NOT NULL,
        content TEXT NOT NULL,
        arrived_at TEXT NOT NULL
    )""",
    "CREATE INDEX articles_by_title ON articles (title_key)",
    """CREATE TABLE article_companies (
        code TEXT NOT NULL,
        article INTEGER NOT NULL REFERENCES articles (id),
        PRIMARY KEY (code, article)
    ) WITHOUT ROWID""",
    """CREATE TABLE forecasts (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        code TEXT NOT NULL,
        name TEXT NOT NULL,
        market TEXT NOT NULL,
        as_of DATE NOT NULL,
        last_close INTEGER NOT NULL,
        dates TEXT NOT NULL,
        due DATE NOT NULL,
        made_at TEXT NOT NULL,
        model TEXT NOT NULL,
        model_hash TEXT NOT NULL,
        adapter TEXT,
        adapter_hash TEXT,
        prompt TEXT NOT NULL,
        paths INTEGER NOT NULL,
        horizon INTEGER NOT NULL,
        seed INTEGER NOT NULL,
        data_hash TEXT NOT NULL,
        simulated INTEGER NOT NULL,
        parse_failures INTEGER NOT NULL,
        prices BLOB NOT NULL,
        volumes BLOB NOT NULL
    )""",
    "CREATE INDEX forecasts_by_code ON forecasts (code, as_of)",
    # A forecast that could be changed afterwards would keep no score. INSERT OR REPLACE deletes
    # without firing the delete trigger, so it is stopped before the insert.
    """CREATE TRIGGER forecasts_no_update BEFORE UPDATE ON forecasts
    BEGIN SELECT RAISE(ABORT, 'forecasts are frozen'); END""",
    """CREATE TRIGGER forecasts_no_delete BEFORE DELETE ON forecasts
    BEGIN SELECT RAISE(ABORT, 'forecasts are frozen'); END""",
    """CREATE TRIGGER forecasts_no_replace BEFORE INSERT ON forecasts
    WHEN EXISTS (SELECT 1 FROM forecasts WHERE id = NEW.id OR key = NEW.key)
    BEGIN SELECT RAISE(ABORT, 'forecasts are frozen'); END""",
    """CREATE TABLE signals (
        code TEXT NOT NULL,
        as_of DATE NOT NULL,
        rule TEXT NOT NULL,
        "action" TEXT NOT NULL,
        strength FLOAT,
        reason_zh TEXT NOT NULL,
        reason_en TEXT NOT NULL,
        forecast INTEGER REFERENCES forecasts (id),
        simulated INTEGER NOT NULL,
        made_at TEXT NOT NULL,
        PRIMARY KEY (code, as_of, rule)
    )""",
    """CREATE TABLE runs (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        started TEXT NOT NULL,
        finished TEXT,
        state TEXT NOT NULL,
        detail TEXT NOT NULL,
        options TEXT NOT NULL,
        pid INTEGER NOT NULL,
        log TEXT
    )""",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("a store goes forward only; restore a backup instead")
