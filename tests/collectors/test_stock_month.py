"""One stock's month: twstock's own fetchers, our session, nobody's globals changed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date, datetime

import pytest
from standin import FAULTS, FakeClock, GeneratedMarket, StandIn

from stockllm.collectors.failures import NoData, SiteFailure, Unreadable, WrongAnswer
from stockllm.collectors.http import Web
from stockllm.collectors.market_day import EXCHANGES, Exchange, collect_day
from stockllm.collectors.stock_month import collect_month, exchange_of, fetch_month
from stockllm.data.errors import UnknownCompany
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.companies import Company

MARCH = date(2025, 3, 1)


def company(market: GeneratedMarket, exchange: str, n: int = 0) -> Company:
    return market.of(exchange)[n]


def truth(market: GeneratedMarket, code: str, month: int = 3) -> list[Bar]:
    return [bar for bar in market.bars() if bar.code == code and bar.date.month == month]


def stored(store: Store, code: str) -> list[Bar]:
    return [replace(bar, source="") for bar in store.bars.bars(code)]


def without_bases(bars: list[Bar], market: GeneratedMarket) -> list[Bar]:
    """A month does not tell the bases of ex-dates, nor a base that was inherited from an idle one."""
    return [
        replace(bar, reference=None)
        if (q := market.quotes[bar.code, bar.date]).ex or (q.base != q.before and not q.change)
        else bar
        for bar in bars
    ]


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("n", [0, 1])
def test_a_month_is_kept_as_it_was(
    web: Web, real_store: Store, market: GeneratedMarket, exchange: Exchange, n: int
) -> None:
    code = company(market, exchange, n).code
    report = collect_month(web, real_store, company(market, exchange, n), MARCH)
    assert report.accepted + report.unchanged + report.quarantined == report.read
    assert stored(real_store, code) == without_bases(truth(market, code), market)
    assert report.through == date(2025, 3, 31)
    entry = real_store.collected.get("month", code, "2025-03")
    assert entry is not None
    assert (entry.state, entry.through) == ("complete", date(2025, 3, 31))
    again = collect_month(web, real_store, company(market, exchange, n), MARCH)
    assert (again.accepted, again.unchanged) == (0, report.accepted)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(
    "fault",
    ["extra_column", "reordered", "star_dates", "zero_rows", "phantom_saturday", "duplicate_rows", "x050",
     "dividend_word", "gzip"],
)  # fmt: skip
def test_oddities_change_nothing(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, exchange: Exchange, fault: str
) -> None:
    site.order(fault)
    code = company(market, exchange).code
    report = collect_month(web, real_store, company(market, exchange), MARCH)
    assert stored(real_store, code) == without_bases(truth(market, code), market)
    if fault == "phantom_saturday":
        assert report.reasons["not_a_session"] == 1
    sessions = [day for day in market.sessions() if day.month == 3]
    assert report.read == len(sessions) + (fault in ("phantom_saturday", "duplicate_rows"))


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", ["wrong_month", "wrong_code", "no_columns", "invented_stat", "truncated"])
def test_a_wrong_answer_leaves_no_row(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket, exchange: Exchange, fault: str
) -> None:
    site.order(*[fault] * 3)
    with pytest.raises(SiteFailure) as caught:
        collect_month(web, real_store, company(market, exchange), date(2025, 4, 1))
    assert caught.value.outcome == FAULTS[fault]
    assert real_store.bars.codes() == []
    assert real_store.collected.all("month") == []


def test_rows_of_another_month_under_the_right_heading(web: Web, site: StandIn) -> None:
    """TWSE has answered with the right date and the wrong month's rows."""
    from standin.pages import MONTH_FIELDS

    rows = [["114/02/27", "1,000", "1", "1.00", "1.00", "1.00", "1.00", "0.00", "1", ""]]
    document = {"stat": "OK", "date": "20250301", "title": "114年03月 2330 台積電 各日成交資訊"}
    document |= {"fields": MONTH_FIELDS["TWSE"], "data": rows}
    site.answer = lambda *_: (200, json.dumps(document).encode())  # type: ignore[method-assign]
    with pytest.raises(WrongAnswer, match="2025-02-27"):
        fetch_month(web, "TWSE", "2330", MARCH)


