"""The dashboard over 41 companies with ten years of days, and over 1,900 stocks with two.

Each market is measured in a process of its own, without a terminal: first paint, key to repaint, the
processor while idle, memory, and ten hours in minutes (``dashboard_soak``). Seconds are what a machine
does that has nothing else to do; beside them stands the processor's time, which other programs disturb
less. ``python -m benchmarks.dashboard --quick`` leaves out the soak.
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
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.dashboard_soak import Clock, quiet, soak
from stockllm.tui.memory import resident

#: Name, stocks, first day.
MARKETS = (
    ("41 companies, 10 years", 41, date(2016, 4, 1)),
    ("1,900 stocks, 2 years", 1900, date(2024, 4, 1)),
)
SIZE = (160, 50)
PRESSES = 60
IDLE_S = 10.0
#: Nothing painted for so long: nothing more will follow from a key.
QUIET_S = 0.1
#: From one key to the next, as somebody presses who looks at what comes; held down.
PACE_S, HELD_S = 0.3, 1 / 30
TABS = {"1": "market", "2": "portfolio", "3": "ledger", "4": "training", "5": "system"}
#: When the last evening of the market has landed.
EVENING = datetime(2026, 3, 31, 19, 0, tzinfo=timezone(timedelta(hours=8)))


def main(wanted: list[str] | None = None) -> None:
    """Print the table."""
    quick = "--quick" in (wanted if wanted is not None else sys.argv[1:])
    rows: dict[str, list[str]] = {}
    for name, stocks, first in MARKETS:
        with tempfile.TemporaryDirectory() as folder:
            from benchmarks.dashboard_market import fill

            fill(Path(folder), stocks, first)
            command = [sys.executable, "-m", "benchmarks.dashboard", folder, *(["--quick"] if quick else [])]
            answer = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"BEGUN": str(time.time())},
            )
        for measure, figure in json.loads(answer.stdout.splitlines()[-1]).items():
            rows.setdefault(measure, []).append(figure)
        print(f"measured: {name}", file=sys.stderr)
    print("| |", " | ".join(name for name, _, _ in MARKETS), "|")
    print("| --- |", " | ".join("---" for _ in MARKETS), "|")
    for measure, figures in rows.items():
        print(f"| {measure} | {' | '.join(figures)} |")


async def measure(root: Path, quick: bool) -> dict[str, str]:
    """All figures of one market."""
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.tui.app import StockApp

    home = Home(root)
    home.settings_file.unlink(missing_ok=True)
    clock = Clock(EVENING)
    app = StockApp(home, Settings.load(home), now=clock)
    app.tidy.begin()
    found: dict[str, str] = {"load average": f"{os.getloadavg()[0]:.1f}"}
    screen = Painted(app)
    async with app.run_test(size=SIZE) as pilot:
        wall, cpu = time.time() - float(os.environ["BEGUN"]), time.process_time()
        found["first paint, from the start of the process"] = f"{wall:.2f} s, {cpu:.2f} s of CPU"
        found["torch imported for it"] = "yes" if "torch" in sys.modules else "no"
        while not screen.shows_selected():
            await asyncio.sleep(0.001)
        found["list and chart"] = f"{time.time() - float(os.environ['BEGUN']):.2f} s"
        await quiet(app)
        for key in ("2", "3", "4", "5", "1"):
            await pilot.press(key)
            await quiet(app)
            await asyncio.sleep(0.5)
        await asyncio.sleep(3)
        found["memory, every tab opened, before a model is loaded"] = f"{resident() / 1e6:.0f} MB"
        for name, keys in (
            ("company", ["down"]),
            ("pan", ["left", "right"]),
            ("zoom", ["minus", "plus"]),
            ("tab", list("23451")),
        ):
            found[f"key to repaint, {name}, p95"] = await timed(app, screen, keys)
        found["key held down, company, behind at its end"] = await held(app, screen)
        for key, name in (("1", "Market"), ("5", "System")):
            await pilot.press(key)
            await quiet(app)
            await asyncio.sleep(3)
            began, wall = time.process_time(), time.perf_counter()
            await asyncio.sleep(IDLE_S)
            busy = (time.process_time() - began) / (time.perf_counter() - wall)
            found[f"processor while idle, {name}"] = f"{busy:.2%}"
        if not quick:
            screen.leave()
            found |= await soak(app, pilot, clock, lambda said: print(said, file=sys.stderr, flush=True))
    return found


@dataclass(slots=True)
class Stamp:
    """A painting: when, how much CPU was used by then, and whether it shows what the key asked for."""

    at: float
    cpu: float
    asked: bool


class Painted:
    """Stamps every painting of the app, after it was made into what a terminal would be sent."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.stamps: list[Stamp] = []
        self.wanted: tuple[str, object] = ("", None)
        self._paint = app._display
        app._display = self._stamped

    def leave(self) -> None:
        """Stamp no more: ten hours of stamps would count as the dashboard's memory."""
        self.app._display = self._paint
        self.stamps.clear()

    def _stamped(self, screen: Any, update: Any) -> None:
        self._paint(screen, update)
        if update is None or self.app._batch_count:
            return
        update.render_segments(self.app.console)
        self.stamps.append(Stamp(time.perf_counter(), time.process_time(), self._asked(screen)))

    def _asked(self, screen: Any) -> bool:
        kind, what = self.wanted
        if kind == "tab":
            return bool(what == screen.TAB)
        if kind == "company":
            return self.shows_selected() and self.app.market.selected != what
        return kind == "chart" and self.app.market.chart._drawn_for != what

    def shows_selected(self) -> bool:
        """Whether the chart that was painted last is of the company that is selected."""
        market = getattr(self.app, "market", None)
        if market is None or not market.is_attached or not market.query("#chart"):
            return False
        drawn = market.chart._drawn_for
        detail = drawn[0][0] if drawn else None
        return detail is not None and detail.company.code == market.selected

    def expect(self, key: str) -> None:
        """Begin a list of paintings; what ``key`` asks for is that tab, another company, another view."""
        self.stamps.clear()
        if key in TABS:
            self.wanted = ("tab", TABS[key])
        elif key == "down":
            self.wanted = ("company", self.app.market.selected)
        else:
            self.wanted = ("chart", self.app.market.chart._drawn_for)


