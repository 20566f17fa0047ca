"""The grammar of the reference style: its sentences with prices on the tick grid, as programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.encoding.grammar import TextGrammar
from stockllm.forecaster.encoding.prompts import Field, price_text
from stockllm.forecaster.encoding.tries import Choice, Digits, Program, Trie
from stockllm.market.ticks import limits, round_to_tick, tick

#: A day's volume in an answer is at most this many times the usual.
VOLUME_SPAN = 64


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a window's reference-style answer starts.

    ``close`` is the last close in hundredths of a TWD, ``usual_volume`` in shares; ``dates`` are the
    sessions to forecast.
    """

    close: int
    usual_volume: int
    dates: tuple[date, ...]


def reference_grammar(
    tokenizer: Any, origins: Sequence[Origin], fields: Sequence[Field], paths: int
) -> TextGrammar:
    """The reference style, ``paths`` rows an origin: dates are given, prices walk the tick grid.

    Counts are free digits; a day's volume stays within 64 times the usual (the compact style's
    buckets end at 16 times). A price that the fields do not name is taken from those they do.

    :param fields: in the order of `prompts.ALL_FIELDS`.
    :raises ModelUnavailable: where the fields lack the close, or a separator is several tokens.
    """
    if "Close" not in fields:
        raise ModelUnavailable(
            "This adapter's prompt fields lack Close, so its answers are no candles: train one with Close.",
            zh="這個轉接器的提示欄位沒有 Close，回答不成 K 線：請用 Close 訓練一個。",
        )
    words = _ReferenceWords(tokenizer, origins)
    horizon = len(origins[0].dates)
    prices = np.zeros((len(origins) * paths, horizon, 4), dtype=np.int64)
    volumes = np.zeros((len(origins) * paths, horizon), dtype=np.int64)

    def program(row: int) -> Program:
        origin = origins[row // paths]
        base = origin.close
        for day, when in enumerate(origin.dates):
            down, up = limits(base)
            chosen: dict[str, int] = {}
            volumes[row, day] = origin.usual_volume
            for name, lead, end in _places(fields, when, last=day == horizon - 1):
                if name in ("Open", "High", "Low", "Close"):
                    yield words.literal(f"{lead} {name}:")
                    chosen[name] = yield (words.prices(end), *_price_bounds(chosen, name, down, up))
                elif name == "Change":
                    change = price_text((chosen["Close"] - base) / 100)
                    yield words.literal(f"{lead} Change: {change}", end)
                else:
                    yield words.literal(f"{lead} {name}: ")
                    count = yield words.count(name, origin, end)
                    if name == "Capacity":
                        volumes[row, day] = count
            prices[row, day] = _candle(chosen, base)
            base = chosen["Close"]

    longest = horizon * words.longest_day(fields)
    return TextGrammar([program(row) for row in range(len(prices))], prices, volumes, longest)


def _places(fields: Sequence[Field], when: date, *, last: bool) -> Iterator[tuple[Field, str, str]]:
    """Each field of a day with what stands before its name and behind its value."""
    for place, name in enumerate(fields):
        lead = f" {when.isoformat()}," if place == 0 else ""
        yield name, lead, "," if place < len(fields) - 1 else "" if last else "\n"


class _ReferenceWords:
    """The pieces of a reference-style answer in a tokenizer's tokens, made when first asked for."""

    def __init__(self, tokenizer: Any, origins: Sequence[Origin]) -> None:
        self._tokenizer, self._origins = tokenizer, origins
        self._literals: dict[tuple[str, str | None], Trie] = {}
        self._prices: dict[str, Trie] = {}
        self._counts: dict[tuple[str, int, str], Digits] = {}

    def literal(self, text: str, end: str | None = None) -> Choice:
        """A choice of one: the text itself, closed by ``end`` where there is one."""
        key = text, end
        if key not in self._literals:
            closing = [] if end is None else [self._closing(end)]
            self._literals[key] = Trie.of(self._tokenizer, {0: text}, closing)
        return self._literals[key], 0, 0

    def prices(self, end: str) -> Trie:
        """Every price that any of the origins can reach, in hundredths of a TWD."""
        if end not in self._prices:
            lowest = min(origin.close for origin in self._origins)
            highest = max(origin.close for origin in self._origins)
            for _ in self._origins[0].dates:
                lowest, highest = limits(lowest)[0], limits(highest)[1]
            texts = {price: f" {price_text(price / 100)}" for price in _grid(lowest, highest)}
            self._prices[end] = Trie.of(self._tokenizer, texts, [self._closing(end)])
        return self._prices[end]

    def count(self, name: Field, origin: Origin, end: str) -> Digits:
        """A day's volume, value or number of trades."""
        most = {"Capacity": origin.usual_volume * VOLUME_SPAN, "Turnover": 10**13}.get(name, 10**8)
        key = name, most, end
        if key not in self._counts:
            self._counts[key] = Digits.of(self._tokenizer, self._closing(end), most)
        return self._counts[key]

    def longest_day(self, fields: Sequence[Field]) -> int:
        """No day takes more tokens than this."""
        largest = max(self._origins, key=lambda origin: origin.usual_volume)
        tokens = 0
        for name, lead, end in _places(fields, largest.dates[0], last=False):
            if name in ("Open", "High", "Low", "Close"):
                tokens += self._length(f"{lead} {name}:") + self.prices(end).depth
            elif name == "Change":
                tokens += self._length(f"{lead} Change: -99999.99,")
            else:
                tokens += self._length(f"{lead} {name}: ") + self.count(name, largest, end).depth
        return tokens

    def _length(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _closing(self, end: str) -> int:
        """The token behind a value: the separator, or the end of the turn."""
        if not end:
            return int(self._tokenizer.eos_token_id)
        ids = self._tokenizer.encode(end, add_special_tokens=False)
        if len(ids) != 1:
            raise ModelUnavailable(
                f"This model's tokenizer has no single token for {end!r}: choose a Llama-3 model.",
                zh=f"這個模型的分詞器沒有對應 {end!r} 的單一詞元：請選擇 Llama-3 模型。",
            )
        return int(ids[0])


def _price_bounds(chosen: dict[str, int], name: Field, down: int, up: int) -> tuple[int, int]:
    """Where this price may lie, given the ones of the same day that were said before it."""
    if name == "High":
        return chosen.get("Open", down), up
    if name == "Low":
        return down, chosen.get("Open", chosen.get("High", up))
    if name == "Close":
        return chosen.get("Low", down), chosen.get("High", up)
    return down, up


def _candle(chosen: dict[str, int], base: int) -> tuple[int, int, int, int]:
    """Open, high, low, close from the prices that were said; the rest as narrow as they allow."""
    close, unmoved = chosen["Close"], round_to_tick(base)
    lowest = chosen.get("Low", min(unmoved, close))
    highest = chosen.get("High", max(unmoved, close))
    opened = chosen.get("Open", min(max(unmoved, lowest), highest))
    return opened, chosen.get("High", max(opened, close)), chosen.get("Low", min(opened, close)), close


def _grid(lowest: int, highest: int) -> list[int]:
    """Every price on its tick from ``lowest`` to ``highest``, hundredths of a TWD."""
    prices, price = [], lowest
    while price <= highest:
        prices.append(price)
        price += tick(price)
    return prices
