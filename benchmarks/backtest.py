"""A year's backtest of the 41 companies with cached forecasts, against the target of 30 seconds."""

from __future__ import annotations

import tempfile
import time
from datetime import date
from pathlib import Path

#: Seconds that the second run may take.
TARGET_S = 30.0
START, END = date(2025, 4, 1), date(2026, 3, 31)


def main() -> None:
    """Print the table."""
    from stockllm.collectors.simulated import simulate, write
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.trading.backtest.backtest import Request, backtest, document

    print("| simulated market, 41 companies, ewma, 99 paths | forecasts made | cached | seconds |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        write(simulate(END, 500, 11), home)
        with Store.open(home) as store:
            codes = tuple(store.bars.codes())
            for strategy, name in (
                ("mean", "first run"),
                ("mean", "again, cached"),
                ("edge", "edge, cached"),
                ("four-points", "four points, no forecast"),
            ):
                began = time.perf_counter()
                made = backtest(store, Request(START, END, codes, strategy, "ewma"))
                facts = document(made)
                took = time.perf_counter() - began
                counts = facts["forecasts"] or {"made": 0, "cache": 0}
                print(f"| {name} | {counts['made']:,} | {counts['cache']:,} | {took:.1f} |")
                if name == "again, cached":
                    assert not counts["made"], "the second run made forecasts anew"
                    assert took < TARGET_S, f"{took:.1f} s, and the target is {TARGET_S:.0f} s"


if __name__ == "__main__":
    main()
