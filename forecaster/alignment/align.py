"""Alignment from outcomes: the ledger's scored forecasts in, an adapter out. `align` reads top to bottom.

The adapter is like any other: it has a card, is chosen by name, and its card carries the last day that an
outcome read, so that no evaluation of earlier days takes it for a test. It appears whole or not at all; an
alignment that is stopped leaves nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from stockllm.data.errors import NotEnoughHistory, StoreError, TrainingStopped, UsageError
from stockllm.data.private import private_folder
from stockllm.data.sentences import Sentence
from stockllm.forecaster.alignment.evaluate import refuse_read
from stockllm.forecaster.alignment.models import (
    base_name,
    load_reward_model,
    policy_of,
    reward_card,
    rewards_folder,
)
from stockllm.forecaster.alignment.options import AlignOptions
from stockllm.forecaster.alignment.outcomes import Outcomes, Pair, gather, later, pairs
from stockllm.forecaster.encoding.prompts import Example, prompt_messages
from stockllm.forecaster.models import cards
from stockllm.forecaster.models.engines import Loaded, prepare_imports
from stockllm.forecaster.models.registry import EMBEDDED, ModelRef, refuse_peer, resolve_model, weights_hash
from stockllm.forecaster.training.examples import measure_with
from stockllm.forecaster.training.progress import ProgressLog, StopRequest, TrainEvent, reported, runs_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    Tell = Callable[[TrainEvent], None]

_TAIPEI = ZoneInfo("Asia/Taipei")


@dataclass(frozen=True, slots=True)
class Aligned:
    """What came of an alignment. ``model`` is the name to forecast with; empty for a reward model.

    ``before`` is the model that it started from. ``figures`` are the trainer's own at the end:
    ``accuracy``, the share of pairs told apart, for a reward model ``later``, the same on the last fifth of
    the evenings, which it did not learn from, or ``reward`` and ``format``, the share of GRPO's answers
    that were candles.
    """

    name: str
    path: Path
    before: str
    model: str
    card: cards.Card
    figures: dict[str, float]


@dataclass(slots=True)
class _Lesson:
    """What the trainer reads: its rows, the longest of them in tokens, and what was left out."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    longest: int = 0
    used: int = 0
    too_long: int = 0
    too_close: int = 0
    margin: float | None = None


def align(
    store: Store, options: AlignOptions, progress: Tell | None = None, *, test_from: date | None = None
) -> Aligned:
    """Align a model with the ledger's outcomes and keep what was learned as an adapter.

    :param test_from: a day from which on the result is to be examined; refused where it would be read.

    :raises NotEnoughHistory: an empty ledger, or one without an outcome that may be read.
    :raises UsageError: a model or an option that cannot be.
    :raises ModelUnavailable: a model that cannot be loaded.
    :raises TrainingStopped: on Ctrl-C or SIGTERM; nothing is kept.
    """
    from stockllm.forecaster.alignment import trainers as trl

    prepare_imports()
    home = store.home.ensure()
    ref = resolve_model(options.model, home)
    start_card = _refuse(ref, options)
    outcomes = gather(store, options, ref)
    last = outcomes.last_day
    if options.reward_model is not None:
        # What its judge has read, it learns from.
        last = max(last, date.fromisoformat(reward_card(home, options.reward_model).data_end))
    if test_from is not None:
        refuse_read(store, options.model, last, test_from)
    name = options.name or _name(options, last)
    place = (rewards_folder(home) if options.method == "reward" else home.adapters) / name
    if place.exists():
        raise UsageError(
            f"There is an adapter {name!r} already; choose another --name.",
            zh=f"已經有名為 {name!r} 的轉接器：請換一個 --name。",
        )
    folder = runs_folder(home) / name
    private_folder(folder)
    log = ProgressLog(folder, store.simulated)

    def tell(event: TrainEvent) -> None:
        log(event)
        if progress is not None:
            progress(event)

    ending = reported(store, name, options.document(), folder, tell, _stopped)
    with StopRequest() as stop, ending, _hushed(folder):
        policy = policy_of(ref, options)
        lesson = _lesson(outcomes, options, policy)
        for sentence in _sentences(outcomes, lesson, options):
            tell(TrainEvent("preparing", steps=options.max_steps, text=sentence, text_zh=sentence.zh))
        reward = _reward(home, outcomes, options)
        trainer = trl.build(policy, folder, options, lesson.rows, lesson.longest, reward, lesson.held)
        history = trl.fit(trainer, tell, stop)
        if reward is not None and reward[0].failed == reward[0].read:
            raise UsageError(
                f"None of the {reward[0].read:,} answers of {options.model} was candles, so there was "
                "nothing to compare and nothing was kept: train it on candles first, with 'stockllm train'.",
                zh=f"{options.model} 的 {reward[0].read:,} 個回答沒有一個是 K 線，無從比較，"
                "沒有留下任何結果：請先用 stockllm train 讓它學會 K 線。",
            )
        tell(TrainEvent("saving", options.max_steps, options.max_steps))
        figures = _figures(history, reward) | (trl.told_apart(trainer) if lesson.held else {})
        card = _save(
            trainer, policy, place, ref, start_card, outcomes, last, lesson, options, history, store.simulated
        )
    tell(TrainEvent("finished", text=f"The adapter {name} is ready.", text_zh=f"轉接器 {name} 已完成。"))
    base = base_name(ref)
    return Aligned(
        name, place, options.model, "" if options.method == "reward" else f"{base}+{name}", card, figures
    )


