"""Fine-tuning: our text and our batches against the reference's text and plain padding.

The same model, trainer and windows throughout, eight of each task, whole and none of them cut. Plain
batches are eight windows in a random order, padded to their longest, as a trainer makes them. Tokens
a second count no padding.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Line, Spent, machine, show, simulated_store, spent

#: Windows of each of the four tasks; four batches of eight make a step.
EACH = 8
BATCH, PER_STEP = 8, 4
#: Steps timed with the compact text, which takes so much less.
COMPACT_STEPS = 5


@dataclass(frozen=True, slots=True)
class Timed:
    """A training that was timed: windows and tokens read, tokens computed with padding, and the time."""

    windows: int
    tokens: int
    computed: int
    took: Spent

    def __add__(self, other: Timed) -> Timed:
        return Timed(
            self.windows + other.windows,
            self.tokens + other.tokens,
            self.computed + other.computed,
            self.took + other.took,
        )

    def __str__(self) -> str:
        return f"{self.windows / self.took.wall:.1f} windows/s, {self.tokens / self.took.wall:,.0f} tokens/s"

    @property
    def padding(self) -> float:
        return 1 - self.tokens / self.computed


def main() -> None:
    """Print the table of this benchmark alone."""
    show(lines())
    print(f"\n{machine()}")


def lines() -> list[Line]:
    """Ours is timed first and last, the others between."""
    loaded, rows = prepared()
    train(loaded, rows["compact"], steps=1)
    ours = train(loaded, rows["compact"], steps=COMPACT_STEPS)
    padded = train(loaded, rows["compact"], steps=COMPACT_STEPS, plain=True)
    reference = train(loaded, rows["reference"], steps=1)
    theirs = train(loaded, rows["reference"], steps=1, plain=True)
    ours += train(loaded, rows["compact"], steps=COMPACT_STEPS)
    made = [
        Line(
            "training",
            str(ours),
            against,
            str(other),
            ours.windows / ours.took.wall / (other.windows / other.took.wall),
            ours.windows / ours.took.cpu / (other.windows / other.took.cpu),
        )
        for against, other in (
            ("the reference's text, plain batches", theirs),
            ("the reference's text, our batches", reference),
            ("compact text, plain batches", padded),
        )
    ]
    return made + [
        Line(
            f"padding, {name} text",
            f"{mine.padding:.1%}",
            "plain batches",
            f"{other.padding:.1%}",
            (1 - mine.padding) / (1 - other.padding),
        )
        for name, mine, other in (("compact", ours, padded), ("the reference's", reference, theirs))
    ]


def prepared() -> tuple[Any, dict[str, list[Any]]]:
    """The embedded model with a fresh adapter, and the same windows in both texts."""
    from stockllm.forecaster.encoding.prompts import training_messages
    from stockllm.forecaster.encoding.windows import DEFAULT_TASKS
    from stockllm.forecaster.models.engines import load
    from stockllm.forecaster.models.methods import LoraOptions
    from stockllm.forecaster.models.registry import base_model_dir
    from stockllm.forecaster.training import examples

    longest = 8192
    loaded = load("peft", base_model_dir(), LoraOptions(16, 8, 0.0, 1, longest))
    measure = examples.measure_with(loaded.tokenizer)
    with simulated_store(200) as store:
        sources = [(store.bars.series(company.code), company) for company in store.companies()[:8]]
        rows = {
            style: [
                row
                for task in DEFAULT_TASKS
                for row in examples.draw(
                    sources,
                    [task],
                    start=None,
                    end=None,
                    wanted=EACH,
                    seed=1,
                    words=lambda window, style=style: training_messages(window, style),
                    measure=measure,
                    max_tokens=longest,
                ).rows
            ]
            for style in ("compact", "reference")
        }
    return loaded, rows


def train(
    loaded: Any, rows: list[Any], *, steps: int, plain: bool = False, per_step: int = PER_STEP
) -> Timed:
    """Train that many steps; ``plain`` cuts them into equal batches in a random order."""
    import numpy as np

    from stockllm.forecaster.training import trainer
    from stockllm.forecaster.training.options import TrainOptions

    options = TrainOptions(
        codes=("2330",),
        batch_size=BATCH,
        gradient_accumulation_steps=per_step,
        report_to="none",
        optim="adamw_torch",
    )
    with tempfile.TemporaryDirectory(prefix="stockllm-") as folder:
        made, _ = trainer.build(loaded, Path(folder), options, steps, rows, [])
        made.args.save_strategy = "no"
        if plain:
            rng = np.random.default_rng(1)
            orders = [rng.permutation(len(rows)).tolist() for _ in range(steps)]
            made.batches = [
                order[at : at + BATCH] for order in orders for at in range(0, BATCH * per_step, BATCH)
            ]
        took = spent(lambda: trainer.fit(made, None))
    lengths = [[rows[index].tokens for index in batch] for batch in made.batches]
    computed = sum(len(batch) * max(batch) for batch in lengths)
    return Timed(sum(map(len, lengths)), sum(map(sum, lengths)), computed, took)


if __name__ == "__main__":
    main()
