"""The backtest: nothing is known too early, every dollar is accounted for, and the cache is no oracle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from stockllm.data.errors import NotEnoughHistory, StockllmError, UsageError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.trading.backtest import past_forecasts
from stockllm.trading.backtest.backtest import Backtest, Request, backtest, document
from stockllm.trading.strategy.policy import Policy

from ..conftest import CODES, LAST, SESSIONS, bar

#: The small market's prices jump by up to a tenth a day: no stop, no edge asked for.
LOOSE = Policy(position_cap=Decimal("0.3"), stop=Decimal(1), minimum_edge=None)
START, END = SESSIONS[26], SESSIONS[-1]


def request(strategy: str = "mean", **more: object) -> Request:
    return Request(START, END, CODES, strategy, "ewma", LOOSE, 10_000_000, paths=9, **more)  # type: ignore[arg-type]


def shape(made: Backtest, until: date) -> list[object]:
    days = [(d.session, d.equity, d.placed, d.filled) for d in made.run.days if d.session <= until]
    return [*days, *(fill for fill in made.run.fills if fill.session <= until)]


@pytest.mark.parametrize("strategy", ["mean", "four-points", "edge", "hold"])
def test_nothing_is_known_too_early(market_store: Store, strategy: str) -> None:
    """What happens after an evening, whatever it is, changes nothing up to it."""
    cut = SESSIONS[34]
    before = backtest(market_store, request(strategy))
    later = [
        replace(row, open=row.low, close=row.high, volume=row.volume * 3)
        for code in CODES
        for row in market_store.bars.bars(code)
        if row.date > cut
    ]
    market_store.bars.put(later)
    after = backtest(market_store, request(strategy))
    assert shape(after, cut) == shape(before, cut)
    assert strategy == "hold" or len(shape(before, cut)) > len(
        [d for d in before.run.days if d.session <= cut]
    )
    assert after.run.days[-1] != before.run.days[-1]
    shorter = backtest(market_store, replace(request(strategy), end=cut))
    assert shape(shorter, cut) == shape(before, cut)


@pytest.mark.parametrize("strategy", ["mean", "four-points", "hold"])
def test_every_dollar_is_accounted_for(market_store: Store, strategy: str) -> None:
    made = backtest(market_store, replace(request(strategy), start=SESSIONS[8], settlement=2))
    facts = document(made)
    profits = sum(t.profit for t in made.run.trades) + sum(t.profit for t in made.run.held)
    assert facts["end_equity"] - facts["start_equity"] == profits + facts["dividends"]
    assert made.run.fills
    assert facts["costs"] == sum(f.charges.commission + f.charges.tax for f in made.run.fills)
    assert sum(facts["decisions"].values()) == len(CODES) * (len(made.run.days) - 1)


def test_an_ex_date_pays_and_leaves_no_trade_behind(market_store: Store) -> None:
    made = backtest(market_store, replace(request("hold"), start=SESSIONS[6]))
    facts = document(made)
    assert facts["ex_dates"] == 2
    assert facts["dividends"] > 0
    assert facts["scoring"]["trades"] == 0
    assert {t["code"] for t in facts["held"]} <= set(CODES)


def test_the_second_run_finds_what_the_first_made(
    market_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = document(backtest(market_store, request()))
    assert first["forecasts"]["made"] > 0
    monkeypatch.setattr(past_forecasts.PastForecasts, "_write", lambda *_: pytest.fail("made anew"))
    second = document(backtest(market_store, request()))
    assert second["forecasts"] == {"ledger": 0, "cache": first["forecasts"]["made"], "made": 0}
    assert {**second, "forecasts": 0} == {**first, "forecasts": 0}


def test_the_cache_is_of_these_bars_and_settings(market_store: Store) -> None:
    made = document(backtest(market_store, request()))["forecasts"]["made"]
    assert document(backtest(market_store, replace(request(), seed=1)))["forecasts"]["cache"] == 0
    # One company's bar of long ago: none of its forecasts is the same, all others' are.
    old = market_store.bars.bars("2330")[3]
    market_store.bars.put([replace(old, volume=old.volume + 1)])
    sessions = len([day for day in SESSIONS if day >= START])
    found = document(backtest(market_store, request()))["forecasts"]
    assert (found["made"], found["cache"]) == (sessions, made - sessions)


def flipped(whole: bytes) -> bytes:
    """One byte of the prices is another; all else reads well."""
    at = whole.index(b"prices.npy") + 100
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda _: b"PK\x03\x04 cut off",
        lambda _: b"no archive",
        flipped,
    ],
)
def test_a_damaged_cache_is_made_anew(market_store: Store, damage: Callable[[bytes], bytes]) -> None:
    first = document(backtest(market_store, request()))
    files = sorted(market_store.home.forecast_cache.rglob("*.npz"))
    files[2].write_bytes(damage(files[2].read_bytes()))
    second = document(backtest(market_store, request()))
    assert 0 < second["forecasts"]["made"] <= len(CODES)
    assert {**second, "forecasts": 0} == {**first, "forecasts": 0}


def test_companies_share_the_cache(market_store: Store) -> None:
    alone = replace(request(), codes=("2330",))
    one = document(backtest(market_store, alone))["forecasts"]["made"]
    three = document(backtest(market_store, request()))["forecasts"]
    assert (three["cache"], three["made"] > one) == (one, True)
    assert document(backtest(market_store, alone))["forecasts"]["cache"] == one
    assert document(backtest(market_store, request()))["forecasts"]["made"] == 0


def test_a_cache_taken_away_is_said(market_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: past_forecasts.PastForecasts, *more: object) -> None:
        shutil.rmtree(self.folder)

    prepare = past_forecasts.PastForecasts.prepare
    monkeypatch.setattr(
        past_forecasts.PastForecasts, "prepare", lambda self, *more: (prepare(self, *more), gone(self))
    )
    with pytest.raises(StockllmError, match="run it again"):
        backtest(market_store, request())


def test_the_ledgers_own_forecasts_are_used(market_store: Store) -> None:
    from stockllm.forecaster.forecast import forecast

    evening = SESSIONS[27]
    forecast(market_store, ["2330"], model="ewma", paths=9, as_of=evening)
    found = document(backtest(market_store, request()))["forecasts"]
    assert found["ledger"] == 1
    assert len(market_store.ledger.list()) == 1, "a backtest writes nothing to the record"


def test_a_company_that_did_not_trade_is_left_alone(market_store: Store) -> None:
    made = backtest(market_store, request("hold"))
    silent = [d for d in SESSIONS[25:-1] if not market_store.bars.bars("6166", d, d)]
    assert silent
    assert made.run.reasons["stale"] == len(silent)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"strategy": "martingale"}, "There is no strategy 'martingale'"),
        ({"start": END, "end": START}, "before it starts"),
        ({"cash": 0}, "more than 0"),
        ({"cash": -5}, "more than 0"),
        ({"paths": 0}, "number of paths"),
        ({"horizon": 61}, "horizon"),
    ],
)
def test_requests_that_cannot_be_traded(
    market_store: Store, changed: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        backtest(market_store, replace(request(), **changed))  # type: ignore[arg-type]


def test_periods_without_data(market_store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughHistory, match="prices end on 2025-04-30"):
        backtest(market_store, replace(request("hold"), start=date(2025, 5, 2), end=date(2025, 5, 30)))
    with pytest.raises(NotEnoughHistory, match="before 2025-03-03"):
        backtest(market_store, replace(request("hold"), start=SESSIONS[0]))
    with Store.open(Home(tmp_path / "bare")) as bare, pytest.raises(NotEnoughHistory):
        backtest(bare, request("hold"))


def test_it_ends_with_the_prices(market_store: Store) -> None:
    market_store.bars.put([bar("9999", LAST, 1000)])
    made = backtest(market_store, replace(request("hold"), end=date(2025, 12, 31)))
    assert made.run.days[-1].session == LAST
