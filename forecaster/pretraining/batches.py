"""What pretraining reads: windows of many stocks, cut afresh for every batch, in both styles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.errors import NotEnoughHistory
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import WARM_UP, Encoded, encode
from stockllm.forecaster.encoding.prompts import (
    COMPACT_SYSTEM,
    compact_answer,
    compact_question,
    training_messages,
)
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.pretraining.transplant import LEAD, Factor, Host

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stockllm.forecaster.pretraining.recipe import Recipe

#: Days a company must have to be trained on.
SHORTEST = 60


def mirrored(days: Encoded) -> Encoded:
    """The same days upside down: every move negated, so high and low change places."""
    return Encoded(-days.steps[:, [0, 2, 1, 3]], days.buckets, days.sigma, days.usual_volume)


class Batches:
    """An endless supply of batches of token ids, drawn with one seeded generator."""

    def __init__(
        self,
        series: Sequence[BarSeries],
        histories: Sequence[BarSeries],
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
    ) -> None:
        self.tokenizer, self.recipe = tokenizer, recipe
        self.rng = np.random.default_rng(recipe.seed)
        recent, older = ([s for s in some if len(s) >= SHORTEST] for some in (series, histories))
        self.series = [*recent, *older]
        self.is_history = np.arange(len(self.series)) >= len(recent)
        if not self.series:
            raise NotEnoughHistory(
                f"No company has the {SHORTEST} days that pretraining needs; import more history.",
                zh=f"沒有任何公司有預訓練所需的 {SHORTEST} 天：請匯入更多歷史。",
            )
        # The first days share a start value taken from themselves: leave them out.
        self.encoded = [encode(s)[WARM_UP:] for s in self.series]
        self.days = np.array([len(e.buckets) for e in self.encoded])
        now, then = Factor.of(recent), Factor.of(older)
        self.hosts = [Host(s, now) for s in recent] + [Host(s, then) for s in older]
        #: The market moves that transplants take: the longest there are.
        self.elsewhere = max(now, then, key=lambda factor: len(factor.days)).moves

    def batch(self) -> list[list[int]]:
        """Token ids of one batch's windows; all windows of a batch have the same shape."""
        recipe, rng = self.recipe, self.rng
        if rng.random() < recipe.reference_share:
            return self._ids([self._reference_messages() for _ in range(4)])
        future = int(rng.choice([1, 5, recipe.longest_future], p=[0.1, 0.2, 0.7]))
        pasts = np.array([5, 20, 60, recipe.longest_past])
        shares = np.array([0.1, 0.15, 0.35, 0.4]) * (pasts + future <= self.days.max())
        past = int(rng.choice(pasts, p=shares / shares.sum()))
        rows = max(1, recipe.batch_tokens // ((past + future) * 5 + 50))
        return self._ids([self._compact_messages(past, future) for _ in range(rows)])

    def _company(self, days: int) -> int:
        """Index of a series with so many days, the likelier the more it has."""
        weights = self.days * (self.days >= days) / self.days.sum()
        of_history = weights[self.is_history].sum()
        if 0 < of_history < weights.sum():
            weights[self.is_history] *= self.recipe.history_share / of_history
            weights[~self.is_history] *= (1 - self.recipe.history_share) / weights[~self.is_history].sum()
        return int(self.rng.choice(len(weights), p=weights / weights.sum()))

    def _ids(self, conversations: list[list[dict[str, str]]]) -> list[list[int]]:
        encoded = self.tokenizer.apply_chat_template(conversations, return_dict=True)
        return [list(ids) for ids in encoded["input_ids"]]

    def _compact_messages(self, past: int, future: int) -> list[dict[str, str]]:
        company, length = self._company(past + future), past + future
        start = int(self.rng.integers(0, self.days[company] - length + 1))
        stretches = len(self.elsewhere) - LEAD - length + 1
        if self.rng.random() < self.recipe.transplant_share and stretches > 0:
            first = int(self.rng.integers(0, stretches))
            market = self.elsewhere[first : first + LEAD + length]
            days = self.hosts[company].window(start, length, market)
        else:
            days = self.encoded[company][start : start + length]
        if self.rng.random() < self.recipe.mirror_share:
            days = mirrored(days)
        return [
            {"role": "system", "content": COMPACT_SYSTEM},
            {"role": "user", "content": compact_question(days[:past], future)},
            {"role": "assistant", "content": compact_answer(days[past:])},
        ]

    def _reference_messages(self) -> list[dict[str, str]]:
        past, future = ((1, 1), (5, 5), (20, 5))[int(self.rng.integers(3))]
        series = self.series[self._company(past + future)]
        start = int(self.rng.integers(WARM_UP, len(series) - past - future + 1))
        window = Window(
            series.code, series.code, "TWSE", series[: start + past], past,
            series[start + past : start + past + future],
            series.dates[start + past : start + past + future],
        )  # fmt: skip
        example = training_messages(window, "reference")
        return [*example.prompt, *example.completion]
