"""A made-up market that a made-up world moves, as arrays and as a store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from stockllm.data.paths import Home
from stockllm.data.records import Bar, BarSeries
from stockllm.data.store import Store
from stockllm.forecaster.outlook.network import (
    HIDDEN,
    HORIZONS,
    QUANTILES,
    WIDTH,
    WORLD_WIDTH,
    Network,
)
from stockllm.forecaster.outlook.panel import Panel
from stockllm.forecaster.outlook.world import World
from stockllm.market.calendar import default_calendar
from stockllm.market.moments import flows_known, new_york_close, night_known
from stockllm.market.ticks import round_to_tick

FIRST = date(2024, 1, 2)
PRICES = ("open", "high", "low", "close")


def sessions(count: int) -> tuple[date, ...]:
    return tuple(default_calendar().next_sessions(FIRST, count))


@dataclass(frozen=True, slots=True)
class Market:
    """Series of some stocks and the world before each of their days."""

    series: list[BarSeries]
    world: World

    def panel(self, end: int | None = None) -> Panel:
        return Panel.of([one[:end] for one in self.series])

    def known(self, rows: int) -> World:
        """The world before the first ``rows`` sessions."""
        return World(self.world.days[:rows], self.world.moves[:rows])


def make_market(seed: int = 1, days: int = 160, stocks: int = 24, moved: float = 0.6) -> Market:
    """Stocks whose moves are to the share ``moved`` the world's of the night before, else their own."""
    rng = np.random.default_rng(seed)
    dates = sessions(days)
    world = rng.standard_normal((days, 4))
    world[:, 1:] = 0.8 * world[:, :1] + 0.6 * world[:, 1:]
    world[:20] = np.nan
    common = np.nan_to_num(world).mean(axis=1) / 0.85
    series = []
    for n in range(stocks):
        sigma = 0.01 + 0.01 * n / stocks
        moves = sigma * (moved * common + (1 - moved**2) ** 0.5 * rng.standard_normal(days))
        close = 100 * np.exp(np.cumsum(moves))
        reference = np.concatenate(([100.0], close[:-1]))
        opened = reference * np.exp(moves / 2)
        high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
        volume = np.rint(np.exp(rng.normal(14, 0.4, days)))
        series.append(BarSeries(str(3000 + n), dates, opened, high, low, close, volume, reference))
    ordinals = np.array([day.toordinal() for day in dates])
    return Market(series, World(ordinals, world))


def make_network(seed: int = 3) -> Network:
    """Weights that nobody trained, whose quantiles depend on all that they are shown."""
    rng = np.random.default_rng(seed)
    out = 2 * len(HORIZONS) + QUANTILES * len(HORIZONS)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.35, shape).astype(np.float32)

    return Network(
        (
            {
                "first.weight": some(HIDDEN, WIDTH + WORLD_WIDTH),
                "first.bias": some(HIDDEN),
                "second.weight": some(HIDDEN, HIDDEN),
                "second.bias": some(HIDDEN),
                "out.weight": some(out, HIDDEN) * np.float32(0.3),
                "out.bias": some(out),
            },
        )
    )


# --- the same in a store -------------------------------------------------------------------------

CODES = ("2303", "2317", "2330", "2454")
DAYS = 130
#: The session that forecasts are about; the store has later ones.
SESSION = 125


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def fill_informed(home: Home) -> None:
    """Fill a store with bars, flows, nights and New York of DAYS sessions, all in the past."""
    dates = sessions(DAYS)
    rng = np.random.default_rng(5)
    ordinals = np.array([day.toordinal() for day in dates])
    nights = rng.normal(0, 0.8, DAYS)
    early = datetime(2024, 1, 1, tzinfo=UTC)
    with Store.open(home) as store:
        store.set_simulated(True)
        for code in CODES:
            moves = 0.012 * nights + rng.normal(0, 0.012, DAYS)
            close = 50_000 * np.exp(np.cumsum(moves / 2))
            opens = np.concatenate([close[:1], close[:-1]])
            rows = np.stack(
                [opens, np.maximum(opens, close) * 1.01, np.minimum(opens, close) * 0.99, close], axis=1
            )
            prices = round_to_tick(np.rint(rows).astype(np.int64)).tolist()
            volumes = rng.integers(1_000_000, 9_000_000, DAYS).tolist()
            store.bars.put(
                Bar(code, day, *row, volume, "test")
                for day, row, volume in zip(dates, prices, volumes, strict=True)
            )
        with store.arrivals.bring("world", "test", early) as arrival:
            for code in CODES:
                names = ("foreign_net", "trust_net", "dealer_net")
                flows = {name: rng.integers(-500_000, 500_000, DAYS).astype(float) for name in names}
                known = np.array([seconds(flows_known(day)) for day in dates])
                store.flows.keep(arrival, code, ordinals, flows, known)
            put_nights(store, arrival, dates, nights)
            first, last = ordinals[0] - 40, ordinals[-1]
            new_york = [day for day in map(date.fromordinal, range(first, last)) if day.weekday() < 5]
            for symbol in ("SOX", "SPX", "TSM"):
                closes = 1000 * np.exp(np.cumsum(rng.normal(0, 0.012, len(new_york))))
                put_new_york(store, arrival, symbol, new_york, closes)


def put_nights(
    store: Store, arrival: object, dates: tuple[date, ...] | list[date], percent: np.ndarray
) -> None:
    """Night sessions dated ``dates``, known when they ended."""
    many = len(dates)
    nan = np.full(many, np.nan)
    columns = {name: np.full(many, 20_000.0) for name in PRICES} | {
        "change": 200 * percent, "change_pct": percent, "volume": np.full(many, 1e4),
        "settlement": nan, "open_interest": nan,
    }  # fmt: skip
    known = np.array([seconds(night_known(day)) for day in dates])
    days = np.array([day.toordinal() for day in dates])
    expiries = np.full(many, 202612)
    store.world.keep_futures(arrival, "TX", "night", days, expiries, columns, known)  # type: ignore[arg-type]


def put_new_york(store: Store, arrival: object, symbol: str, dates: list[date], closes: np.ndarray) -> None:
    """New York's days, known when they closed."""
    columns = {name: closes.copy() for name in PRICES} | {"volume": np.full(len(dates), 1e6)}
    known = np.array([seconds(new_york_close(day)) for day in dates])
    days = np.array([day.toordinal() for day in dates])
    store.world.keep_bars(arrival, symbol, days, columns, known)  # type: ignore[arg-type]


def day_after(moment: datetime) -> datetime:
    return moment + timedelta(minutes=1)
