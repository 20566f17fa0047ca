"""Trading an account as it stands: which evening it is, the plan of that evening, and its peak.

The account is one on the store's own exchange, live or a replay, or one at a server that speaks the
university's protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.errors import NotEnoughHistory, StockllmError, UsageError
from stockllm.data.records import Cents
from stockllm.data.settings import TradeSettings
from stockllm.data.store import Store
from stockllm.market.fees import trade_value
from stockllm.trading.brokers.broker import Broker, LocalBroker
from stockllm.trading.brokers.ncku import NckuBroker
from stockllm.trading.exchange.exchange import LIVE, Exchange
from stockllm.trading.exchange.market_data import load_market
from stockllm.trading.exchange.sessions import NotYet
from stockllm.trading.strategy import dealing
from stockllm.trading.strategy.policy import Plan, Policy
from stockllm.trading.strategy.strategies import advise, needs_forecast

if TYPE_CHECKING:
    from stockllm.collectors.clock import Clock
    from stockllm.data.settings import Settings

Kind = Literal["local", "ncku"]

# No holiday is longer.
_LOOK_BACK = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Account:
    """An account and who takes its orders. ``exchange`` is None where that is a server elsewhere."""

    kind: Kind
    name: str
    broker: Broker
    discount: Decimal
    exchange: Exchange | None

    @property
    def replay(self) -> bool:
        """Whether it trades in the past."""
        return self.exchange is not None and self.exchange.name != LIVE

    @property
    def odd_lots(self) -> bool:
        """Whether its broker takes less than a lot."""
        return self.kind == "local"

    @property
    def _note(self) -> str:
        return f"peak {self.kind} {self.name}"

    def peak(self, store: Store) -> int:
        """The highest equity it was traded at, in TWD; 0 before it was."""
        return int(store.notes.get(self._note) or 0)

    def set_peak(self, store: Store, equity: int) -> None:
        """Remember the highest equity."""
        store.notes.set(self._note, str(equity))


def open_account(
    store: Store, settings: Settings, kind: str = "", name: str = "", clock: Clock | None = None
) -> Account:
    """The account of this name at this kind of broker; the settings' where they are empty.

    UsageError where there is none. Nothing is asked of a server yet.
    """
    kind, name = kind or settings.trade.broker, name or settings.trade.account
    if kind == "local":
        return _local(store, name, clock)
    if kind == "ncku":
        return _university(store, settings, name, clock)
    raise UsageError(
        f"There is no broker '{kind}': choose local or ncku.",
        zh=f"沒有名為 '{kind}' 的券商：請選 local 或 ncku。",
    )


def _local(store: Store, name: str, clock: Clock | None) -> Account:
    with store.books.read() as books:
        exchanges = {row.id: row.name for row in books.exchanges()}
        known = books.accounts()
        if not name and len(known) == 1:
            name = known[0].name
        found = books.account(name) if name else None
    if found is None:
        listed = ", ".join(row.name for row in known)
        if not listed:
            raise UsageError(
                "There is no account to trade for: open one with 'stockllm exchange account add NAME'.",
                zh="還沒有可交易的帳戶：請用 'stockllm exchange account add NAME' 開一個。",
            )
        raise UsageError(
            f"There is no account {name!r}: name one of {listed}."
            if name
            else f"Name the account with --account, or as trade.account in the settings: {listed}.",
            zh=f"沒有名為 {name!r} 的帳戶：請從 {listed} 中選擇。"
            if name
            else f"請用 --account 或設定中的 trade.account 指明帳戶：{listed}。",
        )
    exchange = Exchange(store, exchanges[found.exchange], clock)
    return Account("local", name, LocalBroker(exchange, name), found.discount, exchange)


def policy_of(settings: TradeSettings, account: Account | None = None) -> Policy:
    """The settings' limits, within what the account's broker takes."""
    edge = settings.minimum_edge
    made = Policy(
        settings.position_cap,
        settings.cash_floor,
        settings.stop,
        None if edge == "off" else edge,
        settings.odd_lots,
    )
    return made if account is None else fitted(made, account)


def fitted(policy: Policy, account: Account) -> Policy:
    """``policy`` at the account's own commission, and without odd lots where they are not taken."""
    return replace(policy, discount=account.discount, odd_lots=policy.odd_lots and account.odd_lots)


def catch_up(account: Account) -> None:
    """Learn what became of earlier orders.

    Sessions of the live exchange whose prices have come in are matched, as its server would; a
    server elsewhere is asked what is held. BrokerError where it does not answer.
    """
    if isinstance(account.broker, NckuBroker):
        account.broker.reconcile()
    if account.exchange is None or account.replay:
        return
    while True:
        try:
            if not account.exchange.advance():
                return
        except NotYet:
            return


