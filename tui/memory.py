"""Keeps Python's garbage collector out of the way of keys, and gives memory back that nobody uses.

A full collection walks every object there is. What was imported stays for good and is most of it: a tenth
of a second, at any moment, a key among them. So what stays is set aside once, while nothing happens, and
what remains to be walked takes a millisecond.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

#: How often it is looked whether something new was imported.
TIDY_S = 2.0


#: Memory is given back once so much has come on top of what was in use after the last time.
GROWN_BYTES = 8_000_000


class Tidy:
    """Sets aside what was imported, gives memory back. Called now and then; it works where there is need."""

    def __init__(self) -> None:
        self._modules = 0
        self._least = 0

    def begin(self) -> None:
        """Collect nothing while the program starts: all it makes then, it keeps."""
        gc.disable()

    def __call__(self, quiet: bool) -> None:
        """Set aside what came with modules imported since the last time, if this is a ``quiet`` moment."""
        gc.enable()
        if quiet and len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            gc.collect()
            gc.freeze()
        used = resident()
        if used > self._least + GROWN_BYTES:
            trim()  # some 5 ms, whoever waits
            self._least = used = resident()
        self._least = min(self._least, used)


def resident() -> int:
    """The memory of this process that is in use, in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Have the C library return the pages that it keeps without using them; only glibc can."""
    import ctypes

    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
