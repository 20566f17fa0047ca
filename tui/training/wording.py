"""A run and an adapter in words, for the right side of the Training tab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from textual.content import Content

from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.look.text import Language
from stockllm.tui.training.reading import Adapter, Run

if TYPE_CHECKING:
    from stockllm.forecaster.models.cards import Card

_LOOKS = {"finished": "quiet", "failed": "warning", "killed": "warning", "stopped": "warning"}

#: Cells of the bar that shows how far a run is.
_BAR = 30


def state_look(state: str) -> str:
    """The look of a run's state in a table."""
    return _LOOKS.get(state, "forecast")


def run_text(run: Run, language: Language) -> Content:
    """Name and state, how far it is, its figures, and what it said last."""
    look = "$text-warning" if state_look(run.state) == "warning" else "$forecast"
    pieces: list[str | tuple[str, str]] = [
        (run.name, "bold"),
        "  ",
        (t(f"state.{run.state}", language), look),
    ]
    if run.simulated:
        pieces += ["  ", (" SIMULATED 模擬 ", "bold $background on $simulated")]
    last = run.last
    if last is not None:
        done = min(_BAR, round(_BAR * last.step / last.steps))
        bar = "█" * done + "░" * (_BAR - done)
        pieces += ["\n", (bar, "$forecast"), f"  {last.step}/{last.steps} ({last.step / last.steps:.0%})"]
    figures = []
    for name, form in (("loss", ".4f"), ("eval_loss", ".4f"), ("lr", ".2e"), ("tokens_per_second", ",.0f")):
        value = run.latest(name)
        if value is not None:
            figures.append(t(f"training.{name}", language, value=format(value, form)))
    eta = run.events[-1].eta_s if run.events and run.running else None
    if eta is not None:
        minutes, seconds = divmod(round(eta), 60)
        figures.append(t("training.eta", language, time=f"{minutes}:{seconds:02d}"))
    if figures:
        pieces += ["\n", "  ".join(figures)]
    if run.started is not None:
        pieces += [
            "\n",
            (t("training.started", language, when=f"{run.started:%Y-%m-%d %H:%M}"), "$text-quiet"),
        ]
    if run.pid:
        pieces.append((f"  pid {run.pid}", "$text-quiet"))
    said = run.said(language)
    if said:
        pieces += ["\n", said]
    # Without its options nobody could go on with it.
    if run.state == "killed" and run.options:
        pieces += ["\n", (t("training.killed", language), "$text-warning")]
    options = {name: value for name, value in run.options.items() if value not in (None, False, "", [])}
    shown = "  ".join(f"{name}={_plain(value)}" for name, value in options.items())
    if shown:
        pieces += ["\n", (shown, "$text-quiet")]
    return Content.assemble(*pieces)


def adapter_text(adapter: Adapter, language: Language) -> Content:
    """The card: how to ask for it, then the facts."""
    pieces: list[str | tuple[str, str]] = [(adapter.info.name, "bold"), "\n"]
    if adapter.card.simulated:
        pieces += [(" SIMULATED 模擬 ", "bold $background on $simulated"), "\n"]
    pieces += [(f"stockllm forecast 2330 --model {adapter.model}", "$forecast"), "\n"]
    made = adapter.info.made_at
    pieces += [(t("training.made", language, when=f"{made:%Y-%m-%d %H:%M}"), "$text-quiet"), "\n\n"]
    for name, value in card_facts(adapter.card, language):
        pieces += [(f"{name}: ", "$text-quiet"), value, "\n"]
    return Content.assemble(*pieces[:-1])


def card_facts(card: Card, language: Language) -> list[tuple[str, str]]:
    """An adapter's card as (fact, value), the most telling first: as its own file has it, or in Chinese."""
    from stockllm.forecaster.models.cards import facts

    if language == "en":
        return facts(card)
    read, speed = card.examples, card.speed
    split = t("card.split.none", language)
    if card.validation_from is not None:
        split = t("card.split.from", language, day=card.validation_from, days=card.embargo)
    values = {
        "trained on": t("card.period", language, start=card.data_start, end=card.data_end),
        "split": split,
        "windows": t(
            "card.read", language, all=f"{read.get('windows', 0):,}", used=f"{read.get('used', 0):,}"
        ),
    }
    if card.trainable:
        values["method"] = t("card.trained", language, method=card.method, count=f"{card.trainable:,}")
    if speed:
        values["speed"] = t(
            "card.pace",
            language,
            windows=f"{speed['windows_per_second']:,.1f}",
            tokens=f"{speed['tokens_per_second']:,.0f}",
            padding=f"{speed['padding']:.1%}",
        )
    return [(_named(name, language), values.get(name, value)) for name, value in facts(card)]


def _named(fact: str, language: Language) -> str:
    """A fact's name; as the card has it where there is no other."""
    key = f"card.name.{re.sub('[^a-z]+', '_', fact)}"
    return t(key, language) if key in TABLE else fact


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
