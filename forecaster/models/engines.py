"""Two ways to a base model that is ready to be tuned, and the trainer that fits each.

``unsloth`` is Unsloth's FastLanguageModel, ``peft`` is plain transformers and PEFT. Both end in the
same PEFT model, the same checkpoints and the same adapter files, so either can load what the other
made; what Unsloth has no kernels for (`methods.OF_UNSLOTH`) is plain PEFT's. Importing Unsloth changes
transformers, TRL and PEFT for the whole process: it is imported by the one process that trains, and never
by one that forecasts.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.sentences import Sentence
from stockllm.forecaster.encoding.tokenizer import CHAT_TEMPLATE, PADDING
from stockllm.forecaster.models import methods
from stockllm.forecaster.models.files import NO_CODE, SAFE
from stockllm.forecaster.models.methods import TARGETS, LoraOptions
from stockllm.forecaster.models.presets import out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine = Literal["unsloth", "peft"]
ENGINES = ("auto", "unsloth", "peft")

#: Parameters from which on activations are computed twice rather than kept: those of a smaller model
#: fit beside it on any device, and computing them again costs a third of each step.
RECOMPUTED_FROM = 500_000_000


@dataclass(slots=True)
class Loaded:
    """A model ready to train, and its tokenizer with a chat template and a padding token.

    ``model`` is PEFT's, or with ``method`` "full" the base model itself.
    """

    model: Any
    tokenizer: Any
    engine: Engine
    cuda: bool
    method: str = "lora"


def choose_engine(name: str, method: str = "lora") -> Engine:
    """``auto`` is Unsloth where it is installed and trains this method, else plain PEFT.

    :raises UsageError: for an unknown name, or Unsloth where it is not installed.
    """
    if name not in ENGINES:
        raise UsageError(
            f"There is no engine {name!r}; choose one of {', '.join(ENGINES)}.",
            zh=f"沒有名為 {name!r} 的訓練引擎：請從 {', '.join(ENGINES)} 中選擇。",
        )
    installed = find_spec("unsloth") is not None
    if name == "unsloth" and not installed:
        raise UsageError(
            "Unsloth is not installed: run `pip install 'stockllm[unsloth]'`, or train with --engine peft.",
            zh=("沒有安裝 Unsloth：請執行 `pip install 'stockllm[unsloth]'`，或用 --engine peft 訓練。"),
        )
    return "unsloth" if installed and name != "peft" and method in methods.OF_UNSLOTH else "peft"


def refuse_quantised(load_in_4bit: bool, load_in_8bit: bool, method: str = "lora") -> None:
    """UsageError where a model is to be loaded in 4 or 8 bits and this machine cannot."""
    if method == "qlora":
        flag, instead, instead_zh = "--method qlora", "choose --method lora", "請改用 --method lora"
    elif load_in_4bit or load_in_8bit:
        flag = "--load-in-4bit" if load_in_4bit else "--load-in-8bit"
        instead, instead_zh = "leave the flag out", "請移除此選項"
    else:
        return
    if not _cuda():
        raise UsageError(
            f"{flag} needs a CUDA device and this machine has none; {instead}.",
            zh=f"{flag} 需要 CUDA 裝置，這台機器沒有；{instead_zh}。",
        )
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            f"{flag} needs bitsandbytes: install it with `pip install bitsandbytes`.",
            zh=f"{flag} 需要 bitsandbytes：請用 `pip install bitsandbytes` 安裝。",
        )


def optimiser(wanted: str) -> tuple[str, Sentence | None]:
    """The optimiser to use here, and a sentence where it is not the one that was asked for.

    The 8-bit and paged optimisers keep their state in CUDA kernels of bitsandbytes.
    """
    from transformers.training_args import OptimizerNames

    if wanted not in [name.value for name in OptimizerNames]:
        raise UsageError(
            f"There is no optimiser {wanted!r}; adamw_torch and adamw_8bit are the usual ones.",
            zh=f"沒有名為 {wanted!r} 的最佳化器：常用的是 adamw_torch 與 adamw_8bit。",
        )
    if not ("8bit" in wanted or "paged" in wanted):
        return wanted, None
    if _cuda() and find_spec("bitsandbytes") is not None:
        return wanted, None
    return "adamw_torch", Sentence(
        f"{wanted} needs CUDA and bitsandbytes; training with adamw_torch instead.",
        zh=f"{wanted} 需要 CUDA 與 bitsandbytes；改用 adamw_torch 訓練。",
    )


def load(engine: Engine, base: str | Path, lora: LoraOptions) -> Loaded:
    """The base model with what its method trains, on CUDA where there is one, in float32 on a CPU.

    :param base: a folder in transformers' format, or a model's name on the Hugging Face hub.
    :raises ModelUnavailable: where it cannot be read, reached, or talked to in chat messages.
    """
    refuse_quantised(lora.load_in_4bit, lora.load_in_8bit, lora.method)
    prepare_imports()
    from safetensors import SafetensorError

    offline = not Path(base).is_dir() and not reach(str(base))
    cuda = _cuda()
    try:
        with quiet_imports():
            if engine == "unsloth":
                import unsloth  # noqa: F401  (it patches transformers, so it comes first)
            with no_bars():
                fresh = _load_unsloth if engine == "unsloth" else _load_peft
                model, tokenizer = fresh(str(base), lora, cuda, offline)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        if out_of_memory(error):
            raise
        raise _unavailable(base, error) from error
    ensure_chat(tokenizer, base)
    for module in model.modules():
        # Dropout is the adapter's (--lora-dropout). A base model's own would only rule out the fast
        # attention kernels.
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return Loaded(model, tokenizer, engine, cuda, lora.method)


def reach(name: str) -> bool:
    """Whether the hub can be asked for a model; False where it cannot and the model is here already.

    Asked once and without the retries of the loaders, which take minutes to say no.

    :raises ModelUnavailable: where the model is neither here nor to be had.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        HfApi().model_info(name, timeout=10)
    except Exception as error:  # the hub's errors and its HTTP client's have no root in common
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return False
        raise _unavailable(name, error) from error
    return True


