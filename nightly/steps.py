"""The steps of a refresh, each a plain function, in the order of the house.

A step reads what it needs from the store, does what is missing and says what came of it. Whatever is
done is kept in one transaction a piece, so that a step may be cut off anywhere and taken up again.
None raises for what the sites do; what else it raises is its own failure and stops no other step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from stockllm.collectors.clock import taipei
from stockllm.collectors.exrights import collect_exrights
from stockllm.collectors.http import Web
from stockllm.collectors.market_day import EXCHANGES, last_published
from stockllm.collectors.news_api import NewsReport, collect_news, queue
from stockllm.collectors.planner import PlanReport, plan_prices, run_plan
from stockllm.collectors.schedule import collect_schedule
from stockllm.data.sentences import Sentence, in_chinese
from stockllm.nightly.fitness import Unfit, fit

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.data.stores.refreshes import StepOutcome
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

#: Told (done, in all) of a step's pieces.
Progress = Callable[[int, int], None]

#: Companies whose news came in this long ago are not served again: a second refresh of an evening
#: asks for none, one a day later for all, though it start some hours earlier than the one before.
NEWS_FRESH = timedelta(hours=18)

#: So long the news wait for requests that yesterday's run has used up: it may have begun later than
#: today's, for want of answers, and its requests count for 24 hours.
NEWS_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Night:
    """What the steps of one refresh work with. ``since``: the first day they see to."""

    store: Store
    web: Web
    settings: Settings
    companies: Sequence[Company]
    since: date
    progress: Progress = lambda _done, _total: None

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.web.clock.now()


@dataclass(frozen=True)
class Done:
    """What came of a step: whole numbers, a sentence in Chinese and in English, and in ``notes``, pairs
    of the same, what went wrong or was left out."""

    outcome: StepOutcome
    zh: str
    en: str
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()


def last_session(calendar: TradingCalendar, now: datetime) -> date:
    """The last session of which both exchanges have published their lists."""
    return min(last_published(market, calendar, now) for market in EXCHANGES)


def calendar(night: Night) -> Done:
    """The exchange's holiday schedules, where they are not known or a week old."""
    report = collect_schedule(night.web, night.store, night.since)
    if not report.years and not report.failures:
        return Done("ok", "開休市日期都是新的。", "The holidays are up to date.", {"years": 0, "failures": 0})
    unknown = [(f"看不懂的一列：{row}", f"A row nobody can read: {row}") for row in report.unknown]
    return Done(
        _outcome(len(report.years), report.failures),
        f"取得 {len(report.years)} 個年度的開休市日期。",
        f"{_count(len(report.years), 'year')} of holidays came in.",
        {"years": len(report.years), "days": report.days, "failures": len(report.failures)},
        (*_both(report.failures), *unknown),
    )


def prices(night: Night) -> Done:
    """The last session's prices: one request an exchange."""
    return _fetch(night, max(night.since, last_session(night.store.calendar(), night.now)))


def ex_rights(night: Night) -> Done:
    """Ex-dates and their reference prices, of the months not yet asked for up to the last session."""
    end = last_session(night.store.calendar(), night.now)
    report = collect_exrights(night.web, night.store, night.since, end, progress=night.progress)
    if not report.months and not report.failures:
        zh, en = f"至 {end} 的除權息都已取得。", f"The ex-dates up to {end} are in."
        return Done("ok", zh, en, {"months": 0, "new": 0, "applied": 0, "refused": 0, "failures": 0})
    return Done(
        _outcome(report.months, report.failures),
        f"取得 {report.months} 個月的除權息：新增 {report.new} 筆，套用於 {report.applied} 筆日線。",
        f"{_count(report.months, 'month')} of ex-dates came in: {report.new} new, "
        f"{_count(report.applied, 'bar')} based on them.",
        {
            "months": report.months,
            "new": report.new,
            "applied": report.applied,
            "refused": report.refused,
            "failures": len(report.failures),
        },
        _both(report.failures),
    )


def gaps(night: Night) -> Done:
    """Whatever is missing since ``since``: planned anew, now that the last day and ex-dates are in."""
    return _fetch(night, night.since)


