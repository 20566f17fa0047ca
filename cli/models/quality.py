"""``stockllm quality``: how good a model's text is, a sheet for people's ratings, and what they come to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, counter, emit_json, open_store, say, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.forecaster.evaluation.quality import Quality


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("quality")(quality)


def quality(
    model: str = typer.Option("", "--model", help="As --model of forecast; no baseline, they write no text."),
    tasks: str = typer.Option(
        "",
        "--tasks",
        metavar="NAME,...",
        help="prices, market-analysis, risk, recommendation; all of them, but prices alone for llama.",
    ),
    count: int = typer.Option(20, "--count", help="Questions of each task."),
    codes: list[str] = typer.Option(
        None, "--codes", metavar="CODE,...", help="Codes or names; default: all."
    ),
    start: str = typer.Option("", "--start", metavar="DATE", help="Default: after the model's cut-off."),
    end: str = typer.Option("", "--end", metavar="DATE", help="Default: the last day with prices."),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference, for prices."),
    language: str = typer.Option("", "--language", help="zh or en: of the questions; default: yours."),
    seed: int = typer.Option(3407, "--seed"),
    sheet: Path | None = typer.Option(None, "--sheet", help="Write 100 answers to a CSV for people to rate."),
    ratings: list[Path] = typer.Option(
        None, "--ratings", help="Read a filled sheet, again for each rater, and print what they come to."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Ask a model in plain words: perplexity, format, figures from the context, risk notes, latency."""
    if ratings:
        if model or sheet:
            raise UsageError(
                "--ratings reads sheets that are filled: leave --model and --sheet out.",
                zh="--ratings 讀取已填好的評分表：請拿掉 --model 與 --sheet。",
            )
        _ratings(ratings, as_json)
        return
    from dataclasses import replace

    from stockllm.cli.windows import warn_seen
    from stockllm.forecaster.evaluation.quality import Ask, document, measure
    from stockllm.forecaster.evaluation.ratings import ROWS, write_sheet
    from stockllm.forecaster.models.registry import resolve_model

    if language not in ("", "zh", "en"):
        raise UsageError(
            f"There is no language '{language}' here: choose zh or en.",
            zh=f"這裡沒有「{language}」這種語言：請選 zh 或 en。",
        )
    if sheet is not None and sheet.exists():
        raise UsageError(
            f"{sheet} is there already and may hold ratings: name another file for --sheet.",
            zh=f"{sheet} 已經存在，可能有人填過分數：請為 --sheet 指定另一個檔案。",
        )
    store, settings = open_store()
    with store:
        ask = Ask(
            tasks=tuple(dict.fromkeys(arguments.parts(tasks))),
            codes=_codes(store, codes or []),
            count=count,
            start=arguments.day(start) if start else None,
            end=arguments.day(end) if end else None,
            prompt=arguments.style(prompt),
            language=language or settings.language,
            seed=seed,
        )
        ref = resolve_model(model or settings.model, store.home)
        if sheet is not None:  # enough of each task to fill the sheet
            ask = replace(ask, count=max(count, ROWS))
        made = measure(store, ref, ask, counter)
    warn_seen(made.model, made.seen, "its figures are no test of it", "其數字不算檢驗", settings.language)
    if sheet is not None:
        written = write_sheet(made, sheet)
        sheets = text(
            f"{written} 個回答待評 1 到 5 分，在 {sheet}",
            f"{written} answers to rate from 1 to 5 are in {sheet}",
            settings.language,
        )
        say(f"stockllm: {sheets}")
    if as_json:
        emit_json(document(made))
        return
    banner(made.simulated, settings.language)
    _show(made, document(made), settings.language)


def _codes(store: Any, given: list[str]) -> tuple[str, ...]:
    queries = [part for each in given for part in arguments.parts(each)]
    return tuple(dict.fromkeys(store.resolve(query).code for query in queries))


def _show(made: Quality, facts: dict[str, Any], language: str) -> None:
    show(
        text(
            f"{made.model}：{facts['start']} 至 {facts['end']}，{len(facts['codes'])} 家公司，不加文法作答",
            f"{made.model}: {facts['start']} to {facts['end']}, {len(facts['codes'])} companies, asked "
            "without a grammar",
            language,
        )
    )
    show()
    headers = text(
        "任務 回答 困惑度 合格 格式全對 數字有據 （範例） 風險提示 p50秒 p95秒 p99秒",
        "Task Answers Perplexity Valid Exact In-context (truth) Risk-note p50-s p95-s p99-s",
        language,
    )
    rows = []
    for task, its in facts["tasks"].items():
        seconds = its["seconds"] or {}
        rows.append(
            (
                task,
                its["answers"],
                _number(its["perplexity"], ".3f"),
                *(
                    _number(its[name], ".1%")
                    for name in (
                        *("valid", "exact", "numbers_in_context", "numbers_in_context_of_truth"),
                        "risk_note",
                    )
                ),
                *(_number(seconds.get(name), ".2f") for name in ("p50", "p95", "p99")),
            )
        )
    table(headers.split(), rows, right=range(1, 11))


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _ratings(paths: list[Path], as_json: bool) -> None:
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.forecaster.evaluation.ratings import read_sheet, summary

    language = Settings.load(Home.locate()).language
    facts = summary([read_sheet(path) for path in paths])
    if as_json:
        emit_json(facts)
        return
    spread = _number(facts["standard_deviation"], ".2f") or "-"
    show(
        text(
            f"{facts['raters']} 位評分者，{facts['samples']} 個樣本中評了 {facts['rated']} 個："
            f"平均 {facts['mean']:.2f}，標準差 {spread}",
            f"{facts['raters']} {'rater' if facts['raters'] == 1 else 'raters'}, {facts['rated']} of "
            f"{facts['samples']} samples rated: mean {facts['mean']:.2f}, standard deviation {spread}",
            language,
        )
    )
    headers = text("分數 次數", "Rating Count", language).split()
    table(headers, list(facts["counts"].items()), right=(1,))
    if facts["raters"] > 1:
        show()
        rows = [(Path(name).name, f"{mean:.2f}") for name, mean in facts["means"].items()]
        table(text("評分者 平均", "Rater Mean", language).split(), rows, right=(1,))
    if facts["equal"] is None:
        show(text("一致性：要兩位以上評同一樣本。", "Agreement: needs two ratings of a sample.", language))
        return
    alpha = _number(facts["alpha"], ".2f") or "-"
    show(
        text(
            f"一致性：相同 {facts['equal']:.0%}，差一分以內 {facts['within_one']:.0%}，"
            f"Krippendorff alpha {alpha}（1 為完全一致，0 如同抽籤）",
            f"Agreement: equal {facts['equal']:.0%}, within one {facts['within_one']:.0%}, Krippendorff's "
            f"alpha {alpha} (1: all agree, 0: as by lot)",
            language,
        )
    )
