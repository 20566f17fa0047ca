"""What can come of asking a site, told apart, because each asks for something else.

StockllmError
├── NoData            the site has nothing for this question: an answer, not a failure
└── SiteFailure
    ├── Outage        no answer, an error of the server, or a sentence in place of data; try again
    ├── Unreadable    cut short, or of a form nobody knows; try again, then report it
    ├── WrongAnswer   about another day, month or company; nothing of it is kept; try again
    ├── Blocked       the site turns us away: ask nothing more until ``until``
    ├── BudgetSpent   our own allowance for the site is used up until ``until``
    └── Refused       the service says what is wrong with the request or the key; ``code`` is its word

Every message is one sentence that names the site and what to do.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from stockllm.data.errors import StockllmError
from stockllm.data.sentences import Sentence, in_chinese

if TYPE_CHECKING:
    from stockllm.data.stores.requests import Outcome


class NoData(StockllmError):
    """The site answers that it has nothing for what was asked."""


class SiteFailure(StockllmError):
    """A site did not give what it was asked for."""

    outcome: ClassVar[Outcome] = "outage"


class Outage(SiteFailure):
    """The site is down, slow or busy. ``hung_up`` where it refused the connection or broke it off."""

    def __init__(self, message: str, *, zh: str = "", hung_up: bool = False) -> None:
        super().__init__(message, zh=zh)
        self.hung_up = hung_up


class Unreadable(SiteFailure):
    """The answer is damaged or of another form than the one known."""

    outcome = "unreadable"


class WrongAnswer(SiteFailure):
    """The answer is not about what was asked."""

    outcome = "wrong_answer"


class Blocked(SiteFailure):
    """The site turns us away. ``until`` is when it may be asked again, None until that is settled."""

    outcome = "blocked"

    def __init__(self, message: str, until: datetime | None = None, *, zh: str = "") -> None:
        super().__init__(message, zh=zh)
        self.until = until


class BudgetSpent(SiteFailure):
    """No request is left of what the site allows; nothing was sent."""

    outcome = "refused"

    def __init__(self, message: str, until: datetime, *, zh: str) -> None:
        super().__init__(message, zh=zh)
        self.until = until


class Refused(SiteFailure):
    """The service understood the request and will not serve it; ``code`` is its own word for why."""

    outcome = "refused"

    def __init__(self, message: str, code: str, *, zh: str) -> None:
        super().__init__(message, zh=zh)
        self.code = code


def gave_up(site: str, times: int) -> Sentence:
    """Said where a site failed so often in a row that it is asked for nothing more."""
    return Sentence(
        f"{site} failed {times} times in a row: the rest is asked for on the next run.",
        zh=f"{in_chinese(site)}連續失敗 {times} 次：其餘下次更新再問。",
    )
