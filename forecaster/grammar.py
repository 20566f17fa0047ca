"""Which tokens may follow, so that every reply is valid candles.

A grammar never repairs: it offers the model only continuations that stay valid. High is offered at
or above open, low at or below open, close between low and high, everything inside the day's limits,
and the reference price rolls forward inside every path. Parsing cannot fail, because a value is
known the moment its tokens are chosen.

``CompactGrammar`` serves all paths at once where every number is one token (the embedded model).
``TextGrammar`` serves any tokenizer and both styles, path by path, by walking tries of token
sequences.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.codec import BOUND, VOLUME_BUCKETS, PathState
from stockllm.forecaster.prompts import Field, price_text
from stockllm.forecaster.tries import Choice, Digits, Trie, Walker
from stockllm.market.ticks import limits, round_to_tick, tick

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]


class Grammar(Protocol):
    """What the sampling loop needs of a grammar over ``rows`` paths.

    ``prices`` (rows, horizon, 4; hundredths of a TWD) and ``volumes`` (rows, horizon; shares) are
    filled as the paths grow. ``longest`` bounds the tokens of one path.
    """

    prices: Ints
    volumes: Ints
    longest: int

    @property
    def done(self) -> bool:
        """Whether every path is complete."""

    @property
    def columns(self) -> slice | None:
        """The token ids the mask is about; None for the whole vocabulary."""

    def mask(self) -> torch.Tensor:
        """True where a token may follow, shape (rows, columns)."""

    def advance(self, tokens: Ints) -> None:
        """Take one token id a path, shape (rows,)."""


# --- the embedded model: one token a number ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class CompactTokens:
    """First token id of each run of numbers; values in order have ids in order."""

    opening: int
    inner: int
    volume: int
    last_volume: int

    @classmethod
    def of(cls, tokenizer: Any) -> CompactTokens | None:
        """None where this tokenizer needs more than one token for a number."""
        vocabulary = tokenizer.get_vocab()

        def run(pieces: Sequence[str]) -> int | None:
            # Byte-level vocabularies spell a space and a newline with these two letters.
            ids = [vocabulary.get(p.replace(" ", "Ġ").replace("\n", "Ċ"), -1) for p in pieces]
            return ids[0] if ids[0] >= 0 and ids == list(range(ids[0], ids[0] + len(ids))) else None

        numbers = [f"{n:+d}" for n in range(-BOUND, BOUND + 1)]
        opening, inner = run(numbers), run([f" {n}" for n in numbers])
        volume = run([f" {v}\n" for v in range(VOLUME_BUCKETS)])
        last_volume = run([f" {v}" for v in range(VOLUME_BUCKETS)])
        if opening is None or inner is None or volume is None or last_volume is None:
            return None
        return cls(opening, inner, volume, last_volume)


class CompactGrammar:
    """The compact style for all paths in step: five tokens a day, an interval of ids at each."""

    def __init__(self, tokens: CompactTokens, state: PathState, horizon: int) -> None:
        rows = len(state.reference)
        self.tokens, self.state, self.horizon = tokens, state, horizon
        self.prices = np.zeros((rows, horizon, 4), dtype=np.int64)
        self.volumes = np.zeros((rows, horizon), dtype=np.int64)
        self.longest = 5 * horizon
        self._day, self._slot = 0, 0
        self._steps = np.zeros((rows, 4), dtype=np.int64)

    @property
    def done(self) -> bool:
        return self._day == self.horizon

    @property
    def columns(self) -> slice:
        first = self._first
        return slice(first, first + (VOLUME_BUCKETS if self._slot == 4 else 2 * BOUND + 1))

    @property
    def _first(self) -> int:
        if self._slot == 4:
            return self.tokens.last_volume if self._day == self.horizon - 1 else self.tokens.volume
        return self.tokens.opening if self._slot == 0 else self.tokens.inner

    def mask(self) -> torch.Tensor:
        import torch

        rows = len(self.state.reference)
        if self._slot == 4:
            return torch.ones((rows, VOLUME_BUCKETS), dtype=torch.bool)
        low, high = self._bounds()
        numbers = torch.arange(-BOUND, BOUND + 1)[None, :]
        return (numbers >= torch.from_numpy(low)[:, None]) & (numbers <= torch.from_numpy(high)[:, None])

    def _bounds(self) -> tuple[Ints, Ints]:
        opened, high, low = self._steps[:, 0], self._steps[:, 1], self._steps[:, 2]
        return (
            (self.state.low_bound, self.state.high_bound),
            (opened, self.state.high_bound),
            (self.state.low_bound, opened),
            (low, high),
        )[self._slot]

    def advance(self, tokens: Ints) -> None:
        values = tokens - self._first
        if self._slot < 4:
            self._steps[:, self._slot] = values - BOUND
            self._slot += 1
            return
        day = self._day
        self.prices[:, day] = self.state.prices(self._steps)
        self.volumes[:, day] = self.state.volumes(values)
        self._day, self._slot = day + 1, 0
        if not self.done:
            self.state = self.state.after(self.prices[:, day, 3], values)


# --- any tokenizer, both styles ----------------------------------------------------------------


class TextGrammar:
    """Paths that each walk their own program of tries; works for every tokenizer."""

    def __init__(
        self, programs: Sequence[Generator[Choice, int, None]], vocabulary: int, longest: int
    ) -> None:
        self._walkers = [Walker(program) for program in programs]
        self._vocabulary = vocabulary
        self.longest = longest
        self.prices: Ints
        self.volumes: Ints

    @property
    def done(self) -> bool:
        return all(walker.done for walker in self._walkers)

    @property
    def columns(self) -> None:
        return None

    def mask(self) -> torch.Tensor:
        import torch

        mask = torch.zeros((len(self._walkers), self._vocabulary), dtype=torch.bool)
        for row, walker in enumerate(self._walkers):
            # A finished path idles on token 0 until the longest one is done; nothing reads it.
            mask[row, [0] if walker.done else walker.allowed()] = True
        return mask

    def advance(self, tokens: Ints) -> None:
        for walker, token in zip(self._walkers, tokens.tolist(), strict=True):
            if not walker.done:
                walker.advance(token)


def compact_text_grammar(tokenizer: Any, vocabulary: int, state: PathState, horizon: int) -> TextGrammar:
    """The compact style for a tokenizer that needs several tokens for a number."""

    def trie(texts: Sequence[str], first: int) -> Trie:
        return Trie.of(tokenizer, {first + i: text for i, text in enumerate(texts)})

    numbers = [f"{n:+d}" for n in range(-BOUND, BOUND + 1)]
    opening, inner = trie(numbers, -BOUND), trie([f" {n}" for n in numbers], -BOUND)
    volume = trie([f" {v}\n" for v in range(VOLUME_BUCKETS)], 0)
    last_volume = trie([f" {v}" for v in range(VOLUME_BUCKETS)], 0)
    rows = len(state.reference)
    prices = np.zeros((rows, horizon, 4), dtype=np.int64)
    volumes = np.zeros((rows, horizon), dtype=np.int64)

    def program(row: int) -> Generator[Choice, int, None]:
        now = state.row(row)
        for day in range(horizon):
            lowest, highest = int(now.low_bound[0]), int(now.high_bound[0])
            opened = yield opening, lowest, highest
            high = yield inner, opened, highest
            low = yield inner, lowest, opened
            close = yield inner, low, high
            bucket = yield (last_volume if day == horizon - 1 else volume), 0, VOLUME_BUCKETS - 1
            prices[row, day] = now.prices(np.array([[opened, high, low, close]]))[0]
            volumes[row, day] = now.volumes(np.array([bucket]))[0]
            now = now.after(prices[row, day, 3:4], np.array([bucket]))

    longest = horizon * sum(t.depth for t in (opening, inner, inner, inner, volume))
    grammar = TextGrammar([program(row) for row in range(rows)], vocabulary, longest)
    grammar.prices, grammar.volumes = prices, volumes
    return grammar


def reference_grammar(
    tokenizer: Any,
    vocabulary: int,
    reference: int,
    usual_volume: int,
    dates: Sequence[date],
    fields: Sequence[Field],
    rows: int,
) -> TextGrammar:
    """The reference style: dates are given, prices walk the tick grid, counts are free digits.

    ``reference`` is the price (hundredths of a TWD) the first day's limits are measured from.
    A day's volume stays within 64 times the usual (the compact style's buckets end at 16 times).
    A price the fields do not name is taken from those they do; the close must be among them.
    """
    if "Close" not in fields:
        raise ModelUnavailable(
            "This adapter's prompt fields lack Close, so its answers are no candles: train one with Close."
        )
    horizon = len(dates)
    lowest, highest = reference, reference
    for _ in dates:
        lowest, highest = limits(lowest)[0], limits(highest)[1]
    closing = {end: _closing(tokenizer, end) for end in (",", "\n", "")}
    grid = {price: f" {price_text(price / 100)}" for price in _grid(lowest, highest)}
    tries = {end: Trie.of(tokenizer, grid, [token]) for end, token in closing.items()}
    most = {"Capacity": usual_volume * 64, "Turnover": 10**13, "Transaction": 10**8}
    counts = {
        (name, end): Digits.of(tokenizer, token, most[name])
        for name in most
        for end, token in closing.items()
    }
    prices = np.zeros((rows, horizon, 4), dtype=np.int64)
    volumes = np.full((rows, horizon), usual_volume, dtype=np.int64)
    said: dict[str, Trie] = {}

    def say(text: str, *end: int) -> Choice:
        """A choice of one: the text itself."""
        if text not in said:
            said[text] = Trie.of(tokenizer, {0: text}, end)
        return said[text], 0, 0

    def program(row: int) -> Generator[Choice, int, None]:
        base = round_to_tick(reference)
        for day, when in enumerate(dates):
            down, up = limits(base)
            chosen: dict[str, int] = {}
            for place, name in enumerate(fields):
                lead = f" {when.isoformat()}," if place == 0 else ""
                end = "," if place < len(fields) - 1 else "\n" if day < horizon - 1 else ""
                if name in ("Open", "High", "Low", "Close"):
                    yield say(f"{lead} {name}:")
                    chosen[name] = yield (tries[end], *_price_bounds(chosen, name, down, up))
                elif name == "Change":
                    change = price_text((chosen["Close"] - base) / 100)
                    yield say(f"{lead} Change: {change}", closing[end])
                else:
                    yield say(f"{lead} {name}: ")
                    count = yield counts[name, end]
                    if name == "Capacity":
                        volumes[row, day] = count
            prices[row, day] = _candle(chosen, base)
            base = chosen["Close"]

    lead = len(tokenizer.encode(f" {dates[0].isoformat()}, Transaction: ", add_special_tokens=False))
    longest = horizon * len(fields) * (lead + max(c.depth for c in (*tries.values(), *counts.values())))
    grammar = TextGrammar([program(row) for row in range(rows)], vocabulary, longest)
    grammar.prices, grammar.volumes = prices, volumes
    return grammar


def _price_bounds(chosen: dict[str, int], name: Field, down: int, up: int) -> tuple[int, int]:
    """Where this price may lie, given the ones of the same day that were said before it."""
    if name == "High":
        return max(chosen.get("Open", down), down), up
    if name == "Low":
        return down, chosen.get("Open", chosen.get("High", up))
    if name == "Close":
        return chosen.get("Low", down), chosen.get("High", up)
    return down, up


def _candle(chosen: dict[str, int], base: int) -> tuple[int, int, int, int]:
    """Open, high, low, close from the prices that were said; the rest as narrow as they allow."""
    close = chosen["Close"]
    lowest = chosen.get("Low", min(base, close))
    highest = chosen.get("High", max(base, close))
    opened = chosen.get("Open", min(max(base, lowest), highest))
    return opened, chosen.get("High", max(opened, close)), chosen.get("Low", min(opened, close)), close


def _closing(tokenizer: Any, end: str) -> int:
    """The token behind a value: the separator, or the end of the turn."""
    if not end:
        return int(tokenizer.eos_token_id)
    ids = tokenizer.encode(end, add_special_tokens=False)
    if len(ids) != 1:
        raise ModelUnavailable(
            f"This model's tokenizer has no single token for {end!r}: choose a Llama-3 model."
        )
    return int(ids[0])


def _grid(lowest: int, highest: int) -> list[int]:
    """Every price on its tick from ``lowest`` to ``highest``, hundredths of a TWD."""
    prices, price = [], lowest
    while price <= highest:
        prices.append(price)
        price += tick(price)
    return prices
