"""Adjusted candles: years of history in which dividends and splits leave no step.

They are kept apart from traded bars. A file of them is adjusted up to its own end, and each later file
restates the whole: so the last file to name a day counts, and what only older files have is
scaled to it by the closes of the first day that both have.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from stockllm.data.database import Database
from stockllm.data.records import BarSeries
from stockllm.data.stores.bars import BarStore
from stockllm.data.stores.known import Counts, keep, known, subjects
from stockllm.market.moments import end_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.stores.known import Arrival

_COLUMNS = ("open", "high", "low", "close", "volume")

# How many companies are read at a time: a read holds up whoever wants to write.
_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class AdjustedColumns:
    """The adjusted candles of many companies, by code and day, one column an array of length n.

    Rows ``starts[i]`` to ``starts[i + 1]`` are those of ``codes[i]``. ``days`` are proleptic ordinals
    (``date.toordinal``), prices float TWD, ``volume`` shares.
    """

    codes: tuple[str, ...]
    starts: NDArray[np.int64]
    days: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.days)

    def part(self, code: str) -> slice:
        """The rows of ``code``; an empty slice where it has none."""
        i = bisect_left(self.codes, code)
        if i == len(self.codes) or self.codes[i] != code:
            return slice(0, 0)
        return slice(int(self.starts[i]), int(self.starts[i + 1]))


class AdjustedStore:
    """The adjusted candles of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(
        self,
        arrival: Arrival,
        code: str,
        days: NDArray[np.int64],
        prices: NDArray[np.float64],
        volumes: NDArray[np.float64],
        known_at: NDArray[np.int64],
    ) -> Counts:
        """Keep the candles of one company; no day twice. ``prices`` (n, 4): open, high, low, close."""
        columns = {name: prices[:, i] for i, name in enumerate(_COLUMNS[:4])} | {"volume": volumes}
        with self._database.write() as connection:
            return keep(
                connection,
                "adjusted_bars",
                {"code": code},
                arrival,
                days,
                columns,
                known_at,
                whole=("volume",),
                restated=True,
            )

    def codes(self) -> list[str]:
        """The codes that have adjusted candles, ascending."""
        with self._database.read() as connection:
            return subjects(connection, "adjusted_bars", "code")

    def count(self) -> int:
        """The number of days of all companies, each once."""
        with self._database.read() as connection:
            return int(
                connection.exec_driver_sql(
                    "SELECT count(*) FROM (SELECT DISTINCT code, date FROM adjusted_bars"
                    " WHERE arrival NOT IN (SELECT id FROM arrivals WHERE state = 'arriving'))"
                ).scalar_one()
            )

    def series(self, code: str, end: date | None = None) -> BarSeries:
        """The adjusted candles of ``code`` up to and including ``end``; empty where it has none.

        ``reference`` is the previous close, on the first day the open.
        """
        import numpy as np

        with self._database.read() as connection:
            table = self._table(connection, code, end)
        days, opens, highs, lows, closes, volume = table
        reference = np.concatenate((opens[:1], closes[:-1]))
        dates = tuple(date.fromordinal(day) for day in days.astype(np.int64).tolist())
        return BarSeries(code, dates, opens, highs, lows, closes, volume, reference)

    def all(self, end: date | None = None, codes: Sequence[str] | None = None) -> AdjustedColumns:
        """The adjusted candles of all companies, or of ``codes``, up to and including ``end``."""
        import numpy as np

        wanted = self.codes() if codes is None else sorted(set(codes))
        tables = [(code, table) for code, table in self._tables(wanted, end) if table.shape[1]]
        sizes = [table.shape[1] for _, table in tables]
        whole = np.concatenate([table for _, table in tables] or [np.empty((6, 0))], axis=1)
        return AdjustedColumns(
            tuple(code for code, _ in tables),
            np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64),
            whole[0].astype(np.int64),
            *whole[1:],
        )

    def _tables(self, codes: Sequence[str], end: date | None) -> Iterator[tuple[str, NDArray[np.float64]]]:
        for first in range(0, len(codes), _TOGETHER):
            with self._database.read() as connection:
                yield from [
                    (code, self._table(connection, code, end)) for code in codes[first : first + _TOGETHER]
                ]

    def _table(self, connection: object, code: str, end: date | None) -> NDArray[np.float64]:
        """Days, prices and volumes, shape (6, n): the versions of all arrivals in one."""
        import sqlalchemy as sa

        assert isinstance(connection, sa.Connection)
        until = None if end is None else end_of(end)
        found = known(connection, "adjusted_bars", {"code": code}, _COLUMNS, until, versions=True)
        return merged(found[:6], found[-1])


def merged(rows: NDArray[np.float64], arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """One series of several restatements.

    ``rows`` has shape (6, n): day, four prices, volume, by day and arrival. Each arrival replaces the
    days it names. What lies before its first day is scaled so that its close of the first day that
    was there before stays where it is.
    """
    import numpy as np

    numbers = np.unique(arrivals)
    if len(numbers) < 2:
        return rows
    so_far = rows[:, arrivals == numbers[0]]
    for number in numbers[1:]:
        new = rows[:, arrivals == number]
        so_far = so_far.copy()
        both = np.intersect1d(so_far[0], new[0])
        if len(both):
            now = float(new[4, np.searchsorted(new[0], both[0])])
            then = float(so_far[4, np.searchsorted(so_far[0], both[0])])
            so_far[1:5, so_far[0] < new[0, 0]] *= now / then
        kept = so_far[:, ~np.isin(so_far[0], new[0])]
        so_far = np.concatenate((kept, new), axis=1)
        so_far = so_far[:, np.argsort(so_far[0], kind="stable")]
    return so_far


def long_series(bars: BarStore, adjusted: AdjustedStore, code: str, end: date | None = None) -> BarSeries:
    """The traded bars of ``code`` up to ``end``, preceded by its adjusted candles.

    The adjusted days before the first traded bar are scaled so that the move into it is right: by the
    closes of the first day that both have, since a dividend after it moves the adjusted series
    alone. Where no day is in both, the last adjusted close becomes the reference of the first traded
    bar. Adjusted days beside or after traded ones are left out; without traded bars they are all there
    is.
    """
    import numpy as np

    traded = bars.series(code, end)
    older = adjusted.series(code, end)
    if not len(traded) or not len(older):
        return traded if len(traded) else older
    first = traded.dates[0]
    before = bisect_left(older.dates, first)
    if not before:
        return traded
    place = {day: i for i, day in enumerate(older.dates)}
    common = next((i for i, day in enumerate(traded.dates) if day in place), None)
    if common is None:
        scale = float(traded.reference[0]) / float(older.close[before - 1])
    else:
        scale = float(traded.close[common]) / float(older.close[place[traded.dates[common]]])
    older = older[:before]
    older = replace(
        older,
        open=older.open * scale,
        high=older.high * scale,
        low=older.low * scale,
        close=older.close * scale,
        reference=older.reference * scale,
        value=None if traded.value is None else np.full(before, np.nan),
        trades=None if traded.trades is None else np.full(before, np.nan),
    )
    reference = traded.reference.copy()
    if common is not None:  # what is known of the day before ends the guess that its open is
        reference[0] = older.close[-1]
    return older.then(replace(traded, reference=reference))
