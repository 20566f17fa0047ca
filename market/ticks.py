"""Ticks and daily limits. Everything is integer hundredths of a TWD; no float is involved.

Every function takes one int or a numpy integer array and returns the same. The rules are those of
the exchanges' operating rules (TWSE articles 62 and 63; TPEx has the same).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, overload

from stockllm.market.instruments import instrument_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["nearest", "down", "up"]


@dataclass(frozen=True, slots=True)
class TickTable:
    """The tick sizes in force from ``since`` on.

    ``bounds`` are the prices at which the tick changes, ascending; ``ticks`` has one entry more:
    ``ticks[i]`` holds below ``bounds[i]``, the last one from the last bound up. Every bound is a
    multiple of the ticks on both its sides, which is what lets rounding step over it safely.
    """

    since: date
    bounds: tuple[int, ...]
    ticks: tuple[int, ...]


#: Ordinary shares, newest table last. The one in force since 1 March 2005.
SHARE_TABLES = (TickTable(date(2005, 3, 1), (1000, 5000, 10000, 50000, 100000), (1, 5, 10, 50, 100, 500)),)

#: ETFs.
ETF_TABLE = TickTable(date(2005, 3, 1), (5000,), (1, 5))

#: The first day of the 10% limit; it was 7% before.
TEN_PERCENT_SINCE = date(2015, 6, 1)


def tick_table(day: date) -> TickTable:
    """The table for ordinary shares on ``day``; the oldest known one before that."""
    in_force = [table for table in SHARE_TABLES if table.since <= day]
    return in_force[-1] if in_force else SHARE_TABLES[0]


CURRENT = SHARE_TABLES[-1]


def table_of(code: str, day: date) -> TickTable:
    """The table that ``code`` trades on: an ETF's own, or that of shares on ``day``."""
    return ETF_TABLE if instrument_of(code) == "etf" else tick_table(day)


@overload
def tick(price: int, table: TickTable = ...) -> int: ...
@overload
def tick(price: NDArray[np.integer[Any]], table: TickTable = ...) -> NDArray[np.integer[Any]]: ...
def tick(price: Any, table: TickTable = CURRENT) -> Any:
    """The tick size at ``price``: 0.05 TWD from 10 to 50 and so on."""
    if isinstance(price, int):
        for bound, size in zip(table.bounds, table.ticks, strict=False):
            if price < bound:
                return size
        return table.ticks[-1]
    import numpy as np

    sizes = np.asarray(table.ticks, dtype=np.asarray(price).dtype)
    return sizes[np.searchsorted(np.asarray(table.bounds), price, side="right")]


@overload
def round_to_tick(price: int, mode: Mode = ..., table: TickTable = ...) -> int: ...
@overload
def round_to_tick(
    price: NDArray[np.integer[Any]], mode: Mode = ..., table: TickTable = ...
) -> NDArray[np.integer[Any]]: ...
def round_to_tick(price: Any, mode: Mode = "nearest", table: TickTable = CURRENT) -> Any:
    """``price`` on its tick grid. "nearest" sends a tie upward."""
    size = tick(price, table)
    if mode == "down":
        return price // size * size
    if mode == "up":
        return -(-price // size) * size
    return (price + size // 2) // size * size if mode == "nearest" else _no_such_mode(mode)


def _no_such_mode(mode: object) -> Any:
    raise ValueError(f"rounding mode is nearest, down or up, not {mode!r}")


@overload
def limits(reference: int, day: date | None = ..., table: TickTable | None = ...) -> tuple[int, int]: ...
@overload
def limits(
    reference: NDArray[np.integer[Any]], day: date | None = ..., table: TickTable | None = ...
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]: ...
def limits(reference: Any, day: date | None = None, table: TickTable | None = None) -> tuple[Any, Any]:
    """The day's (limit down, limit up) for a ``reference`` price.

    The tick band of the raw limit price decides, not that of the reference; the upper limit is
    rounded down and the lower one up. ``day`` selects the rule of its time (7% before June 2015);
    without it today's rule holds. A stock's first five days have no limit: the caller knows.

    >>> limits(6300)
    (5670, 6930)
    """
    rate = 7 if day is not None and day < TEN_PERCENT_SINCE else 10
    if table is None:
        table = CURRENT if day is None else tick_table(day)
    # Whole hundredths first: rounding outward to them cannot leave the band the exact price is in,
    # because every bound is itself a whole multiple of the tick below it.
    up = reference * (100 + rate) // 100
    down = -(-(reference * (100 - rate)) // 100)
    return round_to_tick(down, "up", table), round_to_tick(up, "down", table)
