"""``stockllm health``: how fresh and how complete the store is, company by company."""

from __future__ import annotations

import typer

from stockllm.cli.output import banner, emit_json, open_store, show, table, text


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("health")(health)


def health(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> None:
    """Show freshness, gaps and quarantined rows."""
    from stockllm.data.health import health as examine
    from stockllm.market.companies import display

    store, settings = open_store()
    with store:
        report = examine(store)
        document = report.document()
        simulated = store.simulated
        names = {company.code: display(company, settings.language) for company in store.companies()}
    document.setdefault("simulated", simulated)
    if as_json:
        emit_json(document)
        return
    language = settings.language
    banner(simulated, language)
    stale = {company.code: company.stale_days for company in report.companies}
    headers = text(
        "代號 名稱 起日 迄日 日數 缺漏 隔離 落後交易日",
        "Code Name First Last Bars Gaps Quarantined Behind",
        language,
    )
    rows = [
        (
            c["code"],
            names.get(c["code"], c["name"]),
            c["first"],
            c["last"],
            c["bars"],
            c["gaps"],
            c["quarantined"],
            stale[c["code"]],
        )
        for c in document["companies"]
    ]
    table(headers.split(), rows, right={4, 5, 6, 7})
    show()
    show(
        text(
            f"{len(rows)} 家公司，{document['bars']} 筆日線，{document['quarantined']} 筆隔離",
            f"{len(rows)} companies, {document['bars']} bars, {document['quarantined']} rows in quarantine",
            language,
        )
    )
    for reason, count in sorted(document["reasons"].items()):
        show(f"  {reason}: {count}")
