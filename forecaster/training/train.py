"""Fine-tuning, from the store to an adapter. `train` reads from top to bottom.

A run that was stopped or killed goes on from its last checkpoint when it is started with the same
options again: its examples lie in its folder, and their order follows from the seed alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from stockllm.data.errors import NotEnoughHistory, StockllmError, TrainingStopped, UsageError
from stockllm.data.sentences import Sentence
from stockllm.forecaster.encoding.prompts import NEWEST
from stockllm.forecaster.encoding.windows import Split, Task, require_history
from stockllm.forecaster.models import cards, methods
from stockllm.forecaster.models.engines import (
    Loaded,
    chatter_in,
    choose_engine,
    load,
    no_bars,
    prepare_imports,
    refuse_quantised,
)
from stockllm.forecaster.models.presets import out_of_memory, watched
from stockllm.forecaster.models.registry import (
    EMBEDDED,
    AdapterInfo,
    ModelRef,
    list_adapters,
    refuse_peer,
    resolve_model,
    weights_hash,
)
from stockllm.forecaster.training import gate, runs
from stockllm.forecaster.training.options import TrainOptions
from stockllm.forecaster.training.patience import Patience, no_validation
from stockllm.forecaster.training.plan import Plan, begun, draw
from stockllm.forecaster.training.progress import ProgressLog, StopRequest, TrainEvent, reported, runs_folder
from stockllm.forecaster.training.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stockllm.data.paths import Home
    from stockllm.data.records import BarSeries
    from stockllm.data.store import Store
    from stockllm.forecaster.models.engines import Engine
    from stockllm.market.companies import Company

    Tell = Callable[[TrainEvent], None]

__all__ = ["TrainOptions", "resume", "split_of", "train"]

_TAIPEI = ZoneInfo("Asia/Taipei")


def train(store: Store, options: TrainOptions, progress: Tell | None = None) -> AdapterInfo:
    """Tune the base model on the store's bars and put what comes of it among the home's adapters.

    With ``--method full`` that is a whole model, named and chosen as an adapter is.

    :raises UsageError: for options that this machine or this store cannot serve.
    :raises NotEnoughHistory: where no company has days enough for the shortest task.
    :raises ModelUnavailable: where the base model cannot be loaded, or changed since the run began.
    :raises OutOfMemory: with the next smaller preset.
    :raises TrainingStopped: on Ctrl-C or SIGTERM; a checkpoint is kept, the message says how to go on.
    """
    prepare_imports()
    store.home.ensure()
    engine = choose_engine(options.engine, options.method)
    refuse_quantised(options.load_in_4bit, options.load_in_8bit, options.method)
    base = resolve_model(options.base, store.home)
    refuse_peer(base)
    if base.base is None or base.server is not None or base.adapter is not None:
        raise UsageError(
            f"{options.base} is no base model to train on; name one, such as {EMBEDDED}.",
            zh=f"{options.base} 不是可訓練的基礎模型：請指定一個，例如 {EMBEDDED}。",
        )
    run = _open_run(store, options)
    goes_on = run.unfinished()
    split, sources = Split(), Sources()
    if not goes_on:
        split = split_of(
            store,
            options.tasks,
            since=options.since,
            validation_from=options.validation_from,
            validate=options.validation_windows > 0,
        )
        if options.early_stopping and split.validation_from is None:
            raise no_validation()
        sources = _sources(store, options, split)

    with run.locked(), StopRequest() as stop:
        if not goes_on:
            run.clear()
        log = ProgressLog(run.folder, store.simulated)

        def tell(event: TrainEvent) -> None:
            log(event)
            if progress is not None:
                progress(event)

        for sentence in sources.left_out:
            left_out = f"Left out: {sentence}", f"略過：{sentence.zh}"
            tell(TrainEvent("preparing", text=left_out[0], text_zh=left_out[1]))
        info = _saved_before(store.home, run)
        if info is None or _uncompared(info, run, options):
            memory = watched(options.preset, options.model_name, options.batch_size)
            ending = reported(
                store,
                run.name,
                options.document(),
                run.folder,
                tell,
                lambda: _how_to_go_on(run, options, store),
            )
            with ending, _engines_hushed(run), memory:
                if info is None:
                    info = _made(store, run, options, base, engine, split, sources, tell, stop)
                info = _compared(store, run, options, base, info, tell, stop)
        run.finish()
        verdict = gate.verdict_in_words(gate.Verdict.of(cards.read_card(info.path)))
        tell(
            TrainEvent(
                "finished",
                text=f"The adapter {info.name} is ready. {verdict}",
                text_zh=f"轉接器 {info.name} 已完成。{verdict.zh}",
            )
        )
        return info


def _made(
    store: Store,
    run: Run,
    options: TrainOptions,
    base: ModelRef,
    engine: Engine,
    split: Split,
    sources: Sources,
    tell: Tell,
    stop: StopRequest,
) -> AdapterInfo:
    """Load the base, train it, and put the adapter among the home's."""
    assert base.base is not None
    if options.engine == "unsloth" != engine:
        tell(
            TrainEvent(
                "preparing",
                text=f"Unsloth has no {options.method}; PEFT trains it.",
                text_zh=f"Unsloth 沒有 {options.method}，改由 PEFT 訓練。",
            )
        )
    loading = f"Loading {base.name} with {engine}.", f"以 {engine} 載入 {base.name}。"
    tell(TrainEvent("preparing", text=loading[0], text_zh=loading[1]))
    loaded = load(engine, base.base, options.lora)
    base_hash = weights_hash(base.base)
    plan = begun(run, base_hash)
    if plan is None:
        plan = draw(run, store, options, base_hash, split, sources.bars, loaded)
    fitted = _fit(loaded, run, options, plan, tell, stop)
    tell(TrainEvent("saving", plan.steps, plan.steps))
    return _save(loaded, store.home, run, options, plan, fitted)


