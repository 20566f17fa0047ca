"""What the world said before each Taiwan session, and how a stock has answered it so far.

Four sources: the night session of TAIFEX's index future, and New York's closes of the Philadelphia
semiconductor index, the S&P 500 and TSMC's ADR. Each is a log move over its own volatility. A stock's
answer is a ridge regression on all days before, forgetting slowly and shrunk to the mean of all stocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import DECAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.data.store import Store
    from stockllm.forecaster.outlook.features import Features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: The night session first, then New York's.
SOURCES = ("TX night", "SOX", "SPX", "TSM")
NIGHT, NEW_YORK = slice(0, 1), slice(1, 4)
_SYMBOLS = SOURCES[1:]
#: Days of a source before its volatility means something.
_SETTLE = 20
#: Calendar days between New York's last close and a session after which the source has stopped.
_STALE = 6
#: A day's memory of the ridge, its pull to zero of the mean stock, and of a stock to the mean.
FORGET, TO_ZERO, TO_MEAN = 0.995, 30.0, 200.0
#: Days before answers mean something.
LEARNT = 60


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """``moves`` (T, 4): each source's move before each session over its volatility; NaN where unknown."""

    days: Ints
    moves: Floats

    def knows(self, part: slice) -> Bools:
        """Whether the night (NIGHT) or all of New York (NEW_YORK) was known before each session, (T,)."""
        return np.asarray(np.isfinite(self.moves[:, part]).all(axis=1), dtype=np.bool_)

    @classmethod
    def nothing(cls, days: Ints) -> World:
        return cls(days, np.full((len(days), len(SOURCES)), np.nan))


def world_of(store: Store, days: Ints, until: datetime | None = None) -> World:
    """The world before each of some sessions, as it was known by ``until``.

    :param days: proleptic ordinals of sessions, ascending; the last ones may lie ahead.
    """
    nights = store.world.nights(until)
    columns = [_scaled(_night_moves(nights.days, nights.change_pct, days))]
    bars = store.world.bars(_SYMBOLS, until)
    for symbol in _SYMBOLS:
        columns.append(_scaled(_new_york_moves(bars[symbol].days, bars[symbol].close, days, until)))
    return World(days, np.stack(columns, axis=1))


def _night_moves(nights: Ints, percent: Floats, days: Ints) -> Floats:
    """The night session dated by each day, as a log move; NaN where there is none."""
    out = np.full(len(days), np.nan)
    if len(nights):
        place = np.minimum(np.searchsorted(nights, days), len(nights) - 1)
        here = nights[place] == days
        out[here] = np.log1p(percent[place[here]] / 100)
    return out


def _new_york_moves(dates: Ints, closes: Floats, days: Ints, until: datetime | None) -> Floats:
    """From New York's last close before the session before to its last close before each session.

    New York's day D ends at 05:00 of D + 1 in Taipei, so before a session of D + 1 its close is known.
    A close that is still to come (a weekday at New York's that was not over by ``until``) is unknown.
    """
    last = np.searchsorted(dates, days, side="left") - 1
    logs = np.log(closes)
    level = (
        np.where(last >= 0, logs[np.maximum(last, 0)], np.nan) if len(dates) else np.full(len(days), np.nan)
    )
    moves = np.diff(level, prepend=np.nan)
    if len(dates):
        old = days - dates[np.maximum(last, 0)] > _STALE
        moves[old] = np.nan
        # A source that has just come back jumps over its gap.
        moves[1:][old[:-1]] = np.nan
        # Behind the last close, a holiday of New York's and a source that has stopped look alike.
        for row in range(len(days) - 1, -1, -1):
            if last_weekday_before(int(days[row])).toordinal() <= dates[-1]:
                break
            moves[row] = np.nan
    if until is not None:
        from stockllm.market.moments import new_york_close

        for row in range(len(days) - 1, -1, -1):
            if new_york_close(last_weekday_before(int(days[row]))) <= until:
                break
            moves[row] = np.nan
    return moves


def last_weekday_before(day: int) -> date:
    """The last Monday to Friday before a day: New York's last session, its own holidays apart."""
    before = date.fromordinal(day) - timedelta(days=1)
    return before - timedelta(days=max(0, before.weekday() - 4))


def _scaled(moves: Floats) -> Floats:
    """Moves over their exponentially weighted volatility, which each day knows from the days before."""
    out = np.full(len(moves), np.nan)
    seen: list[float] = []
    variance = 0.0
    for t, move in enumerate(moves.tolist()):
        if np.isnan(move):
            continue
        if len(seen) < _SETTLE:
            seen.append(move * move)
            variance = float(np.mean(seen))
            continue
        out[t] = move / max(variance, 1e-10) ** 0.5
        variance = DECAY * variance + (1 - DECAY) * min(move * move, 25 * variance)
    bounded: Floats = np.clip(out, -6, 6)
    return bounded


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What each stock was expected to make of the world before each session, in its own sigmas.

    All (T, N), NaN where the sources are unknown: by ``night`` alone, ``new_york`` alone, and ``both``.
    """

    night: Floats
    new_york: Floats
    both: Floats


def answers(world: World, found: Features) -> Answers:
    """The expected moves of all stocks by the sources known before each session.

    ``found`` may have fewer rows than the world has days: those after its end are forecast.
    """
    night = expected(world.moves[:, NIGHT], found)
    new_york = expected(world.moves[:, NEW_YORK], found)
    return Answers(night, new_york, expected(world.moves, found))


def expected(sources: Floats, found: Features) -> Floats:
    """The rolling ridge on some sources, shape (T, N)."""
    rows, stocks = len(sources), found.scaled.shape[1]
    many = sources.shape[1]
    known: Bools = np.asarray(np.isfinite(sources).all(axis=1), dtype=np.bool_)
    given = np.where(known[:, None], sources, 0.0)
    own_xx, own_xy = np.eye(many) * 1e-9, np.zeros((many, stocks))
    mean_xx, mean_xy = np.zeros((many, many)), np.zeros(many)
    learnt = 0.0
    out = np.full((rows, stocks), np.nan)
    for t in range(rows):
        if not known[t]:
            continue
        if learnt > LEARNT:
            mean = np.linalg.solve(mean_xx + TO_ZERO * np.eye(many), mean_xy)
            slopes = np.linalg.solve(own_xx + TO_MEAN * np.eye(many), own_xy + TO_MEAN * mean[:, None])
            out[t] = given[t] @ slopes
        if t < len(found.scaled) and found.traded[t].any():
            traded, moves = found.traded[t], np.clip(found.scaled[t], -6, 6)
            average = float(moves[traded].mean())
            square = np.outer(given[t], given[t])
            own_xx = FORGET * own_xx + square
            # A stock that did not trade is taken to have moved with the others.
            own_xy = FORGET * own_xy + given[t][:, None] * np.where(traded, moves, average)
            mean_xx = FORGET * mean_xx + square
            mean_xy = FORGET * mean_xy + given[t] * average
            learnt = FORGET * learnt + 1
    return out


def symbols() -> Sequence[str]:
    """New York's sources, as the store names them."""
    return _SYMBOLS
