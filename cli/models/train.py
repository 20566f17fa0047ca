"""``stockllm train``: tune a model on companies of the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from stockllm.cli.output import banner, open_store, say, show, store_to_fill, text
from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.forecaster.models.registry import AdapterInfo
    from stockllm.forecaster.training.options import TrainOptions
    from stockllm.forecaster.training.progress import TrainEvent
    from stockllm.market.companies import Company


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    # The reference spells some flags with dashes and some with underscores; here either will do.
    app.command("train", cls=_Train, context_settings={"token_normalize_func": _dashes})(train)


class _Train(TyperCommand):
    """``--resume`` takes a name or stands alone, which typer has no word for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for at, argument in enumerate(args):
            if argument == "--resume" and (at + 1 == len(args) or args[at + 1].startswith("-")):
                args = [*args[: at + 1], "", *args[at + 1 :]]
        return super().parse_args(ctx, args)


def _dashes(name: str) -> str:
    return name.replace("_", "-")


def train(
    company_list_file: Path | None = typer.Option(
        None,
        "--company-list-file",
        help='JSON list of companies, as in [{"name_zh": "台積電"}, {"code": 3711}].',
    ),
    choose_stock: int | None = typer.Option(
        None, "--choose-stock", metavar="N", help="N companies with a buy point and N with a sell point."
    ),
    data_dir: Path | None = typer.Option(None, "--data-dir", help="Folder of prices to import first."),
    year: int | None = typer.Option(None, "--year", help="Year of the first month of data to use."),
    month: int | None = typer.Option(None, "--month", help="First month of data to use; needs --year."),
    validation_from: str = typer.Option(
        "",
        "--validation-from",
        metavar="DATE",
        help="Keep days from here on apart; default: the last fifth, at most 60.",
    ),
    tasks: str = typer.Option(
        "1/1,5/5,20/5,60/20", "--tasks", help="Windows, as past/future trading days, with commas."
    ),
    prompt: str = typer.Option("compact", "--prompt", help="compact or reference."),
    fields: str = typer.Option(
        "Open,High,Low,Close,Capacity", "--fields", help="Columns of the reference prompt, with commas."
    ),
    with_news: bool = typer.Option(False, "--with-news", help="Quote the week's news in reference prompts."),
    method: str | None = typer.Option(
        None,
        "--method",
        help="lora (default), qlora, dora, adalora, ia3, prefix, prompt, p-tuning or full: docs/tuning.md.",
    ),
    preset: str | None = typer.Option(
        None,
        "--preset",
        help="Model, method and batch by memory: cpu, small (GPU under 10 GB), medium, large (24 up), auto.",
    ),
    model_name: str | None = typer.Option(
        None, "--model-name", help="Base model: llama (the embedded one, default), a folder or a hub id."
    ),
    model_dir: Path | None = typer.Option(None, "--model-dir", help="Load the base model from this folder."),
    max_seq_length: int = typer.Option(2048, "--max-seq-length", help="Longer windows are left out."),
    load_in_4bit: bool = typer.Option(False, "--load-in-4bit", help="Base weights in 4 bits; needs CUDA."),
    load_in_8bit: bool = typer.Option(False, "--load-in-8bit", help="Base weights in 8 bits; needs CUDA."),
    engine: str = typer.Option("auto", "--engine", help="auto, unsloth or peft; auto takes what is there."),
    rank: int | None = typer.Option(None, "--rank", help="LoRA rank; default 16."),
    lora_alpha: int | None = typer.Option(None, "--lora-alpha", help="LoRA alpha; default 8."),
    lora_dropout: float | None = typer.Option(None, "--lora-dropout", help="LoRA dropout; default 0."),
    virtual_tokens: int | None = typer.Option(
        None, "--virtual-tokens", help="Places before the prompt, of prefix, prompt and p-tuning; default 16."
    ),
    random_state: int = typer.Option(3407, "--random-state", help="Seed of choice, windows and weights."),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Windows a batch; default 8."),
    gradient_accumulation_steps: int | None = typer.Option(
        None, "--gradient-accumulation-steps", help="Batches a step; default 4."
    ),
    num_epochs: float | None = typer.Option(None, "--num-epochs", help="Times to read every window."),
    max_steps: int | None = typer.Option(
        None, "--max-steps", help="Steps to train; 60 where no epochs are given, -1 for no limit."
    ),
    learning_rate: float | None = typer.Option(
        None, "--learning-rate", help="Highest learning rate; default: the method's, 1e-3 for lora."
    ),
    weight_decay: float = typer.Option(0.05, "--weight-decay", help="Weight decay."),
    lr_scheduler_type: str = typer.Option("cosine", "--lr-scheduler-type", help="Learning rate schedule."),
    optim: str | None = typer.Option(
        None, "--optim", help="Optimiser; default adamw_8bit, adamw_torch where CUDA is absent."
    ),
    logging_steps: int = typer.Option(1, "--logging-steps", help="Steps between two reports."),
    save_steps: int | None = typer.Option(None, "--save-steps", help="Steps between two checkpoints."),
    early_stopping: int | None = typer.Option(
        None,
        "--early-stopping",
        metavar="N",
        help="End after N validations without a new lowest loss, and keep the best.",
    ),
    report_to: str = typer.Option("tensorboard", "--report-to", help="tensorboard, none, wandb, mlflow ..."),
    name: str | None = typer.Option(None, "--name", help="Name of the adapter; default: from the options."),
    output_dir: Path | None = typer.Option(
        None, "--output-dir", help="Folder of checkpoints and progress; default: in the home."
    ),
    resume: str | None = typer.Option(
        None, "--resume", metavar="[NAME]", help="Go on with an unfinished training, by name or the last one."
    ),
    _train: bool = typer.Option(False, "--train", help="Does nothing: this command trains."),
) -> None:
    """Tune a model on stocks; the same command again goes on where a stopped one ended."""
    from stockllm.forecaster.encoding.prompts import parse_fields
    from stockllm.forecaster.encoding.windows import parse_tasks
    from stockllm.forecaster.training import options as flags
    from stockllm.forecaster.training.progress import Terminal
    from stockllm.forecaster.training.train import resume as go_on
    from stockllm.forecaster.training.train import train as fine_tune

    with _store(data_dir) as (store, settings), Terminal(language=settings.language) as terminal:
        language = settings.language

        def listen(event: TrainEvent) -> None:
            if not told:
                told.append(True)
                banner(store.simulated, language, err=True)
            terminal(event)

        told: list[bool] = []
        if resume is not None:
            _show_result(go_on(store, resume or None, listen, output_dir=output_dir), language)
            return
        options = flags.TrainOptions.given(
            # Whom to train on is found out last: a wrong flag must not cost an import first.
            codes=() if company_list_file is None and choose_stock is None else ("to be found",),
            method=method,
            preset=preset,
            model_name=model_name,
            model_dir=model_dir,
            name=name,
            output_dir=output_dir.expanduser().absolute() if output_dir is not None else None,
            engine=engine,
            prompt=prompt,
            fields=parse_fields(fields),
            tasks=parse_tasks(tasks),
            with_news=with_news,
            since=_first_day(year, month),
            validation_from=_day(validation_from),
            max_seq_length=max_seq_length,
            load_in_4bit=load_in_4bit,
            load_in_8bit=load_in_8bit,
            rank=rank,
            lora_alpha=lora_alpha,
            lora_dropout=lora_dropout,
            virtual_tokens=virtual_tokens,
            random_state=random_state,
            batch_size=batch_size,
            gradient_accumulation_steps=gradient_accumulation_steps,
            num_epochs=num_epochs,
            max_steps=max_steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            lr_scheduler_type=lr_scheduler_type,
            optim=optim,
            logging_steps=logging_steps,
            save_steps=save_steps,
            early_stopping=early_stopping,
            report_to=report_to,
        )
        if options.preset is not None:
            chosen = f"{options.base}, --method {options.method}, --batch-size {options.batch_size}"
            say(text(f"預設組合 {options.preset}：{chosen}", f"Preset {options.preset}: {chosen}", language))
        if data_dir is not None:
            _import(store, data_dir, company_list_file, language)
        companies = _companies(store, company_list_file, choose_stock, options, language)
        options = replace(options, codes=tuple(company.code for company in companies))
        _show_result(fine_tune(store, options, listen), language)


