"""Opening an account of the simulated exchange: what a user asks for, judged, and the account made of it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.data.book_rows import AccountRow
    from stockllm.data.store import Store

#: The exchange that moves with the calendar; it is opened with its first account.
_LIVE = "live"

#: More than any account could lose or win, and far from what the database cannot count.
_MOST_CASH = 10**15

_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that could be opened: ``cash`` in TWD, ``discount`` the part of the commission charged."""

    name: str
    cash: int
    discount: Decimal


def check_name(name: str) -> None:
    """UsageError for a name that could not be typed everywhere."""
    if not _NAMES.fullmatch(name):
        raise UsageError(
            f"{name[:70]!r} cannot be a name: use up to 64 letters, digits, dots, dashes, underscores and @.",
            zh=f"{name[:70]!r} 不能當名稱：請用最多 64 個英文字母、數字、點、連字號、底線與 @。",
        )


def check_opening(cash: int, discount: Decimal) -> None:
    """UsageError where no account can begin with this cash in TWD and this part of the commission."""
    if not 0 < discount <= 1:
        raise UsageError(
            f"A discount of {discount} cannot be given: it lies above 0 and up to 1.",
            zh=f"折扣 {discount} 不能使用：須大於 0 且不超過 1。",
        )
    if not 0 <= cash <= _MOST_CASH:
        raise UsageError(
            f"{cash:,} TWD cannot open an account: give 0 to {_MOST_CASH:,}.",
            zh=f"{cash:,} 元不能開戶：請給 0 到 {_MOST_CASH:,}。",
        )


def new_account(name: str, cash: str, discount: str) -> NewAccount:
    """What was typed, as an account. UsageError with the sentence to show where it cannot be one."""
    check_name(name)
    try:
        part = Decimal(discount)
    except InvalidOperation:
        part = Decimal("NaN")
    if not part.is_finite():
        raise UsageError(
            f"'{discount}' is no discount: write a part such as 0.6.",
            zh=f"'{discount}' 不是折扣：請寫成比例，例如 0.6。",
        )
    try:
        money = int(cash.replace(",", ""))
    except ValueError:
        raise UsageError(
            f"'{cash}' is no whole number: write TWD such as 100000000.",
            zh=f"'{cash}' 不是整數：請寫成新臺幣金額，例如 100000000。",
        ) from None
    check_opening(money, part)
    return NewAccount(name, money, part)


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
    from stockllm.trading.access import hash_password
    from stockllm.trading.exchange import Exchange

    check_free(store, new.name)
    hashed = hash_password(secrets.token_urlsafe(32) if password is None else password)
    with store.books.read() as books:
        known = books.exchange(exchange) is not None
    found = Exchange.open(store) if exchange == _LIVE and not known else Exchange(store, exchange)
    return found.add_account(new.name, hashed, cash=new.cash, discount=new.discount)
