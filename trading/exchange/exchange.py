"""The simulated exchange over the store: it takes orders, keeps the books and goes through sessions.

Every change is one transaction. ``book`` and ``take_back`` work inside a caller's transaction, which
is how the server puts many orders into one commit; ``place`` and ``cancel`` are whole by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import cast

from stockllm.collectors.clock import Clock, SystemClock, taipei
from stockllm.data.errors import StockllmError, UsageError
from stockllm.data.store import Store
from stockllm.data.stores.book_rows import (
    AccountRow,
    ExchangeRow,
    FillRow,
    GrantRow,
    HoldingRow,
    Mode,
    OrderRow,
    OrderState,
)
from stockllm.data.stores.books import Books
from stockllm.market.fees import trade_value
from stockllm.trading.exchange.book import not_open, same_order, unknown_code
from stockllm.trading.exchange.engine import Booked, Entry, Holding, Portfolio, Step, step
from stockllm.trading.exchange.market_data import Market, load_market
from stockllm.trading.exchange.opening import check_opening
from stockllm.trading.exchange.rules import OffTick, Order, Rules, check_form, check_limits
from stockllm.trading.exchange.sessions import Sessions

#: What an account begins with: the university simulator's sum.
OPENING_CASH = 100_000_000
#: The exchange that moves with the calendar.
LIVE = "live"

# No number in a store is larger.
_LAST_ID = 2**63 - 1


class NoAccount(StockllmError):
    """There is no such account on this exchange."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Money:
    """What an account is worth on the evening of ``day``, in TWD.

    ``free`` is ``cash`` less what open buys have set aside; ``due`` are proceeds not spendable yet.
    """

    day: date
    cash: int
    free: int
    due: int
    shares: int

    @property
    def equity(self) -> int:
        """Everything together, holdings at their last close."""
        return self.cash + self.due + self.shares


@dataclass(frozen=True, slots=True)
class Advance:
    """What a session did, over all accounts."""

    session: date
    accounts: int
    filled: int
    expired: int
    paid: int


