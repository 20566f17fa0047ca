"""The windows of an evaluation: which evenings of which companies, and what happened afterwards.

A forecast's window holds the bars up to its origin alone. Returns are cumulated from each day's
reference price, so that an ex-date or a split is neither a loss nor a gain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.data.sentences import Sentence
from stockllm.data.store import Store
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.limits import (
    DEFAULT_PATHS,
    DEFAULT_SEED,
    HISTORY,
    LONGEST_HORIZON,
    LOOK_BACK,
)
from stockllm.forecaster.encoding.windows import Window, label, open_window
from stockllm.forecaster.evaluation.metrics import Floats
from stockllm.market.calendar import TradingCalendar
from stockllm.market.companies import Company
from stockllm.market.moments import Moment

#: Days that the scale of MASE is taken from.
SCALE_DAYS = 250

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Request:
    """What to evaluate: forecasts of days from ``start`` to ``end``, both included.

    ``stride`` takes every so-many-th evening. ``force`` lets models in that have seen the period.
    ``moment`` says when each forecast is made; at the open, the day's own open is given.
    """

    start: date
    end: date
    models: tuple[str, ...]
    codes: tuple[str, ...]
    horizons: tuple[int, ...] = (1, 5, 20)
    paths: int = DEFAULT_PATHS
    stride: int = 1
    seed: int = DEFAULT_SEED
    prompt: PromptStyle = "compact"
    force: bool = False
    moment: Moment = "evening"

    def check(self) -> None:
        """UsageError for what cannot be evaluated."""
        if self.start > self.end:
            raise UsageError(
                f"The period ends on {self.end}, before it starts on {self.start}.",
                zh=f"期間的結束日 {self.end} 早於開始日 {self.start}。",
            )
        if not self.models:
            raise UsageError(
                "No model was named: pass --models llama,ewma or others.",
                zh="沒有指定模型：請用 --models llama,ewma 或其他。",
            )
        if not self.horizons or not all(1 <= h <= LONGEST_HORIZON for h in self.horizons):
            given = ", ".join(map(str, self.horizons)) or "none"
            raise UsageError(
                f"Horizons are 1 to {LONGEST_HORIZON} trading days, not {given}.",
                zh=f"預測天數為 1 到 {LONGEST_HORIZON} 個交易日，而不是 {given}。",
            )
        if not 2 <= self.paths <= 10_000:
            raise UsageError(
                f"The number of paths is 2 to 10,000, not {self.paths}: one path has no width.",
                zh=f"路徑數為 2 到 10,000，而不是 {self.paths}：一條路徑沒有寬度。",
            )
        if self.stride < 1:
            raise UsageError(
                f"The stride is 1 or more evenings, not {self.stride}.",
                zh=f"間隔為 1 個晚上以上，而不是 {self.stride}。",
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f"The seed is a whole number from 0 to 4294967295, not {self.seed}.",
                zh=f"種子為 0 到 4294967295 的整數，而不是 {self.seed}。",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Every window with what happened after it, in the order of origin and code.

    ``actual`` (n, horizons) log returns, NaN where that day is not in the period; ``ends`` (n,
    horizons) its ordinal; ``origins`` (n,) ordinals; ``closes`` (n,) TWD; ``scales`` (n,) the mean
    absolute daily move of the past year, in TWD at the origin's price.
    """

    windows: tuple[Window, ...]
    actual: Floats
    ends: Ints
    origins: Ints
    closes: Floats
    scales: Floats
    left_out: tuple[Sentence, ...]

    @property
    def sessions(self) -> list[date]:
        """The first sessions ahead of all windows, each once."""
        return sorted({window.future_dates[0] for window in self.windows if window.future_dates})


def trained_until(store: Store, request: Request) -> date:
    """The last day networks may learn from: one longest horizon before the period."""
    days = [day for day in store.market_days() if day < request.start]
    embargo = max(request.horizons)
    if len(days) > embargo:
        return days[-1 - embargo]
    return min(days, default=request.start) - timedelta(days=1)


