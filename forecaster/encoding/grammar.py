"""Which tokens may follow, so that every reply is valid candles.

A grammar never repairs: it offers the model only continuations that stay valid. High is offered at
or above open, low at or below open, close between low and high, everything inside the day's limits,
and the reference price rolls forward inside every path. Parsing cannot fail, because a value is
known the moment its tokens are chosen.

``CompactGrammar`` serves all paths at once where every number is one token (the embedded model).
``TextGrammar`` serves any tokenizer and both styles, path by path, by walking tries of token
sequences; the programs of the reference style are in ``reference.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.encoding.codec import BOUND, STEPS_PER_SIGMA, VOLUME_BUCKETS, PathState
from stockllm.forecaster.encoding.tries import Program, Trie, Walker
from stockllm.forecaster.encoding.words import LETTERS, UNKNOWN

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model is to choose now: for each of ``rows`` one of the token ids ``columns``.

    ``mask`` (rows, columns) is True where a token may follow; every row has one that may.
    """

    rows: Ints
    columns: Ints
    mask: Bools


@dataclass(frozen=True, slots=True)
class Feed:
    """What the model is to read: for each of ``rows`` the first ``counts`` of its ``tokens`` (rows, t)."""

    rows: Ints
    tokens: Ints
    counts: Ints


class Grammar(Protocol):
    """What the sampling loop needs of a grammar: `feed`, `offer`, `take`, until it is `done`.

    ``prices`` (rows, horizon, 4; hundredths of a TWD) and ``volumes`` (rows, horizon; shares) are
    filled as the paths grow. ``longest`` bounds the tokens of one path.
    """

    prices: Ints
    volumes: Ints
    longest: int

    @property
    def done(self) -> bool:
        """Whether every path is complete."""

    def feed(self) -> Feed | None:
        """The tokens that stand fixed and that the model has yet to read, each handed out once."""

    def offer(self) -> Offer:
        """The next choice."""

    def take(self, chosen: Ints) -> None:
        """Each offered row's choice, as an index into the offer's columns."""


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

        def run(pieces: Sequence[str]) -> int | None:
            # Byte-level vocabularies spell a space and a newline with these two letters.
            spelled = [piece.replace(" ", "Ġ").replace("\n", "Ċ") for piece in pieces]
            first, *_ = ids = tokenizer.convert_tokens_to_ids(spelled)
            return first if first is not None and ids == list(range(first, first + len(ids))) else None

        opening, inner = run(_numbers("")), run(_numbers(" "))
        volume, last_volume = run(_buckets("\n")), run(_buckets(""))
        if opening is None or inner is None or volume is None or last_volume is None:
            return None
        return cls(opening, inner, volume, last_volume)


def _numbers(before: str) -> list[str]:
    return [f"{before}{n:+d}" for n in range(-BOUND, BOUND + 1)]


def _buckets(behind: str) -> list[str]:
    return [f" {v}{behind}" for v in range(VOLUME_BUCKETS)]


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
        self._all = np.arange(rows)
        self._chosen: Ints | None = None

    @property
    def done(self) -> bool:
        return self._day == self.horizon

    @property
    def _first(self) -> int:
        if self._slot == 4:
            return self.tokens.last_volume if self._day == self.horizon - 1 else self.tokens.volume
        return self.tokens.opening if self._slot == 0 else self.tokens.inner

    def feed(self) -> Feed | None:
        if self._chosen is None:
            return None
        return Feed(self._all, self._chosen[:, None], np.ones_like(self._chosen))

    def offer(self) -> Offer:
        rows = len(self._all)
        if self._slot == 4:
            return Offer(
                self._all,
                self._first + np.arange(VOLUME_BUCKETS),
                np.ones((rows, VOLUME_BUCKETS), dtype=np.bool_),
            )
        low, high = self._bounds()
        numbers = np.arange(-BOUND, BOUND + 1)
        mask = (numbers >= low[:, None]) & (numbers <= high[:, None])
        return Offer(self._all, self._first + BOUND + numbers, mask)

    def _bounds(self) -> tuple[Ints, Ints]:
        opened, high, low = self._steps[:, 0], self._steps[:, 1], self._steps[:, 2]
        return (
            (self.state.low_bound, self.state.high_bound),
            (opened, self.state.high_bound),
            (self.state.low_bound, opened),
            (low, high),
        )[self._slot]

    def take(self, chosen: Ints) -> None:
        self._chosen = self._first + chosen
        if self._slot < 4:
            self._steps[:, self._slot] = chosen - BOUND
            self._slot += 1
            return
        day = self._day
        self.prices[:, day] = self.state.prices(self._steps)
        self.volumes[:, day] = self.state.volumes(chosen)
        self._day, self._slot = day + 1, 0
        if not self.done:
            self.state = self.state.after(self.prices[:, day, 3], chosen)


