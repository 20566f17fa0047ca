"""Rolling-origin evaluation: every model forecasts every evening of a period and is scored.

Nothing leaks: a forecast reads the bars up to its origin alone, networks are trained on days that
end one horizon before the period, and a model whose training reached into the period is refused.
Returns are cumulated from each day's reference price, so that an ex-date or a split is neither a
loss nor a gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.data.records import BarSeries
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.evaluation import metrics
from stockllm.forecaster.evaluation.cases import Cases, Request, gather, trained_until
from stockllm.forecaster.evaluation.metrics import Floats
from stockllm.forecaster.models.registry import BASELINES, NAIVE, ModelRef, resolve_model
from stockllm.forecaster.outlook.moments import outlook_of
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import Sampler, sampler_for
from stockllm.market.moments import end_of
from stockllm.market.ticks import limits, round_to_tick

#: Windows that are sampled before they are scored and their paths dropped.
CHUNK = 128

Ints = NDArray[np.int64]
#: (model, windows done, windows in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One model's scores at one horizon, all of shape (n,) for the cases that reach it.

    ``inside`` is (3, n) for the central 50, 80 and 95%; ``median`` and ``mean`` are log returns;
    ``failures`` counts paths that hold a candle which cannot trade, and answers that were no candles.
    """

    crps: Floats
    pinball: Floats
    inside: NDArray[np.bool_]
    width80: Floats
    median: Floats
    mean: Floats
    balance: Floats
    pit: Floats
    failures: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What came out: ``scores[model][horizon]`` over ``cases``. ``seen`` is None where unknown."""

    request: Request
    cases: Cases
    scores: dict[str, dict[int, Scores]]
    seen: dict[str, bool | None]
    simulated: bool
    trained_until: date

    def reached(self, horizon: int) -> Ints:
        """The cases whose forecast of this horizon lies in the period."""
        column = self.request.horizons.index(horizon)
        return np.flatnonzero(~np.isnan(self.cases.actual[:, column]))


def evaluate(store: Store, request: Request, progress: Progress = lambda *_: None) -> Evaluation:
    """Score every model of the request, and the naive baseline, on the same windows.

    One sampling of the longest horizon serves all. The same store, request and machine give the
    same figures.

    :raises UsageError: a request that cannot be, a period that a model has seen, or too short a one.
    :raises NotEnoughHistory: no company with enough days.
    :raises ModelUnavailable: a model that cannot be had.
    """
    request.check()
    refs = _refs(store, request)
    simulated = store.simulated
    seen = {name: _refuse_seen(name, ref, request, simulated) for name, ref in refs.items()}
    cases = gather(store, request)
    until = trained_until(store, request)

    def market(day: date) -> list[BarSeries]:
        return [store.long_series(code, day) for code in store.codes_with_prices()]

    @lru_cache(maxsize=1)
    def outlook() -> Outlook:
        return outlook_of(store, request.end, cases.sessions, memory=None, until=end_of(request.end))

    scores: dict[str, dict[int, Scores]] = {}
    for name, ref in refs.items():
        sampler = sampler_for(
            ref, until=until, market=market, prompt=request.prompt, outlook=outlook, moment=request.moment
        )
        scores[name] = _scores(sampler, cases, request, partial(_tell, progress, name, cases))
    return Evaluation(request, cases, scores, seen, simulated, until)


def document(evaluation: Evaluation) -> dict[str, Any]:
    """What ``--json`` prints: figures by model and horizon, and what they were measured on."""
    request, cases = evaluation.request, evaluation.cases
    return {
        "models": {
            name: {str(h): _rounded(summary(evaluation, name, h)) for h in request.horizons}
            for name in evaluation.scores
        },
        "best_baseline": {str(h): best_baseline(evaluation, h) for h in request.horizons},
        "seen": evaluation.seen,
        "start": request.start.isoformat(),
        "end": request.end.isoformat(),
        "first_origin": cases.windows[0].origin.isoformat(),
        "last_origin": cases.windows[-1].origin.isoformat(),
        "origins": len(set(cases.origins.tolist())),
        "windows": len(cases.windows),
        "codes": sorted({window.code for window in cases.windows}),
        "left_out": list(cases.left_out),
        "horizons": list(request.horizons),
        "paths": request.paths,
        "stride": request.stride,
        "seed": request.seed,
        "prompt": request.prompt,
        "moment": request.moment,
        "networks_trained_until": evaluation.trained_until.isoformat(),
        "simulated": evaluation.simulated,
    }


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """Six significant digits: more would be noise of the sampling."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(each) for each in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return {key: short(value) for key, value in figures.items()}


def _tell(progress: Progress, name: str, cases: Cases, done: int) -> None:
    progress(name, done, len(cases.windows))


def _scores(
    sampler: Sampler, cases: Cases, request: Request, progress: Callable[[int], None]
) -> dict[int, Scores]:
    """One model's scores at every horizon."""
    parts: list[list[Scores]] = []
    for first in range(0, len(cases.windows), CHUNK):
        chunk = cases.windows[first : first + CHUNK]
        drawn = sampler.sample(
            chunk,
            paths=request.paths,
            seed=request.seed,
            progress=lambda done, first=first: progress(first + done),  # type: ignore[misc]
        )
        parts.append(
            [
                _score(chunk, drawn, cases.actual[first : first + CHUNK, column], horizon)
                for column, horizon in enumerate(request.horizons)
            ]
        )
    return {h: _joined([part[k] for part in parts]) for k, h in enumerate(request.horizons)}


def _refs(store: Store, request: Request) -> dict[str, ModelRef]:
    """The models by the name that documents give them, the naive baseline always among them."""
    refs: dict[str, ModelRef] = {}
    for name in (*request.models, NAIVE):
        ref = resolve_model(name, store.home)
        refs.setdefault(ref.name if ref.adapter is None else f"{ref.name}+{ref.adapter}", ref)
    return refs


