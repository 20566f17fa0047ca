"""What a training run reads: the windows it draws, and for how many steps.

A plan is made once, written into the run's folder, and read from there when the run goes on.
"""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.data.sentences import Sentence
from stockllm.forecaster.training import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stockllm.data.records import BarSeries
    from stockllm.data.store import Store
    from stockllm.forecaster.encoding.prompts import Example
    from stockllm.forecaster.encoding.windows import Split, Window
    from stockllm.forecaster.models.engines import Loaded
    from stockllm.forecaster.training.options import TrainOptions
    from stockllm.forecaster.training.runs import Run
    from stockllm.market.companies import Company

    Sources = Sequence[tuple[BarSeries, Company]]

_TAIPEI = ZoneInfo("Asia/Taipei")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run reads and for how long; ``document`` is its ``run.json``."""

    training: list[examples.Row]
    validation: list[examples.Row]
    document: dict[str, Any]

    @property
    def steps(self) -> int:
        return int(self.document["steps"])

    def sentences(self) -> list[Sentence]:
        """What the user should know of a plan: how much there is, how much is read, what is left out."""
        document = self.document
        counts = document["examples"]
        companies = len(document["companies"])
        start, end = document["data_start"], document["data_end"]
        sentences = [
            Sentence(
                f"{counts['windows']:,} windows of {companies} "
                f"{'company' if companies == 1 else 'companies'}, {start} to {end}; {counts['used']:,} are "
                f"read in {self.steps:,} steps.",
                zh=f"{companies} 家公司、{start} 至 {end} 共 {counts['windows']:,} 個視窗，"
                f"{self.steps:,} 步讀其中 {counts['used']:,} 個。",
            )
        ]
        kinds = (("training", "訓練", counts), ("validation", "驗證", document["validation"]))
        for kind, kind_zh, count in kinds:
            if count["too_long"]:
                tasks = ", ".join(f"{number:,} of {task}" for task, number in count["too_long"].items())
                tasks_zh = "、".join(f"{task} 有 {number:,} 個" for task, number in count["too_long"].items())
                sentences.append(
                    Sentence(
                        f"Left out because they are longer than --max-seq-length: {tasks} {kind} windows, "
                        f"of {count['drawn']:,} drawn.",
                        zh=f"抽出的 {count['drawn']:,} 個{kind_zh}視窗中，因長度超過 --max-seq-length "
                        f"而略過：{tasks_zh}。",
                    )
                )
        if not self.validation:
            sentences.append(
                Sentence(
                    "Too few days are left for validation windows; nothing is validated.",
                    zh="剩下的交易日太少，湊不出驗證視窗；這次不做驗證。",
                )
            )
        return sentences


def begun(run: Run, base_hash: str) -> Plan | None:
    """The plan of a run that began before, None for a new one.

    :raises ModelUnavailable: where the base model's weights are no longer those it began with.
    """
    document = run.document()
    if not document:
        return None
    if document["base_hash"] != base_hash:
        raise ModelUnavailable(
            f"The base model {document['base']} has changed since the training {run.name!r} began; "
            f"remove {run.folder} to start anew.",
            zh=(
                f"基礎模型 {document['base']} 在訓練 {run.name!r} 開始後已改變：請刪除 "
                f"{run.folder} 重新開始。"
            ),
        )
    return Plan(examples.read(run.examples), examples.read(run.validation), document)


def draw(
    run: Run,
    store: Store,
    options: TrainOptions,
    base_hash: str,
    split: Split,
    sources: Sources,
    loaded: Loaded,
) -> Plan:
    """Draw the examples, write them down, and only then write ``run.json``: the run has begun.

    :param base_hash: of the base model's weights.
    :param sources: the companies to train on with all their bars.
    """
    words = _words(store, options)
    measure = examples.measure_with(loaded.tokenizer)
    training = examples.draw(
        sources,
        options.tasks,
        start=options.since,
        end=split.train_end,
        wanted=options.wanted,
        seed=options.random_state,
        words=words,
        measure=measure,
        max_tokens=options.max_seq_length,
    )
    validation = examples.Drawn([], 0, 0)
    if split.validation_from is not None and options.validation_windows:
        with contextlib.suppress(UsageError):  # none of them fits: there is nothing to validate on
            validation = examples.draw(
                sources,
                options.tasks,
                start=split.validation_from,
                end=None,
                wanted=options.validation_windows,
                seed=options.random_state,
                words=words,
                measure=measure,
                max_tokens=options.max_seq_length,
            )
    # By length, so that a batch of like lengths is padded little.
    checked = sorted(validation.rows, key=lambda row: -row.tokens)
    examples.save(training.rows, run.examples)
    examples.save(checked, run.validation)
    used = [series for series, _ in sources]
    last_days = [series.dates[-1] for series in used]
    document = {
        "id": f"{run.name}-{examples.fingerprint(training.rows)[:16]}",
        "name": run.name,
        "options": options.document(),
        "base": options.base,
        "base_hash": base_hash,
        "engine": loaded.engine,
        "companies": [company.code for _, company in sources],
        "data_start": max(min(series.dates[0] for series in used), options.since or date.min).isoformat(),
        "data_end": min(max(last_days), split.train_end or date.max).isoformat(),
        "validation_from": split.validation_from and split.validation_from.isoformat(),
        "embargo": split.embargo,
        "simulated": store.simulated,
        "steps": options.steps_for(len(training.rows)),
        "examples": training.counts(),
        "validation": validation.counts(),
        "begun_at": datetime.now(_TAIPEI).isoformat(timespec="seconds"),
    }
    run.write(document)
    return Plan(training.rows, checked, document)


def _words(store: Store, options: TrainOptions) -> Callable[[Window], Example]:
    """How this run puts a window into words."""
    from stockllm.forecaster.encoding.prompts import parse_fields, training_messages

    names = parse_fields(",".join(options.fields))
    news: dict[str, Any] = {}
    known = _known(store, options) if options.prompt == "compact" else None

    def words(window: Window) -> Example:
        context = ""
        if options.with_news:
            if window.code not in news:
                news[window.code] = store.news.articles(window.code, limit=100_000)
            context = examples.news_context(news[window.code], window.origin)
        return training_messages(
            window if known is None else known(window), options.prompt, fields=names, context=context
        )

    return words


def _known(store: Store, options: TrainOptions) -> Callable[[Window], Window]:
    """Gives a window the words of what was known; every other one those of an evening, else a morning's."""
    from stockllm.forecaster.models.registry import network_of, resolve_model
    from stockllm.forecaster.outlook.moments import outlook_of
    from stockllm.forecaster.outlook.network import BOTH, EVENING

    last = max(store.market_days(), default=date.today())
    outlook = outlook_of(store, last, memory=None)
    network = network_of(resolve_model(options.base, store.home).base)

    def known(window: Window) -> Window:
        even = (zlib.crc32(window.code.encode()) + window.origin.toordinal()) % 2 == 0
        (words,) = outlook.words(network, [window], shown=EVENING if even else BOTH)
        return replace(window, words=words)

    return known
