"""What a command that forecasts a past period asks about: whose windows, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stockllm.cli import arguments
from stockllm.cli.output import say, text
from stockllm.data.errors import NotEnoughHistory

if TYPE_CHECKING:
    from stockllm.data.store import Store


def chosen(store: Store, given: Sequence[str], models: Sequence[str]) -> tuple[str, ...]:
    """The codes asked for, once each; the companies of the list that have prices where none is.

    A word may stand for many: ``all`` for every company with prices, ``listed`` for those of the list,
    ``held-out`` for those that all of the ``models`` that say so were trained without.

    :raises NotEnoughHistory: where a word stands for no company with prices.
    """
    queries = [part for each in given for part in arguments.parts(each)] or ["listed"]
    found: dict[str, None] = {}
    for query in queries:
        if query == "all":
            found |= dict.fromkeys(store.codes_with_prices())
        elif query == "listed":
            found |= dict.fromkeys(_listed(store))
        elif query == "held-out":
            found |= dict.fromkeys(_held_out(store, models))
        else:
            found[store.resolve(query).code] = None
    return tuple(found)


def _listed(store: Store) -> list[str]:
    listed = {company.code for company in store.companies()}
    codes = [code for code in store.codes_with_prices() if code in listed]
    if not codes:
        raise NotEnoughHistory(
            "The store holds no prices of the listed companies: bring some in with 'stockllm import PATH'.",
            zh="資料庫沒有上市公司的股價：請用 'stockllm import PATH' 匯入。",
        )
    return codes


def _held_out(store: Store, models: Sequence[str]) -> list[str]:
    from stockllm.forecaster.models.registry import resolve_model
    from stockllm.forecaster.sampling.cutoffs import held_out

    lists = [set(held_out(resolve_model(name, store.home))) for name in models]
    held = set(store.codes_with_prices()).intersection(*filter(None, lists)) if any(lists) else set()
    if not held:
        raise NotEnoughHistory(
            "None of the companies held out of these models' training has prices here: "
            "import some, or name codes.",
            zh="這些模型訓練時保留的公司在這裡都沒有股價：請匯入一些，或指定代號。",
        )
    return sorted(held)


def warn_seen(model: str, seen: bool | None, en: str, zh: str, language: str) -> None:
    """Say that a model has read days of the period (and what follows from it), or that nobody knows."""
    if seen:
        words = text(
            f"{model} 的訓練資料含有這段期間的日子：{zh}。",
            f"{model} was trained on days of this period: {en}.",
            language,
        )
    elif seen is None:
        words = text(
            f"沒有紀錄說明 {model} 訓練到哪一天：它可能讀過這段期間。",
            f"nothing says until when {model} was trained: it may have seen the period.",
            language,
        )
    else:
        return
    say(f"stockllm: {words}")


class Counter:
    """How far each model is, on stderr: a counter for a terminal, a line a model otherwise."""

    def __init__(self, language: str) -> None:
        self.model, self.language = "", language

    def __call__(self, model: str, done: int, total: int) -> None:
        import sys

        if sys.stderr.isatty():
            print(
                f"\r{model} {done}/{total} ", end="\n" if done >= total else "", file=sys.stderr, flush=True
            )
        elif model != self.model:
            windows = text(f"{model}，{total} 個視窗", f"{model}, {total} windows", self.language)
            say(f"stockllm: {windows}")
        self.model = model
