"""What the Portfolio tab shows and sends: an account through its broker. Knows no screen."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stockllm.data.errors import UsageError
from stockllm.market.companies import Company
from stockllm.market.fees import Charges, charges
from stockllm.tui.core import export
from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from datetime import datetime

    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.data.stores.book_rows import FillRow
    from stockllm.trading.brokers.broker import Placed
    from stockllm.trading.exchange.opening import NewAccount
    from stockllm.trading.exchange.rules import Order
    from stockllm.trading.live.history import History, Opening
    from stockllm.trading.live.live import Account, Look


@dataclass(frozen=True, slots=True)
class Holding:
    """Shares of one company, in TWD; None where there is no price.

    ``cost`` has the commission of the purchases in it, as what was realised has; at a server that keeps no
    books it has none. ``today`` is what the last session moved the shares by.
    """

    company: Company
    shares: int
    cost: int
    close: int | None
    worth: int | None
    gain: int | None
    today: int | None


@dataclass(frozen=True, slots=True)
class Which:
    """An account by its broker and its name."""

    kind: Literal["local", "ncku"]
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Portfolio:
    """An account as its broker has it."""

    which: Which
    look: Look
    holdings: tuple[Holding, ...]
    orders: tuple[Placed, ...]
    fills: dict[int, FillRow]
    companies: dict[str, Company]
    discount: Decimal

    @property
    def gain(self) -> int:
        """What all holdings are worth more than they cost."""
        return sum(each.gain or 0 for each in self.holdings)

    @property
    def today(self) -> int:
        """What the last session moved all holdings by."""
        return sum(each.today or 0 for each in self.holdings)

    def selling(self, code: str) -> int:
        """Shares of ``code`` that open orders are to sell."""
        waiting = (placed.order for placed in self.orders if placed.state in ("open", "unknown"))
        return sum(order.shares for order in waiting if order.side == "sell" and order.code == code)


def load_accounts(home: Home) -> tuple[Which, ...]:
    """The accounts there are: the one that the settings name, then those of the local exchange by name."""
    from stockllm.data.settings import Settings

    trade = Settings.load(home).trade
    with open_store(home) as store, store.books.read() as books:
        local = [Which("local", row.name) for row in books.accounts()]
    own = [Which(trade.broker, trade.account)] if trade.account else []
    return tuple(dict.fromkeys([*own, *local]))


def load_portfolio(home: Home, which: Which) -> Portfolio:
    """What an account has. UsageError for none of this name; what a broker raises is passed on."""
    from stockllm.data.settings import Settings
    from stockllm.trading.live.live import look

    settings = Settings.load(home)
    with open_store(home) as store:
        account = _account(store, settings, which)
        seen = look(store, account)
        known = {company.code: company for company in store.companies()}
        orders = tuple(account.broker.orders())
        fills = {}
        if account.exchange is not None:
            fills = {fill.order_id: fill for fill in account.exchange.fills(account.name)}
        holdings = tuple(
            Holding(
                known.get(row.code) or Company.bare(row.code),
                row.shares,
                row.cost,
                row.close,
                row.worth,
                row.gain,
                _today(store, row.code, row.shares, seen.day),
            )
            for row in seen.rows
        )
    return Portfolio(which, seen, holdings, orders, fills, known, account.discount)


@dataclass(frozen=True, slots=True)
class AccountPast:
    """What an account did so far, beside buying and holding ``companies`` companies on its first evening.

    ``history`` is None where the account began without cash. ``held`` is in TWD, a value a day of
    ``held_days``; both are empty before the account's first session.
    """

    history: History | None
    held_days: tuple[date, ...] = ()
    held: tuple[int, ...] = ()
    companies: int = 0


def load_account_past(home: Home, which: Which) -> AccountPast | None:
    """The past of an account; None for one at a server, which tells none."""
    from stockllm.data.settings import Settings
    from stockllm.trading.live.history import history

    with open_store(home) as store:
        account = _account(store, Settings.load(home), which)
        if account.exchange is None:
            return None
        found = history(store, account.exchange, account.name)
    if found is None or len(found.days) < 2:
        return AccountPast(found)
    return AccountPast(found, *_held(home, home.store.stat().st_ino, found.opening, found.days[-1]))


@lru_cache(maxsize=8)
def _held(
    home: Home, _file: int, opening: Opening, end: date
) -> tuple[tuple[date, ...], tuple[int, ...], int]:
    """A year of 41 companies takes a moment: reckoned once a session."""
    from stockllm.trading.live.history import held_instead

    with open_store(home) as store:
        return held_instead(store, opening, end)


def _account(store: Store, settings: Settings, which: Which) -> Account:
    from stockllm.trading.live.live import open_account

    return open_account(store, settings, which.kind, which.name)


def check_account(home: Home, name: str, cash: str, discount: str, password: str) -> NewAccount:
    """The account that would be opened; UsageError with the sentence to show where it cannot be."""
    from stockllm.trading.exchange.access import check_password
    from stockllm.trading.exchange.accounts import check_free
    from stockllm.trading.exchange.opening import new_account

    if not name.strip():
        raise UsageError("Give the account a name, such as mine.", zh="請為帳戶取個名稱，例如 mine。")
    new = new_account(name.strip(), cash.strip(), discount.strip())
    if password:
        check_password(password)
    with open_store(home) as store:
        check_free(store, new.name)
    return new


def open_new_account(home: Home, name: str, cash: str, discount: str, password: str) -> str:
    """Open an account at the live exchange, as ``stockllm exchange account add`` does; its name."""
    from stockllm.trading.exchange.accounts import open_new

    new = check_account(home, name, cash, discount, password)
    with open_store(home) as store:
        return open_new(store, new, password or None).name


def _today(store: Store, code: str, shares: int, day: date | None) -> int | None:
    """What the account's last session moved ``shares`` by, from the session's own reference."""
    if day is None:
        return None
    series = store.bars.series(code, end=day)
    if not len(series) or series.dates[-1] != day:
        return None
    return round(shares * float(series.close[-1] - series.reference[-1]))


#: What an order's side may be called.
_SIDES = {
    "buy": "buy", "b": "buy", "買": "buy", "買進": "buy",
    "sell": "sell", "s": "sell", "賣": "sell", "賣出": "sell",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order that could be sent: for which session, what it is worth and costs, and when it was priced."""

    order: Order
    company: Company
    session: date
    charges: Charges


