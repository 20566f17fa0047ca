"""A server that is killed again and again: forks of one process that has loaded everything.

Run as a program with a home folder. At a line on standard input it starts a server on a free port in
a fork and writes the port to standard output; at the next line it kills it with SIGKILL. The forks
open the store themselves; nothing is shared but code.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def child(home: str, report: int) -> None:
    """Open the store and serve; the port goes to ``report``."""
    from stockllm.data.paths import Home
    from stockllm.data.store import Store
    from stockllm.trading.exchange.exchange import Exchange
    from stockllm.trading.server.serve import Terms, serve

    with Store.open(Home(Path(home))) as store:
        serve(
            Exchange(store, "past"),
            "127.0.0.1",
            0,
            Terms(rate=10_000),
            lambda _, port: (os.write(report, f"{port}\n".encode()), None)[1],
        )


def main() -> None:
    import stockllm.data.migrations
    import stockllm.trading.server.serve  # noqa: F401  loaded before the forks

    home = sys.argv[1]
    while sys.stdin.readline():
        reading, writing = os.pipe()
        running = os.fork()
        if not running:
            os.close(reading)
            child(home, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as report:
            print(report.readline().strip(), flush=True)
        told = sys.stdin.readline()  # the word to kill; nothing where the test has ended
        os.kill(running, signal.SIGKILL)
        os.waitpid(running, 0)
        print("dead", flush=True)
        if not told:
            return


if __name__ == "__main__":
    main()
