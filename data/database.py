"""The SQLite file under the store: connections, transactions, and its errors as sentences."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from stockllm.data import waiting
from stockllm.data.errors import StoreError
from stockllm.data.private import FILE

#: How long one process waits for another that is writing; ``data.waiting`` says how often.
BUSY_TIMEOUT_MS = 5000

# A transaction of up to this many KiB stays in memory until it commits, so that a large import
# does not lock out the dashboard's readers while it runs. Who reads leaves caching to the system: pages
# of a pass over the whole market would take as much memory as the file has.
_WRITE_CACHE_KIB = 262_144
_READ_CACHE_KIB = 8_192

# What a large import leaves of its journal.
_JOURNAL_BYTES = 1_048_576


class Database:
    """One SQLite file. Reads and writes happen inside ``read()`` and ``write()`` and nowhere else.

    A rollback journal with full synchronisation: a frozen forecast survives a power cut, and any
    number of processes may read while one writes. ``foreign_keys=False`` is for migrations, which
    may have to rebuild a table that others point to.
    """

    def __init__(self, path: Path, *, create: bool = True, foreign_keys: bool = True) -> None:
        self.path = path
        mode = "rwc" if create else "rw"
        if create:
            with suppress(OSError):  # SQLite says better what is in the way; its journal takes after this
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE))
        # SQLite falls back to reading alone where the file cannot be written.
        address = f"{path.absolute().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address,
                timeout=BUSY_TIMEOUT_MS / 1000,
                isolation_level=None,  # transactions are begun below, so that DDL is inside them too
                check_same_thread=False,  # the pool hands a connection to one thread at a time
                uri=True,
            )
            try:
                for pragma in (
                    f"busy_timeout = {BUSY_TIMEOUT_MS}",
                    # The journal stays as an empty file: to make and delete one costs a commit more
                    # than everything else in it.
                    "journal_mode = PERSIST",
                    f"journal_size_limit = {_JOURNAL_BYTES}",
                    "synchronous = FULL",
                    f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
                    f"cache_size = -{_READ_CACHE_KIB}",
                    "temp_store = MEMORY",
                ):
                    connection.execute(f"PRAGMA {pragma}")
            except BaseException:
                connection.close()
                raise
            return connection

        self._engine = sa.create_engine(URL.create("sqlite", database=str(path)), creator=connect)
        sa.event.listen(self._engine, "begin", _begin)
        self._writing = threading.local()  # .connection: the one this thread is writing on
        self._writer = self._engine.execution_options(stockllm_begin="BEGIN IMMEDIATE")
        # A store that is dropped without close() must not leave its file open.
        self._finalizer = weakref.finalize(self, self._engine.dispose)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view for the length of the block. Keep it short: it holds up a commit.

        Within a ``write()`` of the same thread it sees what that one has written so far.
        """
        outer: sa.Connection | None = getattr(self._writing, "connection", None)
        if outer is not None:
            with self._translated():
                yield outer
            return
        with self._translated(), self._begun(self._engine) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, committed at the end of the block, undone by any exception.

        Within another ``write()`` of the same thread it is a part of that one: what it wrote is
        kept when the outer block ends, and undone with it.
        """
        outer: sa.Connection | None = getattr(self._writing, "connection", None)
        if outer is not None:
            with outer.begin_nested():
                yield outer
            return
        with self._translated(), self._begun(self._writer) as connection:
            self._writing.connection = connection
            try:
                yield connection
            finally:
                self._writing.connection = None
            # Whoever reads just now is waited for, by the system: a commit is not begun twice.
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS * waiting.times()}")

    @contextmanager
    def _begun(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """A connection with the lock it needs; how long that is waited for, `waiting` says.

        Each try waits for the usual time within SQLite, and between two a Ctrl-C is heard.
        """
        until = time.monotonic() + BUSY_TIMEOUT_MS / 1000 * (waiting.times() - 1)
        tries = 0
        while True:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(engine.connect())
                    transaction = connection.begin()
                    if engine is self._engine:  # a reader's lock comes with its first look
                        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").close()
                except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
                    if "locked" not in str(error) or time.monotonic() >= until:
                        raise
                    tries += 1
                    if tries == 1:
                        waiting.tell()
                    continue
                with transaction:
                    yield connection
                return

    def changes(self) -> int:
        """Another number as soon as somebody else has committed a change. For one thread at a time."""
        with self.read() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def close(self) -> None:
        self._finalizer()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            cause: Any = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            if isinstance(cause, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
                raise  # our own mistake, not the file's
            en, zh = _sentences(self.path, str(cause))
            raise StoreError(en, zh=zh) from error
        except OverflowError as error:
            raise StoreError(
                f"A number does not fit into the store {self.path} (64 bits): "
                "nothing was written; correct the source of that row.",
                zh=f"有數字超出資料庫 {self.path} 的範圍（64 位元）：沒有寫入任何內容，請修正該列的來源。",
            ) from error


def _begin(connection: sa.Connection) -> None:
    # BEGIN IMMEDIATE takes the write lock at once: a transaction that reads first and asks for the
    # lock later would fail without waiting when another process holds it.
    begin = connection.get_execution_options().get("stockllm_begin", "BEGIN")
    kib = _READ_CACHE_KIB if begin == "BEGIN" else _WRITE_CACHE_KIB
    connection.exec_driver_sql(f"PRAGMA cache_size = -{kib}")
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.exec_driver_sql(begin)


#: What SQLite says -> what happened and what to do, in English and Chinese.
_SENTENCES: tuple[tuple[str, str, str], ...] = (
    (
        "locked",
        "The store {path} is being written by another stockllm: try again when that has ended.",
        "另一個 stockllm 正在寫入資料庫 {path}：請等它結束後再試。",
    ),
    (
        "not a database",
        "The file {path} is not a database: move it away and import again, or put a backup in its place.",
        "檔案 {path} 不是資料庫：請移走後重新匯入，或換上備份。",
    ),
    (
        "malformed",
        "The store {path} is corrupt: move it away and import again, or put a backup in its place.",
        "資料庫 {path} 已損壞：請移走後重新匯入，或換上備份。",
    ),
    (
        "full",
        "There is no room left on the disk that holds {path}: free some and try again.",
        "{path} 所在的磁碟已滿：請騰出空間後再試。",
    ),
    (
        "readonly",
        "The store {path} cannot be written: change its permissions, or set STOCKLLM_HOME to another folder.",
        "資料庫 {path} 無法寫入：請修改其權限，或把 STOCKLLM_HOME 設為其他資料夾。",
    ),
    (
        "unable to open",
        "The store {path} cannot be opened: see that its folder exists and can be read and written, "
        "or set STOCKLLM_HOME to another folder.",
        "資料庫 {path} 無法開啟：請確認資料夾存在且可讀寫，或把 STOCKLLM_HOME 設為其他資料夾。",
    ),
    (
        "disk I/O error",
        "The disk that holds {path} reports an error: see that it works and has room, then try again.",
        "{path} 所在的磁碟回報錯誤：請確認磁碟正常且有空間，然後再試。",
    ),
    (
        "scores are frozen",
        "A score in the ledger of {path} is frozen and was not changed.",
        "{path} 帳本中的分數已凍結，沒有更動。",
    ),
    (
        "books are frozen",
        "What the exchange's books in {path} hold of the past is frozen and was not changed.",
        "{path} 中交易所帳冊的過去紀錄已凍結，沒有更動。",
    ),
    (
        "frozen",
        "A forecast in the ledger of {path} is frozen and was not changed: make a new forecast instead.",
        "{path} 帳本中的預測已凍結，沒有更動：請另做新的預測。",
    ),
    (
        "constraint failed",
        "The store {path} refused a row that breaks a rule of its tables ({cause}): "
        "nothing was written; correct the source of that row.",
        "資料庫 {path} 拒絕了違反資料表規則的一列（{cause}）：沒有寫入任何內容，請修正該列的來源。",
    ),
)


def _sentences(path: Path, cause: str) -> tuple[str, str]:
    """What happened and what to do, in English and Chinese."""
    for part, en, zh in _SENTENCES:
        if part in cause:
            return en.format(path=path, cause=cause), zh.format(path=path, cause=cause)
    return (
        f"The store {path} cannot be used ({cause}): try again, or set STOCKLLM_HOME to another folder.",
        f"資料庫 {path} 無法使用（{cause}）：請再試一次，或把 STOCKLLM_HOME 設為其他資料夾。",
    )
