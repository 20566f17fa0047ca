"""What the Market tab's workers tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from stockllm.tui.market.board import Board, DataState, Detail, Marks, Past

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.tui.core.store_watch import Mark


@dataclass(eq=False)
class StoreSeen(Message):
    """The file of a home's store as it is now, None where there is none."""

    home: Home
    mark: Mark | None


@dataclass(eq=False)
class BoardLoaded(Message):
    """The watchlist was read. ``anew`` asks that every company be judged again."""

    board: Board
    anew: bool


@dataclass(eq=False)
class Judged(Message):
    """Companies without stored signals were judged for the watchlist."""

    marks: dict[str, Marks]


@dataclass(eq=False)
class DetailLoaded(Message):
    """A company was read; it may no longer be the selected one."""

    detail: Detail


@dataclass(eq=False)
class DataStateLoaded(Message):
    """Freshness, gaps and quarantine were counted."""

    state: DataState


@dataclass(eq=False)
class ForecastProgress(Message):
    """``done`` of ``total`` units of a running forecast."""

    code: str
    done: int
    total: int

    def can_replace(self, message: Message) -> bool:
        """A newer count makes an older one in the queue pointless."""
        return isinstance(message, ForecastProgress)


@dataclass(eq=False)
class ForecastDone(Message):
    """A forecast is in the ledger; ``warnings`` are sentences to show with it."""

    code: str
    warnings: tuple[str, ...]


@dataclass(eq=False)
class ForecastFailed(Message):
    """A forecast ended in an error; nothing was written."""

    code: str
    error: Exception


@dataclass(eq=False)
class PastLoaded(Message):
    """An older forecast was read, with what became of it."""

    past: Past
