"""What any tab's workers tell it. Each is posted from a thread and handled on the screen's own loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from stockllm.tui.core.jobs import Job


@dataclass(eq=False)
class LoadFailed(Message):
    """A read ended in an error: a StockllmError carries its sentence, anything else is unexpected."""

    group: str
    error: Exception


@dataclass(eq=False)
class Exported(Message):
    """What was shown is in these files."""

    files: tuple[Path, ...]


@dataclass(eq=False)
class ExportFailed(Message):
    """Files could not be written."""

    error: Exception


@dataclass(eq=False)
class Started(Message):
    """A command was started as a process of its own; ``text`` is what to say of it."""

    job: Job
    text: str = ""
