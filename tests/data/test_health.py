"""The health report."""

from __future__ import annotations

from datetime import date

from stockllm.data.health import health
from stockllm.data.records import Bar, QuarantinedRow
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar

SESSIONS = tuple(default_calendar().sessions(date(2025, 3, 3), date(2025, 3, 31)))


def bars(code: str, days: tuple[date, ...]) -> list[Bar]:
    return [Bar(code, day, 1000, 1000, 1000, 1000, 1000, "test") for day in days]


def test_an_empty_store(store: Store) -> None:
    report = health(store, date(2025, 4, 1))
    assert report.document() == {"bars": 0, "quarantined": 0, "reasons": {}, "history": [], "companies": []}


def test_gaps_are_days_on_which_others_traded(store: Store) -> None:
    store.bars.put(bars("2330", SESSIONS))
    # Two days missing, a third refused; days before the first and after the last are no gaps.
    store.bars.put(bars("2317", SESSIONS[2:5] + SESSIONS[7:8] + SESSIONS[9:15]))
    row = QuarantinedRow("f.csv", 9, "2317", SESSIONS[8], "zero_price", "0,0,0,0")
    store.bars.quarantine([row])
    tsmc, foxconn = sorted(health(store, date(2025, 4, 1)).companies, key=lambda c: -c.bars)
    assert (tsmc.code, tsmc.name, tsmc.gaps, tsmc.quarantined) == ("2330", "台積電", 0, 0)
    assert (foxconn.code, foxconn.gaps, foxconn.quarantined, foxconn.bars) == ("2317", 2, 1, 10)
    assert (foxconn.first, foxconn.last) == (SESSIONS[2], SESSIONS[14])


def test_a_company_alone_has_no_gaps(store: Store) -> None:
    store.bars.put(bars("2330", (SESSIONS[0], SESSIONS[9])))
    assert health(store, date(2025, 4, 1)).companies[0].gaps == 0


def test_days_without_volume_or_session_are_no_gaps(store: Store) -> None:
    store.bars.put(bars("2330", SESSIONS))
    silent = Bar("2317", SESSIONS[3], 1000, 1000, 1000, 1000, 0, "test")
    store.bars.put([*bars("2317", (SESSIONS[0], SESSIONS[6])), silent])
    by_code = {company.code: company for company in health(store, date(2025, 4, 1)).companies}
    assert by_code["2317"].gaps == 4
    (store.home.root / "calendar.toml").write_text(f"closed = [{SESSIONS[1]}]\n")
    assert health(store, date(2025, 4, 1)).companies[0].gaps == 3


def test_stale_days_count_sessions_that_are_over(store: Store) -> None:
    friday = date(2025, 3, 28)
    store.bars.put(bars("2330", (friday,)))
    stale = [health(store, date(2025, 3, day)).companies[0].stale_days for day in (28, 29, 30, 31)]
    assert stale == [0, 0, 0, 0]
    assert health(store, date(2025, 4, 1)).companies[0].stale_days == 1
    # 3 and 4 April are holidays.
    assert health(store, date(2025, 4, 8)).companies[0].stale_days == 4


def test_the_document(store: Store) -> None:
    store.bars.put(bars("2330", SESSIONS[:2]) + bars("1101", SESSIONS[:1]))
    store.bars.quarantine(
        [
            QuarantinedRow("f.csv", 2, "2317", None, "unreadable", "x"),
            QuarantinedRow("f.csv", 3, "2330", SESSIONS[2], "zero_price", "0"),
            QuarantinedRow("n.json", 1, "", None, "unreadable_article", "{}"),
        ]
    )
    document = health(store, SESSIONS[4]).document()
    assert document["bars"] == 3
    assert document["quarantined"] == 3
    assert document["reasons"] == {"unreadable": 1, "unreadable_article": 1, "zero_price": 1}
    assert document["companies"] == [
        {
            "code": "1101",
            "name": "1101",
            "first": "2025-03-03",
            "last": "2025-03-03",
            "bars": 1,
            "gaps": 0,
            "quarantined": 0,
            "stale_days": 3,
            "missing": [
                {"first": "2025-03-04", "last": "2025-03-06", "days": 3, "why": "not_asked", "detail": ""}
            ],
        },
        {
            "code": "2317",
            "name": "鴻海",
            "first": None,
            "last": None,
            "bars": 0,
            "gaps": 0,
            "quarantined": 1,
            "stale_days": 0,
            "missing": [],
        },
        {
            "code": "2330",
            "name": "台積電",
            "first": "2025-03-03",
            "last": "2025-03-04",
            "bars": 2,
            "gaps": 0,
            "quarantined": 1,
            "stale_days": 2,  # on the first of them nobody traded it
            "missing": [
                {"first": "2025-03-06", "last": "2025-03-06", "days": 1, "why": "not_asked", "detail": ""}
            ],
        },
    ]
