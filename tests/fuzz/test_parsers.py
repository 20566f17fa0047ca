"""Every parser of what others wrote, under bent and made-up input: it is taken in or refused with a sentence.

In CI each gets a share of half a minute; ``make fuzz`` takes longer.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mutants import bent, bent_json, values
from standin import GeneratedMarket, pages

from stockllm.collectors import exrights, market_day, schedule, stock_month, tables
from stockllm.collectors.failures import NoData, SiteFailure
from stockllm.collectors.files import company_list, news_json
from stockllm.collectors.http import TPEX, TWSE, Answer
from stockllm.collectors.imports import import_paths
from stockllm.data.errors import OrderRefused, StockllmError, StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.settings_file import remember
from stockllm.data.store import Store
from stockllm.data.validation import validate

#: Seconds for all parsers together, as far as whole rounds of examples allow.
SECONDS = float(os.environ.get("STOCKLLM_FUZZ_SECONDS", "24"))
LONG = SECONDS > 60
ROUND = 300 if LONG else 15

HEADER = ",date,capacity,turnover,open,high,low,close,change,transaction\n"
CSV = (
    HEADER
    + "0,2025-01-02,53594040,57000000000,1070,1080,1065,1075,+5.00,48000\n"
    + '1,114/01/03,"53,594,041",,"1,075.00",1080,1065,1070,X0.00,--\n'
    + "2,2025-01-06,0,0,--,--,--,--,0.00,0\n"
).encode()
WORLD = (
    b"symbol,date,open,high,low,close,volume\n"
    b"^GSPC,2025-01-02,5900,5950,5880,5920,0\nTSM,2025-01-03,200,201,199,200,1\n"
)
FUTURES = (
    "交易日期,契約,到期月份(週別),開盤價,最高價,最低價,收盤價,漲跌價,漲跌%,成交量,結算價,未沖銷契約數,交易時段\n"
    "2025/01/02,TX,202501,23000,23100,22900,23050,50,0.22%,100,23051,5000,一般\n"
    "2025/01/02,TX,202501/202502,1,2,1,2,0,0%,1,-,-,盤後\n"
).encode()
COMPANIES = [
    {"name_zh": "台積電", "name_en": "TSMC", "code": 3711.0},
    {"code": "9999", "name": "新公司", "market": "OTC"},
]
ARTICLE = {
    "source": {"id": None, "name": "報"}, "author": "a", "title": "台積電營收", "description": "d",
    "url": "https://n.example/1", "publishedAt": "2025-03-03T00:00:00+08:00", "content": "c",
}  # fmt: skip
NEWS = [
    {"name_zh": "台積電", "name_en": "TSMC", "code": "036092", "news": [ARTICLE, ARTICLE | {"url": "u"}]},
    {"name_zh": "無人", "news_zh": [ARTICLE], "news_en": None},
]
MARKET = GeneratedMarket(date(2025, 3, 3), date(2025, 4, 11))
DAY = date(2025, 3, 4)
MONTH = [day for day in MARKET.sessions() if day.month == 3]
SETTINGS = (
    'language = "en"\nmodel = "llama+五"\nprices_from = 2025-01-02\nrefresh_at = 18:45:00\n'
    'newsapi_key = "k"\n'
    '[lists]\nmine = ["2330", "2317"]\n[dashboard]\ntab = "market"\nspacing = 3\n'
    '[trade]\nposition_cap = 0.1\nminimum_edge = "off"\n'
).encode()
CALENDAR = b"closed = [2026-07-10]\nopened = [2018-12-22, 2018-12-23]\n"
FORM = urlencode(
    {
        "account": "me",
        "password": "secret-12345",
        "stock_code": "2330",
        "stock_shares": "2.0",
        "stock_price": "34.3",
    }
).encode()


def repeated(name: str, strategy: Any, check: Callable[[Any], None]) -> None:
    """Check examples of the strategy for this parser's share of the time; in CI the same ones first."""

    def once(number: int) -> None:
        @seed(number)
        @settings(max_examples=ROUND, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(strategy)
        def run(given_one: Any) -> None:
            check(given_one)

        run()

    end = time.monotonic() + SECONDS / PARSERS
    number = time.time_ns() % 10**9 if LONG else 0
    while True:
        number += 1
        if LONG:
            print(f"{name}: seed {number}", flush=True)
        once(number)
        if time.monotonic() > end:
            return


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Store]:
    home = Home(tmp_path_factory.mktemp("fuzz") / "home").ensure()
    shutil.copy(empty_store, home.store)
    with Store.open(home) as opened:
        yield opened
        opened.check()  # whatever came, the file is whole


