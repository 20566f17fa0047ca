"""Reads prices CSV in the reference's layout into raw rows; judges nothing.

The layout: an unnamed index column, then ``date,capacity,turnover,open,high,low,close,change,
transaction``. Columns are found by name, in any order; ``capacity`` may be called ``volume``,
``turnover`` ``value``, ``transaction`` ``trades``. Dates may be ISO, ``2025/1/2``, ``20250102`` or
in years of the Republic (``114/01/02``), as the exchanges write them.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stockllm.collectors.limits import DEFAULT, Limits, cut
from stockllm.data.errors import ImportFailed
from stockllm.data.validation import RawRows

#: Our name of a column -> the names it has in files.
COLUMNS = {
    "date": ("date",),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("capacity", "volume"),
    "value": ("turnover", "value"),
    "trades": ("transaction", "trades"),
    "change": ("change",),
}
NEEDED = ("date", "open", "high", "low", "close", "volume")

#: What foreign investors, investment trusts and dealers bought net -> shares in one of its units.
FLOWS = {
    ("foreign_lots", "trust_lots", "dealer_lots"): 1000,
    ("foreign_net", "trust_net", "dealer_net"): 1,
}

_DATE = re.compile(r"(\d{2,4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_COMPACT_DATE = re.compile(r"(\d{3,4})(\d\d)(\d\d)")
_TIME_OF_DAY = re.compile(r"[T ]\d{1,2}:\d\d.*$")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_LONGEST_NUMBER, _LONGEST_DATE = 400, 100
_NOTHING = frozenset({"", "-", "--", "---", "----", "nan", "none", "null", "n/a"})
_NAN = float("nan")

# Some way before the exchange opened in 1962: an earlier year is a misreading.
_FIRST_YEAR = 1950

#: What is kept of a row that goes to quarantine.
LONGEST_RAW = 2000


def read(text: str, *, code: str, source: str, name: str, limits: Limits = DEFAULT) -> RawRows:
    """The rows of one company's file. ``name`` is what errors call the file.

    ImportFailed where a needed column is missing, there is no row, the text is no CSV or it passes
    the ``limits``.
    """
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, [])
        limits.check_columns(len(header), name)
        rows: list[list[str]] = []
        lines: list[int] = []
        for row in reader:
            if row:  # an empty line is no row
                rows.append(row)
                lines.append(reader.line_num)
                if len(rows) > limits.text_rows:
                    limits.check_rows(len(rows), name, text=True)
    except csv.Error as error:
        raise ImportFailed(
            f"{name} cannot be read as CSV ({error}): export it again.",
            zh=f"{name} 不是正確的 CSV（{error}）：請重新匯出。",
        ) from error
    place = find_columns(header, name)
    flows = find_flows(header)
    if not rows:
        raise ImportFailed(
            f"{name} has a header but no rows: there is nothing to import.",
            zh=f"{name} 只有標題沒有資料列：沒有可匯入的內容。",
        )

    whole = np.fromiter((len(row) == len(header) for row in rows), dtype=bool, count=len(rows))
    # A row that is cut short or has too much cannot be told apart by column: it is unreadable.
    empty = [""] * len(header)  # one for all: a file of short rows would fill the memory with them
    padded = [row if ok else empty for row, ok in zip(rows, whole, strict=True)]
    columns = {ours: [row[i] for row in padded] for ours, i in place.items()}
    prices = [columns[name] for name in ("open", "high", "low", "close")]
    days = np.fromiter(map(read_day, columns["date"]), dtype=np.int64, count=len(rows))

    def optional(name: str) -> NDArray[np.float64] | None:
        return _numbers(columns[name]) if name in columns else None

    return RawRows(
        code=code,
        source=source,
        lines=np.array(lines, dtype=np.int64),
        days=np.where(whole, days, 0),
        prices=np.stack([_numbers(column) for column in prices], axis=1),
        volumes=_numbers(columns["volume"]),
        raw=lambda i: cut(",".join(rows[i]), LONGEST_RAW),
        blank=whole & blank_rows(prices, columns["volume"]),
        changes=optional("change"),
        values=optional("value"),
        trades=optional("trades"),
        flows=None
        if flows is None
        else np.stack([_numbers([row[i] for row in padded]) for i in flows[0]], axis=1) * flows[1],
    )


def check_header(text: str, name: str) -> None:
    """ImportFailed where the first line of ``text`` lacks a needed column."""
    line = text.partition("\n")[0]
    try:
        header = next(csv.reader([line]), [])
    except csv.Error as error:
        raise ImportFailed(
            f"{name} cannot be read as CSV ({error}): export it again.",
            zh=f"{name} 不是正確的 CSV（{error}）：請重新匯出。",
        ) from error
    find_columns(header, name)


def find_columns(header: Sequence[str], name: str, needed: Sequence[str] = NEEDED) -> dict[str, int]:
    """Our column names -> positions in ``header``. ImportFailed names the columns that are missing."""
    names = [cell.strip().casefold() for cell in header]
    place = {}
    for ours, theirs in (COLUMNS | {"code": ("code",)}).items():
        found = [names.index(one) for one in theirs if one in names]
        if found:
            place[ours] = found[0]
    missing = [" or ".join(("code",) if n == "code" else COLUMNS[n]) for n in needed if n not in place]
    if missing:
        asked = ", ".join(" or ".join(COLUMNS.get(n, (n,))) for n in needed)
        raise ImportFailed(
            f"{name} has no column {', '.join(missing)}: a prices file needs the columns {asked}.",
            zh=f"{name} 缺少欄位 {', '.join(missing)}：股價檔需要欄位 {asked}。",
        )
    check_once([names[i] for i in place.values()], names, name)
    return place


def check_once(wanted: Sequence[str], names: Sequence[str], name: str) -> None:
    """ImportFailed where one of the ``wanted`` columns is there twice: nobody knows which is meant."""
    twice = [one for one in wanted if names.count(one) > 1]
    if twice:
        raise ImportFailed(
            f"{name} has the column {', '.join(twice)} more than once: leave one of them.",
            zh=f"{name} 的欄位 {', '.join(twice)} 出現不只一次：請只留一個。",
        )


def find_flows(header: Sequence[str]) -> tuple[list[int], int] | None:
    """The positions of the three columns of net purchases and the shares in their unit, if all are there."""
    names = [cell.strip().casefold() for cell in header]
    for wanted, unit in FLOWS.items():
        if all(names.count(name) == 1 for name in wanted):
            return [names.index(name) for name in wanted], unit
    return None


def read_day(text: str) -> int:
    """The proleptic ordinal of a date as files write it, 0 where it is none.

    A year below 1911 is one of the Republic (114 is 2025). A trailing asterisk, the exchanges' mark
    for a footnote, and a time of day are left aside.
    """
    return _read_day(text) if len(text) <= _LONGEST_DATE else 0


@lru_cache(maxsize=20_000)
def _read_day(text: str) -> int:
    plain = unicodedata.normalize("NFKC", text).strip().rstrip("*").strip()
    plain = _TIME_OF_DAY.sub("", plain)
    match = _DATE.fullmatch(plain) or _COMPACT_DATE.fullmatch(plain)
    if match is None:
        return 0
    year, month, day = map(int, match.groups())
    if year < 1911:
        year += 1911
    try:
        return date(year, month, day).toordinal() if year >= _FIRST_YEAR else 0
    except ValueError:
        return 0


def read_number(text: str) -> float:
    """The number in a cell, NaN where there is none: thousands separators and signs are understood."""
    if "_" in text:  # a number to Python, and to nobody who writes prices
        return _NAN
    try:
        return float(text)
    except ValueError:
        if len(text) > _LONGEST_NUMBER:
            return _NAN
        plain = unicodedata.normalize("NFKC", text).strip()
        if _THOUSANDS.fullmatch(plain):
            return float(plain.replace(",", ""))
        try:
            return float(plain)
        except ValueError:
            return _NAN


def _numbers(cells: Sequence[str]) -> NDArray[np.float64]:
    return np.fromiter(map(read_number, cells), dtype=np.float64, count=len(cells))


def blank_rows(prices: Sequence[Sequence[str]], volumes: Sequence[str]) -> NDArray[np.bool_]:
    """Rows that say there was no trade: all four prices empty or dashes, and no volume."""
    blank = np.fromiter((v.strip().casefold() in _NOTHING or read_number(v) == 0 for v in volumes), bool)
    for column in prices:
        blank &= np.fromiter((cell.strip().casefold() in _NOTHING for cell in column), bool)
    return blank
