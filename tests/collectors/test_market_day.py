"""A whole market's day: read, verified, judged, kept; and what stands in where it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime

import pytest
from standin import FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.failures import (
    Blocked,
    NoData,
    Outage,
    Refused,
    SiteFailure,
    Unreadable,
    WrongAnswer,
)
from stockllm.collectors.http import Web
from stockllm.collectors.market_day import (
    EXCHANGES,
    DayReport,
    Exchange,
    collect_day,
    fetch_day,
    fetch_latest,
    last_published,
)
from stockllm.data.errors import StoreError
from stockllm.data.records import Bar
from stockllm.data.settings import Settings
from stockllm.data.store import Store

DAY = date(2025, 4, 8)
TYPHOON = date(2025, 3, 27)


def truth(market: GeneratedMarket, exchange: str, day: date, ex: bool = False) -> list[Bar]:
    """The day's bars; without the bases of ex-dates, which a list does not tell."""
    codes = {c.code for c in market.of(exchange)}
    bars = [bar for bar in market.bars() if bar.date == day and bar.code in codes]
    return [
        replace(bar, reference=None) if market.quotes[bar.code, day].ex and not ex else bar for bar in bars
    ]


def stored(store: Store, day: date) -> list[Bar]:
    return [replace(b, source="") for code in store.bars.codes() for b in store.bars.bars(code, day, day)]


def balanced(report: DayReport) -> bool:
    return report.accepted + report.unchanged + report.quarantined == report.read


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_day_is_kept_as_it_was(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, exchange: Exchange
) -> None:
    report = collect_day(web, real_store, exchange, DAY)
    assert balanced(report)
    assert (report.state, report.read, report.left_out) == ("complete", 2, 3)
    assert stored(real_store, DAY) == truth(market, exchange, DAY)
    entry = real_store.collected.days(exchange)[DAY]
    assert (entry.state, entry.read, entry.at) == ("complete", 2, web.clock.now())
    again = collect_day(web, real_store, exchange, DAY)
    assert (again.accepted, again.unchanged) == (0, report.accepted)
    assert [seen.kind for seen in site.seen] == ["day", "day"]


def test_what_the_exchanges_are_asked(web: Web, site: StandIn) -> None:
    fetch_day(web, "TWSE", DAY)
    fetch_day(web, "TPEx", DAY)
    twse, tpex = (seen.asked for seen in site.seen)
    assert twse == {"date": "20250408", "type": "ALLBUT0999", "response": "json"}
    assert tpex == {"date": "2025/04/08", "type": "EW", "response": "json"}


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", ["extra_column", "reordered", "zero_rows", "duplicate_rows", "x050"])
def test_oddities_change_nothing(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, exchange: Exchange, fault: str
) -> None:
    codes = {c.code for c in market.of(exchange)}
    idle = next(day for (code, day), q in market.quotes.items() if code in codes and q.prices is None)
    site.order(fault)
    report = collect_day(web, real_store, exchange, idle)
    assert balanced(report)
    assert stored(real_store, idle) == truth(market, exchange, idle)
    assert set(report.reasons) <= {"zero_price" if fault == "zero_rows" else "no_trade", "duplicate"}
    assert report.quarantined == 1 + (fault == "duplicate_rows")


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(
    ("fault", "error"), [("wrong_day", WrongAnswer), ("no_columns", Unreadable), ("invented_stat", Outage)]
)
def test_a_wrong_answer_leaves_no_row(
    web: Web, real_store: Store, site: StandIn, exchange: Exchange, fault: str, error: type[SiteFailure]
) -> None:
    site.order(*[fault] * 3)
    with pytest.raises(error):
        collect_day(web, real_store, exchange, DAY)
    assert real_store.bars.codes() == []
    assert real_store.collected.days(exchange) == {}
    assert len(real_store.requests.log(faults=True)) == 3


