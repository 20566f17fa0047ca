"""What the store counts of all companies at once agrees with what it says of each."""

from __future__ import annotations

from datetime import date, timedelta

from stockllm.data.records import Bar, QuarantinedRow
from stockllm.data.store import Store
from stockllm.data.stores.survey import Extent, Latest

DAY = date(2025, 3, 3)


def bar(code: str, day: int, close: int = 1000, reference: int | None = None) -> Bar:
    return Bar(
        code, DAY + timedelta(day), close, close, close, close, 1000, "test", 5_000_000, reference=reference
    )


def test_extents_last_bars_and_missing_days(store: Store) -> None:
    store.bars.put([bar("2330", 0), bar("2330", 1), bar("2330", 4, 1100, 1050), bar("2317", 2)])
    days = [DAY + timedelta(n) for n in range(6)]
    assert store.survey.extents(days[1:]) == {
        "2330": Extent(days[0], days[4], 3, 2),
        "2317": Extent(days[2], days[2], 1, 1),
    }
    assert store.survey.latest() == {
        "2330": Latest(days[4], 1100, 1050, days[1], 1000),
        "2317": Latest(days[2], 1000, None, None, None),
    }
    assert store.survey.missing("2330", days) == [days[2], days[3], days[5]]
    assert store.survey.missing("1101", days[:2]) == days[:2]


def test_an_empty_store_has_none_of_it(store: Store) -> None:
    assert store.survey.extents([DAY]) == store.survey.latest() == {}
    assert store.survey.refusals() == store.survey.newest_quarantined(5) == []


def test_refused_rows_without_their_text_and_the_newest_first(store: Store) -> None:
    rows = [
        QuarantinedRow("a.csv", 1, "2317", DAY, "zero_price", "one"),
        QuarantinedRow("a.csv", 2, "2330", None, "no_date", "two"),
        QuarantinedRow("a.csv", 3, "2330", DAY + timedelta(1), "zero_price", "three"),
        QuarantinedRow("a.csv", 4, "2330", DAY, "not_ordered", "four"),
    ]
    store.bars.quarantine(rows)
    assert store.survey.refusals() == [(row.code, row.date, row.reason) for row in rows]
    assert store.survey.newest_quarantined(9) == [rows[2], rows[3], rows[0], rows[1]]
    assert store.survey.newest_quarantined(2) == [rows[2], rows[3]]


def test_reading_all_of_a_large_store_keeps_little_of_it_in_memory(store: Store) -> None:
    with store._database.read() as connection:
        reading = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    with store._database.write() as connection:
        writing = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA cache_size").scalar_one() == reading
    assert -16_384 <= reading < 0
    assert writing <= -262_144
