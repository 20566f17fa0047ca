"""Reads a parquet of ``code,date,open,high,low,close,volume`` for many stocks into raw rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.collectors.prices_csv import NEEDED, find_columns, find_flows, read_day, read_number
from stockllm.data.errors import ImportFailed
from stockllm.data.validation import RawRows

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = 719_163  # date(1970, 1, 1).toordinal()
_TICKER = re.compile(r"\s*(\d+)(?:\.0|\.TWO?)?\s*", re.IGNORECASE)


def count(path: Path, *, name: str) -> int:
    """The number of rows. ImportFailed where ``read`` would refuse the file at sight."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, rows = list(file.schema_arrow.names), int(file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ImportFailed(
            f"{name} cannot be read as parquet ({_first(error)}): export it again.",
            zh=f"{name} 不是正確的 parquet（{_first(error)}）：請重新匯出。",
        ) from error
    find_columns(names, name, ("code", *NEEDED))
    if rows == 0:
        raise ImportFailed(
            f"{name} has no rows: there is nothing to import.", zh=f"{name} 沒有資料列：沒有可匯入的內容。"
        )
    return rows


def read(path: Path, *, source: str, name: str) -> Iterator[RawRows]:
    """The rows company by company, in order of code; lines count from 1.

    Columns may have the other names that prices CSV knows. A code that is missing becomes "".
    ImportFailed where the file is damaged or lacks a column or the right type in one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            place = find_columns(names, name, ("code", *NEEDED))
            net = find_flows(names)
            wanted = [*place.values(), *(net[0] if net else ())]
            table = file.read(columns=[names[i] for i in wanted])
    except (pa.ArrowException, OSError) as error:
        raise ImportFailed(
            f"{name} cannot be read as parquet ({_first(error)}): export it again.",
            zh=f"{name} 不是正確的 parquet（{_first(error)}）：請重新匯出。",
        ) from error
    columns = {ours: table.column(names[i]) for ours, i in place.items()}
    bought = [table.column(names[i]) for i in net[0]] if net else []
    unit = net[1] if net else 1
    del table

    codes, which = _codes(columns["code"])
    days = _days(columns["date"], name)
    prices = [_numbers(columns[c], c, name) for c in ("open", "high", "low", "close")]
    volumes = _numbers(columns["volume"], "volume", name)
    extra = {c: _numbers(columns[c], c, name) for c in ("change", "value", "trades") if c in columns}
    flows = [_numbers(column, "flows", name) * unit for column in bought]
    del columns, bought
    # A stable sort keeps each company's rows in the order of the file.
    order = np.argsort(which, kind="stable")
    edges = np.flatnonzero(np.diff(which[order], prepend=-1, append=len(codes)))
    for start, end in pairwise(edges.tolist()):
        rows = order[start:end]
        own_prices = np.stack([column[rows] for column in prices], axis=1)
        volume = volumes[rows]
        silent = np.isnan(volume) | (volume == 0)
        code = codes[int(which[rows[0]])]
        own_days = days[rows]
        yield RawRows(
            code=code,
            source=source,
            lines=rows + 1,
            days=own_days,
            prices=own_prices,
            volumes=volume,
            raw=_raw(code, own_days, own_prices, volume),
            blank=np.isnan(own_prices).all(axis=1) & silent & (own_days > 0),
            changes=extra["change"][rows] if "change" in extra else None,
            values=extra["value"][rows] if "value" in extra else None,
            trades=extra["trades"][rows] if "trades" in extra else None,
            flows=np.stack([column[rows] for column in flows], axis=1) if flows else None,
        )


def prices_by_code(path: Path, *, name: str) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each code with its prices, shape (n, 4), a part of the file at a time; the same errors as ``read``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            place = find_columns(names, name, ("code", *NEEDED))
            wanted = [names[place[column]] for column in ("code", "open", "high", "low", "close")]
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, columns=wanted)
                codes, which = _codes(table.column(wanted[0]))
                prices = np.stack([_numbers(table.column(one), one, name) for one in wanted[1:]], axis=1)
                for i, code in enumerate(codes):
                    yield code, prices[which == i]
    except (pa.ArrowException, OSError) as error:
        raise ImportFailed(
            f"{name} cannot be read as parquet ({_first(error)}): export it again.",
            zh=f"{name} 不是正確的 parquet（{_first(error)}）：請重新匯出。",
        ) from error


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct codes as text, ascending, and for each row the position of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pc.fill_null(column.cast(pa.string()), "").dictionary_encode().combine_chunks()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.chunk(0)
    given = [_ticker(text) for text in coded.dictionary.to_pylist()]
    codes = sorted(set(given))
    place = {code: i for i, code in enumerate(codes)}
    recode = np.array([place[code] for code in given], dtype=np.int64)
    return codes, recode[coded.indices.to_numpy(zero_copy_only=False)]


def _ticker(text: str) -> str:
    match = _TICKER.fullmatch(text)
    return match[1] if match else text.strip()


def _days(column: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Ordinals, 0 where the date is missing or no date. A time with a zone counts in Taipei."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.fromiter((read_day(text or "") for text in column.to_pylist()), np.int64, len(column))
    try:
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            column = pc.local_timestamp(column.cast(pa.timestamp("us", "Asia/Taipei"), safe=False))
        since = column.cast(pa.date32(), safe=False).cast(pa.int32())
    except pa.ArrowException as error:
        raise ImportFailed(
            f"The column date of {name} holds {kind}, not dates: export it again.",
            zh=f"{name} 的 date 欄是 {kind}，不是日期：請重新匯出。",
        ) from error
    missing = since.is_null().to_numpy()
    days = pc.fill_null(since, 0).to_numpy().astype(np.int64) + _EPOCH
    return np.where(missing | (days <= 0), 0, days)


def _numbers(column: pa.ChunkedArray, ours: str, name: str) -> NDArray[np.float64]:
    """Floats, NaN where a number is missing or cannot be read."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.fromiter((read_number(text or "") for text in column.to_pylist()), np.float64, len(column))
    try:
        floats = column.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        raise ImportFailed(
            f"The column {ours} of {name} holds {kind}, not numbers: export it again.",
            zh=f"{name} 的 {ours} 欄是 {kind}，不是數字：請重新匯出。",
        ) from error
    return np.array(floats.to_numpy(), dtype=np.float64)


def _raw(
    code: str, days: NDArray[np.int64], prices: NDArray[np.float64], volumes: NDArray[np.float64]
) -> Callable[[int], str]:
    from datetime import date

    def raw(i: int) -> str:
        day = date.fromordinal(int(days[i])).isoformat() if days[i] > 0 else ""
        return ",".join([code, day, *(f"{price:.10g}" for price in prices[i]), f"{volumes[i]:.0f}"])

    return raw


def _first(error: Any) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