def _uncompared(info: AdapterInfo, run: Run, options: TrainOptions) -> bool:
    """Whether a finished adapter could still be held against its base."""
    there = run.document()["validation_from"] is not None and options.validation_windows > 0
    return there and gate.Verdict.of(cards.read_card(info.path)) is None


def _compared(
    store: Store,
    run: Run,
    options: TrainOptions,
    base: ModelRef,
    info: AdapterInfo,
    tell: Tell,
    stop: StopRequest,
) -> AdapterInfo:
    """Write on the adapter's card how it forecasts beside its base, where there are days to tell.

    The adapter is in its place already: whatever happens here, it is not lost, and without figures on its
    card nobody takes it unasked.
    """
    stop.patient = False  # nothing is lost by stopping at once
    if not _uncompared(info, run, options):
        return info
    card = cards.read_card(info.path)
    assert card.validation_from is not None
    held = gate.held_windows(
        store,
        card.companies,
        validation_from=date.fromisoformat(card.validation_from),
        wanted=min(gate.MOST_WINDOWS, options.validation_windows),
        prompt=options.prompt,
    )
    if held is None:
        return info
    count = len(held.windows)
    tell(
        TrainEvent(
            "validating",
            card.steps,
            card.steps,
            text=f"Comparing with the base on {count} forecasts from {card.validation_from} on.",
            text_zh=f"與基礎模型比較 {card.validation_from} 起的 {count} 個預測。",
        )
    )
    adapter = replace(base, adapter=info.name, adapter_dir=info.path)
    try:
        verdict = gate.compare(store, base, adapter, held, card)
    except Exception as error:
        if not isinstance(error, StockllmError) and not out_of_memory(error):
            raise
        why, zh = str(error), getattr(error, "zh", "")
        if not isinstance(error, StockllmError):
            why, zh = "Comparing with the base ran out of memory.", "與基礎模型比較時記憶體不足。"
        tell(TrainEvent("validating", card.steps, card.steps, text=why, text_zh=zh or why))
        return info
    if verdict is None:
        return info
    figures = replace(
        card, crps_base=verdict.base, crps_adapter=verdict.adapter, crps_windows=verdict.windows
    )
    cards.write_card(info.path, figures)
    return _listed(store.home, run.name)


def resume(
    store: Store,
    name: str | None = None,
    progress: Tell | None = None,
    *,
    output_dir: Path | None = None,
) -> AdapterInfo:
    """Go on with an unfinished run, by its name, by its folder, or the one touched last.

    Raises what `train` raises, and UsageError where there is no such run.
    """
    home_runs = runs_folder(store.home)
    if output_dir is not None:
        run = runs.in_folder(output_dir)
    else:
        run = runs.latest_unfinished(home_runs) if name is None else runs.named(home_runs, name)
    options = TrainOptions.from_document(
        run.document()["options"],
        name=run.name,
        output_dir=None if run.folder.parent == home_runs else run.folder,
    )
    return train(store, options, progress)


