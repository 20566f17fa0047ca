"""News: each article once, for every company it was found for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.records import Article
from stockllm.data.store import Store
from stockllm.data.stores.news import normalise_title, normalise_url

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


def article(number: int = 1, **more: Any) -> Article:
    made = Article(
        f"https://example.tw/{number}",
        f"標題 {number}",
        "Example",
        NOON,
        "zh",
        "一段",
        "全文 [+9 chars]",
        "某人",
    )
    return replace(made, **more)


def test_once_however_often_it_arrives(store: Store) -> None:
    assert store.news.put([article(1), article(2), article(1)], "2330") == (2, 1)
    assert store.news.put([article(2), article(1)], "2330") == (0, 2)
    assert store.news.articles("2330") == [article(2), article(1)]


def test_found_for_two_companies(store: Store) -> None:
    store.news.put([article()], "2330")
    assert store.news.put([article()], "2454") == (0, 1)
    assert store.news.articles("2330") == store.news.articles("2454") == [article()]


@pytest.mark.parametrize(
    ("copy", "known"),
    [
        ({"url": "http://www.example.tw/1/?utm_source=x&fbclid=3#top", "title": "另"}, True),
        ({"url": "https://EXAMPLE.tw:443/1", "title": "另"}, True),
        ({"url": "https://example.tw/1?id=2", "title": "另"}, False),
        ({"url": "https://m.tw/9", "title": "標題　１！"}, True),
        ({"url": "https://m.tw/9", "published_at": NOON + timedelta(days=3)}, True),
        ({"url": "https://m.tw/9", "published_at": NOON - timedelta(days=30)}, False),
        ({"url": "https://m.tw/9", "title": "標題 12"}, False),
    ],
)
def test_what_counts_as_the_same(store: Store, copy: dict[str, Any], known: bool) -> None:
    store.news.put([article()], "2330")
    assert store.news.put([article(**copy)], "2330") == ((0, 1) if known else (1, 0))


@pytest.mark.parametrize("title", ["", "[Removed]", "…"])
def test_no_title_is_not_the_same_title(store: Store, title: str) -> None:
    assert store.news.put([article(1, title=title), article(2, title=title)], "2330") == (2, 0)


def test_newest_first_in_one_language(store: Store) -> None:
    taipei = timezone(timedelta(hours=8))
    later = article(3, published_at=datetime(2025, 3, 3, 21, tzinfo=taipei), language="en")
    earlier = article(2, published_at=datetime(2025, 3, 3, 19, 59, 59, 5, tzinfo=taipei))
    store.news.put([article(1), later, earlier], "2330")
    assert store.news.articles("2330") == [later, article(1), earlier]
    assert store.news.articles("2330", limit=1) == [later]
    assert store.news.articles("2330", language="zh") == [article(1), earlier]
    assert store.news.articles("2330")[0].published_at.tzinfo == UTC


def test_nothing_half_written(store: Store) -> None:
    def broken() -> Iterator[Article]:
        yield article()
        raise RuntimeError("the file ended")

    with pytest.raises(RuntimeError):
        store.news.put(broken(), "2330")
    with pytest.raises(ValueError, match="time zone"):
        store.news.put([article(), article(2, published_at=datetime(2025, 3, 3))], "2330")
    assert store.news.articles("2330") == []


def test_addresses_and_titles() -> None:
    assert normalise_url("https://a.tw/x?b=2&a=1") == normalise_url("http://a.tw/x/?a=1&b=2&utm_medium=rss")
    assert normalise_url("https://a.tw:8080/") == "a.tw:8080"
    assert normalise_url(" no address ") == "no address"
    assert normalise_url("http://[broken") == "http://[broken"
    assert normalise_title("ＴＳＭＣ：「台積電」 ") == normalise_title("tsmc 台積電")


def test_a_real_harvest(store: Store, shared_dir: Path) -> None:
    """Several hundred articles with copies among them: as many stored as differ, none twice."""
    harvest = json.loads((shared_dir / "news" / "newsapi_2025.json").read_text(encoding="utf-8"))
    new = known = 0
    urls = set()
    for company in harvest:
        found = [a for key in ("news", "news_zh", "news_en") for a in company.get(key, [])]
        urls |= {a["url"] for a in found}
        counts = store.news.put(
            (
                Article(
                    a["url"], a["title"], a["source"]["name"], datetime.fromisoformat(a["publishedAt"]), "zh"
                )
                for a in found
            ),
            str(company.get("code") or company["name_zh"]),
        )
        new, known = new + counts[0], known + counts[1]
        assert sum(counts) == len(found)
    assert 0.95 * len(urls) < new <= len(urls)
    assert known > 0
