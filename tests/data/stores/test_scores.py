"""Scores: kept once, never changed, found by forecast, company and model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from stockllm.data.errors import StoreError
from stockllm.data.records import Bar, PathForecast
from stockllm.data.schema import forecast_scores
from stockllm.data.store import Store
from stockllm.data.stores.scores import Score

DAY = date(2026, 3, 2)


def frozen(store: Store, code: str = "2330", horizon: int = 3, **more: Any) -> int:
    given = {
        "code": code, "name": code, "market": "TWSE", "as_of": DAY, "last_close": 10000,
        "dates": tuple(DAY + timedelta(k + 1) for k in range(horizon)),
        "prices": np.full((3, horizon, 4), 10000, dtype=np.int32),
        "volumes": np.zeros((3, horizon), dtype=np.int64), "made_at": datetime(2026, 3, 2, 10, tzinfo=UTC),
        "model": "llama", "model_hash": "m", "adapter": None, "adapter_hash": None, "prompt": "compact",
        "seed": 1, "simulated": False,
    }  # fmt: skip
    return store.ledger.freeze(PathForecast(**(given | more)), "data")


def score(forecast: int, day: int = 1, **more: Any) -> Score:
    made = Score(
        forecast, day, DAY + timedelta(day), 0.01, 0.02, True, True, False, -0.5, 0.25, None, True, None
    )
    return replace(made, **more)


def test_what_goes_in_comes_out(store: Store) -> None:
    id = frozen(store, model="llama", adapter="first", adapter_hash="a")
    given = [score(id, 2, direction=True, seen=False), score(id, 1, direction=False, ahead=False, seen=True)]
    assert store.scores.put(given) == 2
    found = store.scores.list()
    assert [each.score for each in found] == given[::-1]
    assert {(each.code, each.as_of, each.model, each.adapter, each.simulated) for each in found} == {
        ("2330", DAY, "llama", "first", False)
    }


def test_a_day_keeps_its_first_score(store: Store) -> None:
    id = frozen(store)
    assert store.scores.put([score(id)]) == 1
    assert store.scores.put([score(id, crps=9.0), score(id, 2)]) == 1
    assert [each.score.crps for each in store.scores.list()] == [0.01, 0.01]
    assert store.scores.put([]) == 0


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(forecast_scores).values(crps=0.0),
        sa.delete(forecast_scores),
        sa.insert(forecast_scores).prefix_with("OR REPLACE").values(
            forecast=1, day=1, date=DAY, crps=0.0, naive_crps=0.0, inside50=0, inside80=0, inside95=0,
            error=0.0, actual=0.0, ahead=1, scored_at="",
        ),
    ],
    ids=["update", "delete", "replace"],
)  # fmt: skip
def test_the_database_refuses_to_change_a_score(store: Store, statement: Any) -> None:
    store.scores.put([score(frozen(store))])
    with pytest.raises(StoreError, match="was not changed"), store._database.write() as connection:
        connection.execute(statement)
    assert [each.score for each in store.scores.list()] == [score(1)]


def test_a_score_needs_its_forecast_and_all_or_none_are_kept(store: Store) -> None:
    id = frozen(store)
    with pytest.raises(StoreError):
        store.scores.put([score(id), score(99)])
    assert store.scores.list() == []


def test_open_are_those_with_days_left(store: Store) -> None:
    done, half, new = frozen(store, seed=1), frozen(store, seed=2), frozen(store, seed=3)
    later = frozen(store, seed=4, as_of=DAY + timedelta(9))
    store.scores.put([score(done, day) for day in (1, 2, 3)] + [score(half, 2)])
    assert store.scores.open(DAY + timedelta(9)) == {half: {2}, new: set()}
    assert store.scores.open(DAY + timedelta(10)).keys() == {half, new, later}
    assert store.scores.open(DAY) == {}


def test_by_company_and_model(store: Store) -> None:
    ids = {
        "plain": frozen(store),
        "tuned": frozen(store, adapter="first", adapter_hash="a"),
        "other": frozen(store, code="2317"),
        "naive": frozen(store, model="ewma"),
    }
    store.scores.put([score(id) for id in ids.values()])

    def found(**filters: str) -> set[str]:
        at = {id: name for name, id in ids.items()}
        return {at[each.score.forecast] for each in store.scores.list(**filters)}

    assert found() == set(ids)
    assert found(code="2317") == {"other"}
    assert found(model="llama") == {"plain", "other"}
    assert found(model="llama+first") == {"tuned"}
    assert found(code="2330", model="ewma") == {"naive"}
    assert found(model="nothing") == set()


def test_arrivals_are_those_of_the_first_bar_of_a_day(store: Store) -> None:
    bar = Bar("2330", DAY, 100, 100, 100, 100, 1, "one")
    store.bars.put([bar])
    first = store.bars.arrivals("2330")
    store.bars.put([replace(bar, high=110, close=110), replace(bar, date=DAY + timedelta(1))])
    again = store.bars.arrivals("2330")
    assert again[DAY] == first[DAY]
    assert again[DAY + timedelta(1)] > first[DAY]
    assert again[DAY].tzinfo is not None
    assert store.bars.arrivals("2317") == {}
