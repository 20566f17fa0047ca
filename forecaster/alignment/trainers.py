"""TRL's trainers as an alignment uses them: what goes in, and what they need to run on a CPU.

TRL 1.15 computes the log-probabilities of DPO, KTO and GRPO in a Triton kernel, which no CPU has. It hangs
that kernel into the model's forward; `plain_head` puts the same figures there, computed by torch. ORPO and
the reward trainer read ordinary logits and need nothing.

Heavy: imported only when a model is about to be aligned.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from types import MethodType
from typing import TYPE_CHECKING, Any

from stockllm.forecaster.models.engines import quiet_imports, recomputes
from stockllm.forecaster.training.progress import TrainEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from stockllm.forecaster.alignment.options import AlignOptions
    from stockllm.forecaster.alignment.outcomes import Pair
    from stockllm.forecaster.models.engines import Loaded
    from stockllm.forecaster.training.progress import StopRequest

#: A reward function of TRL: it is given the columns of the questions and gives a number an answer.
Reward = Any


def pair_rows(pairs: Sequence[Pair], method: str) -> list[dict[str, Any]]:
    """Pairs as the method's trainer reads them: KTO takes good and bad answers one by one."""
    if method != "kto":
        return [
            {"prompt": p.chosen.prompt, "chosen": p.chosen.completion, "rejected": p.rejected.completion}
            for p in pairs
        ]
    return [
        {"prompt": example.prompt, "completion": example.completion, "label": good}
        for p in pairs
        for example, good in ((p.chosen, True), (p.rejected, False))
    ]


def build(
    policy: Loaded,
    folder: Path,
    options: AlignOptions,
    rows: Sequence[dict[str, Any]],
    longest: int,
    reward: Reward = None,
    held: Sequence[dict[str, Any]] = (),
) -> Any:
    """The method's trainer over these rows.

    :param longest: tokens of the longest example; for GRPO those that an answer may take.
    :param held: rows to examine the model on, not to train on.
    :param reward: for GRPO what judges an answer: functions, and models that carry their tokenizer.
    """
    with quiet_imports(), _hushed():
        from datasets import Dataset, disable_progress_bars
        from transformers import PrinterCallback

        disable_progress_bars()
        kind, config = _kind(options, policy, folder, longest)
        more: dict[str, Any] = {}
        if options.method == "grpo":
            its = [getattr(judge, "stockllm_tokenizer", None) for judge in reward]
            more = {"reward_funcs": reward, "reward_processing_classes": its}
        trainer = _quiet(kind)(
            model=policy.model,
            args=config,
            processing_class=policy.tokenizer,
            train_dataset=Dataset.from_list(list(rows)),
            eval_dataset=Dataset.from_list(list(held)) if held else None,
            **more,
        )
    trainer.remove_callback(PrinterCallback)
    if options.reference == "base" and "ref" in trainer.model.peft_config:
        # Without a copy of the adapter TRL asks the base model alone.
        trainer.model.delete_adapter("ref")
    if not policy.cuda and options.method in ("dpo", "kto", "grpo"):
        plain_head(trainer.model.get_base_model())
    return trainer


