"""``make bench``: run every benchmark and print one table each.

``python -m benchmarks NAME...`` runs some of them.
"""

from __future__ import annotations

import importlib
import sys

NAMES = ("sampling", "collectors", "nightly", "engine", "exchange")


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(
            f"There is no benchmark {', '.join(unknown)}: choose among {', '.join(NAMES)}.", file=sys.stderr
        )
        return 2
    for name in wanted:
        print(f"## {name}\n")
        importlib.import_module(f"benchmarks.{name}").main()
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
