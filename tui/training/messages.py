"""What the workers of the Training tab and its form tell them."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from stockllm.tui.training.options import Checked
from stockllm.tui.training.reading import Adapters, Run


@dataclass(eq=False)
class RunsLoaded(Message):
    """The training runs were read."""

    runs: tuple[Run, ...]


@dataclass(eq=False)
class AdaptersLoaded(Message):
    """The adapters and their cards were read."""

    adapters: Adapters


@dataclass(eq=False)
class DefaultSet(Message):
    """``model`` forecasts now where none is named."""

    model: str


@dataclass(eq=False)
class FormChecked(Message):
    """The training form was checked as it stood with ``values``: what it gives, or what is wrong."""

    values: dict[str, str]
    checked: Checked | None
    sentence: str
