"""What an account of the simulated exchange may begin with. Pure: no store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from stockllm.data.errors import UsageError

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
