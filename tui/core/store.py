"""The store as the dashboard opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from stockllm.data.errors import StockllmError

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store


class NothingToShow(StockllmError):
    """There is no store, or nothing in it: the dashboard shows how to begin."""

    def __init__(self, reason: Literal["absent", "empty"], home: Home) -> None:
        self.reason: Literal["absent", "empty"] = reason
        self.path = str(home.store)
        super().__init__(
            f"The store {home.store} is {reason}: run `stockllm demo` or `stockllm import PATH`.",
            zh=f"資料庫 {home.store} {'不存在' if reason == 'absent' else '是空的'}："
            "請執行 `stockllm demo` 或 `stockllm import PATH`。",
        )


def open_store(home: Home) -> Store:
    """The store of ``home``. NothingToShow where it is absent, StoreError where it is damaged."""
    from stockllm.data.store import Store

    if not home.store.exists():
        raise NothingToShow("absent", home)
    return Store.open(home, create=False)
