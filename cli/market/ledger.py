"""``stockllm ledger``: score the frozen forecasts whose days have come, and show the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import MOMENT_NAMES, banner, counter, emit_json, open_store, show, table, text
from stockllm.data.errors import UsageError
from stockllm.data.stores.standing import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.store import Store
    from stockllm.data.stores.ledger import LedgerRow
    from stockllm.data.stores.scores import ScoredDay
    from stockllm.data.stores.standing import Reason


def register(app: typer.Typer) -> None:
    """Add the two commands as a group."""
    group = typer.Typer(
        name="ledger",
        help="The frozen forecasts and how they came out. Both commands take --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("score")(score)
    group.command("show")(show_record)
    app.add_typer(group)


def score(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> None:
    """Score every day of every forecast that has arrived; days already scored keep their scores."""
    from stockllm.forecaster.evaluation.scoring import record, score_due

    store, settings = open_store()
    language = settings.language
    with store:
        report = score_due(store, counter)
        now = record(store)
    if as_json:
        emit_json(
            {
                "forecasts": report.forecasts,
                "days": report.days,
                "waiting": report.waiting,
                "record": now.document(),
            }
        )
        return
    banner(now.simulated, language)
    show(
        text(
            f"評分 {report.forecasts:,} 次預測的 {report.days:,} 天；{report.waiting:,} 次還有日子要等。",
            f"Scored {_count(report.days, 'day')} of {_count(report.forecasts, 'forecast')}; "
            f"{_count(report.waiting, 'forecast')} with days still to come.",
            language,
        )
    )
    show(text(now.sentence_zh, now.sentence_en, language))


def show_record(
    code: str = typer.Option("", "--code", help="One company, by code or name."),
    model: str = typer.Option("", "--model", help="One model: llama, llama+ADAPTER, ewma ..."),
    limit: int = typer.Option(20, "--limit", help="Forecasts to list, the newest first."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Show the record against the naive forecast in plain words, and the forecasts behind it."""
    from stockllm.data.stores.standing import settled
    from stockllm.forecaster.evaluation.scoring import record, records_by_moment

    if limit < 1:
        raise UsageError(
            f"The number of forecasts to list is 1 or more, not {limit}.",
            zh=f"要列出的預測數為 1 以上，而不是 {limit}。",
        )
    store, settings = open_store()
    language = settings.language
    with store:
        wanted = store.resolve(code).code if code else None
        rows = [
            row
            for row in store.ledger.list(wanted, limit=1_000_000)
            if not model or model == model_name(row.model, row.adapter)
        ]
        if model and not rows:
            raise _no_such_model(store, model, wanted)
        names = sorted({model_name(row.model, row.adapter) for row in rows})
        records = {name: record(store, wanted, name) for name in names}
        whole = record(store, wanted, model or None)
        moments = records_by_moment(store, wanted, model or None)
        days: dict[int, list[ScoredDay]] = {}
        for day in store.scores.list(wanted, model or None):
            days.setdefault(day.score.forecast, []).append(day)
        shown = [
            _document(
                store, row, own := days.get(row.id, []), settled(row.why_not, (each.score for each in own))
            )
            for row in rows[:limit]
        ]
    if as_json:
        emit_json(
            {
                "record": whole.document(),
                "moments": {name: each.document() for name, each in moments.items()},
                "models": {name: each.document() for name, each in records.items()},
                "total": len(rows),
                "forecasts": shown,
            }
        )
        return
    banner(whole.simulated, language)
    show(text(whole.sentence_zh, whole.sentence_en, language))
    if len(moments) > 1:
        show()
        for moment, each in moments.items():
            sentence = text(each.sentence_zh, each.sentence_en, language)
            show(f"{text(*MOMENT_NAMES[moment], language)}  {sentence}")
    if len(records) > 1:
        show()
        for name, each in records.items():
            show(f"{name}  {text(each.sentence_zh, each.sentence_en, language)}")
    if shown:
        show()
        _table(shown, language)
        if len(rows) > len(shown):
            show(text(f"共 {len(rows):,} 次預測。", f"{len(rows):,} forecasts in all.", language))