def test_a_date_in_another_form_gets_the_latest_day(web: Web, site: StandIn) -> None:
    """The trap is real in the stand-in: this is why the echo is looked at."""

    def ask(door: object) -> str:
        answer = door.get(f"{site.url}/tpex/www/zh-tw/afterTrading/dailyQuotes", {"date": "20250401"})  # type: ignore[attr-defined]
        return str(answer.json()["date"])

    from stockllm.collectors.http import TPEX

    assert web.ask(TPEX, "x", ask) == "20250409"


def test_a_list_with_rows_missing_is_not_whole(
    web: Web, real_store: Store, site: StandIn, settings: Settings
) -> None:
    site.order("missing_rows")
    with pytest.raises(Unreadable, match="1 shares"):
        fetch_day(replace_retries(web, settings, 0), "TWSE", DAY, fewest=2)
    collect_day(web, real_store, "TWSE", DAY)
    site.order(*["missing_rows"] * 3)
    with pytest.raises(Unreadable, match="1 shares"):
        collect_day(web, real_store, "TWSE", date(2025, 4, 7))


def replace_retries(web: Web, settings: Settings, retries: int) -> Web:
    web.settings = settings.model_copy(update={"request_retries": retries})
    return web


def test_a_first_list_is_held_to_a_whole_market(real_store: Store, site: StandIn, clock: FakeClock) -> None:
    with Web(real_store.requests, site.settings(), clock) as web, pytest.raises(Unreadable, match="2 shares"):
        collect_day(web, real_store, "TWSE", date(2025, 4, 7))


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_open_data_stand_in_for_the_latest_day(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, clock: FakeClock, exchange: Exchange
) -> None:
    today = date(2025, 4, 9)
    site.order(*["500"] * 3)
    report = collect_day(web, real_store, exchange, today)
    assert balanced(report)
    assert "HTTP 500" in report.fallback
    assert report.source == f"{exchange} open data {today}"
    assert stored(real_store, today) == truth(market, exchange, today)
    assert [seen.kind for seen in site.seen] == ["day", "day", "day", "open"]


def test_open_data_that_are_a_day_late_are_not_taken(web: Web, real_store: Store, site: StandIn) -> None:
    site.open_data_lag = 1
    site.order(*["500"] * 3, route="MI_INDEX")
    with pytest.raises(Outage, match="HTTP 500"):
        collect_day(web, real_store, "TWSE", date(2025, 4, 9))
    assert real_store.bars.codes() == []
    assert {row.outcome for row in real_store.requests.log(site="twse_openapi")} == {"wrong_answer"}


def test_open_data_are_not_asked_for_older_days(web: Web, real_store: Store, site: StandIn) -> None:
    site.order(*["500"] * 3)
    with pytest.raises(Outage):
        collect_day(web, real_store, "TWSE", DAY)
    assert site.count(kind="open") == 0


def test_a_barred_exchange_still_has_its_open_data(web: Web, real_store: Store, site: StandIn) -> None:
    site.order("403")
    report = collect_day(web, real_store, "TWSE", date(2025, 4, 9))
    assert report.state == "complete"
    # The open data of the other exchange are on the host that turned us away.
    site.order("403")
    with pytest.raises(Blocked):
        collect_day(web, real_store, "TPEx", date(2025, 4, 9))
    assert site.count(site="tpex") == 1


def test_open_data_hold_one_day_alone(web: Web, site: StandIn) -> None:
    rows, others = fetch_latest(web, "TWSE", date(2025, 4, 9))
    assert (len(rows), others) == (2, 0)
    with pytest.raises(WrongAnswer, match="1140409"):
        fetch_latest(web, "TWSE", DAY)


# Closed days


