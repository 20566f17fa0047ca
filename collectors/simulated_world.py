"""The world that moves the simulated market: New York's days, TAIFEX's sessions, institutions' buying.

docs/simulated-market.md describes the model. New York is drawn first and the stocks answer it. The world
goes one night past the last session, so that a morning's forecast of the next one has its night.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from stockllm.collectors.simulated_chance import clustered
from stockllm.market.moments import flows_known, futures_known, new_york_close, night_known

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from stockllm.data.store import Store

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SOURCE = "simulated"
#: Standard deviation a day of what all stocks answer, and of what semiconductors answer besides.
_COMMON, _CHIPS = 0.0068, 0.006
#: symbol: level to start from, answer to the common factor and to the chips' factor (in their deviations),
#: own noise a day, volume a day (None: the source is silent about it).
_SYMBOLS: Mapping[str, tuple[float, float, float, float, float | None]] = {
    "SOX": (5_000, 0.011, 0.013, 0.003, None),
    "SPX": (5_000, 0.009, 0.000, 0.002, 3.9e9),
    "TSM": (150, 0.010, 0.011, 0.009, 1.2e7),
}
#: Days on which New York is closed and Taiwan mostly open: (month, day).
_CLOSED = ((7, 4), (12, 25), (1, 1))
_FUTURE, _FUTURE_LEVEL = "TX", 17_000
#: How many New York days stand before the first one that leads to a session.
_LEAD = timedelta(days=9)
_DAY = timedelta(days=1)


class Table:
    """One series as the store takes it: ``days`` ordinals, ``columns`` in its order, ``known_at`` seconds."""

    def __init__(
        self,
        days: Ints,
        columns: Mapping[str, Floats],
        known_at: Ints,
        expiries: Ints | None = None,
    ) -> None:
        self.days = days
        self.columns = dict(columns)
        self.known_at = known_at
        self.expiries = expiries

    def __len__(self) -> int:
        return len(self.days)

    def __eq__(self, other: object) -> bool:
        import numpy as np

        if not isinstance(other, Table) or list(self.columns) != list(other.columns):
            return False
        pairs = [(self.days, other.days), (self.known_at, other.known_at)]
        pairs += [(self.expiries, other.expiries)] if self.expiries is not None else []  # type: ignore[list-item]
        pairs += [(mine, other.columns[name]) for name, mine in self.columns.items()]  # type: ignore[misc]
        return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class SimulatedWorld:
    """New York's symbols, the sessions of TX (``night``, ``day``) and the flows of companies by code."""

    symbols: dict[str, Table]
    futures: dict[str, Table]
    flows: dict[str, Table]


@dataclass(frozen=True)
class Nights:
    """What New York says before each session; T counts the sessions and the one after the last.

    ``word`` (T, 2) is what all stocks answer and what semiconductors answer besides, as log returns, and
    ``level`` (T, 2) its standard deviation, known the evening before. ``first`` (T, 2) is the part of the
    word that TAIFEX's night session hears: New York's day dated by the session before.
    """

    days: tuple[date, ...]
    factors: Floats  # (days, 2), in the deviations above
    word: Floats
    level: Floats
    first: Floats

    @classmethod
    def draw(cls, rng: Generator, before: date, sessions: Sequence[date], storm: Floats) -> Nights:
        """The nights before ``sessions``; ``before`` is the session before the first of them."""
        import numpy as np

        span = range((before - _LEAD).toordinal(), sessions[-1].toordinal())
        days = tuple(day for day in map(date.fromordinal, span) if _open_in_new_york(day))
        ordinals = np.array([day.toordinal() for day in days])
        # New York's day ends in the morning of the next one: it leads to the first session after its date.
        leads = np.searchsorted([day.toordinal() for day in sessions], ordinals, side="right")
        wild = storm[leads]
        factors, level = clustered(rng, len(days), 2)
        factors *= np.stack([1 + 1.1 * wild, 1 + 0.6 * wild], axis=1)
        level *= np.stack([1 + 1.1 * wild, 1 + 0.6 * wild], axis=1)
        counted = ordinals >= before.toordinal()
        answer = np.array([_COMMON, _CHIPS])
        word = np.zeros((len(sessions), 2))
        variance = np.zeros_like(word)
        np.add.at(word, leads[counted], factors[counted] * answer)
        np.add.at(variance, leads[counted], (level[counted] * answer) ** 2)
        first = np.zeros_like(word)
        place = {day: i for i, day in enumerate(days)}
        for row, session in enumerate((before, *sessions[:-1])):
            if session in place:
                first[row] = factors[place[session]] * answer
        return cls(days, factors, word, np.sqrt(variance), first)


def _open_in_new_york(day: date) -> bool:
    return day.weekday() < 5 and (day.month, day.day) not in _CLOSED


def new_york(rng: Generator, nights: Nights) -> dict[str, Table]:
    """Candles of each symbol on New York's days, known from 16:00 there."""
    import numpy as np

    days, known_at = _when(nights.days, [new_york_close(day) for day in nights.days])
    found = {}
    for symbol, (start, common, chips, own, volume) in _SYMBOLS.items():
        factors = nights.factors
        deviation = np.sqrt(common**2 + chips**2 + own**2)
        moves = common * factors[:, 0] + chips * factors[:, 1] + own * rng.standard_normal(len(days))
        closes = start * np.exp(np.cumsum(moves + 0.0003))
        befores = np.concatenate(([start], closes[:-1]))
        opens = befores * np.exp(0.4 * moves + 0.2 * deviation * rng.standard_normal(len(days)))
        candle = _candle(rng, opens, closes, 0.4 * deviation, 2)
        shares = np.rint((volume or 0) * np.exp(0.25 * rng.standard_normal(len(days))))
        traded = {"volume": shares if volume else np.full(len(days), np.nan)}
        found[symbol] = Table(days, candle | traded, known_at)
    return found


