"""What became of the ledger's paths: each sampled future held against the days that came.

Distances are counted in usual moves: the log return of a path's close on day k, less what happened, over
the stock's daily volatility known on the evening times the root of k, and of all days the root mean
square. With one day that is the CRPS of a point, in units of the volatility.

The energy score of a forecast, ``E d(X, y) - E d(X, X') / 2``, is what CRPS becomes for several days. Its
derivative by the probability of a path x is ``d(x, y) - E d(x, X')``: the *contribution* of the path. A
path far from what came costs less where it stands alone, because a forecast must be as wide as the world
is. Rewarding a path by its negative contribution follows the score's own gradient; rewarding nearness
alone would only teach the model to be narrow.

Nothing looks ahead: an outcome is used only where every day of it is scored and lies at or before
``until``, and no bar after that day is read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory, StockllmError
from stockllm.data.records import BarSeries, PathForecast
from stockllm.forecaster.encoding.codec import encode
from stockllm.forecaster.encoding.limits import HISTORY, LOOK_BACK, SHORTEST_LOOK_BACK, read_hash
from stockllm.forecaster.encoding.prompts import NEWEST, CompactVersion, Example, training_messages
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.models.cards import read_card
from stockllm.forecaster.models.registry import compact_version, network_of, resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stockllm.data.store import Store
    from stockllm.data.stores.ledger import LedgerRow
    from stockllm.forecaster.alignment.options import AlignOptions
    from stockllm.forecaster.encoding.words import Words
    from stockllm.forecaster.models.registry import ModelRef
    from stockllm.forecaster.outlook.network import Network
    from stockllm.forecaster.outlook.outlook import Outlook

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A forecast whose days have come. ``window`` ends on its evening and has no future; its words are
    those that the model to be aligned is asked with.

    ``returns`` (paths, days) are log returns since the evening's close, ``actual`` (days,) what came,
    ``usual`` (days,) the size of a usual move until each day.
    """

    id: int
    forecast: PathForecast
    window: Window
    returns: Floats
    actual: Floats
    usual: Floats
    seen: bool
    #: The version of the compact style that the model to be aligned speaks.
    compact: CompactVersion = NEWEST

    @property
    def distances(self) -> Floats:
        """Of every path from what came, (paths,)."""
        return distance(self.returns, self.actual, self.usual)

    @property
    def contributions(self) -> Floats:
        """Of every path to the fair energy score, (paths,); the lower, the better."""
        return contributions(self.returns, self.actual, self.usual)


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with a better and a worse answer, and by how much the worse one is worse.

    ``origin`` is the evening it was asked on, ``last`` the last day that told which is better.
    """

    forecast: int
    code: str
    origin: date
    last: date
    chosen: Example
    rejected: Example
    margin: float


@dataclass(slots=True)
class Outcomes:
    """The outcomes that may be learned from, in the ledger's order, and why others may not."""

    found: list[Outcome] = field(default_factory=list)
    entries: int = 0
    waiting: int = 0
    changed: int = 0
    single: int = 0

    @property
    def last_day(self) -> date:
        """The last day that any outcome reads."""
        return max(outcome.forecast.dates[-1] for outcome in self.found)


def distance(returns: Floats, actual: Floats, usual: Floats) -> Floats:
    """Root mean square over the days of (returns - actual) / usual; the last axis is the days."""
    apart: Floats = np.sqrt((((returns - actual) / usual) ** 2).mean(axis=-1))
    return apart


def contributions(returns: Floats, actual: Floats, usual: Floats) -> Floats:
    """``d(x_i, y)`` less the mean of ``d(x_i, x_j)`` over the other paths, (paths,)."""
    paths = len(returns)
    if paths < 2:
        return distance(returns, actual, usual)
    between = distance(returns[:, None], returns[None], usual)
    own: Floats = distance(returns, actual, usual) - between.sum(axis=1) / (paths - 1)
    return own


def gather(store: Store, options: AlignOptions, ref: ModelRef) -> Outcomes:
    """Every forecast of the ledger whose days have come by ``options.until``.

    A forecast is left out while a day of it is unscored, where the bars it was made from, or the words
    beside them, are others now (what it asked cannot be asked again), and where it has one path alone.

    :raises NotEnoughHistory: where none is left.
    """
    until = options.until or store.bars.last_date() or date.min
    model = ref.name if ref.adapter is None else f"{ref.name}+{ref.adapter}"
    days = [day.score for day in store.scores.list(None, model if options.entries == "same" else None)]
    scored = Counter(score.forecast for score in days if score.date <= until)
    seen = {score.forecast for score in days if score.seen}
    result = Outcomes()
    readings = _Readings(store, ref)
    bars: dict[str, BarSeries] = {}
    for row in sorted(store.ledger.list(limit=10_000_000), key=lambda row: row.id):
        if not _asked_for(row, options, ref, store.simulated):
            continue
        forecast = store.ledger.get(row.id)
        if forecast.prompt != options.prompt:
            continue
        result.entries += 1
        if row.due > until or scored[row.id] < row.horizon:
            result.waiting += 1
        elif row.paths < 2:
            result.single += 1
        else:
            if row.code not in bars:
                bars[row.code] = store.long_series(row.code, until)
            outcome = _outcome(readings, row.id, forecast, bars[row.code], row.id in seen)
            if outcome is None:
                result.changed += 1
            else:
                result.found.append(outcome)
    if not result.found:
        raise _nothing(store, result, until, "of " + model if options.entries == "same" else "", model)
    return result


