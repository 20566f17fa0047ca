"""Reads a parquet of ``code,date,open,high,low,close,volume`` for many stocks into raw rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stockllm.collectors.files.limits import Limits, check_codes, cut
from stockllm.collectors.files.prices_csv import (
    LONGEST_RAW,
    NEEDED,
    find_columns,
    find_flows,
    read_day,
    read_number,
)
from stockllm.data.errors import ImportFailed
from stockllm.data.validation import RawRows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_EPOCH = 719_163  # date(1970, 1, 1).toordinal()
_LAST = date.max.toordinal()
# The tables of a file unpacked, as against the file: prices compress to a third.
_UNPACKED = 8
_TICKER = re.compile(r"\s*(\d+)(?:\.0|\.TWO?)?\s*", re.IGNORECASE)


def check_limits(path: Path, limits: Limits, *, name: str) -> None:
    """ImportFailed where the file passes the limits; reads what it says of itself, not its tables."""
    limits.check_size(path.stat().st_size, name)
    with opened(path, name) as file:
        told = file.metadata
        limits.check_columns(int(told.num_columns), name)
        parts = [told.row_group(i) for i in range(told.num_row_groups)]
        limits.check_rows(max(int(told.num_rows), sum(int(part.num_rows) for part in parts)), name)
        limits.check_size(sum(int(part.total_byte_size) for part in parts) // _UNPACKED, name)


def rows_of(path: Path, *, name: str) -> int:
    """The number of rows."""
    with opened(path, name) as file:
        return int(file.metadata.num_rows)


def count(path: Path, *, name: str) -> int:
    """The number of rows. ImportFailed where ``read`` would refuse the file at sight."""
    with opened(path, name) as file:
        names, rows = list(file.schema_arrow.names), int(file.metadata.num_rows)
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
    with opened(path, name) as file:
        names = list(file.schema_arrow.names)
        place = find_columns(names, name, ("code", *NEEDED))
        net = find_flows(names)
        wanted = [names[i] for i in (*place.values(), *(net[0] if net else ()))]
        texts = texts_among(file, wanted)
    with opened(path, name, texts) as file:
        table = file.read(columns=wanted)
    columns = {ours: table.column(names[i]) for ours, i in place.items()}
    bought = [table.column(names[i]) for i in net[0]] if net else []
    unit = net[1] if net else 1
    del table

    codes, which = _codes(columns["code"], name)
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
    with opened(path, name) as file:
        names = list(file.schema_arrow.names)
        place = find_columns(names, name, ("code", *NEEDED))
        wanted = [names[place[column]] for column in ("code", "open", "high", "low", "close")]
        texts = texts_among(file, wanted)
    with opened(path, name, texts) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=wanted)
            codes, which = _codes(table.column(wanted[0]), name)
            prices = np.stack([_numbers(table.column(one), one, name) for one in wanted[1:]], axis=1)
            order = np.argsort(which, kind="stable")
            edges = np.flatnonzero(np.diff(which[order], prepend=-1, append=len(codes)))
            for start, end in pairwise(edges.tolist()):
                yield codes[int(which[order[start]])], prices[order[start:end]]


@contextmanager
def opened(path: Path, name: str, texts: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """A parquet file; what pyarrow says against it within the block becomes ImportFailed.

    Columns named in ``texts`` come with each text kept once, however often it is repeated.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=list(texts) or None) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise ImportFailed(
            f"{name} cannot be read as parquet ({_first(error)}): export it again.",
            zh=f"{name} 不是正確的 parquet（{_first(error)}）：請重新匯出。",
        ) from error


def texts_among(file: pq.ParquetFile, wanted: Sequence[str]) -> list[str]:
    """Those of the ``wanted`` columns that hold text."""
    return [name for name in wanted if _is_text(file.schema_arrow.field(name).type)]


def _codes(column: pa.ChunkedArray, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct codes as text, ascending, and for each row the position of its own."""
    import pyarrow as pa

    if not _is_text(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException as error:
            raise _other_type("code", column.type, "codes", "代號", name) from error
    given, indices = _spelled(column, name)
    given = [_ticker(text) for text in given]
    codes = sorted(set(given))
    check_codes(len(codes), name)
    place = {code: i for i, code in enumerate(codes)}
    recode = np.array([place[code] for code in given], dtype=np.int64)
    return codes, recode[indices]


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _spelled(column: pa.ChunkedArray, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """The texts of a column, each once if it is coded so, and for each row the position of its own.

    A missing one is "". ImportFailed where one is not UTF-8.
    """
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts, positions = [""], [np.zeros(0, dtype=np.int64)]
    try:
        for chunk in column.chunks:
            own = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            positions.append(np.where(own < 0, 0, own + len(texts)))
            texts += [text or "" for text in chunk.dictionary.to_pylist()]
    except UnicodeDecodeError as error:
        raise ImportFailed(
            f"{name} holds text that is not UTF-8: export it again.",
            zh=f"{name} 有不是 UTF-8 的文字：請重新匯出。",
        ) from error
    return texts, np.concatenate(positions)


def _other_type(column: str, kind: object, en: str, zh: str, name: str) -> ImportFailed:
    told = cut(str(kind))
    return ImportFailed(
        f"The column {column} of {name} holds {told}, not {en}: export it again.",
        zh=f"{name} 的 {column} 欄是 {told}，不是{zh}：請重新匯出。",
    )


def _ticker(text: str) -> str:
    match = _TICKER.fullmatch(text)
    return match[1] if match else text.strip()


def _days(column: pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Ordinals, 0 where the date is missing or no date. A time with a zone counts in Taipei."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if _is_text(kind):
        texts, which = _spelled(column, name)
        return np.fromiter(map(read_day, texts), np.int64, len(texts))[which]
    try:
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            column = pc.local_timestamp(column.cast(pa.timestamp("us", "Asia/Taipei"), safe=False))
        since = column.cast(pa.date32(), safe=False).cast(pa.int32())
    except pa.ArrowException as error:
        raise _other_type("date", kind, "dates", "日期", name) from error
    missing = since.is_null().to_numpy()
    days = pc.fill_null(since, 0).to_numpy().astype(np.int64) + _EPOCH
    return np.where(missing | (days <= 0) | (days > _LAST), 0, days)


def _numbers(column: pa.ChunkedArray, ours: str, name: str) -> NDArray[np.float64]:
    """Floats, NaN where a number is missing or cannot be read."""
    import pyarrow as pa

    kind = column.type
    if _is_text(kind):
        texts, which = _spelled(column, name)
        return np.fromiter(map(read_number, texts), np.float64, len(texts))[which]
    try:
        floats = column.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        raise _other_type(ours, kind, "numbers", "數字", name) from error
    return np.array(floats.to_numpy(), dtype=np.float64)


def _raw(
    code: str, days: NDArray[np.int64], prices: NDArray[np.float64], volumes: NDArray[np.float64]
) -> Callable[[int], str]:
    def raw(i: int) -> str:
        day = date.fromordinal(int(days[i])).isoformat() if days[i] > 0 else ""
        row = ",".join([code, day, *(f"{price:.10g}" for price in prices[i]), f"{volumes[i]:.0f}"])
        return cut(row, LONGEST_RAW)

    return raw


def _first(error: Any) -> str:
    return cut(str(error).splitlines()[0].rstrip("."), 200) if str(error).strip() else type(error).__name__
