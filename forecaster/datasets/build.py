"""``stockllm dataset build``: examples of one task out of the store, split by date, with their card.

The same store, request and seed give the same bytes. The folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import NotEnoughHistory, StockllmError, StoreError, UsageError
from stockllm.data.sentences import Sentence
from stockllm.forecaster.datasets import card as cards
from stockllm.forecaster.datasets.formats import OPENAI_LONGEST, Layout, refuse_faults, row
from stockllm.forecaster.datasets.tasks import Item, Kind, Place, Questions
from stockllm.forecaster.models.registry import base_model_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stockllm.data.records import PromptStyle
    from stockllm.data.store import Store
    from stockllm.forecaster.encoding.prompts import Example
    from stockllm.forecaster.encoding.windows import Task

#: Splits in the order of their days; each file is called after its split.
SPLITS = ("train", "val", "test")
#: Examples a split holds at most where nobody says how many.
MOST = 1000
EMBEDDED_TOKENIZER = "stockllm's embedded model"
_SENTIMENT_MARKET = (
    "The abnormal return is the stock's log return less the mean of the store's {count} companies; the label "
    "is computed from prices after the article and is no reading of its words."
)

Range = tuple[date, date]


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """What to build. ``ranges`` by split, both days included; ``most`` examples a split."""

    task: Kind
    layout: Layout
    ranges: dict[str, Range]
    codes: tuple[str, ...]
    out: Path
    seed: int = 3407
    language: str = "zh"
    prompt: PromptStyle = "compact"
    windows: tuple[Task, ...] = ()
    horizon: int | None = None
    most: int = MOST
    tokenizer: str = ""
    price_per_million: float | None = None
    epochs: int = 1

    def __post_init__(self) -> None:
        if not self.ranges:
            raise UsageError(
                "No range was given: name the days of a split, as in --train 2025-01-01:2025-09-30.",
                zh="沒有給期間：請指定某一分割的日子，例如 --train 2025-01-01:2025-09-30。",
            )
        for name, (start, end) in self.ranges.items():
            if start > end:
                raise UsageError(
                    f"The {name} range ends on {end}, before it starts on {start}.",
                    zh=f"{name} 的期間在 {end} 結束，早於開始的 {start}。",
                )
        if self.most < 1:
            raise UsageError(
                f"A split holds 1 or more examples, not {self.most}.",
                zh=f"每一分割至少 1 筆，不是 {self.most}。",
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f"The seed is a whole number from 0 to 4294967295, not {self.seed}.",
                zh=f"種子是 0 到 4294967295 的整數，不是 {self.seed}。",
            )
        if self.epochs < 1:
            raise UsageError(
                f"The number of epochs is 1 or more, not {self.epochs}.",
                zh=f"輪數至少為 1，不是 {self.epochs}。",
            )
        if self.price_per_million is not None and not 0 < self.price_per_million < 1e6:
            raise UsageError(
                f"A price of {self.price_per_million} a million tokens is none: give one above 0.",
                zh=f"每百萬詞元 {self.price_per_million} 不是價格：請給大於 0 的數。",
            )
        if self.language not in ("zh", "en", "both"):
            raise UsageError(
                f"There is no language {self.language!r}: choose zh, en or both.",
                zh=f"沒有 {self.language!r} 這種語言：請選 zh、en 或 both。",
            )

    def of(self, codes: tuple[str, ...]) -> DatasetRequest:
        """The same of these companies."""
        return replace(self, codes=codes)


@dataclass(slots=True)
class _Drawn:
    """The examples of one split and what was left out on the way."""

    items: list[Item] = field(default_factory=list)
    places: int = 0
    drawn: int = 0
    duplicates: int = 0
    earlier: int = 0
    unanswerable: int = 0


def build(
    store: Store, request: DatasetRequest, progress: Callable[[Sentence], None] = lambda _: None
) -> cards.DatasetCard:
    """Write ``request.out`` and give its card.

    :raises UsageError: ranges that overlap or leave no embargo, or a layout's rule that is not met.
    :raises NotEnoughHistory: a split in which not one example lies.
    :raises StoreError: a place that cannot be written.
    """
    _refuse_taken(request.out)
    questions = Questions(
        store, request.task, request.codes, windows=request.windows, horizon=request.horizon,
        prompt=request.prompt, language=request.language,
    )  # fmt: skip
    days = list(store.bars.traded())
    ranges = {name: request.ranges[name] for name in SPLITS if name in request.ranges}
    refuse_close(ranges, days, questions.embargo)
    drawn = _draw(questions, ranges, request)
    parts = {name: split.items for name, split in drawn.items()}
    leakage = cards.leaks(parts, days, questions.embargo)
    for pair in leakage:
        if not pair["ok"]:  # the ranges were kept apart, so this is a fault of ours
            raise StockllmError(
                f"{pair['between']} would share days or examples; please report this.",
                zh=f"{pair['between'].replace(' and ', ' 與 ')} 會共用日子或樣本；請回報這個問題。",
            )
    measure, tokenizer = _measure(request.tokenizer)
    written = {name: [row(item.example, request.layout) for item in items] for name, items in parts.items()}
    for name, rows in written.items():
        if request.layout != "openai" or name != "test":
            refuse_faults(rows, request.layout, f"{name}.jsonl")
    part = request.out.with_name(f".{request.out.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        splits = {}
        for name, rows in written.items():
            progress(Sentence(f"{name}: {len(rows):,} examples", zh=f"{name}：{len(rows):,} 筆"))
            file = part / f"{name}.jsonl"
            file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
            splits[name] = _card(file, drawn[name], ranges[name], measure)
        _refuse_long(splits, request)
        card = _whole(store, request, questions, splits, leakage, tokenizer)
        cards.write_card(part, card)
        part.replace(request.out)
    except OSError as error:
        raise StoreError(
            f"The dataset cannot be written to {request.out} ({error.strerror}): choose another folder.",
            zh=f"資料集無法寫入 {request.out}（{error.strerror}）：請換一個資料夾。",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def _refuse_long(splits: dict[str, cards.SplitCard], request: DatasetRequest) -> None:
    longest = max(split.longest for split in splits.values())
    if request.layout == "openai" and longest > OPENAI_LONGEST:
        raise UsageError(
            f"The longest example takes {longest:,} tokens and OpenAI cuts at {OPENAI_LONGEST:,}: "
            "choose shorter windows.",
            zh=f"最長的一筆有 {longest:,} 個詞元，OpenAI 在 {OPENAI_LONGEST:,} 截斷：請用較短的視窗。",
        )


def _refuse_taken(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UsageError(
            f"{out} is there already: name a folder that is empty or new.",
            zh=f"{out} 已經存在：請指定空的或新的資料夾。",
        )


def refuse_close(ranges: dict[str, Range], days: Sequence[date], embargo: int) -> None:
    """UsageError where two splits overlap, stand in the wrong order, or are nearer than the embargo."""
    names = list(ranges)
    for before, after in pairwise(names):
        (start, end), (first, last) = ranges[before], ranges[after]
        if start <= last and first <= end:
            raise UsageError(
                f"The {before} range ({start} to {end}) and the {after} range ({first} to {last}) overlap: "
                "no day may be in two of them.",
                zh=f"{before} 的期間（{start} 至 {end}）與 {after} 的期間（{first} 至 {last}）重疊："
                "同一天不能屬於兩者。",
            )
        if first < end:
            raise UsageError(
                f"The {after} range starts on {first}, before the {before} range ends on {end}: "
                "train comes before val, val before test.",
                zh=f"{after} 的期間從 {first} 開始，早於 {before} 結束的 {end}：順序是 train、val、test。",
            )
        between = sum(end < day < first for day in days)
        if between < embargo:
            known = [day for day in days if day > end]
            hint, sooner = "the store ends before that", ""
            if len(known) > embargo:
                hint, sooner = f"{known[embargo]} is the first day that does", f"，最早 {known[embargo]}"
            raise UsageError(
                f"Between the {before} range and the {after} range lie {between} market days and the embargo "
                f"takes {embargo}, as many as an answer looks ahead: start {after} later; {hint}.",
                zh=f"{before} 與 {after} 的期間只隔 {between} 個交易日，"
                f"禁入期是 {embargo} 個（答案往後看的天數）：請讓 {after} 晚一點開始{sooner}。",
            )


def _draw(questions: Questions, ranges: dict[str, Range], request: DatasetRequest) -> dict[str, _Drawn]:
    """Examples of every split, in a random order of the seed's, without duplicates."""
    import numpy as np

    found: dict[str, _Drawn] = {}
    known: set[str] = set()
    for number, (name, (start, end)) in enumerate(ranges.items()):
        places: list[Place] = list(questions.places(start, end))
        split = found[name] = _Drawn(places=len(places))
        own: set[str] = set()
        for index in np.random.default_rng([request.seed, number]).permutation(len(places)).tolist():
            if len(split.items) == request.most:
                break
            split.drawn += 1
            item = questions.item(places[index], len(split.items))
            if item is None:
                split.unanswerable += 1
                continue
            digest = cards.key(item)
            if digest in own:
                split.duplicates += 1
            elif digest in known:
                split.earlier += 1
            else:
                own.add(digest)
                split.items.append(item)
        if not split.items:
            what, what_zh, until = questions.ends()
            raise NotEnoughHistory(
                f"No example of {request.task} lies between {start} and {end}: the store's {what} end on "
                f"{until or 'no day'}, and what a question shows and its answer reads must fit; "
                f"widen the {name} range or import more.",
                zh=f"{start} 至 {end} 之間沒有一筆 {request.task}：{what_zh}到 {until} 為止，"
                f"問題所示與答案所讀都要落在期間內；請放寬 {name} 的期間，或匯入更多資料。",
            )
        known |= own
    return found


