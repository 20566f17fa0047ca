"""What is known before a day beside the stock's own candles, as letters.

Letters run from ``a`` to ``y`` with ``m`` in the middle; ``?`` is unknown. Each is one token of Llama-3's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LETTERS = "abcdefghijklmnopqrstuvwxy"
UNKNOWN = "?"
MIDDLE = 12
#: The move, in sigmas, that the outermost letters stand for; towards the middle letters grow finer.
FARTHEST = 2.25
#: Letters a doubling of width moves.
PER_OCTAVE = 9.0
#: Words before each day: what the market did the day before, what the world says of the stock, and
#: where and how wide all that is known puts the day.
WORDS = 4
#: The horizons, in sessions, whose place and width stand in a prompt's head.
HEADS = (5, 20)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of a window: numbers of letters, -1 for unknown.

    ``lines`` (past + 1, WORDS) market, world, place and width of each past day and of the first day
    ahead; ``heads`` (4,) place and width of the moves over the horizons of HEADS.
    """

    lines: Ints
    heads: Ints

    @classmethod
    def unknown(cls, past: int) -> Words:
        """The words of a window about which nothing is known."""
        return cls(np.full((past + 1, WORDS), -1), np.full(2 * len(HEADS), -1))


def letter(number: int) -> str:
    return LETTERS[number] if number >= 0 else UNKNOWN


def signed(values: NDArray[np.floating]) -> Ints:
    """Numbers of the letters of moves in sigmas; NaN is unknown."""
    size = np.sqrt(np.minimum(np.abs(np.nan_to_num(values)), FARTHEST) / FARTHEST)
    found = MIDDLE + np.rint(MIDDLE * np.sign(np.nan_to_num(values)) * size)
    return np.where(np.isnan(values), -1, found).astype(np.int64)


def widths(values: NDArray[np.floating]) -> Ints:
    """Numbers of the letters of widths, as shares of the stock's own sigma; NaN is unknown."""
    octaves = np.log2(np.maximum(np.nan_to_num(values, nan=1.0), 1e-3))
    found = np.clip(MIDDLE + np.rint(PER_OCTAVE * octaves), 0, len(LETTERS) - 1)
    return np.where(np.isnan(values), -1, found).astype(np.int64)
