"""The forecasting service: a store and some codes in, frozen ledger entries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    HISTORY,
    LONGEST_HORIZON,
    LOOK_BACK,
    SHORTEST_LOOK_BACK,
    read_hash,
)
from stockllm.forecaster.encoding.windows import Window, label, open_window
from stockllm.forecaster.models.registry import AUTO, ModelRef, resolve_model
from stockllm.forecaster.outlook.knowledge import Night, night_warnings, slope_warnings, unread_warning
from stockllm.forecaster.outlook.moments import known_until, knows_night, outlook_of
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.outlook.panel import MEMORY
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.sampling.remote import told
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import LlamaSampler, Sampler, sampler_for
from stockllm.market.calendar import RULE_YEARS
from stockllm.market.companies import Company
from stockllm.market.moments import Moment, at_taipei
from stockllm.market.ticks import round_to_tick

#: Older than this many days, data is said to have ended long ago: the longest holiday is shorter.
STALE_AFTER = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A forecast as it stands in the ledger, and what a user should know about it.

    ``knows`` says what its model read: prices, flows, sources of the night before its session, the open.
    """

    id: int
    forecast: PathForecast
    warnings: tuple[Sentence, ...] = ()
    knows: tuple[str, ...] = ("prices",)

    def document(self) -> dict[str, Any]:
        """The forecast document with its id in the ledger and what was known when it was made."""
        return {"id": self.id} | self.forecast.document() | {"knows": list(self.knows)}


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
    moment: Moment | None = None,
    opens: Mapping[str, int] | None = None,
    now: datetime | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[LedgerEntry]:
    """Sample futures of each company and freeze them in the ledger, in the order of ``codes``.

    The same arguments on the same data give the entry that is already frozen: nothing is sampled
    twice. ``as_of`` forecasts from the last bar of that day or before, on only the bars that were
    known then; where the model itself has read later days, a warning says so. The forecasts become
    the ones that signals and screens show, but for those of an ``as_of``. Either every company's
    forecast is made or none is written.

    :param moment: when it is made, which decides what it may know; by the clock and the store where None.
        A morning whose night is not in the store is forecast as an evening, and a warning says why.
    :param opens: at the open, each company's first price of the session in hundredths of a TWD.
    :param now: the clock. Where it is None, a simulated market's world is known up to the moment asked
        for, whatever the real clock says.
    :raises UsageError: horizon, paths or seed out of range, or an open that is not given or not possible.
    :raises NotEnoughHistory: a company with fewer days than the look-back needs.
    :raises ModelUnavailable: the model cannot be had.
    """
    _check(horizon, paths, seed)
    ref = resolve_model(model, store.home)
    calendar = store.calendar(until=as_of)
    simulated = store.simulated
    at = now or clock.now()
    windows = []
    for code in codes:
        series = store.long_series(code, as_of)
        dates = calendar.next_sessions(series.dates[-1], horizon) if len(series) else ()
        windows.append(_window(store.company(code), series, prompt, dates, as_of))
    if moment is None:
        moment = "evening" if as_of is not None else moment_now(store, windows, at)
    asked = moment
    seen = _far_enough(windows, asked, at) if simulated and now is None else at
    nights = _nights(store, windows, asked, seen)
    if moment == "morning" and not any(nights[w.origin].known() for w in windows if w.future_dates):
        moment = "evening"
    windows = _opened(windows, opens or {}) if moment == "open" else windows
    samplers = _samplers(store, ref, windows, prompt, moment, seen)
    known = {
        i: _find(store, w, ref, samplers[w.origin], prompt, paths, seed, moment)
        for i, w in enumerate(windows)
    }
    missing = [i for i, entry in known.items() if entry is None]
    witnessed = store.ledger.seen_until()
    sampled = _sample(samplers, [windows[i] for i in missing], paths, seed, progress)
    made_at = (now or clock.now()).replace(microsecond=0)
    with store.transaction():
        for i, drawn in zip(missing, sampled, strict=True):
            by = samplers[windows[i].origin]
            limit = min(_until(windows[i], moment), seen)
            made = path_forecast(
                windows[i], drawn, ref, by, prompt, seed, simulated, made_at, moment=moment, known_until=limit
            )
            known[i] = store.ledger.freeze(made, _read_hash(windows[i], by), witnessed)
        if as_of is None:
            for i, number in known.items():
                if number is not None:
                    store.ledger.show(windows[i].code, number)
    read_until = cutoff(ref, simulated=simulated).day
    evening = as_of or today or datetime.now(ZoneInfo("Asia/Taipei")).date()
    entries = []
    for i, number in known.items():
        assert number is not None
        window, by = windows[i], samplers[windows[i].origin]
        frozen = store.ledger.get(number)
        night = nights[window.origin]
        warnings = (
            *_adapter_warnings(by, prompt, simulated),
            *_hindsight_warnings(window, read_until),
            *_age_warnings(window, evening),
            *_calendar_warnings(window),
            *_moment_warnings(by, window, night, asked, ref),
            *told(frozen.parse_failures, paths),
        )
        entries.append(LedgerEntry(number, frozen, warnings, _knows(by, ref, night, moment)))
    return entries


