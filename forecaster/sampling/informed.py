"""Baselines that know what the Llama knows: a forecast that knows more must race what knows as much.

``ewma+world`` moves the naive walk by what a rolling ridge expects of the world. ``network`` says quantiles
over 1, 5 and 20 sessions; between those its paths follow a normal walk's ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory
from stockllm.forecaster.encoding.codec import encode
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.outlook.moments import shown_at
from stockllm.forecaster.outlook.network import HORIZONS, LEVELS, Network, fit
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.sampling.baselines import walk_to
from stockllm.forecaster.sampling.sample import Paths, window_rng
from stockllm.market.moments import Moment

Floats = NDArray[np.float64]

#: What ``ewma+world`` computes; the ledger freezes a digest of it.
WORLD_FORMULA = "random walk, EWMA volatility, decay 0.94; first day moved by a rolling ridge on the world"
#: Fewer examples than this teach the network nothing but their noise.
FEWEST = 2_000
_RANKS = np.array([NormalDist().inv_cdf(level) for level in LEVELS])


def _places(outlook: Outlook, windows: Sequence[Window]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of each window's first session ahead; row -1 where the outlook does not have it."""
    rows, columns = np.full(len(windows), -1), np.zeros(len(windows), dtype=np.int64)
    for i, window in enumerate(windows):
        if window.code not in outlook.panel.codes or not window.future_dates:
            continue
        day = window.future_dates[0].toordinal()
        row = int(np.searchsorted(outlook.world.days, day))
        if 0 < row < len(outlook.world.days) and outlook.world.days[row] == day:
            rows[i], columns[i] = row, outlook.panel.column(window.code)
    return rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class WorldWalk:
    """``ewma+world``: the naive walk where the world is unknown."""

    outlook: Outlook
    moment: Moment

    @property
    def hash(self) -> str:
        return hashlib.sha256(WORLD_FORMULA.encode()).hexdigest()

    @property
    def adapter_hash(self) -> str | None:
        return None

    def sample(
        self,
        windows: Sequence[Window],
        *,
        paths: int,
        seed: int,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> list[Paths]:
        rows, columns = _places(self.outlook, windows)
        expected = np.zeros(len(windows))
        known = rows >= 0
        found = self.outlook.expected(rows[known], columns[known], shown_at(self.moment))
        expected[known] = np.nan_to_num(found)
        done: list[Paths] = []
        for window, move in zip(windows, expected.tolist(), strict=True):
            rng = window_rng(window, seed)
            sigma = float(encode(window.history).sigma[-1])
            moves = sigma * rng.standard_normal((paths, len(window.future_dates)))
            moves[:, 0] += sigma * move
            done.append(walk_to(window, moves, rng=rng))
            progress(len(done))
        return done


@dataclass(eq=False)
class NetworkSampler:
    """``network``: trained when it first samples, on the outlook's days up to ``until``, or given."""

    outlook: Outlook
    moment: Moment
    until: int
    kept_out: frozenset[str] = frozenset()
    network: Network | None = None
    adapter_hash: str | None = field(default=None, init=False)

    @property
    def hash(self) -> str:
        return self._network().digest

    def _network(self) -> Network:
        if self.network is None:
            self.network = learnt(self.outlook, self.until, self.kept_out)
        return self.network

    def sample(
        self,
        windows: Sequence[Window],
        *,
        paths: int,
        seed: int,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> list[Paths]:
        """``paths`` futures of every window."""
        done: list[Paths] = []
        for window, quantiles in zip(windows, self.quantiles(windows), strict=True):
            done.append(follow(window, quantiles, paths=paths, seed=seed))
            progress(len(done))
        return done

    def quantiles(self, windows: Sequence[Window]) -> Floats:
        """The network's quantiles for each window, (n, 3, 40); the normal walk's where nothing is known."""
        found = np.tile(_RANKS, (len(windows), len(HORIZONS), 1))
        rows, columns = _places(self.outlook, windows)
        known = rows >= 0
        if known.any():
            inputs = self.outlook.examples(rows[known], columns[known]).inputs(
                np.full(int(known.sum()), shown_at(self.moment))
            )
            found[known] = self._network().quantiles(inputs)
        return found


def informed(
    name: str, outlook: Outlook, moment: Moment, until: date, kept_out: Iterable[str]
) -> WorldWalk | NetworkSampler:
    """The baseline of a name; the network learns on days up to ``until`` and on no company kept out."""
    if name == "ewma+world":
        return WorldWalk(outlook, moment)
    return NetworkSampler(outlook, moment, until.toordinal(), frozenset(kept_out))


def learnt(outlook: Outlook, until: int, kept_out: frozenset[str] = frozenset()) -> Network:
    """A network that has learnt the sessions of an outlook up to ``until`` (an ordinal).

    :raises NotEnoughHistory: where they are too few.
    """
    end = int(np.searchsorted(outlook.panel.days, until, side="right"))
    chosen = [i for i, code in enumerate(outlook.panel.codes) if code not in kept_out]
    rows, columns = outlook.learnable(0, end, chosen)
    if len(rows) < FEWEST:
        raise NotEnoughHistory(
            f"The network needs {FEWEST:,} days to learn from and there are {len(rows):,}: import more "
            "history, or use another baseline such as ewma.",
            zh=f"神經網路需要 {FEWEST:,} 天學習，而只有 {len(rows):,} 天："
            "請匯入更多歷史，或用 ewma 等其他基準。",
        )
    examples = outlook.examples(rows, columns, targets=True)
    for k, ahead in enumerate(HORIZONS):
        examples.targets[rows + ahead > end, k] = np.nan
    return fit(examples)


def follow(window: Window, quantiles: Floats, *, paths: int, seed: int) -> Paths:
    """Candles whose closes have given quantiles, (3, 40), over 1, 5 and 20 sessions."""
    days = np.arange(1, len(window.future_dates) + 1)
    # Between the horizons that it was taught, the quantiles go over into each other by the log of days.
    share = np.interp(np.log(days), np.log(HORIZONS), np.arange(len(HORIZONS)))
    low = np.minimum(share.astype(np.int64), len(HORIZONS) - 2)
    part = (share - low)[:, None]
    lines = quantiles[low] * (1 - part) + quantiles[low + 1] * part
    return along(window, lines, _RANKS, paths=paths, seed=seed)


def along(window: Window, lines: Floats, at: Floats, *, paths: int, seed: int) -> Paths:
    """Candles whose closes have given quantiles on each day.

    :param lines: of the log return since the last close, in units of the volatility of as many days,
        shape (horizon, levels).
    :param at: the normal ranks of the levels, rising, shape (levels,).
    """
    horizon = len(window.future_dates)
    rng = window_rng(window, seed)
    days = np.arange(1, horizon + 1)
    ranks = np.cumsum(rng.standard_normal((paths, horizon)), axis=1) / np.sqrt(days)
    sigma = float(encode(window.history).sigma[-1])
    ends = np.empty((paths, horizon))
    for day in range(horizon):
        ends[:, day] = _at_ranks(ranks[:, day], lines[day], at) * sigma * np.sqrt(day + 1)
    return walk_to(window, np.diff(ends, axis=1, prepend=0.0), rng=rng)


def _at_ranks(ranks: Floats, line: Floats, at: Floats) -> Floats:
    """A quantile line, given at normal ranks ``at``, read at others; straight on beyond its ends."""
    found = np.interp(ranks, at, line)
    for side, (end, inner) in ((ranks < at[0], (0, 1)), (ranks > at[-1], (-1, -2))):
        slope = (line[end] - line[inner]) / (at[end] - at[inner])
        found = np.where(side, line[end] + slope * (ranks - at[end]), found)
    return found
