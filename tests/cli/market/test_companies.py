"""``stockllm companies``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES, Company


def test_lists_all_before_anything_is_imported(run: Callable[..., Any], home_dir: Path) -> None:
    result = run("companies")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1 + len(COMPANIES)
    assert not home_dir.exists()


def test_json_lists_every_field(document: Callable[..., Any]) -> None:
    listed = document("companies", "--json")
    assert [company["code"] for company in listed] == [c.code for c in COMPANIES]
    assert set(listed[0]) == {
        "code", "name_zh", "name_en", "listed_name", "market", "industry", "listed_since", "isin",
    }  # fmt: skip


@pytest.mark.parametrize("query", ["2330", "台積電", "tsmc", "TSMC"])
def test_resolves_codes_and_names(query: str, document: Callable[..., Any]) -> None:
    assert [company["code"] for company in document("companies", query, "--json")] == ["2330"]


def test_unknown_names_the_nearest(refused: Callable[..., str]) -> None:
    said = refused("companies", "台機電")
    assert "台機電" in said
    assert "台積電" in said


def test_unknown_in_a_store_names_the_nearest(refused: Callable[..., str], simulated_home: Home) -> None:
    assert "聯發科" in refused("companies", "聯發", "--json")


def test_uses_the_store_where_there_is_one(run: Callable[..., Any], simulated_home: Home) -> None:
    result = run("companies", "鴻海", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["code"] == "2317"


def test_a_company_of_which_little_is_known(
    run: Callable[..., Any], document: Callable[..., Any], home_dir: Path
) -> None:
    with Store.open(Home(home_dir)) as store:
        store.add_companies([Company.bare("2603", "長榮")])
    assert len(document("companies", "--json")) == len(COMPANIES) + 1
    assert document("companies", "長榮", "--json")[0]["listed_since"] is None
    assert run("companies", "2603").stdout.rstrip().endswith("-")


def test_a_broken_store_is_one_sentence(refused: Callable[..., str], home_dir: Path) -> None:
    home_dir.mkdir()
    (home_dir / "store.sqlite").write_text("no database, but long enough to look at" * 10)
    assert "store.sqlite" in refused("companies", code=1)


def test_headers_follow_the_language(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Industry" in run("companies", "2330").stdout
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    assert "產業" in run("companies", "2330").stdout
