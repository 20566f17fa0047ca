"""Prompts and a model in, sampled candle paths out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import PromptStyle
from stockllm.forecaster.codec import PathState, encode, origin_state
from stockllm.forecaster.grammar import (
    CompactGrammar,
    CompactTokens,
    Grammar,
    compact_text_grammar,
    reference_grammar,
)
from stockllm.forecaster.prompts import REFERENCE_FIELDS, Field, prompt_messages, reference_opening
from stockllm.forecaster.windows import Window

if TYPE_CHECKING:
    import torch

    from stockllm.forecaster.llama import SharedPrompts

#: Paths decoded together; more would not fit a laptop's caches and gains nothing on a CPU.
ROWS = 1024
ROWS_CUDA = 8192


@dataclass(frozen=True, slots=True)
class Paths:
    """Sampled futures of one window: ``prices`` (paths, horizon, 4) in hundredths, ``volumes`` in shares."""

    prices: NDArray[np.int64]
    volumes: NDArray[np.int64]


def sample(
    model: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    paths: int,
    seed: int,
    prompt: PromptStyle = "compact",
    fields: Sequence[Field] = REFERENCE_FIELDS,
    temperature: float = 1.0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Paths]:
    """Sample ``paths`` futures of every window; windows must share one horizon.

    The random numbers of a window depend on the seed, its company and its origin alone, so a
    company's paths are the same whichever companies it is sampled with. ``progress`` is told how
    many windows are done.
    """
    tokens = CompactTokens.of(tokenizer) if prompt == "compact" else None
    rows = ROWS_CUDA if model.device.type == "cuda" else ROWS
    # The reference style walks one window's price grid at a time.
    together = max(1, rows // paths) if prompt == "compact" else 1
    done: list[Paths] = []
    for start in range(0, len(windows), together):
        batch = windows[start : start + together]
        done += _sample_batch(model, tokenizer, tokens, batch, paths, seed, prompt, fields, temperature)
        progress(len(done))
    return done


def _sample_batch(
    model: Any,
    tokenizer: Any,
    tokens: CompactTokens | None,
    windows: Sequence[Window],
    paths: int,
    seed: int,
    prompt: PromptStyle,
    fields: Sequence[Field],
    temperature: float,
) -> list[Paths]:
    from stockllm.forecaster.llama import SharedPrompts

    prompts = [prompt_ids(tokenizer, window, prompt, fields) for window in windows]
    grammar = _grammar(tokenizer, model.config.vocab_size, tokens, windows, paths, prompt, fields)
    draws = [_uniforms(window, seed) for window in windows]
    decoder = SharedPrompts(model, prompts, paths, grammar.longest)
    _decode(decoder, grammar, lambda: np.concatenate([d.random(paths) for d in draws]), temperature)
    return [
        Paths(grammar.prices[i * paths : (i + 1) * paths], grammar.volumes[i * paths : (i + 1) * paths])
        for i in range(len(windows))
    ]


def prompt_ids(
    tokenizer: Any, window: Window, prompt: PromptStyle, fields: Sequence[Field] = REFERENCE_FIELDS
) -> list[int]:
    """Token ids up to where the model's own words begin."""
    messages = prompt_messages(window, prompt, fields=fields)
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    ids = list(encoded["input_ids"])
    if prompt == "reference":
        # The opening sentence is the same in every answer; dates follow it from the calendar.
        opening = reference_opening(len(window.future_dates)).rstrip(" ")
        ids += tokenizer.encode(opening, add_special_tokens=False)
    return ids


def _grammar(
    tokenizer: Any,
    vocabulary: int,
    tokens: CompactTokens | None,
    windows: Sequence[Window],
    paths: int,
    prompt: PromptStyle,
    fields: Sequence[Field],
) -> Grammar:
    horizon = len(windows[0].future_dates)
    if prompt == "reference":
        (window,) = windows
        usual = round(float(np.exp2(encode(window.history).usual_volume[-1])))
        close = round(float(window.history.close[-1]) * 100)
        return reference_grammar(tokenizer, vocabulary, close, usual, window.future_dates, fields, paths)
    state = PathState.joined([origin_state(window.history, paths) for window in windows])
    if tokens is None:
        return compact_text_grammar(tokenizer, vocabulary, state, horizon)
    return CompactGrammar(tokens, state, horizon)


def _uniforms(window: Window, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(window.code.encode()), window.origin.toordinal()])


def _decode(
    decoder: SharedPrompts,
    grammar: Grammar,
    uniforms: Callable[[], NDArray[np.float64]],
    temperature: float,
) -> None:
    """Choose token after token until the grammar is satisfied."""
    while True:
        columns = grammar.columns
        mask = grammar.mask()
        logits = decoder.logits(columns)
        logits = logits.masked_fill(~mask.to(logits.device), float("-inf"))
        chosen = draw(logits / temperature, uniforms()) + (columns.start if columns is not None else 0)
        grammar.advance(chosen.cpu().numpy())
        if grammar.done:
            return
        decoder.advance(chosen)


def draw(logits: torch.Tensor, uniforms: NDArray[np.float64]) -> torch.Tensor:
    """One column a row, by inverse transform: row i takes the first whose cumulated share passes u_i.

    A column of probability zero is never taken.
    """
    import torch

    shares = torch.softmax(logits.double(), dim=-1)
    cumulated = shares.cumsum(dim=-1)
    # Rounding can leave the total a hair below u.
    points = torch.from_numpy(uniforms).to(logits.device)[:, None] * cumulated[:, -1:] * (1 - 1e-12)
    return torch.searchsorted(cumulated, points, right=True)[:, 0]
