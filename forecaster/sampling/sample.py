"""Prompts and a model in, sampled candle paths out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.data.records import PromptStyle
from stockllm.forecaster.encoding.codec import PathState, encode, origin_state
from stockllm.forecaster.encoding.grammar import (
    Compact2Grammar,
    Compact2Tokens,
    CompactGrammar,
    CompactTokens,
    Grammar,
    compact2_text_grammar,
    compact_text_grammar,
)
from stockllm.forecaster.encoding.prompts import (
    NEWEST,
    REFERENCE_FIELDS,
    CompactVersion,
    Field,
    prompt_messages,
    reference_opening,
)
from stockllm.forecaster.encoding.reference import Origin, reference_grammar
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.encoding.words import Words, letter

if TYPE_CHECKING:
    import torch

    from stockllm.forecaster.models.llama import SharedPrompts
    from stockllm.forecaster.models.lockstep import Lockstep, Plain

#: Paths decoded together; more gains nothing on a CPU.
ROWS = 1024
ROWS_CUDA = 8192
#: Paths in step take less each: more of them share the cost of a step.
LOCKSTEP_ROWS = 4096
#: Bytes that the paths' own keys and values may take.
CACHE = 1 << 29
CACHE_CUDA = 4 << 30
#: About as many tokens as an answer takes a day, by the tokenizer that needs the most.
TOKENS_A_DAY: dict[PromptStyle, int] = {"compact": 12, "reference": 90}


@dataclass(frozen=True, slots=True)
class Paths:
    """Sampled futures of one window: ``prices`` (paths, horizon, 4) in hundredths, ``volumes`` in shares.

    ``failures`` counts answers that were no candles and stand for no path; under a grammar there are none.
    """

    prices: NDArray[np.int64]
    volumes: NDArray[np.int64]
    failures: int = 0


def sample(
    model: Any,
    tokenizer: Any,
    windows: Sequence[Window],
    *,
    paths: int,
    seed: int,
    prompt: PromptStyle = "compact",
    fields: Sequence[Field] = REFERENCE_FIELDS,
    version: CompactVersion = NEWEST,
    temperature: float = 1.0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Paths]:
    """Sample ``paths`` futures of every window; windows must share one horizon.

    The random numbers of a window depend on the seed, its company and its origin alone, so a
    company's paths are the same whichever companies it is sampled with. ``progress`` is told how
    many windows are done.
    """
    from stockllm.forecaster.models.llama import SharedPrompts
    from stockllm.forecaster.models.lockstep import Lockstep

    if not windows:
        return []
    prompts = [prompt_ids(tokenizer, window, prompt, fields, version) for window in windows]
    room = TOKENS_A_DAY[prompt] * len(windows[0].future_dates)
    swift = _lockstep(model, tokenizer, prompts, prompt, version)
    if swift is not None:
        room = 6 * len(windows[0].future_dates)
    rows = _rows(model, room)
    if swift is not None:
        rows = min(LOCKSTEP_ROWS, max(rows, CACHE // _slot(model) // room))
    width = min(paths, rows)
    together = max(1, rows // width)
    done: list[Paths] = []
    for start in range(0, len(windows), together):
        batch = windows[start : start + together]
        parts = []
        for first in range(0, paths, width):
            part = min(width, paths - first)
            grammar = grammar_for(tokenizer, batch, part, prompt, fields, version)
            _fits(model, prompts[start : start + together], grammar.longest)
            if swift is not None and isinstance(grammar, Compact2Grammar):
                steps = Lockstep(swift, prompts[start : start + together], part, grammar.longest)
                draws = [window_rng(w, seed).random((5 * grammar.horizon, paths)) for w in batch]
                uniforms = np.hstack([d[:, first : first + part] for d in draws])
                _decode_in_step(steps, grammar, uniforms, temperature)
                parts.append((np.split(grammar.prices, len(batch)), np.split(grammar.volumes, len(batch))))
                continue
            decoder = SharedPrompts(model, prompts[start : start + together], part, grammar.longest)
            draws = [window_rng(w, seed).random((grammar.longest, paths)) for w in batch]
            _decode(decoder, grammar, np.hstack([d[:, first : first + part] for d in draws]), temperature)
            parts.append((np.split(grammar.prices, len(batch)), np.split(grammar.volumes, len(batch))))
        done += [
            Paths(np.concatenate([p[i] for p, _ in parts]), np.concatenate([v[i] for _, v in parts]))
            for i in range(len(batch))
        ]
        progress(len(done))
    return done


def _lockstep(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], prompt: PromptStyle, version: CompactVersion
) -> Plain | None:
    """The model as `Lockstep` takes it; None where its paths do not stay in step."""
    if prompt != "compact" or version != 2 or Compact2Tokens.of(tokenizer) is None:
        return None
    if len(set(map(len, prompts))) != 1:
        return None
    from stockllm.forecaster.models.lockstep import plain

    return plain(model, model.config.max_position_embeddings)


def _decode_in_step(
    decoder: Lockstep, grammar: Compact2Grammar, uniforms: NDArray[np.float64], temperature: float
) -> None:
    """Choose a token for every row at once until the grammar is satisfied; as `_decode` does."""
    import torch

    points = torch.from_numpy(uniforms.astype(np.float32))
    choice = 0
    while not grammar.done:
        feed = grammar.feed()
        if feed is not None:
            decoder.advance(torch.from_numpy(feed.tokens))
        first, low, high = grammar.span()
        lowest, many = int(low.min()), int(high.max()) - int(low.min()) + 1
        logits = decoder.logits(first, many) / temperature
        values = torch.arange(lowest, lowest + many)
        least, most = torch.from_numpy(low)[:, None], torch.from_numpy(high)[:, None]
        if int(low.max()) > lowest or int(high.min()) < lowest + many - 1:
            logits.masked_fill_((values < least) | (values > most), float("-inf"))
        shares = torch.softmax(logits, dim=-1).cumsum(dim=-1)
        # Rounding can leave the total a hair off 1, and a point must not fall behind the last choice.
        point = points[choice, :, None] * shares[:, -1:] * (1 - 1e-6)
        chosen = torch.searchsorted(shares, point, right=True)
        chosen = torch.minimum(torch.maximum(chosen, least - lowest), most - lowest)
        grammar.take(chosen[:, 0].numpy())
        choice += 1


def _fits(model: Any, prompts: Sequence[Sequence[int]], answer: int) -> None:
    """UsageError where prompt and longest answer pass the positions that the model knows."""
    config = getattr(model, "active_peft_config", None)
    virtual = int(getattr(config, "num_virtual_tokens", None) or 0)
    needed, known = virtual + max(map(len, prompts)) + answer, model.config.max_position_embeddings
    if needed > known:
        raise UsageError(
            f"This forecast can take {needed:,} tokens and the model reads {known:,}: "
            "ask for a shorter --horizon, or use --prompt compact.",
            zh=(
                f"這個預測可能要 {needed:,} 個詞元，而模型能讀 {known:,} 個：請要求較短的 "
                "--horizon，或用 --prompt compact。"
            ),
        )


def _slot(model: Any) -> int:
    """Bytes that the keys and values of one token take."""
    config = model.config
    head_dim = model.model.layers[0].self_attn.head_dim
    found: int = 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim * model.dtype.itemsize
    return found


def _rows(model: Any, tokens: int) -> int:
    """How many paths of so many tokens are decoded together."""
    cuda, slot = model.device.type == "cuda", _slot(model)
    most, cache = (ROWS_CUDA, CACHE_CUDA) if cuda else (ROWS, CACHE)
    return int(max(1, min(most, cache // (slot * tokens))))


def prompt_ids(
    tokenizer: Any,
    window: Window,
    prompt: PromptStyle,
    fields: Sequence[Field] = REFERENCE_FIELDS,
    version: CompactVersion = NEWEST,
) -> list[int]:
    """Token ids up to where the model's own words begin."""
    messages = prompt_messages(window, prompt, fields=fields, version=version)
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    ids = list(encoded["input_ids"])
    if prompt == "compact" and version == 2:
        # The first line's words are known: all paths share them.
        words = (window.words or Words.unknown(window.past)).lines[-1].tolist()
        ids += tokenizer.encode(" ".join(letter(word) for word in words), add_special_tokens=False)
    if prompt == "reference":
        # The opening sentence is the same in every answer; dates follow it from the calendar.
        opening = reference_opening(len(window.future_dates)).rstrip(" ")
        ids += tokenizer.encode(opening, add_special_tokens=False)
    return ids


