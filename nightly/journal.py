"""The log files in the home: what refreshes and their schedule did, the oldest part dropped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stockllm.data.logfiles import rotating

# A night is some 3 KB: a year and more in all.
_BYTES = 500_000
_FILES = 4


@contextmanager
def journal(path: Path) -> Iterator[None]:
    """What stockllm logs in the block goes to the file ``path``; one process at a time may write it."""
    handler = rotating(path, _BYTES, _FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log = logging.getLogger("stockllm")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        handler.close()
