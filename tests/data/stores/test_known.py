"""The gate to figures that carry the moment they became public, attacked from all sides."""

from __future__ import annotations

import subprocess
from datetime import UTC, date, datetime, timedelta
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.data.stores.known import Counts, seconds
from stockllm.market.moments import TAIPEI, flows_known, new_york_close, night_known

FIRST = date(2025, 3, 3)


def put_flow(store: Store, at: datetime, figures: dict[date, int], code: str = "2330") -> Counts:
    """Foreign investors' purchases of some days, arriving at ``at``."""
    days = np.array([day.toordinal() for day in figures], dtype=np.int64)
    net = np.array(list(figures.values()), dtype=np.float64)
    known_at = np.array([seconds(flows_known(day)) for day in figures], dtype=np.int64)
    with store.transaction(), store.arrivals.bring("flows", "test", at) as arrival:
        columns = {"foreign_net": net, "trust_net": net * 0, "dealer_net": net * 0}
        return store.flows.keep(arrival, code, days, columns, known_at)


def seen(store: Store, until: datetime | None, code: str = "2330") -> dict[date, int]:
    figures = store.flows.of(code, until)
    return {
        date.fromordinal(day): int(value)
        for day, value in zip(figures.days.tolist(), figures["foreign_net"].tolist(), strict=True)
    }


codes = count(1000)
hours = st.integers(0, 24 * 40).map(lambda n: datetime(2025, 3, 1, tzinfo=TAIPEI) + timedelta(hours=n))
figures = st.dictionaries(
    st.integers(0, 20).map(lambda n: FIRST + timedelta(n)), st.integers(-3, 3), max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrivals=st.lists(st.tuples(hours, figures), max_size=5), moments=st.lists(hours, min_size=1, max_size=6)
)
def test_nothing_is_seen_before_it_was_public_and_each_version_in_its_time(
    store: Store, arrivals: list[tuple[datetime, dict[date, int]]], moments: list[datetime]
) -> None:
    code = f"{next(codes)}"  # a company of its own in place of a store of its own
    versions: dict[date, list[tuple[datetime, int]]] = {}
    for at, brought in sorted(arrivals, key=lambda one: one[0]):
        counts = put_flow(store, at, brought, code)
        assert sum(counts) == len(brought)
        for day, value in brought.items():
            public = flows_known(day)
            if day not in versions:
                versions[day] = [(public, value)]
            elif versions[day][-1][1] != value:
                versions[day].append((max(public, at), value))
    for until in [*moments, None]:
        expected = {}
        for day, known in versions.items():
            for moment, value in known:
                if until is None or moment <= until:
                    expected[day] = value
        assert seen(store, until, code) == expected


def test_a_revised_figure_counts_from_its_arrival_and_the_first_one_until_then(store: Store) -> None:
    put_flow(store, datetime(2025, 3, 3, 19, tzinfo=TAIPEI), {FIRST: 1})
    correction = datetime(2025, 3, 5, 9, tzinfo=TAIPEI)
    assert put_flow(store, correction, {FIRST: 2}) == Counts(0, 0, 1)
    assert seen(store, datetime(2025, 3, 3, 17, 59, tzinfo=TAIPEI)) == {}
    assert seen(store, datetime(2025, 3, 3, 18, tzinfo=TAIPEI)) == {FIRST: 1}
    assert seen(store, correction - timedelta(seconds=1)) == {FIRST: 1}
    assert seen(store, correction) == {FIRST: 2}
    assert put_flow(store, correction + timedelta(days=1), {FIRST: 2}) == Counts(0, 1, 0)


def put_nights(store: Store, nights: dict[date, float], expiry: int = 202503) -> None:
    days = np.array([day.toordinal() for day in nights], dtype=np.int64)
    price = np.array(list(nights.values()))
    silent = np.full(len(days), np.nan)
    columns = dict.fromkeys(("open", "high", "low", "close"), price)
    columns |= dict.fromkeys(("change", "change_pct", "volume", "settlement", "open_interest"), silent)
    known_at = np.array([seconds(night_known(day)) for day in nights], dtype=np.int64)
    with store.arrivals.bring("futures", "test") as arrival:
        store.world.keep_futures(arrival, "TX", "night", days, np.full(len(days), expiry), columns, known_at)


def test_a_night_session_that_still_runs_is_unknown(store: Store) -> None:
    tuesday, monday = date(2025, 3, 11), date(2025, 3, 10)
    put_nights(store, {monday: 100.0, tuesday: 101.0})
    running = datetime(2025, 3, 11, 4, 59, 59, tzinfo=TAIPEI)
    assert store.world.nights(running).days.tolist() == [monday.toordinal()]
    over = store.world.nights(running + timedelta(seconds=1))
    assert over.days.tolist() == [monday.toordinal(), tuesday.toordinal()]
    assert np.isnan(over.settlement).all()
    # Monday's night is over on Saturday morning.
    friday = datetime(2025, 3, 7, 23, tzinfo=TAIPEI)
    assert not len(store.world.nights(friday))
    assert len(store.world.nights(friday + timedelta(hours=6))) == 1