def _refuse(ref: ModelRef, options: AlignOptions) -> cards.Card | None:
    """UsageError for a model that cannot be aligned; the card of the adapter it starts from."""
    refuse_peer(ref)
    if ref.base is None or ref.server is not None:
        raise UsageError(
            f"{ref.name} has no weights to align; name a model such as {EMBEDDED}.",
            zh=f"{ref.name} 沒有可對齊的權重：請指定模型，例如 {EMBEDDED}。",
        )
    if ref.adapter_dir is None:
        return None
    card = cards.read_card(ref.adapter_dir)
    # A model tuned in full has no such file: it is no adapter that could be gone on from.
    config = ref.adapter_dir / "adapter_config.json"
    kind = json.loads(config.read_text("utf-8")).get("peft_type") if config.is_file() else None
    if kind != "LORA" or options.method == "reward":
        raise UsageError(
            f"The adapter {ref.adapter} cannot be gone on from: --method {options.method} goes on from "
            f"{'no adapter' if options.method == 'reward' else 'LoRA adapters alone'}; name the base model.",
            zh=f"無法從轉接器 {ref.adapter} 繼續：--method {options.method} "
            f"{'不從轉接器開始' if options.method == 'reward' else '只能從 LoRA 轉接器繼續'}；"
            "請指定基礎模型。",
        )
    fields = card.flags.get("fields")
    if (
        options.prompt == "reference"
        and fields
        and list(fields) != ["Open", "High", "Low", "Close", "Capacity"]
    ):
        raise UsageError(
            f"The adapter {ref.adapter} was trained on other fields than a path has: align it in the compact "
            "prompt, or name another.",
            zh=f"轉接器 {ref.adapter} 用的欄位不是路徑所有的：請用 compact 格式，或指定其他轉接器。",
        )
    return card


def _name(options: AlignOptions, last: date) -> str:
    digest = hashlib.sha256(json.dumps(options.document(), sort_keys=True).encode()).hexdigest()[:6]
    return f"{options.method}-{last:%Y%m%d}-{digest}"


