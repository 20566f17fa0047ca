"""``stockllm closes``: closes as plain text, for any causal model."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, counter, emit_json, open_store, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.forecaster.closes.evaluate import Figures
    from stockllm.forecaster.closes.text import Forecast

_ACTIONS = {"buy": ("買進", "buy"), "sell": ("賣出", "sell"), "hold": ("觀望", "hold")}
_JSON = typer.Option(False, "--json", help="Print one JSON document on stdout.")
_MODEL = typer.Option("", "--model", metavar="NAME", help="A model of closes; default: the newest.")
_SEED = typer.Option(3407, "--seed")


def register(app: typer.Typer) -> None:
    """Add the three commands as a group."""
    group = typer.Typer(
        name="closes",
        help="Past closes in, the next ones out, as plain text, by any causal model. All take --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("train")(train)
    group.command("forecast")(forecast)
    group.command("evaluate")(evaluate)
    app.add_typer(group)


def train(
    codes: list[str] = typer.Argument(
        None, metavar="[CODE]...", help="Codes or names, listed or all; listed where absent."
    ),
    model_name: str = typer.Option(
        "openai-community/gpt2", "--model-name", help="Any causal model: a folder or a hub id."
    ),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Load the model from this folder."),
    until: str = typer.Option("", "--until", metavar="DATE", help="The last day to train on; default: all."),
    name: str = typer.Option("", "--name", help="Name of the model; default: closes and the last day."),
    past: int = typer.Option(20, "--past", help="Closes that it reads."),
    future: int = typer.Option(40, "--future", help="Closes that it writes."),
    max_steps: int = typer.Option(200, "--max-steps", help="Steps to train."),
    batch_size: int = typer.Option(8, "--batch-size", help="Windows a step."),
    learning_rate: float = typer.Option(5e-5, "--learning-rate", help="Highest learning rate."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Tune every weight of a model on closes; the same command again goes on where it was stopped."""
    from stockllm.cli.windows import chosen
    from stockllm.forecaster.closes.train import ClosesOptions
    from stockllm.forecaster.closes.train import train as tune
    from stockllm.forecaster.training.progress import Terminal

    day = arguments.day(until) if until else None
    store, settings = open_store()
    language = settings.language
    with store, Terminal(language=language) as terminal:
        last = day or store.bars.last_date()
        options = ClosesOptions(
            chosen(store, codes or [], ()),
            str(model_dir.expanduser().absolute()) if model_dir is not None else model_name,
            name or f"closes-{last:%Y%m%d}",
            day,
            past,
            future,
            max_steps,
            batch_size,
            learning_rate,
            seed,
        )
        banner(store.simulated, language, err=True)
        card = tune(store, options, terminal)
    if as_json:
        emit_json(asdict(card))
        return
    banner(card.simulated, language)
    first, end = card.losses["first_loss"], card.losses["last_loss"]
    days, count = f"{card.data_start} … {card.data_end}", len(card.companies)
    show(
        text(
            f"已訓練 {card.name}：{count} 家公司、{days}、{card.windows:,} 個視窗，"
            f"損失 {first:.3f} → {end:.3f}",
            f"Trained {card.name}: {count} {'company' if count == 1 else 'companies'}, {days}, "
            f"{card.windows:,} windows, loss {first:.3f} -> {end:.3f}",
            language,
        )
    )
    command = f"stockllm closes forecast {card.companies[0]} --model {card.name}"
    show(text(f"接下來：{command}", f"Next: {command}", language))


