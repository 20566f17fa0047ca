"""The one error tree of stockllm.

StockllmError
├── UsageError        what was asked cannot be asked (exit code 2)
├── UnknownCompany    a name or code that resolves to nothing (exit code 2)
├── StoreError        the store cannot be opened, read or written
├── ImportFailed      a file that cannot be taken in
├── NotEnoughHistory  a company with too few days for a window
├── ModelUnavailable  a base model or adapter that cannot be loaded
├── TrainingStopped   training ended early; the checkpoint is kept
├── OrderRefused      the exchange does not take an order
└── BrokerError       a broker does not answer, or not in a known form

Every message is one sentence that says what happened and what to do, in English and in Traditional
Chinese. The command line prints it on stderr, the dashboard shows it as a toast, each in the reader's
language; neither shows a traceback.
"""

from __future__ import annotations


class StockllmError(Exception):
    """An error a user can act on: one sentence, ``str(error)`` in English and ``zh`` in Chinese.

    ``zh`` is left out only where no user can meet the error: what a log keeps, what a server answers.
    """

    exit_code = 1

    def __init__(self, en: str = "", *, zh: str = "") -> None:
        super().__init__(en)
        self.zh = zh

    def sentence(self, language: str) -> str:
        """The sentence to show; English where there is no Chinese one."""
        return str(self) if language == "en" or not self.zh else self.zh


class UsageError(StockllmError):
    """The request itself is wrong: a flag out of range, two that exclude each other."""

    exit_code = 2


class UnknownCompany(StockllmError):
    """No ordinary share answers to this name; the message lists the nearest."""

    exit_code = 2


class StoreError(StockllmError):
    """The home folder or the database in it cannot be used."""


class ImportFailed(StockllmError):
    """A file is absent, empty, unreadable or lacks what it must have."""


class NotEnoughHistory(StockllmError):
    """A company has fewer days than a window needs; the message gives both counts."""


class ModelUnavailable(StockllmError):
    """A model or adapter is missing, does not fit its base, or cannot be reached offline."""


class TrainingStopped(StockllmError):
    """Training was interrupted; the message says where the checkpoint is and how to resume."""


class OrderRefused(StockllmError):
    """The exchange does not take an order, and nothing has changed.

    ``reason`` is one word for programs, ``status`` the few Chinese words that the university's protocol
    answers. The Chinese sentence begins with them; ``zh`` is the rest of it, which says what to do.
    """

    def __init__(self, reason: str, status: str, en: str, zh: str = "") -> None:
        super().__init__(en, zh=f"{status}：{zh}" if zh else status)
        self.reason = reason
        self.status = status


class BrokerError(StockllmError):
    """A broker cannot be asked, or what it says cannot be understood; the message says what now."""
