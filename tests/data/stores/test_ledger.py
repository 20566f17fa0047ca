"""The ledger: what goes in comes out, once, and stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from stockllm.data.blobs import pack, unpack
from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.records import PathForecast
from stockllm.data.store import Store
from stockllm.market.moments import MOMENTS, TAIPEI

DAY = date(2025, 3, 3)


def forecast(paths: int = 3, horizon: int = 2, **more: Any) -> PathForecast:
    days = tuple(DAY + timedelta(i + 1) for i in range(horizon))
    made = PathForecast(
        code="2330",
        name="台積電",
        market="TWSE",
        as_of=DAY,
        last_close=100000,
        dates=days,
        prices=np.arange(paths * horizon * 4, dtype=np.int32).reshape(paths, horizon, 4) + 100000,
        volumes=np.arange(paths * horizon, dtype=np.int64).reshape(paths, horizon) * 1000,
        made_at=datetime(2025, 3, 3, 20, 0, tzinfo=timezone(timedelta(hours=8))),
        model="llama+first",
        model_hash="m" * 64,
        adapter="first",
        adapter_hash="a" * 64,
        prompt="compact",
        seed=3407,
        simulated=False,
        parse_failures=0,
    )
    return replace(made, **more)


def assert_same(a: PathForecast, b: PathForecast) -> None:
    for field in fields(PathForecast):
        one, two = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        else:
            assert one == two, field.name
            assert type(one) is type(two), field.name
    assert a.made_at.utcoffset() == b.made_at.utcoffset()


def key_of(made: PathForecast, data_hash: str) -> dict[str, Any]:
    names = (
        "code",
        "as_of",
        "dates",
        "model",
        "model_hash",
        "adapter",
        "adapter_hash",
        "prompt",
        "paths",
        "seed",
        "moment",
    )
    return {name: getattr(made, name) for name in names} | {"data_hash": data_hash}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@st.composite
def forecasts(draw: st.DrawFn) -> PathForecast:
    paths, horizon = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    adapter = draw(st.none() | texts)
    return forecast(
        paths,
        horizon,
        code=draw(texts),
        name=draw(texts),
        market=draw(st.sampled_from(["TWSE", "TPEx", ""])),
        last_close=draw(st.integers(1, 2**31)),
        prices=draw(hn.arrays(np.int32, (paths, horizon, 4))),
        volumes=draw(hn.arrays(np.int64, (paths, horizon))),
        made_at=draw(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]))),
        model=draw(texts),
        model_hash=draw(texts),
        adapter=adapter,
        adapter_hash=None if adapter is None else draw(texts),
        prompt=draw(st.sampled_from(["compact", "reference"])),
        seed=draw(st.integers(0, 2**63 - 1)),
        simulated=draw(st.booleans()),
        parse_failures=draw(st.integers(0, 99)),
        moment=draw(st.sampled_from(MOMENTS)),
        known_until=draw(st.none() | st.datetimes(timezones=st.sampled_from([UTC, TAIPEI]))),
    )


@pytest.fixture(scope="module")
def ledger() -> Iterator[Store]:
    """One store for all examples: the ledger only grows."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Home(Path(folder))) as store:
        yield store


@settings(deadline=None, max_examples=60)
@given(made=forecasts(), data_hash=texts)
def test_round_trip(ledger: Store, made: PathForecast, data_hash: str) -> None:
    known = ledger.ledger.find(**key_of(made, data_hash))
    id = ledger.ledger.freeze(made, data_hash)
    assert known in (None, id)
    if known is None:
        assert_same(ledger.ledger.get(id), made)
    assert ledger.ledger.find(**key_of(made, data_hash)) == id
    assert ledger.ledger.freeze(made, data_hash) == id


def test_an_equal_key_is_the_same_forecast(store: Store) -> None:
    first = forecast()
    id = store.ledger.freeze(first, "d")
    later = replace(first, made_at=first.made_at + timedelta(days=1), prices=first.prices + 1)
    assert store.ledger.freeze(later, "d") == id
    assert_same(store.ledger.get(id), first)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "2454"},
        {"as_of": DAY - timedelta(1)},
        {"dates": (DAY + timedelta(1), DAY + timedelta(4))},
        {"model": "llama"},
        {"model_hash": "x"},
        {"adapter": None},
        {"adapter_hash": None},
        {"prompt": "reference"},
        {"seed": 1},
        {"moment": "morning"},
        {"moment": "open"},
    ],
)
def test_another_key_is_another_forecast(store: Store, change: dict[str, Any]) -> None:
    id = store.ledger.freeze(forecast(), "d")
    other = forecast(**change)
    assert store.ledger.find(**key_of(other, "d")) is None
    assert store.ledger.freeze(other, "d") != id


