"""The refresh: requests and seconds of a night, a backfill, and what an import of everything refuses.

Forty-one companies against the stand-in on loopback, through the refresh itself; time is the stand-in's
fake clock's, so the waits between requests cost nothing here and are reported as they would be. The
reference asked for one month of each company every night: 41 requests.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
UNIVERSE = ROOT.parent / "shared" / "market" / "universe.parquet"
REFERENCE = 41
PRICES = ("day", "month", "open")


def main() -> None:
    """Print the tables."""
    sys.path.insert(0, str(ROOT / "tests"))
    _refreshes()
    print()
    _universe()


def _refreshes() -> None:
    from standin import MEMORY, FakeClock, GeneratedMarket, StandIn

    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.market.companies import COMPANIES

    start = date(2024, 12, 2)
    market = GeneratedMarket(start, date(2026, 4, 30), companies=COMPANIES, seed=1)
    clock = FakeClock(datetime(2026, 3, 30, 18, 30))
    months = (2026 - 2024) * 12 + 3 - 11
    evenings = [
        ("backfill from December 2024 to March 2026", datetime(2026, 3, 30, 18, 30), REFERENCE * months),
        ("the night after it", datetime(2026, 3, 31, 18, 30), REFERENCE),
        ("the same evening again", datetime(2026, 3, 31, 20, 0), REFERENCE),
        ("an ordinary night", datetime(2026, 4, 1, 19, 0), REFERENCE),
    ]
    print("| 41 companies | price requests | the reference's | ratio | all requests | minutes | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        StandIn(market, clock) as site,
        Store.open(Home(Path(folder))) as store,
    ):
        settings = site.settings(fewest_shares=5, model="ewma", prices_from=start)
        for name, moment, theirs in evenings:
            clock.set(moment)
            seen, began, cpu = len(site.seen), clock.now(), time.process_time()
            report = _refresh(store, settings, clock, COMPANIES)
            cpu = time.process_time() - cpu
            asked = site.seen[seen:]
            ours = sum(one.kind in PRICES for one in asked)
            minutes = (clock.now() - began).total_seconds() / 60
            figures = f"{ours} | {theirs} | {ours / theirs:.2f} | {len(asked)} | {minutes:.1f} | {cpu:.1f}"
            print(f"| {name} | {figures} |")
            assert report.ok, report.document()


def _refresh(store: Any, settings: Any, clock: Any, companies: Any) -> Any:
    from stockllm.nightly.refresh import refresh

    return refresh(store, settings, clock=clock, companies=companies)


def _universe() -> None:
    """What the real market's rows lose on the way in, reason by reason."""
    if not UNIVERSE.is_file():
        print(f"No import was measured: {UNIVERSE} is absent.")
        return
    from stockllm.collectors.imports import import_path
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    with tempfile.TemporaryDirectory() as folder, Store.open(Home(Path(folder))) as store:
        began = time.perf_counter()
        (report,) = import_path(store, UNIVERSE)
        took = time.perf_counter() - began
        kept = Counter(row.reason for row in store.bars.quarantined())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| {UNIVERSE.name}: {report.read:,} rows in {took:.1f} s, at most {peak:.0f} MB | rows |")
    print("| --- | --- |")
    print(f"| bars | {report.accepted:,} |\n| in quarantine | {report.quarantined:,} |")
    for reason, number in sorted(kept.items()):
        print(f"| … {reason} | {number:,} |")
    assert sum(kept.values()) == report.quarantined == report.read - report.accepted


if __name__ == "__main__":
    main()
