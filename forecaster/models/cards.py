"""The card of an adapter: what it was made of, by what and how well, for programs and for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CARD_FILE = "card.json"

#: The packages whose versions decide what comes out of a training run.
_PACKAGES = ("stockllm", "torch", "transformers", "trl", "peft", "unsloth", "unsloth_zoo", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class Card:
    """Everything needed to judge an adapter, and to train it again.

    Days are ISO dates. ``data_start`` and ``data_end`` bound the bars that training saw,
    ``validation_from`` is the first day kept apart (None: none was). ``losses`` are means over the
    answers' tokens in nats; ``hash`` is over the adapter's weights, ``base_hash`` over the base's.
    ``validation_loss_before`` counts what the method puts before the prompt in, untrained.
    ``method`` is that of `methods`, ``trainable`` how many numbers it trained, 0 where nobody counted.
    ``crps_base`` and ``crps_adapter`` are the mean CRPS of the base alone and with the adapter on the same
    validation windows, None where nobody measured: ``auto`` takes an adapter only where it is the better.
    ``speed`` is how fast the run trained since it last started, as `trainer.follow` measures it.
    ``crps_windows`` counts the forecasts that the two CRPS were measured on, as `training.gate` does it.
    """

    name: str
    base: str
    base_hash: str
    hash: str
    made_at: str
    companies: list[str]
    data_start: str
    data_end: str
    validation_from: str | None
    embargo: int
    simulated: bool
    prompt: str
    tasks: list[str]
    engine: str
    steps: int
    examples: dict[str, Any]
    losses: dict[str, float | None]
    flags: dict[str, Any]
    run: str
    versions: dict[str, str] = field(default_factory=dict)
    crps_windows: int = 0
    speed: dict[str, float] = field(default_factory=dict)
    method: str = "lora"
    trainable: int = 0
    crps_base: float | None = None
    crps_adapter: float | None = None


_KINDS: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: (
        *("name", "base", "base_hash", "hash", "made_at", "data_start", "data_end"),
        *("prompt", "engine", "run", "method"),
    ),
    bool: ("simulated",),
    int: ("embargo", "steps", "trainable", "crps_windows"),
    (float, int, type(None)): ("crps_base", "crps_adapter"),
    list: ("companies", "tasks"),
    dict: ("examples", "losses", "flags", "versions", "speed"),
}

#: What a card takes from the run as it stands there.
FROM_RUN = (
    "name",
    "base",
    "base_hash",
    "companies",
    "data_start",
    "data_end",
    "validation_from",
    "embargo",
    "simulated",
    "engine",
    "steps",
)


#: What a method leaves, in words.
WORDS = {
    "lora": "A LoRA adapter",
    "qlora": "A QLoRA adapter",
    "dora": "A DoRA adapter",
    "adalora": "An AdaLoRA adapter",
    "ia3": "An IA3 adapter",
    "prefix": "A prefix",
    "prompt": "A soft prompt",
    "p-tuning": "A soft prompt, by p-tuning,",
}


def versions() -> dict[str, str]:
    """The installed ones of the packages that matter."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_card(folder: Path, card: Card) -> None:
    """Put ``card.json`` and ``README.md`` into an adapter's folder."""
    text = json.dumps(asdict(card), ensure_ascii=False, indent=2) + "\n"
    for name, content in (("README.md", readme(card)), (CARD_FILE, text)):
        part = folder / f".{name}.part"  # an adapter that is in use has a card at any moment
        part.write_text(content, encoding="utf-8")
        part.replace(folder / name)


def read_card(folder: Path) -> Card:
    """The card of an adapter's folder.

    :raises OSError: where there is none.
    :raises ValueError: where it is not a card.
    """
    try:
        document = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        card = Card(**{key: document[key] for key in Card.__slots__ if key in document})
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / CARD_FILE} is not the card of an adapter") from error
    for kind, names in _KINDS.items():
        for name in names:
            value = getattr(card, name)
            # Somebody else may have made it: nothing that moves a terminal's cursor, no number for a name.
            if not isinstance(value, kind) or (isinstance(value, str) and not value.isprintable()):
                raise ValueError(f"{folder / CARD_FILE} is not the card of an adapter: {name}")
    if not all(isinstance(code, str) and code.isprintable() for code in card.companies + card.tasks):
        raise ValueError(f"{folder / CARD_FILE} is not the card of an adapter: companies")
    return card


