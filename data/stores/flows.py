"""What institutions bought, margin balances and monthly revenue: figures a company and day."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stockllm.data.database import Database
from stockllm.data.stores.known import Counts, keep, keep_day, known, subjects

if TYPE_CHECKING:
    from datetime import date, datetime

    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.stores.known import Arrival

# How many companies are read at a time: a read holds up whoever wants to write.
_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of many companies, by code and day.

    Rows ``starts[i]`` to ``starts[i + 1]`` are those of ``codes[i]``. ``days`` are proleptic ordinals,
    ``known_at`` seconds since 1970 in UTC; ``columns`` maps a name to an array of the same length.
    """

    codes: tuple[str, ...]
    starts: NDArray[np.int64]
    days: NDArray[np.int64]
    known_at: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.days)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]

    def part(self, code: str) -> slice:
        """The rows of ``code``; an empty slice where it has none."""
        i = bisect_left(self.codes, code)
        if i == len(self.codes) or self.codes[i] != code:
            return slice(0, 0)
        return slice(int(self.starts[i]), int(self.starts[i + 1]))


class FigureStore:
    """One table of whole numbers a company and day."""

    def __init__(self, database: Database, table: str, columns: Sequence[str]) -> None:
        self._database = database
        self._table = table
        self.columns = tuple(columns)

    def keep(
        self,
        arrival: Arrival,
        code: str,
        days: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.float64]],
        known_at: NDArray[np.int64],
    ) -> Counts:
        """Keep the figures of one company; no day twice."""
        assert tuple(columns) == self.columns
        with self._database.write() as connection:
            return keep(
                connection,
                self._table,
                {"code": code},
                arrival,
                days,
                columns,
                known_at,
                whole=self.columns,
            )

    def keep_day(
        self,
        arrival: Arrival,
        day: date,
        codes: Sequence[str],
        columns: Mapping[str, NDArray[np.float64]],
        known_at: datetime,
    ) -> Counts:
        """Keep one day's figures of many companies; none twice."""
        assert tuple(columns) == self.columns
        with self._database.write() as connection:
            return keep_day(connection, self._table, arrival, day, codes, columns, known_at)

    def codes(self) -> list[str]:
        """The codes that have figures, ascending."""
        with self._database.read() as connection:
            return subjects(connection, self._table, "code")

    def of(self, code: str, until: datetime | None = None) -> Figures:
        """The figures of ``code`` as they were known at ``until``, oldest first."""
        return self.all(until, [code])

    def all(self, until: datetime | None = None, codes: Sequence[str] | None = None) -> Figures:
        """The figures of all companies, or of ``codes``, as they were known at ``until``."""
        import numpy as np

        wanted = self.codes() if codes is None else sorted(set(codes))
        tables = []
        for first in range(0, len(wanted), _TOGETHER):
            with self._database.read() as connection:
                for code in wanted[first : first + _TOGETHER]:
                    found = known(connection, self._table, {"code": code}, self.columns, until)
                    if found.shape[1]:
                        tables.append((code, found))
        whole = np.concatenate(
            [table for _, table in tables] or [np.empty((2 + len(self.columns), 0))], axis=1
        )
        starts = np.cumsum([0, *(table.shape[1] for _, table in tables)], dtype=np.int64)
        return Figures(
            tuple(code for code, _ in tables),
            starts,
            whole[0].astype(np.int64),
            whole[-1].astype(np.int64),
            dict(zip(self.columns, whole[1:-1], strict=True)),
        )


def flow_store(database: Database) -> FigureStore:
    """Net purchases of foreign investors, investment trusts and dealers, in shares."""
    return FigureStore(database, "institutional_flows", ("foreign_net", "trust_net", "dealer_net"))


def margin_store(database: Database) -> FigureStore:
    """Shares bought on margin and sold short that are open at the end of a day."""
    return FigureStore(database, "margin_balances", ("margin", "short"))


def revenue_store(database: Database) -> FigureStore:
    """Revenue of a month in TWD, under the month's first day."""
    return FigureStore(database, "monthly_revenues", ("revenue",))
