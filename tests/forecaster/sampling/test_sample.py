"""Sampling: the seed decides, the company beside it does not, and chances are what the model says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockllm.data.errors import UsageError
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.encoding.words import Words
from stockllm.forecaster.sampling import sample as sampling
from stockllm.forecaster.sampling.sample import draw, prompt_ids, sample
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import resolve
from stockllm.market.ticks import limits, tick

Walk = Callable[..., BarSeries]
STYLES: list[PromptStyle] = ["compact", "reference"]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> tuple[Any, Any]:
    """A random Llama, by far not as even as a fresh one, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    llama = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        for parameter in llama.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return llama.eval(), AutoTokenizer.from_pretrained(tiny_model)


def window(walk: Walk, seed: int, code: str = "2330", horizon: int = 3, **options: Any) -> Window:
    series = walk(seed, **options)
    dates = default_calendar().next_sessions(series.dates[-1], horizon)
    return open_window(replace(series, code=code), resolve(code), 5 + seed % 3, dates)


def assert_candles(window: Window, paths: sampling.Paths, count: int) -> None:
    assert paths.prices.shape == (count, len(window.future_dates), 4)
    assert paths.volumes.shape == (count, len(window.future_dates))
    before = np.full(count, round(window.history.close[-1] * 100))
    for opened, high, low, close in paths.prices.transpose(1, 2, 0):
        down, up = limits(before)
        assert (down <= low).all()
        assert (low <= np.minimum(opened, close)).all()
        assert (np.maximum(opened, close) <= high).all()
        assert (high <= up).all()
        for price in (opened, high, low, close):
            assert (price % tick(price) == 0).all()
        before = close
    assert (paths.volumes >= 1).all()


@pytest.mark.parametrize("style", STYLES)
def test_paths_are_candles_and_the_seed_decides(
    model: tuple[Any, Any], walk: Walk, style: PromptStyle
) -> None:
    asked = window(walk, 1)
    first, again, other = (sample(*model, [asked], paths=6, seed=seed, prompt=style)[0] for seed in (7, 7, 8))
    assert_candles(asked, first, 6)
    assert (first.prices == again.prices).all()
    assert (first.volumes == again.volumes).all()
    assert (first.prices != other.prices).any()


@pytest.mark.parametrize("style", STYLES)
def test_a_company_is_sampled_alike_in_any_company(
    model: tuple[Any, Any], walk: Walk, style: PromptStyle, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [
        window(walk, 1, "2330", start=990.0),
        window(walk, 2, "2317", start=45.0),
        window(walk, 3, "3711"),
    ]
    told: list[int] = []
    together = sample(*model, windows, paths=20, seed=7, prompt=style, progress=told.append)
    assert told == [3]
    # Paths that do not fit beside each other are sampled in parts.
    monkeypatch.setattr(sampling, "ROWS", 7)
    apart = sample(*model, windows, paths=20, seed=7, prompt=style, progress=told.append)
    assert told == [3, 1, 2, 3]
    for asked, one, other in zip(windows, together, apart, strict=True):
        assert_candles(asked, one, 20)
        # Sums in another order may tip a draw that lies on an edge, so not every path need agree.
        same = (one.prices == other.prices).all(axis=(1, 2)) & (one.volumes == other.volumes).all(axis=1)
        assert same.mean() >= 0.9


def test_two_companies_and_two_evenings_draw_different_numbers(walk: Walk) -> None:
    asked = window(walk, 1)
    numbers = [
        sampling.window_rng(asked, 1).random(),
        sampling.window_rng(asked, 2).random(),
        sampling.window_rng(replace(asked, code="2317"), 1).random(),
        sampling.window_rng(replace(asked, history=asked.history[:-1]), 1).random(),
    ]
    assert len(set(numbers)) == 4
    assert numbers[0] == sampling.window_rng(replace(asked, name="TSMC"), 1).random()


def test_temperature_widens(model: tuple[Any, Any], walk: Walk) -> None:
    asked = window(walk, 1, wild=False, horizon=1)
    cold, hot = (
        sample(*model, [asked], paths=300, seed=7, temperature=heat)[0].prices[:, 0, 0]
        for heat in (0.05, 3.0)
    )
    assert len(set(cold.tolist())) < len(set(hot.tolist())) / 2


def test_nothing_to_sample(model: tuple[Any, Any]) -> None:
    assert sample(*model, [], paths=3, seed=1) == []


def test_an_answer_longer_than_the_model_reads_is_refused(model: tuple[Any, Any], walk: Walk) -> None:
    with pytest.raises(UsageError, match=r"can take [\d,]+ tokens and the model reads .* --prompt compact"):
        sample(*model, [window(walk, 1, horizon=60)], paths=2, seed=1, prompt="reference")


def test_memory_bounds_the_rows(model: tuple[Any, Any]) -> None:
    llama, _ = model
    assert sampling._rows(llama, 25) == sampling.ROWS
    # 2 layers, 2 heads of 16, keys and values, four bytes each.
    assert sampling._rows(llama, 100_000) == sampling.CACHE // (2 * 2 * 2 * 16 * 4 * 100_000)
    assert sampling._rows(llama, 10**12) == 1


def test_the_reference_prompt_ends_where_dates_begin(embedded_tokenizer: Any, walk: Walk) -> None:
    ids = prompt_ids(embedded_tokenizer, window(walk, 1), "reference")
    assert embedded_tokenizer.decode(ids).endswith(
        "<|start_header_id|>assistant<|end_header_id|>\n\nThe next 3 days price is: Date:\n"
    )
    compact = prompt_ids(embedded_tokenizer, window(walk, 1), "compact", version=1)
    assert embedded_tokenizer.decode(compact).endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")


def test_the_compact_prompt_ends_with_the_first_day_s_words(embedded_tokenizer: Any, walk: Walk) -> None:
    asked = window(walk, 1)
    start = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    unknown = prompt_ids(embedded_tokenizer, asked, "compact")
    assert embedded_tokenizer.decode(unknown).endswith(f"{start}? ? ? ?")
    words = Words.unknown(asked.past)
    words.lines[-1] = (0, 1, 24, -1)
    told = prompt_ids(embedded_tokenizer, replace(asked, words=words), "compact")
    assert embedded_tokenizer.decode(told).endswith(f"{start}a b y ?")


# --- draw ----------------------------------------------------------------------------------------

shares = st.lists(st.sampled_from([0.0, 1e-300, 1e-12, 0.1, 1.0, 7.0]), min_size=1, max_size=9).filter(any)


@given(
    weights=shares,
    u=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53, 5e-324])),
)
def test_a_column_of_probability_zero_is_never_drawn(weights: list[float], u: float) -> None:
    import torch

    logits = torch.tensor([weights], dtype=torch.float64).log()
    column = int(draw(logits, np.array([u])))
    assert 0 <= column < len(weights)
    # What underflows beside the largest is as good as zero.
    assert torch.softmax(logits, -1)[0, column] > 0


def test_frequencies_are_the_model_s() -> None:
    import torch

    chances = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    rows = 40_000
    logits = torch.tensor(chances).log().float().expand(rows, -1)
    drawn = draw(logits, np.random.default_rng(0).random(rows)).numpy()
    found = np.bincount(drawn, minlength=5) / rows
    assert np.abs(found - chances).max() < 4 * np.sqrt(0.25 / rows)
    assert found[1] == 0


def test_one_number_one_column() -> None:
    import torch

    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(5, -1)
    assert draw(logits, np.array([0.0, 0.19, 0.21, 0.69, 0.71])).tolist() == [0, 0, 1, 1, 2]
