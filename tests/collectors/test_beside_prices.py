"""Institutions, margin, revenue, New York and futures: what is asked, what is read, what is not kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from standin import FakeClock, StandIn
from standin import world as pages
from standin.clock import TAIPEI

from stockllm.collectors.failures import (
    Blocked,
    NoData,
    Outage,
    Refused,
    SiteFailure,
    Unreadable,
    WrongAnswer,
)
from stockllm.collectors.figures import FiguresReport
from stockllm.collectors.futures import collect_futures, collect_latest, fetch_futures, next_session
from stockllm.collectors.http import Web
from stockllm.collectors.institutions import collect_flows, collect_flows_day, fetch_flows
from stockllm.collectors.margin import collect_margin, collect_margin_day, fetch_margin
from stockllm.collectors.market_day import EXCHANGES, Exchange
from stockllm.collectors.new_york import collect_world, fetch_world, last_closed
from stockllm.collectors.revenue import collect_revenue, fetch_revenue
from stockllm.data.settings import Settings
from stockllm.data.store import Store

DAY = date(2025, 4, 9)
START = date(2025, 4, 1)


@pytest.fixture
def once(real_store: Store, settings: Settings, clock: FakeClock) -> Iterator[Web]:
    """A way out that tries no second time."""
    with Web(real_store.requests, settings.model_copy(update={"request_retries": 0}), clock) as web:
        yield web


def serve(site: StandIn, body: Any, status: int = 200) -> None:
    site.answer = lambda *_: (status, body)  # type: ignore[method-assign]


def balanced(report: FiguresReport) -> bool:
    return report.accepted + report.unchanged + report.revised + report.quarantined == report.read


# Institutions


def test_what_the_sites_are_asked(web: Web, site: StandIn, clock: FakeClock) -> None:
    for exchange in EXCHANGES:
        fetch_flows(web, exchange, DAY)
        fetch_margin(web, exchange, date(2025, 4, 8))
        with pytest.raises(NoData):
            fetch_margin(web, exchange, DAY)  # it is half past six
        fetch_revenue(web, exchange)
    fetch_futures(web, START, DAY)
    fetch_world(web, "SOX", START)
    asked = {(seen.site, seen.kind): seen.asked for seen in reversed(site.seen)}
    assert asked["twse", "flows"] == {"date": "20250409", "selectType": "ALLBUT0999", "response": "json"}
    assert asked["tpex", "flows"] == {
        "type": "Daily", "sect": "EW", "date": "2025/04/09", "response": "json"
    }  # fmt: skip
    assert asked["twse", "margin"] == {"date": "20250408", "selectType": "ALL", "response": "json"}
    assert asked["tpex", "margin"] == {"date": "2025/04/08", "response": "json"}
    assert asked["taifex", "futures"] == {
        "down_type": "1", "commodity_id": "TX", "queryStartDate": "2025/04/01", "queryEndDate": "2025/04/09"
    }  # fmt: skip
    assert asked["yahoo", "world"]["symbol"] == "^SOX"
    (futures,) = [seen for seen in site.seen if seen.kind == "futures"]
    assert futures.headers["referer"].endswith("/cht/3/futDataDown")


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_purchase_is_kept_and_known_from_six_on(
    web: Web, real_store: Store, site: StandIn, exchange: Exchange
) -> None:
    report = collect_flows_day(web, real_store, exchange, DAY)
    codes = site.world.codes(exchange)
    assert (report.accepted, report.left_out, report.quarantined) == (len(codes), 1, 0)
    for code in codes:
        foreign, dealers, trust, dealer = site.world.flow(code, DAY)
        figures = real_store.flows.of(code)
        assert [figures[name][0] for name in real_store.flows.columns] == [foreign + dealers, trust, dealer]
        assert datetime.fromtimestamp(figures.known_at[0], TAIPEI) == datetime(2025, 4, 9, 18, tzinfo=TAIPEI)
    again = collect_flows_day(web, real_store, exchange, DAY)
    assert (again.accepted, again.unchanged) == (0, len(codes))


def test_a_corrected_list_is_known_from_its_arrival(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    collect_flows_day(web, real_store, "TPEx", DAY)
    site.world.seed = 99
    clock.set(datetime(2025, 4, 10, 9, 0))
    report = collect_flows_day(web, real_store, "TPEx", DAY)
    assert report.revised == report.read
    code = site.world.codes("TPEx")[0]
    foreign = {
        at: real_store.flows.of(code, clock.now() - timedelta(minutes=at))["foreign_net"][0] for at in (0, 1)
    }
    net = site.world.flow(code, DAY)
    assert foreign[0] == net[0] + net[1] != foreign[1]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("what", ["flows", "margin"])
def test_a_row_that_does_not_add_up_goes_to_quarantine(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock, what: str, exchange: Exchange
) -> None:
    clock.set(datetime(2025, 4, 10, 9, 0))
    page = (pages.flows if what == "flows" else pages.margin)(site.world, exchange, DAY, clock.now())
    tables = page.get("tables", [page])
    table = next(t for t in tables if len(t["data"]) > 1)
    first, *rows = [row for row in table["data"] if row[0].strip() in site.world.codes(exchange)]
    place = (4 if exchange == "TWSE" else 10) if what == "flows" else 6
    wrong = [*first[:place], "1", *first[place + 1 :]]
    bare = [*first[:place], "--", *first[place + 1 :]]
    table["data"] = [wrong, bare, ["", *first[1:]], rows[0], rows[0], *rows[1:], first[:-1]]
    table.pop("total", None)
    table["totalCount"] = len(table["data"])
    serve(site, page)
    collect = collect_flows_day if what == "flows" else collect_margin_day
    report = collect(web, real_store, exchange, DAY)
    assert balanced(report)
    # A row of the market's margin without a code is its total.
    unreadable = 3 if what == "flows" else 2
    assert report.reasons == {"sum_differs": 1, "unreadable": unreadable, "duplicate": 1}
    assert report.accepted == len(rows)
    quarantined = real_store.bars.quarantined()
    assert {row.code for row in quarantined} == {""}
    assert len(quarantined) == report.quarantined


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_days_are_found_missing_and_asked_for_once(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock, exchange: Exchange
) -> None:
    report = collect_flows(web, real_store, START)
    sessions = [day for day in site.market.sessions() if START <= day <= DAY]
    assert not report.failures
    assert sorted((r.market, r.period) for r in report.reports) == sorted(
        (m, day.isoformat()) for m in EXCHANGES for day in sessions
    )
    asked = len(site.seen)
    assert collect_flows(web, real_store, START).reports == ()
    assert len(site.seen) == asked
    # Of margin the evening brings the day before.
    margin = collect_margin(web, real_store, date(2025, 4, 8))
    assert {(r.market, r.period) for r in margin.reports} == {(m, "2025-04-08") for m in EXCHANGES}
    code = site.world.codes(exchange)[0]
    figures = real_store.margin.of(code)
    assert [figures["margin"][0], figures["short"][0]] == [
        1000 * lots for lots in site.world.balance(code, date(2025, 4, 8))
    ]
    assert datetime.fromtimestamp(figures.known_at[0], TAIPEI) == datetime(2025, 4, 9, 8, tzinfo=TAIPEI)


def test_one_answer_of_nothing_is_not_believed(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    day = START
    for n in range(3):
        site.order("false_no_data", route="T86")
        report = collect_flows(web, real_store, day, day)
        assert [r.state for r in report.reports if r.market == "TWSE"] == ["no_data"], n
        # The same silence an hour later counts once.
        clock.set(datetime(2025, 4, 9 + n, 19, 30))
        site.order("false_no_data", route="T86")
        collect_flows(web, real_store, day, day)
        clock.set(datetime(2025, 4, 10 + n, 18, 30))
    assert collect_flows(web, real_store, day, day).reports == ()
    entry = real_store.collected.get("flows", "TWSE", day.isoformat())
    assert entry is not None
    assert (entry.asked, entry.settled) == (3, True)


def test_a_true_answer_after_a_false_one_is_kept(web: Web, real_store: Store, site: StandIn) -> None:
    site.order("false_no_data", route="T86")
    collect_flows(web, real_store, DAY)
    (report,) = collect_flows(web, real_store, DAY).reports
    assert (report.market, report.state) == ("TWSE", "complete")


def test_a_site_that_is_down_is_left_alone_and_the_other_is_not(
    once: Web, real_store: Store, site: StandIn
) -> None:
    site.order(*["500"] * 9, route="/twse/")
    report = collect_flows(once, real_store, START)
    assert site.count("twse") == 3
    assert {r.market for r in report.reports} == {"TPEx"}
    assert "3 times in a row" in report.failures[-1]
    assert all(failure.zh for failure in report.failures)
    site.order("403", route="/tpex/")
    report = collect_margin(once, real_store, date(2025, 4, 7), date(2025, 4, 8))
    assert [r.market for r in report.reports] == []
    assert any("left alone" in failure for failure in report.failures)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("wrong_day", WrongAnswer),
        ("missing_rows", Unreadable),
        ("no_columns", Unreadable),
        ("invented_stat", Outage),
        ("truncated", Unreadable),
        ("307", Blocked),
    ],
)
@pytest.mark.parametrize("exchange", EXCHANGES)
def test_what_is_not_right_is_not_kept(
    once: Web, real_store: Store, site: StandIn, fault: str, error: type[SiteFailure], exchange: Exchange
) -> None:
    for collect in (collect_flows_day, collect_margin_day):
        site.order(fault)
        with pytest.raises(error):
            collect(once, real_store, exchange, date(2025, 4, 8))
        assert real_store.collected.get("flows", exchange, "2025-04-08") is None
        if error is Blocked:
            break
    assert real_store.arrivals.extents() == {}


# Revenue


def test_revenue_is_known_from_when_it_was_first_seen(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    first = collect_revenue(web, real_store)
    half = {code for e in EXCHANGES for code in site.world.codes(e)[: max(1, len(site.world.codes(e)) // 2)]}
    assert set(real_store.revenue.codes()) == half - {"0050"}
    assert all(balanced(report) for report in first.reports)
    assert collect_revenue(web, real_store).reports == ()
    clock.set(datetime(2025, 4, 10, 18, 30))
    collect_revenue(web, real_store)
    figures = real_store.revenue.all()
    assert set(figures.codes) == {company.code for company in site.market.companies}
    for code, start in zip(figures.codes, figures.starts.tolist(), strict=False):
        assert date.fromordinal(figures.days[start]) == date(2025, 3, 1)
        assert figures["revenue"][start] == 1000 * site.world.revenue(code, date(2025, 3, 1))
        seen = datetime.fromtimestamp(figures.known_at[start], TAIPEI)
        assert seen.day == (9 if code in half else 10)
    clock.set(datetime(2025, 4, 21, 18, 30))
    collect_revenue(web, real_store)
    clock.set(datetime(2025, 4, 22, 18, 30))
    assert collect_revenue(web, real_store).reports == ()


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"資料年月": "11404", "公司代號": "2330", "營業收入-當月營收": "1"}], WrongAnswer),
        ([{"資料年月": "11413", "公司代號": "2330", "營業收入-當月營收": "1"}], Unreadable),
        (
            [{"資料年月": m, "公司代號": "2330", "營業收入-當月營收": "1"} for m in ("11402", "11403")],
            Unreadable,
        ),
        ([{"資料年月": "11403", "公司代號": "2330"}], Unreadable),
        ([], Unreadable),
        ({"資料年月": "11403"}, Unreadable),
    ],
)
def test_a_list_of_another_month_is_not_kept(
    once: Web, site: StandIn, rows: Any, error: type[SiteFailure]
) -> None:
    serve(site, rows)
    with pytest.raises(error):
        fetch_revenue(once, "TWSE")


def test_a_byte_order_mark_is_read_over(once: Web, site: StandIn) -> None:
    rows = [{"資料年月": "11403", "公司代號": "2330", "營業收入-當月營收": "320,516,000"}]
    serve(site, b"\xef\xbb\xbf" + json.dumps(rows).encode())
    month, raw = fetch_revenue(once, "TWSE")
    assert (month, raw.figures.tolist()) == (date(2025, 3, 1), [[320_516_000_000.0]])


# Futures


def test_day_and_night_by_their_moments(web: Web, real_store: Store, site: StandIn, clock: FakeClock) -> None:
    report = collect_futures(web, real_store, date(2025, 3, 3))
    assert not report.failures
    now = clock.now()
    over = [s for s in site.world.sessions() if s.ends <= now]
    nights, days = real_store.world.nights(), real_store.world.days()
    for series, night in ((nights, True), (days, False)):
        truth = [s for s in over if s.night == night]
        assert [date.fromordinal(day) for day in series.days.tolist()] == [s.day for s in truth]
        assert series.close.tolist() == [s.prices[3] for s in truth]
        assert series.expiry.tolist() == [int(s.expiry) for s in truth]
        assert series.volume.tolist() == [s.volume for s in truth]
        public = [datetime.fromtimestamp(at, UTC) for at in series.known_at.tolist()]
        assert all(moment >= s.ends for moment, s in zip(public, truth, strict=True))
    assert np.isnan(nights.settlement).all()
    assert not np.isnan(days.open_interest).any()
    assert real_store.bars.quarantined() == [], "spreads and weeks are no faults"
    # March came whole; of April the evening's last day is here, and nothing is asked again.
    asked = len(site.seen)
    assert collect_futures(web, real_store, date(2025, 3, 3)).reports == ()
    assert len(site.seen) == asked


@pytest.mark.parametrize(
    ("hour", "minute", "fault", "there"),
    [
        (4, 59, "", False),
        (4, 59, "running_session", False),
        (5, 0, "", True),
        (5, 30, "late_night", True),  # the open data have it
    ],
)
def test_the_night_is_taken_once_it_is_over(
    web: Web,
    real_store: Store,
    site: StandIn,
    clock: FakeClock,
    hour: int,
    minute: int,
    fault: str,
    there: bool,
) -> None:
    collect_futures(web, real_store, date(2025, 4, 7))
    clock.set(datetime(2025, 4, 10, hour, minute))
    if fault:
        site.order(fault)
    report = collect_futures(web, real_store, date(2025, 4, 7))
    assert report.night is there
    last = date.fromordinal(int(real_store.world.nights().days[-1]))
    assert last == (date(2025, 4, 10) if there else date(2025, 4, 9))
    # What had not ended is fetched when it has.
    clock.set(datetime(2025, 4, 10, 7, 30))
    assert collect_futures(web, real_store, date(2025, 4, 7)).night is True


def test_the_open_data_show_a_running_session_and_it_is_left_out(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    clock.set(datetime(2025, 4, 10, 3, 0))
    site.order("running_session")
    report = collect_latest(web, real_store)
    assert report.reasons.get("session_open") == 1
    assert not len(real_store.world.nights())
    clock.set(datetime(2025, 4, 10, 9, 30))
    site.order("running_session")
    report = collect_latest(web, real_store)
    assert report.accepted == 1
    assert len(real_store.world.days()) == 0, "the day's own session runs"


@pytest.mark.parametrize(
    ("now", "session"),
    [
        (datetime(2025, 4, 9, 14, 59), date(2025, 4, 9)),
        (datetime(2025, 4, 9, 15, 0), date(2025, 4, 10)),
        (datetime(2025, 4, 4, 12, 0), date(2025, 4, 7)),  # a holiday, a Friday
    ],
)
def test_which_session_a_night_leads_to(site: StandIn, now: datetime, session: date) -> None:
    assert next_session(site.market.calendar, now.replace(tzinfo=TAIPEI)) == session


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", Unreadable),
        (pages.FUTURES_FIELDS.encode("big5") + b"\r\n", NoData),
        (pages.FUTURES_FIELDS.encode("big5") + b"\r\n2025/04/09,TX,202504", Unreadable),
        (b"a,b\r\n1,2\r\n", Unreadable),
        (b"<html></html>", Blocked),
        ((pages.FUTURES_FIELDS + "\r\n2025/05/09,TX,202504" + "," * 16 + "\r\n").encode("big5"), WrongAnswer),
        (
            (pages.FUTURES_FIELDS + "\r\n2025/04/09,MTX,202504" + "," * 16 + "\r\n").encode("big5"),
            WrongAnswer,
        ),
    ],
)
def test_what_is_no_table_of_these_futures(
    once: Web, site: StandIn, body: bytes, error: type[Exception]
) -> None:
    serve(site, body)
    with pytest.raises(error):
        fetch_futures(once, START, DAY)


def test_a_month_that_came_in_part_is_asked_for_again(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    page = pages.futures_csv(site.world, START, DAY, clock.now(), running=False, late=False)
    lines = page.split(b"\r\n")
    answer = site.answer
    serve(site, b"\r\n".join(lines[: len(lines) // 2]) + b"\r\n")
    collect_futures(web, real_store, START)
    site.answer = answer  # type: ignore[method-assign]
    entry = real_store.collected.get("futures", "TX", "2025-04")
    assert entry is not None
    assert entry.through is not None
    assert entry.through < DAY
    collect_futures(web, real_store, START)
    sessions = [day for day in site.market.sessions() if START <= day <= DAY]
    assert real_store.world.session_days() == set(sessions)


# New York


def test_new_yorks_days_and_none_before_its_close(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    report = collect_world(web, real_store)
    assert report.through == date(2025, 4, 8)
    assert (report.failures, report.lacking) == ((), ())
    truth = [day for day in site.world.new_york_days() if day <= date(2025, 4, 8)]
    for symbol, series in real_store.world.bars().items():
        assert [date.fromordinal(day) for day in series.days.tolist()] == truth
        bars = [site.world.bar(symbol, day) for day in truth]
        assert series.close.tolist() == [bar[3] for bar in bars]
        assert series.volume.tolist() == [bar[4] for bar in bars]
    assert site.count("yahoo") == 4
    assert collect_world(web, real_store).reports == ()
    clock.set(datetime(2025, 4, 10, 3, 59))  # New York trades: the chart has a bar of today
    assert collect_world(web, real_store).reports == ()
    clock.set(datetime(2025, 4, 10, 4, 1))
    assert len(collect_world(web, real_store).reports) == 4
    assert real_store.world.bars()["SOX"].days[-1] == date(2025, 4, 9).toordinal()
    assert real_store.bars.quarantined() == []


def test_a_holiday_of_new_yorks_is_asked_for_until_some_hours_have_passed(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    clock._now = datetime(2025, 3, 18, 5, 30, tzinfo=TAIPEI)  # New York was closed on the 17th
    report = collect_world(web, real_store)
    assert report.lacking == ("SOX", "SPX", "IXIC", "TSM")
    assert len(collect_world(web, real_store).reports) == 4
    clock.set(datetime(2025, 3, 18, 18, 30))
    assert len(collect_world(web, real_store).reports) == 4
    assert collect_world(web, real_store).reports == ()


def test_a_split_asks_for_the_whole_history_again(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    collect_world(web, real_store, ["TSM"])
    bar = site.world.bar
    site.world.bar = (
        lambda symbol, day: (  # type: ignore[method-assign]
            *(round(price / 10, 4) for price in bar(symbol, day)[:4]),
            bar(symbol, day)[4],
        )
    )
    clock.set(datetime(2025, 4, 11, 5, 30))
    (report,) = collect_world(web, real_store, ["TSM"]).reports
    series = real_store.world.bars(["TSM"])["TSM"]
    assert report.revised == len(series) - 2
    moves = np.diff(np.log(series.close))
    assert np.abs(moves).max() < 0.2
    earlier = real_store.world.bars(["TSM"], clock.now() - timedelta(hours=1))["TSM"]
    assert earlier.close[0] == pytest.approx(10 * series.close[0], rel=1e-3), "what was known then"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data"}}}, Refused),
        (404, {"error": "no"}, Unreadable),
        (429, {"finance": {"error": {"code": "Too Many Requests", "description": ""}}}, Blocked),
        (502, {"error": "bad gateway"}, Outage),
        (200, {"chart": {"result": [], "error": None}}, Unreadable),
        (200, {"chart": {"result": [{"meta": {"symbol": "^GSPC"}}], "error": None}}, WrongAnswer),
        (200, {"chart": {"result": [{"meta": {"symbol": "^SOX"}}], "error": None}}, Unreadable),
        (200, b"nothing", Unreadable),
    ],
)
def test_what_yahoo_says_in_place_of_a_chart(
    once: Web, site: StandIn, status: int, body: Any, error: type[SiteFailure]
) -> None:
    serve(site, body, status)
    with pytest.raises(error) as caught:
        fetch_world(once, "SOX", START)
    assert caught.value.zh
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2025, 3, 10, 19, 59, tzinfo=UTC), date(2025, 3, 7)),  # summer time began the day before
        (datetime(2025, 3, 10, 20, 0, tzinfo=UTC), date(2025, 3, 10)),
        (datetime(2025, 3, 7, 20, 59, tzinfo=UTC), date(2025, 3, 6)),
        (datetime(2025, 3, 9, 12, 0, tzinfo=UTC), date(2025, 3, 7)),
    ],
)
def test_when_new_york_has_closed(now: datetime, day: date) -> None:
    assert last_closed(now) == day


@pytest.mark.parametrize("collect", [collect_flows, collect_margin, collect_futures])
def test_real_figures_do_not_join_simulated_ones(web: Web, real_store: Store, collect: Any) -> None:
    from stockllm.data.errors import StoreError

    real_store.set_simulated(True)
    with pytest.raises(StoreError):
        collect(web, real_store, START)
