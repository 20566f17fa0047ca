"""Company lists and news."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from stockllm.collectors.files.company_list import resolve_company_list
from stockllm.collectors.files.news_json import language_of
from stockllm.collectors.imports import import_path
from stockllm.data.errors import ImportFailed, UnknownCompany
from stockllm.data.paths import Home
from stockllm.data.records import Bar, ImportReport
from stockllm.data.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def codes(tmp_path: Path, store: Store, *entries: dict[str, Any]) -> list[str]:
    return [company.code for company in resolve_company_list(write(tmp_path, list(entries)), store)]


# Company lists


def test_the_reference_layout(store: Store, tmp_path: Path) -> None:
    entries = [{"name_zh": "台積電"}, {"name_zh": "聯發科"}, {"code": 3711}, {"name_en": "tsmc"}]
    assert codes(tmp_path, store, *entries) == ["2330", "2454", "3711"]


def test_a_name_outdoes_the_code_of_a_warrant(store: Store, tmp_path: Path) -> None:
    assert codes(tmp_path, store, {"name_zh": "研揚", "code": "084863"}) == ["6579"]
    with pytest.raises(UnknownCompany, match="084863"):
        codes(tmp_path, store, {"code": "084863"})


def test_a_name_and_a_share_that_disagree_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"entry 1: 台積電 is 2330, but the entry says 2317"):
        codes(tmp_path, store, {"name_zh": "台積電", "code": 2317})


@pytest.mark.parametrize(
    "entry", [{"name_zh": "台積店"}, {"code": 1101}, {"code": "0050", "name_zh": "元大台灣50"}]
)
def test_what_nobody_knows_fails_with_the_nearest(
    store: Store, tmp_path: Path, entry: dict[str, Any]
) -> None:
    with pytest.raises(UnknownCompany, match=r"file\.json, entry 2: .* nearest are "):
        codes(tmp_path, store, {"code": 2330}, entry)


def test_a_stock_with_bars_is_known_by_its_code_and_named_by_a_list(store: Store, tmp_path: Path) -> None:
    store.bars.put([Bar("1101", date(2025, 3, 3), 1000, 1000, 1000, 1000, 1, "test")])
    assert codes(tmp_path, store, {"code": 1101}) == ["1101"]
    import_path(store, write(tmp_path, [{"code": 1101}]))
    (report,) = import_path(store, write(tmp_path, [{"code": 1101, "name_zh": "台泥", "name_en": "TCC"}]))
    assert (report.kind, report.read, report.unchanged) == ("companies", 1, 1)
    assert store.resolve("台泥").code == "1101"
    assert store.resolve("tcc").name_zh == "台泥"


def test_a_list_adds_companies_with_all_it_says(store: Store, tmp_path: Path) -> None:
    entry = {
        "code": "1101",
        "name_zh": "台泥",
        "name_en": "TCC",
        "listed_name": "台泥",
        "market": "TWSE",
        "listed_since": "1962/02/09",
        "industry": "水泥工業",
        "isin": "TW0001101004",
    }
    path = write(tmp_path, [{"code": 2330.0}, entry, {"name_zh": "台積電"}])
    (report,) = import_path(store, path)
    assert (report.read, report.accepted, report.unchanged, report.companies) == (3, 1, 2, 2)
    company = store.company("1101")
    assert (company.market, company.listed_since, company.isin) == ("TWSE", date(1962, 2, 9), "TW0001101004")
    (again,) = import_path(store, path)
    assert (again.accepted, again.unchanged) == (0, 3)


@pytest.mark.parametrize("document", [{}, [], ["台積電"], [{"name": ""}], [{"code": True}], 5, [[]]])
def test_what_is_no_list(store: Store, tmp_path: Path, document: object) -> None:
    with pytest.raises(ImportFailed, match="is no company list"):
        resolve_company_list(write(tmp_path, document), store)


def test_lists_that_cannot_be_read(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="cannot be read"):
        resolve_company_list(tmp_path / "absent.json", store)
    (tmp_path / "broken.json").write_text("[{")
    with pytest.raises(ImportFailed, match="not valid JSON"):
        resolve_company_list(tmp_path / "broken.json", store)


# News


def article(n: int, title: str = "台積電法說會", **more: Any) -> dict[str, Any]:
    return {
        "source": {"id": None, "name": "Example"},
        "author": None,
        "title": f"{title} {n}",
        "description": None,
        "url": f"https://www.example.com/{n}",
        "urlToImage": None,
        "publishedAt": f"2025-04-{n % 27 + 1:02}T04:29:33Z",
        "content": "內文… [+100 chars]",
    } | more


def news(store: Store, tmp_path: Path, *entries: dict[str, Any]) -> ImportReport:
    (report,) = import_path(store, write(tmp_path, list(entries)))
    assert report.kind == "news"
    assert report.accepted + report.unchanged + report.quarantined == report.read
    assert sum(report.reasons.values()) == report.quarantined
    return report


def test_both_layouts(store: Store, tmp_path: Path) -> None:
    report = news(
        store,
        tmp_path,
        {"name_zh": "台積電", "name_en": "TSMC", "code": "089953", "news": [article(1), article(2)]},
        {
            "name_zh": "宏碁",
            "news_zh": [article(3)],
            "news_en": [article(4, "Acer Unveils")],
            "code": "089289",
        },
        {"name_zh": "研揚", "news": None},
    )
    assert (report.read, report.accepted, report.companies) == (4, 4, 2)
    first = store.news.articles("2330")[-1]
    assert (first.title, first.source, first.author, first.description) == (
        "台積電法說會 1",
        "Example",
        "",
        "",
    )
    assert first.published_at == datetime(2025, 4, 2, 4, 29, 33, tzinfo=UTC)
    assert {a.language for a in store.news.articles("2353")} == {"zh", "en"}


def test_a_single_entry_needs_no_list(store: Store, tmp_path: Path) -> None:
    (report,) = import_path(store, write(tmp_path, {"name_zh": "台積電", "news": [article(1)]}))
    assert report.accepted == 1


def test_duplicates_and_a_second_import(store: Store, tmp_path: Path) -> None:
    twice = article(1) | {"url": "http://example.com/1/?utm_source=x"}
    syndicated = article(1) | {"url": "https://elsewhere.example/abc"}
    entry = {"name_zh": "台積電", "news": [article(1), twice, syndicated, article(2)]}
    other = {"name_zh": "鴻海", "news": [article(2)]}
    report = news(store, tmp_path, entry, other)
    assert (report.accepted, report.unchanged) == (2, 3)
    assert len(store.news.articles("2317")) == 1, "an article of two companies is kept once, for both"
    report = news(store, tmp_path, entry, other)
    assert (report.accepted, report.unchanged) == (0, 5)


def test_companies_nobody_knows_are_counted_by_name(store: Store, tmp_path: Path) -> None:
    report = news(
        store,
        tmp_path,
        {"name_zh": "七彩虹", "name_en": "Colorful", "news": [article(1), article(2)]},
        {"name_zh": "", "name_en": "Garage+", "news": [article(3)]},
        {"name_zh": "惠友", "name_en": "EverFocus", "news": [article(4)]},
        {"news": [article(5)]},
    )
    assert report.reasons == {
        "unknown_company: 七彩虹 Colorful": 2,
        "unknown_company: Garage+": 1,
        "unknown_company: ?": 1,
    }
    assert len(store.news.articles("5484")) == 1, "known by its English name"


def test_the_code_helps_where_the_names_do_not(store: Store, tmp_path: Path) -> None:
    assert news(store, tmp_path, {"name_zh": "台積店", "code": "2330", "news": [article(1)]}).accepted == 1
    assert news(store, tmp_path, {"name_zh": "誰", "code": "1101", "news": [article(2)]}).quarantined == 1


@pytest.mark.parametrize(
    "bad",
    [
        "text",
        None,
        {},
        article(2, title="x") | {"title": None},
        article(2) | {"url": " "},
        article(2) | {"publishedAt": "?"},
    ],
)
def test_unreadable_articles_go_to_quarantine(store: Store, tmp_path: Path, bad: Any) -> None:
    report = news(store, tmp_path, {"name_zh": "台積電", "news": [article(1), bad]})
    assert (report.accepted, report.reasons) == (1, {"unreadable_article": 1})
    (row,) = store.bars.quarantined()
    assert (row.code, row.line, row.source) == ("2330", 2, report.source)


def test_control_characters_do_not_reach_the_terminal(store: Store, tmp_path: Path) -> None:
    news(store, tmp_path, {"name_zh": "台積電", "news": [article(1, "\x1b[31m紅\n\u202e")]})
    (kept,) = store.news.articles("2330")
    assert kept.title == "[31m紅  1"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("台積電法說會", "zh"),
        ("Acer 全新 Nitro AI 電競筆電：Nitro 18 AI、16 AI 與 V 16S AI，搭載 Ryzen AI CPU", "zh"),
        ("TSMC (台積電) to build a second fab in Arizona", "en"),
        ("Acer unveils a laptop", "en"),
        ("2025", "en"),
        ("", "en"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language
