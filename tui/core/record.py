"""What a model's forecasts have been worth so far, in words."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.records import PathForecast
    from stockllm.data.store import Store


def record_of(store: Store, forecast: PathForecast) -> tuple[str, str]:
    """The record of the model that made ``forecast``, as ``stockllm ledger show`` words it."""
    model = forecast.model if forecast.adapter is None else f"{forecast.model}+{forecast.adapter}"
    return _sentences(store.home, store.home.store.stat().st_ino, store.scores.count(), model)


@lru_cache(maxsize=16)
def _sentences(home: Home, _file: int, _scores: int, model: str) -> tuple[str, str]:
    """A year's scores take a second to read: once for each model, until the store has new ones."""
    from stockllm.forecaster.evaluation.scoring import record

    with open_store(home) as store:
        found = record(store, model=model)
    return found.sentence_zh, found.sentence_en
