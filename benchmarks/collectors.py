"""Collecting: requests a night and a backfill cost, and a whole market's day from bytes to rows.

The day is kept twice in one run, in stores alike: judged at once, and company by company as an import
of files is. Its answers are the stand-in's, with ten thousand warrants beside the shares.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

SHARES = {"TWSE": 1050, "TPEx": 850}
WARRANTS = 10_000
REPEATS = 5


def main() -> None:
    """Print both tables."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    _requests()
    print()
    _day()


def _requests() -> None:
    from standin import FakeClock

    from stockllm.collectors.planner import plan_prices
    from stockllm.data.paths import Home
    from stockllm.data.records import Bar
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.market.calendar import default_calendar
    from stockllm.market.companies import COMPANIES

    print("| 41 companies | requests | a stock's month at a time | ratio |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, Store.open(Home(Path(folder))) as store:
        now = FakeClock(datetime(2026, 3, 31, 18, 30)).now()
        settings = Settings()
        whole = plan_prices(store, COMPANIES, date(2024, 12, 1), now=now, settings=settings)
        _line("backfill from December 2024 to March 2026", len(whole.jobs), whole.stock_months)
        days = default_calendar().sessions(date(2024, 12, 1), date(2026, 3, 30))
        store.bars.put(Bar(c.code, day, 10, 10, 10, 10, 1, "x") for day in days for c in COMPANIES)
        night = plan_prices(store, COMPANIES, date(2024, 12, 1), now=now, settings=settings)
        _line("one night", len(night.jobs), len(COMPANIES))


def _line(what: str, ours: int, theirs: int) -> None:
    print(f"| {what} | {ours} | {theirs} | {ours / theirs:.2f} |")


def _day() -> None:
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    market, sessions = _market()
    *past, day = sessions
    times: dict[str, list[float]] = {"at once": [], "company by company": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(REPEATS):
            for name, keep in (("at once", _at_once), ("company by company", _one_by_one)):
                with Store.open(Home(Path(folder) / f"{number}-{name}")) as store:
                    known = [bar for bar in market.bars() if bar.date in past]
                    store.bars.put(known)
                    answers = _answers(market, day)
                    start = time.perf_counter()
                    kept = sum(keep(store, exchange, body, day) for exchange, body in answers.items())
                    times[name].append(time.perf_counter() - start)
    ours, theirs = (min(found) for found in times.values())
    rows = sum(SHARES.values())
    print(f"| a day of {rows:,} shares, {kept:,} bars | seconds |\n| --- | --- |")
    for name, found in times.items():
        print(f"| {name} | {min(found):.3f} |")
    print(f"\nratio {theirs / ours:.1f}, best of {REPEATS}")


def _market() -> tuple[Any, list[date]]:
    from dataclasses import replace

    from standin import GeneratedMarket

    from stockllm.market.companies import Company

    companies = [
        replace(Company.bare(str(1101 + n)), market="TWSE" if n < SHARES["TWSE"] else "TPEx")
        for n in range(sum(SHARES.values()))
    ]
    market = GeneratedMarket(date(2025, 1, 2), date(2025, 3, 31), companies=tuple(companies))
    return market, market.sessions()


def _answers(market: Any, day: date) -> dict[str, bytes]:
    """The bytes of both exchanges' lists, TPEx's with its warrants."""
    import json

    from standin import pages

    documents = {exchange: pages.day_list(market, exchange, day) for exchange in SHARES}
    rows = documents["TPEx"]["tables"][0]["data"]
    rows += [[f"7{n:05d}", *rows[0][1:]] for n in range(WARRANTS)]
    documents["TPEx"]["tables"][0]["totalCount"] = len(rows)
    return {exchange: json.dumps(found, ensure_ascii=False).encode() for exchange, found in documents.items()}


def _raw(exchange: Any, body: bytes, day: date) -> Any:
    from stockllm.collectors import market_day
    from stockllm.collectors.http import Answer

    answer = Answer(market_day.SITES[exchange], "a day", 200, {}, body)
    table = market_day._read(answer, exchange, day)
    return market_day._shares(answer, table, day, "benchmark", 400)


def _at_once(store: Any, exchange: Any, body: bytes, day: date) -> int:
    from standin import FakeClock

    from stockllm.collectors import market_day
    from stockllm.collectors.http import Web
    from stockllm.data.settings import Settings

    clock = FakeClock(datetime.combine(day, datetime.min.time()) + timedelta(hours=18))
    raw, left_out = _raw(exchange, body, day)
    with Web(store.requests, Settings(), clock) as web:
        report = market_day._keep(web, store, exchange, raw, left_out, store.calendar(), "")
    return report.accepted


def _one_by_one(store: Any, exchange: Any, body: bytes, day: date) -> int:
    import numpy as np

    from stockllm.collectors.imports import take_prices

    raw, _ = _raw(exchange, body, day)
    companies = (raw.company(np.array([i]), code) for i, code in enumerate(raw.codes))
    return take_prices(store, "x", companies, calendar=store.calendar(), tick=lambda _: None).accepted


if __name__ == "__main__":
    main()
