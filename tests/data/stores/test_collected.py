"""What has been collected, and what it makes of the calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.data.stores.collected import Collected
from stockllm.market.calendar import default_calendar

AT = datetime(2025, 4, 8, 10, 30, tzinfo=UTC)
DAY = date(2025, 4, 8)


def day(market: str, state: str, on: date = DAY) -> Collected:
    return Collected("day", market, on.isoformat(), state, "x", AT)  # type: ignore[arg-type]


def test_entries_are_kept_under_their_key(store: Store) -> None:
    entry = Collected("month", "2330", "2025-03", "complete", "x", AT, date(2025, 3, 31), 20, 19, 1, 0)
    store.collected.put(entry)
    assert store.collected.get("month", "2330", "2025-03") == entry
    assert store.collected.get("month", "2330", "2025-04") is None
    store.collected.put(replace(entry, kept=20, refused=0))
    assert [one.kept for one in store.collected.all("month", "2330")] == [20]
    assert store.collected.all("day") == []


def test_one_exchange_alone_closes_nothing(store: Store) -> None:
    store.collected.put(day("TWSE", "no_data"))
    store.collected.put(day("TPEx", "complete"))
    assert store.collected.closed_days() == frozenset()
    store.collected.put(day("TPEx", "no_data"))
    assert store.collected.closed_days() == {DAY}
    assert not store.calendar().is_session(DAY)
    assert store.calendar(until=DAY - timedelta(days=1)).is_session(DAY)  # nobody could know it then
    assert list(store.collected.days("TWSE")) == [DAY]


def test_trades_outweigh_silence(store: Store) -> None:
    for market in ("TWSE", "TPEx"):
        store.collected.put(day(market, "no_data"))
    store.bars.put(Bar(str(1101 + n), DAY, 10, 10, 10, 10, 1, "x") for n in range(10))
    assert store.calendar().is_session(DAY)


def test_a_schedule_replaces_its_year(store: Store) -> None:
    entry = Collected("schedule", "", "2025", "complete", "twse", AT)
    store.collected.set_schedule(2025, {DAY: (False, "x"), date(2025, 4, 9): (None, "?")}, entry)
    assert store.collected.schedule() == {DAY: (False, "x"), date(2025, 4, 9): (None, "?")}
    assert not store.calendar().is_session(DAY)
    store.collected.set_schedule(2025, {}, entry)
    assert store.collected.schedule() == {}
    calendar = store.collected.correct(default_calendar())
    assert calendar.is_session(DAY)
    # A year whose schedule names nothing has no holidays; another year keeps its rules.
    assert calendar.is_session(date(2025, 5, 1))
    assert not calendar.is_session(date(2026, 5, 1))


def test_a_store_without_collectors_has_the_rules(store: Store) -> None:
    assert store.collected.correct(default_calendar()) == default_calendar()


def test_the_bars_beside_a_day(store: Store) -> None:
    days = [DAY + timedelta(days=n) for n in (-7, -1, 0, 3)]
    store.bars.put(Bar("1101", d, 10 + i, 20 + i, 10, 15, 1, "x") for i, d in enumerate(days))
    store.bars.put([Bar("1102", days[3], 10, 20, 10, 15, 1, "x")])
    before, after = store.bars.beside(DAY, ["1101", "1102", "1103"])
    assert before == {"1101": (11, 21, 10, 15)}
    assert after == {"1101": (13, 23, 10, 15), "1102": (10, 20, 10, 15)}


def test_a_rebased_bar_keeps_its_old_self_aside(store: Store) -> None:
    bar = Bar("1101", DAY, 10, 20, 10, 15, 1, "x", flags=("past_limit", "off_tick"))
    store.bars.put([bar])
    new = replace(bar, reference=12, flags=("off_tick",))
    assert store.bars.rebase([new]) == 1
    assert store.bars.rebase([new]) == 0
    assert store.bars.rebase([replace(new, code="1102")]) == 0
    assert store.bars.bars("1101") == [new]
    with store._database.read() as connection:
        kept = connection.exec_driver_sql("SELECT reference, flags FROM bar_revisions").all()
    assert kept == [(None, 3)]
