"""What pretraining reads: windows of many stocks as token ids, cut afresh for every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory
from stockllm.forecaster.encoding.codec import BOUND, VOLUME_BUCKETS, VOLUME_MIDDLE, WARM_UP, encode_moves
from stockllm.forecaster.encoding.prompts import (
    COMPACT_SYSTEM_2,
    shadows,
    training_messages,
    volatility_label,
)
from stockllm.forecaster.encoding.tokenizer import volatility_labels
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.encoding.words import HEADS, LETTERS, MIDDLE, UNKNOWN, WORDS
from stockllm.forecaster.outlook.network import BOTH, EVENING, NEW_YORK, NIGHT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stockllm.data.records import BarSeries
    from stockllm.forecaster.outlook.outlook import Outlook
    from stockllm.forecaster.pretraining.recipe import Recipe
    from stockllm.forecaster.pretraining.teachers import Teachers

Ints = NDArray[np.int64]

#: Days a stock must have to be trained on.
SHORTEST = 80
#: What the tokens weigh that a grammar gives anyway: enough to be learnt.
FORM = 0.1
#: Rows whose words are computed together.
_CHUNK = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """All days of all stocks, one stock after the other, in n rows.

    ``starts`` (stocks + 1,) the rows of each; ``days`` (n,) ordinals; ``steps`` (n, 4) open, close, upper
    and lower shadow; ``buckets`` (n,); ``sigma`` (n,) known before each day. ``lines`` (4, n,
    WORDS) and ``heads`` (4, n, 4) the words before each day, by what is shown of the world.
    """

    starts: Ints
    days: Ints
    steps: NDArray[np.int16]
    buckets: NDArray[np.int8]
    sigma: NDArray[np.float32]
    lines: NDArray[np.int8]
    heads: NDArray[np.int8]

    @classmethod
    def of(cls, outlook: Outlook, columns: Sequence[int], until: int, teachers: Teachers) -> Reading:
        """The days of some stocks of an outlook up to ``until``, with the words of their teachers."""
        panel = outlook.panel
        end = int(np.searchsorted(panel.days, until, side="right"))
        rows_of, steps, buckets, sigmas = [], [], [], []
        for column in columns:
            rows = np.flatnonzero(panel.traded[:end, column])
            if len(rows) < SHORTEST:
                continue
            moves = panel.moves[rows, column].astype(np.float64)
            encoded = encode_moves(moves, panel.volume[rows, column].astype(np.float64))
            # The first days share a start value taken from themselves: leave them out.
            kept = slice(WARM_UP, len(rows))
            rows_of.append((column, rows[kept]))
            steps.append(shadows(encoded.steps[kept]).astype(np.int16))
            buckets.append(encoded.buckets[kept].astype(np.int8))
            sigmas.append(encoded.sigma[:-1][kept].astype(np.float32))
        if not rows_of:
            raise NotEnoughHistory(
                f"No company has the {SHORTEST} days that pretraining needs; import more history.",
                zh=f"沒有任何公司有預訓練所需的 {SHORTEST} 天：請匯入更多歷史。",
            )
        rows = np.concatenate([r for _, r in rows_of])
        cols = np.concatenate([np.full(len(r), c) for c, r in rows_of])
        lines = np.full((4, len(rows), WORDS), -1, dtype=np.int8)
        heads = np.full((4, len(rows), 2 * len(HEADS)), -1, dtype=np.int8)
        days = panel.days[rows]
        for teacher in teachers.block:
            mine = np.flatnonzero((days >= teacher.first) & (days <= teacher.last) & (rows > 0))
            for first in range(0, len(mine), _CHUNK):
                part = mine[first : first + _CHUNK]
                for shown in (EVENING, NEW_YORK, BOTH, NIGHT):
                    table, ends = outlook.letters(teacher.network, rows[part], cols[part], shown)
                    lines[shown, part], heads[shown, part] = table, ends
        sizes = np.array([len(r) for _, r in rows_of])
        return cls(
            np.concatenate(([0], np.cumsum(sizes))), days, np.concatenate(steps), np.concatenate(buckets),
            np.concatenate(sigmas), lines, heads,
        )  # fmt: skip


class Vocabulary:
    """Token ids of the second compact style's pieces."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        def ids(text: str) -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=False))

        def one(text: str) -> int:
            found = tokenizer.convert_tokens_to_ids(text.replace(" ", "Ġ").replace("\n", "Ċ"))
            assert found is not None, text
            return int(found)

        letters = [*LETTERS, UNKNOWN]
        # The unknown letter has number -1, which stands last in each table.
        self.opening = np.array([one(x) for x in letters])
        self.inner = np.array([one(f" {x}") for x in letters])
        self.ending = np.array([one(f" {x}\n") for x in LETTERS])
        self.number = one(f" {-BOUND:+d}")
        self.shadow = one(" 0")
        self.unknown = self.opening[-1]
        self.month, self.newline = ids(" month"), ids("\n")
        labels = {text: ids(f"volatility {text}\nweek") for text in volatility_labels()}
        self.heads = labels
        template: dict[str, Any] = {"tokenize": True, "return_dict": True}
        marker = "Predict"
        chat = tokenizer.apply_chat_template(
            [{"role": "system", "content": COMPACT_SYSTEM_2}, {"role": "user", "content": marker}], **template
        )["input_ids"]
        mark, end = ids(marker), int(tokenizer.eos_token_id)
        self.before = list(chat[: len(chat) - len(mark) - 1])
        generation = tokenizer.apply_chat_template(
            [{"role": "user", "content": marker}], add_generation_prompt=True, **template
        )["input_ids"]
        plain = tokenizer.apply_chat_template([{"role": "user", "content": marker}], **template)["input_ids"]
        self.turn = [end, *generation[len(plain) :]]
        self.ask = {n: ids(f"Predict the next {'1 day' if n == 1 else f'{n} days'}:") for n in (1, 5, 20)}
        self.end = end


