"""``make bench``: run every benchmark; those that compare forecasting share one table.

``python -m benchmarks NAME...`` runs some of them, ``python -m benchmarks.NAME`` one alone.
"""

from __future__ import annotations

import importlib
import sys

from benchmarks.figures import machine, show

#: Each gives lines of the last table.
COMPARED = ("sampling", "training", "evaluate", "memory")
#: Each prints tables of its own.
OTHERS = ("collectors", "nightly", "engine", "exchange", "backtest", "dashboard", "methods")


def main() -> int:
    known = COMPARED + OTHERS
    wanted = sys.argv[1:] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(
            f"There is no benchmark {', '.join(unknown)}: choose among {', '.join(known)}.", file=sys.stderr
        )
        return 2
    # Those first that read this process's own peak of memory, which the others raise.
    for name in wanted:
        if name in OTHERS:
            print(f"## {name}\n")
            importlib.import_module(f"benchmarks.{name}").main()
            print()
    compared = [name for name in wanted if name in COMPARED]
    if compared:
        before = machine()
        lines = [line for name in compared for line in importlib.import_module(f"benchmarks.{name}").lines()]
        print("## forecasting\n")
        show(lines)
        print(f"\nbefore: {before}\nafter: {machine()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
