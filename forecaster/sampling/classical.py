"""The textbook baselines: last price, drift, historical bootstrap, AutoETS and AutoARIMA.

All of them work on log moves from each day's reference price, so that an ex-date or a split is no
loss, and look at the past year alone. Candles are put around their closes as the naive baseline
does it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.sampling.baselines import YEAR, Floats, walk_to
from stockllm.forecaster.sampling.sample import Paths, window_rng

#: (log moves of the past year, paths, horizon, random numbers) -> log moves (paths, horizon)
Futures = Callable[[Floats, int, int, np.random.Generator], Floats]

#: Fewer days than this make no model, only a fit to noise; such a stock walks with its drift.
FEWEST_TO_FIT = 40


def past_moves(series: BarSeries) -> Floats:
    """Log moves from reference price to close, the last YEAR of them, shape (days,).

    The first day of a series is left out where there are others: its reference is its own open.
    """
    moves: Floats = np.log(series.close / series.reference)[-YEAR:]
    return moves[1:] if len(series) <= YEAR and len(moves) > 1 else moves


def _last(_moves: Floats, paths: int, horizon: int, _rng: np.random.Generator) -> Floats:
    return np.zeros((paths, horizon))


def _drift(moves: Floats, paths: int, horizon: int, rng: np.random.Generator) -> Floats:
    spread = float(moves.std(ddof=1)) if len(moves) > 1 else 0.0
    return float(moves.mean()) + spread * rng.standard_normal((paths, horizon))


def _bootstrap(moves: Floats, paths: int, horizon: int, rng: np.random.Generator) -> Floats:
    return moves[rng.integers(0, len(moves), (paths, horizon))]


def _ets(moves: Floats, paths: int, horizon: int, rng: np.random.Generator) -> Floats:
    """Additive exponential smoothing of the log price, its order chosen by AICc.

    Multiplicative errors are left out: a log price may pass through zero, where they mean nothing.
    """
    from statsforecast.models import AutoETS

    def noise(fitted: Any) -> Floats:
        # Hyndman et al. 2008, ETS(A,A,N) and (A,Ad,N), without their mean. statsforecast's own
        # simulation (2.1) takes an undamped trend for one damped to nothing, so it is not used.
        alpha, beta, _, phi = np.nan_to_num(fitted["par"][:4])
        if np.isnan(fitted["par"][3]):
            phi = 1.0
        errors = rng.standard_normal((horizon, paths)) * np.sqrt(fitted["sigma2"])
        level, trend = np.zeros(paths), np.zeros(paths)
        out = np.empty((paths, horizon))
        for day, error in enumerate(errors):
            out[:, day] = level + phi * trend + error
            level = level + phi * trend + alpha * error
            trend = phi * trend + beta * error
        return out

    return _fitted(AutoETS(season_length=1, model="AZN"), noise, moves, paths, horizon, rng)


def _arima(moves: Floats, paths: int, horizon: int, rng: np.random.Generator) -> Floats:
    """ARIMA of the log price, its order chosen by KPSS tests and AICc (Hyndman and Khandakar 2008)."""
    from statsforecast.models import AutoARIMA

    def noise(fitted: Any) -> Floats:
        # The fitted state space with its own start's uncertainty, which statsforecast's simulation
        # (2.1) leaves out; a path at a time in Python it would also take most of an evaluation.
        z, turn, spread, start = (np.asarray(fitted["model"][name]) for name in ("Z", "T", "V", "P"))
        scale = np.sqrt(fitted["sigma2"])
        state = rng.standard_normal((paths, len(z))) @ _root(start) * scale
        shocks = _root(spread) * scale
        out = np.empty((paths, horizon))
        for day in range(horizon):
            state = state @ turn.T + rng.standard_normal((paths, len(z))) @ shocks
            out[:, day] = state @ z
        return out

    # As R's auto.arima does for more than 150 values: orders are compared by conditional sums of
    # squares, the chosen one is fitted in full. Half the time.
    model = AutoARIMA(season_length=1, seasonal=False, approximation=len(moves) > 150)
    return _fitted(model, noise, moves, paths, horizon, rng)


def _root(covariance: Floats) -> Floats:
    """R with R'R the covariance, which may be singular."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root: Floats = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return root


def _fitted(
    model: Any,
    noise: Callable[[Any], Floats],
    moves: Floats,
    paths: int,
    horizon: int,
    rng: np.random.Generator,
) -> Floats:
    """Futures of the cumulated moves from a model fitted to them, as moves: its mean, and noise on it."""
    if len(moves) < FEWEST_TO_FIT or float(moves.std()) == 0.0:
        return _drift(moves, paths, horizon, rng)
    level = np.cumsum(moves)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model.fit(level)
        mean = np.asarray(model.predict(horizon)["mean"], dtype=np.float64)
        futures: Floats = mean + noise(model.model_)
    if not np.isfinite(futures).all():
        return _drift(moves, paths, horizon, rng)
    return np.diff(futures, axis=1, prepend=level[-1])


def _sampler(futures: Futures) -> Callable[..., list[Paths]]:
    def sample(windows: Sequence[Window], *, paths: int, seed: int) -> list[Paths]:
        done = []
        for window in windows:
            rng = window_rng(window, seed)
            moves = futures(past_moves(window.history), paths, len(window.future_dates), rng)
            done.append(walk_to(window, moves, rng=rng))
        return done

    return sample


#: Name -> (what it computes, in words, which the ledger freezes a digest of; the sampler).
CLASSICAL: dict[str, tuple[str, Callable[..., list[Paths]]]] = {
    "last": ("the last price stays", _sampler(_last)),
    "drift": (f"random walk, mean and standard deviation of {YEAR} days", _sampler(_drift)),
    "bootstrap": (f"random walk, moves drawn from {YEAR} days", _sampler(_bootstrap)),
    "ets": (f"AutoETS, additive, on the log price of {YEAR} days, simulated", _sampler(_ets)),
    "arima": (f"AutoARIMA on the log price of {YEAR} days, simulated", _sampler(_arima)),
}
