"""The ledger's scores: every frozen forecast is held against what came, and keeps that for good.

A forecast made when its first session had opened proves nothing, nor does an experiment that followed the
first forecast of its evening, nor one of days that the model was trained on. All are scored and shown, and
no edge is ever claimed from them; ``data.stores.standing`` judges which is which.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from stockllm.data.errors import ModelUnavailable
from stockllm.data.paths import Home
from stockllm.data.records import BarSeries, PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score, ScoredDay
from stockllm.data.stores.standing import REASONS, Reason, settled, words
from stockllm.forecaster.encoding.windows import open_window
from stockllm.forecaster.evaluation import metrics
from stockllm.forecaster.models.registry import (
    BASELINES,
    NAIVE,
    resolve_model,
    weights_hash,
)
from stockllm.forecaster.sampling.baselines import Floats, ewma_walk
from stockllm.forecaster.sampling.calibration import hash_with, read_calibration
from stockllm.forecaster.sampling.cutoffs import Cutoff, cutoff
from stockllm.market.moments import MOMENTS, Moment

#: Paths of the naive forecast that others are held against; its fair CRPS does not depend on them.
NAIVE_PATHS = 199
NAIVE_SEED = 3407
#: An edge is claimed below this p.
SIGNIFICANT = 0.05
#: ``made_at`` is cut to the second, so a bar of the same second may have been there before.
_CLOCK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a run of ``score_due`` did: ``days`` scored of ``forecasts``.

    ``waiting`` counts every forecast of the ledger that still has a day to come.
    """

    forecasts: int
    days: int
    waiting: int


def score_due(store: Store, progress: Callable[[int, int], None] = lambda *_: None) -> ScoreReport:
    """Score every day of every forecast that has arrived and is not scored yet.

    Idempotent: a day is scored once, and a bar that is corrected later does not change its score. A
    day on which the company did not trade is not scored.
    """
    last = store.bars.last_date()
    unfinished = store.scores.open(date.max)
    due = store.scores.open(last) if last is not None else {}
    known = _Known(store)
    found: list[Score] = []
    touched = 0
    waiting = len(unfinished) - len(due)
    for count, (id, done) in enumerate(due.items(), 1):
        forecast = store.ledger.get(id)
        new = _score(id, forecast, done, known)
        found += new
        touched += bool(new)
        waiting += _waits(forecast, done | {score.day for score in new}, known.series(forecast.code))
        progress(count, len(due))
    return ScoreReport(touched, store.scores.put(found), waiting)


def _waits(forecast: PathForecast, done: frozenset[int], series: BarSeries) -> bool:
    """Whether a day is left to score: one that is to come, or one whose evening is not in the store.

    A day that passed without a trade is not waited for.
    """
    there = set(series.dates)
    last = series.dates[-1] if len(series) else forecast.as_of
    return any(
        number not in done and (day > last or day in there) for number, day in enumerate(forecast.dates, 1)
    )


