"""Who is at work: a file that one process at a time holds, let go of by its end or by its death."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stockllm.data.errors import StockllmError, StoreError

# Whoever only looks holds the file for some microseconds; a refresh must not be refused over that.
_PATIENCE_S = 0.5


class Busy(StockllmError):
    """Another process holds the lock; ``holder`` is who."""

    def __init__(self, en: str, zh: str, holder: Holder) -> None:
        super().__init__(en, zh=zh)
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock: what it is, its id, and since when. 0 and None where unknown."""

    who: str
    pid: int
    since: datetime | None


@contextmanager
def hold(path: Path, who: str) -> Iterator[None]:
    """Hold the lock for the length of the block. Busy, at once, where another process does.

    The system lets go of it when the process ends, however it ends. The file stays.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"The file {path} cannot be opened ({error.strerror}): "
            "change its permissions, or set STOCKLLM_HOME to another folder.",
            zh=(
                f"檔案 {path} 無法開啟（{error.strerror}）：請修改其權限，或把 STOCKLLM_HOME 設為其他資料夾。"
            ),
        ) from error
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not _taken(file):
            if time.monotonic() > deadline:
                other = _read(file)
                raise Busy(*_sentences(other), other)
            time.sleep(0.01)
        told = {"who": who, "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(told).encode(), 0)
        yield
    finally:
        os.close(file)


def holder(path: Path) -> Holder | None:
    """Who holds the lock, None where nobody does."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _taken(file) else _read(file)
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: int) -> Holder:
    try:
        told = json.loads(os.pread(file, 4096, 0))
        return Holder(str(told["who"]), int(told["pid"]), datetime.fromisoformat(told["since"]))
    except (ValueError, KeyError, TypeError):
        return Holder("stockllm", 0, None)  # it is just writing who it is


def _sentences(other: Holder) -> tuple[str, str]:
    """Who is at it, in English and Chinese."""
    who = f"{other.who} (process {other.pid}" if other.pid else f"{other.who} (a process"
    since = f", since {other.since.astimezone():%Y-%m-%d %H:%M})" if other.since else ")"
    number = f"程序 {other.pid}" if other.pid else "某個程序"
    begun = f"，始於 {other.since.astimezone():%Y-%m-%d %H:%M}" if other.since else ""
    return (
        f"{who}{since} is at it already: wait until it has ended, or stop it.",
        f"{other.who}（{number}{begun}）正在執行：請等它結束，或將它停止。",
    )
