"""``stockllm calibrate``: how wide a base model's bands have to be, learned from days it has not read."""

from __future__ import annotations

from pathlib import Path

import typer

from stockllm.cli import arguments
from stockllm.cli.output import emit_json, open_store, show, text
from stockllm.data.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate")(calibrate)


def calibrate(
    model: Path = typer.Option(..., "--model", metavar="DIR", help="Folder of the base model."),
    start: str = typer.Option(..., "--start", metavar="DATE", help="First day to forecast, YYYY-MM-DD."),
    end: str = typer.Option(..., "--end", metavar="DATE", help="Last day to forecast."),
    codes: list[str] = typer.Option(
        None, "--codes", metavar="CODE,...", help="As --codes of evaluate; by commas."
    ),
    paths: int = typer.Option(48, "--paths", help="Futures to sample per forecast."),
    stride: int = typer.Option(
        4, "--stride", help="Forecast on every so-many-th evening; 5 and 20 days on fewer."
    ),
    seed: int = typer.Option(3407, "--seed"),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Fit the widths of a base model's paths and its pool with the naive walk; written beside its weights."""
    from stockllm.cli.windows import Counter, chosen
    from stockllm.forecaster.evaluation.calibrate import HORIZONS
    from stockllm.forecaster.evaluation.calibrate import calibrate as fit
    from stockllm.forecaster.evaluation.cases import Request
    from stockllm.forecaster.models.registry import resolve_model

    first, last = arguments.day(start), arguments.day(end)
    if not model.is_dir():
        raise UsageError(
            f"There is no folder {model}: pass that of a base model.",
            zh=f"沒有資料夾 {model}：請指定基礎模型的資料夾。",
        )
    store, settings = open_store()
    with store:
        wanted = chosen(store, codes or [], [str(model)])
        request = Request(first, last, (str(model),), wanted, tuple(HORIZONS), paths, stride, seed)
        request.check()
        progress = Counter(settings.language)
        made = fit(
            store, resolve_model(str(model), store.home), request,
            lambda done, total: progress(model.name, done, total),
        )  # fmt: skip
    made.calibration.write(model)
    if as_json:
        ratios = {"before": made.before, "after": made.after}
        emit_json(
            made.calibration.document()
            | {key: dict(zip(map(str, HORIZONS), of, strict=True)) for key, of in ratios.items()}
        )
        return
    widths = ", ".join(f"{made.calibration.widths[h - 1]:g}" for h in HORIZONS)
    days = ", ".join(map(str, HORIZONS))
    before, after = (", ".join(f"{ratio:.3f}" for ratio in some) for some in (made.before, made.after))
    show(
        text(
            f"{made.calibration.windows:,} 個預測：第 {days} 日寬度 {widths}，"
            f"單純基準占 {made.calibration.naive_share:.0%}；CRPS 比值由 {before} 變為 {after}。",
            f"{made.calibration.windows:,} forecasts: widths of days {days}: {widths}; naive share "
            f"{made.calibration.naive_share:.0%}; CRPS ratios from {before} to {after}.",
            settings.language,
        )
    )
