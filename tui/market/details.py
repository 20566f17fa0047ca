"""Companies that were read, kept while the store is what it was. Knows no screen.

Going back to a company, or on to its neighbour, shows at once what is kept; a thread then asks the store
whether that still holds.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from stockllm.tui.core.store import NothingToShow, open_store
from stockllm.tui.market import board as core
from stockllm.tui.market.board import Detail

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

#: Companies kept: where the user is, was, and may go next. Ten years of one take 200 KB.
MOST = 24


class Details:
    """The companies read last. ``kept`` is for the screen's loop; ``read`` is for threads, one at a time.

    The store stays open between reads, so that its queries are compiled once and it can tell whether
    somebody has changed it; ``close`` lets go of it.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, Detail] = OrderedDict()
        self._store: Store | None = None
        self._seen: tuple[int, ...] = ()
        self._reading = threading.Lock()

    def kept(self, code: str) -> Detail | None:
        """What was last read of a company, None where that is not kept. Reads nothing."""
        return self._kept.get(code)

    def read(self, home: Home, code: str) -> Detail:
        """A company as the store has it now: the kept one itself where the store has not changed.

        NothingToShow where the store is absent, StoreError where it is damaged.
        """
        with self._reading:
            try:
                store = self._opened(home)
                found = self._kept.get(code)
                if found is None:
                    found = self._kept[code] = core.read_detail(store, code)
                self._kept.move_to_end(code)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
                return found
            except BaseException:
                self._let_go()
                raise

    def _opened(self, home: Home) -> Store:
        """The store, open; nothing is kept if it is another one or has changed since."""
        try:
            there = os.stat(home.store)
        except OSError:
            raise NothingToShow("absent", home) from None
        if self._store is None or self._store.home != home or self._seen[:2] != (there.st_dev, there.st_ino):
            self._let_go()
            self._store = open_store(home)
        seen = (there.st_dev, there.st_ino, self._store.changes())
        if seen != self._seen:
            self._kept.clear()
            self._seen = seen
        return self._store

    def close(self) -> None:
        """Let go of the store's file and of what is kept."""
        with self._reading:
            self._let_go()

    def _let_go(self) -> None:
        self._kept.clear()
        self._seen = ()
        if self._store is not None:
            self._store.close()
            self._store = None