def _refuse_seen(name: str, ref: ModelRef, request: Request, simulated: bool) -> bool | None:
    limit = cutoff(ref, simulated=simulated)
    seen = limit.seen(request.start)
    if seen and not request.force:
        raise UsageError(
            f"{name} was trained on days up to {limit.day}, so a period from {request.start} on is no test "
            "of it: start later, or pass --force and have its figures marked as seen.",
            zh=(
                f"{name} 的訓練讀過 {limit.day} 為止的資料，從 {request.start} 開始的期間不能測"
                "試它：請晚一點開始，或用 --force 並把數字標為看過。"
            ),
        )
    return seen


def _score(windows: Sequence[Window], drawn: Sequence[Paths], actual: Floats, horizon: int) -> Scores:
    """Scores of those windows that reach the horizon."""
    rows = np.flatnonzero(~np.isnan(actual)).tolist()
    if not rows:
        return _nothing()
    starts = np.array([round(float(windows[i].history.close[-1]) * 100) for i in rows])
    ends = np.stack([drawn[i].prices[:, horizon - 1, 3] for i in rows])
    samples = np.log(ends / starts[:, None])
    happened = actual[rows]
    low, high = metrics.intervals(samples, (0.80,))
    return Scores(
        metrics.fair_crps(samples, happened),
        metrics.pinball(samples, happened),
        metrics.inside(samples, happened),
        (high - low)[0],
        np.median(samples, axis=1),
        samples.mean(axis=1),
        metrics.tendency(samples),
        metrics.pit(samples, happened),
        np.array(
            [
                failures(drawn[i].prices[:, :horizon], int(starts[k])) + drawn[i].failures
                for k, i in enumerate(rows)
            ]
        ),
    )


def _nothing() -> Scores:
    empty = np.zeros(0)
    flags = np.zeros((len(metrics.INTERVALS), 0), dtype=np.bool_)
    return Scores(empty, empty, flags, empty, empty, empty, empty, empty, np.zeros(0, dtype=np.int64))


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(*(np.concatenate([getattr(p, name) for p in parts], axis=-1) for name in Scores.__slots__))


def failures(prices: Ints, last_close: int) -> int:
    """Paths that hold a candle which cannot trade: out of order, off its tick or past its limits.

    ``prices`` has shape (paths, days, 4), in hundredths of a TWD.
    """
    opened, high, low, close = np.moveaxis(prices, 2, 0)
    before = np.concatenate([np.full((len(prices), 1), last_close), close[:, :-1]], axis=1)
    down, up = limits(before)
    good = (low > 0) & (low <= np.minimum(opened, close)) & (high >= np.maximum(opened, close))
    good &= (low >= down) & (high <= up) & (round_to_tick(prices) == prices).all(axis=2)
    return int((~good.all(axis=1)).sum())


def best_baseline(evaluation: Evaluation, horizon: int) -> str:
    """The baseline with the lowest CRPS at this horizon."""
    means = {
        name: float(scores[horizon].crps.mean())
        for name, scores in evaluation.scores.items()
        if name in BASELINES
    }
    return min(means, key=lambda name: means[name])


def summary(evaluation: Evaluation, name: str, horizon: int) -> dict[str, Any]:
    """The figures of one model at one horizon, as the document carries them; None where undefined."""
    cases, rows = evaluation.cases, evaluation.reached(horizon)
    column = evaluation.request.horizons.index(horizon)
    scores = evaluation.scores[name][horizon]
    actual, closes, origins = cases.actual[rows, column], cases.closes[rows], cases.origins[rows]
    codes = np.array([cases.windows[i].code for i in rows])
    happened = closes * np.exp(actual)
    error = closes * np.exp(scores.median) - happened
    crps = float(scores.crps.mean())
    naive = float(evaluation.scores[NAIVE][horizon].crps.mean())
    right, calls = metrics.direction(scores.balance, actual)
    between = metrics.wilson(right, calls)
    best = best_baseline(evaluation, horizon)
    days, difference = metrics.by_date(scores.crps - evaluation.scores[best][horizon].crps, origins)
    last = np.array([cases.ends[rows, column][origins == day].max() for day in days])
    scaled = np.abs(error)[cases.scales[rows] > 0] / cases.scales[rows][cases.scales[rows] > 0]
    return {
        "crps": crps,
        "crps_ratio": crps / naive if naive > 0 else None,
        "pinball": float(scores.pinball.mean()),
        "coverage50": float(scores.inside[0].mean()),
        "coverage80": float(scores.inside[1].mean()),
        "coverage95": float(scores.inside[2].mean()),
        "width80": float(scores.width80.mean()),
        "mse": float((error**2).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "nrmse": _nrmse(error, happened, codes),
        "mase": float(scaled.mean()) if len(scaled) else None,
        "direction": right / calls if calls else None,
        "direction_ci": list(between) if between else None,
        "direction_n": calls,
        "rank_ic": metrics.rank_ic(scores.mean, actual, origins),
        "dm_p": None if name == best else metrics.diebold_mariano(difference, metrics.overlap(days, last)),
        "n": len(rows),
        "dates": len(days),
        "parse_failures": int(scores.failures.sum()),
        "seen": evaluation.seen[name],
    }


def _nrmse(error: Floats, happened: Floats, codes: NDArray[np.str_]) -> float | None:
    """RMSE over the range of the closes, company by company, and the mean of that."""
    found = []
    for code in np.unique(codes):
        own = codes == code
        span = float(np.ptp(happened[own]))
        if span > 0:
            found.append(float(np.sqrt((error[own] ** 2).mean())) / span)
    return float(np.mean(found)) if found else None
