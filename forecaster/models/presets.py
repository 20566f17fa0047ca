"""Model, method and batch by the memory there is, and what to do when it was not enough.

Weights take 2 bytes a parameter in half precision and about 0.6 in the 4 bits of QLoRA; beside them lie
the optimiser's state of what is trained and the activations of one batch.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import StockllmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTO = "auto"


class OutOfMemory(StockllmError):
    """Training needs more memory than there is."""


@dataclass(frozen=True, slots=True)
class Preset:
    """``batch_size`` times ``gradient_accumulation_steps`` is 32 in all of them: a step learns the same."""

    model_name: str
    method: str
    batch_size: int
    gradient_accumulation_steps: int


#: The smallest first.
PRESETS = {
    "cpu": Preset("llama", "lora", 8, 4),
    "small": Preset("unsloth/Llama-3.2-1B-Instruct", "qlora", 4, 8),
    "medium": Preset("unsloth/Llama-3.2-3B-Instruct", "qlora", 8, 4),
    "large": Preset("unsloth/Meta-Llama-3.1-8B-Instruct", "lora", 8, 4),
}
NAMES = (AUTO, *PRESETS)
#: GiB of a device from which on a preset fits; a card sold as 10 or 24 GB reports a little less.
_SMALLEST = {"medium": 9.5, "large": 24.5}


def preset(name: str) -> Preset:
    """The preset of a name; UsageError where there is none. ``auto`` asks the machine."""
    if name not in NAMES:
        raise UsageError(
            f"--preset {name!r} is not known; choose one of {', '.join(NAMES)}.",
            zh=f"沒有 --preset {name!r}；請選 {'、'.join(NAMES)} 之一。",
        )
    return PRESETS[of_machine() if name == AUTO else name]


def of_machine() -> str:
    """The preset for the memory of this machine's first CUDA device, or ``cpu``. Imports torch."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return by_memory(torch.cuda.get_device_properties(0).total_memory / 2**30)


def by_memory(gib: float) -> str:
    """The preset for a CUDA device with so many GiB."""
    fitting = [name for name, least in _SMALLEST.items() if gib >= least]
    return fitting[-1] if fitting else "small"


def smaller(name: str) -> str | None:
    """The next smaller preset; None below the smallest."""
    names = list(PRESETS)
    at = names.index(name)
    return names[at - 1] if at else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full, on the device or beside it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and any(
        words in said
        for words in ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    )


@contextlib.contextmanager
def watched(name: str | None, model_name: str, batch_size: int) -> Iterator[None]:
    """Turn an error that says memory is full into a sentence with the next smaller preset.

    :param name: the preset of the run; without one it is told by its model, or else by the machine.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise _too_large(name if name in PRESETS else _like(model_name), batch_size) from error


@contextlib.contextmanager
def watched_alone(batch_size: int) -> Iterator[None]:
    """The same for a training that has no presets: only its batch can be made smaller."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        en, zh = f"halve --batch-size ({batch_size})", f"請將 --batch-size（{batch_size}）減半"
        if batch_size == 1:
            en, zh = "choose a smaller model", "請選較小的模型"
        raise OutOfMemory(f"Training ran out of memory; {en}.", zh=f"訓練時記憶體不足；{zh}。") from error


def _like(model_name: str) -> str:
    for name, found in PRESETS.items():
        if found.model_name == model_name:
            return name
    return of_machine()


def _too_large(name: str, batch_size: int) -> OutOfMemory:
    less = smaller(name)
    if less is not None:
        return OutOfMemory(
            f"Training ran out of memory; start it with the next smaller preset, `--preset {less}`.",
            zh=f"訓練時記憶體不足；請改用小一級的 `--preset {less}`。",
        )
    en = f"halve --batch-size ({batch_size}) and double --gradient-accumulation-steps"
    zh = f"請將 --batch-size（{batch_size}）減半，--gradient-accumulation-steps 加倍"
    if batch_size == 1:
        en, zh = "leave out the longest of --tasks", "請移除 --tasks 中最長的一項"
    return OutOfMemory(
        f"Training ran out of memory and no preset is smaller than `--preset {name}`; {en}.",
        zh=f"訓練時記憶體不足，且 `--preset {name}` 已是最小；{zh}。",
    )


def filled(given: dict[str, Any]) -> dict[str, Any]:
    """Flags with what their preset adds to them; a flag that was given wins. ``auto`` becomes a name."""
    name = given.get("preset")
    if name is None:
        return given
    chosen = preset(name)
    if name == AUTO:
        name = of_machine()
    adds = {key: getattr(chosen, key) for key in Preset.__slots__}
    if given.get("model_dir") is not None:
        del adds["model_name"]
    return adds | {key: value for key, value in given.items() if value is not None} | {"preset": name}
