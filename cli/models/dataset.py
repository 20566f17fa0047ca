"""``stockllm dataset``: examples out of the store for training elsewhere, and a check of their layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stockllm.cli import arguments
from stockllm.cli.output import banner, emit_json, open_store, say, show, table, text
from stockllm.data.errors import ImportFailed, UsageError

if TYPE_CHECKING:
    from datetime import date

    from stockllm.forecaster.datasets.card import DatasetCard


def register(app: typer.Typer) -> None:
    """Add the two commands as a group."""
    group = typer.Typer(
        name="dataset",
        help="Examples out of the store as JSON lines, for training here or elsewhere. build takes --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("build")(build)
    group.command("check")(check)
    app.add_typer(group)


def build(
    out: Path = typer.Argument(..., metavar="OUT", help="The folder to write; new or empty."),
    task: str = typer.Option(
        ...,
        "--task",
        help="prices, closes, sentiment, market-analysis, risk, recommendation or concepts.",
    ),
    layout: str = typer.Option(
        "messages", "--format", help="messages, prompt-completion, alpaca, sharegpt or openai."
    ),
    train: str = typer.Option("", "--train", metavar="FROM:TO", help="Days of train.jsonl, both included."),
    val: str = typer.Option("", "--val", metavar="FROM:TO", help="Days of val.jsonl."),
    test: str = typer.Option("", "--test", metavar="FROM:TO", help="Days of test.jsonl."),
    seed: int = typer.Option(3407, "--seed", help="Seed of which examples are drawn, in which order."),
    codes: list[str] = typer.Option(
        None, "--codes", metavar="CODE,...", help="Codes or names; all or listed (the default)."
    ),
    most: int = typer.Option(1000, "--max-examples", help="Examples a split holds at most."),
    language: str = typer.Option("", "--language", help="zh, en or both; default: your own."),
    windows: str = typer.Option(
        "", "--windows", metavar="PAST/FUTURE,...", help="Of prices (60/5) and closes (20/40)."
    ),
    horizon: int | None = typer.Option(None, "--horizon", help="Days sentiment looks ahead (5)."),
    prompt: str = typer.Option("compact", "--prompt", help="Of prices: compact or reference."),
    tokenizer: str = typer.Option(
        "", "--tokenizer", help="Folder or hub id of what counts tokens; default: the embedded model's."
    ),
    price: float | None = typer.Option(
        None, "--price-per-million", help="What a million tokens of training cost, for an estimate."
    ),
    epochs: int = typer.Option(1, "--epochs", help="Epochs that the estimate reckons with."),
    as_json: bool = typer.Option(False, "--json", help="Print the card as one JSON document on stdout."),
) -> None:
    """Write one JSONL a split and a card; ranges that overlap or touch within the horizon are refused."""
    from stockllm.cli.windows import chosen
    from stockllm.forecaster.datasets.build import DatasetRequest
    from stockllm.forecaster.datasets.build import build as write
    from stockllm.forecaster.datasets.formats import layout_named
    from stockllm.forecaster.datasets.tasks import kind_named
    from stockllm.forecaster.encoding.windows import parse_tasks

    kind, form, style = kind_named(task), layout_named(layout), arguments.style(prompt)
    if style != "compact" and kind != "prices":
        raise UsageError(
            f"The task {kind} has no prompt styles: leave --prompt out.",
            zh=f"{kind} 任務沒有提示格式可選：請拿掉 --prompt。",
        )
    given = {"train": train, "val": val, "test": test}
    ranges = {name: _range(name, days) for name, days in given.items() if days}
    asked = parse_tasks(windows) if windows else ()
    store, settings = open_store()
    with store:
        request = DatasetRequest(
            kind, form, ranges, (), out.expanduser().absolute(), seed=seed,
            language=language or settings.language, prompt=style, windows=asked, horizon=horizon,
            most=most, tokenizer=tokenizer, price_per_million=price, epochs=epochs,
        )  # fmt: skip
        card = write(
            store,
            request.of(chosen(store, codes or [], ())),
            lambda words: say(words.sentence(settings.language)),
        )
    if as_json:
        emit_json(card.document())
        return
    _show(card, request.out, settings.language)


def check(
    file: Path = typer.Argument(..., metavar="FILE", help="A JSONL file."),
    layout: str = typer.Option(..., "--format", help="The layout it should have, as of build."),
) -> None:
    """Hold a file against the documented rules of its layout; exit 2 with the first line that breaks one."""
    from stockllm.forecaster.datasets.formats import layout_named, refuse_faults

    form = layout_named(layout)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailed(
            f"{file} cannot be read as UTF-8 text ({error}): name a JSONL file.",
            zh=f"{file} 無法以 UTF-8 讀取（{error}）：請指定 JSONL 檔。",
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise UsageError(
                f"Line {number} of {file.name} is no JSON.", zh=f"{file.name} 第 {number} 行不是 JSON。"
            ) from None
    if not rows:
        raise UsageError(f"{file.name} is empty.", zh=f"{file.name} 是空的。")
    refuse_faults(rows, form, file.name)
    show(f"{file.name}: {len(rows):,} x {form}")


def _range(name: str, given: str) -> tuple[date, date]:
    first, colon, last = given.partition(":")
    if not colon:
        raise UsageError(
            f"--{name} '{given}' is no range: write it as 2025-01-01:2025-09-30.",
            zh=f"--{name} 的「{given}」不是期間：請寫成 2025-01-01:2025-09-30。",
        )
    return arguments.day(first.strip()), arguments.day(last.strip())


def _show(card: DatasetCard, out: Path, language: str) -> None:
    from stockllm.forecaster.datasets.card import cost_in_words

    banner(card.simulated, language)
    headers = text(
        "分割 起日 迄日 筆數 可選 詞元 最長 重複 雜湊",
        "Split From To Examples Places Tokens Longest Duplicates SHA-256",
        language,
    )
    table(
        headers.split(),
        [
            [
                name, split.start, split.end, f"{split.examples:,}", f"{split.places:,}", f"{split.tokens:,}",
                f"{split.longest:,}", split.duplicates + split.duplicates_of_earlier, split.sha256[:12],
            ]
            for name, split in card.splits.items()
        ],
        right=range(3, 8),
    )  # fmt: skip
    for pair in card.leakage:
        show(
            text(
                f"{pair['between'].replace(' and ', ' 與 ')}：相隔 {pair['market_days_between']} 個交易日"
                f"（禁入期 {card.embargo}），共有樣本 {pair['shared_examples']}",
                f"{pair['between']}: {pair['market_days_between']} market days apart "
                f"(embargo {card.embargo}), {pair['shared_examples']} shared examples",
                language,
            )
        )
    if card.cost is not None:
        show(cost_in_words(card.cost, language))
    show(text(f"資料集與說明卡在 {out}", f"The dataset and its card are in {out}", language))
