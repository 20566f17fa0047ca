"""What a benchmark found, as lines of one Markdown table, and the market that all of them use."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stockllm.data.store import Store

#: Last day of the simulated market.
END = date(2025, 12, 31)


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison: what was measured, our figure, what it is held against, and that figure.

    ``ratio`` says how many times better ours is: above 1 is faster, or smaller where size counts.
    ``cpu_ratio`` is the same of the processor's time, which other programs disturb less.
    """

    what: str
    ours: str
    against: str
    theirs: str
    ratio: float
    cpu_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock, and of all cores together."""

    wall: float
    cpu: float

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.wall - other.wall, self.cpu - other.cpu)

    def __mul__(self, times: float) -> Spent:
        return Spent(self.wall * times, self.cpu * times)


def show(lines: Sequence[Line]) -> None:
    """Print the table."""
    print("| | stockllm | against | | ratio | of CPU time |\n| --- | --- | --- | --- | --- | --- |")
    for line in lines:
        cpu = "" if line.cpu_ratio is None else f"{line.cpu_ratio:.2g}"
        print(f"| {line.what} | {line.ours} | {line.against} | {line.theirs} | {line.ratio:.2g} | {cpu} |")


def machine() -> str:
    """What the figures were measured on, and how busy it is with other things."""
    import torch

    one, five, fifteen = os.getloadavg()
    busy = f"load average {one:.1f} {five:.1f} {fifteen:.1f}"
    return f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, {busy}"


def spent(work: Callable[[], object]) -> Spent:
    """How long ``work`` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def simulated_store(sessions: int) -> Iterator[Store]:
    """A store of the 41 companies with ``sessions`` simulated days up to END."""
    from stockllm.collectors.simulated import simulate, write
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

    with tempfile.TemporaryDirectory(prefix="stockllm-") as folder:
        home = Home(Path(folder) / "home")
        write(simulate(END, sessions, 1), home)
        with Store.open(home) as store:
            yield store
