"""What must hold of a store and of the stand-in's record, whatever the sites did."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from standin.faults import HARMLESS, OUTCOMES
from standin.market import GeneratedMarket
from standin.server import StandIn
from stockllm.data.records import Bar
from stockllm.data.store import Store

#: What a question without an answer can hide: there is nothing to spoil in it.
OF_THE_CONTENT = {"wrong_day", "wrong_month", "wrong_code", "missing_rows", "no_columns", *HARMLESS}

ODDITIES = {"no_trade", "zero_price", "duplicate", "not_a_session"}


def bars_of(store: Store, market: GeneratedMarket) -> list[Bar]:
    return [replace(bar, source="") for c in market.companies for bar in store.bars.bars(c.code)]


def check_requests(site: StandIn) -> None:
    """Never two requests to a site within three seconds, never one through a bar or past a budget."""
    for name in {seen.site for seen in site.seen}:
        own = [seen for seen in site.seen if seen.site == name]
        for earlier, later in pairwise(own):
            assert later.at - earlier.at >= timedelta(seconds=3)
            if OUTCOMES.get(earlier.fault) == "blocked":
                assert later.at - earlier.at >= timedelta(hours=1)
    news = [seen.at for seen in site.seen if seen.kind == "news"]
    for at in news:
        assert sum(at - timedelta(hours=24) < other <= at for other in news) <= 100


def check_log(site: StandIn, store: Store) -> None:
    """Every request stands in the log, with what came of it."""
    log = {(row.site, row.at): row for row in store.requests.log(limit=100_000)}
    for seen in site.seen:
        row = log.pop((seen.site, seen.at))
        expected = {OUTCOMES[seen.fault] if seen.fault else "ok"}
        if expected == {"ok"} or seen.fault in OF_THE_CONTENT:
            expected.add("no_data")
        if seen.kind == "open":
            expected.add("wrong_answer")  # the open data know of no day after the market's last
        assert row.outcome in expected, (row, seen)
        assert (row.detail == "") == (row.outcome == "ok")
    # A machine with its hands full may not have let the stand-in see a request in time.
    assert {row.outcome for row in log.values()} <= {"outage"}
