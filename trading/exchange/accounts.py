"""Opening an account of the simulated exchange."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from stockllm.data.errors import UsageError
from stockllm.trading.exchange.opening import NewAccount

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.data.stores.book_rows import AccountRow

#: The exchange that moves with the calendar; it is opened with its first account.
_LIVE = "live"


def check_free(store: Store, name: str) -> None:
    """UsageError where there is an account of this name."""
    with store.books.read() as books:
        taken = books.account(name) is not None
    if taken:
        raise UsageError(
            f"There is an account {name!r} already: choose another name.",
            zh=f"已有名為 {name!r} 的帳戶：請換一個名稱。",
        )


def open_new(store: Store, new: NewAccount, password: str | None, exchange: str = _LIVE) -> AccountRow:
    """Open the account at an exchange; the live one is opened with its first account.

    Without a password nobody gets in through ``stockllm exchange serve`` before one is set.

    :raises UsageError: the name is taken, the password is too short or too long, there is no such
        exchange, or no prices to open one on.
    """
    from stockllm.trading.exchange.access import hash_password
    from stockllm.trading.exchange.exchange import Exchange

    check_free(store, new.name)
    hashed = hash_password(secrets.token_urlsafe(32) if password is None else password)
    with store.books.read() as books:
        known = books.exchange(exchange) is not None
    found = Exchange.open(store) if exchange == _LIVE and not known else Exchange(store, exchange)
    return found.add_account(new.name, hashed, cash=new.cash, discount=new.discount)