def taken_in(store: Store, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(StockllmError):
        for report in import_paths(store, [path]):
            assert report.accepted + report.unchanged + report.revised + report.quarantined == report.read
            assert all(len(reason) < 200 for reason in report.reasons)


def test_prices_csv(store: Store, tmp_path: Path) -> None:
    utf16 = CSV.decode().encode("utf-16")
    repeated("csv", bent(CSV, utf16), lambda text: taken_in(store, tmp_path / "2330.csv", text))


def test_world_and_futures_csv(store: Store, tmp_path: Path) -> None:
    big5 = FUTURES.decode().encode("cp950")
    repeated("world", bent(WORLD, FUTURES, big5), lambda text: taken_in(store, tmp_path / "w.csv", text))


def test_json_files(store: Store, tmp_path: Path) -> None:
    repeated("json", bent_json(NEWS, COMPANIES), lambda text: taken_in(store, tmp_path / "some.json", text))


def test_company_lists(store: Store, tmp_path: Path) -> None:
    def check(text: bytes) -> None:
        path = tmp_path / "list.json"
        path.write_bytes(text)
        with suppress(StockllmError):
            company_list.resolve_company_list(path, store)

    repeated("companies", bent_json(COMPANIES), check)


def _columns() -> Any:
    """Columns of a parquet of any type that arrow writes, under the names that are looked for."""
    import numpy as np
    import pyarrow as pa

    texts = st.lists(
        st.sampled_from(["2330", "1,075", "x" * 300, "9" * 400, "1_0", None, "2025-01-02"]),
        min_size=3,
        max_size=3,
    )
    days = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3)
    moments = st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3)
    floats = st.lists(st.floats(), min_size=3, max_size=3)
    raw = st.lists(st.binary(max_size=6), min_size=3, max_size=3)
    good = {
        "code": pa.array(["2330", "2317", "2330"]), "date": pa.array([date(2025, 1, 2)] * 3),
        **{name: pa.array([100.0, 101, 102]) for name in ("open", "high", "low", "close")},
        "volume": pa.array([1, 2, 3]),
    }  # fmt: skip
    odd = st.one_of(
        texts.map(pa.array),
        texts.map(lambda t: pa.array(t).dictionary_encode()),
        days.map(lambda d: pa.array(d, pa.int32()).cast(pa.date32())),
        moments.map(lambda d: pa.array(d, pa.int64()).cast(pa.timestamp("us", "UTC"))),
        moments.map(lambda d: pa.array(d, pa.int64()).cast(pa.timestamp("ns"))),
        moments.map(lambda d: pa.array(d, pa.int64())),
        floats.map(lambda f: pa.array(np.array(f, dtype=np.float64))),
        raw.map(lambda b: pa.array(b, pa.binary())),
        raw.map(lambda b: pa.array(b, pa.binary()).view(pa.string())),
        st.just(pa.array([{"a": 1}, None, {"a": 2}])),
        st.just(pa.array([[1], None, [2]])),
        st.just(pa.array([True, None, False])),
        st.just(pa.nulls(3)),
    )
    names = st.sampled_from([*good, "symbol", "session", "expiry", "foreign_net", "trust_net", "dealer_net"])
    return st.dictionaries(names, odd, max_size=3).map(lambda changed: good | changed)


