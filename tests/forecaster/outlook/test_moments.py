"""Nothing newer than its moment reaches a forecast, whichever way it tries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    CODES,
    DAYS,
    SESSION,
    day_after,
    put_new_york,
    put_nights,
    seconds,
    sessions,
)

from stockllm.data.paths import Home
from stockllm.data.records import Bar
from stockllm.data.store import Store
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.outlook.moments import known_until, knows_night, outlook_of, shown_at
from stockllm.forecaster.outlook.network import Network
from stockllm.forecaster.outlook.world import last_weekday_before
from stockllm.forecaster.sampling.baselines import ewma_walk
from stockllm.forecaster.sampling.informed import NetworkSampler, WorldWalk
from stockllm.market.companies import resolve
from stockllm.market.moments import MOMENTS, Moment, end_of, flows_known, new_york_close, night_known

pytestmark = pytest.mark.usefixtures("few")
DATES = sessions(DAYS)
ORIGIN, AHEAD = DATES[SESSION - 1], DATES[SESSION]


@contextmanager
def copied(file: Path) -> Iterator[Store]:
    """A store of one's own with what ``file`` holds."""
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.ensure()
        shutil.copy(file, home.store)
        with Store.open(home) as store:
            yield store


@dataclass(frozen=True, slots=True)
class Said:
    """All that reaches a prompt or a baseline at one moment."""

    lines: np.ndarray
    heads: np.ndarray
    quantiles: np.ndarray
    closes: np.ndarray

    def same_as(self, other: Said) -> bool:
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__)


def windows(store: Store, past: int = 8) -> list[Window]:
    return [open_window(store.long_series(code, ORIGIN), resolve(code), past, [AHEAD]) for code in CODES]


