"""Trades: sales matched with their purchases, as the university's simulator scores them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from stockllm.data.records import Cents
from stockllm.market.fees import trade_value

#: Sessions in a year.
YEAR = 252


@dataclass(frozen=True, slots=True)
class Trade:
    """What was sold of a company in one session. Money in TWD, ``paid`` and ``received`` with charges.

    ``sessions`` counts from the fill of the purchase to that of the sale. ``stop``: sold by the stop.
    """

    code: str
    bought: date
    sold: date
    sessions: int
    shares: int
    paid: int
    received: int
    stop: bool = False

    @property
    def profit(self) -> int:
        """TWD, after all charges."""
        return self.received - self.paid

    @property
    def gain(self) -> float:
        """The profit as a part of what was paid."""
        return self.profit / self.paid

    @property
    def annualised(self) -> float:
        """The gain at the university's measure: over sessions held, times 252."""
        return self.gain / max(1, self.sessions) * YEAR

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "code": self.code,
            "bought": self.bought.isoformat(),
            "sold": self.sold.isoformat(),
            "sessions": self.sessions,
            "shares": self.shares,
            "paid": self.paid,
            "received": self.received,
            "profit": self.profit,
            "return": self.gain,
            "stop": self.stop,
        }


@dataclass(slots=True)
class _Open:
    """What is held of a company: since which session, what its shares have cost with charges."""

    bought: date
    number: int
    shares: int
    paid: int


class Matcher:
    """Matches sales with purchases, session by session; ``number`` counts the sessions.

    What is sold of a company in one session, in lots and in odd lots, is one trade.
    """

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self._open: dict[str, _Open] = {}

    def grant(self, code: str, shares: int) -> None:
        """New shares from an ex-date, for nothing."""
        self._open[code].shares += shares

    def buy(self, code: str, shares: int, paid: int, day: date, number: int) -> None:
        """A purchase; one of what is held already joins it."""
        mine = self._open.setdefault(code, _Open(day, number, 0, 0))
        mine.shares += shares
        mine.paid += paid

    def sell(
        self, code: str, shares: int, received: int, day: date, number: int, *, stop: bool = False
    ) -> None:
        """A sale of what is held. KeyError where nothing is."""
        mine = self._open[code]
        paid = mine.paid * shares // mine.shares
        mine.shares -= shares
        mine.paid -= paid
        if not mine.shares:
            del self._open[code]
        last = self.trades[-1] if self.trades else None
        if last is not None and (last.code, last.sold) == (code, day):
            self.trades.pop()
            shares, paid, received = shares + last.shares, paid + last.paid, received + last.received
        held = number - mine.number
        self.trades.append(Trade(code, mine.bought, day, held, shares, paid, received, stop))

    def paid(self) -> dict[str, int]:
        """What is still held has cost, by code, in TWD and with charges."""
        return {code: mine.paid for code, mine in self._open.items()}

    def left(self, day: date, number: int, close: Callable[[str], Cents]) -> list[Trade]:
        """What is still held, by code, as if sold at its ``close`` without charges."""
        return [
            Trade(
                code,
                mine.bought,
                day,
                number - mine.number,
                mine.shares,
                mine.paid,
                trade_value(mine.shares, close(code)),
            )
            for code, mine in sorted(self._open.items())
        ]
