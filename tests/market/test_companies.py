"""The 41 companies and the names they answer to."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from stockllm.market.companies import (
    COMPANIES,
    Company,
    UnknownName,
    display,
    is_ordinary_share,
    normalise,
    resolve,
)


def test_facts(shared_dir: Path) -> None:
    facts = json.loads((shared_dir / "market" / "companies.json").read_text(encoding="utf-8"))
    table = {company.code: company for company in COMPANIES}
    assert set(table) == {fact["code"] for fact in facts}
    for fact in facts:
        company = table[fact["code"]]
        for key in ("name_zh", "name_en", "listed_name", "market", "industry", "isin"):
            assert getattr(company, key) == fact[key], (company.code, key)
        assert company.listed_since == datetime.strptime(fact["listed_since"], "%Y/%m/%d").date()


def test_sorted_and_unambiguous() -> None:
    codes = [company.code for company in COMPANIES]
    assert len(codes) == 41
    assert codes == sorted(set(codes))
    assert all(map(is_ordinary_share, codes))
    owners: dict[str, str] = {}
    for company in COMPANIES:
        for name in company.names():
            assert owners.setdefault(normalise(name), company.code) == company.code, name


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("2330", "2330"),
        (" ２３３０ ", "2330"),
        ("2330.TW", "2330"),
        ("台積電", "2330"),
        ("臺積電", "2330"),
        ("tsmc", "2330"),
        ("研揚", "6579"),
        ("日月光", "3711"),
        ("日月光投控", "3711"),
        ("益登", "3048"),
        ("益登科技股份有限公司", "3048"),
        ("delta electronics", "2308"),
        ("Hon Hai", "2317"),
        ("lite-on", "2301"),
        ("麗台", "2465"),
    ],
)
def test_resolve(query: str, code: str) -> None:
    assert resolve(query).code == code


@pytest.mark.parametrize("query", ["084863", "0050", "", "   ", "not a company"])
def test_what_is_no_ordinary_share_does_not_resolve(query: str) -> None:
    with pytest.raises(UnknownName):
        resolve(query)


def test_nearest_matches() -> None:
    with pytest.raises(UnknownName, match="2330 台積電 TSMC") as caught:
        resolve("台積店")
    assert caught.value.nearest[0].code == "2330"
    with pytest.raises(UnknownName) as caught:
        resolve("Advantek")
    assert caught.value.nearest[0].code == "2395"
    with pytest.raises(UnknownName, match="none") as caught:
        resolve("台積電", [])
    assert caught.value.nearest == ()


def test_a_name_wins_over_an_alias_and_more_companies_can_be_known() -> None:
    other = Company.bare("1234", "台積")
    assert resolve("台積").code == "2330"
    assert resolve("台積", [*COMPANIES, other]).code == "1234"
    assert Company.bare("1234").name_zh == "1234"


def test_display() -> None:
    assert display(resolve("2330"), "zh") == "台積電"
    assert display(resolve("2330"), "en") == "TSMC"
