"""``stockllm align``: teach a model by what became of its own forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.forecaster.alignment.align import Aligned
    from stockllm.forecaster.training.progress import TrainEvent


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("align")(align)


def align(
    method: str = typer.Option(..., "--method", help="dpo, kto, orpo, grpo, or reward for a reward model."),
    model: str = typer.Option("llama", "--model", help="What to align: a base model, or one with +ADAPTER."),
    name: str | None = typer.Option(None, "--name", help="Name of the adapter; default: from the options."),
    codes: list[str] = typer.Option(None, "--codes", metavar="CODE,...", help="Companies; default: all."),
    since: str = typer.Option("", "--since", metavar="DATE", help="First evening whose forecasts are taken."),
    until: str = typer.Option("", "--until", metavar="DATE", help="Last day that an outcome may read."),
    entries: str = typer.Option("same", "--entries", help="same: the model's own forecasts; all: any's."),
    prompt: str = typer.Option("compact", "--prompt", help="Style the forecasts were asked in."),
    beta: float | None = typer.Option(
        None, "--beta", help="How far to hold to the reference (0.1; grpo 0.04)."
    ),
    reference: str | None = typer.Option(
        None, "--reference", help="start: the model as given (default); base: without its adapter."
    ),
    reward_model: str | None = typer.Option(
        None, "--reward-model", help="Of grpo: a model of --method reward in place of the outcomes."
    ),
    margin: float = typer.Option(
        0.5, "--margin", help="By how many usual moves a rejected path must be worse."
    ),
    pairs: int = typer.Option(1, "--pairs", help="Pairs that a forecast gives at most."),
    generations: int = typer.Option(8, "--generations", help="Of grpo: answers a window."),
    rank: int = typer.Option(16, "--rank", help="LoRA rank."),
    lora_alpha: int = typer.Option(16, "--lora-alpha", help="LoRA alpha."),
    batch_size: int = typer.Option(8, "--batch-size", help="Pairs a step; of grpo: windows a step."),
    max_steps: int = typer.Option(60, "--max-steps", help="Steps to train."),
    learning_rate: float = typer.Option(2e-5, "--learning-rate", help="Highest learning rate."),
    max_seq_length: int = typer.Option(2048, "--max-seq-length", help="Longer examples are left out."),
    random_state: int = typer.Option(3407, "--random-state", help="Seed of pairs, answers and weights."),
    evaluate: str = typer.Option(
        "", "--evaluate", metavar="FROM:TO", help="Afterwards: score before and after on these later days."
    ),
    horizon: str = typer.Option("1,5", "--horizon", metavar="N,...", help="Of --evaluate: days ahead."),
    paths: int = typer.Option(32, "--paths", help="Of --evaluate: futures a forecast."),
    stride: int = typer.Option(1, "--stride", help="Of --evaluate: every so-many-th evening."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Align a model with the ledger's scored forecasts; off unless asked for, and no promise to help."""
    from stockllm.forecaster.alignment.align import align as run
    from stockllm.forecaster.alignment.options import AlignOptions
    from stockllm.forecaster.training.progress import Terminal

    style = arguments.style(prompt)
    period = _period(evaluate) if evaluate else None
    if period is not None and method == "reward":
        raise UsageError(
            "A reward model forecasts nothing: leave --evaluate out.",
            zh="獎勵模型不做預測：請拿掉 --evaluate。",
        )
    horizons = tuple(sorted({arguments.whole(part, "--horizon 1,5") for part in arguments.parts(horizon)}))
    options = AlignOptions(
        method=method,  # type: ignore[arg-type]  # AlignOptions says so where it is none
        model=model,
        name=name,
        since=arguments.day(since) if since else None,
        until=arguments.day(until) if until else None,
        entries=entries,
        prompt=style,
        beta=beta,
        reference=reference,  # type: ignore[arg-type]
        reward_model=reward_model,
        margin=margin,
        pairs_per_forecast=pairs,
        generations=generations,
        rank=rank,
        lora_alpha=lora_alpha,
        batch_size=batch_size,
        max_steps=max_steps,
        learning_rate=learning_rate,
        max_seq_length=max_seq_length,
        random_state=random_state,
    )
    store, settings = open_store()
    with store, Terminal(language=settings.language) as terminal:
        wanted = [part for each in codes or [] for part in arguments.parts(each)]
        options = options.of(tuple(dict.fromkeys(store.resolve(part).code for part in wanted)))
        request: Any = None
        if period is not None:
            from stockllm.cli.windows import chosen
            from stockllm.forecaster.evaluation.cases import Request

            request = Request(
                *period, ("",), chosen(store, wanted, ()), horizons, paths, stride, prompt=style
            )
            request.check()

        def listen(event: TrainEvent) -> None:
            if not told:
                told.append(True)
                banner(store.simulated, settings.language, err=True)
            terminal(event)

        told: list[bool] = []
        made = run(store, options, listen, test_from=period[0] if period else None)
        figures = None
        if request is not None:
            from stockllm.cli.windows import Counter
            from stockllm.forecaster.alignment.evaluate import before_after

            scoring = text(
                "以較晚的日子評分：之前與之後", "scoring before and after on later days", settings.language
            )
            say(f"stockllm: {scoring}")
            figures = before_after(store, made.before, made.model, request, Counter(settings.language))
    if as_json:
        emit_json(
            {
                "name": made.name,
                "model": made.model,
                "before": made.before,
                "learned_to": made.card.data_end,
                "examples": made.card.examples,
                "figures": made.figures,
                "losses": made.card.losses,
                "simulated": made.card.simulated,
                "evaluation": figures,
            }
        )
        return
    _show(made, figures, settings.language)