def grammar_for(
    tokenizer: Any,
    windows: Sequence[Window],
    paths: int,
    prompt: PromptStyle,
    fields: Sequence[Field] = REFERENCE_FIELDS,
    version: CompactVersion = NEWEST,
) -> Grammar:
    """The grammar of the answers to some windows, ``paths`` rows a window."""
    if prompt == "reference":
        return reference_grammar(tokenizer, [_origin(window) for window in windows], fields, paths)
    state = PathState.joined([origin_state(window.history, paths) for window in windows])
    horizon = len(windows[0].future_dates)
    if version == 2:
        opened = np.repeat(np.array([w.opened or 0 for w in windows], dtype=np.int64), paths)
        spelled = Compact2Tokens.of(tokenizer)
        if spelled is None:
            return compact2_text_grammar(tokenizer, state, horizon, opened=opened)
        return Compact2Grammar(spelled, state, horizon, opened=opened)
    tokens = CompactTokens.of(tokenizer)
    if tokens is None:
        return compact_text_grammar(tokenizer, state, horizon)
    return CompactGrammar(tokens, state, horizon)


def _origin(window: Window) -> Origin:
    usual = round(float(np.exp2(encode(window.history).usual_volume[-1])))
    return Origin(round(float(window.history.close[-1]) * 100), usual, window.future_dates)


