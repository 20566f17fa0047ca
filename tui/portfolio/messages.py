"""What the workers of the Portfolio tab and its forms tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from stockllm.tui.portfolio.reading import AccountPast, Portfolio, Ticket, Which

if TYPE_CHECKING:
    from stockllm.trading.brokers.broker import Placed


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
