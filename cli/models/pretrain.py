"""``stockllm pretrain``: train the embedded base model anew from many stocks' days."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import say, show, text
from stockllm.data.errors import NotEnoughHistory, UsageError

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.forecaster.pretraining.recipe import Recipe

#: Companies whose days the reference style is practised on.
PRACTISED = 50


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("pretrain")(pretrain)


def pretrain(
    output_dir: Path | None = typer.Option(
        None, "--output-dir", "--output_dir", help="Folder of the new model; default: base_model in the home."
    ),
    until: str = typer.Option("", "--until", metavar="DATE", help="Last day to learn from; default: all."),
    start_from: Path | None = typer.Option(
        None,
        "--start-from",
        "--start_from",
        metavar="TRUNK",
        help="What an earlier training left beside its model (.trunk): it read no later day than this one.",
    ),
    hold_out: int = typer.Option(200, "--hold-out", "--hold_out", help="Companies kept out, never the 41."),
    twin: Path | None = typer.Option(
        None,
        "--twin",
        metavar="DIR",
        help="A base model of less data: its held-out companies stay out, and its calibration is taken.",
    ),
    steps: int = typer.Option(2000, "--steps", help="Training steps; a step is about 8,000 tokens."),
    seed: int = typer.Option(3407, "--seed"),
) -> None:
    """Train a base model on all that the store has; run again with the same folder, it resumes."""
    from dataclasses import replace

    from stockllm.data.paths import Home
    from stockllm.data.settings import spoken
    from stockllm.data.store import Store
    from stockllm.forecaster.outlook.moments import outlook_of
    from stockllm.forecaster.pretraining.pretrain import pretrain as train
    from stockllm.forecaster.pretraining.recipe import Recipe
    from stockllm.forecaster.sampling.calibration import read_calibration
    from stockllm.market.moments import end_of

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
    home = Home.locate()
    target = (output_dir or home.root / "base_model").expanduser().absolute()
    recipe = Recipe(steps=steps, hold_out=hold_out, seed=seed)
    with Store.open(home, create=False) as store:
        days = [day for day in store.market_days() if last is None or day <= last]
        if not days:
            raise NotEnoughHistory(
                f"The store holds no prices{f' up to {until}' if until else ''}: "
                "bring some in with 'stockllm import PATH'.",
                zh=f"資料庫沒有{f' {until} 以前的' if until else ''}股價：請用 'stockllm import PATH' 匯入。",
            )
        last = last or days[-1]
        held_out = _held_out(twin) if twin is not None else _drawn(store, recipe)
        recipe = replace(recipe, hold_out=len(held_out))
        outlook = outlook_of(store, last, memory=None, until=end_of(last))
        codes = [code for code in outlook.panel.codes if code not in set(held_out)]
        series = [store.long_series(code, last) for code in codes[:PRACTISED]]
    train(
        outlook,
        target,
        recipe,
        codes=codes,
        until=last,
        held_out=held_out,
        series=series,
        start_from=start_from,
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


def _drawn(store: Store, recipe: Recipe) -> list[str]:
    """Companies to hold out, drawn by the recipe's seed among those with traded and adjusted days.

    All that have prices where there are none with both.
    """
    from stockllm.forecaster.pretraining.pretrain import split_companies
    from stockllm.market.companies import COMPANIES

    both = set(store.bars.codes()) & set(store.adjusted.codes())
    never = [company.code for company in COMPANIES]
    return split_companies(sorted(both or set(store.codes_with_prices())), never, recipe)[1]


def _so_far(facts: dict[str, Any], steps: int, language: str) -> str:
    """How far a training is, as one line."""
    minutes, seconds = divmod(round(facts["seconds"]), 60)
    if "step" not in facts:
        done = f"{facts['days']:,}" if "days" in facts else facts["network"]
        what = ("讀入 {} 天", "{} days read") if "days" in facts else ("學習 {}", "learning {}")
        return text(
            f"{what[0].format(done)}，已過 {minutes}:{seconds:02d}",
            f"{what[1].format(done)}, {minutes}:{seconds:02d} so far",
            language,
        )
    step, loss, speed = f"{facts['step']:,}/{steps:,}", facts["loss"], f"{facts['tokens_per_second']:,}"
    return text(
        f"訓練中 {step} 步，損失 {loss:.4f}，每秒 {speed} 個詞元，已過 {minutes}:{seconds:02d}",
        f"training {step} steps, loss {loss:.4f}, {speed} tokens/s, {minutes}:{seconds:02d} so far",
        language,
    )


def _held_out(twin: Path) -> list[str]:
    """The companies that another base model was trained without; UsageError where it does not say."""
    from stockllm.forecaster.models.registry import ModelRef
    from stockllm.forecaster.sampling.cutoffs import held_out

    found = held_out(ModelRef(str(twin), twin))
    if not found:
        raise UsageError(
            f"{twin} names no companies held out: pass the folder of a model made by pretrain.",
            zh=f"{twin} 沒有列出保留的公司：請指定 pretrain 做出的模型資料夾。",
        )
    return list(found)
