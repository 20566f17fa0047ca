"""``stockllm health``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from standin import FakeClock

from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES


def test_the_document_accounts_for_every_bar(
    document: Callable[..., Any], simulated_home: Home, small_market: SimulatedMarket
) -> None:
    report = document("health", "--json")
    assert report["bars"] == len(small_market.bars)
    assert report["simulated"] is True
    assert report["quarantined"] == 0
    assert report["reasons"] == {}
    assert sum(c["bars"] for c in report["companies"]) == report["bars"]
    assert {"code", "name", "first", "last", "bars", "gaps", "quarantined"} <= set(report["companies"][0])
    gaps = 41 * 60 - len(small_market.bars)
    assert sum(c["gaps"] for c in report["companies"]) == gaps


def test_the_table_starts_with_the_banner(
    run: Callable[..., Any], simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("health")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("SIMULATED 模擬資料")
    assert "Quarantined" in lines[1]
    assert any(line.split()[:2] == ["2330", "TSMC"] for line in lines)
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    assert "隔離" in run("health").stdout
    assert "台積電" in run("health").stdout


def test_an_evening_whose_lists_are_out_is_missing_too(
    document: Callable[..., Any], run: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, evening = date(2025, 4, 8), date(2025, 4, 9)
    now = FakeClock(datetime(2025, 4, 9, 16, 59))
    monkeypatch.setattr("stockllm.collectors.clock.SystemClock.now", lambda _self: now.now())
    with Store.open(Home(home_dir)) as store:
        store.bars.put([Bar("2330", before, 1000, 1000, 1000, 1000, 1000, "x")])
    (company,) = document("health", "--json")["companies"]
    assert (company["stale_days"], company["missing"]) == (0, [])
    now.sleep(60)
    (company,) = document("health", "--json")["companies"]
    assert (company["stale_days"], company["missing"][0]["first"]) == (1, evening.isoformat())
    assert f"2330 TSMC: {evening} not asked for yet" in run("health").stdout


def test_companies_without_a_price_are_named(
    document: Callable[..., Any], run: Callable[..., Any], home_dir: Path
) -> None:
    with Store.open(Home(home_dir)) as store:
        store.bars.put(Bar(c.code, date(2025, 4, 8), 1, 1, 1, 1, 1, "x") for c in COMPANIES[1:])
    assert document("health", "--json")["without_prices"] == [COMPANIES[0].code]
    text = run("health").stdout
    assert "1 company without any price:" in text
    assert f"  {COMPANIES[0].code} {COMPANIES[0].name_en}" in text


def test_without_a_store_it_says_what_to_do(refused: Callable[..., str], home_dir: Path) -> None:
    said = refused("health", "--json", code=1)
    assert "stockllm import" in said
    assert not home_dir.exists()


def test_a_corrupt_store_is_one_sentence(refused: Callable[..., str], simulated_home: Home) -> None:
    content = simulated_home.store.read_bytes()
    simulated_home.store.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert "store.sqlite" in refused("health", code=1)


def test_wrong_settings_are_one_sentence(
    refused: Callable[..., str], simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "fr")
    assert "language" in refused("health")
