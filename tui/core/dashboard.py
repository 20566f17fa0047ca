"""The dashboard as its tabs and widgets know it: what they may ask of the app, and nothing else of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stockllm.data.errors import StockllmError
    from stockllm.data.paths import Home
    from stockllm.tui.core.jobs import Job
    from stockllm.tui.look.ascii import Charset
    from stockllm.tui.look.text import Language
    from stockllm.tui.look.theme import UpColour


@dataclass(frozen=True, slots=True)
class Facts:
    """What every tab's top line tells of the store. ``running`` is the code being forecast."""

    simulated: bool = False
    last: date | None = None
    companies: int = 0
    running: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong while the dashboard was open, as it was told in a toast."""

    at: datetime
    title: str
    error: StockllmError


class FirstTab(Protocol):
    """What the other tabs may ask of the one that is always there."""

    @property
    def selected(self) -> str:
        """The code of the company that is shown."""

    def load_board(self) -> object:
        """Read the watchlist again."""

    def load_past(self, id: int) -> object:
        """Hold a forecast of the ledger against what came."""


class Dashboard(Protocol):
    """The app: the home that is shown, how it looks, and what it does for every tab."""

    home: Home
    settings_home: Home
    command: tuple[str, ...]
    troubles: deque[Trouble]
    #: Grows by one whenever another process has written to the store.
    changes: int

    @property
    def language(self) -> Language:
        """The language of every screen."""

    @property
    def up_colour(self) -> UpColour:
        """The colour of a rise."""

    @property
    def charset(self) -> Charset:
        """Lines and blocks, or plain ASCII."""

    @property
    def facts(self) -> Facts:
        """What the top line tells of the store."""

    @facts.setter
    def facts(self, facts: Facts) -> None: ...

    @property
    def market(self) -> FirstTab:
        """The first tab."""

    @property
    def demo_shown(self) -> bool:
        """Whether the home that is shown is the demo's."""

    def now(self) -> datetime:
        """The time in Taiwan."""

    def show_demo(self) -> None:
        """Show the simulated market of the user's home from now on."""

    def action_company(self, code: str) -> None:
        """Show a company on the market tab."""

    def browse(self, url: str) -> object:
        """Open an address of the web in the browser."""

    def start_job(self, name: str, arguments: Sequence[str]) -> Job:
        """Start a command of stockllm for this home."""

    def remember(self, changes: Mapping[str, Any]) -> None:
        """Have ``changes`` written to the settings."""

    def report(self, error: Exception, title: str) -> None:
        """Tell an error in one sentence under ``title``."""
