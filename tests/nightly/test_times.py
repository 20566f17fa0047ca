"""When a refresh is due, and whether one was missed."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin.clock import TAIPEI

from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.nightly.steps import STEPS
from stockllm.nightly.times import last_due, missed, next_due

CALENDAR = default_calendar()
AT = time(18, 30)


def at(*figures: int) -> datetime:
    return datetime(*figures, tzinfo=TAIPEI)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "last", "next_"),
    [
        (at(2025, 4, 2, 18, 29), at(2025, 4, 1, 18, 30), at(2025, 4, 2, 18, 30)),
        (at(2025, 4, 2, 18, 30), at(2025, 4, 2, 18, 30), at(2025, 4, 7, 18, 30)),  # holidays and a weekend
        (at(2025, 4, 6, 12, 0), at(2025, 4, 2, 18, 30), at(2025, 4, 7, 18, 30)),
    ],
)
def test_due_moments(now: datetime, last: datetime, next_: datetime) -> None:
    assert last_due(CALENDAR, AT, now) == last
    assert next_due(CALENDAR, AT, now) == next_


@given(st.datetimes(datetime(2016, 1, 1), datetime(2030, 6, 1), timezones=st.just(TAIPEI)))
def test_nothing_is_due_between_the_last_and_the_next(now: datetime) -> None:
    last, following = last_due(CALENDAR, AT, now), next_due(CALENDAR, AT, now)
    assert last <= now < following
    days = [last.date() + timedelta(days=n) for n in range((following.date() - last.date()).days + 1)]
    assert [CALENDAR.is_session(day) for day in days] == [True, *[False] * (len(days) - 2), True]
    assert next_due(CALENDAR, AT, last) == following


def record(store: Store, started: datetime, outcome: str = "ok", **other: str) -> None:
    id = store.refreshes.begin(date(2025, 4, 8), started, 1)
    for step in STEPS:
        if other.get(step) != "":
            store.refreshes.start(id, step, started)
            store.refreshes.finish(id, step, other.get(step, "ok"), started, counts={}, zh="", en="")  # type: ignore[arg-type]
    store.refreshes.end(id, outcome, started)  # type: ignore[arg-type]


def test_a_missed_refresh(store: Store) -> None:
    due, now = at(2025, 4, 8, 18, 30), at(2025, 4, 9, 8, 0)
    assert missed(store, AT, now) == due
    record(store, due - timedelta(minutes=1))  # before it was due
    record(store, due, "stopped")
    record(store, due, "died")
    record(store, due, "partial", gaps="partial")  # prices are missing still
    record(store, due, "partial", signals="")  # some steps alone
    assert missed(store, AT, now) == due
    record(store, due + timedelta(hours=9), "partial", news="partial", forecasts="failed")
    assert missed(store, AT, now) is None
    assert missed(store, AT, at(2025, 4, 9, 18, 30)) == at(2025, 4, 9, 18, 30)


def test_steps_come_back_as_they_were_written(store: Store) -> None:
    started = at(2025, 4, 8, 18, 30)
    id = store.refreshes.begin(date(2025, 4, 8), started, 7)
    for number, step in enumerate(reversed(STEPS)):
        store.refreshes.start(id, step, started)
        store.refreshes.finish(
            id, step, "ok", started + timedelta(seconds=number), counts={"n": number}, zh="一", en="one",
            notes=[("二", "two")],
        )  # fmt: skip
    (row,) = store.refreshes.list()
    assert (row.pid, row.evening, row.outcome, row.ended) == (7, date(2025, 4, 8), "running", None)
    assert [step.step for step in row.steps] == list(reversed(STEPS)), "in the order they were started"
    assert [step.seconds for step in row.steps] == list(range(len(STEPS)))
    assert all(one.step != other.step for one, other in pairwise(row.steps))
    assert (row.steps[3].counts, row.steps[3].zh, row.steps[3].notes) == ({"n": 3}, "一", (("二", "two"),))