class Batches:
    """An endless supply of batches of token ids and weights, drawn with one seeded generator."""

    def __init__(
        self,
        reading: Reading,
        series: Sequence[BarSeries],
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
    ) -> None:
        self.reading, self.tokenizer, self.recipe = reading, tokenizer, recipe
        self.rng = np.random.default_rng(recipe.seed)
        self.words = Vocabulary(tokenizer)
        #: A few series that the reference style's windows are cut from.
        self.series = [s for s in series if len(s) >= SHORTEST]
        past, future = recipe.longest_past, recipe.longest_future
        sizes = np.diff(reading.starts)
        # Every row that may be a window's first day ahead, and how likely it is.
        place = np.arange(len(reading.days)) - np.repeat(reading.starts[:-1], sizes)
        left = np.repeat(reading.starts[1:], sizes) - np.arange(len(reading.days))
        self.rows = np.flatnonzero((place >= past) & (left >= future))
        if not len(self.rows):
            raise NotEnoughHistory(
                f"No company has the {past + future + WARM_UP} days of a window; import more history.",
                zh=f"沒有任何公司有一個視窗所需的 {past + future + WARM_UP} 天：請匯入更多歷史。",
            )
        age = reading.days.max() - reading.days[self.rows]
        self.chances = np.cumsum(np.exp(-age / recipe.memory))

    def batch(self) -> tuple[Ints, NDArray[np.float32]]:
        """Ids (rows, length) and what each weighs in the loss as the next token; windows of one shape."""
        recipe, rng = self.recipe, self.rng
        if self.series and rng.random() < recipe.reference_share:
            return self._reference()
        future = int(rng.choice([1, 5, recipe.longest_future], p=[0.15, 0.4, 0.45]))
        past = int(rng.choice([5, 20, recipe.longest_past], p=[0.08, 0.12, 0.8]))
        length = past * 9 + future * 6 + 60
        rows = max(1, recipe.batch_tokens // length)
        firsts = self.rows[np.searchsorted(self.chances, rng.random(rows) * self.chances[-1])]
        return self.windows(firsts, past, future)

    def windows(self, firsts: Ints, past: int, future: int) -> tuple[Ints, NDArray[np.float32]]:
        """Windows whose first day ahead is each of ``firsts`` (rows of the reading)."""
        reading, recipe, rng, words = self.reading, self.recipe, self.rng, self.words
        n = len(firsts)
        shown = rng.choice(4, n, p=recipe.shown)
        ahead = np.where(rng.random(n) < recipe.evening_share, EVENING, shown)
        at = firsts[:, None] + np.arange(-past, future)
        steps = reading.steps[at].astype(np.int64)
        lines = reading.lines[shown[:, None], at[:, : past + 1]].astype(np.int64)
        lines[:, past] = reading.lines[ahead, firsts]
        heads = reading.heads[ahead, firsts].astype(np.int64)
        flip = rng.random(n) < recipe.mirror_share
        steps[flip, :, :2] *= -1
        steps[flip, :, 2:] = steps[flip][:, :, [3, 2]]
        for table, columns in ((lines, [0, 1, 2]), (heads, [0, 2])):
            for column in columns:
                part = table[flip, ..., column]
                table[flip, ..., column] = np.where(part >= 0, 2 * MIDDLE - part, part)
        lines[rng.random(n) < recipe.market_hidden, :, 0] = -1
        silent = rng.random(n) < recipe.network_hidden
        lines[silent, :, 2:] = -1
        heads[silent] = -1
        buckets = reading.buckets[at].astype(np.int64)
        five = np.concatenate(
            (
                steps[..., :2] + BOUND + words.number,
                steps[..., 2:] + words.shadow,
                words.ending[buckets][..., None],
            ),
            axis=-1,
        )
        # The last line of an answer ends without a newline.
        five[:, -1, 4] = words.inner[buckets[:, -1]]
        weigh = np.array(recipe.weights, dtype=np.float32)
        opened = np.stack(
            [
                words.opening[lines[:, : past + 1, 0]],
                *(words.inner[lines[:, : past + 1, k]] for k in (1, 2, 3)),
            ],
            axis=-1,
        )
        known = np.concatenate((opened, five[:, : past + 1]), axis=-1).reshape(n, past + 1, 9)
        rest = np.concatenate((np.full((n, future - 1, 1), words.unknown), five[:, past + 1 :]), axis=-1)
        first = [words.heads[volatility_label(float(s))] for s in reading.sigma[firsts - past]]
        parts = [
            np.tile(words.before, (n, 1)), np.array(first),
            words.inner[heads[:, :2]], np.tile(words.month, (n, 1)), words.inner[heads[:, 2:]],
            np.tile(words.newline, (n, 1)), known[:, :past].reshape(n, -1),
            np.tile([*words.ask[future], *words.turn], (n, 1)), known[:, past].reshape(n, -1),
            rest.reshape(n, -1), np.full((n, 1), words.end),
        ]  # fmt: skip
        none = np.zeros
        line = np.concatenate((none(4, np.float32), weigh))
        masks = [
            none(sum(p.shape[1] for p in parts[:6])), np.tile(line, past), none(parts[7].shape[1]), line,
            np.tile(np.concatenate(([FORM], weigh)), future - 1), np.array([FORM]),
        ]  # fmt: skip
        weights = np.tile(np.concatenate(masks).astype(np.float32), (n, 1))
        return np.concatenate(parts, axis=1).astype(np.int64), weights

    def _reference(self) -> tuple[Ints, NDArray[np.float32]]:
        rng = self.rng
        past, future = ((1, 1), (5, 5), (20, 5))[int(rng.integers(3))]
        chats = []
        for _ in range(4):
            series = self.series[int(rng.integers(len(self.series)))]
            start = int(rng.integers(WARM_UP, len(series) - past - future + 1))
            window = Window(
                series.code, series.code, "TWSE", series[: start + past], past,
                series[start + past : start + past + future],
                series.dates[start + past : start + past + future],
            )  # fmt: skip
            example = training_messages(window, "reference")
            chats.append([*example.prompt, *example.completion])
        rows = self.tokenizer.apply_chat_template(chats, return_dict=True)["input_ids"]
        longest = max(map(len, rows))
        pad = int(self.tokenizer.pad_token_id)
        ids = np.array([[*row, *[pad] * (longest - len(row))] for row in rows])
        weights = (ids != pad).astype(np.float32)
        return ids, weights


assert VOLUME_MIDDLE == MIDDLE
assert len(LETTERS) == VOLUME_BUCKETS
