"""The exchange's books as tables: what they refuse, and what is kept for good."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from stockllm.data.errors import StoreError
from stockllm.data.store import Store
from stockllm.data.stores.book_rows import FillRow, GrantRow

AT = datetime(2025, 3, 3, 9, tzinfo=UTC)
DAY = date(2025, 3, 3)


@pytest.fixture
def account(store: Store) -> int:
    with store.books.write() as books:
        exchange = books.add_exchange("live", "live", DAY, "evening", 1, "refuse", AT)
        return books.add_account(exchange.id, "someone", "hash", Decimal("0.6"), 1000, AT).id


@pytest.mark.parametrize(("cash", "reserved"), [(-1, 0), (10, 11), (10, -1)])
def test_no_account_is_overdrawn(store: Store, account: int, cash: int, reserved: int) -> None:
    with pytest.raises(StoreError, match="account_not_overdrawn"), store.books.write() as books:
        books.set_money(account, cash, reserved)
    with store.books.read() as books:
        found = books.account("someone")
        assert found is not None
        assert (found.cash, found.reserved, found.discount) == (1000, 0, Decimal("0.6"))


def test_an_entry_balances_or_is_not_written(store: Store, account: int) -> None:
    with store.books.write() as books:
        with pytest.raises(ValueError, match="balance"):
            books.add_entry(account, DAY, "opening", (("cash", 5), ("capital", -4)))
        books.add_entry(account, DAY, "opening", (("cash", 5), ("capital", -5)))
        assert books.balances(account) == {"cash": 5, "capital": -5}
        assert books.unbalanced() == []
        books._run("INSERT INTO postings VALUES (1, 'gains', 3)")
        assert books.unbalanced() == [1]


@pytest.mark.parametrize("table", ["fills", "grants", "entries", "postings", "audit"])
def test_what_happened_stays(store: Store, account: int, table: str) -> None:
    with store.books.write() as books:
        order = books.add_order(account, None, "2330", "buy", 1000, 10, DAY, 100, AT)
        books.add_fills([FillRow(order, account, DAY, 100, 20, 0, 100, 1)])
        books.add_grants(account, [GrantRow("2330", DAY, 1000, 5, 0)])
        books.add_entry(account, DAY, "opening", (("cash", 5), ("capital", -5)))
        books.log(AT, 1, account, "order", id=order)
    for statement in (
        f"DELETE FROM {table}",
        f"UPDATE {table} SET rowid = rowid"
        if table in ("fills", "entries", "audit")
        else f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
    ):
        with pytest.raises(StoreError, match="frozen"), store.books.write() as books:
            books._run(statement)


def test_an_idempotency_key_is_an_accounts_own(store: Store, account: int) -> None:
    with store.books.write() as books:
        other = books.add_account(1, "other", "hash", Decimal(1), 1000, AT).id
        first = books.add_order(account, "k", "2330", "buy", 1000, 10, DAY, 100, AT)
        second = books.add_order(other, "k", "2330", "buy", 1000, 10, DAY, 100, AT)
        found = books.order_once(account, "k")
        assert found is not None
        assert (found.id, found.state) == (first, "open")
        assert books.order(account, second) is None
    with pytest.raises(StoreError, match="UNIQUE"), store.books.write() as books:
        books.add_order(account, "k", "2330", "buy", 1000, 10, DAY, 100, AT)