def test_a_typhoon_is_learned_from_both_exchanges(web: Web, real_store: Store) -> None:
    assert real_store.calendar().is_session(TYPHOON)
    assert collect_day(web, real_store, "TWSE", TYPHOON).state == "no_data"
    assert real_store.calendar().is_session(TYPHOON)  # one alone may be late
    assert collect_day(web, real_store, "TPEx", TYPHOON).state == "no_data"
    assert not real_store.calendar().is_session(TYPHOON)
    assert real_store.collected.closed_days() == {TYPHOON}
    # The user's own file has the last word.
    real_store.home.closed_days_file.write_text("opened = [2025-03-27]\n")
    assert real_store.calendar().is_session(TYPHOON)


def test_a_list_not_out_yet_closes_nothing(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    tomorrow = date(2025, 4, 10)
    clock.set(datetime(2025, 4, 10, 14, 0))
    for exchange in EXCHANGES:
        assert collect_day(web, real_store, exchange, tomorrow).state == "no_data"
    assert real_store.collected.days("TWSE") == real_store.collected.days("TPEx") == {}
    with pytest.raises(NoData):
        fetch_day(web, "TWSE", date(2025, 4, 11))


def test_bars_open_a_day_that_silence_closed(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, clock: FakeClock
) -> None:
    """A site that said "nothing" by mistake is corrected by the day it brings after all."""
    site.market = GeneratedMarket(market.start, market.end, typhoons=frozenset({TYPHOON, DAY}))
    for exchange in EXCHANGES:
        collect_day(web, real_store, exchange, DAY)
    assert not real_store.calendar().is_session(DAY)
    site.market = market
    report = collect_day(web, real_store, "TWSE", DAY)
    assert report.accepted > 0
    assert real_store.calendar().is_session(DAY)


def test_when_the_lists_come_out(market: GeneratedMarket) -> None:
    def at(hour: int, minute: int = 0, day: int = 9) -> datetime:
        return FakeClock(datetime(2025, 4, day, hour, minute)).now()

    assert last_published("TWSE", market.calendar, at(14, 59)) == date(2025, 4, 8)
    assert last_published("TWSE", market.calendar, at(15)) == date(2025, 4, 9)
    assert last_published("TPEx", market.calendar, at(15)) == date(2025, 4, 8)
    assert last_published("TPEx", market.calendar, at(17)) == date(2025, 4, 9)
    assert last_published("TWSE", market.calendar, at(23, 59, 12)) == date(2025, 4, 11)  # a Saturday


# Values that exchanges are known to write


def answer(site: StandIn, web: Web, document: object, exchange: Exchange = "TWSE") -> None:
    """Let the stand-in answer the next questions about a day with ``document``."""
    site.answer = lambda *_: (200, json.dumps(document).encode())  # type: ignore[method-assign]


def twse(rows: list[list[str]], **other: object) -> dict[str, object]:
    from standin.pages import DAY_FIELDS

    table = {"title": "114年04月08日 每日收盤行情(全部)", "fields": DAY_FIELDS["TWSE"], "data": rows}
    return {"stat": "OK", "date": "20250408", "tables": [{}, table]} | other


def row(code: str, close: str = "100.00", sign: str = "<p> </p>", change: str = "0.00") -> list[str]:
    return [code, "某", "5,000", "7", "500,000", "100.00", "101.00", "99.50", close, sign, change, *["-"] * 5]


def test_signs_are_read_from_their_tags(web: Web, real_store: Store, site: StandIn) -> None:
    document = twse(
        [
            row("1101", sign="<p style= color:red>+</p>", change="1.50"),
            row("1102", sign="<p style= color:green>-</p>", change="1.50"),
            row("1103"),
            row("1104", sign="<p>X</p>", change="0.50"),
            row("1105", sign="<p>X</p>", change="0.00"),
        ]
    )
    answer(site, web, document)
    collect_day(web, real_store, "TWSE", DAY)
    references = {code: real_store.bars.bars(code)[0].reference for code in real_store.bars.codes()}
    assert references == {"1101": 9850, "1102": 10150, "1103": None, "1104": None, "1105": None}


def test_rows_that_cannot_be_bars_are_kept_apart(web: Web, real_store: Store, site: StandIn) -> None:
    short = row("1106")[:-1]
    blocks = [*row("1107")[:5], "--", "--", "--", "--", "<p> </p>", "0.00", *["-"] * 5]
    document = twse([row("1101"), row("1102", close="150.00"), row("1103", close="一百"), short, blocks])
    answer(site, web, document)
    report = collect_day(web, real_store, "TWSE", DAY)
    assert balanced(report)
    assert report.reasons == {"close_outside_range": 1, "unreadable": 2, "no_trade": 1}
    assert real_store.bars.codes() == ["1101"]
    raw = real_store.bars.quarantined("1102")[0].raw
    assert "close 150.00" in raw
    assert real_store.bars.quarantined("1107")[0].line == 5


def test_a_glitch_of_a_hundred_is_seen_by_the_bars_beside_it(
    web: Web, real_store: Store, site: StandIn
) -> None:
    real_store.bars.put(
        Bar("1101", day, 10000, 10000, 10000, 10000, 1000, "x")
        for day in (date(2025, 4, 2), date(2025, 4, 7))
    )
    glitch = ["1101", "某", "5,000", "7", "5", "1.00", "1.01", "0.99", "1.00", "<p> </p>", "0.00", *["-"] * 5]
    answer(site, web, twse([row("1102"), glitch]))
    report = collect_day(web, real_store, "TWSE", DAY)
    assert report.reasons == {"jump_100x": 1}
    assert real_store.bars.bars("1101", DAY) == []


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], Unreadable),
        ({}, Unreadable),
        ({"stat": 1}, Unreadable),
        ({"stat": "OK", "date": "20250408"}, Unreadable),
        ({"stat": "OK", "date": "20250408", "tables": []}, Unreadable),
        ({"stat": "OK", "date": "", "tables": []}, WrongAnswer),
        ({"stat": "查詢日期大於今日，請重新查詢!"}, Refused),
        ({"stat": "查詢過於頻繁，請稍後再試!"}, Outage),
        (twse([row("1101"), row("1102")], date="20250407"), WrongAnswer),
        (twse([], tables=[{"title": "114年04月07日 每日收盤行情", "fields": [], "data": []}]), WrongAnswer),
        (twse([row("1101")], tables=[{"fields": ["證券代號"], "data": 3}]), Unreadable),
    ],
)  # fmt: skip
def test_documents_of_another_form(
    web: Web, real_store: Store, site: StandIn, settings: Settings, document: object, error: type[Exception]
) -> None:
    answer(site, web, document)
    with pytest.raises(error):
        fetch_day(replace_retries(web, settings, 0), "TWSE", DAY)


def test_a_count_that_does_not_fit_its_rows(web: Web, site: StandIn, settings: Settings) -> None:
    from standin.pages import DAY_FIELDS

    table = {"fields": DAY_FIELDS["TPEx"], "data": [], "totalCount": 800}
    answer(site, web, {"stat": "ok", "date": "20250408", "tables": [table]})
    with pytest.raises(Unreadable, match="0 rows of 800"):
        fetch_day(replace_retries(web, settings, 0), "TPEx", DAY)


def test_a_simulated_store_takes_no_real_prices(web: Web, real_store: Store, site: StandIn) -> None:
    real_store.set_simulated(True)
    with pytest.raises(StoreError, match="simulated"):
        collect_day(web, real_store, "TWSE", DAY)
    assert site.seen == []


def test_nothing_is_half_kept(
    web: Web, real_store: Store, monkeypatch: pytest.MonkeyPatch, site: StandIn
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the power")

    monkeypatch.setattr(real_store.collected, "put", fail)
    with pytest.raises(RuntimeError):
        collect_day(web, real_store, "TWSE", DAY)
    assert real_store.bars.codes() == []