def plan_evening(
    store: Store,
    account: Account,
    strategy: str,
    codes: Iterable[str],
    policy: Policy,
    *,
    new_peak: bool = False,
) -> Plan:
    """What to order for the account's next session, on what is known now. Changes nothing.

    ``new_peak`` measures the drawdown from this evening on.

    :raises UsageError: an unknown strategy.
    :raises OrderRefused: no orders are taken now.
    :raises BrokerError: the broker cannot be asked.
    :raises NotEnoughHistory: no prices to judge.
    :raises StockllmError: prices or forecasts of the evening are not in.
    """
    needed = needs_forecast(strategy)
    session = account.broker.session()
    evening = _evening(store, account, session)
    advice, forecasts = {}, 0
    for code in dict.fromkeys(codes):
        forecast = store.ledger.on(code, evening) if needed else None
        forecasts += forecast is not None
        made = advise(strategy, store.bars.series(code, end=evening), forecast)
        if made is not None:
            advice[code] = made
    if not advice:
        raise NotEnoughHistory(
            f"There are no prices of these companies up to {evening}, so there are no signals: "
            "refresh, or bring some in with 'stockllm import PATH'.",
            zh=(
                f"到 {evening} 為止沒有這些股票的股價，因此沒有訊號：請更新，或用 'stockllm "
                "import PATH' 匯入。"
            ),
        )
    if needed and not forecasts:
        as_of = f" --as-of {evening}" if account.replay else ""
        raise StockllmError(
            f"There is no forecast of the evening of {evening}, which {strategy} acts on: "
            f"make them with 'stockllm forecast --all{as_of}'.",
            zh=(
                f"沒有 {evening} 晚上的預測，而 {strategy} 策略需要它：請執行 'stockllm "
                f"forecast --all{as_of}'。"
            ),
        )
    held = account.broker.positions()
    peak = 0 if new_peak else account.peak(store)
    market = load_market(store, {*advice, *held}, session, session, store.calendar())
    return dealing.plan(account.broker, market, advice, policy, evening, peak)


@dataclass(frozen=True, slots=True)
class Row:
    """A holding at its last close, in TWD; ``close`` in hundredths, None where there is no price.

    ``cost`` has the commission of the purchases in it, as what sales realised has; at a server, which tells
    what was paid for the shares alone, it has not.
    """

    code: str
    shares: int
    cost: int
    close: Cents | None

    @property
    def worth(self) -> int | None:
        """What it would bring before charges."""
        return None if self.close is None else trade_value(self.shares, self.close)

    @property
    def gain(self) -> int | None:
        """What it is worth more than it cost, before the charges of a sale."""
        return None if self.worth is None else self.worth - self.cost


@dataclass(frozen=True, slots=True)
class Look:
    """An account at a glance; ``drawdown`` is None before it was traded, or where equity is unknown."""

    account: str
    day: date | None
    free: int
    equity: int | None
    estimated: bool
    drawdown: float | None
    rows: tuple[Row, ...]

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        holdings = [asdict(row) | {"worth": row.worth, "gain": row.gain} for row in self.rows]
        for one in holdings:
            one["close"] = None if one["close"] is None else one["close"] / 100
        document = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        return document | {"day": self.day.isoformat() if self.day else None, "holdings": holdings}


def look(store: Store, account: Account) -> Look:
    """What the account has. BrokerError where its broker cannot be asked."""
    from stockllm.trading.live.history import paid_for_held

    funds, held = account.broker.funds(), account.broker.positions()
    day = account.exchange.day() if account.exchange is not None else store.bars.last_date()
    paid = {} if account.exchange is None else paid_for_held(account.exchange, account.name)
    rows = tuple(
        Row(code, own.shares, paid.get(code, own.cost), store.bars.last_close(code, day) if day else None)
        for code, own in held.items()
    )
    peak = max(account.peak(store), funds.equity or 0)
    known = account.peak(store) and funds.equity is not None
    fallen = 1 - (funds.equity or 0) / peak if known else None
    return Look(account.name, day, funds.free, funds.equity, funds.estimated, fallen, rows)


def _evening(store: Store, account: Account, session: date) -> date:
    """The session before ``session``, whose prices must be in and whose orders must be matched."""
    calendar = store.calendar()
    days = store.bars.days_with_bars(session - _LOOK_BACK, session - timedelta(days=1))
    known = [day for day in days if calendar.is_session(day)]
    if not known:
        raise NotEnoughHistory(
            f"There are no prices of the sessions before {session}: refresh first.",
            zh=f"沒有 {session} 之前各交易日的股價：請先更新。",
        )
    evening = known[-1]
    if account.replay:
        return evening
    missing = list(calendar.sessions(evening + timedelta(days=1), session - timedelta(days=1)))
    if missing:
        raise StockllmError(
            f"The prices end with {evening}, and the session before {session} is {missing[-1]}: "
            "refresh first.",
            zh=f"股價到 {evening} 為止，而 {session} 的前一個交易日是 {missing[-1]}：請先更新。",
        )
    if account.exchange is not None and account.exchange.day() < evening:
        raise StockllmError(
            f"The exchange has matched sessions up to {account.exchange.day()} and not {evening}: "
            "match them with 'stockllm exchange advance'.",
            zh=(
                f"交易所撮合到 {account.exchange.day()}，還沒到 {evening}：請用 'stockllm "
                "exchange advance' 撮合。"
            ),
        )
    return evening


def _university(store: Store, settings: Settings, name: str, clock: Clock | None) -> Account:
    if not name:
        raise UsageError(
            "Name the account with --account, or as trade.account in the settings.",
            zh="請用 --account 或設定中的 trade.account 指明帳戶。",
        )
    if settings.ncku_password is None:
        raise UsageError(
            "There is no password for the university's server: set STOCKLLM_NCKU_PASSWORD, "
            "or ncku_password in the settings.",
            zh=("沒有成大模擬交易伺服器的密碼：請設定 STOCKLLM_NCKU_PASSWORD，或設定檔中的 ncku_password。"),
        )
    password = settings.ncku_password.get_secret_value()
    broker = NckuBroker(store, settings.ncku_url, name, password, clock=clock)
    return Account("ncku", name, broker, Decimal(1), None)
