"""TRL's SFTTrainer with stockllm's batches, loss and checkpoints.

Heavy when called: it imports TRL.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.forecaster.models import methods
from stockllm.forecaster.models.engines import quiet_imports

if TYPE_CHECKING:
    from stockllm.forecaster.models.engines import Loaded


def trainer_class(loaded: Loaded) -> type[Any]:
    """TRL's SFTTrainer as it trains this model by its method on this machine.

    Its loss is TRL's or Unsloth's where they have one that runs, else ours: TRL 1.15 computes its loss in
    a Triton kernel, which no CPU has, and knows no penalty of a method. All are the mean negative
    log-likelihood of the labelled tokens.
    """
    with quiet_imports():
        import torch
        from torch.utils.data import DataLoader
        from trl import SFTTrainer

    method = loaded.method

    class Trainer(SFTTrainer):  # type: ignore[misc]
        #: Indices of the training examples, batch by batch, over the whole run.
        batches: list[list[int]]

        def get_train_dataloader(self) -> Any:
            """The examples in the batches planned for them, which differ in size."""
            rows = self._remove_unused_columns(self.train_dataset, description="Training")
            loader = DataLoader(
                rows,
                batch_sampler=self.batches,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            super()._save(output_dir, state_dict)
            methods.save_state(
                self.accelerator.unwrap_model(self.model), method, Path(output_dir or self.args.output_dir)
            )

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            ours = self.accelerator.unwrap_model(self.model if model is None else model)
            if not methods.load_state(ours, method, Path(resume_from_checkpoint)):
                super()._load_from_checkpoint(resume_from_checkpoint, model)

        def take(self, checkpoint: Path) -> None:
            """Take a checkpoint's weights; optimiser and counters stay as they are."""
            self._load_from_checkpoint(str(checkpoint))

        def _send_telemetry(self) -> None:
            """Nobody is told who trains what."""

        def create_model_card(self, *args: object, **kwargs: object) -> None:
            """The adapter gets a card of ours; a checkpoint needs none."""

    if loaded.engine == "unsloth" or (loaded.cuda and method not in (*methods.VIRTUAL, "adalora")):
        return Trainer

    class OwnLossTrainer(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            tuned = self.accelerator.unwrap_model(model)
            labels = inputs["labels"][:, 1:]
            asked = labels != -100
            with self.accelerator.autocast() if model.training else contextlib.nullcontext():
                hidden = methods.hidden(tuned, method, inputs["input_ids"])
                # Only the answer's positions go through the output layer: the prompt is most of a window.
                logits = methods.causal(tuned).lm_head(hidden[:, :-1][asked])
            total = torch.nn.functional.cross_entropy(logits.float(), labels[asked], reduction="sum")
            tokens = asked.sum() if num_items_in_batch is None else num_items_in_batch
            loss = total / torch.as_tensor(tokens).clamp(min=1)
            if model.training and (penalty := methods.penalty(tuned, method)) is not None:
                # Once a step, however many batches it is cut into. It steers, and is no part of the loss
                # that is told: that of one method can be held against another's.
                share = penalty * asked.sum() / tokens
                loss = loss + share - share.detach()
            return (loss, {"logits": logits}) if return_outputs else loss

    return OwnLossTrainer
