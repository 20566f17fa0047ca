"""Tunes every weight of a causal model on closes as plain text; see `closes.text`.

Plain transformers, no chat template and no TRL: the loss is a language model's own, over the whole text. A
run that was stopped goes on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, TrainingStopped, UsageError
from stockllm.data.private import private_folder
from stockllm.forecaster.closes.text import (
    FUTURE,
    PAST,
    ClosesCard,
    answer,
    folder_of,
    question,
    read_card,
    write_card,
)
from stockllm.forecaster.models import presets
from stockllm.forecaster.models.cards import versions
from stockllm.forecaster.models.engines import no_bars, prepare_imports, quiet_imports, reach
from stockllm.forecaster.models.files import NO_CODE, SAFE
from stockllm.forecaster.models.registry import ModelRef, refuse_peer, resolve_model, weights_hash
from stockllm.forecaster.sampling.cutoffs import cutoff
from stockllm.forecaster.training.progress import StopRequest, TrainEvent

if TYPE_CHECKING:
    from stockllm.data.store import Store

    Tell = Callable[[TrainEvent], None]

_TAIPEI = ZoneInfo("Asia/Taipei")
_TEXTS = "texts.json"
#: What padding is labelled: no loss.
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class ClosesOptions:
    """What to train. ``until`` is the last day that training reads, None for all there are."""

    codes: tuple[str, ...]
    model_name: str
    name: str
    until: date | None = None
    past: int = PAST
    future: int = FUTURE
    max_steps: int = 200
    batch_size: int = 8
    learning_rate: float = 5e-5
    seed: int = 3407

    def __post_init__(self) -> None:
        for key in ("past", "future", "max_steps", "batch_size"):
            if getattr(self, key) < 1:
                flag = f"--{key.replace('_', '-')}"
                raise UsageError(
                    f"{flag} is {getattr(self, key)} and must be at least 1.",
                    zh=f"{flag} 是 {getattr(self, key)}，至少要 1。",
                )
        if not 0 < self.learning_rate < 1:
            raise UsageError(
                f"--learning-rate is {self.learning_rate} and must lie between 0 and 1, as in 5e-5.",
                zh=f"--learning-rate 是 {self.learning_rate}，必須介於 0 與 1 之間，例如 5e-5。",
            )
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            raise UsageError(
                f"{self.name!r} cannot name a model: use letters, digits, dots, dashes and underscores.",
                zh=f"{self.name!r} 不能作為模型名稱：請用字母、數字、點、連字號與底線。",
            )

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"codes": list(self.codes), "until": self.until and self.until.isoformat()}


def train(store: Store, options: ClosesOptions, tell: Tell = lambda _: None) -> ClosesCard:
    """Tune the model and keep it, with its card, among the home's models of closes.

    :raises UsageError: where the name is taken.
    :raises NotEnoughHistory: where no company has days enough.
    :raises ModelUnavailable: where the base cannot be loaded, or reads too little.
    :raises TrainingStopped: on Ctrl-C or SIGTERM; a checkpoint is kept.
    """
    prepare_imports()
    place = folder_of(store.home) / options.name
    if place.exists():
        raise UsageError(
            f"There is a model of closes {options.name!r} already; choose another --name.",
            zh=f"已有收盤價模型 {options.name!r}；請用別的 --name。",
        )
    base = resolve_model(options.model_name, store.home)
    refuse_peer(base)
    if base.base is None or base.server is not None or base.adapter is not None:
        raise UsageError(
            f"{options.model_name} is no model to train on; name a folder or a hub id, such as "
            "openai-community/gpt2.",
            zh=f"{options.model_name} 不是可訓練的模型；請指定資料夾或 hub 名稱，"
            "例如 openai-community/gpt2。",
        )
    work = place.with_name(f".{options.name}")
    with StopRequest() as stop, presets.watched_alone(options.batch_size):
        model, tokenizer = _load(base.base)
        begun = _begun(work, options)
        texts = begun or _words(store, options)
        rows = _rows(tokenizer, model, texts["texts"])
        if begun is None:
            _begin(work, texts)
        there = f"{len(rows):,} windows of closes.", f"{len(rows):,} 個收盤價視窗。"
        tell(TrainEvent("preparing", steps=options.max_steps, text=there[0], text_zh=there[1]))
        losses = _fit(model, tokenizer, rows, work, options, tell, stop)
        part = work / "model"
        shutil.rmtree(part, ignore_errors=True)
        with no_bars():
            model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        card = ClosesCard(
            name=options.name,
            base=base.name,
            base_hash=weights_hash(base.base),
            hash=weights_hash(part),
            made_at=datetime.now(_TAIPEI).isoformat(timespec="seconds"),
            companies=texts["companies"],
            data_start=texts["data_start"],
            data_end=_read_to(base, texts["data_end"], simulated=store.simulated),
            simulated=store.simulated,
            past=options.past,
            future=options.future,
            windows=len(rows),
            steps=options.max_steps,
            losses=losses,
            flags=options.document(),
            versions=versions(),
        )
        write_card(part, card)
        os.replace(part, place)
        shutil.rmtree(work, ignore_errors=True)
    ready = f"The model of closes {options.name} is ready.", f"收盤價模型 {options.name} 已完成。"
    tell(TrainEvent("finished", text=ready[0], text_zh=ready[1]))
    return read_card(place)


def _read_to(base: ModelRef, last: str, *, simulated: bool) -> str:
    """The last day that the windows or, where its folder says so, the base's own training read."""
    known = cutoff(base, simulated=simulated, calibrated=False).day
    return last if known is None else max(last, known.isoformat())


