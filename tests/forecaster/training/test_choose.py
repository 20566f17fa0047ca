"""--choose-stock: seeded, both sides, and honest about a shortfall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.forecaster.four_points import buy_or_sell
from stockllm.forecaster.training.choose import choose_stocks

BUYS = ("2301", "2303", "2308", "2317", "2324", "2330")
SELLS = ("2353", "2356", "2357")
QUIET = ("2359",)


def bars(code: str, step: int, days: int = 12) -> list[Bar]:
    """A company whose closes move by ``step`` cents a day from 100 TWD on; the open is the close before."""
    day, close, made = date(2026, 3, 2), 10_000, []
    while len(made) < days:
        if day.weekday() < 5:
            before, close = close, close + step
            low, high = min(before, close), max(before, close)
            made.append(Bar(code, day, before, high, low, close, 1000 * (len(made) + 1), "test"))
        day += timedelta(days=1)
    return made


@pytest.fixture
def store(home_dir: Path) -> Iterator[Store]:
    with Store.open(Home.locate()) as opened:
        for codes, step in ((BUYS, 100), (SELLS, -100), (QUIET, 0)):
            for code in codes:
                opened.bars.put(bars(code, step))
        yield opened


def test_takes_n_of_each_side(store: Store) -> None:
    choice = choose_stocks(store, 2, seed=3407)
    assert len(choice.buys) == len(choice.sells) == 2
    assert {c.code for c in choice.buys} <= set(BUYS)
    assert {c.code for c in choice.sells} <= set(SELLS)
    assert choice.shortfall is None
    assert choice.companies == [*choice.buys, *choice.sells]
    for company in choice.companies:
        assert buy_or_sell(store.bars.series(company.code)) is not None


def test_the_seed_decides(store: Store) -> None:
    assert choose_stocks(store, 2, seed=1) == choose_stocks(store, 2, seed=1)
    drawn = {tuple(c.code for c in choose_stocks(store, 2, seed=seed).companies) for seed in range(8)}
    assert len(drawn) > 1


def test_a_shortfall_is_said(store: Store) -> None:
    choice = choose_stocks(store, 5, seed=0)
    assert len(choice.buys) == 5
    assert {c.code for c in choice.sells} == set(SELLS)
    assert choice.shortfall is not None
    assert "3 of 5 with a sell point" in choice.shortfall
    assert "buy" not in choice.shortfall


def test_as_of_sees_nothing_later(store: Store) -> None:
    # By the fourth session nobody has the six closes the rule needs.
    choice = choose_stocks(store, 1, seed=0, as_of=date(2026, 3, 5))
    assert choice.companies == []
    assert choice.shortfall is not None


def test_an_empty_store_gives_an_empty_choice(home_dir: Path) -> None:
    with Store.open(Home.locate()) as empty:
        choice = choose_stocks(empty, 3, seed=0)
    assert choice.companies == []
    assert choice.shortfall is not None


@pytest.mark.parametrize("n", [0, -1])
def test_n_below_one(store: Store, n: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        choose_stocks(store, n, seed=0)