def _card(file: Path, drawn: _Drawn, span: Range, measure: Callable[[Example], int]) -> cards.SplitCard:
    tokens = [measure(item.example) for item in drawn.items]
    labels: Counter[str] = Counter(item.label for item in drawn.items if item.label)
    return cards.SplitCard(
        file=file.name,
        start=span[0].isoformat(),
        end=span[1].isoformat(),
        examples=len(drawn.items),
        places=drawn.places,
        drawn=drawn.drawn,
        duplicates=drawn.duplicates,
        duplicates_of_earlier=drawn.earlier,
        unanswerable=drawn.unanswerable,
        tokens=sum(tokens),
        longest=max(tokens),
        first=min(item.first for item in drawn.items).isoformat(),
        last=max(item.last for item in drawn.items).isoformat(),
        companies=len({item.code for item in drawn.items}),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        labels=dict(sorted(labels.items())),
    )


def _whole(
    store: Store,
    request: DatasetRequest,
    questions: Questions,
    splits: dict[str, cards.SplitCard],
    leakage: list[dict[str, Any]],
    tokenizer: str,
) -> cards.DatasetCard:
    windowed = request.task in ("prices", "closes")
    return cards.DatasetCard(
        task=request.task,
        layout=request.layout,
        language="" if windowed else request.language,
        prompt=request.prompt if request.task == "prices" else "",
        windows=[str(task) for task in questions.windows] if windowed else [],
        seed=request.seed,
        simulated=store.simulated,
        data_cut_off=max(split.last for split in splits.values()),
        store_until=str(questions.last),
        tokenizer=tokenizer,
        embargo=questions.embargo,
        splits=splits,
        leakage=leakage,
        cost=_cost(splits, request),
        market=_SENTIMENT_MARKET.format(count=len(store.bars.codes())) if request.task == "sentiment" else "",
    )


