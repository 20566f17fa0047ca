"""The card of a dataset: what is in it, what was left out, and that its splits do not leak.

It names no moment and no machine: the same store and request give the same card, byte by byte.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from stockllm.forecaster.datasets.tasks import Item

CARD_FILE = "dataset_card.json"


@dataclass(frozen=True, slots=True)
class SplitCard:
    """One file. Days are ISO dates: ``first`` and ``last`` of all that its examples show or read.

    ``places`` there were, ``drawn`` of them were looked at, ``unanswerable`` had no figures,
    ``duplicates`` were equal to one before, ``duplicates_of_earlier`` to one of an earlier split:
    ``drawn == examples`` + the three.
    """

    file: str
    start: str
    end: str
    examples: int
    places: int
    drawn: int
    duplicates: int
    duplicates_of_earlier: int
    unanswerable: int
    tokens: int
    longest: int
    first: str
    last: str
    companies: int
    sha256: str
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """All of a dataset. ``leakage`` holds what was measured between the splits, ``cost`` an estimate."""

    task: str
    layout: str
    language: str
    prompt: str
    windows: list[str]
    seed: int
    simulated: bool
    data_cut_off: str
    store_until: str
    tokenizer: str
    embargo: int
    splits: dict[str, SplitCard]
    leakage: list[dict[str, Any]]
    cost: dict[str, Any] | None
    market: str = ""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def leaks(parts: Mapping[str, Sequence[Item]], days: Sequence[date], embargo: int) -> list[dict[str, Any]]:
    """What lies between each two neighbouring splits, measured on the examples themselves.

    :param days: market days, ascending.
    :returns: for each pair the last day that the earlier reads, the first that the later shows, the market
        days between, the examples they share, and ``ok``.
    """
    found = []
    names = [name for name, items in parts.items() if items]
    for before, after in pairwise(names):
        last = max(item.last for item in parts[before])
        first = min(item.first for item in parts[after])
        between = sum(last < day < first for day in days)
        shared = len({key(item) for item in parts[before]} & {key(item) for item in parts[after]})
        found.append(
            {
                "between": f"{before} and {after}",
                "last_day_read": last.isoformat(),
                "first_day_shown": first.isoformat(),
                "market_days_between": between,
                "shared_examples": shared,
                "ok": last < first and between >= embargo and not shared,
            }
        )
    return found


def key(item: Item) -> str:
    """A digest of an example's words: equal for duplicates."""
    words = [" ".join(m["content"].split()) for m in (*item.example.prompt, *item.example.completion)]
    return hashlib.sha256(json.dumps(words, ensure_ascii=False).encode()).hexdigest()


def write_card(folder: Path, card: DatasetCard) -> None:
    """Put the card for programs and the README for people and for model hubs into a folder."""
    text = json.dumps(card.document(), ensure_ascii=False, indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(readme(card), encoding="utf-8")


def readme(card: DatasetCard) -> str:
    """The card in words, with the header from which `datasets` learns which file is which split."""
    names = {"val": "validation"}
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for name, split in card.splits.items():
        lines += [f"  - split: {names.get(name, name)}", f"    path: {split.file}"]
    lines += ["tags: [finance, stockllm]", "---", f"# {card.task}, {card.layout}", ""]
    if card.simulated:
        lines += ["**SIMULATED 模擬資料**: made of generated prices, of no use on a real market.", ""]
    lines += [
        "Questions about Taiwan stocks, with answers worked out from daily bars and stored news by stockllm. "
        "Nothing in an answer reads a day after its question's evening, unless that day is what is asked "
        "for. It is no advice to trade.",
        "",
        "| split | range | examples | tokens | longest | duplicates removed | days touched | sha256 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, split in card.splits.items():
        gone = split.duplicates + split.duplicates_of_earlier
        lines.append(
            f"| {name} | {split.start} to {split.end} | {split.examples:,} of {split.places:,} places | "
            f"{split.tokens:,} | {split.longest:,} | {gone:,} | {split.first} to {split.last} | "
            f"`{split.sha256}` |"
        )
    lines += ["", f"Tokens are those of the tokenizer `{card.tokenizer}`, its chat template included.", ""]
    for name, split in card.splits.items():
        if split.labels:
            told = ", ".join(f"{label} {count:,}" for label, count in split.labels.items())
            lines += [f"Labels in {name}: {told}.", ""]
    if card.market:
        lines += [card.market, ""]
    lines += ["## Leakage", "", f"Embargo: {card.embargo} market days between two splits.", ""]
    for pair in card.leakage:
        lines.append(
            f"- {pair['between']}: the earlier reads to {pair['last_day_read']}, the later shows from "
            f"{pair['first_day_shown']}; {pair['market_days_between']} market days between, "
            f"{pair['shared_examples']} shared examples: {'no leak' if pair['ok'] else 'LEAK'}."
        )
    if not card.leakage:
        lines.append("- One split alone: nothing to leak into.")
    lines += ["", "## Made of", "", "| | |", "| --- | --- |"]
    lines += [
        f"| {name} | {value} |"
        for name, value in (
            ("data cut-off", card.data_cut_off),
            ("last day of the store", card.store_until),
            ("prices", "simulated" if card.simulated else "real"),
            ("language", card.language),
            ("prompt", card.prompt),
            ("windows", ", ".join(card.windows)),
            ("seed", card.seed),
        )
        if value != ""
    ]
    if card.cost is not None:
        lines += ["", "## Cost", "", cost_in_words(card.cost)]
    return "\n".join(lines) + "\n"


def cost_in_words(cost: dict[str, Any], language: str = "en") -> str:
    """An estimate of a fine-tuning's price in a sentence or two."""
    epochs, tokens, price = cost["epochs"], cost["tokens_trained"], cost["price_per_million"]
    if language == "zh":
        said = f"微調 {epochs} 輪約讀 {tokens:,} 個詞元"
        if price is None:
            return f"{said}；以 --price-per-million 給定單價即可估算費用。"
        return (
            f"{said}，以所給的每百萬 {price:,.2f} 計約 {cost['estimate']:,.2f}。"
            "供應商以自己的斷詞器計數並自訂價格，付費前請查詢。"
        )
    said = f"A fine-tuning of {epochs} epoch{'' if epochs == 1 else 's'} reads about {tokens:,} tokens"
    if price is None:
        return f"{said}; name a price with --price-per-million to have it in money."
    return (
        f"{said}, about {cost['estimate']:,.2f} at the {price:,.2f} a million that was given. The provider "
        "counts with its own tokenizer and sets its own price: ask it before you pay."
    )