class _Known:
    """What scoring asks for again and again: series, arrivals, naive forecasts, cut-offs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.series = lru_cache(maxsize=64)(store.bars.series)
        self.arrivals = lru_cache(maxsize=64)(store.bars.arrivals)
        self.cutoff = lru_cache(maxsize=64)(partial(model_cutoff, store.home))
        self._naive: dict[tuple[str, date, tuple[date, ...]], Floats] = {}

    def naive(self, history: BarSeries, dates: tuple[date, ...]) -> Floats:
        """Log returns of the naive forecast from the same evening, shape (NAIVE_PATHS, horizon)."""
        key = (history.code, history.dates[-1], dates)
        if key not in self._naive:
            window = open_window(history, self.store.company(history.code), 1, dates)
            (drawn,) = ewma_walk([window], paths=NAIVE_PATHS, seed=NAIVE_SEED)
            self._naive[key] = np.log(drawn.prices[:, :, 3] / round(float(history.close[-1]) * 100))
        return self._naive[key]


def _score(id: int, forecast: PathForecast, done: frozenset[int], known: _Known) -> list[Score]:
    """Scores of the days that have arrived and are not in ``done``."""
    series = known.series(forecast.code)
    origin = bisect_right(series.dates, forecast.as_of) - 1
    place = {day: index for index, day in enumerate(series.dates)}
    wanted = [
        (number, day)
        for number, day in enumerate(forecast.dates, 1)
        if number not in done and day in place and day > forecast.as_of
    ]
    if not wanted or origin < 1 or series.dates[origin] != forecast.as_of:
        return []
    level = np.cumsum(np.log(series.close / series.reference))
    naive = known.naive(series[: origin + 1], forecast.dates)
    returns = np.log(forecast.prices[:, :, 3].astype(np.float64) / forecast.last_close)
    limit = known.cutoff(
        forecast.model, forecast.model_hash, forecast.adapter, forecast.adapter_hash, forecast.simulated
    )
    arrivals = known.arrivals(forecast.code)
    return [
        _of_day(
            id,
            number,
            day,
            returns[:, number - 1],
            naive[:, number - 1],
            float(level[place[day]] - level[origin]),
            arrivals[day] >= forecast.made_at + _CLOCK,
            limit.seen(day),
        )
        for number, day in wanted
    ]


def _of_day(
    id: int,
    number: int,
    day: date,
    returns: Floats,
    naive: Floats,
    actual: float,
    ahead: bool,
    seen: bool | None,
) -> Score:
    happened = np.array([actual])
    samples = returns[None]
    # One path alone is a point, whose CRPS is its distance.
    crps = metrics.fair_crps(samples, happened)[0] if len(returns) > 1 else abs(returns[0] - actual)
    within = metrics.inside(samples, happened)[:, 0]
    right, calls = metrics.direction(metrics.tendency(samples), happened)
    return Score(
        forecast=id,
        day=number,
        date=day,
        crps=float(crps),
        naive_crps=float(metrics.fair_crps(naive[None], happened)[0]),
        inside50=bool(within[0]),
        inside80=bool(within[1]),
        inside95=bool(within[2]),
        error=float(np.median(returns)) - actual,
        actual=actual,
        direction=bool(right) if calls else None,
        ahead=ahead,
        seen=seen,
    )


def model_cutoff(
    home: Home, model: str, model_hash: str, adapter: str | None, adapter_hash: str | None, simulated: bool
) -> Cutoff:
    """The cut-off of the very weights that made a forecast; unknown where they are not here any more."""
    if model in BASELINES:
        return Cutoff()
    try:
        ref = resolve_model(model if adapter is None else f"{model}+{adapter}", home)
        # A hub id would be fetched to be hashed, which keeping score is no reason for.
        if not isinstance(ref.base, Path):
            return Cutoff(known=False)
        weights = weights_hash(ref.base)
        if model_hash not in (weights, hash_with(weights, read_calibration(ref.base))):
            return Cutoff(known=False)
    except ModelUnavailable:
        return Cutoff(known=False)
    if ref.adapter_dir is not None and _adapter_hash(ref.adapter_dir) != adapter_hash:
        return Cutoff(known=False)
    return cutoff(ref, simulated=simulated)


def _adapter_hash(folder: Path) -> str | None:
    from stockllm.forecaster.models.cards import read_card

    try:
        return read_card(folder).hash
    except (OSError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Record:
    """How the forecasts of a company, a model or all did against the naive forecast.

    ``forecasts`` with ``days`` scored are those that count: the first of their evening, made before its
    first session opened, by a model not trained on its days. Where there are none, the figures are of
    the ``uncounted`` ones and ``proves`` is False. ``reasons`` says how many do not count for which
    reason, ``moment`` which forecasts these are, None for all. ``ratio`` is CRPS over the naive
    forecast's, below 1 is better; ``dm_p`` Diebold and Mariano's p on the means of each evening, None
    where the evenings are too few; ``edge`` is claimed where ``dm_p`` is below SIGNIFICANT and the
    ratio below 1.
    """

    forecasts: int
    days: int
    uncounted: int
    proves: bool
    ratio: float | None
    coverage50: float | None
    coverage80: float | None
    coverage95: float | None
    right: int
    calls: int
    dm_p: float | None
    edge: bool
    simulated: bool
    sentence_zh: str
    sentence_en: str
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    moment: Moment | None = None

    def document(self) -> dict[str, object]:
        """The record as ``--json`` prints it."""
        return {
            "forecasts": self.forecasts,
            "days": self.days,
            "moment": self.moment,
            "uncounted": self.uncounted,
            "reasons": dict(self.reasons),
            "proves": self.proves,
            "crps_ratio": self.ratio,
            "coverage50": self.coverage50,
            "coverage80": self.coverage80,
            "coverage95": self.coverage95,
            "direction": self.right / self.calls if self.calls else None,
            "direction_n": self.calls,
            "dm_p": self.dm_p,
            "edge": self.edge,
            "simulated": self.simulated,
            "sentence_zh": self.sentence_zh,
            "sentence_en": self.sentence_en,
        }


def record(
    store: Store, code: str | None = None, model: str | None = None, moment: Moment | None = None
) -> Record:
    """The record of ``code``, ``model`` (``llama``, ``llama+ADAPTER``), ``moment``; of all where not given.

    Without ``model`` the baselines' own forecasts are left out, unless there are no others.
    """
    return _record(
        store.scores.list(code, model), store.ledger.standings(code), store.simulated, model, moment
    )


def records_by_moment(
    store: Store, code: str | None = None, model: str | None = None
) -> dict[Moment, Record]:
    """``record`` apart for each moment of which a forecast is scored, in the order of the day."""
    scored, standings = store.scores.list(code, model), store.ledger.standings(code)
    there = {each.moment for each in scored}
    return {
        moment: _record(scored, standings, store.simulated, model, moment)
        for moment in MOMENTS
        if moment in there
    }


def reasons_of(
    scored: Iterable[ScoredDay], standings: Mapping[int, Reason | None]
) -> dict[int, Reason | None]:
    """Why each scored forecast does not count, None where it does, by id."""
    days: dict[int, list[Score]] = {}
    for each in scored:
        days.setdefault(each.score.forecast, []).append(each.score)
    return {id: settled(standings.get(id), scores) for id, scores in days.items()}


def _record(
    scored: Sequence[ScoredDay],
    standings: Mapping[int, Reason | None],
    simulated: bool,
    model: str | None,
    moment: Moment | None,
) -> Record:
    if moment is not None:
        scored = [each for each in scored if each.moment == moment]
    if model is None:
        scored = [each for each in scored if each.model not in BASELINES] or scored
    itself = bool(scored) and all(each.model == NAIVE for each in scored)
    why = {id: reason for id, reason in reasons_of(scored, standings).items() if reason is not None}
    counted = [each for each in scored if each.score.forecast not in why]
    reasons = {reason: count for reason in REASONS if (count := list(why.values()).count(reason))}
    proves = bool(counted)
    used = counted or scored
    forecasts = len({each.score.forecast for each in used})
    calls = [each.score.direction for each in used if each.score.direction is not None]
    naive = sum(each.score.naive_crps for each in used)
    ratio = sum(each.score.crps for each in used) / naive if naive > 0 else None
    p = _dm(used) if proves and not itself else None
    better, different = ratio is not None and ratio < 1, p is not None and p < SIGNIFICANT
    zh, en = _sentences(forecasts, reasons, proves, ratio, p, itself)

    def share(name: str) -> float | None:
        return float(np.mean([getattr(each.score, name) for each in used])) if used else None

    return Record(
        forecasts=forecasts if proves else 0,
        days=len(used) if proves else 0,
        uncounted=len(why),
        proves=proves,
        ratio=ratio,
        coverage50=share("inside50"),
        coverage80=share("inside80"),
        coverage95=share("inside95"),
        right=sum(calls),
        calls=len(calls),
        dm_p=p,
        edge=better and different,
        simulated=simulated,
        sentence_zh=zh,
        sentence_en=en,
        reasons=reasons,
        moment=moment,
    )


def _dm(used: Sequence[ScoredDay]) -> float | None:
    """p of equal accuracy: one value an evening, the mean over its forecasts of their days' means."""
    by_forecast: dict[int, list[ScoredDay]] = {}
    for each in used:
        by_forecast.setdefault(each.score.forecast, []).append(each)
    origins = np.array([days[0].as_of.toordinal() for days in by_forecast.values()])
    ends = np.array([max(d.score.date for d in days).toordinal() for days in by_forecast.values()])
    losses = [
        float(np.mean([d.score.crps - d.score.naive_crps for d in days])) for days in by_forecast.values()
    ]
    evenings, difference = metrics.by_date(np.array(losses), origins)
    last = np.array([ends[origins == evening].max() for evening in evenings])
    return metrics.diebold_mariano(difference, metrics.overlap(evenings, last))