def _cost(splits: dict[str, cards.SplitCard], request: DatasetRequest) -> dict[str, Any] | None:
    """Tokens that a fine-tuning on the training split reads, and their price where one is given."""
    if "train" not in splits or (request.layout != "openai" and request.price_per_million is None):
        return None
    tokens, price = splits["train"].tokens * request.epochs, request.price_per_million
    return {
        "epochs": request.epochs,
        "tokens_trained": tokens,
        "price_per_million": price,
        "estimate": None if price is None else round(tokens * price / 1e6, 4),
    }


def _measure(name: str) -> tuple[Callable[[Example], int], str]:
    """What counts an example's tokens, and what it is called in the card."""
    from stockllm.data.errors import ModelUnavailable
    from stockllm.forecaster.models.engines import ensure_chat, prepare_imports, quiet_imports
    from stockllm.forecaster.models.files import NO_CODE
    from stockllm.forecaster.training.examples import measure_with

    prepare_imports()
    with quiet_imports():
        from transformers import AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            Path(name).expanduser() if name else base_model_dir(), **NO_CODE
        )
    except (OSError, ValueError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelUnavailable(
            f"The tokenizer {name} cannot be loaded ({cause}): name a folder or hub id that has one.",
            zh=f"無法載入斷詞器 {name}（{cause}）：請指定有斷詞器的資料夾或 hub 名稱。",
        ) from error
    ensure_chat(tokenizer, name)
    count = measure_with(tokenizer)
    return lambda example: count([example])[0], Path(name).name if name else EMBEDDED_TOKENIZER
