"""The exchange's books: reading and writing their rows. ``trading.exchange`` says what they mean.

``BookStore.read`` and ``write`` give a ``Books`` for one transaction; nothing else touches the tables.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.records import Cents
from stockllm.data.stores.book_rows import (
    AccountRow,
    AuditRow,
    ExchangeRow,
    FillRow,
    GrantRow,
    HoldingRow,
    Mode,
    OrderRow,
    OrderState,
)

_ORDER = ", ".join(OrderRow.__slots__)
_ACCOUNT = ", ".join(AccountRow.__slots__)
_EXCHANGE = ", ".join(ExchangeRow.__slots__)


class BookStore:
    """The books of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def read(self) -> Iterator[Books]:
        """The books as they stand, for the length of the block."""
        with self._database.read() as connection:
            yield Books(connection)

    @contextmanager
    def write(self) -> Iterator[Books]:
        """The books to write in one transaction; within another ``write()`` a part of that one."""
        with self._database.write() as connection:
            yield Books(connection)


class Books:
    """The rows of the books within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        # SQLite's own connection, within the transaction that SQLAlchemy began on it: hundreds of
        # orders a second go through here, and what stands between costs ten times the statement.
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self._raw = raw
        self._exchanges: dict[str, ExchangeRow] = {}

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._raw.execute(statement, values)

    def _many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self._raw.executemany(statement, rows)

    # Exchanges

    def add_exchange(
        self, name: str, mode: Mode, day: date, hours: str, settlement: int, off_tick: str, at: datetime
    ) -> ExchangeRow:
        """Open an exchange on the evening of ``day``. StoreError where the name is taken."""
        self._run(
            "INSERT INTO exchanges (name, mode, day, number, hours, settlement, off_tick, opened_at)"
            " VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
            *(name, mode, day.isoformat(), hours, settlement, off_tick, at.isoformat()),
        )
        found = self.exchange(name)
        assert found is not None
        return found

    def exchange(self, name: str) -> ExchangeRow | None:
        """The exchange of this name."""
        known = self._exchanges.get(name)  # many orders of one transaction ask for it
        if known is None:
            row = self._run(f"SELECT {_EXCHANGE} FROM exchanges WHERE name = ?", name).fetchone()
            if row is None:
                return None
            known = self._exchanges[name] = _exchange(row)
        return known

    def exchanges(self) -> list[ExchangeRow]:
        """All exchanges, by name."""
        return [_exchange(row) for row in self._run(f"SELECT {_EXCHANGE} FROM exchanges ORDER BY name")]

    def set_day(self, exchange: int, day: date, number: int) -> None:
        """The exchange has matched ``day``, its session ``number``."""
        self._exchanges.clear()
        self._run("UPDATE exchanges SET day = ?, number = ? WHERE id = ?", day.isoformat(), number, exchange)

    # Accounts

    def add_account(
        self, exchange: int, name: str, password: str, discount: Decimal, cash: int, at: datetime
    ) -> AccountRow:
        """Open an account. StoreError where the name is taken."""
        self._run(
            "INSERT INTO accounts (exchange, name, password, discount, cash, reserved, opened_at)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            *(exchange, name, password, str(discount), cash, at.isoformat()),
        )
        found = self.account(name)
        assert found is not None
        return found

    def account(self, name: str) -> AccountRow | None:
        """The account of this name."""
        row = self._run(f"SELECT {_ACCOUNT} FROM accounts WHERE name = ?", name).fetchone()
        return _account(row) if row else None

    def accounts(self, exchange: int | None = None) -> list[AccountRow]:
        """The accounts of an exchange, or all, by name."""
        where, values = ("WHERE exchange = ?", (exchange,)) if exchange is not None else ("", ())
        rows = self._run(f"SELECT {_ACCOUNT} FROM accounts {where} ORDER BY name", *values)
        return [_account(row) for row in rows]

    def set_password(self, account: int, password: str) -> None:
        """Replace the hash, and end every token that the old password gave."""
        self._run("UPDATE accounts SET password = ? WHERE id = ?", password, account)
        self._run("DELETE FROM account_tokens WHERE account = ?", account)

    def set_money(self, account: int, cash: int, reserved: int) -> None:
        """What the account has, and the part of it that is set aside."""
        self._run("UPDATE accounts SET cash = ?, reserved = ? WHERE id = ?", cash, reserved, account)

    def add_token(self, digest: str, account: int, at: datetime, expires: datetime) -> None:
        """Remember a token by its digest, and forget those that have run out."""
        self._run("DELETE FROM account_tokens WHERE expires_at <= ?", at.isoformat())
        self._run(
            "INSERT INTO account_tokens VALUES (?, ?, ?, ?)",
            *(digest, account, at.isoformat(), expires.isoformat()),
        )

    def account_of_token(self, digest: str, now: datetime) -> AccountRow | None:
        """Whose token this is, None where it is unknown or has run out. ``now`` in UTC, as all of these."""
        columns = ", ".join(f"a.{name}" for name in AccountRow.__slots__)
        row = self._run(
            f"SELECT {columns} FROM account_tokens t JOIN accounts a ON a.id = t.account"
            " WHERE t.digest = ? AND t.expires_at > ?",
            *(digest, now.isoformat()),
        ).fetchone()
        return _account(row) if row else None

    def drop_token(self, digest: str) -> None:
        """End a token."""
        self._run("DELETE FROM account_tokens WHERE digest = ?", digest)

    # Orders

    def add_order(
        self,
        account: int,
        once: str | None,
        code: str,
        side: str,
        shares: int,
        price: Cents,
        session: date,
        reserved: int,
        at: datetime,
    ) -> int:
        """Book an order; its id."""
        done = self._run(
            "INSERT INTO orders"
            " (account, once, code, side, shares, price, session, reserved, state, placed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)",
            *(account, once, code, side, shares, price, session.isoformat(), reserved, at.isoformat()),
        )
        return int(done.lastrowid or 0)

    def order(self, account: int, id: int) -> OrderRow | None:
        """An order of ``account``."""
        row = self._run(f"SELECT {_ORDER} FROM orders WHERE id = ? AND account = ?", id, account).fetchone()
        return _order(row) if row else None

    def order_once(self, account: int, once: str) -> OrderRow | None:
        """The order that was placed with this idempotency key."""
        row = self._run(
            f"SELECT {_ORDER} FROM orders WHERE account = ? AND once = ?", account, once
        ).fetchone()
        return _order(row) if row else None

    def orders(
        self,
        account: int,
        *,
        state: OrderState | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[OrderRow]:
        """The orders of ``account``, the last placed first; ``before`` an id, for the next page."""
        where, values = "account = ?", list[Any]([account])
        if state is not None:
            where, values = f"{where} AND state = ?", [*values, state]
        if before is not None:
            where, values = f"{where} AND id < ?", [*values, before]
        values.append(-1 if limit is None else limit)
        rows = self._run(f"SELECT {_ORDER} FROM orders WHERE {where} ORDER BY id DESC LIMIT ?", *values)
        return [_order(row) for row in rows]

    def waiting(self, account: int, session: date) -> list[OrderRow]:
        """The open orders of ``account`` for ``session`` or one that fell out before it, by id."""
        rows = self._run(
            f"SELECT {_ORDER} FROM orders WHERE account = ? AND state = 'open' AND session <= ? ORDER BY id",
            *(account, session.isoformat()),
        )
        return [_order(row) for row in rows]

    def waiting_codes(self, exchange: int, session: date) -> set[str]:
        """The stocks that an exchange has orders for ``session`` in."""
        rows = self._run(
            "SELECT DISTINCT o.code FROM accounts a JOIN orders o ON o.account = a.id"
            " WHERE a.exchange = ? AND o.state = 'open' AND o.session <= ?",
            *(exchange, session.isoformat()),
        )
        return {row[0] for row in rows}

    def selling(self, account: int, code: str) -> int:
        """How many shares of ``code`` open sales have set aside."""
        return int(
            self._run(
                "SELECT coalesce(sum(shares), 0) FROM orders"
                " WHERE account = ? AND code = ? AND state = 'open' AND side = 'sell'",
                *(account, code),
            ).fetchone()[0]
        )

    def end_orders(self, ids: Iterable[int], state: OrderState, at: datetime) -> None:
        """Open orders are over."""
        self._many(
            "UPDATE orders SET state = ?, ended_at = ? WHERE id = ? AND state = 'open'",
            [(state, at.isoformat(), id) for id in ids],
        )

    # What happened

    def add_fills(self, rows: Iterable[FillRow]) -> None:
        """Remember fills."""
        self._many(
            "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*_values(row)[:2], row.session.isoformat(), *_values(row)[3:]) for row in rows],
        )

    def fills(self, account: int) -> list[FillRow]:
        """The fills of ``account``, by order."""
        rows = self._run("SELECT * FROM fills WHERE account = ? ORDER BY order_id", account)
        return [FillRow(row[0], row[1], date.fromisoformat(row[2]), *row[3:]) for row in rows]

    def due(self, account: int, after: int) -> dict[int, int]:
        """Sale proceeds in TWD by the session that frees them, of those after session ``after``."""
        rows = self._run(
            "SELECT f.settles, sum(f.value - f.commission - f.tax) FROM fills f"
            " JOIN orders o ON o.id = f.order_id AND o.side = 'sell'"
            " WHERE f.account = ? AND f.settles > ? GROUP BY f.settles",
            *(account, after),
        )
        return {row[0]: row[1] for row in rows}

    def holdings(self, account: int) -> list[HoldingRow]:
        """What ``account`` holds, by code."""
        rows = self._run(
            "SELECT code, id, shares, cost, since FROM holdings WHERE account = ? ORDER BY code", account
        )
        return [HoldingRow(**_named(HoldingRow, row) | {"since": date.fromisoformat(row[4])}) for row in rows]

    def held(self, account: int, code: str) -> int:
        """How many shares of ``code`` the account holds."""
        found = self._run("SELECT shares FROM holdings WHERE account = ? AND code = ?", account, code)
        return int((found.fetchone() or (0,))[0])

    def set_holdings(self, account: int, rows: Iterable[HoldingRow]) -> None:
        """Replace everything that ``account`` holds."""
        self._run("DELETE FROM holdings WHERE account = ?", account)
        self._many(
            "INSERT INTO holdings (account, code, id, shares, cost, since) VALUES (?, ?, ?, ?, ?, ?)",
            [(account, row.code, row.id, row.shares, row.cost, row.since.isoformat()) for row in rows],
        )

    def add_grants(self, account: int, rows: Iterable[GrantRow]) -> None:
        """Remember what an ex-date brought."""
        self._many(
            "INSERT INTO grants (account, code, session, held, cash, shares) VALUES (?, ?, ?, ?, ?, ?)",
            [(account, r.code, r.session.isoformat(), r.held, r.cash, r.shares) for r in rows],
        )

    def grants(self, account: int) -> list[GrantRow]:
        """What ex-dates brought to ``account``, by day."""
        rows = self._run(
            "SELECT code, session, held, cash, shares FROM grants WHERE account = ? ORDER BY session, code",
            account,
        )
        return [GrantRow(row[0], date.fromisoformat(row[1]), *row[2:]) for row in rows]

    def add_entry(
        self,
        account: int,
        session: date,
        kind: str,
        postings: Sequence[tuple[str, int]],
        order: int | None = None,
        code: str | None = None,
    ) -> None:
        """Write an entry to the ledger. ValueError where its postings do not add up to 0."""
        if sum(amount for _, amount in postings):
            raise ValueError(f"the entry {kind} does not balance: {postings}")
        entry = self._run(
            "INSERT INTO entries (account, session, kind, order_id, code) VALUES (?, ?, ?, ?, ?)",
            *(account, session.isoformat(), kind, order, code),
        ).lastrowid
        self._many(
            "INSERT INTO postings VALUES (?, ?, ?)", [(entry, ledger, amount) for ledger, amount in postings]
        )

    def balances(self, account: int) -> dict[str, int]:
        """The balance of each ledger account in TWD, debits positive."""
        rows = self._run(
            "SELECT p.ledger, sum(p.amount) FROM entries e JOIN postings p ON p.entry = e.id"
            " WHERE e.account = ? GROUP BY p.ledger",
            account,
        )
        return {row[0]: row[1] for row in rows}

    def flows(self, account: int) -> dict[date, int]:
        """What each session brought into cash and receivables in TWD, by day; the opening sum first."""
        rows = self._run(
            "SELECT e.session, sum(p.amount) FROM entries e JOIN postings p ON p.entry = e.id"
            " WHERE e.account = ? AND p.ledger IN ('cash', 'receivable') GROUP BY e.session"
            " ORDER BY e.session",
            account,
        )
        return {date.fromisoformat(row[0]): row[1] for row in rows}

    def unbalanced(self) -> list[int]:
        """The entries whose debits and credits differ; there are none."""
        rows = self._run("SELECT entry FROM postings GROUP BY entry HAVING sum(amount) <> 0")
        return [row[0] for row in rows]

    def log(self, at: datetime, exchange: int, account: int | None, what: str, **detail: Any) -> None:
        """Add a line to the audit trail. ``detail`` holds no secret: it is kept."""
        text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
        self._run(
            "INSERT INTO audit (at, exchange, account, what, detail) VALUES (?, ?, ?, ?, ?)",
            *(at.isoformat(), exchange, account, what, text),
        )

    def audit(self, exchange: int, limit: int = 100) -> list[AuditRow]:
        """The last lines of an exchange's audit trail, the newest first."""
        rows = self._run(
            "SELECT at, account, what, detail FROM audit WHERE exchange = ? ORDER BY id DESC LIMIT ?",
            *(exchange, limit),
        )
        return [AuditRow(datetime.fromisoformat(r[0]), r[1], r[2], json.loads(r[3])) for r in rows]


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in row.__slots__)


def _exchange(row: Any) -> ExchangeRow:
    return ExchangeRow(**_named(ExchangeRow, row) | {"day": date.fromisoformat(row[3])})


def _account(row: Any) -> AccountRow:
    changed = {"discount": Decimal(row[4]), "opened_at": datetime.fromisoformat(row[7])}
    return AccountRow(**_named(AccountRow, row) | changed)


def _order(row: Any) -> OrderRow:
    changed = {
        "session": date.fromisoformat(row[7]),
        "placed_at": datetime.fromisoformat(row[10]),
        "ended_at": datetime.fromisoformat(row[11]) if row[11] else None,
    }
    return OrderRow(**_named(OrderRow, row) | changed)


def _named(record: Any, row: Any) -> dict[str, Any]:
    return dict(zip(record.__slots__, row, strict=True))