def _companies(
    store: Store, company_list: Path | None, choose: int | None, options: TrainOptions, language: str
) -> list[Company]:
    """The companies of the list and those chosen, each once; the chosen ones are printed."""
    from stockllm.collectors.files.company_list import resolve_company_list
    from stockllm.forecaster.training.choose import choose_stocks
    from stockllm.forecaster.training.train import split_of

    found: dict[str, Company] = {}
    if company_list is not None:
        found.update((company.code, company) for company in resolve_company_list(company_list, store))
    if choose is not None:
        # By the last day of the training part: the choice must know nothing that validation will ask.
        split = split_of(store, options.tasks, since=options.since, validation_from=options.validation_from)
        choice = choose_stocks(store, choose, options.random_state, split.train_end)
        if choice.shortfall:
            say(choice.shortfall.sentence(language))
        banner(store.simulated, language)
        for zh, en, side in (("買點", "Buy points", choice.buys), ("賣點", "Sell points", choice.sells)):
            names = "、".join(f"{company.code} {company.name_zh}" for company in side) or "—"
            show(text(f"{zh}：{names}", f"{en}: {names.replace('、', ', ')}", language))
        found.update((company.code, company) for company in choice.companies)
        if not found:
            raise UsageError(
                "No company shows a buy or a sell point on the last day of the training data; name companies "
                "with --company-list-file.",
                zh="訓練資料的最後一天沒有公司出現買點或賣點：請用 --company-list-file 指定公司。",
            )
    return list(found.values())


