"""What an alignment is asked for. Every option checks itself and says in one sentence what is wrong."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any, Literal, get_args

from stockllm.data.errors import UsageError
from stockllm.data.records import PromptStyle

AlignMethod = Literal["dpo", "kto", "orpo", "grpo", "reward"]
METHODS: tuple[str, ...] = get_args(AlignMethod)
Reference = Literal["start", "base"]

#: How far the policy is held to its reference where nobody says: for ORPO the weight of the odds ratio.
BETA: dict[str, float] = {"dpo": 0.1, "kto": 0.1, "orpo": 0.1, "grpo": 0.04}
#: Methods that hold the policy to a reference.
REFERENCED = ("dpo", "kto", "grpo")
DEFAULT_STEPS = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class AlignOptions:
    """The flags of ``stockllm align``.

    ``until`` is the last day that may be known: no outcome after it is read (None: the store's last).
    ``since`` is the first evening whose forecasts are taken. ``entries`` is ``same``, the ledger's
    forecasts of the model itself, or ``all``; ``prompt`` the style they were
    asked in. ``margin`` is by how much a rejected path must be worse than
    the chosen one, in usual moves of the stock (see `align_outcomes`). ``batch_size`` counts pairs, for
    GRPO windows of ``generations`` answers each. ``reference`` is what the policy is held to: ``start``,
    the model as it is given, or ``base``, the same without its adapter.
    """

    method: AlignMethod
    model: str = "llama"
    name: str | None = None
    codes: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    entries: str = "same"
    prompt: PromptStyle = "compact"
    beta: float | None = None
    reference: Reference | None = None
    reward_model: str | None = None
    margin: float = 0.5
    pairs_per_forecast: int = 1
    generations: int = 8
    rank: int = 16
    lora_alpha: int = 16
    batch_size: int = 8
    max_steps: int = DEFAULT_STEPS
    learning_rate: float = 2e-5
    max_seq_length: int = 2048
    random_state: int = 3407

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()

    def _check_words(self) -> None:
        for name, known in (("method", METHODS), ("entries", ("same", "all"))):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"--{name} {value!r} is not known; choose one of {', '.join(known)}.",
                    zh=f"--{name} 沒有 {value!r}；可選 {'、'.join(known)}。",
                )
        if self.reference not in (None, *get_args(Reference)):
            raise UsageError(
                f"--reference {self.reference!r} is not known; choose start or base.",
                zh=f"--reference 沒有 {self.reference!r}；可選 start 或 base。",
            )
        if self.reference is not None and self.method not in REFERENCED:
            raise UsageError(
                f"--method {self.method} is held to no reference: leave --reference out.",
                zh=f"--method {self.method} 不用參考模型：請拿掉 --reference。",
            )
        if self.beta is not None and self.method not in BETA:
            raise UsageError(
                f"--method {self.method} has no beta: leave --beta out.",
                zh=f"--method {self.method} 沒有 beta：請拿掉 --beta。",
            )
        if self.reward_model is not None and self.method != "grpo":
            raise UsageError(
                f"--method {self.method} asks no reward model: leave --reward-model out.",
                zh=f"--method {self.method} 不用獎勵模型：請拿掉 --reward-model。",
            )
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot name an adapter: use letters, digits, dots, dashes and underscores, "
                "64 at most.",
                zh=f"{self.name!r} 不能當轉接器的名稱：請用英數字、點、連字號與底線，至多 64 個字元。",
            )

    def _check_numbers(self) -> None:
        for name, low, high in (
            ("margin", 0.0, 100.0),
            ("pairs_per_forecast", 1, 100),
            ("generations", 2, 256),
            ("rank", 1, 1024),
            ("lora_alpha", 1, 4096),
            ("batch_size", 2 if self.method == "kto" else 1, 4096),
            ("max_steps", 1, 1_000_000),
            ("learning_rate", 1e-9, 1.0),
            ("max_seq_length", 16, 1_000_000),
            ("random_state", 0, 2**32 - 1),
            ("beta", 0.0, 100.0),
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                flag = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{flag} lies between {low:g} and {high:g}, {value:g} does not.",
                    zh=f"{flag} 須在 {low:g} 與 {high:g} 之間，{value:g} 不是。",
                )
        if self.since is not None and self.until is not None and self.since > self.until:
            raise UsageError(
                f"--since {self.since} lies after --until {self.until}.",
                zh=f"--since {self.since} 晚於 --until {self.until}。",
            )

    def of(self, codes: tuple[str, ...]) -> AlignOptions:
        """The same of these companies' forecasts; none named: of all."""
        return replace(self, codes=codes)

    @property
    def strength(self) -> float | None:
        """``beta``, or the method's own where none is given; None for a method without one."""
        return self.beta if self.beta is not None else BETA.get(self.method)

    def document(self) -> dict[str, Any]:
        """All options as JSON values, the name apart."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        values |= {"beta": self.strength, "codes": list(self.codes)}
        if self.method in REFERENCED:
            values["reference"] = self.reference or "start"
        return {key: value.isoformat() if isinstance(value, date) else value for key, value in values.items()}