def futures(
    rng: Generator, nights: Nights, sessions: Sequence[date], index: Floats, slope: Floats
) -> dict[str, Table]:
    """The night and day sessions of TX.

    :param sessions: with the one after the last, which has a night alone.
    :param index: (T - 1,) the market's log return on each session.
    :param slope: (2,) what the market makes of New York's word.
    """
    import numpy as np

    count = len(index)
    settled = np.rint(_FUTURE_LEVEL * np.exp(np.cumsum(index)))
    before = np.concatenate(([_FUTURE_LEVEL], settled)).astype(np.float64)
    noise = rng.standard_normal((4, count + 1))
    expiries = np.array([_expiry(day) for day in sessions])
    closed = before * np.exp(nights.first @ slope + 0.0015 * noise[0])
    night = _candle(rng, before * np.exp(0.001 * noise[1]), closed, np.full(count + 1, 0.003), 0)
    opened = (before * np.exp(nights.word @ slope + 0.002 * noise[2]))[:count]
    day = _candle(rng, opened, settled, np.full(count, 0.004), 0)
    volume = np.rint(50_000 * np.exp(0.3 * noise[3]))
    silent = np.full(count + 1, np.nan)
    interest = np.rint(90_000 * np.exp(0.1 * noise[1]))[:count]
    held = set(sessions)
    tables = {}
    for name, candle, known, last in (
        ("night", night, [night_known(day, held) for day in sessions], silent),
        ("day", day, [futures_known(day) for day in sessions[:count]], settled),
    ):
        own = len(candle["close"])
        change = candle["close"] - before[:own]
        columns = candle | {
            "change": change,
            "change_pct": np.round(change / before[:own] * 100, 2),
            "volume": volume[:own] if name == "night" else np.rint(volume[:own] * 1.6),
            "settlement": last,
            "open_interest": silent if name == "night" else interest,
        }
        days, known_at = _when(sessions[:own], known)
        tables[name] = Table(days, columns, known_at, expiries[:own])
    return tables


def flows(sessions: Sequence[date], codes: Sequence[str], share: Floats, volume: Ints) -> dict[str, Table]:
    """Net buying of each company on the days it traded: ``share`` (T, N, 3) of ``volume`` (T, N)."""
    import numpy as np

    days, known_at = _when(sessions, [flows_known(day) for day in sessions])
    names = ("foreign_net", "trust_net", "dealer_net")
    net = np.rint(share * volume[..., None])
    found = {}
    for k, code in enumerate(codes):
        rows = volume[:, k] > 0
        columns = {name: net[rows, k, i] for i, name in enumerate(names)}
        found[code] = Table(days[rows], columns, known_at[rows])
    return found


def put(store: Store, world: SimulatedWorld) -> None:
    """Put a world into a simulated store, by the functions that imports use.

    StoreError where the store holds other prices than simulated ones: nothing of it may get there.
    """
    store.set_simulated(True)
    with store.transaction():
        with store.arrivals.bring("world", SOURCE) as arrival:
            for symbol, table in world.symbols.items():
                store.world.keep_bars(arrival, symbol, table.days, table.columns, table.known_at)
        with store.arrivals.bring("futures", SOURCE) as arrival:
            for session in ("night", "day"):
                table = world.futures[session]
                assert table.expiries is not None
                store.world.keep_futures(
                    arrival, _FUTURE, session, table.days, table.expiries, table.columns, table.known_at
                )  # fmt: skip
        with store.arrivals.bring("flows", SOURCE) as arrival:
            for code, table in world.flows.items():
                store.flows.keep(arrival, code, table.days, table.columns, table.known_at)


def _when(days: Sequence[date], known: Sequence[object]) -> tuple[Ints, Ints]:
    import numpy as np

    from stockllm.data.stores.known import seconds

    return (
        np.array([day.toordinal() for day in days], dtype=np.int64),
        np.array([seconds(moment) for moment in known], dtype=np.int64),  # type: ignore[arg-type]
    )


def _candle(rng: Generator, opens: Floats, closes: Floats, reach: Floats, digits: int) -> dict[str, Floats]:
    """Open, high, low and close; the extremes lie about ``reach`` beyond both."""
    import numpy as np

    beyond = np.abs(rng.standard_normal((2, len(opens)))) * reach
    high = np.maximum(opens, closes) * np.exp(beyond[0])
    low = np.minimum(opens, closes) * np.exp(-beyond[1])
    columns = {"open": opens, "high": high, "low": low, "close": closes}
    return {name: np.round(column, digits) for name, column in columns.items()}


def _expiry(day: date) -> int:
    """The nearest month of an index future: it ends on the month's third Wednesday."""
    first = day.replace(day=1)
    third = first + timedelta(days=(2 - first.weekday()) % 7 + 14)
    if day > third:
        day = first + timedelta(days=31)
    return day.year * 100 + day.month