# --- the second version of the compact style ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compact2Tokens:
    """Token ids of the second version's pieces; runs of numbers have ids in the order of their values.

    ``opening`` and ``inner`` (26,) are the letters at a line's beginning and within it, the unknown one
    last, so that number -1 finds it.
    """

    opening: Ints
    inner: Ints
    number: int
    shadow: int
    volume: int
    last_volume: int

    @classmethod
    def of(cls, tokenizer: Any) -> Compact2Tokens | None:
        """None where this tokenizer needs more than one token for a number or a letter."""

        def ids(pieces: Sequence[str]) -> list[int] | None:
            # Byte-level vocabularies spell a space and a newline with these two letters.
            spelled = [piece.replace(" ", "Ġ").replace("\n", "Ċ") for piece in pieces]
            found = tokenizer.convert_tokens_to_ids(spelled)
            return None if None in found else list(found)

        def run(pieces: Sequence[str]) -> int | None:
            found = ids(pieces)
            return found[0] if found and found == list(range(found[0], found[0] + len(found))) else None

        letters = [*LETTERS, UNKNOWN]
        opening, inner = ids(letters), ids([f" {one}" for one in letters])
        number, shadow = run(_numbers(" ")), run([f" {n}" for n in range(BOUND + 1)])
        volume, last = run([f" {one}\n" for one in LETTERS]), run([f" {one}" for one in LETTERS])
        if opening is None or inner is None or number is None or shadow is None:
            return None
        if volume is None or last is None:
            return None
        return cls(np.array(opening), np.array(inner), number, shadow, volume, last)


class Compact2Grammar:
    """The second version for all paths in step: open, close, two shadows and volume a day.

    Close is chosen right after open, so that its distribution is as the model says it. A shadow is as long
    as the limits leave it room, which makes every candle valid.

    :param words: (rows, WORDS) the words before the first day, as numbers of letters; None where the
        prompt ends with them.
    :param opened: (rows,) the first day's open in hundredths of a TWD; 0 where it is not known.
    """

    def __init__(
        self,
        tokens: Compact2Tokens,
        state: PathState,
        horizon: int,
        words: Ints | None = None,
        opened: Ints | None = None,
    ) -> None:
        rows = len(state.reference)
        self.tokens, self.state, self.horizon = tokens, state, horizon
        self.prices = np.zeros((rows, horizon, 4), dtype=np.int64)
        self.volumes = np.zeros((rows, horizon), dtype=np.int64)
        self.longest = (0 if words is None else words.shape[1]) + 6 * horizon
        self.opened = np.zeros(rows, dtype=np.int64) if opened is None else opened
        self._day, self._slot, self._lowest = 0, 0, 0
        self._steps = np.zeros((rows, 4), dtype=np.int64)
        self._all = np.arange(rows)
        self._next: Ints | None = None
        if words is not None:
            self._next = np.concatenate((tokens.opening[words[:, :1]], tokens.inner[words[:, 1:]]), axis=1)

    @property
    def done(self) -> bool:
        return self._day == self.horizon

    def feed(self) -> Feed | None:
        if self._next is None:
            return None
        return Feed(self._all, self._next, np.full(len(self._all), self._next.shape[1]))

    @property
    def _first(self) -> int:
        """The first token id of the run that is chosen from, whose values begin at -BOUND or 0."""
        if self._slot < 2:
            return self.tokens.number
        if self._slot < 4:
            return self.tokens.shadow
        return self.tokens.last_volume if self._day == self.horizon - 1 else self.tokens.volume

    def bounds(self) -> tuple[Ints, Ints]:
        """The least and the greatest value that each row may choose now."""
        opened, close = self._steps[:, 0], self._steps[:, 1]
        low, high = self.state.low_bound, self.state.high_bound
        if self._slot == 0 and self._day == 0 and self.opened.any():
            step = self.state.sigma / STEPS_PER_SIGMA
            given = np.log(np.maximum(self.opened, 1) / self.state.reference) / step
            place = np.clip(np.rint(given).astype(np.int64), low, high)
            known = self.opened > 0
            return np.where(known, place, low), np.where(known, place, high)
        if self._slot < 2:
            return low, high
        if self._slot == 2:
            return np.zeros_like(low), np.minimum(high - np.maximum(opened, close), BOUND)
        if self._slot == 3:
            return np.zeros_like(low), np.minimum(np.minimum(opened, close) - low, BOUND)
        return np.zeros_like(low), np.full_like(low, VOLUME_BUCKETS - 1)

    def span(self) -> tuple[int, Ints, Ints]:
        """What may be chosen: the token id of ``low.min()``, and the bounds ``low`` and ``high`` of each row.

        No row may choose a value outside ``low.min()`` to ``high.max()``, which are few of all numbers.
        """
        low, high = self.bounds()
        self._lowest = int(low.min())
        return self._first + self._lowest + (BOUND if self._slot < 2 else 0), low, high

    def offer(self) -> Offer:
        first, low, high = self.span()
        values = np.arange(self._lowest, int(high.max()) + 1)
        mask = (values >= low[:, None]) & (values <= high[:, None])
        return Offer(self._all, first + values - self._lowest, mask)

    def take(self, chosen: Ints) -> None:
        value = self._lowest + chosen
        self._next = (self._first + value + (BOUND if self._slot < 2 else 0))[:, None]
        if self._slot < 4:
            self._steps[:, self._slot] = value
            self._slot += 1
            return
        day = self._day
        opened, close, upper, lower = self._steps.T
        high, low = np.maximum(opened, close) + upper, np.minimum(opened, close) - lower
        prices = self.state.prices(np.stack((opened, high, low, close), axis=1))
        if day == 0:
            prices = with_open(prices, self.opened)
        self.prices[:, day] = prices
        self.volumes[:, day] = self.state.volumes(chosen)
        self._day, self._slot = day + 1, 0
        if not self.done:
            self.state = self.state.after(prices[:, 3], chosen)
            unknown = np.full((len(chosen), 1), self.tokens.opening[-1])
            self._next = np.concatenate((self._next, unknown), axis=1)


