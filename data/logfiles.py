"""Log files in the home: for their owner alone, the oldest part dropped."""

from __future__ import annotations

from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO, cast

from stockllm.data.private import opener


def rotating(path: Path, size: int, count: int, *, delay: bool = False) -> RotatingFileHandler:
    """A log file and ``count`` older ones of ``size`` bytes; ``delay`` makes it with its first line."""
    return _Rotating(path, maxBytes=size, backupCount=count, encoding="utf-8", delay=delay)


class _Rotating(RotatingFileHandler):
    def _open(self) -> TextIO:  # type: ignore[override]
        return cast("TextIO", open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener))
