"""Whether this process waits for another that writes the store, and whom it tells.

SQLite's lock is let go of by the end of its holder or by its death, so whoever waits for it waits for a
process that lives. A command has all the time; the dashboard rather says at once why it cannot write now.
"""

from __future__ import annotations

from collections.abc import Callable

# An import of every stock's years holds the store for some ten seconds; one of the holder's that stands still
# must not be waited for forever.
_TIMES = 60

_times = 1
_tell: Callable[[], None] | None = None


def be_patient(tell: Callable[[], None] | None = None) -> None:
    """Wait for minutes in place of seconds; ``tell`` is called when that takes longer than a moment."""
    global _times, _tell
    _times, _tell = _TIMES, tell


def be_brief() -> None:
    """Wait for seconds, as at the start of a process."""
    global _times, _tell
    _times, _tell = 1, None


def times() -> int:
    """How often the usual wait is taken."""
    return _times


def tell() -> None:
    """Say that this process waits."""
    if _tell is not None:
        _tell()