def window_rng(window: Window, seed: int) -> np.random.Generator:
    """A window's own random numbers, whatever else is sampled beside it."""
    return np.random.default_rng([seed, zlib.crc32(window.code.encode()), window.origin.toordinal()])


def _decode(
    decoder: SharedPrompts, grammar: Grammar, uniforms: NDArray[np.float64], temperature: float
) -> None:
    """Choose token after token until the grammar is satisfied.

    ``uniforms`` has shape (choices, rows): a row's n-th choice takes the n-th of its own numbers,
    however long the others make it wait.
    """
    import torch

    device = decoder.hidden.device
    made = np.zeros(uniforms.shape[1], dtype=np.int64)
    while not grammar.done:
        feed = grammar.feed()
        if feed is not None:
            decoder.advance(
                *(torch.from_numpy(part).to(device) for part in (feed.rows, feed.tokens, feed.counts))
            )
        offer = grammar.offer()
        rows, columns = torch.from_numpy(offer.rows).to(device), torch.from_numpy(offer.columns).to(device)
        logits = decoder.logits(rows, columns)
        logits = logits.masked_fill(~torch.from_numpy(offer.mask).to(device), float("-inf"))
        chosen = draw(logits / temperature, uniforms[made[offer.rows], offer.rows])
        made[offer.rows] += 1
        grammar.take(chosen.cpu().numpy())


def draw(logits: torch.Tensor, uniforms: NDArray[np.float64]) -> torch.Tensor:
    """One column a row, by inverse transform: row i takes the first whose cumulated share passes u_i.

    ``logits`` has shape (rows, columns), ``uniforms`` (rows,) lie in [0, 1). A column of
    probability zero is never taken.
    """
    import torch

    shares = torch.softmax(logits.double(), dim=-1)
    cumulated = shares.cumsum(dim=-1)
    # Rounding can leave the total a hair below u.
    points = torch.from_numpy(uniforms).to(logits.device)[:, None] * cumulated[:, -1:] * (1 - 1e-12)
    return torch.searchsorted(cumulated, points, right=True)[:, 0]
