"""The models of an alignment: the policy that is trained, and the reward model that may judge it.

Always plain transformers and PEFT: Unsloth changes TRL's trainers for the whole process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.models import cards
from stockllm.forecaster.models.engines import Loaded, ensure_chat, load, no_bars, quiet_imports
from stockllm.forecaster.models.files import NO_CODE, SAFE, is_name
from stockllm.forecaster.models.methods import TARGETS, LoraOptions
from stockllm.forecaster.models.registry import (
    EMBEDDED,
    ModelRef,
    load_model,
    resolve_model,
    weights_hash,
)

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.forecaster.alignment.options import AlignOptions


def rewards_folder(home: Home) -> Path:
    """Where reward models lie: beside the adapters, which all forecast."""
    return home.root / "rewards"


def base_name(ref: ModelRef) -> str:
    """The base as a card names it: a folder by its whole path."""
    return str(ref.base) if isinstance(ref.base, Path) and ref.name != EMBEDDED else ref.name


def policy_of(ref: ModelRef, options: AlignOptions) -> Loaded:
    """What is trained: a fresh LoRA on the base, or the adapter that the model has."""
    assert ref.base is not None
    lora = LoraOptions(options.rank, options.lora_alpha, 0.0, options.random_state, options.max_seq_length)
    if options.method == "reward":
        return _judge(ref.base, options)
    policy = load("peft", ref.base, lora) if ref.adapter_dir is None else _going_on(ref, ref.adapter_dir)
    policy.model.config.use_cache = options.method == "grpo"
    return policy


def _going_on(ref: ModelRef, adapter: Path) -> Loaded:
    """The base with its adapter, whose weights are trained on."""
    load_model(ref)  # refuses an adapter of another base
    base = load_base(ref.base, "AutoModelForCausalLM")
    from peft import PeftModel

    with quiet_imports():
        model = PeftModel.from_pretrained(base.model, adapter, is_trainable=True)
    return Loaded(model, base.tokenizer, "peft", base.cuda)


def _judge(base: Path | str, options: AlignOptions) -> Loaded:
    """A reward model to be: the base with a head of one number, and LoRA."""
    found = load_base(base, "AutoModelForSequenceClassification", num_labels=1)
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(options.random_state)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.lora_alpha,
        bias="none",
        target_modules=list(TARGETS),
        task_type="SEQ_CLS",
        modules_to_save=["score"],
    )
    found.model.config.pad_token_id = found.tokenizer.pad_token_id
    return Loaded(get_peft_model(found.model, config), found.tokenizer, "peft", found.cuda)


def load_base(base: Path | str | None, kind: str, **more: Any) -> Loaded:
    """A base model of one of transformers' kinds without any adapter, with its tokenizer.

    :raises ModelUnavailable: where it cannot be read.
    """
    with quiet_imports(), no_bars():
        import torch
        import transformers

        cuda = bool(torch.cuda.is_available())
        dtype = torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float32
        device = {"": 0} if cuda else "cpu"
        try:
            # A head that is not in the file is drawn at random, which must be the same every time.
            torch.manual_seed(0)
            model = getattr(transformers, kind).from_pretrained(
                base, dtype=dtype, device_map=device, **SAFE, **more
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(base, **NO_CODE)
        except (OSError, ValueError, RuntimeError) as error:
            cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ModelUnavailable(
                f"The model {base} cannot be loaded ({cause}); give a folder that transformers can load.",
                zh=f"無法載入模型 {base}（{cause}）：請給 transformers 能載入的資料夾。",
            ) from error
    ensure_chat(tokenizer, str(base))
    return Loaded(model, tokenizer, "peft", cuda)


def reward_card(home: Home, name: str) -> cards.Card:
    """The card of a reward model; ModelUnavailable where there is none of this name."""
    try:
        if not is_name(name):
            raise ValueError
        return cards.read_card(rewards_folder(home) / name)
    except (OSError, ValueError):
        there = (
            sorted(p.name for p in rewards_folder(home).iterdir()) if rewards_folder(home).is_dir() else []
        )
        raise ModelUnavailable(
            f"There is no reward model '{name}' (there: {', '.join(there) or 'none yet'}): train one with "
            "'stockllm align --method reward'.",
            zh=f"沒有獎勵模型「{name}」（現有：{'、'.join(there) or '無'}）："
            "請用 stockllm align --method reward 訓練。",
        ) from None


def load_reward_model(home: Home, name: str) -> tuple[Any, Any]:
    """A reward model of ``align --method reward``, ready to judge, and its tokenizer.

    :raises ModelUnavailable: where there is none of this name, or its base has changed.
    """
    folder, card = rewards_folder(home) / name, reward_card(home, name)
    ref = resolve_model(card.base, home)
    if ref.base is None or weights_hash(ref.base) != card.base_hash:
        raise ModelUnavailable(
            f"The reward model {name} was trained on other weights of {card.base}: train it again.",
            zh=f"獎勵模型 {name} 是以 {card.base} 的其他權重訓練的：請重新訓練。",
        )
    found = load_base(ref.base, "AutoModelForSequenceClassification", num_labels=1)
    from peft import PeftModel

    with quiet_imports():
        model = PeftModel.from_pretrained(found.model, folder).merge_and_unload().eval()
    model.config.pad_token_id = found.tokenizer.pad_token_id
    return model, found.tokenizer
