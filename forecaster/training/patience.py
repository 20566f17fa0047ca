"""Early stopping: a run ends when validation gains no more, and its best checkpoint is what is kept.

Everything is read off the trainer's log, which its checkpoints carry: a run that goes on after a kill
counts on from where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockllm.data.errors import UsageError
from stockllm.data.sentences import Sentence


@dataclass(frozen=True, slots=True)
class Patience:
    """Ends a run after ``evaluations`` validations in a row without a new lowest loss."""

    evaluations: int

    def best(self, state: Any) -> int | None:
        """The step of the lowest validation loss, the first of equals; None before any.

        The base model's own, before the first step, does not count: something is to be kept.
        """
        found = _losses(state)
        return min(found, key=lambda step: (found[step], step)) if found else None

    def ended(self, state: Any) -> bool:
        """Whether the last so many validations brought nothing new."""
        steps = sorted(_losses(state))
        best = self.best(state)
        return best is not None and len(steps) - 1 - steps.index(best) >= self.evaluations

    def sentence(self, state: Any) -> Sentence:
        """What is kept, and of what."""
        best = self.best(state)
        loss = _losses(state)[best] if best is not None else float("nan")
        return Sentence(
            f"Kept step {best} of {state.global_step}, whose validation loss was the lowest: {loss:.4f}.",
            zh=f"留用 {state.global_step} 步中的第 {best} 步，其驗證損失最低：{loss:.4f}。",
        )

    def callback(self) -> Any:
        """For the trainer: checkpoints each new lowest loss, keeps it, and ends the run in time."""
        from transformers import TrainerCallback

        patience = self

        class Stopping(TrainerCallback):  # type: ignore[misc]
            def on_evaluate(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
                step = state.global_step
                if step and patience.best(state) == step:
                    control.should_save = True
                    # The trainer removes old checkpoints, and never this one.
                    state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{step}")
                if patience.ended(state):
                    control.should_training_stop = True

        return Stopping()


def no_validation() -> UsageError:
    """The error of a run that is to stop early and has nothing to tell when."""
    return UsageError(
        "--early-stopping needs validation windows and too few days are left for any; leave it out, or give "
        "--validation-from an earlier day.",
        zh="--early-stopping 需要驗證視窗，但剩下的交易日太少；請移除，或將 --validation-from 提早。",
    )


def _losses(state: Any) -> dict[int, float]:
    """Validation loss by step, from the first step on."""
    return {
        int(entry["step"]): float(entry["eval_loss"])
        for entry in state.log_history
        if "eval_loss" in entry and entry["step"]
    }
