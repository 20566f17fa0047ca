"""TRL's SFTTrainer as stockllm uses it: what goes in, what is checked, and what it reports.

Heavy: imported only when a model is about to be trained.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from stockllm.data.errors import StockllmError
from stockllm.forecaster.models import methods
from stockllm.forecaster.models.engines import Loaded, optimiser, quiet_imports, recomputes
from stockllm.forecaster.training.examples import batches
from stockllm.forecaster.training.patience import no_validation
from stockllm.forecaster.training.progress import TrainEvent
from stockllm.forecaster.training.sft import trainer_class

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from stockllm.data.sentences import Sentence
    from stockllm.forecaster.training.examples import Row
    from stockllm.forecaster.training.options import TrainOptions
    from stockllm.forecaster.training.progress import StopRequest

IGNORED = -100


def build(
    loaded: Loaded,
    folder: Path,
    options: TrainOptions,
    steps: int,
    training: Sequence[Row],
    validation: Sequence[Row],
) -> tuple[Any, list[Sentence]]:
    """A trainer over exactly these examples, and sentences about what differs from what was asked.

    Loss is on the answers alone. Examples are never cut: they were measured before, and here again.

    :raises StockllmError: where the tokenised examples are not the ones that went in.
    :raises UsageError: for a run that its method cannot make, or early stopping with nothing to stop by.
    """
    if options.early_stopping and not validation:
        raise no_validation()
    methods.begin(loaded.model, loaded.method, steps)
    with quiet_imports():
        from datasets import Dataset, disable_progress_bars
        from transformers import PrinterCallback
        from trl import SFTConfig

    disable_progress_bars()
    said = []
    optim, sentence = optimiser(options.optim)
    if sentence:
        said.append(sentence)
    half, dtype = _half(loaded)
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        lr_scheduler_type=options.lr_scheduler_type,
        optim=optim,
        logging_steps=options.logging_steps,
        logging_first_step=True,
        save_steps=options.save_steps or _every(steps, 10, 50),
        save_total_limit=2,
        eval_strategy="steps" if validation else "no",
        eval_steps=_validates(options, steps) if validation else None,
        eval_on_start=bool(validation),
        seed=options.random_state,
        # TRL's default of 1024 would cut answers off and then drop what is left without a word.
        max_length=None,
        completion_only_loss=True,
        packing=False,
        use_cpu=not loaded.cuda,
        bf16=half and dtype == "bf16",
        fp16=half and dtype == "fp16",
        gradient_checkpointing=recomputes(loaded.model, loaded.cuda, loaded.method),
        dataloader_pin_memory=loaded.cuda,
        report_to="none" if options.report_to == "tensorboard" else options.report_to,
        disable_tqdm=True,
        dataset_num_proc=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trainer_class(loaded)(
            model=loaded.model,
            args=config,
            processing_class=loaded.tokenizer,
            train_dataset=Dataset.from_list([_chat(row) for row in training]),
            eval_dataset=Dataset.from_list([_chat(row) for row in validation]) if validation else None,
        )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_allocating(loaded))
    check(trainer.train_dataset, training)
    if validation:
        check(trainer.eval_dataset, validation)
    trainer.batches = list(
        batches(
            [row.tokens for row in training],
            steps,
            options.batch_size,
            options.gradient_accumulation_steps,
            options.random_state,
        )
    )
    if options.report_to == "tensorboard":
        trainer.add_callback(_tensorboard(folder / "tensorboard"))
    return trainer, said


def check(prepared: Any, rows: Sequence[Row]) -> None:
    """Every example is there, whole, with its answer labelled to the last token and nothing else.

    :raises StockllmError: where one is not; training on it would teach something else in silence.
    """
    if len(prepared) != len(rows):
        raise StockllmError(
            f"Of {len(rows)} examples {len(prepared)} were left after tokenising; please report this.",
            zh=f"{len(rows)} 個範例在分詞後只剩 {len(prepared)} 個：請回報此問題。",
        )
    for ids, labels, row in zip(prepared["input_ids"], prepared["labels"], rows, strict=True):
        asked = next((i for i, label in enumerate(labels) if label != IGNORED), len(labels))
        if len(ids) != row.tokens or not 0 < asked < len(ids) or labels[asked:] != ids[asked:]:
            raise StockllmError(
                f"The window of {row.code} at {row.origin} ({row.task}) was not tokenised as measured; "
                "please report this.",
                zh=(f"{row.code} 在 {row.origin} 的視窗（{row.task}）分詞結果與計算不符：請回報此問題。"),
            )


def fit(trainer: Any, checkpoint: Path | None) -> None:
    """Train, on from ``checkpoint`` where there is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))


def validated(trainer: Any) -> bool:
    """Whether the model as it stands now has been validated."""
    return any(
        entry["step"] == trainer.state.global_step
        for entry in trainer.state.log_history
        if "eval_loss" in entry
    )


