"""No sequence of imports, clock settings, seeds and repeated forecasts makes a late or chosen one count."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockllm.data import clock
from stockllm.data.paths import Home
from stockllm.data.records import Bar, PathForecast
from stockllm.data.store import Store
from stockllm.data.stores.standing import STANDARD_PATHS
from stockllm.forecaster.evaluation.scoring import record, score_due
from stockllm.market.calendar import default_calendar
from stockllm.market.moments import MOMENTS, Moment, at_taipei, bars_known, counts_before

CALENDAR = default_calendar()
START = at_taipei(date(2026, 3, 4), 20)
DAYS = list(CALENDAR.sessions(date(2026, 3, 2), date(2026, 3, 20)))


@dataclass
class World:
    """The true time, what the clock is off by, and what was made; ``late`` was truly so."""

    store: Store
    now: datetime = START
    off: timedelta = timedelta(0)
    made: dict[int, tuple[bool, tuple[object, ...]]] = field(default_factory=dict)

    @property
    def clock(self) -> datetime:
        return self.now + self.off

    def bring(self, days: int) -> None:
        """Import the bars of all sessions that are over, up to ``days`` of them."""
        over = [day for day in DAYS if at_taipei(day, 14, 30) <= self.now][:days]
        bars = [Bar("2330", day, 10000, 10100, 9900, 10000 + k, 1000, "test") for k, day in enumerate(over)]
        # A row of a session that is not over by the clock is never taken in.
        self.store.bars.put(bar for bar in bars if bars_known(bar.date) <= self.clock)

    def forecast(self, back: int, seed: int, paths: int, horizon: int, moment: Moment) -> None:
        """Forecast as ``stockllm forecast`` does, from the last bar or an evening before it."""
        days = self.store.bars.days("2330")
        if not days:
            return
        as_of = days[max(0, len(days) - 1 - back)]
        ahead = CALENDAR.next_sessions(as_of, horizon)
        witnessed = self.store.ledger.seen_until()
        made = PathForecast(
            "2330", "2330", "TWSE", as_of, 10000, ahead,
            np.full((paths, horizon, 4), 10000, np.int32), np.ones((paths, horizon), np.int64),
            self.clock, "llama", "m", None, None, "compact", seed, False, moment=moment,
        )  # fmt: skip
        # What truly happened: the store knew the session's close, or the clock had been right after the open.
        late = self.now >= counts_before(ahead[0], moment)
        known = days[-1] >= ahead[0] or self.honest_until >= counts_before(ahead[0], moment)
        id = self.store.ledger.freeze(made, "d", witnessed)
        evening = (as_of, moment, horizon)
        self.made.setdefault(id, (late and (self.off >= timedelta(0) or known), evening))

    #: The latest true moment at which the store was written to while its clock was not behind.
    honest_until: datetime = datetime(2000, 1, 1, tzinfo=UTC)


_FORECAST = st.tuples(
    st.just("forecast"), st.sampled_from([0, 0, 0, 1, 2]),
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    st.sampled_from([STANDARD_PATHS, STANDARD_PATHS, STANDARD_PATHS + 1, STANDARD_PATHS - 1, 1]),
    st.sampled_from([1, 1, 1, 2]), st.sampled_from(["evening", "evening", *MOMENTS]),
)  # fmt: skip
STEPS = st.one_of(
    _FORECAST,
    _FORECAST,
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 12, 13, 24])),
    st.tuples(st.just("clock"), st.sampled_from([0, 0, -6, -24, -72, -24 * 400, 24])),
    st.tuples(st.just("import"), st.sampled_from([2, 4, len(DAYS), len(DAYS)])),
    st.tuples(st.just("score")),
)  # fmt: skip


@pytest.fixture(scope="module")
def blank(empty_store: Path) -> Path:
    return empty_store


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=8, max_size=25), start=st.integers(1, 3))
def test_nothing_late_or_chosen_ever_counts(blank: Path, start: int, steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Home(Path(folder))
        home.ensure()
        shutil.copy(blank, home.store)
        with Store.open(home) as store:
            world = World(store)
            patch.setattr(clock, "now", lambda: world.clock)
            world.bring(start)
            for name, *values in steps:
                if name == "wait":
                    world.now += timedelta(hours=values[0])  # type: ignore[arg-type]
                elif name == "clock":
                    world.off = timedelta(hours=values[0])  # type: ignore[arg-type]
                elif name == "import":
                    world.bring(values[0])  # type: ignore[arg-type]
                elif name == "forecast":
                    back, seeds, *rest = values
                    for seed in seeds:  # type: ignore[attr-defined]
                        world.forecast(back, seed, *rest)  # type: ignore[arg-type]
                else:
                    score_due(store)
                if name in ("import", "score", "forecast") and world.off >= timedelta(0):
                    world.honest_until = max(world.honest_until, world.now)
            world.now, world.off = at_taipei(DAYS[-1], 20), timedelta(0)
            world.bring(len(DAYS))
            score_due(store)
            counted = {id for id, reason in store.ledger.standings().items() if reason is None}
            assert not [id for id in counted if world.made[id][0]]
            assert max(Counter(world.made[id][1] for id in counted).values(), default=1) == 1
            assert all(row.paths >= STANDARD_PATHS for row in store.ledger.list() if row.why_not is None)
            assert record(store).forecasts <= len(counted)


def test_a_clock_that_is_set_back_makes_nothing_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(Home(tmp_path / "home")) as store:
        world = World(store)
        monkeypatch.setattr(clock, "now", lambda: world.clock)
        world.bring(2)
        world.now += timedelta(hours=24)
        world.bring(4)  # the store has now seen the evening of the fourth day
        world.off = timedelta(hours=-30)
        world.forecast(0, 1, STANDARD_PATHS, 1, "evening")
        assert list(store.ledger.standings().values()) == [None]  # of a session that is still to come
        world.forecast(1, 1, STANDARD_PATHS, 1, "evening")
        assert list(store.ledger.standings().values()) == [None, "clock"]


def test_an_edited_calendar_gives_no_second_try(tmp_path: Path) -> None:
    days = DAYS
    with Store.open(Home(tmp_path / "home")) as store:

        def freeze(as_of: date, first: date, seed: int) -> int:
            return store.ledger.freeze(
                PathForecast(
                    "2330", "2330", "TWSE", as_of, 10000, (first,), np.full((99, 1, 4), 10000, np.int32),
                    np.ones((99, 1), np.int64), at_taipei(as_of, 20), "llama", "m", None, None, "compact",
                    seed, False,
                ),
                "d",
            )  # fmt: skip

        ids = [
            freeze(days[0], days[2], 1),  # the next day was said to be closed
            freeze(days[0], days[1], 2),
            freeze(days[1], days[2], 3),
            freeze(days[2], days[3], 4),
        ]
        assert store.ledger.standings() == dict(zip(ids, (None, "again", "again", None), strict=True))