def check_ticket(
    home: Home, which: Which, side: str, company: str, shares: str, price: str, portfolio: Portfolio
) -> Ticket:
    """The order as the exchange would take it now; the sentence to show where it would not.

    The exchange judges again when it is sent: on an ex-date its reference is not the last close.
    """
    from stockllm.data.settings import Settings
    from stockllm.trading.exchange.rules import Order, check_form, check_limits, check_means

    side = _SIDES.get(side.strip().lower(), "")
    if not side:
        raise UsageError(
            "An order buys or sells: write buy or sell.",
            zh="委託不是買進就是賣出：請填買或賣（buy 或 sell）。",
        )
    if not company.strip():
        raise UsageError(
            "Write which company: a code or a name, such as 2330.", zh="請填股票：代號或名稱，例如 2330。"
        )
    with open_store(home) as store:
        account = _account(store, Settings.load(home), which)
        found = store.resolve(company)
        order = Order(found.code, side, _whole(shares), _cents(price))  # type: ignore[arg-type]
        session = account.broker.session()
        order = check_form(order, session)
        check_limits(order, store.bars.last_close(found.code, session), session)
        held = next((each.shares for each in portfolio.holdings if each.company.code == found.code), 0)
        free = held - portfolio.selling(found.code)
        check_means(order, cash=portfolio.look.free, shares=free, discount=account.discount)
    cost = charges(order.side, order.code, order.shares, order.price, discount=account.discount)
    return Ticket(order, found, session, cost)


def send(home: Home, which: Which, ticket: Ticket) -> Placed:
    """Send an order once. Raises OrderRefused or BrokerError, whose sentence says what now."""
    from stockllm.data.settings import Settings

    with open_store(home) as store:
        account = _account(store, Settings.load(home), which)
        return account.broker.place(ticket.order, str(uuid.uuid4()))


def cancel(home: Home, which: Which, id: int) -> Placed:
    """Take an open order back."""
    from stockllm.data.settings import Settings

    with open_store(home) as store:
        return _account(store, Settings.load(home), which).broker.cancel(id)


def _whole(text: str) -> int:
    if not text.strip():
        raise UsageError("Write how many shares: 1000 is a lot.", zh="請填股數：一張是 1000。")
    try:
        return int(text.replace(",", "").strip())
    except ValueError:
        raise UsageError(
            f"{text!r} is no number of shares: write 1000 for a lot.",
            zh=f"{text!r} 不是股數：一張請填 1000。",
        ) from None


def _cents(text: str) -> int:
    """Hundredths of a price in TWD; at most two decimals."""
    if not text.strip():
        raise UsageError(
            "Write a price in TWD, such as 1075 or 48.95.", zh="請填價格（新台幣），例如 1075 或 48.95。"
        )
    try:
        cents = Decimal(text.replace(",", "").strip()) * 100
        if not cents.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise UsageError(
            f"{text!r} is no price: write it in TWD, as in 1075 or 48.95.",
            zh=f"{text!r} 不是價格：請填新台幣，例如 1075 或 48.95。",
        ) from None
    if cents != cents.to_integral_value():
        raise UsageError(
            f"{text!r} has more decimals than a price: two are the most.",
            zh=f"{text!r} 的小數位數太多：價格最多兩位小數。",
        )
    return int(cents)


def export_portfolio(
    home: Home, portfolio: Portfolio, past: AccountPast | None, now: datetime
) -> tuple[Path, ...]:
    """The holdings as a CSV, in TWD, and the equity of every evening as another where it is known."""
    realised = past.history.realised if past and past.history else {}
    heading = ("account", "code", "name", "shares", "cost", "close", "worth", "gain", "today", "realised")
    rows = [
        (
            portfolio.look.account, each.company.code, each.company.name_zh, each.shares, each.cost,
            None if each.close is None else each.close / 100, each.worth, each.gain, each.today,
            realised.get(each.company.code, 0) if past and past.history else None,
        )
        for each in portfolio.holdings
    ]  # fmt: skip
    place, stamp = export.folder(home), f"{now:%Y-%m-%d-%H%M%S}"
    files = [export.write_csv(place / f"portfolio-{stamp}.csv", heading, rows)]
    if past is not None and past.history is not None:
        held = dict(zip(past.held_days, past.held, strict=True))
        days = zip(past.history.days, past.history.equity, strict=True)
        files.append(
            export.write_csv(
                place / f"equity-{stamp}.csv",
                ("account", "date", "equity", "buy_and_hold"),
                [(portfolio.look.account, day, equity, held.get(day)) for day, equity in days],
            )
        )
    return tuple(files)
