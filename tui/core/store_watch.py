"""Whether somebody else has written to the store: a refresh by night, another terminal. Knows no screen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stockllm.data.paths import Home

#: How often the store is looked at. One look asks the system for a file's times and opens nothing.
LOOK_S = 5.0

#: A writer that never rests is shown at every so many looks.
_PATIENCE = 6

#: What a commit changes of the store's file: place, size and time. None where there is no file.
Mark = tuple[int, int, int, int]


def mark(home: Home) -> Mark | None:
    """The store's file as it is now. A commit writes into it, so it never looks the same after one."""
    try:
        there = os.stat(home.store)
    except OSError:
        return None
    return there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns


@dataclass(slots=True)
class StoreWatch:
    """Tells when what is shown is no longer what is stored, once the writing has come to rest.

    ``shown`` is the store as it was when it was last read, ``last`` as it was at the last look, ``new``
    whether there was none yet.
    """

    shown: Mark | None = None
    last: Mark | None = None
    waited: int = 0
    new: bool = True

    def look(self, now: Mark | None) -> bool:
        """Whether to read again now: another store than the one shown, the same at two looks.

        The first look only learns what there is.
        """
        rests, self.last = now == self.last, now
        if self.new:
            self.shown, self.new = now, False
            return False
        if now is None or now == self.shown:
            self.waited = 0
            return False
        self.waited += 1
        if not rests and self.waited < _PATIENCE:
            return False
        self.shown, self.waited = now, 0
        return True