def gather(store: Store, request: Request) -> Cases:
    """Every window of the request, with what happened.

    :raises NotEnoughHistory: where no company has one.
    :raises UsageError: where the period is shorter than a horizon.
    """
    calendar = store.calendar()
    # A company that did not trade on the evening before the period is not forecast from older news.
    evening = max((day for day in store.market_days() if day < request.start), default=request.start)
    found: list[tuple[Company, BarSeries, int]] = []
    left_out = []
    for code in request.codes:
        company, series = store.company(code), store.long_series(code, request.end)
        first = max(bisect_left(series.dates, evening), WARM_UP)
        indices = range(first, len(series) - min(request.horizons))
        if not indices:
            left_out.append(
                Sentence(
                    f"{label(company)} has no day from {request.start} to {request.end} "
                    f"with the {WARM_UP + 1} before it that a forecast reads.",
                    zh=f"{label(company)} 在 {request.start} 至 {request.end} 之間，沒有一天之前有預測要讀的 "
                    f"{WARM_UP + 1} 個交易日。",
                )
            )
        found += [(company, series, index) for index in indices]
    if not found:
        last = max(store.market_days(), default=None)
        raise NotEnoughHistory(
            f"No company can be forecast from {request.start} to {request.end}: prices end on "
            f"{last or 'no day at all'}, and a forecast reads {WARM_UP + 1} days before it; choose another "
            "period or import more.",
            zh=(
                f"從 {request.start} 到 {request.end} 沒有公司可以預測：股價到 "
                f"{last or '（無）'} 為止，而一次預測要讀之前的 {WARM_UP + 1} 天；請換一段期間或"
                "匯入更多。"
            ),
        )
    evenings = sorted({series.dates[index] for _, series, index in found})
    chosen = set(evenings[:: request.stride])
    found = [each for each in found if each[1].dates[each[2]] in chosen]
    found.sort(key=lambda each: (each[1].dates[each[2]], each[0].code))
    return _cases(found, request, calendar, tuple(left_out))


def _cases(
    found: Sequence[tuple[Company, BarSeries, int]],
    request: Request,
    calendar: TradingCalendar,
    left_out: tuple[Sentence, ...],
) -> Cases:
    longest = max(request.horizons)
    shape = (len(found), len(request.horizons))
    actual, ends = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    scales = np.zeros(len(found))
    windows: list[Window] = []
    sessions: dict[date, tuple[date, ...]] = {}
    total: dict[str, Floats] = {}
    for row, (company, series, index) in enumerate(found):
        origin = series.dates[index]
        # The evening knows the calendar, not on which days the company will trade.
        if origin not in sessions:
            sessions[origin] = calendar.next_sessions(origin, longest)
        history = series[max(0, index + 1 - HISTORY) : index + 1]
        past = max(WARM_UP, min(LOOK_BACK[request.prompt], len(history)))
        window = open_window(history, company, past, sessions[origin])
        if request.moment == "open" and index + 1 < len(series):
            window = replace(window, opened=round(float(series.open[index + 1]) * 100))
        windows.append(window)
        if company.code not in total:
            total[company.code] = np.cumsum(np.log(series.close / series.reference))
        level = total[company.code]
        for column, horizon in enumerate(request.horizons):
            if index + horizon < len(series):
                actual[row, column] = level[index + horizon] - level[index]
                ends[row, column] = series.dates[index + horizon].toordinal()
        path = np.exp(level[max(0, index - SCALE_DAYS) : index + 1] - level[index])
        scales[row] = float(np.abs(np.diff(path)).mean()) * float(series.close[index])
    reached = (~np.isnan(actual)).sum(axis=0)
    for horizon, count in zip(request.horizons, reached.tolist(), strict=True):
        if not count:
            raise UsageError(
                f"No forecast of {horizon} days fits between {request.start} and {request.end}: "
                "choose a longer period or a shorter horizon.",
                zh=(
                    f"{request.start} 到 {request.end} 之間容不下 {horizon} 天的預測：請換較長的期間"
                    "或較短的天數。"
                ),
            )
    origins = np.array([window.origin.toordinal() for window in windows])
    closes = np.array([window.history.close[-1] for window in windows])
    return Cases(tuple(windows), actual, ends, origins, closes, scales, left_out)