def said(store: Store, network: Network, moment: Moment) -> Said:
    until = known_until(moment, ORIGIN, AHEAD)
    outlook = outlook_of(store, ORIGIN, [AHEAD], until=until)
    asked = windows(store)
    words = outlook.words(network, asked, shown=shown_at(moment))
    sampler = NetworkSampler(outlook, moment, ORIGIN.toordinal(), network=network)
    walks = WorldWalk(outlook, moment).sample(asked, paths=5, seed=1)
    return Said(
        np.stack([each.lines for each in words]), np.stack([each.heads for each in words]),
        sampler.quantiles(asked), np.stack([walk.prices for walk in walks]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attack:
    """Something that happens after a moment: what, to which of the days, and how much."""

    kind: str
    back: int
    size: float


attacks = st.lists(
    st.builds(
        Attack,
        st.sampled_from(["bar", "late flow", "revised flow", "night", "revised night", "close", "revised"]),
        st.integers(0, 40),
        st.floats(-8, 8).filter(lambda size: abs(size) > 0.1),
    ),
    min_size=1,
    max_size=5,
)


def strike(store: Store, attack: Attack, moment: Moment) -> None:
    """Change something that became known after the moment's limit, or arrives after it."""
    limit = known_until(moment, ORIGIN, AHEAD)
    before = DATES[SESSION - 1 - attack.back]
    percent = np.array([attack.size])
    if attack.kind == "bar":  # of the session itself and of later ones
        day = DATES[min(DAYS - 1, SESSION + attack.back % 4)]
        price = 100 * (500 + round(20 * attack.size))
        store.bars.put(Bar(code, day, price, price, price, price, 10**6, "later") for code in CODES)
        return
    with store.arrivals.bring("world", "later", day_after(limit)) as arrival:
        if attack.kind == "late flow":
            day = DATES[min(DAYS - 1, SESSION + attack.back % 4)]
        if attack.kind in ("late flow", "revised flow"):
            day = day if attack.kind == "late flow" else before
            names = ("foreign_net", "trust_net", "dealer_net")
            known = np.array([seconds(flows_known(day))])
            for code in CODES:
                flows = {name: np.array([round(1e6 * attack.size) + 0.0]) for name in names}
                store.flows.keep(arrival, code, np.array([day.toordinal()]), flows, known)
        elif attack.kind == "night":  # one that is still running at the moment, or has not begun
            late = [day for day in DATES if night_known(day) > limit]
            put_nights(store, arrival, late, np.full(len(late), attack.size))
        elif attack.kind == "revised night":
            put_nights(store, arrival, [before], percent)
        elif attack.kind == "close":  # New York's days that were not over, as their bars would stand
            late = [date.fromordinal(n) for n in range(ORIGIN.toordinal() - 3, DATES[-1].toordinal())]
            late = [day for day in late if day.weekday() < 5 and new_york_close(day) > limit]
            for symbol in ("SOX", "SPX", "TSM"):
                put_new_york(store, arrival, symbol, late, np.full(len(late), 1000 + 50 * attack.size))
        else:
            day = last_weekday_before(before.toordinal())
            for symbol in ("SOX", "SPX", "TSM"):
                put_new_york(store, arrival, symbol, [day], np.array([1000 + 50 * attack.size]))


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_newer_gets_through(informed_store: Path, network: Network, moment: Moment) -> None:
    with copied(informed_store) as store:
        untouched = said(store, network, moment)
    assert (untouched.lines[:, -1, 0] >= 0).all()
    assert (untouched.lines[:, -1, 1] >= 0).all() == (moment != "evening")

    @settings(max_examples=8, deadline=None)
    @given(struck=attacks)
    def attacked(struck: list[Attack]) -> None:
        with copied(informed_store) as store:
            for attack in struck:
                strike(store, attack, moment)
            assert said(store, network, moment).same_as(untouched)

    attacked()


@pytest.mark.parametrize("kind", ["revised flow", "night", "revised night", "close", "revised"])
def test_the_same_in_time_does_get_through(informed_store: Path, network: Network, kind: str) -> None:
    """Else the attacks above would prove nothing."""
    with copied(informed_store) as store:
        untouched = said(store, network, "morning")
        # As if all had arrived before the evening's limit: what was running is over in the morning.
        strike(store, Attack(kind, 1, 5.0), "evening")
        assert not said(store, network, "morning").same_as(untouched)


def test_the_evening_is_deaf_to_the_coming_session_s_world(informed_store: Path, network: Network) -> None:
    """Even where the store knows the night: a forecast of the evening before is not shown it."""
    found = []
    with copied(informed_store) as store:
        for size in (None, -6.0, 6.0):
            if size is not None:
                with store.arrivals.bring("world", "later", end_of(AHEAD)) as arrival:
                    put_nights(store, arrival, [AHEAD], np.array([size]))
                    for symbol in ("SOX", "SPX", "TSM"):
                        day = ORIGIN
                        put_new_york(store, arrival, symbol, [day], np.array([1000 + 50 * size]))
            outlook = outlook_of(store, DATES[-1], until=end_of(DATES[-1]))
            asked = windows(store)
            words = outlook.words(network, asked, shown=shown_at("evening"))
            assert all(each.lines[-1, 1] == -1 for each in words)
            sampler = NetworkSampler(outlook, "evening", ORIGIN.toordinal(), network=network)
            walks = WorldWalk(outlook, "evening").sample(asked, paths=5, seed=1)
            found.append(
                Said(
                    np.stack([each.lines for each in words]), np.stack([each.heads for each in words]),
                    sampler.quantiles(asked), np.stack([walk.prices for walk in walks]),
                )
            )  # fmt: skip
    assert found[0].same_as(found[1])
    assert found[0].same_as(found[2])


def test_flows_are_not_read_before_they_are_published(informed_store: Path) -> None:
    """After the close and before 18:00 the day's buying is unknown, though the day's bars are there."""
    with copied(informed_store) as store:
        for early, known in ((True, False), (False, True)):
            until = flows_known(ORIGIN) - timedelta(minutes=1) if early else flows_known(ORIGIN)
            panel = outlook_of(store, ORIGIN, [AHEAD], until=until).panel
            assert panel.days[-1] == ORIGIN.toordinal()
            assert np.isfinite(panel.flows[-1]).all() == known
            assert np.isfinite(panel.flows[-2]).all()


def test_whether_the_night_is_known(informed_store: Path) -> None:
    with copied(informed_store) as store:
        assert not knows_night(store, AHEAD, known_until("evening", ORIGIN, AHEAD))
        assert knows_night(store, AHEAD, known_until("morning", ORIGIN, AHEAD))
        assert not knows_night(store, date(2031, 1, 7), end_of(date(2031, 1, 8)))


def test_a_store_without_a_world_speaks_all_the_same(tmp_path: Path, network: Network) -> None:
    home = Home(tmp_path)
    rng = np.random.default_rng(1)
    with Store.open(home) as store:
        store.set_simulated(True)
        for code in CODES:
            prices = (100 * rng.integers(500, 530, DAYS)).tolist()
            store.bars.put(
                Bar(code, day, price, price, price, price, 10**6, "test")
                for day, price in zip(DATES, prices, strict=True)
            )
        for moment in MOMENTS:
            told = said(store, network, moment)
            assert (told.lines[:, :, 1] == -1).all()
            assert (told.lines[:, -1, [0, 2, 3]] >= 0).all()
            assert np.isfinite(told.quantiles).all()
        outlook = outlook_of(store, ORIGIN, [AHEAD])
        walk = WorldWalk(outlook, "morning").sample(windows(store), paths=5, seed=1)
        calm = ewma_walk(windows(store), paths=5, seed=1)
        for one, other in zip(walk, calm, strict=True):
            assert np.abs(one.prices[..., 3] - other.prices[..., 3]).max() <= 200
