"""Training examples: windows drawn at random, put into words, measured, and kept in a file.

Only as many windows are put into words as the run will read, and each is measured through the chat
template before training starts: one that does not fit is counted and left out, never cut. The file
makes a run repeatable: a run that goes on after a kill reads the same examples in the same order,
whatever has been imported since.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from stockllm.data.errors import UsageError
from stockllm.forecaster.encoding.windows import Task, Window, origins, window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from stockllm.data.records import Article, BarSeries
    from stockllm.forecaster.encoding.prompts import Example
    from stockllm.market.companies import Company

#: Articles that a prompt quotes at most, and how many days back they may lie.
NEWS_COUNT = 3
NEWS_DAYS = 7
_TAIPEI = ZoneInfo("Asia/Taipei")
_BATCH = 64
#: Windows without one that fits after which the rest is taken to be no shorter.
_GIVE_UP = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One example in words, where it comes from, and how many tokens it takes with its template."""

    code: str
    task: str
    origin: str
    tokens: int
    prompt: list[dict[str, str]]
    completion: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn. ``windows`` lie in the data, ``seen`` of them were put into words.

    ``too_long`` counts by task those that do not fit: ``seen == len(rows) + sum(too_long)``.
    """

    rows: list[Row]
    windows: int
    seen: int
    too_long: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "drawn": self.seen,
            "used": len(self.rows),
            "too_long": self.too_long,
        }


def draw(
    sources: Sequence[tuple[BarSeries, Company]],
    tasks: Sequence[Task],
    *,
    start: date | None,
    end: date | None,
    wanted: int | None,
    seed: int,
    words: Callable[[Window], Example],
    measure: Callable[[list[Example]], list[int]],
    max_tokens: int,
) -> Drawn:
    """Windows in a random order, without replacement, until ``wanted`` fit (None: all there are).

    :param start: first day a window may touch; ``end`` the last. None for no bound.
    :param measure: tokens of examples with the chat template around them.
    :raises UsageError: where windows were drawn and none fits.
    """
    import numpy as np

    slots = [
        (series, company, task, origins(series, task, start, end))
        for series, company in sources
        for task in tasks
    ]
    ends = list(accumulate(len(slot[3]) for slot in slots))
    total = ends[-1] if ends else 0
    order = iter(np.random.default_rng(seed).permutation(total).tolist())
    rows: list[Row] = []
    too_long: Counter[str] = Counter()
    shortest = None
    seen = 0
    while wanted is None or len(rows) < wanted:
        windows = [_pick(slots, ends, number) for number in islice(order, _missing(wanted, len(rows)))]
        if not windows or (not rows and seen >= _GIVE_UP):
            break
        examples = [words(window) for window in windows]
        for window, example, tokens in zip(windows, examples, measure(examples), strict=True):
            seen += 1
            shortest = tokens if shortest is None else min(shortest, tokens)
            if tokens > max_tokens:
                too_long[str(window.task)] += 1
                continue
            rows.append(
                Row(
                    window.code,
                    str(window.task),
                    window.origin.isoformat(),
                    tokens,
                    example.prompt,
                    example.completion,
                )
            )
    if seen and not rows:
        raise UsageError(
            f"None of {seen} windows fits into --max-seq-length {max_tokens}: the shortest takes {shortest} "
            "tokens; raise it, or choose shorter tasks or the compact prompt.",
            zh=(
                f"{seen} 個視窗沒有一個放得進 --max-seq-length {max_tokens}：最短的要 {shortest}"
                " 個詞元；請提高上限，或選較短的任務、精簡的提示。"
            ),
        )
    return Drawn(rows, total, seen, dict(too_long))


def _missing(wanted: int | None, have: int) -> int:
    return _BATCH if wanted is None else min(_BATCH, wanted - have)


def _pick(
    slots: Sequence[tuple[BarSeries, Company, Task, range]], ends: Sequence[int], number: int
) -> Window:
    """The ``number``-th of all windows, counted slot by slot."""
    at = bisect_right(ends, number)
    series, company, task, indices = slots[at]
    return window_at(series, company, task, indices[number - ends[at]])


def measure_with(tokenizer: Any) -> Callable[[list[Example]], list[int]]:
    """Counts an example's tokens as the trainer will: chat template, prompt, answer, end of turn."""

    def measure(examples: list[Example]) -> list[int]:
        chats = [example.prompt + example.completion for example in examples]
        # verbose: that a window is too long is ours to say.
        encoded = tokenizer.apply_chat_template(
            chats, tokenize=True, return_dict=True, tokenizer_kwargs={"verbose": False}
        )
        return [len(ids) for ids in encoded["input_ids"]]

    return measure


