"""The refresh: its record, that doing it twice is doing it once, and that one step's fault is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from standin import FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.http import NEWSAPI
from stockllm.data.errors import StoreError, UsageError
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.nightly import steps
from stockllm.nightly.lock import Busy, hold
from stockllm.nightly.refresh import LOG_KEPT, Report, complete, plan_refresh
from stockllm.nightly.steps import STEPS

Night = Callable[..., Report]
PRICES = ("day", "month", "open")


def outcomes(report: Report) -> dict[str, str]:
    return {step.step: step.outcome for step in report.row.steps}


def sentence(report: Report, step: str) -> str:
    return next(row.en for row in report.row.steps if row.step == step)


#: Nobody asked to be traded for.
ALL_OK = dict.fromkeys(STEPS, "ok") | {"trade": "skipped"}


def test_the_first_refresh_brings_everything(night: Night, store: Store, market: GeneratedMarket) -> None:
    report = night()
    assert list(outcomes(report)) == list(STEPS)
    assert outcomes(report) == ALL_OK
    assert (report.row.outcome, report.row.evening, report.repaired) == ("ok", date(2025, 4, 8), 0)
    assert report.row.pid == os.getpid()
    assert complete(report.row)
    counts = {step.step: step.counts for step in report.row.steps}
    assert sum(count["requests"] for count in counts.values()) == len(store.requests.log(limit=1000))
    assert counts["gaps"]["accepted"] == store.bars.count() - counts["prices"]["accepted"]
    assert counts["forecasts"] == {"forecast": 4, "new": 4, "left_out": 0, "requests": 0}
    assert {row.model for row in store.ledger.list()} == {"ewma"}
    assert {signal.code for signal in store.signals.latest()} == {c.code for c in market.companies}
    assert store.refreshes.list() == [report.row]
    json.dumps(report.document(), allow_nan=False)


def test_a_second_refresh_of_the_evening_asks_for_nothing(night: Night, site: StandIn, store: Store) -> None:
    night()
    seen, before = len(site.seen), store.ledger.list()
    report = night()
    assert len(site.seen) == seen
    assert store.ledger.list() == before
    assert outcomes(report) == ALL_OK
    assert "Nothing is missing" in sentence(report, "gaps")


def test_an_ordinary_night_costs_two_requests_for_prices(
    night: Night, site: StandIn, clock: FakeClock, store: Store
) -> None:
    night()
    seen = len(site.seen)
    clock.set(datetime(2025, 4, 9, 18, 30))
    report = night()
    kinds = [one.kind for one in site.seen[seen:]]
    assert sum(kind in PRICES for kind in kinds) == 2
    assert kinds.count("ex") == 2
    assert kinds.count("news") == 8
    assert len(kinds) == 12
    scored = next(step for step in report.row.steps if step.step == "scores")
    assert scored.counts["days"] > 0


def test_a_typhoon_day_closes_and_is_asked_about_once_more(
    night: Night, site: StandIn, clock: FakeClock, store: Store
) -> None:
    clock.set(datetime(2025, 4, 9, 18, 30))
    night()
    clock.set(datetime(2025, 4, 10, 18, 30))
    seen = len(site.seen)
    report = night()
    assert sum(one.kind in PRICES for one in site.seen[seen:]) == 2
    assert outcomes(report) == ALL_OK
    assert not store.calendar().is_session(date(2025, 4, 10))
    assert {row.as_of for row in store.ledger.list(limit=4)} == {date(2025, 4, 9)}
    clock.set(datetime(2025, 4, 11, 18, 30))
    seen = len(site.seen)
    night()
    assert sum(one.kind in PRICES for one in site.seen[seen:]) == 4


def test_a_site_that_is_down_stops_no_other_step(
    night: Night, site: StandIn, clock: FakeClock, store: Store
) -> None:
    night()
    clock.set(datetime(2025, 4, 9, 18, 30))
    site.order(*["500"] * 20, route="/twse")
    report = night()
    assert outcomes(report) == {
        "calendar": "ok",
        "prices": "partial",
        "ex-rights": "partial",
        "gaps": "failed",
        "news": "ok",
        "forecasts": "partial",
        "scores": "ok",
        "signals": "partial",
        "trade": "skipped",
    }
    assert report.row.outcome == "partial"
    assert not complete(report.row)
    forecasts = next(step for step in report.row.steps if step.step == "forecasts")
    assert forecasts.counts["left_out"] == 2
    for (zh, en), name in zip(forecasts.notes, ("Foxconn", "TSMC"), strict=True):
        assert name in en
        assert "1 trading day missing, 2025-04-09: the exchange gave no answer to keep (" in en
        assert "HTTP 500" in en
        assert "缺 2025-04-09" in zh
    assert {row.code for row in store.ledger.list() if row.as_of == date(2025, 4, 9)} == {"3088", "8234"}
    assert all(s.as_of == date(2025, 4, 8) for s in store.signals.latest("2330"))
    site._orders.clear()
    clock.set(datetime(2025, 4, 9, 20, 30))
    assert complete(night().row)
    assert {row.code for row in store.ledger.list() if row.as_of == date(2025, 4, 9)} >= {"2330", "2317"}


def test_without_a_key_news_are_skipped_in_one_line(night: Night, settings: Settings) -> None:
    report = night(settings=settings.model_copy(update={"newsapi_key": None}))
    assert outcomes(report)["news"] == "skipped"
    assert "newsapi.org" in sentence(report, "news")
    assert report.ok


def test_news_end_with_the_day_s_requests(
    night: Night, settings: Settings, site: StandIn, clock: FakeClock
) -> None:
    report = night(settings=settings.model_copy(update={"newsapi_requests_per_day": 5}), only=["news"])
    assert outcomes(report) == {"news": "partial"}
    assert site.count(kind="news") == 5
    (step,) = report.row.steps
    assert (step.counts["served"], step.counts["left"]) == (5, 3)
    assert "from 2025-04-09 18:30" in step.notes[0][1]
    served = [one.asked["q"] for one in site.seen]
    clock.set(datetime(2025, 4, 9, 18, 31))
    night(only=["news"])
    assert site.count(kind="news") == 13
    assert [one.asked["q"] for one in site.seen[5:8]] != served[:3], "the unserved come first"


def test_news_wait_a_little_for_the_requests_of_yesterday(
    night: Night, settings: Settings, site: StandIn, clock: FakeClock
) -> None:
    nine = settings.model_copy(update={"newsapi_requests_per_day": 9})
    clock.set(datetime(2025, 4, 8, 18, 50))
    assert night(settings=nine, only=["news"]).ok
    clock.set(datetime(2025, 4, 9, 18, 30))
    heard: list[tuple[int, int]] = []
    report = night(
        settings=nine, only=["news"], progress=lambda _step, done, total: heard.append((done, total))
    )
    (step,) = report.row.steps
    assert (step.outcome, step.counts["served"], step.counts["left"]) == ("ok", 8, 0)
    assert step.seconds == pytest.approx(20 * 60 + 7 * 3, abs=5)
    assert sorted(heard) == heard
    assert heard[-1] == (8, 8)
    days = [one.at for one in site.seen]
    assert all(sum(at - timedelta(hours=24) < other <= at for other in days) <= 9 for at in days)


def test_our_own_mistake_costs_one_step(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_night: steps.Night) -> steps.Done:
        raise ZeroDivisionError("by nobody")

    monkeypatch.setitem(STEPS, "ex-rights", broken)
    report = night()
    assert outcomes(report)["ex-rights"] == "failed"
    assert "ZeroDivisionError: by nobody" in sentence(report, "ex-rights")
    assert outcomes(report)["signals"] == "ok"
    assert report.row.outcome == "partial"


def test_ctrl_c_is_recorded_and_the_next_refresh_goes_on(
    night: Night, store: Store, monkeypatch: pytest.MonkeyPatch, site: StandIn
) -> None:
    def pressed(step: str, done: int, total: int) -> None:
        if step == "gaps" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        night(progress=pressed)
    (row,) = store.refreshes.list()
    assert (row.outcome, row.steps[-1].step, row.steps[-1].outcome) == ("stopped", "gaps", "stopped")
    assert row.steps[-1].ended is not None
    months = site.count(kind="month")
    assert months == 5
    assert complete(night().row)
    assert site.count(kind="month") == 16, "what had come in was asked for again"


def test_the_dead_are_buried(night: Night, store: Store, clock: FakeClock) -> None:
    id = store.refreshes.begin(date(2025, 4, 7), clock.now() - timedelta(days=1), 12345)
    store.refreshes.start(id, "calendar", clock.now())
    report = night(only=["scores"])
    assert report.repaired == 1
    dead = store.refreshes.list()[1]
    assert (dead.outcome, dead.ended, dead.pid) == ("died", None, 12345)
    assert (dead.steps[0].outcome, dead.steps[0].ended, dead.steps[0].seconds) == ("died", None, None)
    assert night(only=["scores"]).repaired == 0


def test_some_steps_alone(night: Night, site: StandIn) -> None:
    report = night(only=["signals", "prices"])
    assert list(outcomes(report)) == ["prices", "signals"], "in the order of the house"
    assert {one.kind for one in site.seen} == {"day"}
    assert not complete(report.row)


def test_since(night: Night, store: Store) -> None:
    night(since=date(2025, 3, 3), only=["gaps"])
    assert store.bars.days("2330")[0] == date(2025, 3, 3)
    night(since=date(2025, 2, 3), only=["gaps"])
    assert store.bars.days("2330")[0] == date(2025, 2, 3)


def test_what_cannot_be_asked(night: Night, store: Store) -> None:
    with pytest.raises(UsageError, match="no step dinner: choose among calendar, prices"):
        night(only=["prices", "dinner"])
    with pytest.raises(UsageError, match="2025-04-08"):
        night(since=date(2025, 4, 9))
    assert store.refreshes.list() == []


def test_a_simulated_store_is_left_alone(night: Night, store: Store, site: StandIn) -> None:
    store.set_simulated(True)
    with pytest.raises(StoreError, match="simulated"):
        night()
    assert site.seen == []
    assert outcomes(night(only=["scores"])) == {"scores": "ok"}


def test_a_second_refresh_at_the_same_time_is_refused(night: Night, store: Store, site: StandIn) -> None:
    with (
        hold(store.home.refresh_lock, "somebody"),
        pytest.raises(Busy, match=r"somebody \(process \d+, since"),
    ):
        night()
    assert (site.seen, store.refreshes.list()) == ([], [])
    night(only=["scores"])


def test_the_plan_says_what_the_refresh_does(
    night: Night, store: Store, settings: Settings, site: StandIn, clock: FakeClock
) -> None:
    given: dict[str, Any] = {"companies": site.market.companies, "now": clock.now()}
    plan = plan_refresh(store, settings, **given)
    assert (site.seen, store.refreshes.list()) == ([], [])
    report = night()
    did = {step.step: step.counts["requests"] for step in report.row.steps}
    assert {step: plan.requests[step] for step in ("calendar", "ex-rights", "news")} == {
        step: did[step] for step in ("calendar", "ex-rights", "news")
    }
    # A month of its own is cheaper than two days, so the last day of some is in the gaps' plan too.
    assert plan.requests["prices"] + plan.requests["gaps"] <= did["prices"] + did["gaps"] + 2
    assert plan.seconds == pytest.approx(sum(s.seconds or 0 for s in report.row.steps), rel=0.4)
    clock.set(datetime(2025, 4, 9, 18, 30))
    plan = plan_refresh(store, settings, **given | {"now": clock.now()})
    assert plan.requests == {"calendar": 0, "prices": 2, "ex-rights": 2, "gaps": 0, "news": 8}
    assert "prices 2" in plan.lines("en")[0]
    assert "股價 2" in plan.lines("zh")[0]
    assert plan_refresh(store, settings, **given, only=["news"]).requests == {"news": 0}
    json.dumps(plan.document(), allow_nan=False)


def test_old_requests_leave_the_log(night: Night, store: Store, clock: FakeClock) -> None:
    long_ago = clock.now() - LOG_KEPT - timedelta(days=1)
    for at in (long_ago, long_ago + timedelta(days=3)):
        store.requests.reserve(NEWSAPI.key, "x", now=at, interval=timedelta(0))
    night(only=["scores"])
    assert [row.at for row in store.requests.log()] == [long_ago + timedelta(days=3)]


def test_the_clock_decides_which_evening(night: Night, clock: FakeClock, site: StandIn) -> None:
    clock.set(datetime(2025, 4, 9, 16, 0))  # TWSE has published, TPEx not
    report = night(only=["prices"])
    assert report.row.evening == date(2025, 4, 8)
    assert report.row.started == datetime(2025, 4, 9, 8, 0, tzinfo=UTC)
    assert {one.asked["date"] for one in site.seen} == {"20250408", "20250409", "2025/04/08"}
