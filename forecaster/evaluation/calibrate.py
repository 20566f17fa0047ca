"""Fitting a base model's calibration: forecasts of a period it has not read, and what came.

Fair CRPS decides everything: the width of day 1 by the score at 1 day, that of days 2 to 5 by the score
at 5, that of all later days by the score at 20, for each share of naive paths on a grid; then the share
whose three scores, each relative to the naive walk's, have the lowest mean. Few numbers are fitted, on few
and dependent days: a finer grid would fit the period, not the model. Widths are left at 1 where the
period is short, since there the market's own surprise decides: one quarter asked for 0.9, the next for
1.15 (docs/model-notes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.data.store import Store
from stockllm.forecaster.evaluation.cases import Cases, Request, gather
from stockllm.forecaster.evaluation.metrics import Floats, fair_crps
from stockllm.forecaster.models.registry import ModelRef, refuse_peer, weights_hash
from stockllm.forecaster.outlook.moments import outlook_of
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.forecaster.sampling.calibration import Calibration, widened
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import sampler_for
from stockllm.market.moments import end_of

#: The horizons that decide, and so the days at which the width may change. A forecast of h days is
#: asked for on every stride-th evening times the second number: long ones cost more and overlap.
HORIZONS = {1: 1, 5: 2, 20: 3}
WIDTHS = tuple(round(0.80 + 0.05 * step, 2) for step in range(15))
SHARES = (0.0, 0.25, 0.5, 0.75)
#: Sessions a period needs for widths to be fitted on it.
ENOUGH_SESSIONS = 100

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration, and the CRPS ratios to the naive walk at ``HORIZONS`` without and with it."""

    calibration: Calibration
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """Forecasts of one horizon by a model and by the naive walk, and what came.

    ``model`` and ``walk`` (windows, paths, days, 4) and ``starts`` (windows,) in hundredths of a TWD,
    ``actual`` (windows,) log returns.
    """

    model: Ints
    walk: Ints
    starts: Ints
    actual: Floats

    @property
    def horizon(self) -> int:
        """Days ahead."""
        return int(self.model.shape[2])

    def score(self, widths: Sequence[float], share: float) -> float:
        """Mean fair CRPS of the model's paths, widened, with a share of them taken from the walk."""
        windows, paths = self.model.shape[:2]
        naive = round(share * paths)
        rows = self.model[:, naive:].reshape(windows * (paths - naive), self.horizon, 4)
        own = Paths(rows, np.zeros((len(rows), 0), dtype=np.int64))
        ends = widened(own, np.repeat(self.starts, paths - naive), widths).prices[:, -1, 3]
        return self._crps(np.hstack([ends.reshape(windows, -1), self.walk[:, :naive, -1, 3]]))

    def naive(self) -> float:
        """Mean fair CRPS of the walk."""
        return self._crps(self.walk[:, :, -1, 3])

    def _crps(self, ends: Ints) -> float:
        return float(fair_crps(np.log(ends / self.starts[:, None]), self.actual).mean())


def calibrate(
    store: Store,
    ref: ModelRef,
    request: Request,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fitted:
    """Fit the calibration of a base model on the request's period; nothing is written.

    The request's horizons are not used.

    :raises UsageError: a model that is no folder, or a period that it has read.
    :raises NotEnoughHistory: no company with enough days.
    """
    refuse_peer(ref)
    if not isinstance(ref.base, Path) or ref.adapter is not None:
        raise UsageError(
            "Only a base model in a folder can be calibrated: pass that folder as --model.",
            zh="只有放在資料夾裡的基礎模型可以校準：請以 --model 指定該資料夾。",
        )
    limit = cutoff(ModelRef(ref.name, ref.base), simulated=store.simulated, calibrated=False)
    if limit.seen(request.start):
        raise UsageError(
            f"{ref.name} was trained on days up to {limit.day}: calibrate it on a period after that.",
            zh=f"{ref.name} 的訓練資料到 {limit.day} 為止：請用之後的期間校準。",
        )
    last = request.end

    def outlook() -> Outlook:
        return outlook_of(store, last, memory=None, until=end_of(last))

    sampler = sampler_for(
        ref,
        until=request.start,
        market=lambda _: (),
        calibrated=False,
        outlook=outlook,
        moment=request.moment,
    )
    wanted = [
        _arrived(gather(store, replace(request, horizons=(horizon,), stride=request.stride * times)))
        for horizon, times in HORIZONS.items()
    ]
    total = sum(len(cases.windows) for cases in wanted)
    trials: list[Trial] = []
    before = 0
    for cases in wanted:
        drawn = sampler.sample(
            cases.windows,
            paths=request.paths,
            seed=request.seed,
            progress=lambda done, before=before: progress(before + done, total),  # type: ignore[misc]
        )
        walks = ewma_walk(cases.windows, paths=request.paths, seed=request.seed)
        trials.append(_trial(drawn, walks, cases))
        before += len(cases.windows)
    sessions = sum(request.start <= day <= request.end for day in store.market_days())
    widths, share, plain, made = fit(trials, with_widths=sessions >= ENOUGH_SESSIONS)
    calibration = Calibration(widths, share, request.start, request.end, total, weights_hash(ref.base))
    return Fitted(calibration, plain, made)


def _arrived(cases: Cases) -> Cases:
    """The cases whose day came inside the period."""
    rows = np.flatnonzero(~np.isnan(cases.actual[:, 0]))
    columns = {name: getattr(cases, name)[rows] for name in ("actual", "ends", "origins", "closes", "scales")}
    return replace(cases, windows=tuple(cases.windows[row] for row in rows.tolist()), **columns)


def _trial(drawn: Sequence[Paths], walks: Sequence[Paths], cases: Cases) -> Trial:
    model, walk = (np.stack([paths.prices for paths in some]) for some in (drawn, walks))
    starts = np.rint(cases.closes * 100).astype(np.int64)
    return Trial(model, walk, starts, cases.actual[:, 0])


def fit(
    trials: Sequence[Trial], *, with_widths: bool = True
) -> tuple[tuple[float, ...], float, tuple[float, ...], tuple[float, ...]]:
    """(widths by day, share of naive paths, ratios before, ratios after); trials by rising horizon."""
    against = [trial.naive() for trial in trials]
    before = tuple(trial.score((1.0,), 0.0) / naive for trial, naive in zip(trials, against, strict=True))
    found = []
    for share in SHARES:
        widths: tuple[float, ...] = ()
        ratios: tuple[float, ...] = ()
        for trial, naive in zip(trials, against, strict=True):
            days = trial.horizon - len(widths)
            tried = [(*widths, *[width] * days) for width in (WIDTHS if with_widths else (1.0,))]
            score, widths = min((trial.score(each, share), each) for each in tried)
            ratios = (*ratios, score / naive)
        found.append((float(np.mean(ratios)), share, widths, ratios))
    _, share, widths, ratios = min(found)
    return widths, share, before, ratios
