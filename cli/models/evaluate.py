"""``stockllm evaluate``: score models on a period none of them has seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.forecaster.evaluation.evaluate import Evaluation

#: The embedded model and every baseline.
EVERYTHING = "llama,last,drift,ewma,ewma+world,network,bootstrap,ets,arima,lstm,cnn"

_SHOWN = (
    ("模型", "Model", "", ""),
    ("CRPS", "CRPS", "crps", ".5f"),
    ("比值", "Ratio", "crps_ratio", ".3f"),
    ("DM p", "DM p", "dm_p", ".3f"),
    ("50%", "50%", "coverage50", ".3f"),
    ("80%", "80%", "coverage80", ".3f"),
    ("95%", "95%", "coverage95", ".3f"),
    ("RMSE", "RMSE", "rmse", ".4g"),
    ("MASE", "MASE", "mase", ".3f"),
    ("方向", "Direction", "direction", ".3f"),
    ("95% 區間", "95% interval", "direction_ci", ".3f"),
    ("等級 IC", "Rank IC", "rank_ic", "+.3f"),
    ("n", "n", "n", ",d"),
    ("失敗", "Failures", "parse_failures", ",d"),
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(evaluate)


def evaluate(
    more: list[str] = typer.Argument(None, metavar="[CODE]...", help="The same as --codes."),
    start: str = typer.Option(..., "--start", metavar="DATE", help="First day to forecast, YYYY-MM-DD."),
    end: str = typer.Option(..., "--end", metavar="DATE", help="Last day to forecast."),
    codes: list[str] = typer.Option(
        None,
        "--codes",
        metavar="CODE,...",
        help="Codes or names, by commas; held-out: those that no named model trained on; "
        "all: every one with prices; listed: the companies of the list, which is the default.",
    ),
    horizon: str = typer.Option("1,5,20", "--horizon", metavar="N,...", help="Trading days ahead."),
    paths: int = typer.Option(99, "--paths", help="Futures to sample per forecast."),
    models: str = typer.Option(EVERYTHING, "--models", metavar="NAME,...", help="As --model of forecast."),
    stride: int = typer.Option(1, "--stride", help="Forecast on every so-many-th evening."),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference."),
    moment: str = typer.Option(
        "evening", "--moment", help="evening, morning (the night is known) or open (and the day's open)."
    ),
    seed: int = typer.Option(3407, "--seed"),
    force: bool = typer.Option(False, "--force", help="Let models in that have seen the period; marked."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    report: Path | None = typer.Option(None, "--report", metavar="DIR", help="Write table and plots there."),
) -> None:
    """Forecast every evening of a past period with each model, and score them side by side."""
    from stockllm.cli.windows import Counter, chosen, warn_seen
    from stockllm.forecaster.evaluation.cases import Request
    from stockllm.forecaster.evaluation.evaluate import document
    from stockllm.forecaster.evaluation.evaluate import evaluate as run

    if report is not None and report.exists() and not report.is_dir():
        raise UsageError(
            f"{report} is a file: --report names a folder.", zh=f"{report} 是檔案：--report 要指定資料夾。"
        )
    first, last, style = arguments.day(start), arguments.day(end), arguments.style(prompt)
    horizons = tuple(sorted({arguments.whole(part, "--horizon 1,5,20") for part in arguments.parts(horizon)}))
    store, settings = open_store()
    with store:
        named = tuple(arguments.parts(models))
        wanted = chosen(store, [*(codes or []), *(more or [])], named)
        request = Request(
            first, last, named, wanted, horizons, paths, stride, seed, style, force, arguments.moment(moment)
        )
        made = run(store, request, Counter(settings.language))
    language = settings.language
    for reason in made.cases.left_out[:3]:
        out = text(f"略過：{reason.zh}", f"left out: {reason}", language)
        say(f"stockllm: {out}")
    if (left := len(made.cases.left_out) - 3) > 0:
        rest = text(
            f"另有 {left} 家公司的交易日太少。", f"{left} more companies have too few days.", language
        )
        say(f"stockllm: {rest}")
    for name, seen in made.seen.items():
        warn_seen(name, seen, "its figures are marked as seen", "其成績標為「見過」", language)
    if report is not None:
        from stockllm.forecaster.evaluation.report import write

        written = write(made, report)
        place = text(f"報告在 {written[-1]}", f"the report is in {written[-1]}", language)
        say(f"stockllm: {place}")
    if as_json:
        emit_json(document(made))
        return
    banner(made.simulated, language)
    _show(made, document(made), language)


def _show(made: Evaluation, facts: dict[str, Any], language: str) -> None:
    from stockllm.forecaster.evaluation.report import cell

    pick = 1 if language == "en" else 0
    period = facts["start"], facts["end"]
    count, evenings = len(facts["codes"]), facts["origins"]
    show(
        text(
            f"{period[0]} 至 {period[1]}：{count} 家公司、{evenings} 個起算日、{facts['paths']} 條路徑",
            f"{period[0]} to {period[1]}: {count} companies, {evenings} evenings, {facts['paths']} paths",
            language,
        )
    )
    for horizon, best in facts["best_baseline"].items():
        show()
        show(
            text(
                f"{horizon} 日，最佳基準 {best}",
                f"{horizon} day{'' if horizon == '1' else 's'}, best baseline {best}",
                language,
            )
        )
        rows = []
        for name in made.scores:
            figures = facts["models"][name][horizon]
            mark = text("（見過）", " (seen)", language) if figures["seen"] else ""
            rows.append([name + mark, *(cell(figures[key], form) for _, _, key, form in _SHOWN[1:])])
        table([column[pick] for column in _SHOWN], rows, right=range(1, len(_SHOWN)))
    show()
    show(
        text(
            "CRPS 為對數報酬的公平形式，比值相對於 ewma；DM p 小於 0.05 才算有差別。過去的成績不是承諾。",
            "CRPS: fair form, of log returns; ratio: to ewma's; a difference counts with DM p "
            "below 0.05 alone. A past score is no promise.",
            language,
        )
    )
