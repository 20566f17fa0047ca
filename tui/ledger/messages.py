"""What the Forecasts tab's workers tell it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from stockllm.tui.ledger.detail import Said
from stockllm.tui.ledger.reading import Band, Chosen, Ledger


@dataclass(eq=False)
class LedgerLoaded(Message):
    """The ledger was read."""

    ledger: Ledger


@dataclass(eq=False)
class LedgerChosen(Message):
    """The ledger was filtered; ``record`` says in Chinese and English how the chosen ones did."""

    chosen: Chosen
    record: tuple[str, str]


@dataclass(eq=False)
class BandsLoaded(Message):
    """The bands of some forecasts, by id."""

    bands: dict[int, Band]


@dataclass(eq=False)
class SaidLoaded(Message):
    """One forecast of the ledger, day by day."""

    said: Said


@dataclass(eq=False)
class Scored(Message):
    """So many days were scored."""

    days: int