def readme(card: Card) -> str:
    """The card in words, with the header that model hubs read."""
    whole = card.method == "full"
    what = "A model, every weight of it tuned from" if whole else f"{WORDS[card.method]} for"
    lines = [
        "---",
        f"library_name: {'transformers' if whole else 'peft'}",
        "pipeline_tag: text-generation",
        f"tags: [{card.method}, stockllm]",
        "---",
        f"# {card.name}",
        "",
    ]
    if card.simulated:
        lines += ["**SIMULATED 模擬資料**: trained on generated prices, of no use on a real market.", ""]
    lines += [
        f"{what} the base model `{card.base}`, made by stockllm on {card.made_at[:10]}. "
        "It forecasts daily candles of Taiwan stocks; it is no advice to trade.",
        "",
        f"Forecast with it: `stockllm forecast 2330 --model {_model_name(card)}`.",
        "",
        "| | |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {value} |" for name, value in facts(card)]
    lines += ["", "## Flags", "", "| flag | value |", "| --- | --- |"]
    lines += [f"| {name} | {_plain(value)} |" for name, value in card.flags.items()]
    return "\n".join(lines) + "\n"


def _model_name(card: Card) -> str:
    return f"{card.base}+{card.name}"


def facts(card: Card) -> list[tuple[str, str]]:
    """The card as (fact, value), the most telling first."""
    split = "every day trained"
    if card.validation_from is not None:
        split = f"validated from {card.validation_from} on, {card.embargo} market days before it left out"
    used = card.examples
    too_long = sum(used.get("too_long", {}).values())
    return [
        ("companies", f"{len(card.companies)}: {', '.join(card.companies)}"),
        ("trained on", f"{card.data_start} to {card.data_end}"),
        ("split", split),
        ("windows", f"{used.get('windows', 0):,}, of which {used.get('used', 0):,} were read"),
        ("too long for the model", f"{too_long:,}"),
        ("tasks, past/future days", ", ".join(card.tasks)),
        ("prompt", card.prompt),
        ("method", f"{card.method}{f', {card.trainable:,} numbers trained' if card.trainable else ''}"),
        ("engine, steps", f"{card.engine}, {card.steps:,}"),
        *([("speed", speed_in_words(card.speed))] if card.speed else []),
        *((name.replace("_", " "), f"{loss:.4f}") for name, loss in card.losses.items() if loss is not None),
        *(
            [("CRPS on validation", f"{card.crps_adapter:.5f}, the base alone {card.crps_base:.5f}")]
            if card.crps_adapter is not None and card.crps_base is not None
            else []
        ),
        ("base weights", f"sha256 `{card.base_hash}`"),
        ("adapter weights", f"sha256 `{card.hash}`"),
        ("versions", ", ".join(f"{name} {number}" for name, number in card.versions.items())),
    ]


def speed_in_words(speed: dict[str, float]) -> str:
    """A run's speed in a few words, figures rounded."""
    return (
        f"{speed['windows_per_second']:,.1f} windows/s, {speed['tokens_per_second']:,.0f} tokens/s, "
        f"{speed['padding']:.1%} padding"
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def losses_of(history: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """First and last loss of a trainer's log, on training and on validation windows.

    The first validation loss is the base model's own, before any step.
    """
    training = [float(entry["loss"]) for entry in history if "loss" in entry]
    validation = [float(entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    return {
        "first_loss": training[0] if training else None,
        "last_loss": training[-1] if training else None,
        "validation_loss_before": validation[0] if validation else None,
        "validation_loss_after": validation[-1] if validation else None,
    }
