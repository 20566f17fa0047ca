"""The real data beside the checkout: every row accounted for."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from stockllm.collectors.files.news_json import NEWS_KEYS, language_of
from stockllm.collectors.imports import import_path
from stockllm.data.health import health
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Home(tmp_path / "home")) as opened:
        yield opened


def test_the_prices_of_the_41(store: Store, shared_dir: Path) -> None:
    folder = shared_dir / "market" / "prices"
    paths = sorted(folder.glob("*.csv"))
    lines = {path.stem: len(path.read_text().splitlines()) - 1 for path in paths}
    reports = import_path(store, folder)
    assert {report.source: report.read for report in reports} == {
        f"prices/{code}.csv": count for code, count in lines.items()
    }
    assert all(r.accepted == r.read and not r.unchanged and not r.quarantined for r in reports)
    assert store.bars.codes() == [company.code for company in COMPANIES]
    assert store.bars.count() == sum(lines.values())
    again = import_path(store, folder)
    assert all(r.unchanged == r.read and not r.accepted and not r.quarantined for r in again)
    assert [r.flagged for r in again] == [r.flagged for r in reports]
    document = health(store).document()
    assert (document["bars"], document["quarantined"]) == (sum(lines.values()), 0)
    days = {path.stem: {line.split(",")[1] for line in path.read_text().splitlines()[1:]} for path in paths}
    traded = set().union(*days.values())
    assert {company["code"]: company["gaps"] for company in document["companies"]} == {
        code: sum(min(own) < day < max(own) for day in traded - own) for code, own in days.items()
    }


def test_the_official_record(store: Store, shared_dir: Path) -> None:
    path = shared_dir / "market" / "official" / "2317.csv"
    (report,) = import_path(store, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    blank = [row for row in rows if not row["open"]]
    assert report.read == len(rows)
    assert (report.accepted, report.reasons) == (len(rows) - len(blank), {"no_trade": len(blank)})
    assert blank
    bars = {bar.date: bar for bar in store.bars.bars("2317")}
    for row in rows:
        if row["open"]:
            bar = bars[date.fromisoformat(row["date"])]
            assert bar.close == round(float(row["close"]) * 100)
            assert (bar.volume, bar.trades) == (int(row["capacity"]), int(row["transaction"]))
            assert bar.value == int(row["turnover"])
    # A Saturday that made up for a bridge day, and an ex-date with more than a limit's fall.
    assert date(2016, 1, 30) in bars
    assert "past_limit" in bars[date(2018, 10, 26)].flags


def test_the_universe_in_part(store: Store, shared_dir: Path, tmp_path: Path) -> None:
    """The companies with a glitch, a tenfold step, closes out of range and the hole in August."""
    pc = pytest.importorskip("pyarrow.compute")
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(shared_dir / "market" / "universe.parquet")
    codes = ["1752", "3114", "7780", "2067", "6913", "2330"]
    part = table.filter(pc.is_in(table["code"], value_set=pa.array(codes)))
    pq.write_table(part, tmp_path / "part.parquet", row_group_size=100)
    (report,) = import_path(store, tmp_path / "part.parquet")
    assert report.read == part.num_rows == report.accepted + report.quarantined
    assert report.companies == len(codes)
    refused = store.bars.quarantined()
    jumps = {(row.code, row.date) for row in refused if row.reason == "jump_100x"}
    assert jumps == {("1752", date(2025, 1, 10)), ("3114", date(2025, 4, 25))}
    outside = pc.or_(pc.greater(part["close"], part["high"]), pc.less(part["close"], part["low"]))
    assert report.reasons["close_outside_range"] == pc.sum(outside).as_py()
    flagged = {bar.date for bar in store.bars.bars("7780") if "past_limit" in bar.flags}
    assert {date(2026, 1, 2), date(2026, 1, 8)} <= flagged, "a tenfold step may be a split: kept"
    assert store.bars.bars("6913", date(2025, 8, 1), date(2025, 8, 1))
    (again,) = import_path(store, tmp_path / "part.parquet")
    assert (again.accepted, again.unchanged, again.quarantined) == (0, report.accepted, report.quarantined)


def test_the_news(store: Store, shared_dir: Path) -> None:
    path = shared_dir / "news" / "newsapi_2025.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    articles = [a for entry in document for key in NEWS_KEYS for a in entry.get(key) or ()]
    (report,) = import_path(store, path)
    assert report.read == len(articles)
    assert report.accepted + report.unchanged + report.quarantined == report.read
    assert all(reason.startswith("unknown_company: ") for reason in report.reasons)
    assert report.companies == 30
    assert report.unchanged > 40, "the same articles were found for several companies"
    assert store.news.articles("6579"), "研揚, whose code in this file is a warrant's"
    (again,) = import_path(store, path)
    assert (again.accepted, again.unchanged) == (0, report.accepted + report.unchanged)


def test_languages_agree_with_the_layout_that_tells_them(shared_dir: Path) -> None:
    document = json.loads((shared_dir / "news" / "newsapi_2025.json").read_text(encoding="utf-8"))
    told = [
        (a, key[-2:]) for entry in document for key in ("news_zh", "news_en") for a in entry.get(key) or ()
    ]
    assert len(told) > 100
    assert all(language_of(f"{a['title']} {a['description'] or ''}") == language for a, language in told)


def test_the_company_list(store: Store, shared_dir: Path) -> None:
    (report,) = import_path(store, shared_dir / "market" / "companies.json")
    assert (report.kind, report.read, report.unchanged, report.companies) == ("companies", 41, 41, 41)