def test_the_nearest_month_counts(store: Store) -> None:
    day = date(2025, 3, 11)
    put_nights(store, {day: 102.0}, expiry=202504)
    put_nights(store, {day: 101.0}, expiry=202503)
    nights = store.world.nights()
    assert (nights.expiry.tolist(), nights.close.tolist()) == ([202503], [101.0])


def test_a_bar_of_new_york_is_unknown_until_its_close_however_it_is_stamped(store: Store) -> None:
    day = date(2025, 3, 10)
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), np.array([5.0]))
    known_at = np.array([seconds(new_york_close(day))])
    with store.arrivals.bring("world", "test") as arrival:
        store.world.keep_bars(arrival, "SOX", np.array([day.toordinal()]), columns, known_at)
    close = datetime(2025, 3, 10, 20, tzinfo=UTC)
    # At the start of its bar, and in Taipei on the morning that carries the same date.
    for early in (datetime(2025, 3, 10, 4, tzinfo=UTC), close - timedelta(seconds=1)):
        assert not len(store.world.bars(["SOX"], early)["SOX"])
    assert len(store.world.bars(["SOX"], close)["SOX"]) == 1
    assert not len(store.world.bars(["none"], close)["none"])


def test_a_moment_without_an_offset_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="aware"):
        store.flows.of("2330", datetime(2025, 3, 3))


def test_what_is_still_arriving_is_seen_by_nobody_and_goes_with_an_error(store: Store, home: Home) -> None:
    put_flow(store, datetime(2025, 3, 3, tzinfo=UTC), {FIRST: 1})
    days, known_at = np.array([FIRST.toordinal() + 1]), np.array([0])
    columns = dict.fromkeys(("foreign_net", "trust_net", "dealer_net"), np.array([7.0]))

    def break_off() -> None:
        with store.arrivals.bring("flows", "broken") as arrival:
            store.flows.keep(arrival, "2330", days, columns, known_at)
            store.flows.keep(arrival, "9999", days, columns, known_at)
            assert seen(store, None) == {FIRST: 1}
            assert store.flows.codes() == ["2330"]
            assert store.arrivals.extents() == {"flows": (1, FIRST, FIRST)}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert seen(store, None) == {FIRST: 1}
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM institutional_flows").scalar_one() == 1
        assert connection.exec_driver_sql("SELECT count(*) FROM arrivals").scalar_one() == 1


def test_what_a_killed_process_left_goes_with_the_next_arrival(store: Store) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    days, known_at = np.array([FIRST.toordinal()]), np.array([0])
    columns = dict.fromkeys(("foreign_net", "trust_net", "dealer_net"), np.array([7.0]))

    def outlive_its_own_end(more: int) -> None:
        with store.arrivals.bring("flows", "killed") as arrival:
            store.flows.keep(arrival, "2330", days, columns, known_at)
            with store._database.write() as connection:
                connection.exec_driver_sql("UPDATE arrivals SET pid = ?", (gone.pid,))
            put_flow(store, datetime(2025, 3, 4, tzinfo=UTC), {FIRST: 1})
            assert seen(store, None) == {FIRST: 1}
            for n in range(more):
                store.flows.keep(arrival, "2330", days + 1 + n, columns, known_at)

    # Who was taken for dead and is not ends without half of its rows.
    for more in (0, 1):
        with pytest.raises(StoreError):
            outlive_its_own_end(more)
    assert seen(store, None) == {FIRST: 1}


def test_a_living_process_keeps_what_it_has_brought(store: Store) -> None:
    days, known_at = np.array([FIRST.toordinal() + 1]), np.array([0])
    columns = dict.fromkeys(("foreign_net", "trust_net", "dealer_net"), np.array([7.0]))
    with store.arrivals.bring("flows", "large") as arrival:
        store.flows.keep(arrival, "2330", days, columns, known_at)
        put_flow(store, datetime(2025, 3, 4, tzinfo=UTC), {FIRST: 1})
    assert seen(store, None) == {FIRST: 1, FIRST + timedelta(1): 7}


def test_an_arrival_that_brings_nothing_new_leaves_no_trace(store: Store) -> None:
    at = datetime(2025, 3, 4, tzinfo=UTC)
    put_flow(store, at, {FIRST: 1})
    put_flow(store, at + timedelta(days=1), {FIRST: 1})
    assert store.arrivals.last("flows") == ("test", at)
    assert store.arrivals.last("world") is None


def test_noise_of_single_precision_is_no_revision_and_silence_contradicts_nobody(store: Store) -> None:
    day = np.array([FIRST.toordinal()])
    known_at = np.array([seconds(new_york_close(FIRST))])

    def put(price: float, volume: float) -> Counts:
        columns = dict.fromkeys(("open", "high", "low", "close"), np.array([price]))
        with store.arrivals.bring("world", "test") as arrival:
            return store.world.keep_bars(
                arrival, "SOX", day, columns | {"volume": np.array([volume])}, known_at
            )

    assert put(18.05, 9) == Counts(1, 0, 0)
    assert put(float(np.float32(18.05)), np.nan) == Counts(0, 1, 0)
    assert put(18.06, np.nan) == Counts(0, 0, 1)
    bars = store.world.bars()["SOX"]
    assert (bars.close.tolist(), bars.volume.tolist()) == ([18.06], [9.0])
