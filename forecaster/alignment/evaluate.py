"""What an alignment did: the model before and after it, on days that neither has read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import UsageError
from stockllm.forecaster.encoding.answers import NoCandles, Reader
from stockllm.forecaster.encoding.prompts import prompt_messages
from stockllm.forecaster.evaluation.evaluate import document, evaluate
from stockllm.forecaster.models.registry import load_model, resolve_model
from stockllm.forecaster.sampling.cutoffs import cutoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from stockllm.data.store import Store
    from stockllm.forecaster.encoding.windows import Window
    from stockllm.forecaster.evaluation.cases import Request

#: Windows that a model is asked about without a grammar, and answers to each.
FREE_WINDOWS = 32
FREE_ANSWERS = 8


def refuse_read(store: Store, model: str, learned_to: date, start: date) -> None:
    """UsageError where a period to evaluate has been read: by the model, or by the outcomes."""
    limit = cutoff(resolve_model(model, store.home), simulated=store.simulated)
    last = max((day for day in (limit.day, learned_to) if day is not None), default=learned_to)
    if start <= last:
        raise UsageError(
            f"The days from {start} on are no test: the model or the outcomes it would learn from reach to "
            f"{last}; evaluate later days, or learn from earlier ones with --until.",
            zh=f"從 {start} 起的日子不能檢驗：模型或所學的結果已讀到 {last}；"
            "請評估更晚的日子，或以 --until 學較早的。",
        )


def before_after(
    store: Store,
    before: str,
    after: str,
    request: Request,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Both models on the same windows of the request's period: scores, and the form of free answers.

    ``format`` is the share of answers that are valid candles where nothing but the model decides what is
    written; forecasts themselves are sampled under a grammar and are always valid.
    """
    made = evaluate(store, replace(request, models=(before, after)), progress)
    figures = document(made)
    chosen = _spread(made.cases.windows, FREE_WINDOWS)
    form = {
        name: free_answers(store, name, chosen, FREE_ANSWERS, request.seed, request)
        for name in (before, after)
    }
    return {
        "before": before,
        "after": after,
        "start": figures["start"],
        "end": figures["end"],
        "evenings": figures["origins"],
        "windows": figures["windows"],
        "codes": figures["codes"],
        "paths": figures["paths"],
        "stride": figures["stride"],
        "seed": figures["seed"],
        "simulated": figures["simulated"],
        "models": figures["models"],
        "format": form,
    }


def _spread(windows: Sequence[Window], most: int) -> list[Window]:
    """Up to so many windows, evenly out of all."""
    step = max(1, len(windows) // most)
    return list(windows[::step][:most])


def free_answers(
    store: Store, name: str, windows: Sequence[Window], each: int, seed: int, request: Request
) -> dict[str, Any]:
    """Ask a model without a grammar: ``share`` of the answers that are candles, and what the others lack."""
    from stockllm.forecaster.sampling.free import answers

    loaded = load_model(resolve_model(name, store.home))
    reasons: Counter[str] = Counter()
    valid = total = 0
    for number, window in enumerate(windows):
        reader = Reader(window, request.prompt, loaded.compact)
        for answer in answers(
            loaded.model,
            loaded.tokenizer,
            prompt_messages(window, request.prompt, version=loaded.compact),
            each,
            tokens=_room(window, request),
            seed=seed + number,
        ):
            total += 1
            try:
                reader.read(answer)
                valid += 1
            except NoCandles as fault:
                reasons[str(fault)] += 1
    share = valid / total if total else None
    return {"share": share, "answers": total, "faults": dict(reasons.most_common(5))}


def _room(window: Window, request: Request) -> int:
    """Tokens that an answer may take."""
    from stockllm.forecaster.sampling.sample import TOKENS_A_DAY

    return TOKENS_A_DAY[request.prompt] * len(window.future_dates) + 16