def _lesson(outcomes: Outcomes, options: AlignOptions, policy: Loaded) -> _Lesson:
    """The rows of the method, without those that are longer than ``max_seq_length``."""
    from stockllm.forecaster.alignment.trainers import pair_rows

    measure = measure_with(policy.tokenizer)
    lesson = _Lesson()
    if options.method == "grpo":
        for outcome in outcomes.found:
            prompt = prompt_messages(outcome.window, options.prompt, version=outcome.compact)
            # An answer that came to pass tells how long answers are.
            whole = _longest(measure, [Example(prompt, _first(outcome).completion)])
            asked = _longest(measure, [Example(prompt, [{"role": "assistant", "content": ""}])])
            if whole > options.max_seq_length:
                lesson.too_long += 1
                continue
            lesson.rows.append({"prompt": prompt, "outcome": outcome.id})
            lesson.longest = max(lesson.longest, whole - asked + _SPARE)
        lesson.used = len(lesson.rows)
    else:
        made, lesson.too_close = pairs(
            outcomes.found, options.margin, options.pairs_per_forecast, options.random_state
        )
        fitting = [pair for pair in made if _fits(pair, measure, options.max_seq_length, lesson)]
        lesson.too_long = len(made) - len(fitting)
        held: list[Pair] = []
        if options.method == "reward":  # a judge is judged by evenings it did not learn from
            fitting, held = later(fitting)
        lesson.rows = pair_rows(fitting, options.method)
        lesson.held = pair_rows(held, options.method)
        lesson.used = len(fitting)
        lesson.margin = sum(pair.margin for pair in fitting) / len(fitting) if fitting else None
    if not lesson.rows:
        raise NotEnoughHistory(
            f"None of {len(outcomes.found):,} outcomes gives an example: {lesson.too_close:,} have no path "
            f"that is worse by --margin {options.margin:g}, {lesson.too_long:,} are longer than "
            f"--max-seq-length {options.max_seq_length}; lower the one or raise the other.",
            zh=f"{len(outcomes.found):,} 個結果中沒有可用的樣本：{lesson.too_close:,} 個沒有差到 --margin "
            f"{options.margin:g} 的路徑，{lesson.too_long:,} 個超過 --max-seq-length "
            f"{options.max_seq_length}；請調低前者或調高後者。",
        )
    return lesson


#: Tokens that an answer of GRPO may take beyond those of one that was sampled, its end among them.
_SPARE = 4


def _first(outcome: Any) -> Example:
    from stockllm.forecaster.alignment.outcomes import said

    return said(outcome, 0)


def _fits(pair: Pair, measure: Callable[[list[Example]], list[int]], most: int, lesson: _Lesson) -> bool:
    longest = _longest(measure, [pair.chosen, pair.rejected])
    if longest <= most:
        lesson.longest = max(lesson.longest, longest)
    return longest <= most


def _longest(measure: Callable[[list[Example]], list[int]], examples: list[Example]) -> int:
    return max(measure(examples))


def _reward(home: Home, outcomes: Outcomes, options: AlignOptions) -> Any:
    """GRPO's reward functions; None for the other methods."""
    if options.method != "grpo":
        return None
    from stockllm.forecaster.alignment.reward import OutcomeReward

    if options.reward_model is None:
        return [OutcomeReward(outcomes.found, options.prompt)]
    judge, tokenizer = load_reward_model(home, options.reward_model)
    judge.stockllm_tokenizer = tokenizer
    return [OutcomeReward(outcomes.found, options.prompt, format_alone=True), judge]


def _sentences(outcomes: Outcomes, lesson: _Lesson, options: AlignOptions) -> Iterator[Sentence]:
    """What the user should know before the first step."""
    used, used_zh = ("windows", "視窗") if options.method == "grpo" else ("pairs", "配對")
    found = len(outcomes.found)
    yield Sentence(
        f"{lesson.used:,} {used} from {found:,} of the ledger's {outcomes.entries:,} forecasts, outcomes up "
        f"to {outcomes.last_day}.",
        zh=f"帳本 {outcomes.entries:,} 次預測中取 {found:,} 次，得 {lesson.used:,} 個{used_zh}，"
        f"結果讀到 {outcomes.last_day}。",
    )
    if outcomes.waiting:
        yield Sentence(
            f"{outcomes.waiting:,} forecasts wait for days or scores.",
            zh=f"{outcomes.waiting:,} 次預測尚未到期或尚未評分。",
        )
    if outcomes.changed:
        yield Sentence(
            f"{outcomes.changed:,} forecasts were made from bars that are others now and are left out.",
            zh=f"{outcomes.changed:,} 次預測所依據的 K 線後來有變動，予以略過。",
        )
    if lesson.too_close:
        yield Sentence(
            f"{lesson.too_close:,} forecasts have no path that is worse by {options.margin:g} usual moves.",
            zh=f"{lesson.too_close:,} 次預測沒有差到 {options.margin:g} 個平常波動的路徑。",
        )
    if lesson.too_long:
        yield Sentence(
            f"{lesson.too_long:,} examples are longer than --max-seq-length and are left out.",
            zh=f"{lesson.too_long:,} 個樣本長度超過 --max-seq-length，予以略過。",
        )
    seen = sum(outcome.seen for outcome in outcomes.found)
    if seen:
        yield Sentence(
            f"{seen:,} forecasts were made by a model that had been trained on their days: what it learns "
            "from them says little about days to come.",
            zh=f"{seen:,} 次預測出自訓練時讀過那些日子的模型：從中所學對未來的日子說明不了什麼。",
        )