def test_parquet(store: Store, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def check(given_one: Any) -> None:
        columns, edits = given_one
        sink = io.BytesIO()
        try:
            pq.write_table(pa.table(columns), sink)
        except pa.ArrowException:  # some mixtures cannot be written
            return
        content = bytearray(sink.getvalue())
        for at, byte in edits:
            content[at % len(content)] = byte
        taken_in(store, tmp_path / "p.parquet", bytes(content))

    edits = st.lists(st.tuples(st.integers(4, 10**6), st.integers(0, 255)), max_size=3)
    repeated("parquet", st.tuples(_columns(), edits), check)


def test_site_answers(store: Store) -> None:
    first, last = date(2025, 3, 1), date(2025, 3, 31)

    def day(answer: Answer, market: Any) -> None:
        raw, _ = market_day._shares(answer, market_day._read(answer, market, DAY), DAY, "s", 1)
        from stockllm.data.validation_day import validate_day

        before, after = store.bars.beside(raw.day, set(raw.codes))
        validate_day(
            raw,
            calendar=store.calendar(),
            before=before,
            after=after,
            references={},
            history=store.bars.series,
        )

    def month(answer: Answer, market: Any, code: str) -> None:
        validate(stock_month._read(answer, tables.mapping(answer), market, code, first))

    readers: list[tuple[Any, Callable[[Answer], Any]]] = []
    for market in ("TWSE", "TPEx"):
        code = MARKET.of(market)[0].code
        readers += [
            (pages.day_list(MARKET, market, DAY), lambda a, m=market: day(a, m)),
            (
                pages.month(MARKET, market, code, MONTH, first),
                lambda a, m=market, c=code: month(a, m, c),
            ),
            (
                pages.ex_rights(MARKET, market, first, last),
                lambda a, m=market: exrights._read(a, m, first, last),
            ),
        ]
    readers.append((pages.holidays(2025), lambda a: schedule._read(a, 2025)))

    def check(given_one: Any) -> None:
        which, content = given_one
        for site in (TWSE, TPEX):
            with suppress(NoData, SiteFailure):
                readers[which][1](Answer(site, "what was asked", 200, {}, content))

    choice = st.integers(0, len(readers) - 1).flatmap(
        lambda i: st.tuples(st.just(i), bent_json(readers[i][0]))
    )
    repeated("answers", choice, check)


def test_news_of_a_site(store: Store) -> None:
    company = store.resolve("2330")

    def check(found: Any) -> None:
        document = {"code": company.code, "name_zh": company.name_zh, "news": found}
        (entry,) = news_json.read_entries([document], store)
        store.news.put(entry.articles, company.code)

    article = st.fixed_dictionaries(
        {}, optional={key: values(st.just(value)) for key, value in ARTICLE.items()}
    )

    def decoded(found: Any) -> Any:
        from stockllm.collectors.files.limits import read_json

        return read_json(json.dumps(found))

    repeated("news", st.lists(st.one_of(article, values()), max_size=3).map(decoded), check)


def test_model_cards(tmp_path: Path) -> None:
    from stockllm.forecaster.models.cards import Card, read_card, readme
    from stockllm.forecaster.models.registry import list_adapters

    card = Card(
        name="a", base="llama", base_hash="0", hash="0", made_at="2026-01-01T00:00:00+08:00", run="r",
        companies=["2330"], data_start="2025-01-02", data_end="2025-12-31", validation_from=None, embargo=5,
        simulated=False, prompt="compact", tasks=["5/5"], engine="peft", steps=1, examples={"windows": 1},
        losses={"last_loss": 1.0}, flags={"rank": 2},
    )  # fmt: skip
    home = Home(tmp_path / "home").ensure()
    folder = home.adapters / "a"
    folder.mkdir()

    def check(text: bytes) -> None:
        (folder / "card.json").write_bytes(text)
        list_adapters(home)
        with suppress(ValueError, OSError):
            read_card(folder)

    assert readme(card)
    repeated("cards", bent_json(asdict(card)), check)


def test_settings(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure()

    def check(text: bytes) -> None:
        home.settings_file.write_bytes(text)
        with suppress(UsageError):
            Settings.load(home)
        with suppress(StockllmError):
            remember(home, {"dashboard": {"tab": "ledger"}})

    repeated("settings", bent(SETTINGS), check)


def test_calendar(store: Store) -> None:
    def check(text: bytes) -> None:
        store.home.closed_days_file.write_bytes(text)
        with suppress(StoreError):
            store.calendar()

    try:
        repeated("calendar", bent(CALENDAR), check)
    finally:
        store.home.closed_days_file.unlink(missing_ok=True)


def test_university_forms() -> None:
    pytest.importorskip("fastapi")
    from fastapi import Request

    from stockllm.trading.server import wire

    fields = ("account", "password", "stock_code", "stock_shares", "stock_price")

    def check(body: bytes) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(b"content-type", b"application/x-www-form-urlencoded")]
        request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
        with suppress(OrderRefused):
            form = asyncio.run(wire._form(request, fields))
            price = wire._price(form["stock_price"], "buy", "refuse")
            assert 0 <= price < 10**12
            assert wire._lots(form["stock_shares"]) % 1000 == 0
            wire._code(form["stock_code"])

    repeated("forms", bent(FORM), check)


PARSERS = sum(name.startswith("test_") for name in dir())
