"""The tables, as the newest migration leaves them.

Dates are ISO text (``sa.Date`` on SQLite); timestamps are ISO text with their offset. Prices are
integer hundredths of a TWD. A change here needs a new migration in ``data/migrations/versions``
and a new ``HEAD``; a test compares the two. The exchange's tables are in ``data.schema_exchange``, those of
adjusted candles and of the world in ``data.schema_history``.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Date, ForeignKey, Index, Integer, LargeBinary, Table, Text

#: The revision of the newest migration.
HEAD = "0009"

metadata = sa.MetaData()

#: Facts about the store itself: ``simulated``, ``created_at``.
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

#: Companies that company lists added to the 41. ``aliases`` is a JSON list.
companies = Table(
    "companies",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name_zh", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("listed_name", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("industry", Text, nullable=False),
    Column("listed_since", Date, nullable=False),
    Column("isin", Text, nullable=False),
    Column("aliases", Text, nullable=False),
)


def _figures() -> tuple[Column[int], ...]:
    return (
        Column("open", Integer, nullable=False),
        Column("high", Integer, nullable=False),
        Column("low", Integer, nullable=False),
        Column("close", Integer, nullable=False),
        Column("volume", Integer, nullable=False),
        Column("value", Integer),
        Column("trades", Integer),
        Column("reference", Integer),
        Column("flags", Integer, nullable=False),
    )


#: One row per company and day. ``flags`` is a set of bits, see ``data.stores.bars``.
bars = Table(
    "bars",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    *_figures(),
    Column("source", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
    CheckConstraint("low > 0 AND volume >= 0", name="bar_positive"),
    CheckConstraint("open BETWEEN low AND high AND close BETWEEN low AND high", name="bar_ordered"),
    sqlite_with_rowid=False,
)
Index("bars_by_date", bars.c.date, bars.c.volume)

#: What a later arrival replaced.
bar_revisions = Table(
    "bar_revisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", Text, nullable=False),
    Column("date", Date, nullable=False),
    *_figures(),
    Column("source", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
    Column("replaced_at", Text, nullable=False),
)
Index("bar_revisions_by_bar", bar_revisions.c.code, bar_revisions.c.date)

#: Rows that did not become bars.
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("date", Date),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
)
Index(
    "quarantine_once",
    quarantine.c.code,
    quarantine.c.source,
    quarantine.c.line,
    quarantine.c.reason,
    quarantine.c.raw,
    unique=True,
)

#: One row per article; ``url_key`` and ``title_key`` are what two copies of it share.
articles = Table(
    "articles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url_key", Text, nullable=False, unique=True),
    Column("title_key", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("published_at", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
)
Index("articles_by_title", articles.c.title_key)

#: The companies an article was found for.
article_companies = Table(
    "article_companies",
    metadata,
    Column("code", Text, primary_key=True),
    Column("article", Integer, ForeignKey("articles.id"), primary_key=True),
    sqlite_with_rowid=False,
)

#: The ledger. Triggers refuse every UPDATE and DELETE. ``key`` is a digest of all that made the
#: forecast; ``prices`` and ``volumes`` are packed arrays, see ``data.blobs``. ``known_until`` is the last
#: moment of which the forecast knew anything, ``witnessed`` the latest one that the store had seen when it
#: was frozen; both may be absent.
forecasts = Table(
    "forecasts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("market", Text, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("last_close", Integer, nullable=False),
    Column("dates", Text, nullable=False),
    Column("due", Date, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_hash", Text, nullable=False),
    Column("adapter", Text),
    Column("adapter_hash", Text),
    Column("prompt", Text, nullable=False),
    Column("paths", Integer, nullable=False),
    Column("horizon", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("data_hash", Text, nullable=False),
    Column("simulated", Integer, nullable=False),
    Column("parse_failures", Integer, nullable=False),
    Column("prices", LargeBinary, nullable=False),
    Column("volumes", LargeBinary, nullable=False),
    Column("moment", Text, nullable=False, server_default="evening"),
    Column("known_until", Text),
    Column("witnessed", Text),
    CheckConstraint("moment IN ('evening', 'morning', 'open')", name="forecast_moment"),
    sqlite_autoincrement=True,
)
Index("forecasts_by_code", forecasts.c.code, forecasts.c.as_of)

#: The forecast of a company that was asked for last; the ledger itself never changes.
current_forecasts = Table(
    "current_forecasts",
    metadata,
    Column("code", Text, primary_key=True),
    Column("forecast_id", Integer, ForeignKey("forecasts.id"), nullable=False),
)


#: What became of a forecast's days, one row per day that has arrived. Triggers refuse every UPDATE
#: and DELETE. ``day`` counts from 1; ``naive_crps`` is the naive baseline's from the same evening;
#: ``error`` and ``actual`` are log returns since the origin's close; ``direction`` is 1 for a right
#: call, 0 for a wrong one, NULL for none. ``ahead`` is 1 where the day's bar arrived after the
#: forecast was made; ``seen`` says whether the model was trained on that day, NULL where unknown.
forecast_scores = Table(
    "forecast_scores",
    metadata,
    Column("forecast", Integer, ForeignKey("forecasts.id"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("date", Date, nullable=False),
    Column("crps", sa.Float, nullable=False),
    Column("naive_crps", sa.Float, nullable=False),
    Column("inside50", Integer, nullable=False),
    Column("inside80", Integer, nullable=False),
    Column("inside95", Integer, nullable=False),
    Column("error", sa.Float, nullable=False),
    Column("actual", sa.Float, nullable=False),
    Column("direction", Integer),
    Column("ahead", Integer, nullable=False),
    Column("seen", Integer),
    Column("scored_at", Text, nullable=False),
    sqlite_with_rowid=False,
)

#: One verdict per company, day and rule.
signals = Table(
    "signals",
    metadata,
    Column("code", Text, primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("strength", sa.Float),
    Column("reason_zh", Text, nullable=False),
    Column("reason_en", Text, nullable=False),
    Column("forecast", Integer, ForeignKey("forecasts.id")),
    Column("simulated", Integer, nullable=False),
    Column("made_at", Text, nullable=False),
)

#: Training runs. ``options`` is JSON; ``state`` is running, done, stopped or failed.
runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("finished", Text),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("log", Text),
    sqlite_autoincrement=True,
)

#: Every request that went out to a site. ``outcome`` stays "sent" where the process died over it.
requests = Table(
    "requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("site", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
Index("requests_by_site", requests.c.site, requests.c.at)

#: Sites that must not be asked until a moment, and how many times in a row they barred us.
site_bars = Table(
    "site_bars",
    metadata,
    Column("site", Text, primary_key=True),
    Column("until", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("why", Text, nullable=False),
)

#: What has been collected, so that nobody asks for it again; see ``data.stores.collected``. ``asked`` counts
#: the times that a site said it has nothing.
collected = Table(
    "collected",
    metadata,
    Column("what", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("through", Date),
    Column("read", Integer, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("left_out", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("asked", Integer, nullable=False, server_default="1"),
    sqlite_with_rowid=False,
)

#: The days the exchange's holiday schedule names; ``open`` is 1 for a session, 0 for a closed
#: day, absent where the schedule does not tell.
schedule = Table(
    "schedule",
    metadata,
    Column("date", Date, primary_key=True),
    Column("open", Integer),
    Column("name", Text, nullable=False),
)

#: What the exchanges computed for each ex-date; see ``data.stores.exrights``.
ex_rights = Table(
    "ex_rights",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    Column("market", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("close_before", Integer, nullable=False),
    Column("reference", Integer, nullable=False),
    Column("basis", Integer, nullable=False),
    Column("limit_up", Integer),
    Column("limit_down", Integer),
    Column("source", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
    CheckConstraint("close_before > 0 AND reference > 0 AND basis > 0", name="ex_rights_positive"),
    sqlite_with_rowid=False,
)
Index("ex_rights_by_date", ex_rights.c.date)

#: When each company's news was last asked for, language by language.
news_turns = Table(
    "news_turns",
    metadata,
    Column("code", Text, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("served_at", Text, nullable=False),
    Column("newest", Text),
    Column("outcome", Text, nullable=False),
    sqlite_with_rowid=False,
)

#: Refreshes. ``evening`` is the session they were for; ``ended`` stays absent where the process died.
refreshes = Table(
    "refreshes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("evening", Date, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    Column("outcome", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    sqlite_autoincrement=True,
)
Index("refreshes_by_start", refreshes.c.started)

#: The steps of each refresh. ``counts`` is a JSON object of whole numbers, ``notes`` a
#: JSON list of pairs of sentences, Chinese and English.
refresh_steps = Table(
    "refresh_steps",
    metadata,
    Column("refresh", Integer, ForeignKey("refreshes.id"), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text),
    Column("outcome", Text, nullable=False),
    Column("counts", Text, nullable=False),
    Column("sentence_zh", Text, nullable=False),
    Column("sentence_en", Text, nullable=False),
    Column("notes", Text, nullable=False),
    sqlite_with_rowid=False,
)
