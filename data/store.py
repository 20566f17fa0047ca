"""The one database of stockllm: opening it, migrating it, and the sub-stores in it.

Imported by every command, so alembic, numpy and pandas stay out until they are needed.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa

from stockllm.data import schema
from stockllm.data.database import Database
from stockllm.data.errors import StoreError, UnknownCompany
from stockllm.data.paths import Home
from stockllm.data.records import BarSeries
from stockllm.data.stores.adjusted import AdjustedStore, long_series
from stockllm.data.stores.arrivals import KINDS, ArrivalStore
from stockllm.data.stores.bars import BarStore
from stockllm.data.stores.books import BookStore
from stockllm.data.stores.collected import CollectedStore
from stockllm.data.stores.exrights import ExRightStore
from stockllm.data.stores.flows import flow_store, margin_store, revenue_store
from stockllm.data.stores.ledger import LedgerStore
from stockllm.data.stores.news import NewsStore
from stockllm.data.stores.news_turns import NewsTurnStore
from stockllm.data.stores.notes import NoteStore
from stockllm.data.stores.refreshes import RefreshStore
from stockllm.data.stores.requests import RequestStore
from stockllm.data.stores.runs import RunStore
from stockllm.data.stores.scores import ScoreStore
from stockllm.data.stores.sent_orders import SentOrderStore
from stockllm.data.stores.signals import SignalStore
from stockllm.data.stores.survey import SurveyStore
from stockllm.data.stores.world import WorldStore
from stockllm.market.calendar import TradingCalendar, default_calendar
from stockllm.market.companies import COMPANIES, Company, UnknownName, resolve

_BUILT_IN = {company.code: company for company in COMPANIES}
_NULL_SEEN = re.compile(r"NULL value in (\w+)\.(\w+)")
_HOW_TO_FILL = "bring prices in with 'stockllm import PATH' or make a demo store with 'make demo'"


class Store:
    """An open store. Close it, or use it as a context manager. Safe to share between threads."""

    def __init__(self, home: Home, database: Database) -> None:
        """For ``Store.open``, which migrates first."""
        self.home = home
        self._database = database
        self.notes = NoteStore(database)
        self.bars = BarStore(database)
        self.survey = SurveyStore(database)
        self.arrivals = ArrivalStore(database)
        self.adjusted = AdjustedStore(database)
        self.flows = flow_store(database)
        self.margin = margin_store(database)
        self.revenue = revenue_store(database)
        self.world = WorldStore(database)
        self.news = NewsStore(database)
        self.news_turns = NewsTurnStore(database)
        self.ledger = LedgerStore(database)
        self.scores = ScoreStore(database)
        self.signals = SignalStore(database)
        self.runs = RunStore(database)
        self.requests = RequestStore(database)
        self.collected = CollectedStore(database)
        self.ex_rights = ExRightStore(database)
        self.books = BookStore(database)
        self.sent_orders = SentOrderStore(database)
        self.refreshes = RefreshStore(database)

    @classmethod
    def open(cls, home: Home, *, create: bool = True) -> Store:
        """Open the store of ``home``, migrated to this version's tables.

        StoreError where the home cannot be written, the file is no store, is corrupt, is busy or
        was made by a newer stockllm, and where it is absent and ``create`` is False.
        """
        path = home.store
        if os.path.isdir(path):  # unlike Path.is_dir it takes a folder without permissions for no folder
            raise StoreError(
                f"{path} is a folder where the store's file belongs: move it away.",
                zh=f"{path} 是資料夾，而資料庫檔案應在該處：請把它移走。",
            )
        if create:
            home.ensure()
        elif not os.path.isfile(path):
            raise _absent(home)
        database = Database(path, create=create)
        try:
            revision = _revision(database)
            if revision is None and not create:
                raise _absent(home)
            if revision != schema.HEAD:
                _migrate(path)
            return cls(home, database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def is_empty(self) -> bool:
        """Whether nothing has come in yet: no table has a row, the store's own notes on itself apart."""
        tables = [table for table in schema.metadata.sorted_tables if table is not schema.meta]
        with self._database.read() as connection:
            return not any(
                connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table))))
                for table in tables
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that this thread writes in the block, in any sub-store, is kept or undone together."""
        with self._database.write():
            yield

    def changes(self) -> int:
        """Another number as soon as another connection has changed the store. For one thread at a time."""
        return self._database.changes()

    def check(self) -> None:
        """Read every page of the file. StoreError where it is corrupt. Seconds for a large store."""
        with self._database.read() as connection:
            said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA quick_check")]
            verdict = next((one for one in said if one != "ok" and not _disproved(connection, one)), "ok")
        if verdict != "ok":
            raise StoreError(
                f"The store {self._database.path} is corrupt ({' '.join(str(verdict).split())}): "
                "move it away and import again, or put a backup in its place.",
                zh=(
                    f"資料庫 {self._database.path} 已損壞（{' '.join(str(verdict).split())}）：請移"
                    "走後重新匯入，或換上備份。"
                ),
            )

    @property
    def simulated(self) -> bool:
        """Whether the prices are a generated market; every screen says so then."""
        return self.notes.get("simulated") == "yes"

    def set_simulated(self, flag: bool) -> None:
        """Say of an empty store what prices it will hold. StoreError where it holds the other kind."""
        if flag != self.simulated:
            if self._has_figures():
                raise self._other_kind(flag)
            self.notes.set("simulated", "yes" if flag else "no")

    def expect_simulated(self, flag: bool) -> None:
        """StoreError where prices of this kind must not come in, because the other kind is here."""
        simulated = self.simulated
        if simulated != flag and (simulated or self._has_figures()):
            raise self._other_kind(flag)

    def _has_figures(self) -> bool:
        """Whether prices are here, traded or adjusted, or figures of the world."""
        if self.bars.last_date() is not None:
            return True
        with self._database.read() as connection:
            return any(
                connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table))))
                for table in KINDS.values()
            )

    def codes_with_prices(self) -> list[str]:
        """The codes that have traded bars or adjusted candles, ascending."""
        return sorted({*self.bars.codes(), *self.adjusted.codes()})

    def market_days(self) -> list[date]:
        """The days on which any company traded or has an adjusted candle, ascending."""
        return sorted({*self.bars.traded(), *self.adjusted.days()})

    def long_series(self, code: str, end: date | None = None, since: date | None = None) -> BarSeries:
        """The traded bars of ``code`` up to and including ``end``, preceded by its adjusted candles.

        The adjusted days before the first traded bar are scaled so that the move into it is right.
        Where nothing was traded, the adjusted candles are all there is. Days before ``since`` are left out.
        """
        return long_series(self.bars, self.adjusted, code, end, since)

    def _other_kind(self, wanted: bool) -> StoreError:
        here, there = ("real", "simulated") if wanted else ("simulated", "real")
        return StoreError(
            f"The store in {self.home.root} holds {here} prices, which {there} ones must not join: "
            "set STOCKLLM_HOME to another folder.",
            zh=f"{self.home.root} 的資料庫是{'真實' if wanted else '模擬'}股價，不能混入"
            f"{'模擬' if wanted else '真實'}股價：請把 STOCKLLM_HOME 設為其他資料夾。",
        )

    def add_companies(self, companies: Iterable[Company]) -> int:
        """Remember companies beyond the 41; the number not known before. Later facts win."""
        table = schema.companies
        rows = [
            {
                "code": c.code,
                "name_zh": c.name_zh,
                "name_en": c.name_en,
                "listed_name": c.listed_name,
                "market": c.market,
                "industry": c.industry,
                "listed_since": c.listed_since,
                "isin": c.isin,
                "aliases": json.dumps(c.aliases, ensure_ascii=False),
            }
            for c in {c.code: c for c in companies}.values()
            if c.code not in _BUILT_IN
        ]
        if not rows:
            return 0
        with self._database.write() as connection:
            known = set(connection.scalars(sa.select(table.c.code)))
            connection.execute(sa.insert(table).prefix_with("OR REPLACE"), rows)
        return sum(row["code"] not in known for row in rows)

    def companies(self) -> list[Company]:
        """The 41 and those that company lists added, by code."""
        return sorted((*COMPANIES, *self._added()), key=lambda company: company.code)

    def company(self, code: str) -> Company:
        """The company with this code; one of which only the code is known if it has bars."""
        found = _BUILT_IN.get(code) or next((c for c in self._added() if c.code == code), None)
        if found is None:
            if not self._has_prices(code):
                return self.resolve(code)
            found = Company.bare(code)
        return found

    def _has_prices(self, code: str) -> bool:
        return self.bars.span(code) is not None or self.adjusted.has(code)

    def resolve(self, query: str) -> Company:
        """The company that a code or a Chinese, English or listed name means.

        UnknownCompany, with the nearest, where none answers to it.
        """
        known = self.companies()
        try:
            return resolve(query, known)
        except UnknownName as error:
            code = query.strip()
            if self._has_prices(code):
                return Company.bare(code)
            raise UnknownCompany(str(error), zh=error.zh) from error

    def _added(self) -> list[Company]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(schema.companies)).mappings().all()
        return [Company(**(dict(row) | {"aliases": tuple(json.loads(row["aliases"]))})) for row in rows]

    def calendar(self, until: date | None = None, since: date = date.min) -> TradingCalendar:
        """The exchanges' rules, corrected by what the exchanges said, then by the store's bars and last
        by the user's ``calendar.toml``.

        Nothing is learned from what happened after ``until`` or before ``since``.
        """
        traded = {day: n for day, n in self.bars.traded(since).items() if until is None or day <= until}
        calendar = self.collected.correct(default_calendar(), until)
        calendar = calendar.learn(traded, len(self.bars.codes()))
        closed, opened = _override(self.home.closed_days_file)
        return calendar.with_closed(closed).with_opened(opened)


def _disproved(connection: sa.Connection, said: str) -> bool:
    """Whether SQLite's check sees a NULL where none is.

    Up to 3.40 it takes a table without rowid for damaged whose key has a column out of order.
    """
    match = _NULL_SEEN.fullmatch(said)
    if match is None:
        return False
    # typeof, since SQLite does not look where a column is declared to hold no NULL.
    query = f'SELECT 1 FROM "{match[1]}" WHERE typeof("{match[2]}") = \'null\' LIMIT 1'
    return connection.exec_driver_sql(query).first() is None


def _absent(home: Home) -> StoreError:
    return StoreError(
        f"There is no store in {home.root}: {_HOW_TO_FILL}.",
        zh=(
            f"{home.root} 裡還沒有資料庫：請用 'stockllm import PATH' 匯入股價，或用 'make "
            "demo' 建立試用資料庫。"
        ),
    )


def _revision(database: Database) -> str | None:
    """The revision of the tables, None in an empty file. StoreError where stockllm did not make it."""
    with database.read() as connection:
        names = (
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        )
        if not names:
            return None
        rows: list[Any] = []
        if "alembic_version" in names and "bars" in names:
            rows = list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())
    if len(rows) != 1 or not str(rows[0]).isdecimal():
        raise StoreError(
            f"{database.path} is a database that stockllm did not make: move it away, "
            "or set STOCKLLM_HOME to another folder.",
            zh=(
                f"{database.path} 不是 stockllm 建立的資料庫：請把它移走，或把 STOCKLLM_HOME 設為其他資料夾。"
            ),
        )
    revision = str(rows[0])
    if int(revision) > int(schema.HEAD):
        raise StoreError(
            f"{database.path} was made by a newer stockllm "
            f"(its tables are {revision}, this one knows {schema.HEAD}): "
            "update stockllm, or set STOCKLLM_HOME to another folder.",
            zh=(
                f"{database.path} 由較新的 stockllm 建立（資料表版本 {revision}，本程式只到 "
                f"{schema.HEAD}）：請更新 stockllm，或把 STOCKLLM_HOME 設為其他資料夾。"
            ),
        )
    return revision


def _migrate(path: Path) -> None:
    """Bring the tables up to date in one transaction, waiting for another process that does so."""
    from stockllm.data import migrations

    database = Database(path, foreign_keys=False)
    try:
        with database.write() as connection:
            migrations.upgrade(connection)
            connection.exec_driver_sql(
                "INSERT INTO meta (key, value) VALUES ('created_at', ?) ON CONFLICT DO NOTHING",
                (datetime.now(UTC).isoformat(),),
            )
    except StoreError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())
        raise StoreError(
            f"The store {path} could not be brought to this version's tables ({cause}) "
            "and was left as it was: go back to the stockllm that made it, and report this.",
            zh=(
                f"資料庫 {path} 無法升級到本版的資料表（{cause}），已維持原狀：請改回原先的 "
                "stockllm，並回報此問題。"
            ),
        ) from error
    finally:
        database.close()


def _override(path: Path) -> tuple[list[date], list[date]]:
    """The days listed under ``closed`` and ``opened`` in the user's calendar file."""
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        return [], []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StoreError(
            f"{path} cannot be read as TOML ({error}): correct it or delete it.",
            zh=f"{path} 不是正確的 TOML（{error}）：請修正或刪除它。",
        ) from error
    unknown = sorted(document.keys() - {"closed", "opened"})
    closed, opened = document.get("closed", []), document.get("opened", [])
    days = [*closed, *opened] if isinstance(closed, list) and isinstance(opened, list) else [None]
    if unknown or not all(type(day) is date for day in days):
        raise StoreError(
            f"{path} holds something else than days: it takes lines such as 'closed = [2026-07-10]' "
            "and 'opened = [2018-12-22]'.",
            zh=(f"{path} 的內容不是日期：每行應如 'closed = [2026-07-10]' 或 'opened = [2018-12-22]'。"),
        )
    return closed, opened
