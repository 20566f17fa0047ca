"""Who may be forecast, and why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from stockllm.data.absences import Absence, Absences, Spell, spells
from stockllm.data.records import Bar, QuarantinedRow
from stockllm.data.store import Store
from stockllm.data.stores.collected import Collected
from stockllm.forecaster.encoding.limits import LOOK_BACK
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import COMPANIES, Company
from stockllm.nightly.fitness import HORIZON, READ, Unfit, fit

NOW = datetime(2025, 4, 9, 10, 30, tzinfo=UTC)  # 18:30 in Taipei
DAYS = list(default_calendar().sessions(date(2024, 12, 2), date(2025, 4, 9)))
TSMC = next(c for c in COMPANIES if c.code == "2330")
LATE = Collected("day", "TWSE", "", "complete", "twse", NOW)


def have(store: Store, *absent: date, code: str = "2330") -> None:
    store.bars.put(Bar(code, day, 1000, 1000, 1000, 1000, 1000, "x") for day in DAYS if day not in absent)


def only(store: Store, company: Company = TSMC) -> Unfit | None:
    ready, unfit = fit(store, [company], NOW)
    assert len(ready) + len(unfit) == 1
    return unfit[0] if unfit else None


def refused(store: Store, day: date, reason: str) -> None:
    store.bars.quarantine([QuarantinedRow("x", 1, "2330", day, reason, "raw")])


def test_what_is_read_and_forecast_is_what_the_forecaster_says() -> None:
    assert LOOK_BACK["compact"] == READ
    assert HORIZON == 5


def test_whole_data_are_fit(store: Store) -> None:
    have(store)
    assert only(store) is None


def test_a_missing_last_day(store: Store) -> None:
    have(store, DAYS[-1])
    unfit = only(store)
    assert unfit is not None
    assert unfit.lacking
    assert unfit.note == (
        "2330 台積電：缺 2025-04-09 共 1 個交易日：尚未向交易所取得",
        "2330 TSMC: 1 trading day missing, 2025-04-09: not asked for yet",
    )


def test_a_hole_among_the_days_that_are_read_and_one_before_them(store: Store) -> None:
    have(store, DAYS[-READ - 2])
    assert only(store) is None
    store.bars.put([Bar("2317", day, 1000, 1000, 1000, 1000, 1000, "x") for day in DAYS if day != DAYS[-30]])
    unfit = only(store, next(c for c in COMPANIES if c.code == "2317"))
    assert unfit is not None
    assert str(DAYS[-30]) in unfit.en


@pytest.mark.parametrize("reason", ["no_trade", "zero_price"])
def test_a_day_nobody_traded_is_no_hole(store: Store, reason: str) -> None:
    have(store, DAYS[-1], DAYS[-9])
    refused(store, DAYS[-1], reason)
    store.collected.put(replace(LATE, period=DAYS[-9].isoformat()))
    assert only(store) is None


def test_a_refused_last_row_leaves_nothing_to_start_from(store: Store) -> None:
    have(store, DAYS[-1])
    refused(store, DAYS[-1], "jump_100x")
    unfit = only(store)
    assert unfit is not None
    assert unfit.en.endswith("its row could not be right and is in quarantine (jump_100x)")


def test_a_refused_row_inside_is_settled(store: Store) -> None:
    have(store, DAYS[-5])
    refused(store, DAYS[-5], "close_outside_range")
    assert only(store) is None


def test_the_exchange_has_nothing_yet(store: Store) -> None:
    have(store, DAYS[-1])
    store.collected.put(replace(LATE, period=DAYS[-1].isoformat(), state="no_data"))
    unfit = only(store)
    assert unfit is not None
    assert "has nothing for it yet" in unfit.en


def test_a_share_nobody_trades_is_left_out_when_its_forecast_has_run_out(store: Store) -> None:
    store.collected.put(Collected("month", "2330", "2025-04", "complete", "x", NOW, through=date(2025, 4, 9)))
    april = [day for day in DAYS if day.month == 4]
    have(store, *april[1:])
    assert len(april) == HORIZON  # 1, 2, 7, 8 and 9 April
    assert only(store) is None, "one day of its forecast is still to come"
    ready, unfit = fit(store, [TSMC], datetime(2025, 4, 10, 10, 30, tzinfo=UTC))
    assert ready == []
    assert unfit[0].lacking, "10 April itself was never asked for"
    store.collected.put(
        Collected("month", "2330", "2025-04", "complete", "x", NOW, through=date(2025, 4, 10))
    )
    _, unfit = fit(store, [TSMC], datetime(2025, 4, 10, 10, 30, tzinfo=UTC))
    assert (unfit[0].lacking, unfit[0].en) == (False, "nobody has traded it since 2025-04-01")


def test_a_company_without_any_price(store: Store) -> None:
    unfit = only(store)
    assert unfit is not None
    assert (unfit.lacking, unfit.en) == (True, "it has no prices")


def test_bars_of_days_not_yet_published_count_for_nothing(store: Store) -> None:
    have(store, DAYS[-1])
    store.bars.put([Bar("2330", date(2025, 4, 10), 1000, 1000, 1000, 1000, 1000, "x")])
    assert only(store) is not None


def test_a_failure_is_told_with_its_sentence(store: Store) -> None:
    have(store, DAYS[-1])
    day = DAYS[-1]
    for what in (f"the list of TWSE of {day}", "2330 in 2025-04"):
        place = store.requests.reserve("twse", what, now=NOW, interval=NOW - NOW)
        store.requests.finish(place.id, "outage", f"No {what}.")  # type: ignore[union-attr]
    (absence,) = Absences(store).of(TSMC, [day])
    assert absence == Absence(day, "failed", "No the list of TWSE of 2025-04-09.")


def test_spells_put_days_together() -> None:
    a, b, c, d = DAYS[:4]
    found = spells([Absence(a, "not_asked"), Absence(b, "not_asked"), Absence(d, "failed", "x")])
    assert found == (Spell(a, b, 2, "not_asked", ""), Spell(d, d, 1, "failed", "x"))
    assert c not in {spell.last for spell in found}
