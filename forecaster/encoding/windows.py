"""Windows: what the model reads (the past) and what it has to say (the future).

A window is cut out of one company's bars. Days are split into a training part and a validation part,
with an embargo between them, before any window is cut, so no training window shares a day with a
validation window: overlapping windows are how good scores are made by accident.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.forecaster.encoding.codec import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from stockllm.data.records import BarSeries
    from stockllm.forecaster.encoding.words import Words
    from stockllm.market.companies import Company

#: Share of the days that validation takes from the end where nobody names a date.
VALIDATION_SHARE = 0.2
#: And the most days that is: a fifth of ten years would keep the newest two from every adapter, and
#: leave a company listed since then without a day to train on.
VALIDATION_DAYS = 60


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """Read ``past`` trading days, say the next ``future``. Written ``20/5``."""

    past: int
    future: int

    def __post_init__(self) -> None:
        if self.past < 1 or self.future < 1:
            raise UsageError(
                f"Task {self} needs at least one day on both sides, as in 20/5.",
                zh=f"任務 {self} 兩邊各至少要一天，例如 20/5。",
            )

    def __str__(self) -> str:
        return f"{self.past}/{self.future}"

    @property
    def days(self) -> int:
        return self.past + self.future

    @property
    def needs(self) -> int:
        """Days of history that the first window takes, with those that start the volatility."""
        return max(self.past, WARM_UP + 1) + self.future

    @classmethod
    def parse(cls, text: str) -> Task:
        """``"20/5"`` -> ``Task(20, 5)``; UsageError for anything else."""
        match = re.fullmatch(r"\s*(\d{1,4})\s*/\s*(\d{1,4})\s*", text)
        if match is None:
            raise UsageError(
                f"{text!r} is no task; write past/future in trading days, as in 20/5.",
                zh=f"{text!r} 不是任務：請寫成過去／未來交易日，例如 20/5。",
            )
        return cls(int(match[1]), int(match[2]))


#: A day to a day, a week to a week, a month to a week, a quarter to a month.
DEFAULT_TASKS = (Task(1, 1), Task(5, 5), Task(20, 5), Task(60, 20))
#: The same month and quarter as the reference counts them, in rows.
REFERENCE_TASKS = (Task(1, 1), Task(5, 5), Task(30, 5), Task(90, 30))


def parse_tasks(text: str) -> tuple[Task, ...]:
    """``"1/1,5/5"`` -> tasks, sorted, each once; UsageError where there is none."""
    tasks = tuple(sorted({Task.parse(part) for part in text.split(",") if part.strip()}))
    if not tasks:
        raise UsageError(
            "No task was given; write some as past/future, as in 1/1,5/5,20/5,60/20.",
            zh="沒有指定任務：請寫成過去／未來，例如 1/1,5/5,20/5,60/20。",
        )
    return tasks


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One look-back and what followed it.

    ``history`` holds every bar known at the origin, oldest first, so that the codec can warm its
    volatility up; the prompt shows its last ``past`` rows. ``future`` holds the bars after the
    origin (empty when forecasting), ``future_dates`` the sessions asked about. ``words`` is what is
    known beside the candles, None for nothing; ``opened`` the first session's open in hundredths of a
    TWD, where the forecast is made after it.
    """

    code: str
    name: str
    market: str
    history: BarSeries
    past: int
    future: BarSeries
    future_dates: tuple[date, ...]
    words: Words | None = None
    opened: int | None = None

    @property
    def origin(self) -> date:
        """The last observed day: the evening the forecast is made."""
        return self.history.dates[-1]

    @property
    def task(self) -> Task:
        return Task(self.past, len(self.future_dates))

    @property
    def lookback(self) -> BarSeries:
        """The rows the prompt shows, ``past`` of them."""
        return self.history[len(self.history) - self.past :]

    @property
    def days(self) -> tuple[date, ...]:
        """The days of the window itself: look-back and future."""
        return self.lookback.dates + self.future_dates


