"""The matching engine over 1,900 stocks and ten years of generated days, with 100,000 orders."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

STOCKS = 1900
ORDERS = 100_000
START, END = date(2016, 1, 1), date(2025, 12, 31)


def main() -> None:
    """Print the table."""
    began = time.perf_counter()
    market = _market()
    ready = time.perf_counter()
    book, counts = _trade(market)
    ended = time.perf_counter()
    bars = len(market.codes) * len(market.sessions)
    print(f"| {len(market.codes):,} stocks, {len(market.sessions):,} sessions, {bars:,} bars | |")
    print("| --- | --- |")
    print(f"| building the market | {ready - began:.1f} s |")
    print(f"| {counts['placed']:,} orders, {counts['filled']:,} filled | {ended - ready:.1f} s |")
    print(f"| orders a second | {counts['placed'] / (ended - ready):,.0f} |")
    print(f"\nequity at the end {book.equity():,} TWD; cash {book.portfolio.cash:,}")


def _market() -> Any:
    import numpy as np

    from stockllm.market.calendar import default_calendar
    from stockllm.market.ticks import round_to_tick
    from stockllm.trading.exchange.engine import Action
    from stockllm.trading.exchange.market_data import Market

    rng = np.random.default_rng(1)
    sessions = list(default_calendar().sessions(START, END))
    shape = (STOCKS, len(sessions))
    moves = rng.normal(0, 0.015, shape).cumsum(axis=1)
    closes = (
        np.exp(moves - moves.mean(axis=1, keepdims=True)) * rng.uniform(1500, 50000, (STOCKS, 1))
    ).astype(np.int32)
    closes = round_to_tick(np.maximum(closes, 100), "nearest")
    spread = (closes * rng.uniform(0, 0.02, shape)).astype(np.int32)
    prices = np.stack((closes - spread, closes + spread, closes), axis=2)
    prices[rng.random(shape) < 0.01] = 0
    codes = [str(1101 + k) for k in range(STOCKS)]
    dividends = [
        (sessions[day], Action(codes[k], 200, 0, 100))
        for k in range(STOCKS)
        for day in rng.integers(1, len(sessions), 10).tolist()
    ]
    return Market(sessions, codes, prices, before=dict.fromkeys(codes, 1000), actions=dividends)


def _trade(market: Any) -> tuple[Any, dict[str, int]]:
    import random

    from stockllm.data.errors import OrderRefused
    from stockllm.market.ticks import round_to_tick
    from stockllm.trading.exchange.book import Book
    from stockllm.trading.exchange.rules import Order

    rng = random.Random(1)
    book = Book.start(market, market.sessions[0], 10**12)
    counts = {"placed": 0, "filled": 0}
    while book.next_session is not None:
        left = len(market.sessions) - book.number - 1
        for _ in range(-(-(ORDERS - counts["placed"]) // max(1, left))):
            held = list(book.portfolio.holdings) if rng.random() < 0.4 else []
            code = rng.choice(held or market.codes)
            price = round_to_tick(market.close(code, book.day) or 1000, "nearest")
            try:
                book.place(Order(code, "sell" if held else "buy", 1000, price))
            except OrderRefused:
                continue
            counts["placed"] += 1
        counts["filled"] += len(book.advance().fills)
    return book, counts


if __name__ == "__main__":
    main()
