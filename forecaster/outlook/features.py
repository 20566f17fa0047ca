"""What the evening knows of a stock's next day: its own days, the institutions, and the whole market.

Every figure of row t is known when the session of day t is over. Figures are bounded smoothly, for a
crash without precedent must not carry a network to where it never was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import DECAY, SIGMA_CEILING, SIGMA_FLOOR, WARM_UP

if TYPE_CHECKING:
    from stockllm.forecaster.outlook.panel import Panel

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Log volatility, three ratios of it, last move and its size, moves of 5 and 20 days, volume, close and
#: body within the range, days to the next session, six of the whole market, lock at the limit (own; up
#: and down in the market), net buying of three institutions on the day and over five, and if it is known.
OWN, MARKET, FLOWS = 12, 8, 7
WIDTH = OWN + MARKET + FLOWS
#: The daily limit widened from 7% to 10% on 2015-06-01.
LIMIT_WIDENED = 735_750
#: Fewer stocks than this are no market.
FEWEST = 20


def bounded(values: NDArray[np.floating], most: float) -> NDArray[np.floating]:
    """``values`` bent smoothly into -most..most."""
    bent: NDArray[np.floating] = most * np.tanh(values / most)
    return bent


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of a panel.

    ``table`` (T, N, WIDTH) float32. ``sigma`` (T + 1, N): row t was known before day t. ``scaled`` (T, N)
    is each day's close-to-close log move over the sigma known before it, 0 where the stock did not
    trade; ``market`` (T,) its mean over the stocks that traded, NaN where they were too few.
    """

    table: Floats32
    sigma: Floats
    scaled: Floats
    market: Floats
    traded: Bools


def averages(values: Floats, traded: Bools, decay: float, first: Floats) -> Floats:
    """Exponentially weighted means of columns over the days they traded, shape (T + 1, N)."""
    out = np.empty((len(values) + 1, values.shape[1]))
    state = out[0] = first
    for t in range(len(values)):
        state = np.where(traded[t], decay * state + (1 - decay) * values[t], state)
        out[t + 1] = state
    return out