def with_open(prices: Ints, opened: Ints) -> Ints:
    """Candles (rows, 4) with the open that is known, to the tick; 0 leaves one as it was drawn."""
    out = prices.copy()
    known = opened > 0
    out[known, 0] = opened[known]
    out[known, 1] = np.maximum(out[known, 1], opened[known])
    out[known, 2] = np.minimum(out[known, 2], opened[known])
    return out


# --- any tokenizer, both styles ----------------------------------------------------------------


#: A choice and what it forces in the same number, such as "3", ".0": what is longer ends the number.
WITHIN_A_NUMBER = 3


class TextGrammar:
    """Paths that each walk their own program of tries; works for every tokenizer.

    Paths spell numbers of different lengths. Those that are through with one wait, so that the
    words behind it, which are the same for all, are read by the model together and at once.
    """

    def __init__(self, programs: Sequence[Program], prices: Ints, volumes: Ints, longest: int) -> None:
        """``programs``, one a path, fill ``prices`` and ``volumes`` as they are walked."""
        self.prices, self.volumes, self.longest = prices, volumes, longest
        self._walkers = [Walker(program) for program in programs]
        # Tokens that stand fixed and were not yet fed, by row.
        self._pending = [walker.forced() for walker in self._walkers]
        self._offer: Offer

    @property
    def done(self) -> bool:
        return all(walker.done for walker in self._walkers)

    def feed(self) -> Feed | None:
        waiting = {
            row: tokens for row, tokens in enumerate(self._pending) if tokens and not self._walkers[row].done
        }
        eager = {row: tokens for row, tokens in waiting.items() if len(tokens) <= WITHIN_A_NUMBER}
        fed = eager or waiting
        if not fed:
            return None
        tokens = np.zeros((len(fed), max(map(len, fed.values()))), dtype=np.int64)
        for i, (row, pending) in enumerate(fed.items()):
            tokens[i, : len(pending)] = pending
            self._pending[row] = []
        return Feed(np.array(list(fed)), tokens, np.array([len(pending) for pending in fed.values()]))

    def offer(self) -> Offer:
        rows = [r for r, w in enumerate(self._walkers) if w.options and not self._pending[r]]
        columns = sorted({token for row in rows for token in self._walkers[row].options})
        place = {token: i for i, token in enumerate(columns)}
        mask = np.zeros((len(rows), len(columns)), dtype=np.bool_)
        for i, row in enumerate(rows):
            mask[i, [place[token] for token in self._walkers[row].options]] = True
        self._offer = Offer(np.array(rows), np.array(columns), mask)
        return self._offer

    def take(self, chosen: Ints) -> None:
        tokens = self._offer.columns[chosen]
        for row, token in zip(self._offer.rows.tolist(), tokens.tolist(), strict=True):
            self._walkers[row].take(token)
            self._pending[row] = [token, *self._walkers[row].forced()]


