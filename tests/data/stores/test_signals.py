"""Signals: the newest of each rule."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from stockllm.data.errors import StoreError
from stockllm.data.records import PathForecast, Signal
from stockllm.data.store import Store

DAY = date(2025, 3, 3)


def test_latest_of_each_company_and_rule(store: Store) -> None:
    old = Signal("2330", DAY, "mean", "buy", "理由", "a reason", 1.5)
    new = Signal("2330", DAY + timedelta(1), "mean", "sell", "理由", "a reason", 0.5, simulated=True)
    edge = Signal("2330", DAY, "edge", "hold", "理由", "a reason", 0.25)
    other = Signal("2454", DAY, "four-points", "buy", "理由", "a reason")
    assert store.signals.latest() == []
    assert store.signals.put([new, old, other, edge]) == 4
    assert store.signals.latest() == [edge, new, other]
    assert store.signals.latest("2330") == [edge, new]
    assert store.signals.latest("1101") == []


def test_a_verdict_is_replaced(store: Store) -> None:
    first = Signal("2330", DAY, "mean", "buy", "一", "one")
    second = Signal("2330", DAY, "mean", "hold", "二", "two", 0.0)
    store.signals.put([first])
    store.signals.put([first, second])
    assert store.signals.latest() == [second]
    assert store.signals.put([]) == 0


def test_a_signal_names_a_forecast_that_exists(store: Store) -> None:
    id = store.ledger.freeze(
        PathForecast(
            "2330",
            "台積電",
            "TWSE",
            DAY,
            100000,
            (DAY + timedelta(1),),
            np.full((1, 1, 4), 100000, np.int32),
            np.full((1, 1), 1000, np.int64),
            datetime(2025, 3, 3, 20, tzinfo=timezone(timedelta(hours=8))),
            "ewma",
            "",
            None,
            None,
            "compact",
            1,
            False,
        ),
        "d",
    )
    kept = Signal("2330", DAY, "edge", "buy", "理由", "a reason", 0.6, id)
    store.signals.put([kept])
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.signals.put([Signal("2330", DAY, "mean", "buy", "理由", "a reason", 0.6, id + 1)])
    assert store.signals.latest() == [kept]
