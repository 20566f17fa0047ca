"""What a training run is asked for. Every option checks itself and says in one sentence what is wrong."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from stockllm.data.errors import UsageError
from stockllm.data.records import PromptStyle
from stockllm.forecaster.encoding.windows import DEFAULT_TASKS, Task
from stockllm.forecaster.models import methods, presets
from stockllm.forecaster.models.engines import ENGINES
from stockllm.forecaster.models.registry import EMBEDDED

#: Steps where neither ``max_steps`` nor ``num_epochs`` is given; the reference's own number.
DEFAULT_STEPS = 60

#: Schedules that need no argument of their own.
SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
#: Where curves may be sent; all but the first two want their package installed.
REPORTERS = ("tensorboard", "none", "wandb", "mlflow", "trackio", "comet_ml", "clearml")

#: What a run is called and where it lies says nothing about what is trained.
_PLACES = ("name", "output_dir")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The flags of ``stockllm train``; the defaults are the reference's.

    Those that are None in the signature are the method's own (`methods.DEFAULTS`), and stay None where it
    has no such thing. ``preset`` is the one that `given` filled the others in by, for the record.
    ``codes`` are the companies to train on. ``max_steps`` wins over ``num_epochs`` where both are
    given, as in transformers; with neither it is 60 steps. One step reads ``batch_size *
    gradient_accumulation_steps`` windows. ``since`` is the first day a training window may touch,
    ``validation_from`` the first day kept apart (None: the last fifth of the days, 60 at most).
    """

    codes: tuple[str, ...]
    preset: str | None = None
    method: str = "lora"
    model_name: str = "llama"
    model_dir: Path | None = None
    name: str | None = None
    output_dir: Path | None = None
    engine: str = "auto"
    prompt: PromptStyle = "compact"
    fields: tuple[str, ...] = ("Open", "High", "Low", "Close", "Capacity")
    tasks: tuple[Task, ...] = DEFAULT_TASKS
    with_news: bool = False
    since: date | None = None
    validation_from: date | None = None
    validation_windows: int = 64
    max_seq_length: int = 2048
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    rank: int | None = None
    lora_alpha: int | None = None
    lora_dropout: float | None = None
    virtual_tokens: int | None = None
    random_state: int = 3407
    batch_size: int = 8
    gradient_accumulation_steps: int = 4
    num_epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float = None  # type: ignore[assignment]  # the method's
    weight_decay: float = 0.05
    lr_scheduler_type: str = "cosine"
    optim: str = None  # type: ignore[assignment]  # the method's
    logging_steps: int = 1
    save_steps: int | None = None
    early_stopping: int | None = None
    report_to: str = "tensorboard"

    def __post_init__(self) -> None:
        self._check_method()
        if not self.codes:
            raise UsageError(
                "No company to train on: name some with --company-list-file, or let --choose-stock choose.",
                zh=("沒有指定要訓練的公司：請用 --company-list-file 指定，或由 --choose-stock 挑選。"),
            )
        if not self.tasks:
            raise UsageError(
                "No task to train on: give some as past/future days, as in --tasks 1/1,20/5.",
                zh="沒有訓練任務：請寫成過去／未來天數，例如 --tasks 1/1,20/5。",
            )
        self._check_numbers()
        self._check_words()

    def _check_method(self) -> None:
        """The method is to be had, the flags that were given are its, and the others are filled in."""
        own = methods.defaults(self.method, embedded=self.base == EMBEDDED)
        for f in fields(own):
            given, usual = getattr(self, f.name), getattr(own, f.name)
            if given is None:
                object.__setattr__(self, f.name, usual)
            elif usual is None:
                flag, its = _flag(f.name), ", ".join(methods.having(f.name))
                raise UsageError(
                    f"{flag} says nothing to --method {self.method}: it is of {its}; leave it out.",
                    zh=f"{flag} 不適用於 --method {self.method}，只適用於 {its}；請移除。",
                )
        quantised = "--load-in-4bit" if self.load_in_4bit else "--load-in-8bit" if self.load_in_8bit else ""
        if quantised and self.method == methods.FULL:
            raise UsageError(
                f"{quantised} and --method full exclude each other: rounded weights cannot be trained; leave "
                "one out.",
                zh=f"{quantised} 與 --method full 不能並用：量化後的權重無法訓練；請移除其一。",
            )
        if self.max_steps is not None and self.max_steps > 0:
            methods.check_steps(self.method, self.max_steps)
        if self.load_in_8bit and self.method == "qlora":
            raise UsageError(
                "--method qlora keeps the base in 4 bits; leave --load-in-8bit out.",
                zh="--method qlora 以 4 位元載入基底模型；請移除 --load-in-8bit。",
            )

    def _check_numbers(self) -> None:
        for name, low in (
            ("rank", 1),
            ("lora_alpha", 1),
            ("batch_size", 1),
            ("gradient_accumulation_steps", 1),
            ("logging_steps", 1),
            ("max_seq_length", 16),
            ("validation_windows", 0),
            ("random_state", 0),
            ("save_steps", 1),
            ("virtual_tokens", 1),
            ("early_stopping", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(
                    f"{_flag(name)} is {value} and must be at least {low}.",
                    zh=f"{_flag(name)} 是 {value}，至少要 {low}。",
                )
        if self.lora_dropout is not None and not 0 <= self.lora_dropout < 1:
            raise UsageError(
                f"--lora-dropout is {self.lora_dropout} and must lie in 0 to 1, 1 excluded.",
                zh=f"--lora-dropout 是 {self.lora_dropout}，須在 0 到 1 之間，不含 1。",
            )
        if not (0 < self.learning_rate < math.inf):
            raise UsageError(
                f"--learning-rate is {self.learning_rate} and must be above 0, as in 2e-4.",
                zh=f"--learning-rate 是 {self.learning_rate}，須大於 0，例如 2e-4。",
            )
        if not (0 <= self.weight_decay < math.inf):
            raise UsageError(
                f"--weight-decay is {self.weight_decay} and must be 0 or more.",
                zh=f"--weight-decay 是 {self.weight_decay}，須為 0 以上。",
            )
        if self.num_epochs is not None and not (0 < self.num_epochs < math.inf):
            raise UsageError(
                f"--num-epochs is {self.num_epochs} and must be above 0.",
                zh=f"--num-epochs 是 {self.num_epochs}，須大於 0。",
            )
        if self.max_steps is not None and self.max_steps < 1 and self.max_steps != -1:
            raise UsageError(
                f"--max-steps is {self.max_steps} and must be at least 1 (or -1 for no limit).",
                zh=f"--max-steps 是 {self.max_steps}，至少要 1（-1 為不限）。",
            )

    def _check_words(self) -> None:
        if self.load_in_4bit and self.load_in_8bit:
            raise UsageError(
                "--load-in-4bit and --load-in-8bit exclude each other; choose one.",
                zh="--load-in-4bit 與 --load-in-8bit 不能並用：請擇一。",
            )
        for name, known in (
            ("engine", ENGINES),
            ("preset", (None, *presets.NAMES)),
            ("prompt", get_args(PromptStyle)),
            ("lr_scheduler_type", SCHEDULERS),
            ("report_to", REPORTERS),
        ):
            value = getattr(self, name)
            if value not in known:
                names = [choice for choice in known if choice is not None]
                raise UsageError(
                    f"{_flag(name)} {value!r} is not known; choose one of {', '.join(names)}.",
                    zh=f"{_flag(name)} 沒有 {value!r} 這個值：請從 {', '.join(names)} 中選擇。",
                )
        if self.report_to not in ("tensorboard", "none") and find_spec(self.report_to) is None:
            raise UsageError(
                f"--report-to {self.report_to} needs the package of that name; install it, or leave it out.",
                zh=f"--report-to {self.report_to} 需要同名的套件：請安裝它，或不用這個旗標。",
            )
        if self.with_news and self.prompt == "compact":
            raise UsageError(
                "The compact prompt has no place for news; add --prompt reference to --with-news.",
                zh="精簡提示放不下新聞：--with-news 請加上 --prompt reference。",
            )
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot name an adapter: use letters, digits, dots, dashes and underscores, "
                "64 at most.",
                zh=(
                    f"{self.name!r} 不能當轉接器的名稱：請用英文字母、數字、點、連字號與底線，最多 "
                    "64 個字元。"
                ),
            )

    @classmethod
    def given(cls, **flags: Any) -> TrainOptions:
        """The options of a command line, where None is what was not given: a preset fills it in first."""
        return cls(**{key: value for key, value in presets.filled(flags).items() if value is not None})

    @property
    def base(self) -> str:
        """The base model: a folder where one is given, else a name."""
        if self.model_dir is not None:
            return str(self.model_dir.expanduser().absolute())
        return self.model_name

    @property
    def lora(self) -> methods.LoraOptions:
        """What is trained and how its base is loaded."""
        return methods.LoraOptions(
            rank=self.rank or 0,
            alpha=self.lora_alpha or 0,
            dropout=self.lora_dropout or 0.0,
            seed=self.random_state,
            max_seq_length=self.max_seq_length,
            load_in_4bit=self.load_in_4bit,
            load_in_8bit=self.load_in_8bit,
            method=self.method,
            virtual_tokens=self.virtual_tokens or 0,
        )

    @property
    def per_step(self) -> int:
        """Windows that one step reads."""
        return self.batch_size * self.gradient_accumulation_steps

    def steps_for(self, examples: int) -> int:
        """Steps of a run that has this many examples to read."""
        if self.max_steps is not None and self.max_steps > 0:
            return self.max_steps
        if self.wanted is not None:
            return DEFAULT_STEPS
        return math.ceil(examples * (self.num_epochs or 1.0) / self.per_step)

    @property
    def wanted(self) -> int | None:
        """Windows the run can read at most; None where it reads all there are."""
        if self.max_steps == -1 or (self.max_steps is None and self.num_epochs is not None):
            return None
        return (self.max_steps or DEFAULT_STEPS) * self.per_step

    def document(self) -> dict[str, Any]:
        """All options as JSON values, but for the run's name and place."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in _PLACES}

    @classmethod
    def from_document(
        cls, document: dict[str, Any], *, name: str | None = None, output_dir: Path | None = None
    ) -> TrainOptions:
        """The options that `document` gave; unknown keys are left out."""
        known = {f.name for f in fields(cls)} - set(_PLACES)
        values = {key: value for key, value in document.items() if key in known}
        for key in ("codes", "fields"):
            values[key] = tuple(values.get(key, ()))
        values["tasks"] = tuple(Task.parse(task) for task in values.get("tasks", ()))
        for key in ("since", "validation_from"):
            if values.get(key) is not None:
                values[key] = date.fromisoformat(values[key])
        if values.get("model_dir") is not None:
            values["model_dir"] = Path(values["model_dir"])
        return cls(**values, name=name, output_dir=output_dir)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (Task, Path)) else value