def split_of(
    store: Store,
    tasks: Sequence[Task],
    *,
    since: date | None = None,
    validation_from: date | None = None,
    validate: bool = True,
) -> Split:
    """Which days of this store train and which validate, for all companies alike.

    :raises NotEnoughHistory: where the store has no prices (from ``since`` on).
    :raises UsageError: where ``validation_from`` leaves one side empty.
    """
    days = [day for day in store.bars.traded() if since is None or day >= since]
    if not days:
        when = "" if since is None else f" from {since} on"
        raise NotEnoughHistory(
            f"The store holds no prices{when}; take some in with `stockllm import PATH`.",
            zh="資料庫沒有可用的股價：請用 `stockllm import PATH` 匯入。",
        )
    if validation_from is not None:
        return Split.by_date(days, validation_from, max(task.future for task in tasks))
    return Split.at_the_end(days, tasks) if validate else Split()


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to train on, and a sentence for each company with too few days for any task."""

    bars: Sequence[tuple[BarSeries, Company]] = ()
    left_out: Sequence[Sentence] = ()


def _sources(store: Store, options: TrainOptions, split: Split) -> Sources:
    """The bars of the companies asked for; NotEnoughHistory where none has enough."""
    sources = []
    short: list[NotEnoughHistory] = []
    for code in options.codes:
        series, company = store.long_series(code), store.company(code)
        try:
            require_history(series, company, options.tasks, options.since, split.train_end)
        except NotEnoughHistory as error:
            short.append(error)
            continue
        sources.append((series, company))
    if not sources:
        raise short[0]
    return Sources(sources, [Sentence.of(error) for error in short])


def _open_run(store: Store, options: TrainOptions) -> Run:
    """The folder to train in: that of an unfinished run with the same options, or a new one.

    :raises UsageError: where the name is taken by an adapter, or by a run with other options.
    """
    home, document = store.home, options.document()
    if options.output_dir is None and options.name is None:
        found = runs.find_unfinished(runs_folder(home), document)
        if found is not None:
            return found
    name = options.name or _free_name(home, options, store.bars.last_date())
    run = Run(options.output_dir or runs_folder(home) / name, name)
    if run.unfinished():
        there = run.document()
        if there["options"] != document or options.name not in (None, there["name"]):
            raise UsageError(
                f"An unfinished training {there['name']!r} with other options lies in {run.folder}; "
                f"{_resume_command(run, options)} goes on with it, another --name starts a new one.",
                zh=(
                    f"{run.folder} 裡有選項不同的未完成訓練 {there['name']!r}；用 "
                    f"{_resume_command(run, options)} 接續，或換一個 --name 開始新的。"
                ),
            )
        return Run(run.folder, there["name"])
    if (home.adapters / name).exists():
        raise UsageError(
            f"There is an adapter {name!r} already; choose another --name.",
            zh=f"已有名為 {name!r} 的轉接器：請換一個 --name。",
        )
    return run


def _free_name(home: Home, options: TrainOptions, last: date | None) -> str:
    """A name that says the prompt and the data's end, and tells other options apart."""
    digest = hashlib.sha256(json.dumps(options.document(), sort_keys=True).encode()).hexdigest()[:6]
    kind = "" if options.method == "lora" else f"{options.method}-"
    name = f"{kind}{options.prompt}-{'' if last is None else f'{last:%Y%m%d}-'}{digest}"
    number = 2
    free = name
    while (home.adapters / free).exists():
        free, number = f"{name}-{number}", number + 1
    return free


def _saved_before(home: Home, run: Run) -> AdapterInfo | None:
    """The adapter of a run that was killed after saving it and before saying so."""
    document = run.document()
    if not document or not (home.adapters / run.name / cards.CARD_FILE).is_file():
        return None
    if cards.read_card(home.adapters / run.name).run != document["id"]:
        raise UsageError(
            f"There is another adapter {run.name!r} already; choose another --name.",
            zh=f"已有另一個名為 {run.name!r} 的轉接器：請換一個 --name。",
        )
    return _listed(home, run.name)


@contextlib.contextmanager
def _engines_hushed(run: Run) -> Iterator[None]:
    """What engines print goes to a file: stdout belongs to the command's answer."""
    with (run.folder / "engine.log").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        yield


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a training went: the trainer's log up to step ``steps``, whose weights are kept, and its speed."""

    history: list[dict[str, Any]]
    speed: dict[str, float]
    steps: int