def compact_text_grammar(tokenizer: Any, state: PathState, horizon: int) -> TextGrammar:
    """The compact style for a tokenizer that needs several tokens for a number.

    :raises ModelUnavailable: where it has no token for whole numbers.
    """

    def trie(texts: Sequence[str], first: int) -> Trie:
        return Trie.of(tokenizer, {first + i: text for i, text in enumerate(texts)})

    opening, inner = trie(_numbers(""), -BOUND), trie(_numbers(" "), -BOUND)
    volume, last_volume = trie(_buckets("\n"), 0), trie(_buckets(""), 0)
    rows = len(state.reference)
    prices = np.zeros((rows, horizon, 4), dtype=np.int64)
    volumes = np.zeros((rows, horizon), dtype=np.int64)

    def program(row: int) -> Program:
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
    return TextGrammar([program(row) for row in range(rows)], prices, volumes, longest)


def compact2_text_grammar(
    tokenizer: Any,
    state: PathState,
    horizon: int,
    words: Ints | None = None,
    opened: Ints | None = None,
) -> TextGrammar:
    """The second version for a tokenizer that needs several tokens for a number; see `Compact2Grammar`.

    :raises ModelUnavailable: where it has no token for whole numbers.
    """

    def trie(texts: Sequence[str], first: int = 0) -> Trie:
        return Trie.of(tokenizer, {first + i: text for i, text in enumerate(texts)})

    # What stands fixed is a trie of one value behind the piece before it.
    letters = [*LETTERS, UNKNOWN]
    number, shadow = trie(_numbers(" "), -BOUND), trie([f" {n}" for n in range(BOUND + 1)])
    starts = trie(letters)
    inner = trie([f" {one}" for one in letters])
    volume, last_volume = trie([f" {one}\n?" for one in LETTERS]), trie([f" {one}" for one in LETTERS])
    rows = len(state.reference)
    given = np.zeros(rows, dtype=np.int64) if opened is None else opened
    prices = np.zeros((rows, horizon, 4), dtype=np.int64)
    volumes = np.zeros((rows, horizon), dtype=np.int64)

    def program(row: int) -> Program:
        now = state.row(row)
        for k, word in enumerate(() if words is None else words[row].tolist()):
            at = word % len(letters)
            yield (inner if k else starts), at, at
        for day in range(horizon):
            lowest, highest = int(now.low_bound[0]), int(now.high_bound[0])
            first, last = lowest, highest
            if day == 0 and given[row]:
                step = float(now.sigma[0]) / STEPS_PER_SIGMA
                place = round(float(np.log(given[row] / now.reference[0])) / step)
                first = last = min(max(place, lowest), highest)
            begun = yield number, first, last
            close = yield number, lowest, highest
            upper = yield shadow, 0, min(highest - max(begun, close), BOUND)
            lower = yield shadow, 0, min(min(begun, close) - lowest, BOUND)
            bucket = yield (last_volume if day == horizon - 1 else volume), 0, VOLUME_BUCKETS - 1
            high, low = max(begun, close) + upper, min(begun, close) - lower
            made = now.prices(np.array([[begun, high, low, close]]))
            prices[row, day] = with_open(made, given[row : row + 1])[0] if day == 0 else made[0]
            volumes[row, day] = now.volumes(np.array([bucket]))[0]
            now = now.after(prices[row, day, 3:4], np.array([bucket]))

    longest = 4 * max(starts.depth, inner.depth) + horizon * (
        2 * number.depth + 2 * shadow.depth + volume.depth
    )
    return TextGrammar([program(row) for row in range(rows)], prices, volumes, longest)
