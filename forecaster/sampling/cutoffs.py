"""Until when a model has been trained, so that it is not examined on what it has read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from stockllm.forecaster.models.cards import read_card
from stockllm.forecaster.models.registry import ModelRef, training_facts
from stockllm.forecaster.sampling.calibration import read_calibration

#: What ``stockllm pretrain`` leaves beside the weights.


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The last day that training read; None where it read nothing of this market.

    ``known`` is False where nothing says until when a part of the model was trained.
    """

    day: date | None = None
    known: bool = True

    def seen(self, day: date) -> bool | None:
        """Whether training read ``day``; None where nobody can say."""
        if self.day is not None and day <= self.day:
            return True
        return False if self.known else None

    def joined(self, other: Cutoff) -> Cutoff:
        """Of a model made of two parts."""
        days = [c.day for c in (self, other) if c.day is not None]
        return Cutoff(max(days, default=None), self.known and other.known)


def cutoff(ref: ModelRef, *, simulated: bool, calibrated: bool = True) -> Cutoff:
    """The cut-off of a resolved model on a store of real or of ``simulated`` prices.

    A baseline has none: formulas learn nothing, networks are trained for each evaluation. Training
    on real prices has not seen a simulated market, nor the other way about. The period that its
    calibration was fitted on counts as read, unless it is asked of ``calibrated`` False.
    """
    if ref.base is None:
        return Cutoff()
    found = _of_base(ref.base, simulated)
    if calibrated and found.day is not None and (calibration := read_calibration(ref.base)) is not None:
        found = found.joined(Cutoff(calibration.end))
    return found.joined(_of_adapter(ref.adapter_dir, simulated)) if ref.adapter_dir else found


def held_out(ref: ModelRef) -> tuple[str, ...]:
    """The codes that a base model's training left out; none where its folder does not say."""
    facts = training_facts(ref.base)
    named = facts.get("held_out", []) if facts else []
    return tuple(str(code) for code in named)


def _of_base(base: Path | str, simulated: bool) -> Cutoff:
    facts = training_facts(base)
    if facts is None:
        return Cutoff(known=False)
    if bool(facts.get("simulated", False)) != simulated:
        return Cutoff()
    return _day(facts.get("data_end"))


def _of_adapter(folder: Path, simulated: bool) -> Cutoff:
    try:
        card = read_card(folder)
    except (OSError, ValueError):
        return Cutoff(known=False)
    return _day(card.data_end) if card.simulated == simulated else Cutoff()


def _day(text: Any) -> Cutoff:
    try:
        return Cutoff(date.fromisoformat(str(text)))
    except ValueError:
        return Cutoff(known=False)
