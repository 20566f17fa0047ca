"""Thirty nights of bad weather through the refresh itself: in the end the store holds the truth."""

from __future__ import annotations

import random
import tempfile
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from standin import FAULTS, MEMORY, FakeClock, GeneratedMarket, StandIn
from standin.checks import ODDITIES, bars_of, check_log, check_requests

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.nightly.refresh import Report, complete, refresh

START, FIRST = date(2025, 1, 2), date(2025, 3, 3)
TYPHOON = date(2025, 3, 20)
NIGHTS = 30
MARKET = GeneratedMarket(START, date(2025, 5, 29), typhoons=frozenset({TYPHOON}), seed=5)

#: These make a client wait in earnest, as long as its patience lasts: a few nights have them.
SLOW = ("hang", "drip")
QUICK = tuple(name for name in FAULTS if name not in SLOW)
PRICES = ("day", "month", "open")


def check_forecasts(store: Store, report: Report, before: int, now: datetime) -> int:
    """A company whose data are whole is forecast and judged, another is named; how many were left out."""
    steps = {step.step: step for step in report.row.steps}
    noted = {note.split()[0] for _, note in steps["forecasts"].notes if note[:4].isdigit()}
    judged = {signal.code: signal.as_of for signal in store.signals.latest()}
    made = {row.code: row.as_of for row in store.ledger.list() if row.id > before}
    for company in MARKET.companies:
        days = store.bars.days(company.code)
        window = days[-60:]
        truth = [
            day
            for day in MARKET.published(company.market, now)
            if day >= (window[0] if window else START) and MARKET.quotes[company.code, day].prices
        ]
        whole = bool(days) and truth[-len(window) :] == window
        assert whole or company.code in noted, (company.code, truth[-3:], days[-3:])
        if company.code in noted:
            assert company.code not in made
        else:
            assert judged[company.code] == days[-1]
            assert store.ledger.latest(company.code)[1].as_of == days[-1]  # type: ignore[index]
    return len(noted)


def run_nights(seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    clock = FakeClock(datetime.combine(FIRST, time(18, 0)))
    figures: dict[str, Any] = {"calm": [], "left_out": 0, "refreshes": 0}
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        StandIn(MARKET, clock, seed=seed) as site,
        Store.open(Home(Path(folder))) as store,
    ):
        given: dict[str, Any] = {"fewest_shares": 2, "model": "ewma", "prices_from": START}
        weekdays = [FIRST + timedelta(days=n) for n in range(90) if (FIRST + timedelta(days=n)).weekday() < 5]
        troubled = True  # the first night has everything to fetch
        for number, day in enumerate(weekdays):
            clock.set(datetime.combine(day, time(18, 30)))
            stormy = number < NIGHTS and draw.random() < 0.75
            slow = stormy and number in (7, 19)
            names = (*QUICK, *SLOW, *SLOW) if slow else QUICK
            rate = draw.uniform(0.1, 0.9)
            site.choose = lambda names=names, rate=rate, stormy=stormy: (  # type: ignore[misc]
                draw.choice(names) if stormy and draw.random() < rate else None
            )
            patience = 1.0 if slow else 30.0
            settings = site.settings(**given, request_timeout=patience, answer_timeout=patience)
            seen, forecasts = len(site.seen), max((row.id for row in store.ledger.list()), default=0)
            report = refresh(store, settings, companies=MARKET.companies, clock=clock)
            figures["refreshes"] += 1
            figures["left_out"] += check_forecasts(store, report, forecasts, clock.now())
            asked = [one for one in site.seen[seen:] if one.kind in PRICES]
            costly = any(one.fault and FAULTS[one.fault] != "ok" for one in site.seen[seen:])
            if not costly and not troubled:
                figures["calm"].append(len(asked))
            troubled = costly or not complete(report.row)
            if number >= NIGHTS and not troubled and report.ok:
                break
        else:
            pytest.fail("the weather never cleared")

        truth = [bar for bar in MARKET.bars(until=clock.now()) if bar.date >= START]
        stored = bars_of(store, MARKET)
        assert len({(bar.code, bar.date) for bar in stored}) == len(stored)
        assert stored == truth
        assert {row.reason for row in store.bars.quarantined()} <= ODDITIES
        assert not store.calendar().is_session(TYPHOON)
        check_requests(site)
        check_log(site, store)
        rows = store.refreshes.list(limit=100)
        assert len(rows) == figures["refreshes"]
        assert all(step.ended is not None for row in rows for step in row.steps)
        figures["faults"] = len(site.faults())
        figures["requests"] = len(site.seen)
        figures["articles"] = sum(len(store.news.articles(c.code)) for c in MARKET.companies)
    return figures


@pytest.mark.parametrize("seed", [11, 2024])
def test_thirty_nights(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_nights(seed)
    assert figures["refreshes"] > NIGHTS
    assert figures["faults"] > 50, "that was no storm"
    assert figures["left_out"] > 0, "no night's data were late: nothing was shown of it"
    assert figures["calm"], "no calm night"
    assert max(figures["calm"]) <= 4
    with capsys.disabled():
        print(f"\n{figures}")