def _period(given: str) -> tuple[Any, Any]:
    first, colon, last = given.partition(":")
    if not colon:
        raise UsageError(
            f"--evaluate '{given}' is no period: write it as 2026-03-01:2026-03-31.",
            zh=f"--evaluate 的「{given}」不是期間：請寫成 2026-03-01:2026-03-31。",
        )
    return arguments.day(first.strip()), arguments.day(last.strip())


def _show(made: Aligned, figures: dict[str, Any] | None, language: str) -> None:
    card = made.card
    banner(card.simulated, language)
    show(
        text(
            f"已對齊 {made.name}：{card.examples['used']:,} 個樣本，結果讀到 {card.data_end}",
            f"Aligned {made.name}: {card.examples['used']:,} examples, outcomes read to {card.data_end}",
            language,
        )
    )
    names = {
        "accuracy": ("分出優劣的比例", "Pairs told apart"),
        "later": ("較晚的日子分出優劣的比例", "Pairs of later evenings told apart"),
        "reward": ("平均獎勵", "Mean reward"),
        "format": ("合格的 K 線回答", "Answers that are candles"),
    }
    for key, value in made.figures.items():
        zh, en = names[key]
        show(text(f"{zh} {value:.3f}", f"{en} {value:.3f}", language))
    if not made.model:
        command = f"stockllm align --method grpo --reward-model {made.name}"
    else:
        command = f"stockllm forecast {card.companies[0]} --model {made.model}"
    if figures is not None:
        _table(made, figures, language)
    show(text(f"接下來：{command}", f"Next: {command}", language))


def _table(made: Aligned, figures: dict[str, Any], language: str) -> None:
    show()
    show(
        text(
            f"{figures['start']} 至 {figures['end']}：{figures['windows']} 個視窗、"
            f"{figures['evenings']} 個起算日",
            f"{figures['start']} to {figures['end']}: {figures['windows']} windows, "
            f"{figures['evenings']} evenings",
            language,
        )
    )
    headers = text(
        "模型 日數 CRPS 比值 50% 80% 95% 格式", "Model Days CRPS Ratio 50% 80% 95% Format", language
    )
    rows = []
    for name, label in ((made.before, "before"), (made.model, "after")):
        form = figures["format"][name]["share"]
        for days, its in _of(figures["models"], name).items():
            rows.append(
                [
                    text({"before": "之前", "after": "之後"}[label], label, language),
                    days,
                    f"{its['crps']:.5f}",
                    f"{its['crps_ratio']:.4f}",
                    *(f"{its[key]:.3f}" for key in ("coverage50", "coverage80", "coverage95")),
                    "-" if form is None else f"{form:.3f}",
                ]
            )
    table(headers.split(), rows, right=range(1, 8))
    show(
        text(
            "比值相對於 ewma，小於 1 較好；格式為不加文法限制時合格回答的比例。過去的成績不是承諾。",
            "Ratio: to ewma's CRPS, below 1 is better; format: valid answers where no grammar helps. "
            "A past score is no promise.",
            language,
        )
    )


def _of(models: dict[str, Any], name: str) -> dict[str, Any]:
    """A model's figures by horizon; `evaluate` names ``auto`` by what it stands for."""
    found: dict[str, Any] = models.get(name) or next(its for key, its in models.items() if key != "ewma")
    return found