def news_context(articles: Iterable[Article], origin: date) -> str:
    """What the news said on the evening of ``origin``: the latest titles of the week, newest first.

    Nothing published after that day (Taipei time) is quoted. Empty where there was no news.
    """
    since = origin - timedelta(days=NEWS_DAYS)
    known = [
        (article.published_at, article.title.strip())
        for article in articles
        if since < article.published_at.astimezone(_TAIPEI).date() <= origin
    ]
    latest = sorted(known, reverse=True)[:NEWS_COUNT]
    if not latest:
        return ""
    titles = (f"- {at.astimezone(_TAIPEI).date().isoformat()}: {title}" for at, title in latest)
    return "News:\n" + "\n".join(titles)


def save(rows: Iterable[Row], path: Path) -> None:
    """Write examples as JSON lines; the file appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    part.replace(path)


def read(path: Path) -> list[Row]:
    """The examples that `save` wrote."""
    with path.open(encoding="utf-8") as file:
        return [Row(**json.loads(line)) for line in file]


def fingerprint(rows: Iterable[Row]) -> str:
    """SHA-256 over the words of all examples, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.prompt, row.completion], ensure_ascii=False).encode())
    return digest.hexdigest()


def reading_order(lengths: Sequence[int], total: int, per_step: int, seed: int) -> Iterator[int]:
    """The order in which ``total`` examples are read: epoch after epoch, each shuffled anew.

    Within each step the examples stand by length, the longest first. A function of its arguments
    alone: a resumed run reads on where the killed one stopped.
    """
    import numpy as np

    rng = np.random.default_rng(seed)

    def stream() -> Iterator[int]:
        while True:
            yield from rng.permutation(len(lengths)).tolist()

    endless = stream()
    left = total
    while left > 0:
        step = list(islice(endless, min(per_step, left)))
        left -= len(step)
        yield from sorted(step, key=lambda index: -lengths[index])


def batches(
    lengths: Sequence[int], steps: int, batch_size: int, per_step: int, seed: int
) -> Iterator[list[int]]:
    """`reading_order` in batches, ``per_step`` of them a step, with the least padding there can be.

    A step reads ``batch_size * per_step`` examples whichever way it is cut, and its loss is the mean
    over all their tokens, so the cut is free: like lengths go together and batches differ in size.
    None is larger, padding included, than ``batch_size`` of the longest examples.

    :param lengths: tokens of each example.
    :returns: indices into ``lengths``, batch by batch.
    """
    most = batch_size * max(lengths)
    read = batch_size * per_step
    order = reading_order(lengths, steps * read, read, seed)
    for _ in range(steps):
        step = list(islice(order, read))
        ends = least_padding([lengths[index] for index in step], per_step, most)
        for start, end in pairwise([0, *ends]):
            yield step[start:end]


def least_padding(lengths: Sequence[int], parts: int, most: int) -> list[int]:
    """Where each of ``parts`` batches of consecutive examples ends, so that padding is least.

    :param lengths: tokens of the examples, the longest first; no fewer than ``parts``.
    :param most: tokens that a batch may take, padding included; enough for batches of equal size.
    """
    import numpy as np

    count = len(lengths)
    starts, ends = np.arange(count)[:, None], np.arange(1, count + 1)[None, :]
    # Tokens of the batch from each start to each end, as wide as its first example.
    cost = np.asarray(lengths, dtype=np.float64)[:, None] * (ends - starts)
    cost[(ends <= starts) | (cost > most)] = np.inf
    best, begins = cost[0], []
    for _ in range(parts - 1):
        together = np.concatenate(([np.inf], best[:-1]))[:, None] + cost
        begins.append(together.argmin(axis=0))
        best = together.min(axis=0)
    cuts = [count]
    for begin in reversed(begins):
        cuts.append(int(begin[cuts[-1] - 1]))
    return cuts[::-1]
