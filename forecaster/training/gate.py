"""Whether an adapter forecasts better than its base: both are asked on the same validation evenings.

The loss of a token says little about it: the loss counts volumes and the whole candle, the score the close
alone. So both forecast evenings that the training did not read, as `stockllm forecast` would, with the
same random numbers, and are scored by CRPS. ``auto`` takes an adapter only where that is the lower.
"""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.sentences import Sentence
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.limits import HISTORY, LOOK_BACK
from stockllm.forecaster.encoding.windows import Task, Window, open_window, origins
from stockllm.forecaster.models.registry import forget
from stockllm.forecaster.sampling.crps import Floats, fair_crps
from stockllm.market.moments import end_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from stockllm.data.records import BarSeries, PromptStyle
    from stockllm.data.store import Store
    from stockllm.forecaster.models.cards import Card
    from stockllm.forecaster.models.registry import ModelRef
    from stockllm.forecaster.outlook.outlook import Outlook
    from stockllm.forecaster.sampling.sample import Paths
    from stockllm.market.companies import Company

#: Forecasts that are compared at most, and the paths of each.
MOST_WINDOWS = 96
PATHS = 32
#: Trading days ahead that are scored.
HORIZONS = (1, 5)
#: One day of look-back on or after the first validation day, and the longest horizon behind it.
_TASK = Task(1, max(HORIZONS))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Mean CRPS of the base alone and with the adapter, on the same ``windows`` forecasts."""

    base: float
    adapter: float
    windows: int

    @classmethod
    def of(cls, card: Card) -> Verdict | None:
        """What a card says; None where nothing was compared."""
        if card.crps_base is None or card.crps_adapter is None:
            return None
        return cls(card.crps_base, card.crps_adapter, card.crps_windows)

    @property
    def better(self) -> bool:
        """Whether the adapter has the lower CRPS."""
        return self.adapter < self.base

    def sentence(self) -> Sentence:
        """Better or worse, by how much and on how many forecasts."""
        share = f"{abs(self.adapter / self.base - 1):.2%}"
        count, count_zh = f"{self.windows:,} validation forecasts", f"驗證期間的 {self.windows:,} 個預測"
        if self.better:
            return Sentence(
                f"It is better than its base: its CRPS is {share} lower on {count}.",
                zh=f"它比基礎模型好：{count_zh}的 CRPS 低 {share}。",
            )
        if self.adapter == self.base:
            return Sentence(
                f"It is no better than its base: its CRPS is the same on {count}; `auto` will not take it.",
                zh=f"它沒有比基礎模型好：{count_zh}的 CRPS 相同；`auto` 不會選用它。",
            )
        return Sentence(
            f"It is worse than its base: its CRPS is {share} higher on {count}; `auto` will not take it.",
            zh=f"它比基礎模型差：{count_zh}的 CRPS 高 {share}；`auto` 不會選用它。",
        )


def verdict_in_words(verdict: Verdict | None) -> Sentence:
    """The verdict's sentence, or that there is none."""
    if verdict is not None:
        return verdict.sentence()
    return Sentence(
        "It was not compared with its base on any validation forecast; `auto` will not take it.",
        zh="沒有驗證期間的預測可與基礎模型比較；`auto` 不會選用它。",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Forecasts to compare on, and what came: ``actual`` (n, horizons), log returns since the origin."""

    windows: tuple[Window, ...]
    actual: Floats
    #: The last day that any of them is scored on.
    end: date


def held_windows(
    store: Store, codes: Sequence[str], *, validation_from: date, wanted: int, prompt: PromptStyle
) -> Held | None:
    """Evenings from ``validation_from`` on whose next days have come, spread over companies and time.

    The embargo lies before ``validation_from``: no day that is scored was in a training window, nor was
    any within a horizon of it.

    :param wanted: how many at most.
    :returns: None where no evening has `HORIZONS` days after it.
    """
    calendar = store.calendar()
    windows: list[Window] = []
    actual: list[list[float]] = []
    end = validation_from
    for company, series, places in _spread(store, codes, validation_from, wanted):
        level = np.cumsum(np.log(series.close / series.reference))
        for index in places:
            history = series[max(0, index + 1 - HISTORY) : index + 1]
            past = max(WARM_UP, min(LOOK_BACK[prompt], len(history)))
            # The evening knows the calendar, not on which days the company will trade.
            ahead = calendar.next_sessions(series.dates[index], _TASK.future)
            windows.append(open_window(history, company, past, ahead))
            actual.append([float(level[index + days] - level[index]) for days in HORIZONS])
            end = max(end, series.dates[index + _TASK.future])
    return Held(tuple(windows), np.array(actual), end) if windows else None


def _spread(
    store: Store, codes: Sequence[str], validation_from: date, wanted: int
) -> Iterator[tuple[Company, BarSeries, list[int]]]:
    """Companies, and for each the indices of its evenings, evenly apart and not the same for all."""
    found = []
    for code in codes:
        series = store.long_series(code)
        places = origins(series, _TASK, validation_from)
        if places:
            found.append((store.company(code), series, places))
    if len(found) > wanted:
        found = [found[int((number + 0.5) * len(found) / wanted)] for number in range(wanted)]
    shares = _shares([len(places) for _, _, places in found], wanted)
    for number, ((company, series, places), share) in enumerate(zip(found, shares, strict=True)):
        shift = (number + 0.5) / len(found)
        yield company, series, [places[int((k + shift) * len(places) / share)] for k in range(share)]


def _shares(there: Sequence[int], wanted: int) -> list[int]:
    """``wanted`` in as equal parts as ``there`` allows, part by part."""
    shares = [0] * len(there)
    left = min(wanted, sum(there))
    while left:
        for number, most in enumerate(there):
            if left and shares[number] < most:
                shares[number] += 1
                left -= 1
    return shares


def compare(store: Store, base: ModelRef, adapter: ModelRef, held: Held, card: Card) -> Verdict | None:
    """Forecast with the base alone and with the adapter, and score both.

    Nothing that became known after an evening is shown to either. One model is in memory at a time.

    :param card: the adapter's, which says in which style it is asked and the seed of the paths.
    :returns: None where the base has no CRPS to hold another against, as on prices that never move.
    :raises StockllmError: where one of them cannot be loaded, or cannot read as much as a forecast does.
    """
    from stockllm.forecaster.outlook.moments import outlook_of
    from stockllm.forecaster.sampling.samplers import sampler_for

    sessions = sorted({window.future_dates[0] for window in held.windows})

    @lru_cache(maxsize=1)
    def outlook() -> Outlook:
        return outlook_of(store, held.end, sessions, memory=None, until=end_of(held.end))

    seed = int(card.flags["random_state"])
    prompt: PromptStyle = card.flags["prompt"]
    scores = []
    for ref in (base, adapter):
        _make_room()
        sampler = sampler_for(ref, until=held.end, market=lambda _: (), prompt=prompt, outlook=outlook)
        scores.append(_score(sampler.sample(held.windows, paths=PATHS, seed=seed), held))
        del sampler
    _make_room()
    alone, tuned = scores
    if not (math.isfinite(alone) and math.isfinite(tuned) and alone > 0):
        return None
    return Verdict(alone, tuned, len(held.windows))


def _score(drawn: Sequence[Paths], held: Held) -> float:
    """Mean over the windows and the horizons of fair CRPS, each over the root of its days."""
    starts = np.array([round(float(window.history.close[-1]) * 100) for window in held.windows])
    total = 0.0
    for column, days in enumerate(HORIZONS):
        ends = np.stack([paths.prices[:, days - 1, 3] for paths in drawn])
        total += float(fair_crps(np.log(ends / starts[:, None]), held.actual[:, column]).mean()) / days**0.5
    return total / len(HORIZONS)


def _make_room() -> None:
    """Give back the memory of models that nobody uses any more."""
    import torch

    forget()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
