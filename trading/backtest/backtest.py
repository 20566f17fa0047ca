"""A past period traded evening by evening, by the functions that trade live (docs/trading.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.data.store import Store
from stockllm.market.fees import trade_value
from stockllm.trading.backtest.figures import Day, daily_returns, interval, of_equity, of_trades
from stockllm.trading.backtest.trades import Matcher, Trade
from stockllm.trading.brokers.broker import BookBroker
from stockllm.trading.exchange.book import Book
from stockllm.trading.exchange.engine import Fill, Step
from stockllm.trading.exchange.market_data import Market, load_market
from stockllm.trading.exchange.rules import Rules
from stockllm.trading.strategy import dealing
from stockllm.trading.strategy.policy import Advice, Plan, Policy
from stockllm.trading.strategy.strategies import advise, needs_forecast

if TYPE_CHECKING:
    from stockllm.market.calendar import TradingCalendar
    from stockllm.trading.backtest.past_forecasts import PastForecasts

#: What a backtest begins with: the university simulator's sum.
CASH = 100_000_000
#: How far back the evening before the period may lie: no holiday is longer.
_LOOK_BACK = timedelta(days=30)

#: Told (what is done, done, in all).
Progress = Callable[[str, int, int], None]
#: The verdicts of an evening by code.
Adviser = Callable[[date], Mapping[str, Advice]]


@dataclass(frozen=True, slots=True)
class Request:
    """What to trade: sessions from ``start`` to ``end``, both included, beginning with ``cash`` TWD."""

    start: date
    end: date
    codes: tuple[str, ...]
    strategy: str = "edge"
    model: str = "auto"
    policy: Policy = field(default_factory=Policy)
    cash: int = CASH
    horizon: int = 5
    paths: int = 99
    seed: int = 3407
    prompt: PromptStyle = "compact"
    settlement: int = 1

    def check(self) -> None:
        """UsageError for what cannot be traded."""
        from stockllm.forecaster.encoding.limits import LONGEST_HORIZON

        needs_forecast(self.strategy)
        if self.start > self.end:
            raise UsageError(
                f"The period ends on {self.end}, before it starts on {self.start}.",
                zh=f"期間的結束日 {self.end} 早於開始日 {self.start}。",
            )
        if not 0 < self.cash <= 10**15:
            raise UsageError(
                f"A backtest cannot begin with {self.cash:,} TWD: give more than 0, up to {10**15:,}.",
                zh=f"回測不能以 {self.cash:,} 元開始：請給大於 0、不超過 {10**15:,} 的金額。",
            )
        if not 1 <= self.horizon <= LONGEST_HORIZON:
            raise UsageError(
                f"The horizon is 1 to {LONGEST_HORIZON} trading days, not {self.horizon}.",
                zh=f"預測天數為 1 到 {LONGEST_HORIZON} 個交易日，而不是 {self.horizon}。",
            )
        if not 1 <= self.paths <= 10_000:
            raise UsageError(
                f"The number of paths is 1 to 10,000, not {self.paths}.",
                zh=f"路徑數為 1 到 10,000，而不是 {self.paths}。",
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f"The seed is a whole number from 0 to 4294967295, not {self.seed}.",
                zh=f"種子為 0 到 4294967295 的整數，而不是 {self.seed}。",
            )
        if not 0 <= self.settlement <= 10:
            raise UsageError(
                f"Proceeds settle after 0 to 10 sessions, not {self.settlement}.",
                zh=f"款項在 0 到 10 個交易日後交割，而不是 {self.settlement}。",
            )


@dataclass(slots=True)
class Run:
    """One account's way through the period. ``days[0]`` is the evening before it."""

    days: list[Day]
    trades: list[Trade] = field(default_factory=list)
    held: list[Trade] = field(default_factory=list)
    """What is still held at the end, as if sold at the last close, without a sale's charges."""
    fills: list[Fill] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    """How often each kind of decision was made."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """A backtest that has ended. ``buy_and_hold`` went through the same sessions with the same cash.

    ``seen`` says whether the model's training read days of the period, None where nobody can say, and
    ``read_until`` up to when.
    """

    request: Request
    run: Run
    buy_and_hold: Run
    simulated: bool
    model: str | None
    seen: bool | None
    read_until: date | None
    forecasts: dict[str, int]
    ex_dates: int
    """How many ex-dates of these companies in the period the store knows."""
    sampled: PastForecasts | None
    series: Mapping[str, BarSeries]


def backtest(
    store: Store, request: Request, progress: Progress = lambda _what, _done, _total: None
) -> Backtest:
    """Trade the period of ``request`` on what the store holds.

    :raises UsageError: a request that cannot be traded.
    :raises NotEnoughHistory: no session in the period, or none before it.
    :raises ModelUnavailable: the model cannot be had.
    """
    request.check()
    calendar = store.calendar()
    evening = _evening_before(store, calendar, request.start)
    market = load_market(store, request.codes, request.start, request.end, calendar)
    if not market.sessions:
        last = store.bars.last_date()
        raise NotEnoughHistory(
            f"There is no session with prices from {request.start} to {request.end}; "
            f"prices end on {last or 'no day at all'}: choose another period or import more.",
            zh=(
                f"{request.start} 到 {request.end} 之間沒有有股價的交易日；股價到 "
                f"{last or '（無）'} 為止：請換一段期間或匯入更多。"
            ),
        )
    series = {code: store.bars.series(code, end=request.end) for code in request.codes}
    evenings = (evening, *market.sessions[:-1])
    sampled, model, read_until = None, None, None
    seen: bool | None = False
    if needs_forecast(request.strategy):
        from stockllm.forecaster.models.registry import resolve_model
        from stockllm.forecaster.sampling.cutoffs import cutoff
        from stockllm.trading.backtest.past_forecasts import PastForecasts, Settings

        ref = resolve_model(request.model, store.home)
        settings = Settings(request.horizon, request.paths, request.seed, request.prompt)
        sampled = PastForecasts(store, ref, settings, series, calendar, evening)
        sampled.prepare(evenings, lambda done, total: progress("forecasts", done, total))
        read = cutoff(ref, simulated=store.simulated)
        model = ref.name if ref.adapter is None else f"{ref.name}+{ref.adapter}"
        seen, read_until = read.seen(market.sessions[0]), read.day
    run = trade(
        market,
        evening,
        request,
        adviser(request.strategy, series, sampled),
        lambda done, total: progress("sessions", done, total),
    )
    return Backtest(
        request,
        run,
        buy_and_hold(market, evening, request, series),
        store.simulated,
        model,
        seen,
        read_until,
        dict(sampled.counts) if sampled else {},
        sum(row.code in series for row in store.ex_rights.rows(request.start, request.end)),
        sampled,
        series,
    )


def adviser(strategy: str, series: Mapping[str, BarSeries], sampled: PastForecasts | None) -> Adviser:
    """Verdicts on bars up to an evening, with the forecasts made on it."""

    def on(evening: date) -> dict[str, Advice]:
        found = {}
        for code, whole in series.items():
            known = whole.until(evening)
            forecast = sampled.of(code, evening) if sampled is not None else None
            made = advise(strategy, known, forecast)
            if made is not None:
                found[code] = made
        return found

    return on


def trade(
    market: Market,
    evening: date,
    request: Request,
    advice: Adviser,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Run:
    """Walk an account through all sessions of ``market``, deciding on each evening before one."""
    policy = request.policy
    rules = Rules("always", request.settlement, "refuse")
    book = Book.start(market, evening, request.cash, discount=policy.discount, rules=rules)
    broker = BookBroker(book)
    run = Run([Day(evening, request.cash, 0)])
    matched = Matcher()
    peak = 0
    while book.next_session is not None:
        plan = dealing.plan(broker, market, advice(book.day), policy, book.day, peak)
        peak = plan.standing.peak
        for decision in plan.decisions:
            run.reasons[decision.why] = run.reasons.get(decision.why, 0) + 1
        sent = dealing.send(broker, plan)
        step = book.advance()
        _match(matched, step, book, plan)
        run.fills += step.fills
        run.days.append(_day(book, market, step, plan, sum(each.placed is not None for each in sent)))
        progress(book.number, len(market.sessions))
    run.trades = matched.trades
    run.held = matched.left(book.day, book.number, lambda code: market.close(code, book.day) or 0)
    return run


def document(made: Backtest) -> dict[str, Any]:
    """The backtest for ``--json`` and the report."""
    request, run, hold = made.request, made.run, made.buy_and_hold
    mine, theirs = daily_returns(run.days), daily_returns(hold.days)
    return {
        "strategy": request.strategy,
        "model": made.model,
        "start": request.start.isoformat(),
        "end": request.end.isoformat(),
        "first_session": run.days[1].session.isoformat(),
        "last_session": run.days[-1].session.isoformat(),
        "sessions": len(run.days) - 1,
        "codes": list(request.codes),
        "simulated": made.simulated,
        "seen": made.seen,
        "read_until": made.read_until.isoformat() if made.read_until else None,
        "policy": policy_document(request.policy),
        "horizon": request.horizon,
        "paths": request.paths,
        "seed": request.seed,
        "settlement": request.settlement,
        "forecasts": made.forecasts,
        "ex_dates": made.ex_dates,
        **of_equity(run.days),
        "return_interval": interval(mine),
        "cash_return": 0.0,
        "buy_and_hold": of_equity(hold.days) | {"return_interval": interval(theirs)},
        "lead": of_equity(run.days)["return"] - of_equity(hold.days)["return"],
        "lead_interval": interval(mine, theirs),
        "scoring": of_trades(run.trades),
        "decisions": dict(sorted(run.reasons.items())),
        "equity": [
            {
                "date": day.session.isoformat(),
                "equity": day.equity,
                "shares": day.shares,
                "buy_and_hold": other.equity,
            }
            for day, other in zip(run.days, hold.days, strict=True)
        ],
        "trades": [each.document() for each in run.trades],
        "held": [each.document() for each in run.held],
    }


def policy_document(policy: Policy) -> dict[str, Any]:
    """The limits for ``--json``."""
    edge = policy.minimum_edge
    return {
        "position_cap": float(policy.position_cap),
        "cash_floor": float(policy.cash_floor),
        "stop": float(policy.stop),
        "minimum_edge": None if edge is None else float(edge),
        "odd_lots": policy.odd_lots,
        "discount": float(policy.discount),
    }


def _evening_before(store: Store, calendar: TradingCalendar, start: date) -> date:
    days = store.bars.days_with_bars(start - _LOOK_BACK, start - timedelta(days=1))
    sessions = [day for day in days if calendar.is_session(day)]
    if not sessions:
        raise NotEnoughHistory(
            f"There are no prices of the sessions before {start}, on which a backtest decides: "
            "choose a later start or import more.",
            zh=f"沒有 {start} 之前交易日的股價，回測無從決定：請晚一點開始或匯入更多。",
        )
    return sessions[-1]


def buy_and_hold(market: Market, evening: date, request: Request, series: Mapping[str, BarSeries]) -> Run:
    """Every company for an equal part of the cash, in lots and odd lots, kept to the end."""
    policy = replace(
        request.policy,
        position_cap=Decimal(1) / len(request.codes),
        cash_floor=Decimal(0),
        stop=Decimal(1),
        minimum_edge=None,
        odd_lots=True,
    )
    return trade(market, evening, replace(request, policy=policy), adviser("hold", series, None))


def _day(book: Book, market: Market, step: Step, plan: Plan, placed: int) -> Day:
    shares = sum(
        trade_value(held.shares, market.close(code, book.day) or 0)
        for code, held in book.portfolio.holdings.items()
    )
    return Day(
        book.day,
        book.equity(),
        shares,
        sum(fill.charges.value for fill in step.fills),
        sum(fill.charges.commission + fill.charges.tax for fill in step.fills),
        sum(grant.cash for grant in step.grants),
        placed,
        len(step.fills),
        plan.stopped,
    )


def _match(matched: Matcher, step: Step, book: Book, plan: Plan) -> None:
    stopped = {decision.code for decision in plan.decisions if decision.why == "stop"}
    for grant in step.grants:
        matched.grant(grant.code, grant.shares)
    for fill in step.fills:
        code, shares = fill.order.code, fill.order.shares
        if fill.order.side == "buy":
            matched.buy(code, shares, fill.charges.paid, book.day, book.number)
        else:
            matched.sell(code, shares, fill.charges.received, book.day, book.number, stop=code in stopped)
