"""An import that changed prices says so, keeps the older ones in sight, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from stockllm.collectors.imports import import_path
from stockllm.data.errors import StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar

DAYS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 3, 14)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def prices(folder: Path, name: str, price: float, days: tuple[date, ...] = DAYS) -> Path:
    path = folder / name
    rows = [f"{day},1000,{price},{price},{price},{price}" for day in days]
    path.write_text("\n".join(["date,capacity,open,high,low,close", *rows, ""]))
    return path


def closes(store: Store) -> list[int]:
    return [bar.close for bar in store.bars.bars("2330")]


def test_a_wrong_import_is_told_shown_and_undone(store: Store, tmp_path: Path) -> None:
    (right,) = import_path(store, prices(tmp_path, "2330.csv", 100, DAYS[:8]))
    assert (right.accepted, right.revised) == (8, 0)
    before = store.bars.bars("2330")
    (wrong,) = import_path(store, prices(tmp_path, "2330_new.csv", 105))
    assert (wrong.read, wrong.accepted, wrong.revised, wrong.unchanged) == (10, 2, 8, 0)
    assert closes(store) == [10500] * 10
    assert [each.bar for each in store.bars.revisions("2330")] == before
    last = store.arrivals.list()[0]
    row, counts = store.arrivals.undo(last.id, store.bars)
    assert (row.kind, counts.new, counts.revised) == ("prices", 2, 8)
    assert store.bars.bars("2330") == before
    # What was taken back stays in sight.
    assert {each.bar.close for each in store.bars.revisions("2330")} == {10500}
    (again,) = import_path(store, prices(tmp_path, "2330.csv", 100, DAYS[:8]))
    assert (again.unchanged, again.revised) == (8, 0)


def test_the_later_import_is_undone_first(store: Store, tmp_path: Path) -> None:
    for price in (100, 105, 110):
        import_path(store, prices(tmp_path, "2330.csv", price))
    third, second, first = (row.id for row in store.arrivals.list())
    with pytest.raises(UsageError, match="10 of its bars were replaced later"):
        store.arrivals.undo(second, store.bars)
    assert closes(store) == [11000] * 10
    for id, left in ((third, [10500] * 10), (second, [10000] * 10), (first, [])):
        store.arrivals.undo(id, store.bars)
        assert closes(store) == left
    with pytest.raises(StoreError, match=f"no import {first}"):
        store.arrivals.undo(first, store.bars)


def test_a_day_that_a_file_names_twice(store: Store, tmp_path: Path) -> None:
    import_path(store, prices(tmp_path, "2330.csv", 100))
    import_path(store, prices(tmp_path, "2330.csv", 105, (*DAYS, *DAYS)))
    store.arrivals.undo(store.arrivals.list()[0].id, store.bars)
    assert closes(store) == [10000] * 10
    assert store.bars.quarantined("2330") == []


def test_an_import_that_brings_nothing_is_none_to_undo(store: Store, tmp_path: Path) -> None:
    path = prices(tmp_path, "2330.csv", 100)
    import_path(store, path)
    import_path(store, path)
    assert len(store.arrivals.list()) == 1
