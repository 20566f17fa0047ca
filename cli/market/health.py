"""``stockllm health``: how fresh and how complete the store is, company by company."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

import typer

from stockllm.cli.output import banner, emit_json, open_store, show, table, text
from stockllm.data.reasons import name_of
from stockllm.nightly.names import OUTCOME_NAMES, STEP_NAMES, WHY_NAMES

if TYPE_CHECKING:
    from stockllm.data.health import HealthReport
    from stockllm.data.stores.refreshes import RefreshRow

TAIPEI = timezone(timedelta(hours=8))

# Companies with missing days that the table lists; --json has them all.
_SHOWN = 15


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("health")(health)


def health(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> None:
    """Show freshness, gaps and quarantined rows, what is missing and why, and the last refresh."""
    from stockllm.collectors.clock import SystemClock
    from stockllm.market.companies import display
    from stockllm.nightly.fitness import examine
    from stockllm.nightly.refresh import document as refresh_document

    store, settings = open_store()
    with store:
        report = examine(store, SystemClock().now())
        document = report.document()
        simulated = store.simulated
        last = next(iter(store.refreshes.list(limit=1)), None)
        names = {company.code: display(company, settings.language) for company in store.companies()}
    examined = {company.code for company in report.companies}
    without = [code for code in names if code not in examined]
    document |= {
        "simulated": simulated,
        "without_prices": without,
        "refresh": refresh_document(last) if last else None,
    }
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
        show(f"  {name_of(reason, language)} ({reason}): {count}")
    _show_history(report, language)
    _show_without(without, names, language)
    _show_missing(report, names, language)
    _show_refresh(last, language)


def _show_history(report: HealthReport, language: str) -> None:
    """What there is beside traded bars."""
    from stockllm.data.health import HISTORY_NAMES

    if not report.history:
        return
    show()
    show(text("此外還有：", "Beside traded prices there are:", language))
    for one in report.history:
        name = text(*HISTORY_NAMES[one.kind], language)
        span = f"{one.first} … {one.last}"
        show(text(f"  {name}：{one.subjects} 檔，{span}", f"  {name}: {one.subjects}, {span}", language))


def _show_without(without: Sequence[str], names: Mapping[str, str], language: str) -> None:
    """The companies of which there is no row at all, so none in the table."""
    if not without:
        return
    number = len(without)
    en = f"{number} {'company' if number == 1 else 'companies'} without any price:"
    show()
    show(text(f"{number} 家公司沒有任何價格：", en, language))
    listed = [f"{code} {names[code]}" for code in without[:_SHOWN]]
    if number > _SHOWN:
        left = number - _SHOWN
        listed.append(text(f"另有 {left} 家，見 --json", f"{left} more in --json", language))
    show("  " + text("、", ", ", language).join(listed))


def _show_missing(report: HealthReport, names: Mapping[str, str], language: str) -> None:
    """What is missing and why, the companies that lack the most first."""
    lacking = [company for company in report.companies if company.missing]
    lacking.sort(key=lambda company: -sum(spell.days for spell in company.missing))
    if lacking:
        show()
        show(text("缺少的交易日與原因：", "Days that are missing, and why:", language))
    for company in lacking[:_SHOWN]:
        spell = company.missing[-1]
        span = f"{spell.first}" if spell.days == 1 else f"{spell.first} … {spell.last} ({spell.days})"
        why = text(*WHY_NAMES[spell.why], language)
        detail = f" ({spell.detail})" if spell.detail else ""
        earlier = sum(other.days for other in company.missing[:-1])
        more = text(f"；更早還缺 {earlier} 日", f"; {earlier} more before", language) if earlier else ""
        show(f"  {company.code} {names.get(company.code, company.name)}: {span} {why}{detail}{more}")
    if len(lacking) > _SHOWN:
        left = len(lacking) - _SHOWN
        show(text(f"  另有 {left} 家，見 --json", f"  {left} more companies in --json", language))


def _show_refresh(last: RefreshRow | None, language: str) -> None:
    if last is None:
        return
    show()
    when = f"{last.started.astimezone(TAIPEI):%Y-%m-%d %H:%M}"
    outcome = text(OUTCOME_NAMES[last.outcome], last.outcome, language)
    show(text(f"上次更新：{when}，{outcome}", f"Last refresh: {when}, {outcome}", language))
    for step in last.steps:
        if step.outcome not in ("ok", "skipped"):
            outcome = text(OUTCOME_NAMES[step.outcome], step.outcome, language)
            name = text(STEP_NAMES.get(step.step, step.step), step.step, language)
            show(f"  {name}: {outcome}  {text(step.zh, step.en, language)}")
