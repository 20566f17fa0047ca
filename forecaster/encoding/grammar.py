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

from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS, PathState
from stockllm.forecaster.encoding.tries import Program, Trie, Walker

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