def _asked_for(row: LedgerRow, options: AlignOptions, ref: ModelRef, simulated: bool) -> bool:
    """Whether a forecast of the ledger is one that the options speak of."""
    return (
        (options.entries == "all" or (row.model, row.adapter) == (ref.name, ref.adapter))
        and (not options.codes or row.code in options.codes)
        and (options.since is None or row.as_of >= options.since)
        and row.simulated == simulated
    )


def _nothing(store: Store, result: Outcomes, until: date, whose: str, model: str) -> NotEnoughHistory:
    if not store.ledger.list(limit=1):
        return NotEnoughHistory(
            "The ledger is empty, so there is nothing to learn from: make forecasts with 'stockllm "
            "forecast', and score them with 'stockllm ledger score' when their days have come.",
            zh="帳本是空的，沒有可學的結果：請先用 stockllm forecast 預測，"
            "日子到了再用 stockllm ledger score 評分。",
        )
    whose = f" {whose}" if whose else ""
    return NotEnoughHistory(
        f"None of the ledger's {result.entries:,} forecasts{whose} can be learned from by {until}: "
        f"{result.waiting:,} wait for days or scores, {result.changed:,} were made from bars that are others "
        f"now, {result.single:,} have one path; run 'stockllm ledger score', or name another --model, "
        "--entries or --until.",
        zh=f"到 {until} 為止，帳本中 {model} 的 {result.entries:,} 次預測沒有可學的："
        f"{result.waiting:,} 次還沒到期或沒評分，{result.changed:,} 次的原始資料已改，"
        f"{result.single:,} 次只有一條路徑；請執行 stockllm ledger score，"
        "或改用其他 --model、--entries、--until。",
    )


class _Readings:
    """What forecasts of the ledger read beside their bars, and what the model to be aligned would read.

    An outlook is of one moment, and the forecasts of an evening stand together: the last one is kept.
    """

    def __init__(self, store: Store, ref: ModelRef) -> None:
        self.store = store
        self.compact = speaks(ref)
        self._own = network_of(ref.base) if self.compact == 2 else None
        self._networks: dict[str, Network | None] = {}
        self._last: tuple[object, Outlook] | None = None

    def hashes(self, forecast: PathForecast, window: Window) -> Iterator[str]:
        """The digests that the ledger may have of what a forecast read: its bars, then its words as well."""
        yield read_hash(window.history, None, window.opened)
        if forecast.prompt == "compact" and (network := self._of(forecast)) is not None:
            yield read_hash(window.history, self._words(forecast, window, network), window.opened)

    def informed(self, forecast: PathForecast, window: Window) -> Window:
        """A forecast's window with the words that the model to be aligned reads at its moment."""
        if forecast.prompt != "compact" or self.compact < 2:
            return window
        return replace(window, words=self._words(forecast, window, self._own))

    def _of(self, forecast: PathForecast) -> Network | None:
        """The network whose words a forecast's model read; None where it reads none or is not here."""
        name = forecast.model_name
        if name not in self._networks:
            try:
                ref = resolve_model(name, self.store.home)
                reads = isinstance(ref.base, Path) and ref.peer is None and speaks(ref) == 2
                self._networks[name] = network_of(ref.base) if reads else None
            except (StockllmError, OSError, ValueError):
                self._networks[name] = None
        return self._networks[name]

    def _words(self, forecast: PathForecast, window: Window, network: Network | None) -> Words:
        from stockllm.forecaster.outlook.moments import known_until, outlook_of, shown_at

        session = forecast.dates[0]
        until = forecast.known_until or known_until(forecast.moment, window.origin, session)
        key = (window.origin, session, until)
        if self._last is None or self._last[0] != key:
            self._last = (key, outlook_of(self.store, window.origin, [session], until=until))
        return self._last[1].words(network, [window], shown=shown_at(forecast.moment))[0]


def speaks(ref: ModelRef) -> CompactVersion:
    """The version of the compact style that a model speaks, by its files alone."""
    return compact_version(ref, None if ref.adapter_dir is None else read_card(ref.adapter_dir))