def forecast(
    codes: list[str] = typer.Argument(..., metavar="CODE...", help="Codes or names."),
    model: str = _MODEL,
    paths: int = typer.Option(19, "--paths", help="Answers to sample; 1 takes the likeliest words."),
    as_of: str = typer.Option("", "--as-of", metavar="DATE", help="Forecast from this day, YYYY-MM-DD."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Write the next closes of companies, and whether their mean lies above that of the last ones."""
    from stockllm.forecaster.closes import text as recipe
    from stockllm.market.companies import display

    _check_paths(paths)
    day = arguments.day(as_of) if as_of else None
    store, settings = open_store()
    language = settings.language
    with store:
        wanted = list(dict.fromkeys(store.resolve(code).code for code in codes))
        loaded = recipe.load(store.home, model or None)
        made = []
        for code in wanted:
            series = store.bars.series(code)
            each = recipe.forecast(
                loaded, series if day is None else series.until(day), paths=paths, seed=seed
            )
            recipe.check_answered(each)
            made.append(each)
            counter(len(made), len(wanted))
        names = [display(store.company(code), language) for code in wanted]
        simulated = store.simulated or loaded.card.simulated
    if as_json:
        emit_json([_document(each, loaded.card.name, simulated) for each in made])
        return
    banner(simulated, language)
    table(
        text("代號 名稱 收盤日 A B 動作 無效", "Code Name Close A B Action Failures", language).split(),
        [
            (
                each.code,
                company,
                each.origin,
                f"{each.a:,.2f}",
                f"{each.b:,.2f}",
                text(*_ACTIONS[each.action], language),
                f"{each.failures}/{each.paths}",
            )
            for each, company in zip(made, names, strict=True)
        ],
        right=(3, 4, 6),
    )
    show()
    past, future = loaded.card.past, loaded.card.future
    show(
        text(
            f"A 是最近 {past} 個收盤價的平均，B 是預測的 {future} 個的平均；不是投資建議。",
            f"A is the mean of the last {past} closes, B that of the {future} forecast; no advice to trade.",
            language,
        )
    )


def evaluate(
    codes: list[str] = typer.Argument(
        None, metavar="[CODE]...", help="Codes or names, listed or all; listed where absent."
    ),
    start: str = typer.Option(..., "--start", metavar="DATE", help="First day to forecast, YYYY-MM-DD."),
    end: str = typer.Option(..., "--end", metavar="DATE", help="Last day to forecast."),
    model: str = _MODEL,
    paths: int = typer.Option(1, "--paths", help="Answers to sample; 1 takes the likeliest words."),
    stride: int = typer.Option(5, "--stride", help="Forecast on every so-many-th evening."),
    seed: int = _SEED,
    force: bool = typer.Option(False, "--force", help="Take a period that the model has read."),
    as_json: bool = _JSON,
) -> None:
    """MSE, RMSE and NRMSE of a model of closes on a past period, beside the last price."""
    from stockllm.cli.windows import chosen
    from stockllm.forecaster.closes import evaluate as closes_evaluate
    from stockllm.forecaster.closes import text as recipe

    _check_paths(paths)
    if stride < 1:
        raise UsageError(
            f"The stride is 1 or more evenings, not {stride}.", zh=f"--stride 至少是 1，不是 {stride}。"
        )
    first, last = arguments.day(start), arguments.day(end)
    store, settings = open_store()
    language = settings.language
    with store:
        wanted = chosen(store, codes or [], ())
        card = recipe.card_of(store.home, model or None)
        # Loading takes seconds: a period that cannot be scored is refused before.
        closes_evaluate.windows_of(card, store, wanted, first, last, stride=stride, force=force)
        loaded = recipe.load(store.home, card.name)
        found = closes_evaluate.evaluate(
            loaded,
            store,
            wanted,
            first,
            last,
            stride=stride,
            paths=paths,
            seed=seed,
            force=force,
            progress=counter,
        )
        simulated = store.simulated
    mine = found[loaded.card.name]
    if as_json:
        emit_json(
            {
                "models": {name: _figures(figures) for name, figures in found.items()},
                "start": first.isoformat(),
                "end": last.isoformat(),
                "simulated": simulated,
            }
        )
        return
    banner(simulated, language)
    table(
        text("模型 MSE RMSE NRMSE 訊號正確 視窗", "Model MSE RMSE NRMSE Right Windows", language).split(),
        [
            (
                name,
                f"{figures.mse:,.4g}",
                f"{figures.rmse:,.4g}",
                "—" if figures.nrmse is None else f"{figures.nrmse:.4f}",
                f"{figures.right}/{figures.signals}",
                figures.windows,
            )
            for name, figures in found.items()
        ],
        right=(1, 2, 3, 4, 5),
    )
    show()
    asked = (mine.windows + mine.unanswered) * mine.paths
    show(
        text(
            f"{asked} 個回答中有 {mine.failures} 個不是價格；"
            f"{mine.unanswered} 個視窗沒有任何可用的回答，未計入。",
            f"{mine.failures} of {asked} answers were no prices; {mine.unanswered} windows had none that was "
            "and are left out.",
            language,
        )
    )


def _check_paths(paths: int) -> None:
    if not 1 <= paths <= 1000:
        raise UsageError(
            f"The number of paths is 1 to 1,000, not {paths}.", zh=f"--paths 是 1 到 1,000，不是 {paths}。"
        )


def _document(made: Forecast, model: str, simulated: bool) -> dict[str, Any]:
    return {
        "code": made.code,
        "origin": made.origin.isoformat(),
        "model": model,
        "closes": [round(close, 2) for close in made.closes.tolist()],
        "a": round(made.a, 4),
        "b": round(made.b, 4),
        "action": made.action,
        "paths": made.paths,
        "failures": made.failures,
        "simulated": simulated,
    }


def _figures(figures: Figures) -> dict[str, Any]:
    """As JSON, where what is undefined is null."""
    return {
        key: None if value is None or math.isnan(value) else value for key, value in asdict(figures).items()
    }