def model_name(model: str, adapter: str | None) -> str:
    """The name a user gives a model: ``llama``, ``llama+ADAPTER``."""
    return model if adapter is None else f"{model}+{adapter}"


def _no_such_model(store: Store, model: str, code: str | None) -> UsageError:
    rows = store.ledger.list(code, limit=1_000_000)
    there = sorted({model_name(row.model, row.adapter) for row in rows})
    en, zh = "make one with 'stockllm forecast'", "請用 'stockllm forecast' 產生"
    if there:
        en, zh = f"it has {', '.join(there)}", f"有的是 {'、'.join(there)}"
    return UsageError(
        f"The ledger holds no forecast of {model}: {en}.", zh=f"帳本沒有 {model} 的預測：{zh}。"
    )


def _document(store: Store, row: LedgerRow, days: Sequence[ScoredDay], why: Reason | None) -> dict[str, Any]:
    crps = sum(each.score.crps for each in days)
    naive = sum(each.score.naive_crps for each in days)
    calls = [each.score.direction for each in days if each.score.direction is not None]
    return {
        "id": row.id,
        "code": row.code,
        "name": store.company(row.code).name_zh,
        "as_of": row.as_of.isoformat(),
        "made_at": row.made_at.isoformat(),
        "model": row.model,
        "adapter": row.adapter,
        "horizon": row.horizon,
        "paths": row.paths,
        "due": row.due.isoformat(),
        "simulated": row.simulated,
        "days_scored": len(days),
        "crps": crps / len(days) if days else None,
        "naive_crps": naive / len(days) if days else None,
        "crps_ratio": crps / naive if naive > 0 else None,
        "inside80": sum(each.score.inside80 for each in days),
        "right_calls": sum(calls),
        "calls": len(calls),
        "moment": row.moment,
        "seed": row.seed,
        "counts": bool(days) and why is None,
        "why_not": why,
        "days": [
            {
                "date": each.score.date.isoformat(),
                "crps": each.score.crps,
                "naive_crps": each.score.naive_crps,
                "inside50": each.score.inside50,
                "inside80": each.score.inside80,
                "inside95": each.score.inside95,
                "error": each.score.error,
                "actual": each.score.actual,
                "direction": each.score.direction,
                "ahead": each.score.ahead,
                "seen": each.score.seen,
            }
            for each in days
        ],
    }


def _table(shown: list[dict[str, Any]], language: str) -> None:
    rows = []
    for each in shown:
        scored = each["days_scored"]
        ratio, calls = each["crps_ratio"], each["calls"]
        rows.append(
            (
                each["id"],
                each["code"],
                each["name"],
                each["as_of"],
                text(*MOMENT_NAMES[each["moment"]], language),
                model_name(each["model"], each["adapter"]),
                f"{scored}/{each['horizon']}",
                None if each["crps"] is None else f"{each['crps']:.5f}",
                None if ratio is None else f"{ratio:.3f}",
                f"{each['inside80']}/{scored}" if scored else None,
                f"{each['right_calls']}/{calls}" if calls else None,
                _counts(each, language),
            )
        )
    headers = text(
        "編號 代號 名稱 資料日 時點 模型 已評 CRPS 比值 80%內 方向 列入",
        "Id Code Name As-of Moment Model Scored CRPS Ratio In-80% Direction Counts",
        language,
    )
    table(headers.split(), rows, right=(0, 6, 7, 8, 9, 10))


def _counts(each: dict[str, Any], language: str) -> str | None:
    """Whether a forecast counts, and why not; None where its days are still to come."""
    if each["why_not"] is not None:
        return f"{text('否', 'no', language)}: {words(each['why_not']).sentence(language)}"
    return text("是", "yes", language) if each["counts"] else None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
