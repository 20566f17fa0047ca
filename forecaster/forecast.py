"""The forecasting service: a store and some codes in, frozen ledger entries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from stockllm.data import clock
from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.records import BarSeries, PathForecast, PromptStyle
from stockllm.data.sentences import Sentence
from stockllm.data.store import Store
from stockllm.forecaster.encoding.limits import (
    DEFAULT_PATHS,
    DEFAULT_SEED,
    LONGEST_HORIZON,
    LOOK_BACK,
    SHORTEST_LOOK_BACK,
    data_hash,
)
from stockllm.forecaster.encoding.windows import Window, label, open_window
from stockllm.forecaster.models.registry import AUTO, ModelRef, resolve_model
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.remote import told
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import LlamaSampler, Sampler, sampler_for
from stockllm.market.calendar import RULE_YEARS
from stockllm.market.companies import Company

#: Older than this many days, data is said to have ended long ago: the longest holiday is shorter.
STALE_AFTER = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A forecast as it stands in the ledger, and what a user should know about it."""

    id: int
    forecast: PathForecast
    warnings: tuple[Sentence, ...] = ()

    def document(self) -> dict[str, Any]:
        """The forecast document with its id in the ledger."""
        return {"id": self.id} | self.forecast.document()


def forecast(
    store: Store,
    codes: Sequence[str],
    *,
    horizon: int = 5,
    paths: int = DEFAULT_PATHS,
    model: str = AUTO,
    prompt: PromptStyle = "compact",
    seed: int = DEFAULT_SEED,
    as_of: date | None = None,
    today: date | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[LedgerEntry]:
    """Sample futures of each company and freeze them in the ledger, in the order of ``codes``.

    The same arguments on the same data give the entry that is already frozen: nothing is sampled
    twice. ``as_of`` forecasts from the last bar of that day or before, on only the bars that were
    known then; where the model itself has read later days, a warning says so. The forecasts become
    the ones that signals and screens show, but for those of an ``as_of``. Either every company's
    forecast is made or none is written.

    :raises UsageError: horizon, paths or seed out of range.
    :raises NotEnoughHistory: a company with fewer days than the look-back needs.
    :raises ModelUnavailable: the model cannot be had.
    """
    _check(horizon, paths, seed)
    ref = resolve_model(model, store.home)
    calendar = store.calendar(until=as_of)
    simulated = store.simulated
    windows = []
    for code in codes:
        series = store.bars.series(code, end=as_of)
        dates = calendar.next_sessions(series.dates[-1], horizon) if len(series) else ()
        windows.append(_window(store.company(code), series, prompt, dates, as_of))
    samplers = _samplers(store, ref, windows, prompt)
    known = {i: _find(store, w, ref, samplers[w.origin], prompt, paths, seed) for i, w in enumerate(windows)}
    missing = [i for i, entry in known.items() if entry is None]
    witnessed = store.ledger.seen_until()
    sampled = _sample(samplers, [windows[i] for i in missing], paths, seed, progress)
    made_at = clock.now().replace(microsecond=0)
    with store.transaction():
        for i, drawn in zip(missing, sampled, strict=True):
            by = samplers[windows[i].origin]
            made = path_forecast(windows[i], drawn, ref, by, prompt, seed, simulated, made_at)
            known[i] = store.ledger.freeze(made, data_hash(windows[i].history), witnessed)
        if as_of is None:
            for i, number in known.items():
                if number is not None:
                    store.ledger.show(windows[i].code, number)
    read_until = cutoff(ref, simulated=simulated).day
    evening = as_of or today or datetime.now(ZoneInfo("Asia/Taipei")).date()
    return [
        LedgerEntry(
            number,
            frozen := store.ledger.get(number),
            (
                *_adapter_warnings(samplers[windows[i].origin], prompt, simulated),
                *_hindsight_warnings(windows[i], read_until),
                *_age_warnings(windows[i], evening),
                *_calendar_warnings(windows[i]),
                *told(frozen.parse_failures, paths),
            ),
        )
        for i, number in known.items()
        if number is not None
    ]


def forecastable(
    store: Store, codes: Sequence[str], prompt: PromptStyle, as_of: date | None = None
) -> tuple[list[str], list[Sentence]]:
    """(the codes with enough history for a forecast, a sentence for each of the others)."""
    fit, why_not = [], []
    for code in codes:
        try:
            _window(store.company(code), store.bars.series(code, end=as_of), prompt, (), as_of)
        except NotEnoughHistory as error:
            why_not.append(Sentence.of(error))
        else:
            fit.append(code)
    return fit, why_not


def _check(horizon: int, paths: int, seed: int) -> None:
    if not 1 <= horizon <= LONGEST_HORIZON:
        raise UsageError(
            f"The horizon is 1 to {LONGEST_HORIZON} trading days, not {horizon}.",
            zh=f"預測天數為 1 到 {LONGEST_HORIZON} 個交易日，而不是 {horizon}。",
        )
    if not 1 <= paths <= 10_000:
        raise UsageError(
            f"The number of paths is 1 to 10,000, not {paths}.", zh=f"路徑數為 1 到 10,000，而不是 {paths}。"
        )
    if not 0 <= seed < 2**32:
        raise UsageError(
            f"The seed is a whole number from 0 to 4294967295, not {seed}.",
            zh=f"種子為 0 到 4294967295 的整數，而不是 {seed}。",
        )


def _window(
    company: Company, series: BarSeries, prompt: PromptStyle, dates: Sequence[date], as_of: date | None
) -> Window:
    if not len(series):
        until = "" if as_of is None else f" up to {as_of}"
        raise NotEnoughHistory(
            f"There are no prices of {label(company)}{until}: bring some in with 'stockllm import PATH'.",
            zh=f"沒有 {label(company)} 的股價：請用 'stockllm import PATH' 匯入。",
        )
    past = max(SHORTEST_LOOK_BACK, min(LOOK_BACK[prompt], len(series)))
    return open_window(series, company, past, dates)


def _samplers(
    store: Store, ref: ModelRef, windows: Sequence[Window], prompt: PromptStyle
) -> dict[date, Sampler]:
    """What samples the windows of each origin: a network is trained on what was known that evening."""

    def market(until: date) -> list[BarSeries]:
        return [store.bars.series(code, end=until) for code in store.bars.codes()]

    return {
        origin: sampler_for(ref, until=origin, market=market, prompt=prompt)
        for origin in sorted({window.origin for window in windows})
    }


def _find(
    store: Store,
    window: Window,
    ref: ModelRef,
    sampler: Sampler,
    prompt: PromptStyle,
    paths: int,
    seed: int,
) -> int | None:
    return store.ledger.find(
        code=window.code,
        as_of=window.origin,
        dates=window.future_dates,
        model=ref.name,
        model_hash=sampler.hash,
        adapter=ref.adapter,
        adapter_hash=sampler.adapter_hash,
        prompt=prompt,
        paths=paths,
        seed=seed,
        data_hash=data_hash(window.history),
    )


def _sample(
    samplers: Mapping[date, Sampler],
    windows: Sequence[Window],
    paths: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[Paths]:
    """Paths of every window, those of one model together: batches are what makes a Llama fast."""
    groups: dict[str, list[int]] = {}
    for i, window in enumerate(windows):
        groups.setdefault(samplers[window.origin].hash, []).append(i)
    done: dict[int, Paths] = {}
    for group in groups.values():
        before = len(done)
        sampler = samplers[windows[group[0]].origin]
        drawn = sampler.sample(
            [windows[i] for i in group],
            paths=paths,
            seed=seed,
            progress=lambda count, before=before: progress(before + count, len(windows)),  # type: ignore[misc]
        )
        done.update(zip(group, drawn, strict=True))
    return [done[i] for i in range(len(windows))]


def path_forecast(
    window: Window,
    drawn: Paths,
    ref: ModelRef,
    sampler: Sampler,
    prompt: PromptStyle,
    seed: int,
    simulated: bool,
    made_at: datetime,
) -> PathForecast:
    """What was drawn for a window, as the ledger keeps it: prices in hundredths, volumes in shares."""
    return PathForecast(
        code=window.code,
        name=window.name,
        market=window.market,
        as_of=window.origin,
        last_close=round(float(window.history.close[-1]) * 100),
        dates=window.future_dates,
        prices=drawn.prices.astype(np.int32),
        volumes=drawn.volumes,
        made_at=made_at,
        model=ref.name,
        model_hash=sampler.hash,
        adapter=ref.adapter,
        adapter_hash=sampler.adapter_hash,
        prompt=prompt,
        seed=seed,
        simulated=simulated,
        parse_failures=drawn.failures,
    )


def _hindsight_warnings(window: Window, read_until: date | None) -> Iterator[Sentence]:
    if read_until is not None and read_until > window.origin:
        yield Sentence(
            f"The model was trained on days up to {read_until} and forecasts from {window.origin}: "
            "this is hindsight, no test of it.",
            zh=f"模型的訓練資料到 {read_until} 為止，卻從 {window.origin} 預測：這是事後諸葛，不算檢驗。",
        )


def _age_warnings(window: Window, evening: date) -> Iterator[Sentence]:
    age = evening - window.origin
    if age > STALE_AFTER:
        yield Sentence(
            f"The data of {window.code} {window.name} ends on {window.origin}, {age.days} days before "
            f"{evening}: the forecast goes on from there.",
            zh=f"{window.code} {window.name} 的資料到 {window.origin} 為止，比 {evening} 早 {age.days} 天："
            "預測從那天開始。",
        )


def _calendar_warnings(window: Window) -> Iterator[Sentence]:
    last = window.future_dates[-1]
    if last.year not in RULE_YEARS:
        yield Sentence(
            f"The holidays of {last.year} are not known: of the sessions up to {last} only weekends are left "
            "out; a newer stockllm knows more, calendar.toml takes days.",
            zh=f"還不知道 {last.year} 年的假日：到 {last} 為止只扣除週末；"
            "請更新 stockllm，或寫入 calendar.toml。",
        )


def _adapter_warnings(sampler: Sampler, prompt: PromptStyle, simulated: bool) -> Iterator[Sentence]:
    card = sampler.loaded.card if isinstance(sampler, LlamaSampler) else None
    if card is None:
        return
    if card.prompt != prompt:
        yield Sentence(
            f"The adapter {card.name} was trained on the {card.prompt} prompt and is asked in the {prompt} "
            f"one: forecast with --prompt {card.prompt}.",
            zh=f"轉接器 {card.name} 以 {card.prompt} 提示格式訓練，現在卻用 {prompt} 詢問："
            f"請加 --prompt {card.prompt} 預測。",
        )
    if card.flags.get("with_news"):
        yield Sentence(
            f"The adapter {card.name} was trained with news and is asked without: forecasts carry none yet.",
            zh=f"轉接器 {card.name} 訓練時附有新聞，詢問時沒有：預測目前還不附新聞。",
        )
    if card.simulated and not simulated:
        yield Sentence(
            f"The adapter {card.name} was trained on simulated prices: train one on the real ones.",
            zh=f"轉接器 {card.name} 是用模擬股價訓練的：請用真實股價另外訓練。",
        )