def _outcome(
    readings: _Readings, id: int, forecast: PathForecast, series: BarSeries, seen: bool
) -> Outcome | None:
    """The outcome of a forecast; None where what it was made from cannot be had again."""
    origin = bisect_right(series.dates, forecast.as_of) - 1
    place = {day: index for index, day in enumerate(series.dates)}
    if origin < 1 or series.dates[origin] != forecast.as_of or any(d not in place for d in forecast.dates):
        return None
    history = series[max(0, origin + 1 - HISTORY) : origin + 1]
    past = max(SHORTEST_LOOK_BACK, min(LOOK_BACK[forecast.prompt], len(history)))
    window = open_window(history, readings.store.company(forecast.code), past, forecast.dates)
    if forecast.moment == "open":
        window = replace(window, opened=round(float(series.open[place[forecast.dates[0]]]) * 100))
    digests = readings.hashes(forecast, window)
    if not any(_frozen(readings.store, forecast, digest) == id for digest in digests):
        return None
    level = np.cumsum(np.log(series.close / series.reference))
    actual = np.array([level[place[day]] - level[origin] for day in forecast.dates])
    returns = np.log(forecast.prices[:, :, 3].astype(np.float64) / forecast.last_close)
    window = readings.informed(forecast, window)
    return Outcome(id, forecast, window, returns, actual, usual_moves(window), seen, readings.compact)


def _frozen(store: Store, forecast: PathForecast, digest: str) -> int | None:
    """The id of the ledger's forecast that is this one, made from what has this digest."""
    return store.ledger.find(
        code=forecast.code,
        as_of=forecast.as_of,
        dates=forecast.dates,
        model=forecast.model,
        model_hash=forecast.model_hash,
        adapter=forecast.adapter,
        adapter_hash=forecast.adapter_hash,
        prompt=forecast.prompt,
        paths=forecast.paths,
        seed=forecast.seed,
        data_hash=digest,
        moment=forecast.moment,
    )


def usual_moves(window: Window) -> Floats:
    """The size of a usual log move until each of the window's coming days, (days,)."""
    days = np.arange(1, len(window.future_dates) + 1)
    moves: Floats = float(encode(window.history).sigma[-1]) * np.sqrt(days)
    return moves


def pairs(outcomes: list[Outcome], margin: float, each: int, seed: int) -> tuple[list[Pair], int]:
    """Of every outcome the path nearest to what came, and up to ``each`` far ones; how many had none.

    A far one is drawn by the seed among those whose contribution to the score is worse than the chosen
    path's by ``margin`` usual moves or more.
    """
    made: list[Pair] = []
    without = 0
    for outcome in outcomes:
        contribution = outcome.contributions
        best = int(outcome.distances.argmin())
        worse = contribution - contribution[best]
        far = np.flatnonzero(worse >= max(margin, 1e-9))
        order = np.random.default_rng([seed, outcome.id]).permutation(far).tolist()
        chosen = said(outcome, best)
        rejected = [(index, said(outcome, index)) for index in order[: each + 4]]
        # A path that reads as the chosen one does is no other answer.
        rejected = [(index, text) for index, text in rejected if text.completion != chosen.completion][:each]
        without += not rejected
        made += [
            Pair(
                outcome.id,
                outcome.window.code,
                outcome.window.origin,
                outcome.forecast.dates[-1],
                chosen,
                text,
                float(worse[index]),
            )
            for index, text in rejected
        ]
    return made, without


def later(made: list[Pair], share: float = 0.2) -> tuple[list[Pair], list[Pair]]:
    """(pairs to learn from, pairs of the last evenings): none learned from reads a day asked about later.

    The second is empty where that would leave nothing to learn from.
    """
    evenings = sorted({pair.origin for pair in made})
    held = evenings[len(evenings) - int(len(evenings) * share) :]
    if not held:
        return made, []
    before = [pair for pair in made if pair.last <= held[0]]
    return (before, [pair for pair in made if pair.origin >= held[0]]) if before else (made, [])


def said(outcome: Outcome, path: int) -> Example:
    """One path of a forecast as the question and the answer that would have been it."""
    forecast, window = outcome.forecast, outcome.window
    future = as_series(forecast, path)
    known = replace(window, future=future)
    return training_messages(known, forecast.prompt, version=outcome.compact)


def as_series(forecast: PathForecast, path: int) -> BarSeries:
    """A path as the bars it says, each measured from the close before."""
    prices = forecast.prices[path].astype(np.float64) / 100
    reference = np.concatenate([[forecast.last_close / 100], prices[:-1, 3]])
    columns = (prices[:, 0], prices[:, 1], prices[:, 2], prices[:, 3])
    return BarSeries(
        forecast.code, forecast.dates, *columns, forecast.volumes[path].astype(np.float64), reference
    )
