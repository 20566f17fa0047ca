"""All that is known before a day, brought together: one gate for every moment.

Features come from bars and flows up to the evening, the world from what `stockllm.data.stores.known` lets
through; a moment chooses which sources of the coming session are shown. Nothing else reaches a prompt
or a baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.words import HEADS, WORDS, Words, signed, widths
from stockllm.forecaster.outlook.features import OWN, Features, bounded, features
from stockllm.forecaster.outlook.network import (
    BOTH,
    EVENING,
    HORIZONS,
    QUANTILES,
    Examples,
    Network,
)
from stockllm.forecaster.outlook.network import NEW_YORK as NEW_YORK_ALONE
from stockllm.forecaster.outlook.network import NIGHT as NIGHT_ALONE
from stockllm.forecaster.outlook.panel import Panel
from stockllm.forecaster.outlook.world import NEW_YORK, NIGHT, Answers, World, answers

if TYPE_CHECKING:
    from stockllm.forecaster.encoding.windows import Window

Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Ranks whose distance is 2.563 normal sigmas: the 10th and 90th of a hundred.
_LOW, _HIGH = 3.1, 35.9
_NORMAL = 2.5631


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is known before each session of a panel, and before the sessions of ``world`` behind its end.

    ``ready`` (T, N) says whether a stock had traded long enough by each day to be spoken about.
    """

    panel: Panel
    found: Features
    world: World
    answers: Answers
    ready: NDArray[np.bool_]

    @classmethod
    def of(cls, panel: Panel, world: World | None = None) -> Outlook:
        """The outlook of a panel. ``world`` has the panel's days, and may have later ones."""
        found = features(panel)
        world = World.nothing(panel.days) if world is None else world
        ready = np.cumsum(found.traded, axis=0) > WARM_UP
        return cls(panel, found, world, answers(world, found), ready)

    def examples(self, rows: Ints, columns: Ints, *, targets: bool = False) -> Examples:
        """What is known before sessions ``rows`` (n,), none of them 0, of stocks ``columns`` (n,)."""
        before = np.minimum(rows, len(self.panel.days)) - 1
        table = self.found.table[before, columns]
        ahead = rows >= len(self.panel.days)
        if ahead.any():  # the last day's table cannot know when the next session is
            gaps = self.world.days[rows[ahead]] - self.panel.days[-1]
            table[ahead, OWN] = bounded(np.log(gaps), 2.0)
        expected = np.stack(
            [getattr(self.answers, name)[rows, columns] for name in ("night", "new_york", "both")], axis=1
        )
        # An answer that is not there yet, as a source was too young, is no knowledge.
        night = self.world.knows(NIGHT)[rows] & np.isfinite(expected[:, 0])
        new_york = self.world.knows(NEW_YORK)[rows] & np.isfinite(expected[:, 1])
        wanted = self._targets(rows, columns) if targets else np.full((len(rows), len(HORIZONS)), np.nan)
        return Examples(
            table,
            np.nan_to_num(expected).astype(np.float32),
            self.world.moves[rows].astype(np.float32),
            night,
            new_york,
            wanted.astype(np.float32),
        )

    def _targets(self, rows: Ints, columns: Ints) -> NDArray[np.float64]:
        closes = np.where(self.found.traded, self.panel.moves[..., 3], 0.0).astype(np.float64)
        total = np.concatenate((np.zeros((1, closes.shape[1])), np.cumsum(closes, axis=0)))
        out = np.full((len(rows), len(HORIZONS)), np.nan)
        for k, days in enumerate(HORIZONS):
            there = rows + days <= len(closes)
            at, of = rows[there], columns[there]
            out[there, k] = (total[at + days, of] - total[at, of]) / self.found.sigma[at, of] / days**0.5
        return out

    def learnable(self, first: int, end: int, columns: Sequence[int] | None = None) -> tuple[Ints, Ints]:
        """(rows, columns) of all examples with sessions in first..end - 1 whose stock has traded before."""
        traded = self.found.traded
        ready = self.ready
        first = max(first, 1)
        usable = traded[first:end] & traded[first - 1 : end - 1] & ready[first - 1 : end - 1]
        if columns is not None:
            chosen = np.zeros(traded.shape[1], dtype=np.bool_)
            chosen[list(columns)] = True
            usable &= chosen
        rows, cols = np.nonzero(usable)
        return rows + first, cols

    def expected(self, rows: Ints, columns: Ints, shown: int) -> NDArray[np.float64]:
        """What the ridge expects by the sources shown, (n,) sigmas; NaN where none is known."""
        found = self.examples(rows, columns)
        if shown == EVENING:
            return np.full(len(rows), np.nan)
        night = found.night & (shown != NEW_YORK_ALONE)
        new_york = found.new_york & (shown != NIGHT_ALONE)
        both = np.where(night, found.expected[:, 0], np.where(new_york, found.expected[:, 1], np.nan))
        return np.where(night & new_york, found.expected[:, 2], both).astype(np.float64)

    def summary(self, network: Network, rows: Ints, columns: Ints, shown: int) -> NDArray[np.float64]:
        """Place and width of the network's distributions, (n, 3, 2): sigmas, and shares of sigma."""
        given = self.examples(rows, columns).inputs(np.full(len(rows), shown))
        return placed(network.quantiles(given))

    def words(self, network: Network | None, windows: Sequence[Window], *, shown: int = BOTH) -> list[Words]:
        """The words of some windows.

        :param network: says place and width; None leaves them unknown.
        :param shown: which sources of each window's first day ahead are shown: EVENING, BOTH and so on.
            Of past days all is shown.
        """
        at: dict[str, list[int]] = {}
        for i, window in enumerate(windows):
            at.setdefault(window.code, []).append(i)
        found: dict[int, Words] = {}
        for code, places in at.items():
            if code not in self.panel.codes:
                found |= {i: Words.unknown(windows[i].past) for i in places}
                continue
            column = self.panel.column(code)
            days = [[day.toordinal() for day in windows[i].days[: windows[i].past + 1]] for i in places]
            wanted = np.unique(np.concatenate(days))
            lines, _ = self._on(network, wanted, column, BOTH)
            firsts = np.array([day[-1] for day in days])
            ahead, heads = self._on(network, firsts, column, shown)
            for k, i in enumerate(places):
                mine = lines[np.searchsorted(wanted, days[k])]
                mine[-1] = ahead[k]
                found[i] = Words(mine, heads[k])
        return [found[i] for i in range(len(windows))]

    def _on(self, network: Network | None, wanted: Ints, column: int, shown: int) -> tuple[Ints, Ints]:
        """`letters` of one stock on some days (ordinals); unknown on days that are no sessions here."""
        lines = np.full((len(wanted), WORDS), -1)
        heads = np.full((len(wanted), 2 * len(HEADS)), -1)
        rows = np.searchsorted(self.world.days, wanted)
        here = (rows > 0) & (rows < len(self.world.days))
        here[here] = self.world.days[rows[here]] == wanted[here]
        of = np.full(int(here.sum()), column)
        lines[here], heads[here] = self.letters(network, rows[here], of, shown)
        return lines, heads

    def letters(self, network: Network | None, rows: Ints, columns: Ints, shown: int) -> tuple[Ints, Ints]:
        """Letters before some sessions: (n, WORDS), and those of the head, (n, 4)."""
        lines = np.full((len(rows), WORDS), -1)
        heads = np.full((len(rows), 2 * len(HEADS)), -1)
        if not len(rows):
            return lines, heads
        market = self.found.market[np.minimum(rows, len(self.panel.days)) - 1]
        lines[:, 0] = signed(market)
        lines[:, 1] = signed(self.expected(rows, columns, shown))
        if network is not None:
            ready = self.ready[np.minimum(rows, len(self.panel.days)) - 1, columns]
            found = self.summary(network, rows, columns, shown)
            found[~ready] = np.nan
            lines[:, 2], lines[:, 3] = signed(found[:, 0, 0]), widths(found[:, 0, 1])
            heads[:, 0::2], heads[:, 1::2] = signed(found[:, 1:, 0]), widths(found[:, 1:, 1])
        return lines, heads


def placed(quantiles: Floats32) -> NDArray[np.float64]:
    """Median and width of quantiles (..., 40) as (..., 2); a width of 1 is the normal walk's."""
    middle = (quantiles[..., QUANTILES // 2 - 1] + quantiles[..., QUANTILES // 2]) / 2

    def rank(place: float) -> NDArray[np.floating]:
        low = int(place)
        share = place - low
        found: NDArray[np.floating] = quantiles[..., low] * (1 - share) + quantiles[..., low + 1] * share
        return found

    width = (rank(_HIGH) - rank(_LOW)) / _NORMAL
    return np.stack((middle, width), axis=-1).astype(np.float64)