def forecastable(
    store: Store, codes: Sequence[str], prompt: PromptStyle, as_of: date | None = None
) -> tuple[list[str], list[Sentence]]:
    """(the codes with enough history for a forecast, a sentence for each of the others)."""
    fit, why_not = [], []
    for code in codes:
        try:
            _window(store.company(code), store.long_series(code, as_of), prompt, (), as_of)
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
    return open_window(series[max(0, len(series) - HISTORY) :], company, past, dates)


def moment_now(store: Store, windows: Sequence[Window], clock: datetime) -> Moment:
    """Morning from 05:30 to 09:00 in Taipei of the first session ahead, where the night is in the store."""
    sessions = {window.future_dates[0] for window in windows if window.future_dates}
    if len(sessions) != 1:
        return "evening"
    session = sessions.pop()
    if not at_taipei(session, 5, 30) <= clock < at_taipei(session, 9):
        return "evening"
    return "morning" if knows_night(store, session, clock) else "evening"


def _until(window: Window, moment: Moment) -> datetime:
    """The last moment that the forecast of a window may know of."""
    return known_until(
        moment, window.origin, window.future_dates[0] if window.future_dates else window.origin
    )


def _far_enough(windows: Sequence[Window], moment: Moment, clock: datetime) -> datetime:
    """The clock, moved on to where every window's moment is reached."""
    return max(clock, *(_until(window, moment) for window in windows)) if windows else clock


def _nights(store: Store, windows: Sequence[Window], moment: Moment, seen: datetime) -> dict[date, Night]:
    """What is known of the night before each origin's session; of an evening, before the origin itself."""
    found: dict[date, Night] = {}
    for window in windows:
        if window.origin not in found:
            later = moment != "evening" and bool(window.future_dates)
            session = window.future_dates[0] if later else window.origin
            found[window.origin] = Night.of(store, session, min(_until(window, moment), seen))
    return found


def _opened(windows: Sequence[Window], opens: Mapping[str, int]) -> list[Window]:
    """The windows with their session's open.

    :raises UsageError: one that is not given, or that is no price the session could open at.
    """
    for window in windows:
        price, close = opens.get(window.code), float(window.history.close[-1]) * 100
        if price is not None and not (close / 2 < price < close * 2 and round_to_tick(price) == price):
            raise UsageError(
                f"{window.code} cannot open at {price / 100:g}: it closed at {close / 100:g} on "
                f"{window.origin}; give a price on its tick, near that.",
                zh=f"{window.code} 不可能以 {price / 100:g} 開盤：{window.origin} 收盤 {close / 100:g}；"
                "請給接近它且合於升降單位的價格。",
            )
    missing = [window.code for window in windows if window.code not in opens]
    if missing:
        raise UsageError(
            f"A forecast at the open needs the open of {', '.join(missing)}: give it as --open CODE=PRICE.",
            zh=f"開盤時的預測需要 {'、'.join(missing)} 的開盤價：請用 --open 代號=價格 指定。",
        )
    return [replace(window, opened=opens[window.code]) for window in windows]


