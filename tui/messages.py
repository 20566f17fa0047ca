"""What workers tell the screen. Each is posted from a thread and handled on the screen's own loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from stockllm.tui.board import Board, DataState, Detail, Marks, Past
from stockllm.tui.jobs import Job
from stockllm.tui.ledger_core import Band, Chosen, Ledger
from stockllm.tui.ledger_detail import Said
from stockllm.tui.portfolio_core import AccountPast, Portfolio, Ticket, Which
from stockllm.tui.system_core import StoreState, SystemState
from stockllm.tui.train_options import Checked
from stockllm.tui.training_core import Adapters, Run

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.trading.brokers import Placed
    from stockllm.tui.store_watch import Mark


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
class LoadFailed(Message):
    """A read ended in an error: a StockllmError carries its sentence, anything else is unexpected."""

    group: str
    error: Exception


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


@dataclass(eq=False)
class Exported(Message):
    """What was shown is in these files."""

    files: tuple[Path, ...]


@dataclass(eq=False)
class ExportFailed(Message):
    """Files could not be written."""

    error: Exception


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


@dataclass(eq=False)
class SystemLoaded(Message):
    """Refreshes, sites and logs were read."""

    state: SystemState


@dataclass(eq=False)
class StoreStateLoaded(Message):
    """The store was examined."""

    state: StoreState


@dataclass(eq=False)
class Planned(Message):
    """What a refresh would ask for, in words."""

    lines: tuple[str, ...]


@dataclass(eq=False)
class Started(Message):
    """A command was started as a process of its own; ``text`` is what to say of it."""

    job: Job
    text: str = ""


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


@dataclass(eq=False)
class PortfolioLoaded(Message):
    """A broker was asked about an account."""

    portfolio: Portfolio


@dataclass(eq=False)
class AccountsFound(Message):
    """The accounts there are, and which of them is asked now."""

    accounts: tuple[Which, ...]
    asked: Which


@dataclass(eq=False)
class PastFound(Message):
    """An account's past was reckoned from the books; None where nobody keeps them here."""

    account: Which
    past: AccountPast | None


@dataclass(eq=False)
class OrderChanged(Message):
    """An order was sent or taken back."""

    placed: Placed


@dataclass(eq=False)
class TicketChecked(Message):
    """The ticket was checked as it stood with ``values``: the order, or why it would be refused."""

    values: dict[str, str]
    ticket: Ticket | None
    sentence: str


@dataclass(eq=False)
class AccountChecked(Message):
    """The form of a new account was checked as it stood with ``values``: what is wrong or would be opened."""

    values: dict[str, str]
    good: bool
    sentence: str


@dataclass(eq=False)
class AccountOpened(Message):
    """There is a new account at the local exchange."""

    name: str
