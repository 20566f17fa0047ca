"""What GRPO rewards: answers that the model wrote of its own accord, held against the days that came.

An answer's reward is its negative contribution to the energy score of its own group (`align_outcomes`), so
what is followed is the gradient of the very score that `stockllm evaluate` reports. An answer that is no
candles gets less than any that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stockllm.forecaster.alignment.outcomes import contributions
from stockllm.forecaster.encoding.answers import NoCandles, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.records import PromptStyle
    from stockllm.forecaster.alignment.outcomes import Floats, Outcome

#: The reward of an answer that is no candles, in usual moves; lower still where a valid one is.
NO_CANDLES = -5.0


class OutcomeReward:
    """A reward function of TRL. Counts the answers it read and those that were no candles."""

    __name__ = "outcome"

    def __init__(
        self, outcomes: Sequence[Outcome], prompt: PromptStyle, *, format_alone: bool = False
    ) -> None:
        """``format_alone`` judges nothing but the form: 0 for candles, `NO_CANDLES` for anything else."""
        self._outcomes = {outcome.id: outcome for outcome in outcomes}
        self._readers = {each.id: Reader(each.window, prompt, each.compact) for each in outcomes}
        self._format_alone = format_alone
        self.read = self.failed = 0

    def __call__(self, completions: Sequence[Any], outcome: Sequence[int], **_columns: Any) -> list[float]:
        """A number for every completion. ``outcome`` names the forecast that each answers to."""
        rewards = [0.0] * len(completions)
        for id in dict.fromkeys(outcome):
            rows = [i for i, other in enumerate(outcome) if other == id]
            for row, value in zip(rows, self.group(id, [_words(completions[i]) for i in rows]), strict=True):
                rewards[row] = value
        return rewards

    def group(self, id: int, answers: Sequence[str]) -> list[float]:
        """The rewards of some answers to one question."""
        returns: list[Floats | None] = [self._returns(id, answer) for answer in answers]
        valid = [r for r in returns if r is not None]
        self.read += len(answers)
        self.failed += len(answers) - len(valid)
        its = self._outcomes[id]
        if self._format_alone or not valid:
            return [NO_CANDLES if r is None else 0.0 for r in returns]
        scores = iter((-contributions(np.stack(valid), its.actual, its.usual)).tolist())
        found = [None if r is None else next(scores) for r in returns]
        least = min(NO_CANDLES, min(value for value in found if value is not None) - 1)
        return [least if value is None else value for value in found]

    def _returns(self, id: int, answer: str) -> Floats | None:
        """Log returns of an answer's closes, (days,); None where it is no candles."""
        try:
            prices = self._readers[id].read(answer).prices
        except NoCandles:
            return None
        returns: Floats = np.log(prices[:, 3] / self._outcomes[id].forecast.last_close)
        return returns


def _words(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
