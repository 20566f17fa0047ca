"""Keeps Python's garbage collector out of the way of keys.

A full collection walks every object there is. What was imported stays for good and is most of it: a tenth
of a second, at any moment, a key among them. So what stays is set aside once, while nothing happens, and
what remains to be walked takes a millisecond.
"""

from __future__ import annotations

import gc
import sys

#: How often it is looked whether something new was imported.
TIDY_S = 2.0


class Tidy:
    """Sets aside what was imported. Called again and again; it works when there is something new."""

    def __init__(self) -> None:
        self._modules = 0

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
