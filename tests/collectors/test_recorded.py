"""What recorded answers of the sites showed: each way in which one of them misled a client."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from standin import FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.exrights import collect_exrights, missing_months
from stockllm.collectors.failures import Blocked, Outage, Refused, Unreadable
from stockllm.collectors.http import TWSE, Door, Web
from stockllm.collectors.market_day import collect_day, fetch_day, fetch_latest
from stockllm.collectors.planner import plan_prices, run_plan
from stockllm.collectors.schedule import collect_schedule, fetch_schedule, wanted_years
from stockllm.collectors.stock_month import collect_month
from stockllm.data.health import health
from stockllm.data.records import Bar
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.market.companies import Company, is_ordinary_share

MARCH = date(2025, 3, 1)
DAY = date(2025, 3, 12)


def company(market: GeneratedMarket) -> Company:
    return market.of("TWSE")[0]


# Nothing, said once


def test_a_month_of_nothing_is_asked_for_again_and_health_tells(
    web: Web,
    real_store: Store,
    site: StandIn,
    market: GeneratedMarket,
    settings: Settings,
    clock: FakeClock,
) -> None:
    own = company(market)
    collect_day(web, real_store, "TWSE", date(2025, 3, 3))
    collect_day(web, real_store, "TWSE", date(2025, 4, 9))
    others = [day for day in market.sessions() if day.month == 3]
    real_store.bars.put(Bar("1101", day, 1000, 1000, 1000, 1000, 1000, "x") for day in others)
    end = date(2025, 3, 31)

    def jobs() -> list[date]:
        plan = plan_prices(real_store, [own], MARCH, end, now=clock.now(), settings=settings)
        return [job.day for job in plan.jobs]

    assert jobs() == [MARCH]
    site.order("false_no_data", route="STOCK_DAY")
    assert collect_month(web, real_store, own, MARCH).state == "no_data"
    assert jobs() == [MARCH], "one answer of nothing settles nothing"
    (state,) = (c for c in health(real_store, date(2025, 4, 10)).companies if c.code == own.code)
    assert {spell.why for spell in state.missing if spell.last <= end} == {"nothing"}
    clock.set(datetime(2025, 4, 10, 18, 30))
    assert collect_month(web, real_store, own, MARCH).state == "complete"
    assert jobs() == []
    (state,) = (c for c in health(real_store, date(2025, 4, 10)).companies if c.code == own.code)
    assert not [spell for spell in state.missing if spell.last <= end]


def test_a_month_of_nothing_is_believed_in_the_end(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings, clock: FakeClock
) -> None:
    own = company(market)
    for n in range(3):
        site.order("false_no_data", "false_no_data", route="STOCK_DAY")
        collect_month(web, real_store, own, MARCH)
        collect_month(web, real_store, own, MARCH)  # the same silence, heard twice
        plan = plan_prices(real_store, [own], MARCH, date(2025, 3, 31), now=clock.now(), settings=settings)
        assert len(plan.jobs) == (n < 2)
        clock.sleep(24 * 3600)


def test_a_month_of_ex_dates_is_asked_for_again_after_nothing(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, clock: FakeClock
) -> None:
    site.order("false_no_data", route="TWT49U")
    collect_exrights(web, real_store, MARCH, date(2025, 3, 31))
    lost = missing_months(real_store, "TWSE", date(2025, 1, 1), date(2025, 3, 31))
    assert lost == [date(2025, 1, 1)]
    clock.sleep(24 * 3600)
    collect_exrights(web, real_store, MARCH, date(2025, 3, 31))
    assert missing_months(real_store, "TWSE", date(2025, 1, 1), date(2025, 3, 31)) == []
    expected = market.ex_quotes("TWSE", MARCH, date(2025, 3, 31))
    assert [row.code for row in real_store.ex_rights.rows(MARCH) if row.market == "TWSE"] == [
        quote.code for quote in expected if quote.day <= date(2025, 3, 31)
    ]


def test_a_month_whose_table_has_no_rows_is_an_answer(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    site.market = GeneratedMarket(site.market.start, site.market.end, ex_rate=0)
    collect_exrights(web, real_store, MARCH, date(2025, 3, 31))
    assert missing_months(real_store, "TWSE", MARCH, date(2025, 3, 31)) == []


def test_an_old_day_is_not_settled_by_one_answer_of_nothing(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, settings: Settings, clock: FakeClock
) -> None:
    collect_day(web, real_store, "TPEx", DAY)
    site.order("false_no_data", route="MI_INDEX")
    assert collect_day(web, real_store, "TWSE", DAY).state == "no_data"
    assert real_store.calendar().is_session(DAY)

    def missing() -> bool:
        plan = plan_prices(real_store, market.companies, DAY, DAY, now=clock.now(), settings=settings)
        return any(job.day == DAY for job in plan.jobs)

    assert missing()
    clock.sleep(24 * 3600)
    plan = plan_prices(real_store, market.companies, DAY, DAY, now=clock.now(), settings=settings)
    run_plan(web, real_store, plan)
    assert not missing()
    assert {bar.date for c in market.of("TWSE") for bar in real_store.bars.bars(c.code)} == {DAY}


# The open data of TPEx


def test_the_open_data_that_stand_in_are_those_with_all_trades(
    web: Web, site: StandIn, market: GeneratedMarket
) -> None:
    fetch_latest(web, "TPEx", market.published("TPEx", web.clock.now())[-1])
    assert site.seen[-1].path.endswith("/tpex_mainboard_daily_close_quotes")


# The holiday schedule


@pytest.mark.parametrize(
    ("day", "name", "remark", "is_open"),
    [
        ("2022-01-26", "農曆春節前最後交易日", "1月27日起市場休市。", True),
        ("2022-01-27", "農曆春節前最後交易日", "1月27日市場無交易，僅辦理結算交割作業。", False),
        ("2022-01-28", "農曆春節前最後交易日", "1月27日及1月28日市場無交易，僅辦理結算交割作業。", False),
        ("2021-02-09", "農曆春節前最後交易日", "2月8日至9日市場無交易，僅辦理結算交割作業。", False),
        ("2023-01-17", "農曆春節前最後交易日", "1月18日及1月19日市場無交易，僅辦理結算交割作業。", True),
        ("2023-01-17", "農曆春節前最後交易日", "農曆春節前最後交易。<br>1月18日至1月19日市場無交易。", True),
    ],
)
def test_days_of_settlement_are_no_sessions(
    web: Web, site: StandIn, day: str, name: str, remark: str, is_open: bool
) -> None:
    body = json.dumps({"stat": "ok", "data": [[day, name, remark]]}).encode()
    site.answer = lambda *_: (200, body)  # type: ignore[method-assign]
    named = fetch_schedule(web, int(day[:4]))
    assert [found for found, _ in named.values()] == [is_open]


def test_a_past_year_without_a_schedule_is_remembered_and_opens_no_day(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    site.answer = lambda *_: (200, b'{"stat": "ok", "data": []}')  # type: ignore[method-assign]
    start = date(2024, 5, 1)
    for n in range(3):
        assert 2024 in wanted_years(real_store, start, now=clock.now()), n
        collect_schedule(web, real_store, start)
        clock.sleep(24 * 3600)
    assert 2024 not in wanted_years(real_store, start, now=clock.now())
    assert not real_store.calendar().is_session(date(2024, 2, 28))


# Refusals that are none, and bans that do not say so


def test_what_a_site_will_never_answer_is_asked_once(web: Web, site: StandIn, real_store: Store) -> None:
    site.order("refused_words")
    with pytest.raises(Refused) as caught:
        fetch_day(web, "TWSE", DAY)
    assert "查詢日期大於今日" in str(caught.value)
    assert "查詢日期大於今日" in caught.value.zh
    assert len(site.seen) == 1
    (row,) = real_store.requests.log()
    assert row.outcome == "refused"


def test_an_address_that_moved_for_good_is_no_ban(web: Web, site: StandIn, real_store: Store) -> None:
    site.order(*["301"] * 3)
    with pytest.raises(Unreadable, match="addresses have changed"):
        fetch_day(web, "TWSE", DAY)
    assert web.barred(TWSE) is None
    fetch_day(web, "TWSE", DAY)


def test_broken_connections_in_a_row_are_a_ban(
    web: Web, site: StandIn, real_store: Store, clock: FakeClock
) -> None:
    site.order(*["reset"] * 20, route="/twse/")
    for _ in range(2):
        with pytest.raises((Outage, Blocked)):
            fetch_day(web, "TWSE", DAY)
    assert len(site.seen) == 6
    bar = web.barred(TWSE)
    assert bar is not None
    assert "6 connections in a row" in bar.why
    with pytest.raises(Blocked):
        fetch_day(web, "TWSE", DAY)
    assert len(site.seen) == 6, "left alone"
    assert {row.outcome for row in real_store.requests.log()} == {"outage"}
    fetch_day(web, "TPEx", DAY)


def test_an_answer_between_broken_connections_ends_the_count(web: Web, site: StandIn) -> None:
    for _ in range(4):
        site.order("reset", "reset")
        fetch_day(web, "TWSE", DAY)
    assert web.barred(TWSE) is None


def test_refused_connections_count_too(real_store: Store, settings: Settings, clock: FakeClock) -> None:
    nobody = settings.model_copy(update={"twse_url": "http://127.0.0.1:9", "request_retries": 0})

    def ask(door: Door) -> Any:
        return door.get("http://127.0.0.1:9/")

    with Web(real_store.requests, nobody, clock) as web:
        for _ in range(5):
            with pytest.raises(Outage):
                web.ask(TWSE, "something", ask)
        with pytest.raises(Blocked):
            web.ask(TWSE, "something", ask)
        clock.sleep(timedelta(hours=1).total_seconds())
        with pytest.raises(Outage):
            web.ask(TWSE, "something", ask)


@pytest.mark.parametrize("code", ["9103", "9105", "9110", "9136", "910322"])
def test_depositary_receipts_are_no_ordinary_shares(code: str) -> None:
    assert not is_ordinary_share(code)
    assert is_ordinary_share("9904")
