"""Ex-dates: what is read, where it goes, and that it arrives in whatever order."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime

import pytest
from standin import FakeClock, GeneratedMarket, StandIn
from standin.pages import EX_FIELDS

from stockllm.collectors.exrights import collect_exrights, fetch_exrights, missing_months
from stockllm.collectors.failures import SiteFailure, Unreadable, WrongAnswer
from stockllm.collectors.http import Web
from stockllm.collectors.market_day import EXCHANGES, Exchange, collect_day
from stockllm.collectors.stock_month import collect_month
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.data.stores.exrights import ExRight

START, END = date(2025, 3, 1), date(2025, 3, 31)


def test_what_the_exchanges_are_asked(web: Web, site: StandIn) -> None:
    for exchange in EXCHANGES:
        fetch_exrights(web, exchange, START, END)
    twse, tpex = (seen.asked for seen in site.seen)
    assert twse == {"startDate": "20250301", "endDate": "20250331", "response": "json"}
    assert tpex == {"startDate": "2025/03/01", "endDate": "2025/03/31", "response": "json"}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_ex_date_is_kept(web: Web, market: GeneratedMarket, exchange: Exchange) -> None:
    rows, refused, others = fetch_exrights(web, exchange, START, END)
    expected = [(q.code, q.day, q.before, q.base) for q in market.ex_quotes(exchange, START, END)]
    assert expected
    assert (refused, others) == ([], 0)
    assert [(r.code, r.date, r.close_before, r.basis) for r in rows] == expected
    assert {(r.market, r.kind) for r in rows} == {(exchange, "dividend")}


def row(**cells: str) -> list[str]:
    """The exchange's own line of 2026-06-25, in TWSE's columns."""
    line = "115年06月25日|1525|江申|65.80|63.00|2.800000|息|69.30|56.70|63.00|63.00|1525,20260625|||"
    given = dict(zip(EX_FIELDS["TWSE"], line.split("|"), strict=True))
    return list((given | cells).values())


def twse(*rows: list[str], title: str = "115年06月01日 至 115年06月30日 除權除息計算結果表") -> bytes:
    document = {"stat": "OK", "title": title, "fields": EX_FIELDS["TWSE"], "data": list(rows)}
    return json.dumps(document).encode()


@pytest.fixture
def june(real_store: Store, site: StandIn, settings: Settings) -> Web:
    once = settings.model_copy(update={"request_retries": 0})
    return Web(real_store.requests, once, FakeClock(datetime(2026, 6, 30, 18, 30)))


def serve(site: StandIn, body: bytes) -> None:
    site.answer = lambda *_: (200, body)  # type: ignore[method-assign]


def test_a_line_of_the_exchange(june: Web, site: StandIn) -> None:
    subscription = row(
        股票代號="6442", 除權息前收盤價="67.20", 除權息參考價="65.94", 開盤競價基準="67.20", **{"權/息": "權"}
    )
    serve(site, twse(row(), subscription, row(股票代號="0050")))
    rows, refused, others = fetch_exrights(june, "TWSE", date(2026, 6, 1), date(2026, 6, 30))
    assert (refused, others) == ([], 1)
    assert rows[0] == ExRight(
        "1525", date(2026, 6, 25), "TWSE", "dividend", 6580, 6300, 6300, 6930, 5670, "twse"
    )
    # A right to subscribe lowers the reference and not the price the auction starts from.
    assert (rows[1].kind, rows[1].reference, rows[1].basis) == ("rights", 6594, 6720)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (twse(row(資料日期="115年07月01日")), WrongAnswer),
        (twse(row(), title="115年05月01日 至 115年05月31日 除權除息計算結果表"), WrongAnswer),
        (b'{"stat": "OK", "fields": ["x"], "data": [["y"]]}', Unreadable),
        (b'{"stat": "OK", "total": 9, "fields": ["x"], "data": []}', Unreadable),
    ],
)
def test_what_is_not_right_is_not_kept(
    june: Web, site: StandIn, body: bytes, error: type[SiteFailure]
) -> None:
    serve(site, body)
    with pytest.raises(error):
        fetch_exrights(june, "TWSE", date(2026, 6, 1), date(2026, 6, 30))


def test_a_row_that_cannot_be_right_does_not_cost_the_others(
    june: Web, real_store: Store, site: StandIn
) -> None:
    wrong = [
        row(除權息參考價="--"),
        row(除權息參考價="6.30"),
        row(**{"權/息": "分割"}),
        row(資料日期="六月"),
        row()[:-1],
    ]
    serve(site, twse(*wrong, row(股票代號="2330")))
    rows, refused, _ = fetch_exrights(june, "TWSE", date(2026, 6, 1), date(2026, 6, 30))
    assert [r.code for r in rows] == ["2330"]
    assert [r.line for r in refused] == [1, 2, 3, 4, 5]
    assert {(r.reason, r.date) for r in refused} == {("unreadable_ex_date", None)}


def test_months_are_asked_for_once_and_the_present_one_every_day(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    first = collect_exrights(web, real_store, START)
    assert first.months == 8  # two exchanges, from 30 days before March to April
    assert collect_exrights(web, real_store, START).months == 0
    clock.set(datetime(2025, 4, 10, 18, 30))
    assert missing_months(real_store, "TWSE", START, date(2025, 4, 10)) == [date(2025, 4, 1)]
    assert collect_exrights(web, real_store, START).months == 2
    assert site.count(kind="ex") == 10


def test_one_month_that_fails_leaves_the_others(web: Web, real_store: Store, site: StandIn) -> None:
    site.order(*["500"] * 3, route="TWT49U")
    report = collect_exrights(web, real_store, START)
    assert report.months == 7
    assert len(report.failures) == 1
    assert collect_exrights(web, real_store, START).months == 1


def test_a_site_that_is_down_is_left_alone_after_three_months(
    web: Web, real_store: Store, site: StandIn
) -> None:
    site.order(*["500"] * 100, route="TWT49U")
    report = collect_exrights(web, real_store, date(2024, 6, 1))
    assert site.count("twse") == 9  # three months, three times each
    assert report.months == site.count("tpex") > 9
    assert "3 times in a row" in report.failures[-1]


def test_a_site_that_turns_us_away_is_not_asked_for_the_rest(
    web: Web, real_store: Store, site: StandIn
) -> None:
    site.order("403", route="TWT49U")
    report = collect_exrights(web, real_store, START)
    assert (report.months, site.count("twse"), site.count("tpex")) == (4, 1, 4)


@pytest.mark.parametrize("late", [False, True])
def test_bars_get_their_base_whichever_comes_first(
    web: Web, real_store: Store, market: GeneratedMarket, late: bool
) -> None:
    days = [day for day in market.sessions() if day <= date(2025, 4, 9)]
    if not late:
        collect_exrights(web, real_store, START)
    # From the last to the first, so that neighbours are missing all along.
    for day in reversed(days):
        for exchange in EXCHANGES:
            collect_day(web, real_store, exchange, day)
    if late:
        assert collect_exrights(web, real_store, START).applied > 0
    stored = [replace(b, source="") for c in market.companies for b in real_store.bars.bars(c.code)]
    assert stored == market.bars(web.clock.now())


def test_the_base_of_an_untraded_ex_date_reaches_the_first_bar_of_the_same_month(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket
) -> None:
    company = market.companies[0]
    days = [day for day in market.sessions() if day <= date(2025, 3, 31)]
    ex_date, next_day = days[4], days[5]
    site.market = replace(market)
    quotes = site.market.quotes
    base = quotes[company.code, ex_date].before // 1000 * 900
    silent = replace(
        quotes[company.code, ex_date], prices=None, volume=0, value=0, trades=0, base=base, ex=True
    )
    # No change on the next day: the month's own list does not give the base away.
    still = replace(quotes[company.code, next_day], prices=(base,) * 4, base=base, ex=False)
    quotes |= {(company.code, ex_date): silent, (company.code, next_day): still}
    collect_exrights(web, real_store, START)
    collect_month(web, real_store, company, START)
    (bar,) = real_store.bars.bars(company.code, ex_date, next_day)
    assert (bar.date, bar.close, bar.reference) == (next_day, base, base)