def news(night: Night) -> Done:
    """News of the companies, the longest unserved first, as far as the day's requests go."""
    limit = news_due(night.store, night.companies, night.now)
    patience = night.now + NEWS_PATIENCE
    report = collect_news(night.web, night.store, night.companies, limit=limit, progress=night.progress)
    while report.left and report.again is not None and report.again <= patience:
        night.web.clock.sleep((report.again - night.now).total_seconds())
        served, left = report.served, report.left
        more = collect_news(
            night.web,
            night.store,
            night.companies,
            limit=left,
            progress=lambda done, _total, served=served: night.progress(served + done, limit),  # type: ignore[misc]
        )
        report = _together(report, more)
    counts = {
        "served": report.served,
        "left": report.left,
        "new": report.new,
        "known": report.known,
        "off_topic": report.off_topic,
        "unreadable": report.unreadable,
    }
    if night.settings.newsapi_key is None:
        return Done("skipped", in_chinese(report.stopped), report.stopped, counts)
    if not limit:
        return Done("ok", "所有公司的新聞都是新的。", "The news of all companies are up to date.", counts)
    rest = (report.stopped,) if report.stopped else ()
    return Done(
        _outcome(report.served, (*report.failures, *rest)),
        f"{report.served} 次新聞搜尋，新增 {report.new} 則；{report.left} 次留待下次。",
        f"{_count(report.served, 'search', 'searches')} for news, {report.new} new; "
        f"{report.left} left for the next run.",
        counts,
        _both((*report.failures, *rest)),
    )


def forecasts(night: Night) -> Done:
    """A forecast of every company whose data are whole; the same data give the one already frozen."""
    from stockllm.forecaster.forecast import forecast, forecastable

    store = night.store
    ready, unfit = fit(store, night.companies, night.now)
    codes, too_short = forecastable(store, [company.code for company in ready], "compact")
    before = max((row.id for row in store.ledger.list(limit=1)), default=0)
    warnings: tuple[Sentence, ...] = ()
    if codes:
        today = taipei(night.now).date()
        model = night.settings.model
        made = forecast(store, codes, model=model, today=today, progress=night.progress)
        warnings = tuple(dict.fromkeys(warning for entry in made for warning in entry.warnings))
    new = sum(row.id > before for row in store.ledger.list(limit=max(1, len(codes))))
    left = len(unfit) + len(too_short)
    return Done(
        _of_companies(len(codes), unfit),
        f"預測 {len(codes)} 家公司，其中 {new} 家為新的預測；{left} 家略過。",
        f"{_count(len(codes), 'company', 'companies')} forecast, {new} of them anew; {left} left out.",
        {"forecast": len(codes), "new": new, "left_out": left},
        (*(company.note for company in unfit), *_both(too_short), *_both(warnings)),
    )


def scores(night: Night) -> Done:
    """The ledger's forecasts whose days have come, held against them."""
    from stockllm.forecaster.evaluation.scoring import score_due

    report = score_due(night.store, night.progress)
    return Done(
        "ok",
        f"評分 {report.forecasts} 次預測的 {report.days} 天；{report.waiting} 次還在等資料。",
        f"{_count(report.days, 'day')} of {_count(report.forecasts, 'forecast')} scored; "
        f"{report.waiting} more wait for their days.",
        {"forecasts": report.forecasts, "days": report.days, "waiting": report.waiting},
    )


def signals(night: Night) -> Done:
    """The rules' verdicts on every company whose data are whole."""
    from stockllm.trading.strategy.signals import refresh_signals

    ready, unfit = fit(night.store, night.companies, night.now)
    found = refresh_signals(night.store, [company.code for company in ready])
    acts = {action: sum(signal.action == action for signal in found) for action in ("buy", "sell", "hold")}
    return Done(
        _of_companies(len(ready), unfit),
        f"判斷 {len(ready)} 家公司：買進 {acts['buy']}、賣出 {acts['sell']}、觀望 {acts['hold']}；"
        f"{len(unfit)} 家略過。",
        f"{_count(len(ready), 'company', 'companies')} judged: {acts['buy']} buy, {acts['sell']} sell, "
        f"{acts['hold']} hold; {len(unfit)} left out.",
        {"judged": len(ready), "left_out": len(unfit), **acts},
        tuple(company.note for company in unfit),
    )