@dataclass(frozen=True, slots=True)
class Split:
    """Which days train and which validate.

    Training windows lie wholly at or before ``train_end``, validation windows wholly at or after
    ``validation_from``; at least ``embargo`` market days lie between the two. Both dates are None
    where all days train.
    """

    train_end: date | None = None
    validation_from: date | None = None
    embargo: int = 0

    @classmethod
    def by_date(cls, days: Sequence[date], validation_from: date, embargo: int) -> Split:
        """Validate from a given day on.

        :param days: every market day of the data, ascending, each once.
        :param embargo: market days left out before ``validation_from``; one horizon.
        :raises UsageError: where no day is left to train on or none to validate on.
        """
        first = bisect_left(days, validation_from)
        if first == len(days):
            raise UsageError(
                f"Validation from {validation_from} leaves no day: the data ends on {_last(days)}.",
                zh=(
                    f"從 {validation_from} 開始驗證，就沒有任何一天可用：資料到 "
                    f"{days[-1] if days else '（無）'} 為止。"
                ),
            )
        if first - embargo < 1:
            raise UsageError(
                f"Validation from {validation_from} leaves no day to train on: only {first} days lie before "
                f"it and the embargo takes {embargo}; choose a later date.",
                zh=(
                    f"從 {validation_from} 開始驗證，就沒有訓練的日子：之前只有 {first} 天，而隔離期"
                    f"要 {embargo} 天；請選較晚的日期。"
                ),
            )
        return cls(days[first - embargo - 1], days[first], embargo)

    @classmethod
    def at_the_end(
        cls, days: Sequence[date], tasks: Sequence[Task], share: float = VALIDATION_SHARE
    ) -> Split:
        """Validate on the last ``share`` of the days, a quarter of a year at most.

        Validate on none where training would lose all it has.

        The embargo is the longest horizon of ``tasks``.
        """
        embargo = max(task.future for task in tasks)
        first = len(days) - min(int(len(days) * share), VALIDATION_DAYS)
        validates = len(days) - first >= min(task.days for task in tasks)
        if not validates or first - embargo < min(task.needs for task in tasks):
            return cls()
        return cls(days[first - embargo - 1], days[first], embargo)


def origins(
    series: BarSeries, task: Task, start: date | None = None, end: date | None = None, *, stride: int = 1
) -> range:
    """Indices into ``series`` at which a window of ``task`` may have its origin.

    Every bar of look-back and future lies within ``start``..``end`` (both included). More than
    WARM_UP bars are known at every origin: with fewer, the volatility that the compact style counts
    in would be taken in part from the days to be forecast.
    """
    low = 0 if start is None else bisect_left(series.dates, start)
    high = len(series) if end is None else bisect_right(series.dates, end)
    return range(max(low + task.past - 1, WARM_UP), high - task.future, stride)


def window_at(series: BarSeries, company: Company, task: Task, origin: int) -> Window:
    """The window whose last observed bar is ``series[origin]``. ``origin`` as `origins` gives it."""
    if origin + 1 < task.past or origin + task.future >= len(series):
        raise IndexError(f"no {task} window at bar {origin} of {len(series)}")
    future = series[origin + 1 : origin + 1 + task.future]
    return Window(
        company.code,
        company.name_zh,
        company.market,
        series[: origin + 1],
        task.past,
        future,
        future.dates,
    )


def open_window(series: BarSeries, company: Company, past: int, future_dates: Sequence[date]) -> Window:
    """The window that asks about days nobody has seen: the whole series is its history.

    :raises NotEnoughHistory: where the series holds fewer than ``past`` days.
    """
    if len(series) < past:
        raise NotEnoughHistory(
            f"{label(company)} has {count(len(series))} and this forecast reads {past}; import more history.",
            zh=(f"{label(company)} 有 {len(series)} 個交易日，而這個預測要讀 {past} 天：請匯入更多歷史。"),
        )
    return Window(
        company.code,
        company.name_zh,
        company.market,
        series,
        past,
        series[len(series) :],
        tuple(future_dates),
    )


def cut(
    series: BarSeries,
    company: Company,
    tasks: Sequence[Task],
    start: date | None = None,
    end: date | None = None,
    *,
    stride: int = 1,
) -> Iterator[Window]:
    """All windows of a company whose every bar lies within ``start``..``end``, task by task.

    :raises NotEnoughHistory: at once, where not even the shortest task fits.
    """
    require_history(series, company, tasks, start, end)
    return (
        window_at(series, company, task, origin)
        for task in tasks
        for origin in origins(series, task, start, end, stride=stride)
    )


def require_history(
    series: BarSeries,
    company: Company,
    tasks: Sequence[Task],
    start: date | None = None,
    end: date | None = None,
) -> None:
    """NotEnoughHistory where no task fits, with the days there are and the days there must be."""
    if any(origins(series, task, start, end) for task in tasks):
        return
    low = 0 if start is None else bisect_left(series.dates, start)
    high = len(series) if end is None else bisect_right(series.dates, end)
    shortest = min(tasks, key=lambda task: task.needs)
    since = "" if start is None else f" from {start}"
    until = "" if end is None else f" up to {end}"
    raise NotEnoughHistory(
        f"{label(company)} has {count(max(0, high - low))}{since}{until} and a window of {shortest} needs "
        f"{shortest.needs}; import more history or choose shorter tasks.",
        zh=(
            f"{label(company)} 可用的交易日有 {max(0, high - low)} 天，而視窗 {shortest} 需"
            f"要 {shortest.needs} 天：請匯入更多歷史，或選較短的任務。"
        ),
    )


def count(days: int) -> str:
    return "1 trading day" if days == 1 else f"{days} trading days"


def label(company: Company) -> str:
    """How messages name a company: ``2330 台積電``, or the code alone where it has no name."""
    return company.code if company.name_zh in ("", company.code) else f"{company.code} {company.name_zh}"


def _last(days: Sequence[date]) -> str:
    return days[-1].isoformat() if days else "no day at all"
