"""One bad article stops no queue: a date ahead of the clock, half a character."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stockllm.collectors import news_api
from stockllm.collectors.imports import import_path
from stockllm.data.paths import Home
from stockllm.data.store import Store

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def article(number: int, at: datetime, title: str = "台積電") -> dict[str, Any]:
    return {"title": f"{title} {number}", "url": f"https://n.example/{number}", "publishedAt": at.isoformat()}


def keep(store: Store, *articles: dict[str, Any], now: datetime = NOW) -> None:
    web = SimpleNamespace(clock=SimpleNamespace(now=lambda: now))
    news_api._keep(cast(Any, web), store, store.company("2330"), "zh", articles)


def test_an_article_dated_next_year_moves_no_watermark(store: Store) -> None:
    keep(store, article(1, NOW - timedelta(hours=3)), article(2, NOW + timedelta(days=365)))
    assert store.news_turns.all()[("2330", "zh")].newest == NOW - timedelta(hours=3)
    assert len(store.news.articles("2330")) == 2


def test_a_watermark_that_lies_ahead_is_let_go(store: Store) -> None:
    store.news_turns.serve("2330", "zh", NOW - timedelta(days=1), "ok", NOW + timedelta(days=365))
    keep(store, article(1, NOW - timedelta(hours=3)))
    assert store.news_turns.all()[("2330", "zh")].newest == NOW - timedelta(hours=3)


def test_half_a_character_costs_one_character(store: Store, tmp_path: Path) -> None:
    keep(store, article(1, NOW, "台積電 \ud83d"), article(2, NOW))
    assert {each.title for each in store.news.articles("2330")} == {"台積電   1", "台積電 2"}
    path = tmp_path / "news.json"
    path.write_text(
        json.dumps([{"code": "2330", "news": [article(3, NOW, "\udc00 台積電"), article(4, NOW)]}])
    )
    (report,) = import_path(store, path)
    assert (report.read, report.accepted) == (2, 2)
