"""The tables of what is known beside traded bars: adjusted candles, institutions, the world.

Every figure says from when on it was public: ``known_at``, whole seconds since 1970 in UTC, a number
because millions of rows are compared with a moment at every read. A figure is never overwritten: a
revised one is another row with a later ``arrival``. Readers pass ``data.stores.known``, which keeps both
rules. Prices here are REAL with all digits that the source gave.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Date, ForeignKey, Index, Integer, Table, Text

from stockllm.data.schema import metadata


def _known() -> tuple[Column[int], ...]:
    return (
        Column("known_at", Integer, nullable=False),
        Column("arrival", Integer, ForeignKey("arrivals.id"), primary_key=True),
    )


def _prices() -> tuple[Column[float], ...]:
    return tuple(Column(name, sa.Float, nullable=False) for name in ("open", "high", "low", "close"))


#: What came in together: a file, or a site's answer. Rows of one that is still "arriving" are seen by
#: nobody; ``pid`` is the process that brings them.
arrivals = Table(
    "arrivals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("arrived_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    CheckConstraint("state IN ('arriving', 'whole')", name="arrival_state"),
    sqlite_autoincrement=True,
)
Index("arrivals_by_state", arrivals.c.state, sqlite_where=arrivals.c.state == "arriving")

#: Candles adjusted for dividends and splits, never mixed into ``bars``. Volume is in shares.
adjusted_bars = Table(
    "adjusted_bars",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    *_prices(),
    Column("volume", Integer, nullable=False),
    *_known(),
    CheckConstraint("low > 0 AND volume >= 0", name="adjusted_positive"),
    CheckConstraint("open BETWEEN low AND high AND close BETWEEN low AND high", name="adjusted_ordered"),
    sqlite_with_rowid=False,
)

#: Shares that foreign investors, investment trusts and dealers bought, less those that they sold.
institutional_flows = Table(
    "institutional_flows",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    *(Column(name, Integer, nullable=False) for name in ("foreign_net", "trust_net", "dealer_net")),
    *_known(),
    sqlite_with_rowid=False,
)

#: Shares bought on margin and sold short that are open at the end of a day.
margin_balances = Table(
    "margin_balances",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    Column("margin", Integer, nullable=False),
    Column("short", Integer, nullable=False),
    *_known(),
    sqlite_with_rowid=False,
)

#: Revenue of a month in TWD; ``date`` is the first day of that month.
monthly_revenues = Table(
    "monthly_revenues",
    metadata,
    Column("code", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    Column("revenue", Integer, nullable=False),
    *_known(),
    sqlite_with_rowid=False,
)

#: Indices and shares of New York; ``date`` is New York's.
world_bars = Table(
    "world_bars",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    *_prices(),
    Column("volume", Integer),
    *_known(),
    CheckConstraint("low > 0", name="world_positive"),
    CheckConstraint("open BETWEEN low AND high AND close BETWEEN low AND high", name="world_ordered"),
    sqlite_with_rowid=False,
)

#: TAIFEX index futures. ``date`` is TAIFEX's: a night session is dated by the trading day that it
#: leads to. ``expiry`` is a month, "202509". ``change_pct`` is in percent of the previous settlement.
index_futures = Table(
    "index_futures",
    metadata,
    Column("product", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("date", Date, primary_key=True),
    Column("expiry", Text, primary_key=True),
    *_prices(),
    Column("change", sa.Float),
    Column("change_pct", sa.Float),
    Column("volume", Integer),
    Column("settlement", sa.Float),
    Column("open_interest", Integer),
    *_known(),
    CheckConstraint("low > 0", name="futures_positive"),
    CheckConstraint("open BETWEEN low AND high AND close BETWEEN low AND high", name="futures_ordered"),
    CheckConstraint("session IN ('day', 'night')", name="futures_session"),
    sqlite_with_rowid=False,
)
