"""Peak memory of sampling, training and evaluating, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks import evaluate, sampling, training
from benchmarks.figures import Line, machine, show


def main() -> None:
    """Print the table of this benchmark alone, or do one piece of work and print its peak in bytes."""
    if len(sys.argv) > 1:
        WORK[sys.argv[1]]()
        print(peak())
        return
    show(lines())
    print(f"\n{machine()}")


def lines() -> list[Line]:
    """Each of ours against what it is compared with in speed."""
    return [
        _line(
            f"peak memory, sampling x {sampling.PATHS} paths", "sample", "`generate`, one company", "generate"
        ),
        _line(
            f"peak memory, training, {training.BATCH} of the longest windows",
            "train",
            "the reference's text",
            "train-reference",
        ),
        _line("peak memory, evaluating llama", "evaluate", "ewma", "evaluate-naive"),
    ]


def _line(what: str, ours: str, against: str, theirs: str) -> Line:
    mine, other = _measured(ours), _measured(theirs)
    return Line(what, f"{mine / 2**20:,.0f} MiB", against, f"{other / 2**20:,.0f} MiB", other / mine)


def _measured(work: str) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", work]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def peak() -> int:
    """The most memory this process has held, in bytes.

    Linux hands a process the peak of the one that started it in ``ru_maxrss``, so its own is read
    where it stands.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (own,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(own.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _sample() -> None:
    ours, _, companies = sampling.prepared()
    ours(companies)


def _generate() -> None:
    sampling.prepared()[1](1)


def _train(style: str) -> None:
    loaded, rows = training.prepared()
    longest = sorted(rows[style], key=lambda row: -row.tokens)[: training.BATCH]
    training.train(loaded, longest, steps=1, per_step=1)


WORK = {
    "sample": _sample,
    "generate": _generate,
    "train": lambda: _train("compact"),
    "train-reference": lambda: _train("reference"),
    "evaluate": lambda: evaluate.run(("llama",)),
    "evaluate-naive": lambda: evaluate.run(("ewma",)),
}


if __name__ == "__main__":
    main()
