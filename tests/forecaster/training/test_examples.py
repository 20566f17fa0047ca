"""Examples: drawn without replacement, counted, read in an order that a seed decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stockllm.data.errors import UsageError
from stockllm.data.records import Article, BarSeries
from stockllm.forecaster.encoding.prompts import Example
from stockllm.forecaster.encoding.windows import Task, Window
from stockllm.forecaster.training import examples
from stockllm.market.companies import resolve

TASKS = (Task(1, 1), Task(20, 5))


def series(code: str, n: int) -> BarSeries:
    dates = tuple(date(2025, 1, 1) + timedelta(days=i) for i in range(n))
    close = np.linspace(100, 120, n)
    return BarSeries(code, dates, close, close + 1, close - 1, close, np.full(n, 1e6), close)


SOURCES = [(series(code, 60), resolve(code)) for code in ("2330", "2317")]


def words(window: Window) -> Example:
    question = f"{window.code} {window.origin} {window.task}"
    return Example([{"role": "user", "content": question}], [{"role": "assistant", "content": "x"}])


def measure(given: list[Example]) -> list[int]:
    """Long tasks are long: 100 tokens for 20/5, 10 for 1/1."""
    return [100 if example.prompt[0]["content"].endswith("20/5") else 10 for example in given]


def draw(**changes: Any) -> examples.Drawn:
    settings: dict[str, Any] = {
        "start": None,
        "end": None,
        "wanted": None,
        "seed": 1,
        "words": words,
        "measure": measure,
        "max_tokens": 200,
    }
    return examples.draw(SOURCES, TASKS, **settings | changes)


def test_every_window_is_drawn_once() -> None:
    drawn = draw()
    assert drawn.windows == drawn.seen == len(drawn.rows) == 2 * ((60 - 21) + (60 - 25))
    assert len({(row.code, row.task, row.origin) for row in drawn.rows}) == drawn.windows
    assert drawn.too_long == {}
    assert [row.origin for row in drawn.rows] != sorted(row.origin for row in drawn.rows)


def test_the_seed_decides_and_fewer_are_the_first_of_more() -> None:
    assert draw(wanted=40).rows == draw().rows[:40]
    assert draw(seed=2).rows != draw().rows
    assert len(draw(wanted=10_000).rows) == draw().windows


def test_what_does_not_fit_is_counted() -> None:
    drawn = draw(max_tokens=50, wanted=30)
    assert len(drawn.rows) == 30
    assert {row.task for row in drawn.rows} == {"1/1"}
    assert drawn.seen == 30 + drawn.too_long["20/5"]
    assert drawn.counts()["drawn"] == drawn.seen
    with pytest.raises(UsageError, match=r"None of \d+ windows .* the shortest takes 10 tokens"):
        draw(max_tokens=9)
    assert draw(start=date(2030, 1, 1)).rows == []


def test_a_file_gives_them_back(tmp_path: Path) -> None:
    rows = draw(wanted=5).rows
    examples.save(rows, tmp_path / "examples.jsonl")
    assert examples.read(tmp_path / "examples.jsonl") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["examples.jsonl"]
    assert examples.fingerprint(rows) == examples.fingerprint(draw(wanted=5).rows)
    assert examples.fingerprint(rows) != examples.fingerprint(rows[::-1])


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    total=st.integers(1, 200),
    per_step=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_the_order_reads_epochs_evenly_and_each_step_by_length(
    lengths: list[int], total: int, per_step: int, seed: int
) -> None:
    order = list(examples.reading_order(lengths, total, per_step, seed))
    assert len(order) == total
    assert order == list(examples.reading_order(lengths, total, per_step, seed))
    for at in range(0, total, per_step):
        step = [lengths[index] for index in order[at : at + per_step]]
        assert step == sorted(step, reverse=True)
    # A longer run begins with what a shorter one reads: whole steps are never reshuffled.
    whole = total // per_step * per_step
    assert order[:whole] == list(examples.reading_order(lengths, whole, per_step, seed))
    times = Counter(order)
    if total % len(lengths) == 0 and total % per_step == 0:
        assert set(times.values()) == {total // len(lengths)}


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    steps=st.integers(1, 8),
    batch_size=st.integers(1, 6),
    per_step=st.integers(1, 5),
    seed=st.integers(0, 5),
)
def test_batches_read_what_the_order_says_and_are_padded_no_more_than_equal_ones(
    lengths: list[int], steps: int, batch_size: int, per_step: int, seed: int
) -> None:
    cut = list(examples.batches(lengths, steps, batch_size, per_step, seed))
    read = batch_size * per_step
    order = list(examples.reading_order(lengths, steps * read, read, seed))
    assert [index for batch in cut for index in batch] == order
    assert len(cut) == steps * per_step
    assert all(len(batch) for batch in cut)
    # Each step's batches hold that step's examples: a run goes on between two steps.
    for step in range(steps):
        batches = cut[step * per_step : (step + 1) * per_step]
        assert sum(map(len, batches)) == read
    widths = [len(batch) * max(lengths[index] for index in batch) for batch in cut]
    assert max(widths) <= batch_size * max(lengths)
    equal = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    assert sum(widths) <= sum(batch_size * max(lengths[index] for index in batch) for batch in equal)


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=7).map(lambda given: sorted(given)[::-1]),
    parts=st.integers(1, 4),
    most=st.integers(50, 400),
)
def test_no_other_cut_is_padded_less(lengths: list[int], parts: int, most: int) -> None:
    def tokens(ends: tuple[int, ...]) -> int | None:
        taken = [(end - start) * lengths[start] for start, end in pairwise((0, *ends))]
        return sum(taken) if max(taken) <= most else None

    assume(parts <= len(lengths))
    ways = [(*ends, len(lengths)) for ends in combinations(range(1, len(lengths)), parts - 1)]
    fitting = [found for ends in ways if (found := tokens(ends)) is not None]
    assume(fitting)
    assert tokens(tuple(examples.least_padding(lengths, parts, most))) == min(fitting)


def article(title: str, at: datetime) -> Article:
    return Article(f"https://news.example/{title}", title, "x", at, "zh")


@given(hours=st.lists(st.integers(-24 * 12, 24 * 5), max_size=12))
def test_news_after_the_origin_is_never_quoted(hours: list[int]) -> None:
    origin = date(2025, 3, 14)
    midday = datetime(2025, 3, 14, 4, tzinfo=UTC)  # noon in Taipei
    articles = [article(f"t{n}", midday + timedelta(hours=n)) for n in set(hours)]
    told = examples.news_context(articles, origin)
    within = [n for n in set(hours) if -6 <= (12 + n) // 24 <= 0]  # days from the origin, in Taipei
    expected = sorted(within, reverse=True)[:3]
    assert [line.split(": ")[1] for line in told.splitlines()[1:]] == [f"t{n}" for n in expected]
    assert bool(told) == bool(expected)


def test_measuring_counts_the_template(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    count: Callable[[list[Example]], list[int]] = examples.measure_with(tokenizer)
    given = [words_of("+1 +2 +3 +4 5"), words_of("+1")]
    assert count(given) == [
        len(tokenizer(tokenizer.apply_chat_template(e.prompt + e.completion, tokenize=False))["input_ids"])
        for e in given
    ]


def words_of(answer: str) -> Example:
    return Example([{"role": "user", "content": "q"}], [{"role": "assistant", "content": answer}])