class Exchange:
    """One exchange of a store. Safe to share between threads."""

    def __init__(self, store: Store, name: str = LIVE, clock: Clock | None = None) -> None:
        """UsageError where the store has no exchange of this name."""
        self.store = store
        self.name = name
        self.clock = clock or SystemClock()
        self._sessions = Sessions(store, self.clock)
        with store.books.read() as books:
            self.row(books)

    @classmethod
    def open(
        cls,
        store: Store,
        name: str = LIVE,
        *,
        evening: date | None = None,
        rules: Rules | None = None,
        clock: Clock | None = None,
    ) -> Exchange:
        """Make an exchange: ``live``, or a replay that begins on the ``evening`` of a past day.

        UsageError where the name is taken, or the store has no prices for it.
        """
        clock, rules = clock or SystemClock(), rules or Rules()
        mode: Mode = "live" if name == LIVE else "replay"
        last = store.bars.last_date()
        if last is None:
            raise UsageError(
                "An exchange needs prices: bring some in with 'stockllm import' or 'stockllm demo'.",
                zh="交易所需要股價：請用 'stockllm import' 或 'stockllm demo' 取得。",
            )
        if mode == "replay" and (evening is None or evening >= last):
            raise UsageError(
                f"A replay begins on an evening before {last}, the last day with prices.",
                zh=f"重播須從有股價的最後一天 {last} 之前的某個晚上開始。",
            )
        today = taipei(clock.now()).date()
        with store.books.write() as books:
            if books.exchange(name) is not None:
                raise UsageError(
                    f"There is an exchange {name!r} already: choose another name.",
                    zh=f"已有名為 {name!r} 的交易所：請換一個名稱。",
                )
            made = books.add_exchange(
                name,
                mode,
                evening if mode == "replay" and evening else min(last, today),
                rules.window,
                rules.settlement,
                rules.off_tick,
                clock.now(),
            )
            books.log(clock.now(), made.id, None, "exchange", name=name, mode=mode, day=made.day.isoformat())
        return cls(store, name, clock)

    # Asking

    def row(self, books: Books) -> ExchangeRow:
        """The exchange as it stands. UsageError where it is gone."""
        found = books.exchange(self.name)
        if found is None:
            raise UsageError(
                f"There is no exchange {self.name!r}: open it with 'stockllm exchange open', "
                "or add an account to the live one.",
                zh=(
                    f"沒有名為 {self.name!r} 的交易所：請用 'stockllm exchange open' 開設，或在現行"
                    "交易所新增帳戶。"
                ),
            )
        return found

    def account(self, books: Books, name: str) -> AccountRow:
        """The account of this name. NoAccount where this exchange has none."""
        found = books.account(name)
        if found is None or found.exchange != self.row(books).id:
            raise NoAccount(
                f"The exchange {self.name!r} has no account {name!r}: see 'stockllm exchange account list'.",
                zh=(f"交易所 {self.name!r} 沒有帳戶 {name!r}：請看 'stockllm exchange account list'。"),
            )
        return found

    def day(self) -> date:
        """The last session that was matched."""
        with self.store.books.read() as books:
            return self.row(books).day

    def next_session(self) -> date:
        """The session that an order placed now is booked for. OrderRefused outside the window."""
        with self.store.books.read() as books:
            return self._sessions.open_for(self.row(books))

    def orders(self, account: str, state: OrderState | None = None, **page: int | None) -> list[OrderRow]:
        """The account's orders, the last first; ``before`` and ``limit`` choose a page."""
        with self.store.books.read() as books:
            return books.orders(self.account(books, account).id, state=state, **page)

    def fills(self, account: str) -> list[FillRow]:
        """The account's fills, by order."""
        with self.store.books.read() as books:
            return books.fills(self.account(books, account).id)

    def holdings(self, account: str) -> list[HoldingRow]:
        """What the account holds, by code."""
        with self.store.books.read() as books:
            return books.holdings(self.account(books, account).id)

    def money(self, account: str) -> Money:
        """What the account has, and what it is worth at the last closes."""
        with self.store.books.read() as books:
            row, own = self.row(books), self.account(books, account)
            due = sum(books.due(own.id, row.number).values())
            held = books.holdings(own.id)
        shares = 0
        for holding in held:
            close = self.store.bars.last_close(holding.code, row.day)
            shares += trade_value(holding.shares, close or 0)
        return Money(row.day, own.cash, own.cash - own.reserved, due, shares)

    # Accounts

    def add_account(
        self, name: str, password_hash: str, *, cash: int = OPENING_CASH, discount: Decimal = Decimal(1)
    ) -> AccountRow:
        """Open an account. UsageError where the name is taken or a number is out of range."""
        check_opening(cash, discount)
        now = self.clock.now()
        with self.store.books.write() as books:
            if books.account(name) is not None:
                raise UsageError(
                    f"There is an account {name!r} already: choose another name.",
                    zh=f"已有名為 {name!r} 的帳戶：請換一個名稱。",
                )
            row = self.row(books)
            made = books.add_account(row.id, name, password_hash, discount, cash, now)
            if cash:
                entry = Entry("opening", (("cash", cash), ("capital", -cash)))
                books.add_entry(made.id, row.day, entry.kind, entry.postings)
            books.log(now, row.id, made.id, "account", name=name, cash=cash, discount=str(discount))
        return made

    # Orders

    def place(self, account: str, order: Order, once: str | None = None) -> OrderRow:
        """Book ``order``; what the books have of it. OrderRefused, with nothing changed.

        ``once`` is an idempotency key: the same order under the same key is booked once.
        """
        with self.store.books.write() as books:
            return self.book(books, self.account(books, account), order, once)

    def cancel(self, account: str, id: int) -> OrderRow:
        """Take an open order back. OrderRefused where there is none of this id."""
        with self.store.books.write() as books:
            return self.take_back(books, self.account(books, account), id)

    def book(self, books: Books, account: AccountRow, order: Order, once: str | None = None) -> OrderRow:
        """``place`` within a transaction. It raises before it writes."""
        row = self.row(books)
        off_tick = cast("OffTick", row.off_tick)
        if once is not None and (known := books.order_once(account.id, once)) is not None:
            return same_order(known, check_form(order, known.session, off_tick))
        session = self._sessions.open_for(row)
        known_code, reference = self._sessions.stock(row, order.code, session)
        if not known_code:
            raise unknown_code(order.code)
        asked, order = order, check_form(order, session, off_tick)
        check_limits(order, reference, session)
        own = Portfolio(account.cash, account.discount, account.reserved)
        selling = 0
        if order.side == "sell":
            own.holdings[order.code] = Holding(books.held(account.id, order.code), 0, session)
            selling = books.selling(account.id, order.code)
        reserved = own.reserve(order, selling)
        now = self.clock.now()
        id = books.add_order(
            account.id, once, order.code, order.side, order.shares, order.price, session, reserved, now
        )
        if reserved:
            books.set_money(account.id, own.cash, own.reserved)
        books.log(now, row.id, account.id, "order", id=id, asked=asked.price)
        return OrderRow(
            id,
            account.id,
            once,
            order.code,
            order.side,
            order.shares,
            order.price,
            session,
            reserved,
            "open",
            now,
            None,
        )

    def take_back(self, books: Books, account: AccountRow, id: int) -> OrderRow:
        """``cancel`` within a transaction. It raises before it writes."""
        found = books.order(account.id, id) if abs(id) <= _LAST_ID else None
        if found is None or found.state != "open":
            raise not_open(id)
        now = self.clock.now()
        books.end_orders([id], "cancelled", now)
        if found.reserved:
            books.set_money(account.id, account.cash, account.reserved - found.reserved)
        books.log(now, account.exchange, account.id, "cancel", id=id)
        return replace(found, state="cancelled", ended_at=now)

    # Sessions

    def advance(self, to: date | None = None, tick: Callable[[Advance], None] | None = None) -> list[Advance]:
        """Match sessions, each in its own transaction: the next one, or all up to ``to``.

        Asking again for a day that was matched changes nothing. NotYet where a session that was
        asked for cannot be matched yet; those before it stay matched.
        """
        done: list[Advance] = []
        while to is None or self.day() < to:
            with self.store.books.write() as books:
                matched = self.match(books, to)
            if matched is None:
                break
            done.append(matched)
            if tick is not None:
                tick(matched)
            if to is None:
                break
        return done

    def match(self, books: Books, to: date | None = None) -> Advance | None:
        """``advance`` by one session within a transaction; None where that comes after ``to``.

        NotYet comes before anything is written.
        """
        row = self.row(books)
        calendar = self._sessions.calendar(row)
        session = self._sessions.due(row, books, to)
        if to is not None and session > to:
            return None
        number = row.number + 1
        accounts = books.accounts(row.id)
        held = {account.id: books.holdings(account.id) for account in accounts}
        codes = {h.code for rows in held.values() for h in rows} | books.waiting_codes(row.id, session)
        market = load_market(self.store, codes, session, session, calendar)
        filled = expired = paid = 0
        for account in accounts:
            done = self._step(books, row, account, held[account.id], market, session, number)
            filled, expired = filled + len(done.fills), expired + len(done.expired)
            paid += len(done.grants)
        books.set_day(row.id, session, number)
        books.log(
            self.clock.now(),
            row.id,
            None,
            "session",
            session=session.isoformat(),
            number=number,
            filled=filled,
            expired=expired,
        )
        return Advance(session, len(accounts), filled, expired, paid)

    def _step(
        self,
        books: Books,
        row: ExchangeRow,
        account: AccountRow,
        held: list[HoldingRow],
        market: Market,
        session: date,
        number: int,
    ) -> Step:
        own = Portfolio(
            account.cash,
            account.discount,
            account.reserved,
            {h.code: Holding(h.shares, h.cost, h.since) for h in held},
            books.due(account.id, row.number),
        )
        waiting = [
            Booked(o.id, Order(o.code, o.side, o.shares, o.price), o.session, o.reserved)
            for o in books.waiting(account.id, session)
        ]
        done = step(own, waiting, market, session, number, row.settlement)
        now = self.clock.now()
        if done.fills or done.grants:
            ids = {h.code: h.id for h in held}
            for fill in reversed(done.fills):  # the first one to fill began the holding
                if fill.order.code not in {h.code for h in held}:
                    ids[fill.order.code] = fill.id
            books.set_holdings(
                account.id,
                [HoldingRow(code, ids[code], h.shares, h.cost, h.since) for code, h in own.holdings.items()],
            )
        books.add_fills(
            FillRow(
                f.id,
                account.id,
                session,
                f.charges.value,
                f.charges.commission,
                f.charges.tax,
                f.cost,
                f.settles,
            )
            for f in done.fills
        )
        books.add_grants(
            account.id, [GrantRow(g.code, session, g.held, g.cash, g.shares) for g in done.grants]
        )
        for entry in done.entries:
            books.add_entry(account.id, session, entry.kind, entry.postings, entry.order, entry.code)
        books.end_orders([f.id for f in done.fills], "filled", now)
        books.end_orders([b.id for b in done.expired], "expired", now)
        if (own.cash, own.reserved) != (account.cash, account.reserved):
            books.set_money(account.id, own.cash, own.reserved)
        return done
