"""``stockllm pretrain``: train the embedded base model anew from many stocks' days."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import say, show, text
from stockllm.data.errors import NotEnoughHistory, UsageError

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries, ImportReport


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("pretrain")(pretrain)


def pretrain(
    universe: Path = typer.Option(..., "--universe", help="Parquet of code,date,open,high,low,close,volume."),
    output_dir: Path | None = typer.Option(
        None, "--output-dir", "--output_dir", help="Folder of the new model; default: base_model in the home."
    ),
    until: str = typer.Option("", "--until", metavar="DATE", help="Last day to learn from; default: all."),
    hold_out: int = typer.Option(200, "--hold-out", "--hold_out", help="Companies kept out, never the 41."),
    histories: Path | None = typer.Option(
        None, "--histories", help="File or folder of prices of some companies over many more years."
    ),
    twin: Path | None = typer.Option(
        None,
        "--twin",
        metavar="DIR",
        help="A base model of less data: its held-out companies stay out, and its calibration is taken.",
    ),
    steps: int = typer.Option(2000, "--steps", help="Training steps; a step is about 8,000 tokens."),
    seed: int = typer.Option(3407, "--seed"),
) -> None:
    """Train a base model; run again with the same folder, it goes on from its checkpoint."""
    from dataclasses import replace

    from stockllm.data.paths import Home
    from stockllm.data.settings import spoken
    from stockllm.forecaster.pretraining.pretrain import pretrain as train
    from stockllm.forecaster.pretraining.pretrain import split_companies
    from stockllm.forecaster.pretraining.recipe import Recipe
    from stockllm.forecaster.sampling.calibration import read_calibration
    from stockllm.market.companies import COMPANIES

    if steps < 1:
        raise UsageError(
            f"The number of steps is at least 1, not {steps}.", zh=f"--steps 至少是 1，不是 {steps}。"
        )
    if seed < 0:
        raise UsageError(
            f"The seed is a whole number from 0 on, not {seed}.", zh=f"--seed 是 0 以上的整數，不是 {seed}。"
        )
    language = spoken()
    last = arguments.day(until) if until else None
    held_out = list(_held_out(twin)) if twin is not None else []
    target = (output_dir or Home.locate().root / "base_model").expanduser().absolute()
    series = _series(universe, last, language)
    if not series:
        raise NotEnoughHistory(
            f"{universe} holds no prices{f' up to {until}' if until else ''}.",
            zh=f"{universe} 沒有{f' {until} 以前的' if until else ''}股價。",
        )
    recipe = Recipe(steps=steps, hold_out=hold_out, seed=seed)
    if not held_out:
        codes, held_out = split_companies([s.code for s in series], [c.code for c in COMPANIES], recipe)
    else:
        codes = [s.code for s in series if s.code not in set(held_out)]
        recipe = replace(recipe, hold_out=len(held_out))
    wanted = set(codes)
    older = _series(histories, last, language) if histories is not None else []
    train(
        [s for s in series if s.code in wanted],
        target,
        recipe,
        until=last or max(s.dates[-1] for s in (*series, *older)),
        held_out=held_out,
        histories=[s for s in older if s.code not in set(held_out)],
        report=lambda facts: say(_so_far(facts, steps, language)),
    )
    if twin is not None and (calibration := read_calibration(twin)) is not None:
        calibration.write(target)
    show(
        text(
            f"基礎模型在 {target}：預測時加 --model {target}。",
            f"The base model is in {target}: forecast with --model {target}.",
            language,
        )
    )


def _so_far(facts: dict[str, Any], steps: int, language: str) -> str:
    """How far a training is, as one line."""
    step, loss, speed = f"{facts['step']:,}/{steps:,}", facts["loss"], f"{facts['tokens_per_second']:,}"
    minutes, seconds = divmod(round(facts["seconds"]), 60)
    return text(
        f"訓練中 {step} 步，損失 {loss:.4f}，每秒 {speed} 個詞元，已過 {minutes}:{seconds:02d}",
        f"training {step} steps, loss {loss:.4f}, {speed} tokens/s, {minutes}:{seconds:02d} so far",
        language,
    )


def _held_out(twin: Path) -> tuple[str, ...]:
    """The companies that another base model was trained without; UsageError where it does not say."""
    from stockllm.forecaster.models.registry import ModelRef
    from stockllm.forecaster.sampling.cutoffs import held_out

    found = held_out(ModelRef(str(twin), twin))
    if not found:
        raise UsageError(
            f"{twin} names no companies held out: pass the folder of a model made by pretrain.",
            zh=f"{twin} 沒有列出保留的公司：請指定 pretrain 做出的模型資料夾。",
        )
    return found


def _series(path: Path, until: date | None, language: str) -> list[BarSeries]:
    """Every company's valid bars, read through the same import as ``stockllm import``."""
    import tempfile

    from stockllm.collectors.imports import import_path
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    with tempfile.TemporaryDirectory(prefix="stockllm-") as folder, Store.open(Home(Path(folder))) as store:
        for report in import_path(store, path):
            say(f"stockllm: {_account(report, language)}")
        return [s for code in store.bars.codes() if len(s := store.bars.series(code, end=until))]


def _account(report: ImportReport, language: str) -> str:
    return text(
        f"{report.source}：接受 {report.accepted:,} 筆日線，隔離 {report.quarantined:,} 筆。",
        f"{report.source}: {report.accepted:,} bars accepted, {report.quarantined:,} rows quarantined.",
        language,
    )
