"""How far back a forecast reads and how far ahead it goes, and the hash of what it read."""

from __future__ import annotations

import hashlib

import numpy as np

from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.words import Words

DEFAULT_PATHS = 99
DEFAULT_SEED = 3407
LONGEST_HORIZON = 60
#: Rows a prompt shows, where the company has as many; the reference's text is ten times as long.
LOOK_BACK: dict[PromptStyle, int] = {"compact": 32, "reference": 20}
SHORTEST_LOOK_BACK = WARM_UP
#: Days that a forecast reads at all: what its volatility remembers, and a year for the baselines, twice over.
HISTORY = 500


def data_hash(series: BarSeries) -> str:
    """SHA-256 over the bars a forecast was made from."""
    digest = hashlib.sha256(",".join(day.isoformat() for day in series.dates).encode())
    for column in (series.open, series.high, series.low, series.close, series.volume, series.reference):
        digest.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
    return digest.hexdigest()


def read_hash(series: BarSeries, words: Words | None, opened: int | None) -> str:
    """SHA-256 over all that a forecast read: its bars, its words, its open in hundredths of a TWD."""
    bars = data_hash(series)
    if words is None and opened is None:
        return bars
    found = hashlib.sha256(bars.encode())
    if words is not None:
        found.update(np.ascontiguousarray(words.lines, dtype="<i8").tobytes())
        found.update(np.ascontiguousarray(words.heads, dtype="<i8").tobytes())
    found.update(str(opened).encode())
    return found.hexdigest()
