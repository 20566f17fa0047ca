"""The world: New York's indices and shares by their own dates, and TAIFEX's index futures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.database import Database
from stockllm.data.stores.known import Counts, keep, known, subjects

if TYPE_CHECKING:
    from datetime import date, datetime

    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.stores.known import Arrival

Session = Literal["day", "night"]

_PRICES = ("open", "high", "low", "close")
_FUTURES = (*_PRICES, "change", "change_pct", "volume", "settlement", "open_interest")

#: Indices and shares that are asked for, by the name they have here -> Yahoo's.
SYMBOLS: dict[str, str] = {
    "SOX": "^SOX",
    "SPX": "^GSPC",
    "IXIC": "^IXIC",
    "TSM": "TSM",
    "UMC": "UMC",
    "ASX": "ASX",
    "NVDA": "NVDA",
    "MU": "MU",
    "AAPL": "AAPL",
}


@dataclass(frozen=True, slots=True)
class WorldSeries:
    """One symbol's days, oldest first; every array has length n.

    ``days`` are proleptic ordinals of New York's dates, ``known_at`` seconds since 1970 in UTC;
    ``volume`` is NaN where the source was silent.
    """

    symbol: str
    days: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    known_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.days)


@dataclass(frozen=True, slots=True)
class FuturesSeries:
    """One session of a future's nearest month, oldest first; every array has length n.

    ``days`` are proleptic ordinals of TAIFEX's dates: a night leads to the day it is dated by.
    ``expiry`` is a number such as 202509. ``change_pct`` is in percent of the previous settlement.
    ``settlement`` and ``open_interest`` are NaN at night; ``known_at`` is seconds since 1970 in UTC.
    """

    product: str
    session: Session
    days: NDArray[np.int64]
    expiry: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    change: NDArray[np.float64]
    change_pct: NDArray[np.float64]
    volume: NDArray[np.float64]
    settlement: NDArray[np.float64]
    open_interest: NDArray[np.float64]
    known_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.days)


class WorldStore:
    """The world of a store, read as it was known at a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def symbols(self) -> list[str]:
        """The symbols that have days, ascending."""
        with self._database.read() as connection:
            return subjects(connection, "world_bars", "symbol")

    def bars(
        self, symbols: Iterable[str] | None = None, until: datetime | None = None
    ) -> dict[str, WorldSeries]:
        """The days of ``symbols`` (all where None) that were over by ``until``; none are left out."""
        import numpy as np

        wanted = self.symbols() if symbols is None else list(symbols)
        found = {}
        with self._database.read() as connection:
            for symbol in wanted:
                table = known(connection, "world_bars", {"symbol": symbol}, (*_PRICES, "volume"), until)
                found[symbol] = WorldSeries(
                    symbol,
                    table[0].astype(np.int64),
                    table[1],
                    table[2],
                    table[3],
                    table[4],
                    table[5],
                    table[6].astype(np.int64),
                )
        return found

    def nights(self, until: datetime | None = None, product: str = "TX") -> FuturesSeries:
        """The night sessions that were over by ``until``."""
        return self._futures(product, "night", until)

    def days(self, until: datetime | None = None, product: str = "TX") -> FuturesSeries:
        """The day sessions that were reported by ``until``."""
        return self._futures(product, "day", until)

    def _futures(self, product: str, session: Session, until: datetime | None) -> FuturesSeries:
        import numpy as np

        subject = {"product": product, "session": session}
        with self._database.read() as connection:
            table = known(connection, "index_futures", subject, _FUTURES, until, expiry=True)
        columns: list[Any] = [table[0].astype(np.int64), table[1].astype(np.int64), *table[2:-1]]
        columns.append(table[-1].astype(np.int64))
        return FuturesSeries(product, session, *columns)

    def session_days(self, product: str = "TX") -> set[date]:
        """The days on which a day session was held."""
        from datetime import date

        return {date.fromordinal(day) for day in self.days(product=product).days.tolist()}

    def keep_bars(
        self,
        arrival: Arrival,
        symbol: str,
        days: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.float64]],
        known_at: NDArray[np.int64],
    ) -> Counts:
        """Keep days of one symbol, no day twice; ``columns`` are open, high, low, close, volume."""
        assert tuple(columns) == (*_PRICES, "volume")
        with self._database.write() as connection:
            return keep(
                connection,
                "world_bars",
                {"symbol": symbol},
                arrival,
                days,
                columns,
                known_at,
                whole=("volume",),
            )

    def keep_futures(
        self,
        arrival: Arrival,
        product: str,
        session: Session,
        days: NDArray[np.int64],
        expiries: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.float64]],
        known_at: NDArray[np.int64],
    ) -> Counts:
        """Keep sessions of one future, no day and expiry twice."""
        assert tuple(columns) == _FUTURES
        with self._database.write() as connection:
            return keep(
                connection,
                "index_futures",
                {"product": product, "session": session},
                arrival,
                days,
                columns,
                known_at,
                expiries=expiries,
                whole=("volume", "open_interest"),
            )