def test_a_month_without_a_stat_is_not_twstocks_to_stumble_over(web: Web, site: StandIn) -> None:
    site.answer = lambda *_: (200, b'{"data": []}')  # type: ignore[method-assign]
    with pytest.raises(Unreadable):
        fetch_month(web, "TWSE", "2330", MARCH)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_month_without_rows_is_no_outage(
    web: Web, real_store: Store, market: GeneratedMarket, exchange: Exchange
) -> None:
    with pytest.raises(NoData):
        fetch_month(web, exchange, company(market, exchange).code, date(2025, 2, 1))
    report = collect_month(web, real_store, company(market, exchange), date(2025, 2, 15))
    assert (report.state, report.month) == ("no_data", date(2025, 2, 1))
    entry = real_store.collected.get("month", report.code, "2025-02")
    assert entry is not None
    assert entry.state == "no_data"


def test_an_empty_answer_that_echoes_nothing_is_no_proof(web: Web) -> None:
    """TPEx answers a question it does not understand with ok and no rows."""
    with pytest.raises(WrongAnswer):
        fetch_month(web, "TPEx", "9999", MARCH)


def test_the_month_under_way_is_kept_up_to_yesterday(
    web: Web, real_store: Store, market: GeneratedMarket, clock: FakeClock
) -> None:
    clock.set(datetime(2025, 4, 10, 9, 0))
    report = collect_month(web, real_store, company(market, "TWSE"), date(2025, 4, 1))
    assert report.through == date(2025, 4, 9)


# Thousands


def test_thousands_do_not_replace_shares(
    web: Web, real_store: Store, site: StandIn, market: GeneratedMarket
) -> None:
    exact = GeneratedMarket(market.start, market.end, lots=False)
    site.market = exact
    day = date(2025, 3, 3)
    collect_day(web, real_store, "TPEx", day)
    before = {code: real_store.bars.bars(code, day, day) for code in real_store.bars.codes()}
    assert any(bar.volume % 1000 for (bar,) in before.values())
    for code, bars in before.items():
        report = collect_month(web, real_store, next(c for c in exact.companies if c.code == code), MARCH)
        assert report.unchanged == 1
        assert real_store.bars.bars(code, day, day) == bars
        # The other way round the finer figures win.
        collect_day(web, real_store, "TPEx", date(2025, 3, 4))
        (bar,) = real_store.bars.bars(code, date(2025, 3, 4), date(2025, 3, 4))
        assert bar.volume == exact.quotes[code, date(2025, 3, 4)].volume


# twstock itself


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_twstock_reads_the_same_figures(
    web: Web, site: StandIn, market: GeneratedMarket, exchange: Exchange
) -> None:
    """Its own session and its own reading against the stand-in, in a month that it survives."""
    from stockllm.collectors.stock_month import _twstock

    stock = _twstock().stock
    calm = GeneratedMarket(market.start, market.end, ex_rate=0, idle=0)
    site.market = calm
    code = company(calm, exchange).code
    fetcher = stock.DATA_FETCHER[exchange.lower()]()
    path = "exchangeReport/STOCK_DAY" if exchange == "TWSE" else "www/zh-tw/afterTrading/tradingStock"
    fetcher.REPORT_URL = f"{site.url}/{exchange.lower()}/{path}"
    theirs = fetcher.fetch(2025, 3, code, retry=1)["data"]
    ours = fetch_month(web, exchange, code, MARCH)
    assert [row.date.toordinal() for row in theirs] == ours.days.tolist()
    assert [[row.open, row.high, row.low, row.close] for row in theirs] == ours.prices.tolist()
    assert [float(row.capacity) for row in theirs] == ours.volumes.tolist()
    assert ours.values is not None
    assert [float(row.turnover) for row in theirs] == ours.values.tolist()
    mine, its = site.seen[1], site.seen[0]
    assert mine.asked == its.asked | {"response": "json"}


def test_nothing_of_twstock_is_changed(web: Web, market: GeneratedMarket) -> None:
    from stockllm.collectors.stock_month import _twstock

    stock = _twstock().stock
    before = {name: id(value) for name, value in vars(stock).items()}
    urls = [fetcher.REPORT_URL for fetcher in stock.DATA_FETCHER.values()]
    for exchange in EXCHANGES:
        fetch_month(web, exchange, company(market, exchange).code, MARCH)
    assert {name: id(value) for name, value in vars(stock).items()} == before
    assert [fetcher.REPORT_URL for fetcher in stock.DATA_FETCHER.values()] == urls
    assert all("www.t" in url for url in urls)


def test_the_import_leaves_stdout_alone() -> None:
    from stockllm.collectors.stock_month import _twstock

    out = sys.stdout
    _twstock()
    assert sys.stdout is out


def test_where_a_share_is_listed() -> None:
    assert exchange_of(Company.bare("2330")) == "TWSE"
    assert exchange_of(Company.bare("3088")) == "TPEx"
    with pytest.raises(UnknownCompany, match="company list"):
        exchange_of(Company.bare("9999"))