def follow(
    trainer: Any, tell: Callable[[TrainEvent], None], stop: StopRequest
) -> Callable[[], dict[str, float]]:
    """Have the trainer report every step, and end with a checkpoint when `stop` wants it.

    :returns: the run's speed once it has ended: ``windows_per_second``, ``tokens_per_second`` and
        ``padding``, the share of what was computed that was padding; ``steps`` and ``seconds`` they
        were measured over, validation left out. Empty where no step was made.
    """
    from transformers import TrainerCallback

    lengths = list(map(len, trainer.train_dataset["input_ids"]))
    per_step = trainer.args.gradient_accumulation_steps
    # Windows, tokens, and tokens with padding, read before each batch.
    before = np.zeros((len(trainer.batches) + 1, 3), dtype=np.int64)
    for number, batch in enumerate(trainer.batches, 1):
        tokens = [lengths[index] for index in batch]
        before[number] = before[number - 1] + (len(batch), sum(tokens), len(batch) * max(tokens))

    class Follow(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.began = (0, 0.0)
            self.trained = (0, 0.0)
            self.told_to_stop = False

        def on_train_begin(self, _args: Any, state: Any, _control: Any, **_rest: Any) -> None:
            self.began = (state.global_step, time.monotonic())

        def on_substep_end(self, _args: Any, state: Any, _control: Any, **_rest: Any) -> None:
            self._hear(state)

        def on_step_end(self, _args: Any, state: Any, control: Any, **_rest: Any) -> None:
            self._hear(state)
            first, since = self.began
            # Taken now: a validation after the last step moves ``began`` once more.
            self.trained = (state.global_step - first, time.monotonic() - since)
            if stop.wanted:
                control.should_save = control.should_training_stop = True
            if not control.should_log:
                tell(self._event(state))

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_rest: Any
        ) -> None:
            if logs and "loss" in logs:
                tell(self._event(state, loss=logs["loss"], lr=logs.get("learning_rate")))

        def on_evaluate(
            self, _args: Any, state: Any, _control: Any, metrics: dict[str, Any] | None = None, **_rest: Any
        ) -> None:
            if metrics and "eval_loss" in metrics:
                step, since = self.began
                self.began = (step, since + metrics.get("eval_runtime", 0.0))  # no time of training
                tell(
                    TrainEvent(
                        "validating", state.global_step, state.max_steps, eval_loss=metrics["eval_loss"]
                    )
                )

        def _hear(self, state: Any) -> None:
            if stop.wanted and not self.told_to_stop:
                self.told_to_stop = True
                tell(
                    TrainEvent(
                        "training",
                        state.global_step,
                        state.max_steps,
                        text="Stopping after this step.",
                        text_zh="這一步結束後停止。",
                    )
                )

        def _event(self, state: Any, loss: float | None = None, lr: float | None = None) -> TrainEvent:
            first, since = self.began
            done, seconds = state.global_step - first, time.monotonic() - since
            windows = tokens = None
            if seconds > 0:
                windows, tokens, _ = (self._read(state.global_step) / seconds).tolist()
            eta = seconds / done * (state.max_steps - state.global_step) if done else None
            return TrainEvent(
                "training",
                state.global_step,
                state.max_steps,
                loss=loss,
                lr=lr,
                windows_per_second=windows,
                tokens_per_second=tokens,
                eta_s=eta,
            )

        def _read(self, step: int) -> Any:
            """Windows, tokens and padded tokens read up to ``step`` since this training began."""
            return before[step * per_step] - before[self.began[0] * per_step]

        def speed(self) -> dict[str, float]:
            steps, seconds = self.trained
            if not steps or seconds <= 0:
                return {}
            windows, tokens, padded = self._read(self.began[0] + steps).tolist()
            return {
                "windows_per_second": round(windows / seconds, 2),
                "tokens_per_second": round(tokens / seconds, 1),
                "padding": round(1 - tokens / padded, 4),
                "steps": steps,
                "seconds": round(seconds, 2),
            }

    following = Follow()
    trainer.add_callback(following)
    return following.speed


def _chat(row: Row) -> dict[str, Any]:
    return {"prompt": row.prompt, "completion": row.completion}


def _every(steps: int, parts: int, limit: int) -> int:
    """How many steps apart something happens ``parts`` times in a run, and at least every ``limit``."""
    return min(limit, max(1, -(-steps // parts)))


def _validates(options: TrainOptions, steps: int) -> int:
    """Steps between two validations: two a run, ten where they decide when it ends."""
    if options.early_stopping is None:
        return _every(steps, 2, 500)
    return options.save_steps or _every(steps, 10, 500)


def _allocating(loaded: Loaded) -> Any:
    from transformers import TrainerCallback

    class Allocating(TrainerCallback):  # type: ignore[misc]
        def on_optimizer_step(self, _args: Any, state: Any, _control: Any, **_rest: Any) -> None:
            methods.allocate(loaded.model, loaded.method, state.global_step + 1)

    return Allocating()


def _half(loaded: Loaded) -> tuple[bool, str]:
    """Whether to compute in half precision, and which.

    A CPU takes bfloat16 where it multiplies in it; one that has to emulate it is slower for it.
    """
    import torch

    if loaded.cuda:
        return True, "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    able = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(ask is not None and ask() for ask in able), "bf16"


def _tensorboard(folder: Path) -> Any:
    with quiet_imports(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder)))
