"""Fitting a base model's calibration: forecasts of a period it has not read, and what came.

One fair CRPS decides everything: the width of day 1 by the score at 1 day, that of days 2 to 5 by
the score at 5, that of all later days by the score at 20, for each share of naive paths on a grid; then
the share whose three scores, each relative to the naive walk's, have the lowest mean. Few numbers are
fitted, on few and dependent days: a finer grid would fit the quarter, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.data.store import Store
from stockllm.forecaster.baselines import ewma_walk
from stockllm.forecaster.calibration import Calibration, widened
from stockllm.forecaster.cases import Cases, Request, gather
from stockllm.forecaster.cutoffs import cutoff
from stockllm.forecaster.metrics import Floats, fair_crps
from stockllm.forecaster.models import ModelRef, weights_hash
from stockllm.forecaster.sample import Paths
from stockllm.forecaster.samplers import sampler_for

#: The horizons that decide, and so the days at which the width may change.
HORIZONS = (1, 5, 20)
WIDTHS = tuple(round(0.80 + 0.05 * step, 2) for step in range(15))
SHARES = (0.0, 0.25, 0.5, 0.75)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration, and the CRPS ratios to the naive walk at ``HORIZONS`` without and with it."""

    calibration: Calibration
    before: tuple[float, ...]
    after: tuple[float, ...]


def calibrate(
    store: Store, ref: ModelRef, request: Request, progress: Callable[[int, int], None] = lambda *_: None
) -> Fitted:
    """Fit the calibration of a base model on the request's period; nothing is written.

    :raises UsageError: a model that is no folder, or a period that it has read.
    :raises NotEnoughHistory: no company with enough days.
    """
    if not isinstance(ref.base, Path) or ref.adapter is not None:
        raise UsageError("Only a base model in a folder can be calibrated: pass that folder as --model.")
    limit = cutoff(ModelRef(ref.name, ref.base), simulated=store.simulated, calibrated=False)
    if limit.seen(request.start):
        raise UsageError(
            f"{ref.name} was trained on days up to {limit.day}: calibrate it on a period after that."
        )
    cases = gather(store, request)
    sampler = sampler_for(ref, until=request.start, market=lambda _: (), calibrated=False)
    total = len(cases.windows)
    drawn = sampler.sample(
        cases.windows, paths=request.paths, seed=request.seed, progress=lambda done: progress(done, total)
    )
    naive = ewma_walk(cases.windows, paths=request.paths, seed=request.seed)
    widths, share, before, after = fit(drawn, naive, cases)
    made = Calibration(widths, share, request.start, request.end, len(cases.windows), weights_hash(ref.base))
    return Fitted(made, before, after)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Forecasts of many windows; ``prices`` (windows, paths, days, 4) and ``starts`` in hundredths."""

    prices: Ints
    starts: Ints
    actual: Floats

    def returns(self, horizon: int, widths: Sequence[float], first: int = 0) -> Floats:
        """Log returns at a horizon of all paths from the ``first`` on, widened; (windows, paths)."""
        prices = self.prices[:, first:, :horizon]
        count, paths = prices.shape[:2]
        rows = Paths(prices.reshape(count * paths, horizon, 4), np.zeros((count * paths, 0), dtype=np.int64))
        ends = widened(rows, np.repeat(self.starts, paths), widths).prices[:, -1, 3]
        out: Floats = np.log(ends.reshape(count, paths) / self.starts[:, None])
        return out

    def score(self, returns: Floats, column: int) -> float:
        """Mean fair CRPS at one horizon, over the windows that reach it."""
        reached = ~np.isnan(self.actual[:, column])
        return float(fair_crps(returns[reached], self.actual[reached, column]).mean())


def fit(
    drawn: Sequence[Paths], naive: Sequence[Paths], cases: Cases
) -> tuple[tuple[float, ...], float, tuple[float, ...], tuple[float, ...]]:
    """(widths of every day, share, ratios before, ratios after); ``cases`` has the columns HORIZONS."""
    starts = np.array([round(float(window.history.close[-1]) * 100) for window in cases.windows])
    model, walk = (
        _Ends(np.stack([paths.prices for paths in some]), starts, cases.actual) for some in (drawn, naive)
    )
    steps = list(enumerate(HORIZONS))
    walks = {horizon: walk.returns(horizon, (1.0,)) for horizon in HORIZONS}
    against = [walk.score(walks[horizon], column) for column, horizon in steps]
    before = [model.score(model.returns(horizon, (1.0,)), column) for column, horizon in steps]
    found = []
    for share in SHARES:
        count = round(share * model.prices.shape[1])
        widths: tuple[float, ...] = ()
        scores = []
        for column, horizon in steps:
            days = horizon - len(widths)
            tried = []
            for width in WIDTHS:
                whole = (*widths, *[width] * days)
                returns = np.hstack([model.returns(horizon, whole, count), walks[horizon][:, :count]])
                tried.append((model.score(returns, column), whole))
            score, widths = min(tried)
            scores.append(score)
        ratios = tuple(score / other for score, other in zip(scores, against, strict=True))
        found.append((float(np.mean(ratios)), share, widths, ratios))
    _, share, widths, ratios = min(found)
    return widths, share, tuple(a / b for a, b in zip(before, against, strict=True)), ratios
