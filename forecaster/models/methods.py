"""The ways to tune a model: what each trains, what PEFT is told, and what it asks of a run.

| method | trains |
| --- | --- |
| ``lora`` | two thin matrices beside every projection |
| ``qlora`` | the same on a base in 4 bits: NF4, double quantisation, a paged optimiser |
| ``dora`` | the same, direction and length of each weight apart |
| ``adalora`` | the same, its ranks shared out during the run by what each matrix gains |
| ``ia3`` | one factor for each key, value and hidden unit |
| ``prefix`` | keys and values before the prompt, in every layer |
| ``prompt`` | embeddings before the prompt |
| ``p-tuning`` | the same, written by a small network that is dropped afterwards |
| ``full`` | every weight |

``adapter``, bottlenecks after each block, is known and refused: see `NO_BOTTLENECK`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: LoRA and its kin: they have a rank, and their weights can be added to the base's.
LOW_RANK = ("lora", "qlora", "dora", "adalora")
#: What stands before the prompt and is no token of it.
VIRTUAL = ("prefix", "prompt", "p-tuning")
FULL = "full"
METHODS = (*LOW_RANK, "ia3", *VIRTUAL, "adapter", FULL)
#: What a forecast adds to the base's weights once and for all. The others stay beside them.
MERGED = (*LOW_RANK, "ia3")
#: What Unsloth trains; its kernels know matrices of low rank alone.
OF_UNSLOTH = ("lora", "qlora", "dora")

#: Every projection of a Llama block, as Unsloth's own recipes have it.
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

NO_BOTTLENECK_ZH = (
    "無法使用 --method adapter：PEFT 沒有瓶頸式適配器，而提供它的 adapters 1.3 需要 transformers 4.57，"
    "stockllm 則使用 5；請改用 --method lora，或參數更少的 ia3。"
)
NO_BOTTLENECK = (
    "--method adapter is not to be had: PEFT has no bottleneck adapters, and the library that has them, "
    "adapters 1.3, needs transformers 4.57 where stockllm runs on 5; choose --method lora, or ia3 for fewer "
    "parameters."
)

#: AdaLoRA needs some steps before it cuts ranks, and some after.
ADALORA_STEPS = 5
#: What PEFT does not write into its own files and a run needs to go on.
STATE_FILE = "tuning.pt"
_KEPT = ("adalora", "p-tuning")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a method starts from where a flag is not given; None where it has no such thing."""

    learning_rate: float
    optim: str = "adamw_8bit"
    rank: int | None = None
    lora_alpha: int | None = None
    lora_dropout: float | None = None
    virtual_tokens: int | None = None


def _low_rank(learning_rate: float = 2e-4, optim: str = "adamw_8bit") -> Defaults:
    """The reference's own, of LoRA."""
    return Defaults(learning_rate, optim, rank=16, lora_alpha=8, lora_dropout=0.0)


#: docs/tuning.md has the measurements behind the learning rates. The fewer numbers a method trains, the
#: further each has to go; every weight at once goes least.
DEFAULTS = {
    "lora": _low_rank(),
    "qlora": _low_rank(optim="paged_adamw_8bit"),
    "dora": _low_rank(1e-3),
    "adalora": _low_rank(2e-2),
    "ia3": Defaults(2e-2),
    "prefix": Defaults(5e-2, virtual_tokens=16),
    "prompt": Defaults(3e-3, virtual_tokens=16),
    "p-tuning": Defaults(1e-3, virtual_tokens=16),
    FULL: Defaults(5e-5),
}


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """What is trained and how its base is loaded; ``rank``, ``alpha``, ``dropout`` are LoRA's."""

    rank: int
    alpha: int
    dropout: float
    seed: int
    max_seq_length: int
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    method: str = "lora"
    virtual_tokens: int = 0


#: LoRA's learning rate on the embedded model, which has a thousandth of the weights of those that 2e-4 is
#: made for (docs/tuning.md, docs/model-notes.md).
EMBEDDED_RATE = 1e-3


def defaults(method: str, *, embedded: bool = False) -> Defaults:
    """What a method starts from on the embedded model or another.

    UsageError for one that is not known or not to be had.
    """
    if method not in METHODS:
        raise UsageError(
            f"--method {method!r} is not known; choose one of {', '.join(METHODS)}.",
            zh=f"沒有 --method {method!r}；請選 {'、'.join(METHODS)} 之一。",
        )
    if method not in DEFAULTS:
        raise UsageError(NO_BOTTLENECK, zh=NO_BOTTLENECK_ZH)
    own = DEFAULTS[method]
    return replace(own, learning_rate=EMBEDDED_RATE) if embedded and method == "lora" else own


def having(flag: str) -> list[str]:
    """The methods that a flag of `Defaults` says something to."""
    return [method for method, its in DEFAULTS.items() if getattr(its, flag) is not None]


def peft_config(tuning: LoraOptions, hidden_size: int) -> Any:
    """What PEFT is told; not for ``full``, which is none of its methods.

    :param hidden_size: of the base model: as wide is the network behind p-tuning.
    """
    import peft

    shared = {
        "lora_alpha": tuning.alpha,
        "lora_dropout": tuning.dropout,
        "bias": "none",
        "target_modules": list(TARGETS),
        "task_type": "CAUSAL_LM",
    }
    match tuning.method:
        case "lora" | "qlora" | "dora":
            return peft.LoraConfig(r=tuning.rank, use_dora=tuning.method == "dora", **shared)
        case "adalora":
            # `begin` says how many steps there are; the configuration wants a number before that.
            return peft.AdaLoraConfig(
                init_r=math.ceil(1.5 * tuning.rank), target_r=tuning.rank, total_step=10**6, **shared
            )
        case "ia3":
            # Those of the paper: keys, values, and what the last layer of each block reads.
            return peft.IA3Config(
                target_modules=["k_proj", "v_proj", "down_proj"],
                feedforward_modules=["down_proj"],
                task_type="CAUSAL_LM",
            )
        case "prefix":
            return peft.PrefixTuningConfig(num_virtual_tokens=tuning.virtual_tokens, task_type="CAUSAL_LM")
        case "prompt":
            return peft.PromptTuningConfig(num_virtual_tokens=tuning.virtual_tokens, task_type="CAUSAL_LM")
        case "p-tuning":
            return peft.PromptEncoderConfig(
                num_virtual_tokens=tuning.virtual_tokens,
                encoder_hidden_size=hidden_size,
                task_type="CAUSAL_LM",
            )
    raise ValueError(f"{tuning.method} is no method of PEFT")


