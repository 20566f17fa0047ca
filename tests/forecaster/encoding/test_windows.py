"""Windows and the split: no future in a history, no day on both sides."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import WARM_UP
from stockllm.forecaster.encoding.windows import (
    DEFAULT_TASKS,
    REFERENCE_TASKS,
    Split,
    Task,
    cut,
    open_window,
    origins,
    parse_tasks,
    window_at,
)
from stockllm.market.companies import Company, resolve

FIRST = date(2024, 1, 2)
TSMC = resolve("2330")


def days(n: int, gap: int = 1) -> tuple[date, ...]:
    return tuple(FIRST + timedelta(days=i * gap) for i in range(n))


def series(dates: tuple[date, ...], code: str = "2330") -> BarSeries:
    close = 100.0 + np.arange(len(dates), dtype=np.float64)
    reference = np.concatenate([close[:1], close[:-1]])
    volume = np.full(len(dates), 1e6)
    return BarSeries(code, dates, close, close + 1, close - 1, close, volume, reference)


tasks = st.builds(Task, past=st.integers(1, 30), future=st.integers(1, 12))


def test_the_four_tasks() -> None:
    assert [str(task) for task in DEFAULT_TASKS] == ["1/1", "5/5", "20/5", "60/20"]
    assert [str(task) for task in REFERENCE_TASKS] == ["1/1", "5/5", "30/5", "90/30"]
    assert parse_tasks(" 20/5, 1/1,20/5") == (Task(1, 1), Task(20, 5))


@pytest.mark.parametrize("text", ["", "5", "5/", "0/5", "5/0", "-5/5", "a/b", "5/5;20/5"])
def test_a_bad_task_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"20/5"):
        parse_tasks(text)


def test_cut_gives_every_window_once() -> None:
    bars = series(days(100))
    windows = list(cut(bars, TSMC, DEFAULT_TASKS))
    # Origins from the 21st bar on: the first 20 start the volatility.
    assert len(windows) == (100 - 21) + (100 - 25) + (100 - 25) + (100 - 79)
    assert len({(w.task, w.origin) for w in windows}) == len(windows)
    last = windows[-1]
    assert (last.code, last.name, last.market) == ("2330", "台積電", "TWSE")
    assert last.task == Task(60, 20)
    assert last.future.dates == last.future_dates == bars.dates[-20:]
    assert last.lookback.dates == bars.dates[20:80]


def test_history_reaches_back_before_the_look_back() -> None:
    window = window_at(series(days(50)), TSMC, Task(5, 5), 30)
    assert len(window.history) == 31
    assert window.lookback.dates == window.history.dates[-5:]
    assert window.origin == FIRST + timedelta(days=30)


def test_stride_takes_every_nth() -> None:
    bars = series(days(40))
    assert len(list(cut(bars, TSMC, (Task(5, 5),), stride=7))) == len(range(20, 35, 7))


def test_too_little_history_says_both_counts() -> None:
    with pytest.raises(NotEnoughHistory, match=r"2330 台積電 has 9 trading days .*20/5 needs 26"):
        cut(series(days(9)), TSMC, (Task(20, 5), Task(60, 20)))
    with pytest.raises(NotEnoughHistory, match=r"has 0 trading days from 2025-01-01 and"):
        cut(series(days(9)), TSMC, DEFAULT_TASKS, start=date(2025, 1, 1))
    with pytest.raises(NotEnoughHistory, match=r"9999 has 1 trading day and this forecast reads 5"):
        open_window(series(days(1), "9999"), Company.bare("9999"), 5, days(3))


def test_an_open_window_asks_about_unseen_days() -> None:
    bars = series(days(30))
    ahead = tuple(FIRST + timedelta(days=30 + i) for i in range(5))
    window = open_window(bars, TSMC, 20, ahead)
    assert len(window.future) == 0
    assert window.task == Task(20, 5)
    assert window.origin == bars.dates[-1]
    assert len(window.lookback) == 20


@given(
    n=st.integers(2, 160),
    gap=st.integers(1, 4),
    chosen=st.lists(tasks, min_size=1, max_size=3),
    share=st.floats(0.05, 0.6),
)
def test_no_training_window_shares_a_day_with_a_validation_window(
    n: int, gap: int, chosen: list[Task], share: float
) -> None:
    market = days(n, gap)
    split = Split.at_the_end(market, chosen, share)
    # A company that did not trade every day of the market.
    bars = series(tuple(day for i, day in enumerate(market) if i % 11 != 3))
    trained: set[date] = set()
    validated: set[date] = set()
    for task in chosen:
        for origin in origins(bars, task, end=split.train_end):
            trained.update(window_at(bars, TSMC, task, origin).days)
        if split.validation_from is not None:
            for origin in origins(bars, task, start=split.validation_from):
                validated.update(window_at(bars, TSMC, task, origin).days)
    assert not trained & validated
    if split.validation_from is None:
        assert split.train_end is None
    else:
        assert split.train_end is not None
        between = [d for d in market if split.train_end < d < split.validation_from]
        assert len(between) == split.embargo == max(task.future for task in chosen)
        assert not trained or max(trained) <= split.train_end
        assert not validated or min(validated) >= split.validation_from


@given(
    n=st.integers(2, 120),
    task=tasks,
    bounds=st.tuples(st.integers(-5, 125), st.integers(-5, 125)),
    stride=st.integers(1, 9),
)
def test_at_the_origin_nothing_of_the_future_is_known(
    n: int, task: Task, bounds: tuple[int, int], stride: int
) -> None:
    bars = series(days(n))
    start, end = (FIRST + timedelta(days=b) for b in bounds)
    for origin in origins(bars, task, start, end, stride=stride):
        window = window_at(bars, TSMC, task, origin)
        assert window.task == task
        assert window.history.dates[-1] == window.origin < window.future.dates[0]
        assert len(window.history) == len(window.history.close) == origin + 1 > WARM_UP
        assert start <= window.days[0]
        assert window.days[-1] <= end
        assert list(window.days) == sorted(set(window.days))


@given(n=st.integers(3, 100), at=st.integers(0, 110), embargo=st.integers(0, 20))
def test_a_named_validation_date_is_kept_or_refused(n: int, at: int, embargo: int) -> None:
    market = days(n, 3)
    wanted = FIRST + timedelta(days=at * 3 - 1)
    possible = embargo + 1 <= at < n
    if not possible:
        with pytest.raises(UsageError, match="leaves no day"):
            Split.by_date(market, wanted, embargo)
        return
    split = Split.by_date(market, wanted, embargo)
    assert split.validation_from == market[at]
    assert split.train_end == market[at - embargo - 1]


def test_a_short_store_trains_on_all_it_has() -> None:
    assert Split.at_the_end(days(60), DEFAULT_TASKS) == Split(
        train_end=days(60)[27], validation_from=days(60)[48], embargo=20
    )
    assert list(origins(series(days(60)), Task(1, 1), end=days(60)[27]))
    assert Split.at_the_end(days(50), DEFAULT_TASKS) == Split()


def test_many_years_keep_no_more_than_a_quarter_apart() -> None:
    """A fifth of ten years would be two that no adapter reads."""
    market = days(2500)
    split = Split.at_the_end(market, DEFAULT_TASKS)
    assert (split.train_end, split.validation_from) == (market[2500 - 60 - 20 - 1], market[2500 - 60])