def _held(values: Floats, traded: Bools) -> Floats:
    """The last known value of each column."""
    rows = np.where(traded, np.arange(len(values))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    kept: Floats = np.take_along_axis(np.where(traded, values, 0.0), rows, axis=0)
    return kept


def _sums(values: Floats, days: int) -> Floats:
    """Sums over the last ``days`` rows."""
    total = np.cumsum(np.concatenate((np.zeros((1, *values.shape[1:])), values)), axis=0)
    out = total[1:].copy()
    out[days:] -= total[1:-days]
    return out


def features(panel: Panel) -> Features:
    """The features of every stock on every day of a panel."""
    traded = panel.traded
    days, stocks = traded.shape
    moves = np.where(traded[..., None], panel.moves, 0.0).astype(np.float64)
    close = moves[..., 3]
    count = np.cumsum(traded, axis=0)
    warm = (count >= 2) & (count <= WARM_UP + 1) & traded

    def start(values: Floats, fallback: float) -> Floats:
        many = warm.sum(axis=0)
        return np.where(many > 0, (values * warm).sum(axis=0) / np.maximum(many, 1), fallback)

    squares = np.clip(close, -0.12, 0.12) ** 2
    usual_square = start(squares, 0.02**2)
    # The first day's move is measured from its own open and says nothing.
    squares = np.where((count == 1) & traded, usual_square, squares)
    sigma = np.clip(np.sqrt(averages(squares, traded, DECAY, usual_square)), SIGMA_FLOOR, SIGMA_CEILING)
    slow, fast = (np.sqrt(averages(squares, traded, decay, usual_square)) for decay in (0.98, 0.80))
    span = moves[..., 1] - moves[..., 2]
    parkinson = span**2 / (4 * np.log(2))
    by_range = np.sqrt(averages(parkinson, traded, DECAY, start(parkinson, 4e-4))) + 1e-4
    octaves = np.where(traded, np.log2(np.maximum(np.nan_to_num(panel.volume), 1.0)), 0.0).astype(np.float64)
    usual = averages(octaves, traded, DECAY, start(octaves, 0.0))
    before, after = sigma[:-1], sigma[1:]
    scaled = np.where(traded, close / before, 0.0)
    wild = np.clip(scaled, -6, 6)
    within = np.where(span > 1e-9, (close - moves[..., 2]) / np.maximum(span, 1e-9) * 2 - 1, 0.0)
    limit = np.where(panel.days < LIMIT_WIDENED, 0.07, 0.10)[:, None]
    up = (close > limit * 0.95) & (close >= moves[..., 1] - 1e-4) & traded
    down = (close < -limit * 0.97) & (close <= moves[..., 2] + 1e-4) & traded
    last = _held(wild, traded)
    own = [
        np.log(after / 0.02),
        np.log(slow[1:] / after), np.log(fast[1:] / after), np.log(by_range[1:] / after),
        last, np.abs(last), np.clip(_sums(close, 5) / after / 5**0.5, -5, 5),
        np.clip(_sums(close, 20) / after / 20**0.5, -5, 5),
        _held(np.clip(octaves - usual[:-1], -4, 4), traded), _held(within, traded),
        np.clip(_held((close - moves[..., 0]) / before, traded), -5, 5), up.astype(np.float64) - down,
    ]  # fmt: skip
    whole, mean = _market(panel, close, wild, fast[1:] / after, up, down, traded)
    table = np.empty((days, stocks, WIDTH), dtype=np.float32)
    table[..., :OWN] = bounded(np.stack(own, axis=-1), 3.0)
    table[..., OWN : OWN + MARKET] = bounded(whole, 2.0)[:, None]
    table[..., OWN + MARKET :] = _flows(panel, usual)
    return Features(table, sigma, scaled, mean, traded)


def _market(
    panel: Panel, close: Floats, wild: Floats, heat: Floats, up: Bools, down: Bools, traded: Bools
) -> tuple[Floats, Floats]:
    """Figures of the whole market, (T, MARKET), and its mean scaled move, (T,)."""
    many = traded.sum(axis=0 if traded.ndim == 1 else 1)
    enough = many >= FEWEST
    each = np.maximum(many, 1)

    def mean(values: Floats | Bools) -> Floats:
        return np.where(enough, np.where(traded, values, 0.0).sum(axis=1) / each, 0.0)

    gaps = np.ones(len(panel.days))
    gaps[:-1] = np.diff(panel.days)
    move = np.clip(close, -0.11, 0.11)
    size = mean(np.abs(move))
    normal = np.empty(len(size))
    state = size[enough][:20].mean() if enough.any() else 0.0
    for t, value in enumerate(size.tolist()):
        state = 0.98 * state + 0.02 * value if enough[t] else state
        normal[t] = state
    average = mean(move)
    own = mean(wild)
    columns = [
        np.log(gaps), own, np.where(enough, (size - normal) / 0.01, 0.0), mean(0.5 * np.log(heat)) * 4,
        _sums(average, 5) / 0.03, _sums(average, 20) / 0.06,
        np.sqrt(mean(up)) * 3, np.sqrt(mean(down)) * 3,
    ]  # fmt: skip
    return np.stack(columns, axis=1), np.where(enough, own, np.nan)


def _flows(panel: Panel, usual: Floats) -> Floats:
    """Net buying over the usual volume, of the day and of five, and whether it is known; (T, N, FLOWS)."""
    share = panel.flows / np.maximum(np.exp2(usual[1:]), 1.0)[..., None]
    known = np.asarray(np.isfinite(share).all(axis=-1), dtype=np.float64)
    share = np.clip(np.nan_to_num(share), -1, 1)
    five = _sums(share, 5) / 5
    parts: list[Floats] = [bounded(share * 5, 2.0), bounded(five * 5, 2.0), known[..., None]]  # type: ignore[list-item]
    return np.concatenate(parts, axis=-1)