@contextmanager
def _store(data_dir: Path | None) -> Iterator[tuple[Store, Settings]]:
    """The store to train on: there already, unless prices are to be imported first."""
    if data_dir is not None:
        with store_to_fill() as opened:
            yield opened
        return
    store, settings = open_store()
    with store:
        yield store, settings


def _import(store: Store, folder: Path, company_list: Path | None, language: str) -> None:
    from stockllm.collectors.files.company_list import check_company_list
    from stockllm.collectors.imports import import_path
    from stockllm.data.errors import ImportFailed

    if not folder.exists():
        raise ImportFailed(
            f"There is no folder {folder}; nothing was imported: check --data-dir.",
            zh=f"沒有資料夾 {folder}，沒有匯入任何內容：請檢查 --data-dir。",
        )
    if company_list is not None:
        check_company_list(company_list, store, folder)
    reports = import_path(store, folder)
    counts = {key: sum(getattr(r, key) for r in reports) for key in ("accepted", "unchanged", "quarantined")}
    new, known, apart = (f"{counts[key]:,}" for key in ("accepted", "unchanged", "quarantined"))
    say(
        text(
            f"已匯入 {folder}：接受 {new} 筆，不變 {known} 筆，隔離 {apart} 筆。",
            f"Imported {folder}: {new} rows accepted, {known} unchanged, {apart} quarantined.",
            language,
        )
    )


def _first_day(year: int | None, month: int | None) -> date | None:
    if year is None:
        if month is not None:
            raise UsageError(
                "--month needs --year: together they name the first month of data to use.",
                zh="--month 需要搭配 --year：兩者指定資料的第一個月。",
            )
        return None
    try:
        return date(year, 1 if month is None else month, 1)
    except ValueError:
        raise UsageError(
            f"--year {year} --month {month} is no month; write it as --year 2025 --month 1.",
            zh=f"--year {year} --month {month} 不是月份：請寫成 --year 2025 --month 1。",
        ) from None


def _day(given: str) -> date | None:
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise UsageError(
            f"--validation-from {given!r} is not a date: write it as 2026-03-31.",
            zh=f"--validation-from {given!r} 不是日期：請寫成 2026-03-31。",
        ) from None


def _show_result(info: AdapterInfo, language: str) -> None:
    from stockllm.forecaster.models.cards import read_card, speed_in_words

    card = read_card(info.path)
    banner(card.simulated, language)
    show(text(f"已訓練 {info.name}：{info.path}", f"Trained {info.name}: {info.path}", language))
    before, after = (card.losses.get(f"validation_loss_{when}") for when in ("before", "after"))
    if before is not None and after is not None:
        show(
            text(
                f"驗證損失 {before:.4f} → {after:.4f}（{card.validation_from} 起的交易日）",
                f"Validation loss {before:.4f} -> {after:.4f} (on days from {card.validation_from} on)",
                language,
            )
        )
    if card.crps_base is not None and card.crps_adapter is not None:
        alone, tuned, count = f"{card.crps_base:.5f}", f"{card.crps_adapter:.5f}", f"{card.crps_windows:,}"
        show(
            text(
                f"驗證 CRPS：基礎模型 {alone}，加上轉接器 {tuned}（{count} 個預測）",
                f"CRPS on validation: {alone} by the base, {tuned} with the adapter ({count} forecasts)",
                language,
            )
        )
    if card.speed:
        zh = (
            f"速度：每秒 {card.speed['windows_per_second']:,.1f} 個視窗、"
            f"{card.speed['tokens_per_second']:,.0f} 個詞元，填充 {card.speed['padding']:.1%}"
        )
        show(text(zh, f"Speed: {speed_in_words(card.speed)}", language))
    command = f"stockllm forecast {info.companies[0]} --model {info.base}+{info.name}"
    show(text(f"接下來：{command}", f"Next: {command}", language))