def _load_unsloth(base: str, lora: LoraOptions, cuda: bool, offline: bool) -> tuple[Any, Any]:
    import torch
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=base,
        max_seq_length=lora.max_seq_length,
        dtype=None if cuda else torch.float32,
        load_in_4bit=lora.load_in_4bit or lora.method == "qlora",
        load_in_8bit=lora.load_in_8bit,
        **NO_CODE,
        **({"local_files_only": True} if offline else {}),
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=lora.rank,
        target_modules=list(TARGETS),
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        use_gradient_checkpointing="unsloth" if recomputes(model, cuda) else False,
        random_state=lora.seed,
        max_seq_length=lora.max_seq_length,
        **({"use_dora": True} if lora.method == "dora" else {}),
    )
    return model, tokenizer


def recomputes(model: Any, cuda: bool, method: str = "lora") -> bool:
    """Whether training should trade time for memory: on a GPU, for a model that is large for one.

    Not with a prefix: its keys and values are a cache, which a second computation would fill twice.
    """
    return (
        cuda
        and method != "prefix"
        and sum(weight.numel() for weight in model.parameters()) >= RECOMPUTED_FROM
    )


def _load_peft(base: str, lora: LoraOptions, cuda: bool, offline: bool) -> tuple[Any, Any]:
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Every weight at once is trained in float32 and computed in half: steps are smaller than half can tell.
    dtype = _half() if cuda and lora.method != methods.FULL else torch.float32
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": 0} if cuda else "cpu"}
    quantised = quantisation(lora, dtype)
    if quantised is not None:
        options["quantization_config"] = quantised
    model = AutoModelForCausalLM.from_pretrained(base, local_files_only=offline, **SAFE, **options)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=offline, **NO_CODE)
    model.config.use_cache = False
    if quantised is not None:
        # Recomputing is the trainer's to switch on, for large models alone.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return methods.fresh(model, lora), tokenizer


def quantisation(lora: LoraOptions, compute: Any) -> Any:
    """How the base's weights are kept in 4 or 8 bits; None where they stay whole.

    4 bits are those of QLoRA (Dettmers et al. 2023): NF4, its constants quantised once more.
    """
    from transformers import BitsAndBytesConfig

    if lora.load_in_4bit or lora.method == "qlora":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
        )
    return BitsAndBytesConfig(load_in_8bit=True) if lora.load_in_8bit else None


def ensure_chat(tokenizer: Any, base: str | Path) -> None:
    """Give a Llama-3 tokenizer without a chat template Llama-3's own; set a padding token.

    :raises ModelUnavailable: for a tokenizer that knows no chat format.
    """
    known = tokenizer.get_vocab()
    if tokenizer.chat_template is None:
        if "<|start_header_id|>" not in known:
            raise ModelUnavailable(
                f"The model {base} has no chat template and is no Llama 3; choose one tuned on instructions.",
                zh=f"模型 {base} 沒有對話範本，也不是 Llama 3：請選擇經過指令微調的模型。",
            )
        tokenizer.chat_template = CHAT_TEMPLATE
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        # Padding with the end-of-turn token is how models unlearn to stop.
        tokenizer.pad_token = PADDING if PADDING in known else tokenizer.eos_token
    tokenizer.padding_side = "right"


def _cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _half() -> Any:
    import torch

    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def prepare_imports() -> None:
    """Before the heavy libraries come in: no telemetry from any of them, and threads that wait in peace.

    OpenMP's threads wait for each other by spinning. Where another program wants a core too, the
    spinning keeps it from the very thread that is waited for: ten times slower was measured. Only
    torch's first import reads the policy.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "UNSLOTH_DISABLE_STATISTICS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Import without the chatter of torchao and bitsandbytes about kernels that do not load here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Load weights without transformers' progress bar; ours is the only one."""
    from transformers.utils import logging as chatter

    before = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            chatter.enable_progress_bar()


@contextlib.contextmanager
def chatter_in(file: Path) -> Iterator[None]:
    """What transformers logs goes to a file; the terminal shows our words, in the reader's language."""
    from transformers.utils import logging as chatter

    handler = logging.FileHandler(file, encoding="utf-8")
    chatter.disable_default_handler()
    chatter.add_handler(handler)
    try:
        yield
    finally:
        chatter.remove_handler(handler)
        handler.close()
        chatter.enable_default_handler()


def _unavailable(base: str | Path, error: Exception) -> ModelUnavailable:
    cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if Path(base).is_dir():
        return ModelUnavailable(
            f"The model in {base} cannot be loaded ({cause}); give a folder that transformers can load.",
            zh=f"{base} 裡的模型無法載入（{cause}）：請給 transformers 能載入的資料夾。",
        )
    return ModelUnavailable(
        f"The model {base} cannot be loaded ({cause}); check its name and the network, or download it "
        "and give its folder with --model-dir.",
        zh=f"模型 {base} 無法載入（{cause}）：請檢查名稱與網路，或下載後用 --model-dir 指定其資料夾。",
    )