def test_other_shapes_and_data_are_other_forecasts(store: Store) -> None:
    ids = [
        store.ledger.freeze(forecast(), "d"),
        store.ledger.freeze(forecast(), "e"),
        store.ledger.freeze(forecast(paths=4), "d"),
        store.ledger.freeze(forecast(horizon=3), "d"),
    ]
    assert len(set(ids)) == 4
    assert store.ledger.find(**key_of(forecast(), "d"), horizon=2) == ids[0]
    assert store.ledger.find(**key_of(forecast(), "d"), horizon=3) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE forecasts SET last_close = 1",
        "UPDATE forecasts SET prices = x'00', id = id + 1",
        "UPDATE OR REPLACE forecasts SET key = key",
        "DELETE FROM forecasts",
        "INSERT OR REPLACE INTO forecasts SELECT * FROM forecasts",
        "REPLACE INTO forecasts SELECT id + 1, key, code, name, market, as_of, 1, dates, due, made_at, model,"
        " model_hash, adapter, adapter_hash, prompt, paths, horizon, seed, data_hash, simulated,"
        " parse_failures, prices, volumes, moment, known_until, witnessed FROM forecasts",
    ],
)
def test_what_is_frozen_stays(store: Store, statement: str) -> None:
    id = store.ledger.freeze(forecast(), "d")
    with pytest.raises(StoreError, match="frozen") as caught, store._database.write() as connection:
        connection.exec_driver_sql(statement)
    assert "\n" not in str(caught.value)
    assert_same(store.ledger.get(id), forecast())
    assert len(store.ledger.list()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"prices": np.zeros((3, 2, 3), np.int32)},
        {"volumes": np.zeros((3, 3), np.int64)},
        {"dates": (DAY,)},
        {"made_at": datetime(2025, 3, 3)},
        {"known_until": datetime(2025, 3, 3)},
        {"prices": np.zeros((0, 2, 4), np.int32), "volumes": np.zeros((0, 2), np.int64)},
    ],
)
def test_what_is_no_forecast_is_refused(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"prices|made_at|known_until"):
        store.ledger.freeze(forecast(**wrong), "d")
    assert store.ledger.list() == []


def test_latest_goes_by_the_day_it_speaks_from(store: Store) -> None:
    assert store.ledger.latest("2330") is None
    new = store.ledger.freeze(forecast(as_of=DAY + timedelta(1)), "d")
    store.ledger.freeze(forecast(), "d")  # made later, about an earlier evening
    base = store.ledger.freeze(forecast(model="llama", adapter=None, adapter_hash=None), "d")
    found = store.ledger.latest("2330")
    assert found is not None
    assert found[0] == new
    assert found[1].as_of == DAY + timedelta(1)
    again = store.ledger.freeze(forecast(as_of=DAY + timedelta(1), seed=2), "d")
    assert (store.ledger.latest("2330") or (None,))[0] == again
    assert (store.ledger.latest("2330", model="llama") or (None,))[0] == base
    assert store.ledger.latest("2454") is None
    assert store.ledger.latest("2330", model="other") is None


def test_of_one_evening(store: Store) -> None:
    earlier = forecast(as_of=DAY - timedelta(1), seed=1)
    first, second = forecast(seed=2), forecast(seed=3)
    ids = [store.ledger.freeze(made, "d") for made in (first, earlier, second)]
    assert (store.ledger.on("2330", DAY) or earlier).seed == 3
    store.ledger.show("2330", ids[0])
    assert (store.ledger.on("2330", DAY) or earlier).seed == 2
    assert (store.ledger.on("2330", DAY - timedelta(1)) or first).seed == 1
    assert store.ledger.on("2330", DAY + timedelta(1)) is None
    assert store.ledger.on("2454", DAY) is None


def test_list(store: Store) -> None:
    ids = [store.ledger.freeze(forecast(code=code), "d") for code in ("2330", "2454", "2330")]
    ids.append(store.ledger.freeze(forecast(seed=1, simulated=True), "d"))
    assert ids[0] == ids[2]
    assert [row.id for row in store.ledger.list()] == [ids[3], ids[1], ids[0]]
    assert [row.id for row in store.ledger.list("2330")] == [ids[3], ids[0]]
    (row,) = store.ledger.list(limit=1)
    assert (row.code, row.as_of, row.due, row.horizon, row.paths) == ("2330", DAY, DAY + timedelta(2), 2, 3)
    assert (row.simulated, row.model, row.adapter) == (True, "llama+first", "first")
    assert row.made_at == forecast().made_at


def test_no_such_forecast(store: Store) -> None:
    with pytest.raises(StoreError, match="no forecast 12"):
        store.ledger.get(12)


def test_paths_are_stored_small(store: Store) -> None:
    rng = np.random.default_rng(0)
    closes = 100000 + rng.integers(-40, 40, size=(99, 20, 4)) * 500
    assert len(pack(closes.astype(np.int32))) < closes.size * 2


@pytest.mark.parametrize("blob", [b"", b"nothing", pack(np.arange(9))[:-5]])
def test_a_damaged_array(blob: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        unpack(blob)


def test_arrays_in_another_order() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4).T
    np.testing.assert_array_equal(unpack(pack(array)), array)
    with pytest.raises(ValueError, match="Object arrays"):
        pack(np.array([object()]))