def _figures(history: Sequence[dict[str, Any]], reward: Any) -> dict[str, float]:
    """The trainer's own figures, means over the last fifth of the steps."""
    last = [entry for entry in history if "loss" in entry][-max(1, len(history) // 5) :]
    found = {}
    for key, named in (("rewards/accuracies", "accuracy"), ("accuracy", "accuracy"), ("reward", "reward")):
        values = [float(entry[key]) for entry in last if key in entry]
        if values:
            found[named] = sum(values) / len(values)
    if reward is not None:
        found["format"] = 1 - reward[0].failed / max(1, reward[0].read)
    return found


def _save(
    trainer: Any,
    policy: Loaded,
    place: Path,
    ref: ModelRef,
    start: cards.Card | None,
    outcomes: Outcomes,
    read_to: date,
    lesson: _Lesson,
    options: AlignOptions,
    history: list[dict[str, Any]],
    simulated: bool,
) -> cards.Card:
    """Write the adapter beside its place and move it there: it is whole or absent."""
    assert ref.base is not None
    part = place.with_name(f".{place.name}.part-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    windows = [outcome.window for outcome in outcomes.found]
    codes = {window.code for window in windows} | set(start.companies if start else ())
    first = min(window.days[0] for window in windows).isoformat()
    last = read_to.isoformat()
    flags = {"align": options.method, "compact": outcomes.found[0].compact} | options.document()
    flags["pair_margin"] = lesson.margin
    try:
        private_folder(place.parent)
        trainer.model.save_pretrained(str(part), selected_adapters=["default"])
        policy.tokenizer.save_pretrained(str(part))
        card = cards.Card(
            name=place.name,
            base=base_name(ref),
            base_hash=weights_hash(ref.base),
            hash=weights_hash(part),
            made_at=datetime.now(_TAIPEI).isoformat(timespec="seconds"),
            companies=sorted(codes),
            data_start=min(first, start.data_start) if start else first,
            # What the start has read, the result has read.
            data_end=max(last, start.data_end) if start else last,
            validation_from=None,
            embargo=0,
            simulated=simulated,
            prompt=options.prompt,
            tasks=sorted({str(window.task) for window in windows}),
            engine="peft",
            steps=options.max_steps,
            examples={
                "windows": len(windows),
                "used": lesson.used,
                "too_long": {"all": lesson.too_long} if lesson.too_long else {},
                "too_close": lesson.too_close,
            },
            losses=cards.losses_of(history),
            flags=flags,
            run=place.name,
            versions=cards.versions(),
            trainable=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        )
        cards.write_card(part, card)
        os.replace(part, place)
    except OSError as error:
        raise StoreError(
            f"The adapter cannot be written to {place} ({error.strerror}): free some room and start it anew.",
            zh=f"轉接器無法寫入 {place}（{error.strerror}）：請騰出空間後重新開始。",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def _stopped() -> TrainingStopped:
    return TrainingStopped(
        "The alignment was stopped and nothing of it kept; the same command starts it anew.",
        zh="對齊已停止，沒有留下任何結果；以同樣的指令可重新開始。",
    )


@contextlib.contextmanager
def _hushed(folder: Path) -> Iterator[None]:
    """What trainers print goes to a file: stdout belongs to the command's answer."""
    with (folder / "engine.log").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        yield