def fresh(model: Any, tuning: LoraOptions) -> Any:
    """The base model with what is to be trained, the rest frozen; its numbers follow from the seed."""
    if tuning.method == FULL:
        return model.requires_grad_(True)
    import torch
    from peft import get_peft_model

    torch.manual_seed(tuning.seed)
    tuned = get_peft_model(model, peft_config(tuning, model.config.hidden_size))
    # PEFT draws both from N(0, 1): large beside a model's own, which would start from noise.
    with torch.no_grad():
        if tuning.method == "prefix":
            # Empty keys and values take a little attention and say nothing.
            tuned.prompt_encoder["default"].embedding.weight.zero_()
        elif tuning.method == "prompt":
            tuned.prompt_encoder["default"].embedding.weight.normal_(std=model.config.initializer_range)
    return tuned


def trainable(model: Any) -> int:
    """How many numbers are trained."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def causal(model: Any) -> Any:
    """The language model itself, with what was put into its layers, without what stands around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_steps(method: str, steps: int) -> None:
    """UsageError for a run too short for its method."""
    if method == "adalora" and steps < ADALORA_STEPS:
        raise UsageError(
            f"--method adalora shares its ranks out during a run and {steps} steps are too few for it; "
            f"give it {ADALORA_STEPS} or more with --max-steps.",
            zh=f"--method adalora 在訓練中分配秩，{steps} 步太少；"
            f"請以 --max-steps 給 {ADALORA_STEPS} 步以上。",
        )


def begin(model: Any, method: str, steps: int) -> None:
    """Tell the method how long the run is; AdaLoRA shares its ranks out over it.

    :raises UsageError: for a run too short for that.
    """
    if method != "adalora":
        return
    check_steps(method, steps)
    config = model.peft_config["default"]
    config.total_step = steps
    # A tenth to learn what matters, three fifths to cut, the rest at the ranks that are left.
    config.tinit, config.tfinal = max(1, steps // 10), max(1, 3 * steps // 10)
    config.deltaT = max(1, steps // 50)


def allocate(model: Any, method: str, step: int) -> None:
    """After the optimiser's ``step``, counted from 1, while the gradients are still there."""
    if method == "adalora":
        model.base_model.update_and_allocate(step)


def penalty(model: Any, method: str) -> Any:
    """What a method adds to the loss of a step; None for most.

    AdaLoRA keeps its two matrices near orthogonal, or the importance of a rank would mean nothing
    (Zhang et al. 2023, eq. 4). PEFT adds it to a loss that the model computes; ours is computed outside.
    """
    if method != "adalora":
        return None
    import torch

    terms = []
    for name, weight in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            square = weight @ weight.T if "lora_A" in name else weight.T @ weight
            terms.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
    return model.peft_config["default"].orth_reg_weight * torch.stack(terms).mean()


def hidden(model: Any, method: str, input_ids: Any) -> Any:
    """Last hidden states behind each token, (rows, tokens, hidden); no padding on the left.

    The rows carry no attention mask: a causal model does not look at padding on the right.
    """
    import torch

    body = causal(model).model
    if method == "prefix":
        past = model.get_prompt(len(input_ids))
        return body(input_ids=input_ids, past_key_values=past, use_cache=False).last_hidden_state
    if method in VIRTUAL:
        words = body.embed_tokens(input_ids)
        virtual = model.get_prompt(len(input_ids)).to(words.dtype)
        found = body(inputs_embeds=torch.cat((virtual, words), dim=1), use_cache=False).last_hidden_state
        return found[:, virtual.shape[1] :]
    return body(input_ids=input_ids, use_cache=False).last_hidden_state


def save_state(model: Any, method: str, folder: Path) -> None:
    """Write into a checkpoint what PEFT's own files leave out of a training.

    PEFT saves what a forecast needs: of p-tuning the embeddings without the network that writes them, of
    AdaLoRA the ranks that are left without those that may come back and without what each gained so far.
    """
    if method not in _KEPT:
        return
    import torch

    state: dict[str, Any] = {
        "weights": {name: w.detach().cpu() for name, w in model.named_parameters() if w.requires_grad}
    }
    if method == "adalora":
        ranks = model.base_model.rankallocator
        state["gains"] = {key: getattr(ranks, key) for key in ("ipt", "exp_avg_ipt", "exp_avg_unc")}
        state["ranks"] = model.peft_config["default"].rank_pattern
    torch.save(state, folder / STATE_FILE)


def load_state(model: Any, method: str, folder: Path) -> bool:
    """Take back what `save_state` wrote; False where PEFT's own files hold all there is."""
    if method not in _KEPT:
        return False
    import torch

    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in state["weights"].items():
            named[name].copy_(weight)
    if method == "adalora":
        for key, gains in state["gains"].items():
            placed = {name: gain.to(model.device) for name, gain in gains.items()}
            setattr(model.base_model.rankallocator, key, placed)
        model.peft_config["default"].rank_pattern = state["ranks"]
    return True