def _samplers(
    store: Store,
    ref: ModelRef,
    windows: Sequence[Window],
    prompt: PromptStyle,
    moment: Moment,
    clock: datetime,
) -> dict[date, Sampler]:
    """What samples the windows of each origin: a network is trained on what was known at that moment."""

    def market(until: date) -> list[BarSeries]:
        return [store.long_series(code, until) for code in store.codes_with_prices()]

    found = {}
    for origin in sorted({window.origin for window in windows}):
        ahead = sorted({w.future_dates[0] for w in windows if w.origin == origin and w.future_dates})

        def outlook(origin: date = origin, ahead: Sequence[date] = tuple(ahead)) -> Outlook:
            until = known_until(moment, origin, ahead[0]) if ahead else clock
            memory = None if ref.name == "network" else MEMORY
            return outlook_of(store, origin, ahead, memory=memory, until=min(until, clock))

        found[origin] = sampler_for(
            ref, until=origin, market=market, prompt=prompt, outlook=outlook, moment=moment
        )
    return found


def _find(
    store: Store,
    window: Window,
    ref: ModelRef,
    sampler: Sampler,
    prompt: PromptStyle,
    paths: int,
    seed: int,
    moment: Moment,
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
        data_hash=_read_hash(window, sampler),
        moment=moment,
    )


def _read_hash(window: Window, sampler: Sampler) -> str:
    """A digest of all that a forecast read: its bars, its words, its open."""
    read = sampler.informed([window])[0] if isinstance(sampler, LlamaSampler) else window
    return read_hash(read.history, read.words, read.opened)


def _sample(
    samplers: Mapping[date, Sampler],
    windows: Sequence[Window],
    paths: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[Paths]:
    """Paths of every window, those of one origin together: batches are what makes a Llama fast."""
    groups: dict[date, list[int]] = {}
    for i, window in enumerate(windows):
        groups.setdefault(window.origin, []).append(i)
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
    *,
    moment: Moment = "evening",
    known_until: datetime | None = None,
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
        moment=moment,
        known_until=known_until,
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


def _moment_warnings(
    sampler: Sampler, window: Window, night: Night, asked: Moment, ref: ModelRef
) -> Iterator[Sentence]:
    outlook = _outlook(sampler)
    if outlook is None and asked == "evening":
        return
    if outlook is None and not _reads_open(sampler, asked) and night.known():
        yield from unread_warning(ref.name, asked)
        return
    yield from night_warnings(night, asked)
    if outlook is not None and asked != "evening":
        yield from slope_warnings(outlook, window, night)


def _outlook(sampler: Sampler) -> Outlook | None:
    """What a sampler reads beside the candles; None where it reads nothing."""
    return getattr(sampler, "outlook", None)


def _reads_open(sampler: Sampler, moment: Moment) -> bool:
    """Whether a session's open reaches the model: the second compact style alone is given it."""
    return moment == "open" and isinstance(sampler, LlamaSampler) and sampler.outlook is not None


def _knows(sampler: Sampler, ref: ModelRef, night: Night, moment: Moment) -> tuple[str, ...]:
    """What a sampler read of what was known at a moment."""
    outlook = _outlook(sampler)
    found = ["prices"]
    if outlook is not None:
        if ref.name != "ewma+world" and np.isfinite(outlook.panel.flows).any():
            found.append("flows")
        found += night.known() if moment != "evening" else ()
    return (*found, "open") if _reads_open(sampler, moment) else tuple(found)


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
