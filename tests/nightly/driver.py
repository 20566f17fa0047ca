"""Runs refreshes in forked children that kill themselves with SIGKILL at a counted moment.

A program: one JSON order a line on stdin, one JSON answer a line on stdout. Starting Python anew for
every refresh would take longer than the refreshes do. Nothing here starts a thread before a fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import newsapi  # noqa: F401  (so that no child has to load it)
import sqlalchemy as sa
from standin.clock import FakeClock
from standin.market import GeneratedMarket

from stockllm.collectors import http, stock_month
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.forecaster import forecast  # noqa: F401
from stockllm.forecaster.evaluation import scoring  # noqa: F401
from stockllm.nightly.refresh import refresh
from stockllm.trading.strategy import signals  # noqa: F401


class Moments:
    """Counts what happens: statements, commits, requests, answers. Kills this process at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at = kill_at
        self.passed = 0
        engine = sa.engine.Engine
        for name in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
            sa.event.listen(engine, name, self)
        read = http._read

        def count(*arguments: Any) -> bytes:
            self()  # the site has sent its answer's head, nobody has read it
            body = read(*arguments)
            self()
            return body

        http._read = count  # type: ignore[assignment]

    def __call__(self, *_: object) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def child(order: dict[str, Any], answers: int) -> None:
    """One refresh, in a process that may not see its end."""
    companies = tuple(c for c in GeneratedMarket.companies if c.code in order["codes"])
    moments = Moments(order["kill_at"])
    with Store.open(Home(Path(order["home"]))) as store:
        clock = FakeClock(datetime.fromisoformat(order["moment"]))
        report = refresh(store, Settings(**order["settings"]), companies=companies, clock=clock)
    told = {"outcome": report.row.outcome, "repaired": report.repaired, "moments": moments.passed}
    os.write(answers, json.dumps(told).encode())


def main() -> None:
    """Serve orders until stdin ends."""
    stock_month._twstock()
    for line in sys.stdin:
        order = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child(order, writer)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(writer)
        said = os.read(reader, 65536)
        os.close(reader)
        _, status = os.waitpid(pid, 0)
        print(
            json.dumps({"status": os.waitstatus_to_exitcode(status)} | json.loads(said or b"{}")), flush=True
        )


if __name__ == "__main__":
    main()
