"""Many stocks' days side by side: one row a market day, one column a stock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import log_moves

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries
    from stockllm.data.store import Store
    from stockllm.data.stores.flows import Figures

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]

#: Moves past this are no daily moves: a limit is 10%, and first days or restarts have none.
WIDEST = 0.30
#: Sessions before the first one asked about that features need: the slowest of them forgets in that time.
MEMORY = 500


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The days of many stocks.

    ``days`` (T,) proleptic ordinals, ascending; ``codes`` N names, ascending. ``moves`` (T, N, 4) are log
    moves of open, high, low and close from the day's reference price, ``volume`` (T, N) shares and
    ``flows`` (T, N, 3) the net shares of foreign investors, trusts and dealers; NaN where a stock did
    not trade or nothing is known.
    """

    days: Ints
    codes: tuple[str, ...]
    moves: Floats32
    volume: Floats32
    flows: Floats32

    @classmethod
    def of(cls, series: Sequence[BarSeries], flows: Figures | None = None) -> Panel:
        """The panel of some series, on the days on which any of them traded."""
        chosen = sorted((s for s in series if len(s)), key=lambda s: s.code)
        codes = tuple(s.code for s in chosen)
        ordinals = [np.fromiter((d.toordinal() for d in s.dates), np.int64, len(s)) for s in chosen]
        days = np.unique(np.concatenate(ordinals)) if chosen else np.zeros(0, dtype=np.int64)
        shape = (len(days), len(codes))
        moves = np.full((*shape, 4), np.nan, dtype=np.float32)
        volume = np.full(shape, np.nan, dtype=np.float32)
        nets = np.full((*shape, 3), np.nan, dtype=np.float32)
        for n, (one, when) in enumerate(zip(chosen, ordinals, strict=True)):
            rows = np.searchsorted(days, when)
            moves[rows, n] = np.clip(log_moves(one), -WIDEST, WIDEST)
            volume[rows, n] = one.volume
            if flows is not None:
                part = flows.part(one.code)
                place = np.searchsorted(days, flows.days[part])
                inside = (place < len(days)) & (days[np.minimum(place, len(days) - 1)] == flows.days[part])
                for k, name in enumerate(("foreign_net", "trust_net", "dealer_net")):
                    nets[place[inside], n, k] = flows[name][part][inside]
        return cls(days, codes, moves, volume, nets)

    @property
    def traded(self) -> NDArray[np.bool_]:
        """Whether a stock traded on a day, shape (T, N)."""
        found: NDArray[np.bool_] = np.isfinite(self.moves[..., 3])
        return found

    def row(self, day: date) -> int:
        """The row of a day; of the last one before it where it is none."""
        return int(np.searchsorted(self.days, day.toordinal(), side="right")) - 1

    def column(self, code: str) -> int:
        """The column of a stock. KeyError where it has none."""
        place = int(np.searchsorted(np.array(self.codes), code)) if self.codes else 0
        if place == len(self.codes) or self.codes[place] != code:
            raise KeyError(code)
        return place


def panel_of(
    store: Store,
    end: date | None = None,
    *,
    codes: Sequence[str] | None = None,
    memory: int | None = None,
    until: datetime | None = None,
) -> Panel:
    """The panel of a store's stocks up to and including ``end``.

    :param codes: the stocks; all that have prices where None.
    :param memory: sessions before ``end`` that are enough; all where None.
    :param until: what the institutions bought is read as it was known then; where None, as it was first
        published on ``end``.
    """
    names = sorted({*store.bars.codes(), *store.adjusted.codes()}) if codes is None else list(codes)
    last = max(store.market_days(), default=None) if end is None else end
    # Of a year's days two thirds are sessions.
    since = None if memory is None or last is None else last - timedelta(days=round(1.5 * memory))
    series = [store.long_series(code, end, since) for code in names]
    from stockllm.market.moments import flows_known

    if until is None and end is not None:
        until = flows_known(end)
    flows = store.flows.all(until, names)
    return Panel.of(series, flows)
