"""The dashboard over 41 companies with ten years of days, and over 1,900 stocks with two.

Each market is measured in a process of its own, without a terminal: first paint, key to repaint, the
processor while idle, memory, and an accelerated soak. Run alone: another load shows in every figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

#: Name, stocks, first day.
MARKETS = (
    ("41 companies, 10 years", 41, date(2016, 4, 1)),
    ("1,900 stocks, 2 years", 1900, date(2024, 4, 1)),
)
LAST = date(2026, 3, 31)
SIZE = (160, 50)
PRESSES = 60
IDLE_S = 5.0
QUIET_S = 0.1
#: Keys of the soak, pressed without a break: an hour's work of a busy user.
SOAK = 800


def main() -> None:
    """Print the table."""
    rows: dict[str, list[str]] = {}
    for name, stocks, first in MARKETS:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), stocks, first)
            command = [sys.executable, "-m", "benchmarks.dashboard", folder]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
        for measure, figure in json.loads(answer.stdout.splitlines()[-1]).items():
            rows.setdefault(measure, []).append(figure)
        print(f"measured: {name}", file=sys.stderr)
    print("| |", " | ".join(name for name, _, _ in MARKETS), "|")
    print("| --- |", " | ".join("---" for _ in MARKETS), "|")
    for measure, figures in rows.items():
        print(f"| {measure} | {' | '.join(figures)} |")


def fill(root: Path, stocks: int, first: date) -> None:
    """A store of seeded random walks: the 41 by their codes, then made-up ones."""
    import numpy as np

    from stockllm.data.paths import Home
    from stockllm.data.records import Bar
    from stockllm.data.store import Store
    from stockllm.market.calendar import default_calendar
    from stockllm.market.companies import COMPANIES

    days = list(default_calendar().sessions(first, LAST))
    known = [company.code for company in COMPANIES]
    codes = (known + [str(code) for code in range(1101, 9999) if str(code) not in known])[:stocks]
    rng = np.random.default_rng(1)
    with Store.open(Home(root)) as store:
        for start in range(0, len(codes), 100):
            bars = []
            for code in codes[start : start + 100]:
                closes = 5000 * np.exp(rng.normal(0, 0.015, len(days)).cumsum())
                for day, close in zip(days, np.maximum(closes, 500).astype(int).tolist(), strict=True):
                    bars.append(
                        Bar(code, day, close, close + 50, close - 50, close + 10, 1_000_000, "benchmark")
                    )
            store.bars.put(bars)


async def measure(root: Path) -> dict[str, str]:
    """All figures of one market."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.tui.app import StockApp

    home = Home(root)
    home.settings_file.unlink(missing_ok=True)
    app = StockApp(home, Settings.load(home))
    found: dict[str, str] = {}
    async with app.run_test(size=SIZE) as pilot:
        paint = time.process_time()
        found["first paint, CPU from the start of the process"] = f"{paint:.2f} s"

        painted = stamps(app)

        async def shown() -> None:
            while app.market.detail is None or app.market.detail.company.code != app.market.selected:
                await asyncio.sleep(0.001)

        began = time.perf_counter()
        await shown()
        found["list and chart after it"] = f"{time.perf_counter() - began:.2f} s"
        while any(not worker.is_finished for worker in app.workers):
            await asyncio.sleep(0.05)
        found["memory before a model is loaded"] = f"{rss() / 1e6:.0f} MB"
        found["key to repaint, company, p95"] = await timed(app, ["down"], painted)
        found["key to repaint, pan, p95"] = await timed(app, ["left", "right"], painted)
        found["key to repaint, zoom, p95"] = await timed(app, ["minus", "plus"], painted)
        for key in ("2", "3", "4", "5", "1"):
            await pilot.press(key)
            await pilot.pause()
        found["key to repaint, tab, p95"] = await timed(app, ["2", "3", "4", "5", "1"], painted)
        while any(not worker.is_finished for worker in app.workers):
            await asyncio.sleep(0.05)
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_S)
        busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
        found["processor while idle"] = f"{busy:.1%}"
        found[f"memory over {SOAK:,} keys"] = await soak(pilot, shown)
    return found


def stamps(app: Any) -> list[float]:
    """A list that grows by the time of every painting of the screen."""
    found: list[float] = []
    paint = app._display

    def stamped(*given: Any, **named: Any) -> None:
        paint(*given, **named)
        found.append(time.perf_counter())

    app._display = stamped
    return found


async def timed(app: Any, keys: list[str], painted: list[float]) -> str:
    """The 95th percentile of the time from a key to the last painting that follows from it."""
    took = []
    for number in range(PRESSES):
        painted.clear()
        began = time.perf_counter()
        app.simulate_key(keys[number % len(keys)])
        # Quiet for a tenth of a second: nothing more will follow.
        while time.perf_counter() - (painted[-1] if painted else began) < QUIET_S:
            await asyncio.sleep(0.002)
        if painted:
            took.append(painted[-1] - began)
    return f"{statistics.quantiles(took, n=20)[18] * 1000:.0f} ms"


async def soak(pilot: Any, shown: Callable[[], Awaitable[None]]) -> str:
    """Memory after a tenth of the keys, and its growth from there to the end."""
    keys = [
        *["down"] * 12,
        "left",
        "left",
        "minus",
        "v",
        "x",
        "left",
        "escape",
        "d",
        "2",
        "3",
        "4",
        "5",
        "1",
        "t",
        "l",
    ]
    early = 0
    for number in range(SOAK):
        await pilot.press(keys[number % len(keys)])
        if keys[number % len(keys)] == "down":
            await shown()
        if number == SOAK // 10:
            early = rss()
    return f"{rss() / 1e6:.0f} MB, {rss() / early - 1:+.1%}"


def rss() -> int:
    """The resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(asyncio.run(measure(Path(sys.argv[1])))))
    else:
        main()
