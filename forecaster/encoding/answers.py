"""What a model wrote of its own accord, read back: candles, or why it is none.

Sampling here never needs this: under a grammar a value is known the moment its tokens are chosen. A
server elsewhere, and a model that is asked without a grammar, answer in plain text. What is taken is
what the grammars offer, no more: prices in order, on their tick, inside their limits. Nothing is
repaired.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import PromptStyle
from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS, PathState, encode, origin_state
from stockllm.forecaster.encoding.prompts import NEWEST, CompactVersion, reference_opening
from stockllm.forecaster.encoding.reference import VOLUME_SPAN
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.encoding.words import LETTERS
from stockllm.market.ticks import limits, round_to_tick

Ints = NDArray[np.int64]

_COMPACT = re.compile(r"([+-]\d{1,3}) ([+-]\d{1,3}) ([+-]\d{1,3}) ([+-]\d{1,3}) (\d{1,2})")
_COMPACT_2 = re.compile(
    r"(?:(?:[a-y?] ){3}[a-y?]|\?) ([+-]\d{1,3}) ([+-]\d{1,3}) (\d{1,3}) (\d{1,3}) ([a-y])"
)
_PRICE = r"(\d{1,7}(?:\.\d{1,2})?)"
_REFERENCE = re.compile(
    r"(?:Date: *)?(\d{4}-\d{2}-\d{2}), *"
    + ", *".join(f"{name}: *{_PRICE}" for name in ("Open", "High", "Low", "Close"))
    + r", *Capacity: *(\d{1,15})"
)


class NoCandles(Exception):
    """A text that is not the candles asked for; the message says why in a few words, ``zh`` in Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.zh = zh


@dataclass(frozen=True, slots=True)
class Answer:
    """One path: ``prices`` (horizon, 4) in hundredths of a TWD, ``volumes`` (horizon,) in shares.

    ``exact`` says whether the text was nothing but the answer, as training has it; sentences around
    it, a fence of code, and days beyond those asked for are passed over.
    """

    prices: Ints
    volumes: Ints
    exact: bool


class Reader:
    """Reads the answers to one window's question."""

    def __init__(self, window: Window, prompt: PromptStyle, version: CompactVersion = NEWEST) -> None:
        self.window, self.prompt, self.version = window, prompt, version
        self._state = origin_state(window.history, 1)
        self._usual = round(float(np.exp2(encode(window.history).usual_volume[-1])))

    def read(self, text: str) -> Answer:
        """The path that a text says.

        :raises NoCandles: where it says none, or one that cannot trade.
        """
        rows, exact = self._rows(text)
        horizon = len(self.window.future_dates)
        if not rows:
            raise NoCandles("no candles in it", "沒有 K 線")
        if len(rows) < horizon:
            days = "day" if len(rows) == 1 else "days"
            raise NoCandles(
                f"{len(rows)} {days} in place of {horizon}", f"只有 {len(rows)} 日，而非 {horizon} 日"
            )
        # A model that does not stop in time has still said the days it was asked for.
        exact = exact and len(rows) == horizon
        rows = rows[:horizon]
        prices, volumes = self._compact(rows) if self.prompt == "compact" else self._reference(rows)
        return Answer(prices, volumes, exact)

    def _rows(self, text: str) -> tuple[list[re.Match[str]], bool]:
        """The lines that are days, and whether there are no others; days stand together."""
        form = _REFERENCE
        if self.prompt == "compact":
            form = _COMPACT_2 if self.version == 2 else _COMPACT
        lines = text.strip().splitlines()
        if self.prompt == "reference":
            opening = reference_opening(len(self.window.future_dates)).split("\n")[0]
            lines = lines[1:] if lines and lines[0].strip() == opening else lines
        found = [form.fullmatch(line.strip()) for line in lines]
        at = [i for i, match in enumerate(found) if match]
        if at and at[-1] - at[0] + 1 != len(at):
            raise NoCandles("words between the days", "日與日之間有文字")
        return [match for match in found if match], len(at) == len(lines)

    def _compact(self, rows: Sequence[re.Match[str]]) -> tuple[Ints, Ints]:
        state: PathState = self._state
        prices, volumes = np.zeros((len(rows), 4), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        for day, row in enumerate(rows):
            if self.version == 2:
                opened, close, upper, lower = (int(part) for part in row.groups()[:4])
                bucket = LETTERS.index(row.group(5))
                high, low = max(opened, close) + upper, min(opened, close) - lower
            else:
                opened, high, low, close, bucket = (int(part) for part in row.groups())
            if not low <= min(opened, close) <= max(opened, close) <= high:
                raise NoCandles("prices out of order", "價格順序不對")
            lowest, highest = int(state.low_bound[0]), int(state.high_bound[0])
            if low < max(lowest, -BOUND) or high > min(highest, BOUND):
                raise NoCandles("a price past its daily limit", "價格超過漲跌停")
            if bucket >= VOLUME_BUCKETS:
                raise NoCandles("a volume that is none", "成交量不合理")
            prices[day] = state.prices(np.array([[opened, high, low, close]]))[0]
            volumes[day] = state.volumes(np.array([bucket]))[0]
            state = state.after(prices[day, 3:4], np.array([bucket]))
        return prices, volumes

    def _reference(self, rows: Sequence[re.Match[str]]) -> tuple[Ints, Ints]:
        base = round(float(self.window.history.close[-1]) * 100)
        prices, volumes = np.zeros((len(rows), 4), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        for day, row in enumerate(rows):
            when, *numbers, shares = row.groups()
            if when != self.window.future_dates[day].isoformat():
                raise NoCandles("other days than those asked for", "不是所問的日期")
            prices[day] = opened, high, low, close = [round(float(number) * 100) for number in numbers]
            if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
                raise NoCandles("prices out of order", "價格順序不對")
            down, up = limits(base)
            if low < down or high > up:
                raise NoCandles("a price past its daily limit", "價格超過漲跌停")
            if not np.array_equal(round_to_tick(prices[day]), prices[day]):
                raise NoCandles("a price off its tick", "價格不在升降單位上")
            volumes[day] = int(shares)
            if volumes[day] > self._usual * VOLUME_SPAN:
                raise NoCandles("a volume that is none", "成交量不合理")
            base = close
        return prices, volumes