def _load(base: Path | str) -> tuple[Any, Any]:
    from safetensors import SafetensorError

    offline = not isinstance(base, Path) and not reach(base)
    with quiet_imports():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    try:
        with no_bars():
            model = AutoModelForCausalLM.from_pretrained(
                base, dtype=torch.float32, local_files_only=offline, **SAFE
            )
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=offline, **NO_CODE)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelUnavailable(
            f"The model {base} cannot be loaded ({cause}); give a folder that transformers can load.",
            zh=f"無法載入模型 {base}（{cause}）；請指定 transformers 能載入的資料夾。",
        ) from error
    if tokenizer.eos_token_id is None:
        raise ModelUnavailable(
            f"The tokenizer of {base} has no end-of-text token, so no answer could end; choose another.",
            zh=f"{base} 的分詞器沒有結尾符號，回答無法結束；請選擇別的模型。",
        )
    return model, tokenizer


def _begun(work: Path, options: ClosesOptions) -> dict[str, Any] | None:
    """What an unfinished run with these options reads; None where there is none."""
    try:
        document = json.loads((work / _TEXTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if document["options"] == options.document() else None


def _words(store: Store, options: ClosesOptions) -> dict[str, Any]:
    """Every window in words, whose they are and from when; NotEnoughHistory where there is none."""
    texts: list[list[str]] = []
    companies, first, last = [], [], []
    for code in options.codes:
        series = store.bars.series(code)
        if options.until is not None:
            series = series.until(options.until)
        ends = range(options.past, len(series) - options.future + 1)
        for at in ends:
            past, future = series.close[at - options.past : at], series.close[at : at + options.future]
            texts.append([question(past.tolist(), options.future), answer(future.tolist())])
        if ends:
            companies.append(code)
            first.append(series.dates[0])
            last.append(series.dates[-1])
    if not texts:
        needed = options.past + options.future
        raise NotEnoughHistory(
            f"No company has the {needed} trading days that one window takes; import more history.",
            zh=f"沒有公司有一個視窗所需的 {needed} 個交易日；請匯入更多歷史。",
        )
    return {
        "options": options.document(),
        "companies": companies,
        "data_start": min(first).isoformat(),
        "data_end": max(last).isoformat(),
        "texts": texts,
    }


def _begin(work: Path, texts: dict[str, Any]) -> None:
    """Write down what the run reads: whatever is imported meanwhile, it goes on with the same."""
    shutil.rmtree(work, ignore_errors=True)
    private_folder(work)
    part = work / f"{_TEXTS}.part"
    part.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    part.replace(work / _TEXTS)


def _rows(tokenizer: Any, model: Any, texts: list[list[str]]) -> list[list[int]]:
    """Token ids of each text with its end; ModelUnavailable where one does not fit."""
    rows = [
        [*ids, tokenizer.eos_token_id]
        for ids in tokenizer([asked + said for asked, said in texts], add_special_tokens=False)["input_ids"]
    ]
    longest, known = max(map(len, rows)), getattr(model.config, "max_position_embeddings", None)
    if known is not None and longest > known:
        raise ModelUnavailable(
            f"A window of closes takes {longest:,} tokens and this model reads {known:,}; choose another "
            "model or fewer --past and --future days.",
            zh=f"一個收盤價視窗有 {longest:,} 個詞元，這個模型只能讀 {known:,} 個；請換模型，"
            "或減少 --past 與 --future。",
        )
    return rows


def _fit(
    model: Any,
    tokenizer: Any,
    rows: list[list[int]],
    work: Path,
    options: ClosesOptions,
    tell: Tell,
    stop: StopRequest,
) -> dict[str, float]:
    """Train to the last step, from the last checkpoint where there is one; first and last loss."""
    with quiet_imports():
        import torch
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def together(batch: list[dict[str, list[int]]]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in batch)

        def padded(key: str, filler: int) -> Any:
            return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in batch])

        return {
            "input_ids": padded("input_ids", pad),
            "labels": padded("labels", _IGNORED),
            "attention_mask": padded("attention_mask", 0),
        }

    class Follow(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, _state: Any, control: Any, **_rest: Any) -> None:
            if stop.wanted:
                control.should_save = control.should_training_stop = True

        def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_rest: Any) -> None:
            if logs and "loss" in logs:
                tell(
                    TrainEvent(
                        "training",
                        state.global_step,
                        state.max_steps,
                        loss=logs["loss"],
                        lr=logs.get("learning_rate"),
                    )
                )

    every = max(1, options.max_steps // 10)
    arguments = TrainingArguments(
        output_dir=str(work / "checkpoints"),
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        logging_steps=1,
        save_steps=every,
        save_total_limit=2,
        seed=options.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    dataset = [{"input_ids": row, "labels": row, "attention_mask": [1] * len(row)} for row in rows]
    with _quietly():
        trainer = Trainer(model=model, args=arguments, train_dataset=dataset, data_collator=together)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(Follow())
        checkpoint = _last_checkpoint(work / "checkpoints")
        stop.patient = True
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    step = trainer.state.global_step
    if step < options.max_steps:
        raise TrainingStopped(
            f"Training was stopped after step {step} of {options.max_steps} and its checkpoint kept; the "
            "same command goes on.",
            zh=f"訓練在第 {step} 步（共 {options.max_steps} 步）停止，檢查點已保留；再執行同一指令即可繼續。",
        )
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return {"first_loss": losses[0], "last_loss": losses[-1]}


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings(), no_bars(), quiet_imports():
        warnings.simplefilter("ignore")
        yield
