"""A store for the dashboard's benchmark: seeded random walks with all that a used store has beside bars.

``python -m benchmarks.dashboard_market FOLDER`` lands the next evening in the store of FOLDER, as a
refresh in a process of its own does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.paths import Home
from stockllm.data.records import Article, Bar, PathForecast, QuarantinedRow
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import COMPANIES

if TYPE_CHECKING:
    from numpy.random import Generator

LAST = date(2026, 3, 31)

#: Evenings before the last whose forecasts stand in the ledger, of the 41 companies.
EVENINGS = 20
PATHS, HORIZON = 99, 5
_TAIPEI = timezone(timedelta(hours=8))
_STEPS = ("calendar", "prices", "news", "score", "forecast", "signals")


def codes_of(stocks: int) -> list[str]:
    """The 41 by their codes, then made-up ones."""
    known = [company.code for company in COMPANIES]
    return (known + [str(code) for code in range(1101, 9999) if str(code) not in known])[:stocks]


def fill(root: Path, stocks: int, first: date) -> None:
    """Bars from ``first``, forecasts of past evenings with their scores, signals, news, refused rows."""
    from stockllm.forecaster.evaluation.scoring import score_due

    days = list(default_calendar().sessions(first, LAST))
    codes = codes_of(stocks)
    rng = np.random.default_rng(1)
    with Store.open(Home(root)) as store:
        closes = {}
        for start in range(0, stocks, 100):
            bars = []
            for code in codes[start : start + 100]:
                walk = 5000 * np.exp(rng.normal(0, 0.015, len(days)).cumsum())
                closes[code] = np.maximum(walk, 500).astype(int).tolist()
                bars += [_bar(code, day, close) for day, close in zip(days, closes[code], strict=True)]
            store.bars.put(bars)
        store.bars.quarantine(
            QuarantinedRow("benchmark.csv", line, code, days[-1 - line % 200], "zero_price", "0,0,0,0")
            for line, code in enumerate(codes)
        )
        with store.transaction():
            for back in range(EVENINGS, 0, -1):
                _freeze(
                    store, codes[: len(COMPANIES)], days[-1 - back], closes, days.index(days[-1 - back]), rng
                )
        score_due(store)
        _evening(store, codes, LAST, {code: row[-1] for code, row in closes.items()}, rng)
        for number, code in enumerate(codes[: len(COMPANIES)]):
            store.news.put([_article(number * 10 + each) for each in range(10)], code)


def land(root: Path) -> None:
    """The next session's bars of every company, forecasts and signals on them, and the refresh's record."""
    with Store.open(Home(root)) as store:
        last = store.bars.last_date()
        assert last is not None
        day = next(iter(default_calendar().sessions(last + timedelta(days=1), last + timedelta(days=30))))
        rng = np.random.default_rng(day.toordinal())
        closes = {
            code: max(500, round(latest.close * float(np.exp(rng.normal(0, 0.015)))))
            for code, latest in store.survey.latest().items()
        }
        store.bars.put([_bar(code, day, close) for code, close in closes.items()])
        _evening(store, list(closes), day, closes, rng)


def _evening(store: Store, codes: Sequence[str], day: date, closes: dict[str, int], rng: Generator) -> None:
    """Forecasts, signals and the record of a refresh of one evening."""
    from stockllm.trading.strategy.signals import refresh_signals

    begun = datetime.combine(day, datetime.min.time(), _TAIPEI).replace(hour=18, minute=30)
    number = store.refreshes.begin(day, begun, 1)
    with store.transaction():
        _freeze(store, codes, day, {code: [close] for code, close in closes.items()}, 0, rng)
        refresh_signals(store, codes)
    for place, step in enumerate(_STEPS):
        at = begun + timedelta(minutes=place)
        store.refreshes.start(number, step, at)
        store.refreshes.finish(number, step, "ok", at, counts={"done": len(codes)}, zh="完成", en="done")
    store.refreshes.end(number, "ok", begun + timedelta(minutes=len(_STEPS)))


def _freeze(
    store: Store, codes: Sequence[str], day: date, closes: dict[str, list[int]], place: int, rng: Generator
) -> None:
    """A forecast of every company from the evening of ``day``, whose close stands at ``place``."""
    ahead = tuple(default_calendar().sessions(day + timedelta(days=1), day + timedelta(days=30)))[:HORIZON]
    made = datetime.combine(day, datetime.min.time(), _TAIPEI).replace(hour=19)
    for code in codes:
        last = closes[code][place]
        closing = last * np.exp(rng.normal(0, 0.015, (PATHS, HORIZON)).cumsum(axis=1))
        opening = np.concatenate([np.full((PATHS, 1), last), closing[:, :-1]], axis=1)
        high, low = np.maximum(opening, closing) * 1.005, np.minimum(opening, closing) * 0.995
        prices = np.rint(np.stack([opening, high, low, closing], axis=2)).astype(np.int32)
        volumes = np.full((PATHS, HORIZON), 1_000_000)
        store.ledger.freeze(
            PathForecast(
                code, code, "TWSE", day, last, ahead, prices, volumes, made,
                "llama", "0" * 64, None, None, "compact", 1, False,
            ),
            "benchmark",
        )  # fmt: skip


def _bar(code: str, day: date, close: int) -> Bar:
    return Bar(code, day, close, close + 50, close - 50, close + 10, 1_000_000, "benchmark")


def _article(number: int) -> Article:
    at = datetime(2026, 3, 31, tzinfo=_TAIPEI) - timedelta(hours=number)
    return Article(
        f"https://news.example/{number}",
        f"第 {number} 則：產能與需求的消息",
        "benchmark",
        at,
        "zh",
        "…" * 200,
    )


if __name__ == "__main__":
    land(Path(sys.argv[1]))