def trade(night: Night) -> Done:
    """The evening's orders, for the account that opted in with ``trade.nightly``."""
    from stockllm.data.errors import OrderRefused
    from stockllm.trading.live import live
    from stockllm.trading.strategy.dealing import send

    nothing = {"orders": 0, "placed": 0}
    wanted = night.settings.trade
    if not wanted.nightly:
        zh, en = "沒有帳戶設定夜間交易。", "No account asked to be traded for."
        return Done("skipped", zh, en, nothing)
    account = live.open_account(night.store, night.settings, clock=night.web.clock)
    if account.replay:
        zh = f"{account.name} 在回放中的交易所，不在夜間交易。"
        return Done("skipped", zh, f"{account.name} is on a replay, which no night moves.", nothing)
    ready, unfit = fit(night.store, night.companies, night.now)
    live.catch_up(account)
    try:
        codes = [company.code for company in ready]
        policy = live.policy_of(wanted, account)
        plan = live.plan_evening(night.store, account, wanted.strategy, codes, policy)
    except OrderRefused as error:  # the window is shut: a weekend
        return Done("skipped", f"{error.zh}，沒有下單。", str(error), nothing)
    account.set_peak(night.store, plan.standing.peak)
    sent = send(account.broker, plan)
    missed = [each for each in sent if each.placed is None]
    done = len(sent) - len(missed)
    return Done(
        _outcome(done, [each.why_en for each in missed]),
        f"{account.name} 為 {plan.standing.session} 送出 {done} 筆委託，{len(missed)} 筆未被接受。",
        f"{_count(done, 'order')} of {account.name} placed for {plan.standing.session}; "
        f"{len(missed)} not taken.",
        {"orders": len(sent), "placed": done},
        (
            *((f"{m.order.code}：{m.why_zh}", f"{m.order.code}: {m.why_en}") for m in missed),
            *(company.note for company in unfit),
        ),
    )


#: The steps by name, in their order.
STEPS: dict[str, Callable[[Night], Done]] = {
    "calendar": calendar,
    "prices": prices,
    "ex-rights": ex_rights,
    "gaps": gaps,
    "news": news,
    "forecasts": forecasts,
    "scores": scores,
    "signals": signals,
    "trade": trade,
}

#: Those that bring prices in: while one of them is not ok, there is something to try again for.
VITAL = ("calendar", "prices", "ex-rights", "gaps")

#: Those that ask sites, and so want a store of real prices.
COLLECTING = (*VITAL, "news")


def news_due(store: Store, companies: Sequence[Company], now: datetime) -> int:
    """How many of the companies' turns, two each, are due."""
    served = store.news_turns.all()
    return sum(
        turn is None or now - turn.served_at >= NEWS_FRESH
        for turn in (served.get((company.code, language)) for company, language in queue(store, companies))
    )


def _together(first: NewsReport, then: NewsReport) -> NewsReport:
    """Two rounds of news as one: what ``then`` could not serve is what is left."""
    summed = ("served", "new", "known", "off_topic", "unreadable", "failures")
    return replace(
        then, turns=first.turns, **{name: getattr(first, name) + getattr(then, name) for name in summed}
    )


def _fetch(night: Night, start: date) -> Done:
    plan = plan_prices(night.store, night.companies, start, now=night.now, settings=night.settings)
    report = run_plan(night.web, night.store, plan, progress=night.progress)
    if not plan.jobs:
        span = f"{plan.start} … {plan.end}"
        return Done("ok", f"{span} 沒有缺漏。", f"Nothing is missing, {span}.", _price_counts(report))
    return Done(
        _outcome(report.done, (*report.failures, *report.stopped.values())),
        f"{plan.start} 至 {plan.end}：{report.jobs} 項中完成 {report.done} 項，"
        f"新增或更正 {report.accepted} 筆，隔離 {report.quarantined} 筆。",
        f"{plan.start} to {plan.end}: {report.done} of {_count(report.jobs, 'job')} done, "
        f"{_count(report.accepted, 'row')} new or corrected, {report.quarantined} in quarantine.",
        _price_counts(report),
        _both(dict.fromkeys((*report.failures, *report.stopped.values()))),
    )


def _price_counts(report: PlanReport) -> dict[str, int]:
    return {
        "jobs": report.jobs,
        "done": report.done,
        "left": report.left,
        "accepted": report.accepted,
        "unchanged": report.unchanged,
        "quarantined": report.quarantined,
        "no_data": report.no_data,
    }


def _outcome(done: int, failures: Sequence[str]) -> StepOutcome:
    return "ok" if not failures else "partial" if done else "failed"


def _of_companies(done: int, unfit: Sequence[Unfit]) -> StepOutcome:
    """A company nobody trades is left out for good reason; one whose data are missing is not."""
    lacking = sum(company.lacking for company in unfit)
    return "ok" if not lacking else "partial" if done else "failed"


def _both(sentences: Sequence[str] | dict[str, None]) -> tuple[tuple[str, str], ...]:
    """Sentences in Chinese and English."""
    return tuple((in_chinese(sentence), str(sentence)) for sentence in sentences)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
