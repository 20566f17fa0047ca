"""``stockllm companies``: the companies, or the one that a name or code means."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import emit_json, show, table, text

if TYPE_CHECKING:
    from stockllm.market.companies import Company


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("companies")(companies)


def companies(
    query: str = typer.Argument(
        "", help="A code, a Chinese or English name, or the listed name.", metavar="[QUERY]"
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list on stdout."),
) -> None:
    """List the companies, or resolve one."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings

    home = Home.locate()
    language = Settings.load(home).language
    found = _from_store(query) if home.store.exists() else _from_the_market(query)
    if as_json:
        emit_json([_document(company) for company in found])
        return
    if not found:
        show(text("沒有公司", "No companies", language))
        return
    headers = text(
        "代號 名稱 英文名稱 上市簡稱 市場 產業 上市日期",
        "Code Name English Listed-as Market Industry Since",
        language,
    ).split()
    rows = [
        (c.code, c.name_zh, c.name_en, c.listed_name, c.market, c.industry, _day(c.listed_since))
        for c in found
    ]
    table(headers, rows)


def _from_store(query: str) -> list[Company]:
    """The store knows the companies that company lists added, and any stock that has bars."""
    from stockllm.cli.output import open_store

    store, _ = open_store()
    with store:
        return [store.resolve(query)] if query.strip() else list(store.companies())


def _from_the_market(query: str) -> list[Company]:
    """Before anything was imported the built-in companies are all there are."""
    from stockllm.data.errors import UnknownCompany
    from stockllm.market.companies import COMPANIES, UnknownName, resolve

    if not query.strip():
        return list(COMPANIES)
    try:
        return [resolve(query)]
    except UnknownName as error:
        nearest = [f"{c.code} {c.name_zh} {c.name_en}" for c in error.nearest]
        en, zh = "`stockllm companies` lists all that are known", "已知的公司見 `stockllm companies`"
        if nearest:
            en, zh = f"the nearest are {', '.join(nearest)}", f"最接近的是 {'、'.join(nearest)}"
        raise UnknownCompany(
            f"No company is called {query!r}; {en}.", zh=f"沒有名為 {query!r} 的公司；{zh}。"
        ) from error


def _document(company: Company) -> dict[str, Any]:
    return {
        "code": company.code,
        "name_zh": company.name_zh,
        "name_en": company.name_en,
        "listed_name": company.listed_name,
        "market": company.market,
        "industry": company.industry,
        "listed_since": _day(company.listed_since),
        "isin": company.isin,
    }


def _day(day: date) -> str | None:
    """``date.min`` stands for a day that nobody told us."""
    return None if day == date.min else day.isoformat()