def _sentences(
    forecasts: int,
    reasons: Mapping[Reason, int],
    proves: bool,
    ratio: float | None,
    p: float | None,
    naive: bool,
) -> tuple[str, str]:
    """The record in plain words, Chinese and English."""
    if not forecasts:
        return "紀錄：還沒有預測到期評分。", "Record: no forecast has been scored yet."
    many = f"{forecasts:,} forecast{'' if forecasts == 1 else 's'}"
    if naive:
        return (
            f"紀錄：{forecasts:,} 次預測；這就是單純預測本身，沒有優劣可言。",
            f"Record: {many}; this is the naive forecast itself, which cannot beat itself.",
        )
    if not proves:
        return (
            f"紀錄：{forecasts:,} 次預測，未證實優於單純預測；沒有一次列入，不能證明什麼"
            f"（{_told(reasons, 'zh')}）。",
            f"Record: no demonstrated edge over the naive forecast in {many}; none counts, so it proves "
            f"nothing ({_told(reasons, 'en')}).",
        )
    zh, en = _verdict(f"{forecasts:,}", many, ratio, p)
    if uncounted := sum(reasons.values()):
        zh += f"另有 {uncounted:,} 次不列入：{_told(reasons, 'zh')}。"
        en += f" {uncounted:,} more {'is' if uncounted == 1 else 'are'} not counted: {_told(reasons, 'en')}."
    return zh, en


def _told(reasons: Mapping[Reason, int], language: str) -> str:
    """How many for which reason."""
    if language == "en":
        return ", ".join(f"{count:,} {words(reason, count)}" for reason, count in reasons.items())
    return "、".join(f"{count:,} 次{words(reason).zh}" for reason, count in reasons.items())


def _verdict(number: str, many: str, ratio: float | None, p: float | None) -> tuple[str, str]:
    if ratio is None or p is None or p >= SIGNIFICANT:
        return (
            f"紀錄：{number} 次預測，未證實優於單純預測。",
            f"Record: no demonstrated edge over the naive forecast in {many}.",
        )
    if ratio < 1:
        return (
            f"紀錄：{number} 次預測，誤差比單純預測小 {1 - ratio:.1%}（p = {p:.3f}）。",
            f"Record: an error {1 - ratio:.1%} below the naive forecast's in {many} (p = {p:.3f}).",
        )
    return (
        f"紀錄：{number} 次預測，誤差比單純預測大 {ratio - 1:.1%}（p = {p:.3f}）。",
        f"Record: worse than the naive forecast, with an error {ratio - 1:.1%} larger in {many} "
        f"(p = {p:.3f}).",
    )