def _fit(
    loaded: Loaded, run: Run, options: TrainOptions, plan: Plan, tell: Tell, stop: StopRequest
) -> Fitted:
    """Train to the last step or until it gains no more, from the last checkpoint where there is one.

    :raises KeyboardInterrupt: where the run was stopped before its last step.
    """
    from stockllm.forecaster.training import trainer as sft

    for sentence in plan.sentences():
        tell(TrainEvent("preparing", steps=plan.steps, text=sentence, text_zh=sentence.zh))
    trainer, said = sft.build(loaded, run.folder, options, plan.steps, plan.training, plan.validation)
    for sentence in said:
        tell(TrainEvent("preparing", steps=plan.steps, text=sentence, text_zh=sentence.zh))
    checkpoint = next(reversed(run.checkpoints()), None)
    done = 0 if checkpoint is None else runs.step_of(checkpoint)
    if checkpoint is not None:
        trainer.args.eval_on_start = False
        going = f"Going on from step {done} of {plan.steps}.", f"從 {plan.steps} 步中的第 {done} 步接續。"
        tell(TrainEvent("preparing", done, plan.steps, text=going[0], text_zh=going[1]))
    patience = Patience(options.early_stopping) if options.early_stopping else None
    if patience is not None:
        trainer.add_callback(patience.callback())
    speed = sft.follow(trainer, tell, stop)
    stop.patient = True
    with no_bars(), chatter_in(run.folder / "engine.log"):
        sft.fit(trainer, checkpoint)
    if trainer.state.global_step < plan.steps and not (patience and patience.ended(trainer.state)):
        raise KeyboardInterrupt
    if plan.validation and not sft.validated(trainer):
        trainer.evaluate()
    run.write(run.document() | {"speed": speed()})
    history, steps = list(trainer.state.log_history), int(trainer.state.global_step)
    if patience is not None and (best := patience.best(trainer.state)) not in (None, steps):
        trainer.take(run.folder / f"checkpoint-{best}")
        kept = patience.sentence(trainer.state)
        tell(TrainEvent("saving", steps, plan.steps, text=kept, text_zh=kept.zh))
        history, steps = [entry for entry in history if entry["step"] <= best], best
    return Fitted(history, speed(), steps)


def _save(
    loaded: Loaded, home: Home, run: Run, options: TrainOptions, plan: Plan, fitted: Fitted
) -> AdapterInfo:
    """Write the adapter beside its place and move it there: it is whole or absent."""
    document = plan.document | {"steps": fitted.steps}
    home.ensure()
    part = runs_folder(home) / f".{run.name}.adapter"
    shutil.rmtree(part, ignore_errors=True)
    methods.causal(loaded.model).config.use_cache = True  # training had no use for it; who samples has
    with no_bars():
        loaded.model.save_pretrained(str(part))
    # The tokenizer goes along: it carries the chat template that was trained with.
    loaded.tokenizer.save_pretrained(str(part))
    cards.write_card(
        part,
        cards.Card(
            hash=weights_hash(part),
            made_at=_now(),
            prompt=options.prompt,
            tasks=[str(task) for task in options.tasks],
            losses=cards.losses_of(fitted.history),
            flags=options.document() | {"compact": NEWEST},
            run=document["id"],
            versions=cards.versions(),
            examples=document["examples"],
            speed=fitted.speed,
            method=options.method,
            trainable=methods.trainable(loaded.model),
            **{key: document[key] for key in cards.FROM_RUN},
        ),
    )
    os.replace(part, home.adapters / run.name)
    return _listed(home, run.name)


def _listed(home: Home, name: str) -> AdapterInfo:
    return next(adapter for adapter in list_adapters(home) if adapter.name == name)


def _how_to_go_on(run: Run, options: TrainOptions, store: Store) -> TrainingStopped:
    if _saved_before(store.home, run) is not None:
        return TrainingStopped(
            f"The adapter {run.name} is ready, but the comparison with its base was stopped; "
            f"{_resume_command(run, options)} compares again, and until then `auto` does not take it.",
            zh=f"轉接器 {run.name} 已完成，但與基礎模型的比較已停止：{_resume_command(run, options)} "
            "會重新比較，在那之前 `auto` 不會選用它。",
        )
    checkpoints = run.checkpoints()
    if not checkpoints:
        return TrainingStopped(
            "Training was stopped before its first checkpoint; the same command starts it anew.",
            zh="訓練在第一個檢查點之前停止；同樣的指令會重新開始。",
        )
    step, steps, kept = runs.step_of(checkpoints[-1]), run.document()["steps"], checkpoints[-1]
    return TrainingStopped(
        f"Training was stopped after step {step} of {steps} and its checkpoint kept in {kept}; "
        f"go on with {_resume_command(run, options)}.",
        zh=f"訓練在 {steps} 步中的第 {step} 步後停止，檢查點留在 {kept}："
        f"用 {_resume_command(run, options)} 接續。",
    )


def _resume_command(run: Run, options: TrainOptions) -> str:
    where = f"--output-dir {run.folder} --resume" if options.output_dir else f"--resume {run.name}"
    return f"`stockllm train {where}`"


def _now() -> str:
    return datetime.now(_TAIPEI).isoformat(timespec="seconds")
