"""The refresh: the steps one after the other, each recorded before and after, one refresh at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from stockllm.collectors.clock import Clock, SystemClock, taipei
from stockllm.collectors.exrights import wanted_months
from stockllm.collectors.http import NEWSAPI, Web
from stockllm.collectors.planner import Plan, plan_prices
from stockllm.collectors.schedule import wanted_years
from stockllm.data.errors import StockllmError, UsageError
from stockllm.nightly.lock import hold
from stockllm.nightly.names import STEP_NAMES
from stockllm.nightly.steps import COLLECTING, STEPS, VITAL, Done, Night, last_session, news_due

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.data.stores.refreshes import RefreshOutcome, RefreshRow, StepRow
    from stockllm.market.companies import Company

#: Told (step, done, in all).
Progress = Callable[[str, int, int], None]

#: How long the log of requests is kept.
LOG_KEPT = timedelta(days=400)

_log = logging.getLogger("stockllm.nightly")


@dataclass(frozen=True)
class RefreshPlan:
    """What a refresh is going to ask for, if every site answers.

    ``requests`` counts them by step. ``seconds``: the wait between them, and as long as the steps that
    ask nobody took last time.
    """

    evening: date
    since: date
    prices: Plan
    requests: dict[str, int]
    seconds: float

    def lines(self, language: str) -> list[str]:
        """The plan in words, to be printed before it starts."""
        named = {step: number for step, number in self.requests.items() if number}
        minutes = self.seconds / 60
        if language == "en":
            listed = ", ".join(f"{step} {n}" for step, n in named.items()) or "none"
            time = f"{minutes:.0f} min" if minutes >= 1 else f"{max(1, round(self.seconds))} s"
            head = f"Refresh for the evening of {self.evening}. Requests: {listed}; about {time}."
        else:
            listed = "、".join(f"{STEP_NAMES[step]} {n}" for step, n in named.items()) or "無"
            time = f" {minutes:.0f} 分" if minutes >= 1 else f" {max(1, round(self.seconds))} 秒"
            head = f"更新至 {self.evening} 收盤。請求：{listed}；約需{time}。"
        priced = any(step in self.requests for step in ("prices", "gaps"))
        return [head, *(self.prices.lines(language) if priced else ())]

    def document(self) -> dict[str, Any]:
        """The plan for ``--json``."""
        return {
            "evening": self.evening.isoformat(),
            "since": self.since.isoformat(),
            "requests": self.requests,
            "seconds": round(self.seconds),
            "prices": self.prices.document(),
        }


@dataclass(frozen=True)
class Report:
    """A refresh that has ended, as the store remembers it."""

    row: RefreshRow
    repaired: int
    """How many refreshes before it had died on the way."""

    @property
    def ok(self) -> bool:
        """Whether every step did all it had to do."""
        return self.row.outcome == "ok"

    def document(self) -> dict[str, Any]:
        """The report for ``--json``."""
        return document(self.row) | {"repaired": self.repaired}


def document(row: RefreshRow) -> dict[str, Any]:
    """A recorded refresh for ``--json``."""
    return {
        "id": row.id,
        "evening": row.evening.isoformat(),
        "started": row.started.isoformat(),
        "ended": row.ended.isoformat() if row.ended else None,
        "outcome": row.outcome,
        "steps": [_step_document(step) for step in row.steps],
    }


def _step_document(step: StepRow) -> dict[str, Any]:
    return {
        "step": step.step,
        "outcome": step.outcome,
        "started": step.started.isoformat(),
        "ended": step.ended.isoformat() if step.ended else None,
        "seconds": None if step.seconds is None else round(step.seconds, 1),
        "counts": step.counts,
        "sentence_zh": step.zh,
        "sentence_en": step.en,
        "notes_zh": [zh for zh, _ in step.notes],
        "notes_en": [en for _, en in step.notes],
    }


def plan_refresh(
    store: Store,
    settings: Settings,
    *,
    companies: Sequence[Company] | None = None,
    since: date | None = None,
    only: Sequence[str] = (),
    now: datetime | None = None,
) -> RefreshPlan:
    """What ``refresh`` with the same arguments would ask for. Sends and changes nothing.

    UsageError for a step there is not, or a ``since`` after today.
    """
    now = now or SystemClock().now()
    steps, since = _checked(store, only, since or settings.prices_from, now)
    companies = store.companies() if companies is None else companies
    calendar = store.calendar()
    evening = last_session(calendar, now)
    start = since if "gaps" in steps else max(since, evening)
    prices = plan_prices(store, companies, start, now=now, settings=settings, calendar=calendar)
    left = settings.newsapi_requests_per_day - store.requests.count(
        NEWSAPI.key, since=now - timedelta(hours=24)
    )
    key = settings.newsapi_key is not None
    last = sum(job.day >= evening and job.company is None for job in prices.jobs)
    possible = {
        "calendar": len(wanted_years(store, since, now=now)),
        "prices": last,
        "ex-rights": sum(map(len, wanted_months(store, since, evening).values())),
        "gaps": len(prices.jobs) - last,
        "news": min(news_due(store, companies, now), max(0, left)) if key else 0,
    }
    requests = {step: number for step, number in possible.items() if step in steps}
    # The two exchanges are asked in turn for prices, so one waits while the other answers.
    waits = sum(number for step, number in requests.items() if step not in ("prices", "gaps"))
    seconds = waits * settings.request_interval + _last_time(store, steps)
    if {"prices", "gaps"} & requests.keys():
        seconds += prices.seconds
    return RefreshPlan(evening, since, prices, requests, seconds)


def refresh(
    store: Store,
    settings: Settings,
    *,
    companies: Sequence[Company] | None = None,
    since: date | None = None,
    only: Sequence[str] = (),
    clock: Clock | None = None,
    announce: Callable[[RefreshPlan], None] = lambda _plan: None,
    progress: Progress = lambda _step, _done, _total: None,
    said: Callable[[StepRow], None] = lambda _step: None,
) -> Report:
    """Walk the steps, all or those named in ``only``, for ``companies`` (those the store knows).

    ``announce`` hears the plan before anything is sent, ``said`` each step when it has ended. A step
    that fails stops no other; what it left undone the next refresh finds missing. Doing it twice of
    an evening asks for nothing that has come in, and forecasts nothing anew.

    Ctrl-C stops it between two writes: the step is recorded as stopped and the interrupt goes on.

    :raises UsageError: a step there is not, or a ``since`` after today.
    :raises Busy: another refresh of this home is at it.
    :raises StoreError: the store cannot be written, or holds simulated prices.
    """
    clock = clock or SystemClock()
    steps, since = _checked(store, only, since or settings.prices_from, clock.now())
    companies = store.companies() if companies is None else companies
    with hold(store.home.refresh_lock, "stockllm refresh"):
        dead = store.refreshes.bury()
        for row in dead:
            _log.warning("the refresh of %s by process %d died on the way", row.started, row.pid)
        plan = plan_refresh(store, settings, companies=companies, since=since, only=steps, now=clock.now())
        announce(plan)
        id = store.refreshes.begin(plan.evening, clock.now(), os.getpid())
        outcome: RefreshOutcome = "stopped"
        try:
            with Web(store.requests, settings, clock) as web:
                for step in steps:
                    night = Night(
                        store, web, settings, companies, since,
                        lambda done, total, step=step: progress(step, done, total),  # type: ignore[misc]
                    )  # fmt: skip
                    _walk(night, id, step)
                    said(store.refreshes.list(limit=1)[0].steps[-1])
            store.requests.prune(before=clock.now() - LOG_KEPT)
            ended = {step.outcome for step in store.refreshes.list(limit=1)[0].steps}
            outcome = "ok" if ended <= {"ok", "skipped"} else "partial"
        finally:
            store.refreshes.end(id, outcome, clock.now())
        return Report(store.refreshes.list(limit=1)[0], len(dead))


def complete(row: RefreshRow) -> bool:
    """Whether a refresh did its evening's work: all steps walked, and all prices in."""
    ended = {step.step: step.outcome for step in row.steps}
    return (
        row.outcome in ("ok", "partial")
        and ended.keys() >= STEPS.keys()
        and all(ended[step] == "ok" for step in VITAL)
    )