def _kind(options: AlignOptions, policy: Loaded, folder: Path, longest: int) -> tuple[Any, Any]:
    """The trainer's class and its configuration."""
    import torch

    common: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": options.max_steps,
        "per_device_train_batch_size": options.batch_size,
        "per_device_eval_batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "cosine",
        "logging_steps": 1,
        "save_strategy": "no",
        "seed": options.random_state,
        "use_cpu": not policy.cuda,
        # The differences of log-probabilities that these methods learn from are small.
        "bf16": policy.cuda and torch.cuda.is_bf16_supported(),
        "gradient_checkpointing": recomputes(policy.model, policy.cuda),
        "dataloader_pin_memory": policy.cuda,
        "report_to": "none",
        "disable_tqdm": True,
    }
    match options.method:
        case "dpo":
            from trl import DPOConfig, DPOTrainer

            return DPOTrainer, DPOConfig(**common, beta=options.strength, max_length=None)
        case "kto":
            from trl import KTOConfig, KTOTrainer

            return KTOTrainer, KTOConfig(**common, beta=options.strength, max_length=None)
        case "orpo":
            from trl.experimental.orpo import ORPOConfig, ORPOTrainer

            return ORPOTrainer, ORPOConfig(
                **common, beta=options.strength, max_length=longest + 8, remove_unused_columns=False
            )
        case "reward":
            from trl import RewardConfig, RewardTrainer

            return RewardTrainer, RewardConfig(**common, max_length=None)
    from trl import GRPOConfig, GRPOTrainer

    # A window's answers are one batch, so that a step of many windows fits where one window does.
    common |= {
        "per_device_train_batch_size": options.generations,
        "gradient_accumulation_steps": options.batch_size,
    }
    return GRPOTrainer, GRPOConfig(
        **common,
        beta=options.strength,
        num_generations=options.generations,
        max_completion_length=longest,
        temperature=1.0,
        # Rewards are in usual moves already, and dividing by a group's spread would bend the score.
        scale_rewards="none",
    )


def _quiet(kind: type[Any]) -> type[Any]:
    class Quiet(kind):  # type: ignore[misc]
        def _send_telemetry(self) -> None:
            """Nobody is told who trains what."""

        def create_model_card(self, *args: object, **kwargs: object) -> None:
            """The adapter gets a card of ours."""

    return Quiet


def told_apart(trainer: Any) -> dict[str, float]:
    """The share of a reward trainer's held rows whose better answer it rewards more, as ``later``."""
    with _hushed():
        return {"later": float(trainer.evaluate()["eval_accuracy"])}


def plain_head(model: Any) -> None:
    """Have a causal model answer ``fused_lm_head=True`` as TRL's own kernel does, in plain torch.

    The positions whose next token has a label go through the output layer; the others are zero.
    """
    import torch
    from trl.trainer.utils import FusedCausalLMOutput

    original = type(model).forward

    @functools.wraps(original)
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return original(self, *args, labels=labels, **kwargs)
        kwargs["use_cache"] = False
        hidden = getattr(self, self.base_model_prefix)(*args, **kwargs).last_hidden_state[:, :-1]
        following = labels[:, 1:]
        asked = following != -100
        logits = self.get_output_embeddings()(hidden[asked]).float()
        shares = torch.log_softmax(logits, dim=-1)
        told = shares.gather(1, following[asked][:, None])[:, 0]

        def spread(values: Any) -> Any:
            return values.new_zeros(asked.shape).masked_scatter(asked, values)

        with torch.no_grad():
            best, middle = logits.argmax(dim=-1) == following[asked], logits.mean(dim=-1)
        return FusedCausalLMOutput(
            loss=-told.sum() / asked.sum().clamp(min=1),
            log_probs=spread(told),
            entropy=spread(-(shares.exp() * shares).sum(dim=-1)),
            mean_logits=spread(middle),
            is_top1=spread(best),
            label_mask=asked,
        )

    model.forward = MethodType(forward, model)


def fit(trainer: Any, tell: Callable[[TrainEvent], None], stop: StopRequest) -> list[dict[str, Any]]:
    """Train to the last step; the trainer's log.

    :raises KeyboardInterrupt: where `stop` wanted it to end before.
    """
    from transformers import TrainerCallback

    class Follow(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, _state: Any, control: Any, **_rest: Any) -> None:
            if stop.wanted:
                control.should_training_stop = True

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_rest: Any
        ) -> None:
            if logs and "loss" in logs:
                rate = logs.get("learning_rate")
                tell(TrainEvent("training", state.global_step, state.max_steps, loss=logs["loss"], lr=rate))

    trainer.add_callback(Follow())
    stop.patient = True
    with _hushed():
        trainer.train()
    if trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt
    return list(trainer.state.log_history)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without the warnings of libraries, and without TRL's that a trainer is experimental: we know."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
