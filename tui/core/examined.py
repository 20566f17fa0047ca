"""The store's health, as ``stockllm health`` judges it, counted once for all who show it."""

from __future__ import annotations

import threading
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.tui.core.store_watch import Mark, mark

if TYPE_CHECKING:
    from stockllm.data.health import HealthReport
    from stockllm.data.store import Store

#: Two tabs ask at the same moment when the store has changed: the second waits for the first one's answer.
_COUNTING = threading.Lock()

#: What a report depends on: the store, its file, the user's calendar, and the evening that is published.
_Key = tuple[Path, Mark | None, int, date]

#: The last report, if there was one.
_kept: list[tuple[_Key, HealthReport]] = []


def examined(store: Store, now: datetime) -> HealthReport:
    """``nightly.fitness.examine``; the last report again as long as nothing that it rests on has changed."""
    from stockllm.nightly.fitness import examine, last_evening

    with _COUNTING:
        calendar = store.home.closed_days_file
        changed = calendar.stat().st_mtime_ns if calendar.is_file() else 0
        key = (store.home.root, mark(store.home), changed, last_evening(store, now))
        if not _kept or _kept[0][0] != key:
            _kept[:] = [(key, examine(store, now))]
        return _kept[0][1]