def _walk(night: Night, id: int, step: str) -> None:
    """One step, recorded before and after."""
    refreshes = night.store.refreshes
    refreshes.start(id, step, night.now)
    before = _requests(night.store)
    done = Done("stopped", "被中斷。", "Stopped on the way.")
    try:
        done = STEPS[step](night)
    except StockllmError as error:
        done = Done("failed", str(error), str(error))
    except Exception as error:  # our own mistake must not cost the other steps
        _log.exception("the step %s failed", step)
        cause = f"{type(error).__name__}: {error}"
        done = Done("failed", f"程式錯誤（{cause}）。", f"An unexpected error stopped it ({cause}).")
    finally:
        counts = done.counts | {"requests": _requests(night.store) - before}
        refreshes.finish(
            id, step, done.outcome, night.now, counts=counts, zh=done.zh, en=done.en, notes=done.notes
        )
        _log.info("%s %s: %s", step, done.outcome, done.en)
        for _, note in done.notes:
            _log.info("%s: %s", step, note)


def _requests(store: Store) -> int:
    """The number of the last request; nobody else sends any meanwhile."""
    return max((row.id for row in store.requests.log(limit=1)), default=0)


def _checked(store: Store, only: Sequence[str], since: date, now: datetime) -> tuple[tuple[str, ...], date]:
    unknown = [step for step in only if step not in STEPS]
    if unknown:
        raise UsageError(
            f"There is no step {', '.join(unknown)}: choose among {', '.join(STEPS)}.",
            zh=f"沒有 {', '.join(unknown)} 這個步驟：請從 {', '.join(STEPS)} 中選擇。",
        )
    today = taipei(now).date()
    if since > today:
        raise UsageError(
            f"A refresh sees to days up to today, {today}, and not from {since} on.",
            zh=f"更新處理到今天 {today} 為止，不能從 {since} 開始。",
        )
    steps = tuple(step for step in STEPS if not only or step in only)
    if set(COLLECTING).intersection(steps):
        store.expect_simulated(False)
    return steps, since


def _last_time(store: Store, steps: Sequence[str]) -> float:
    """Seconds that the steps which ask nobody took when they last ran to their end."""
    took: dict[str, float] = {}
    for row in store.refreshes.list(limit=30):
        for step in row.steps:
            if step.step in steps and step.step not in COLLECTING and step.seconds is not None:
                took.setdefault(step.step, step.seconds)
    return sum(took.values())