async def timed(app: Any, screen: Painted, keys: list[str]) -> str:
    """95th percentiles: from a key to what it asks for, its CPU, and to the last painting that follows."""
    shown, cpu, all_of_it = [], [], []
    for number in range(PRESSES):
        key = keys[number % len(keys)]
        screen.expect(key)
        began, used = time.perf_counter(), time.process_time()
        app.simulate_key(key)
        while True:
            last = screen.stamps[-1].at if screen.stamps else began
            done = any(stamp.asked for stamp in screen.stamps)
            if (done and time.perf_counter() - last > QUIET_S) or time.perf_counter() - began > 5:
                break
            await asyncio.sleep(0.01)
        first = next((stamp for stamp in screen.stamps if stamp.asked), None)
        if first is not None:  # at the end of the list, or of the zoom, a key asks for nothing
            shown.append(first.at - began)
            cpu.append(first.cpu - used)
            all_of_it.append(screen.stamps[-1].at - began)
        await asyncio.sleep(max(0.0, PACE_S - (time.perf_counter() - began)))

    def p95(times: list[float]) -> str:
        return f"{statistics.quantiles(times, n=20)[18] * 1000:.0f} ms"

    return f"{p95(shown)}, {p95(cpu)} of CPU, all panels {p95(all_of_it)} (n {len(shown)})"


async def held(app: Any, screen: Painted) -> str:
    """A key held down for two seconds: how long after its end the chart shows where the list stands."""
    await app.run_action("screen.reload")
    await quiet(app)
    for _ in range(60):
        app.simulate_key("up")
        await asyncio.sleep(HELD_S)
    ended = time.perf_counter()
    while app.market.watchlist.cursor != app.market.selected or not screen.shows_selected():
        await asyncio.sleep(0.001)
    return f"{(time.perf_counter() - ended) * 1000:.0f} ms"


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        print(json.dumps(asyncio.run(measure(Path(sys.argv[1]), "--quick" in sys.argv))))
    else:
        main()
