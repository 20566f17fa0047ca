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
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stockllm.collectors.files.limits import DEFAULT, Limits, cut
from stockllm.data.errors import ImportFailed
from stockllm.data.validation import RawRows

#: Our name of a column -> the names it has in files.
COLUMNS = {
    "date": ("date", "日期", "datetime"),
    "open": ("open", "開盤價", "開盤"),
    "high": ("high", "max", "最高價", "最高"),
    "low": ("low", "min", "最低價", "最低"),
    "close": ("close", "收盤價", "收盤"),
    "volume": (
        "capacity",
        "volume",
        "trading_volume",
        "成交股數",
        "成交仟股",
        "成交千股",
        "成交張數",
    ),
    "value": ("turnover", "value", "trading_money", "成交金額", "成交金額(元)"),
    "trades": ("transaction", "trades", "trading_turnover", "成交筆數", "筆數"),
    "change": ("change", "spread", "漲跌價差", "漲跌"),
}
#: Columns of volume that count lots of a thousand shares.
_LOTS = frozenset({"成交仟股", "成交千股", "成交張數"})
NEEDED = ("date", "open", "high", "low", "close", "volume")

#: What foreign investors, investment trusts and dealers bought net -> shares in one of its units.
FLOWS = {
    ("foreign_lots", "trust_lots", "dealer_lots"): 1000,
    ("foreign_net", "trust_net", "dealer_net"): 1,
}

_DATE = re.compile(r"(\d{2,4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?")
_COMPACT_DATE = re.compile(r"(\d{3,4})(\d\d)(\d\d)")
_TIME_OF_DAY = re.compile(
    r"[T ]\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?.*$", re.IGNORECASE
)
# Lines above the header, such as the exchanges' title, and lines of notes below the rows.
_MOST_TITLES = 5
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
        every: list[tuple[list[str], int]] = []
        for row in reader:
            if row:  # an empty line is no row
                every.append((row, reader.line_num))
                if len(every) > limits.text_rows + _MOST_TITLES + 3:
                    limits.check_rows(len(every), name, text=True)
        header, below, exchanges = _header([row for row, _ in every])
        limits.check_columns(len(header), name)
        kept = [(row, line) for row, line in every[below:] if not (exchanges and _is_note(row))]
        limits.check_rows(len(kept), name, text=True)
        rows = [row for row, _ in kept]
        lines = [line for _, line in kept]
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
        volumes=_numbers(columns["volume"]) * volume_unit(header, place),
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
    """ImportFailed where the header of ``text`` lacks a needed column."""
    try:
        lines = islice(io.StringIO(text.lstrip("\ufeff"), newline=""), _MOST_TITLES + 3)
        header, _, _ = _header([row for row in csv.reader(lines) if row])
    except csv.Error as error:
        raise ImportFailed(
            f"{name} cannot be read as CSV ({error}): export it again.",
            zh=f"{name} 不是正確的 CSV（{error}）：請重新匯出。",
        ) from error
    find_columns(header, name)


def find_columns(header: Sequence[str], name: str, needed: Sequence[str] = NEEDED) -> dict[str, int]:
    """Our column names -> positions in ``header``. ImportFailed names the columns that are missing."""
    names = _names(header)
    place = {}
    for ours, theirs in (COLUMNS | {"code": ("code", "stock_id")}).items():
        found = [names.index(one) for one in theirs if one in names]
        if found:
            place[ours] = found[0]
    missing = [_told(n) for n in needed if n not in place]
    if missing:
        asked = ", ".join(map(_told, needed))
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


def _told(column: str) -> str:
    """A column's names as errors give them: those of the reference's layout."""
    return (
        " or ".join(COLUMNS[column][: 2 if column in ("volume", "value", "trades") else 1])
        if (column in COLUMNS)
        else column
    )


def _names(header: Sequence[str]) -> list[str]:
    return ["".join(unicodedata.normalize("NFKC", cell).split()).casefold() for cell in header]


def _header(rows: Sequence[list[str]]) -> tuple[list[str], int, bool]:
    """The header, the number of the first row below it, and whether the file is an exchange's own.

    The exchanges write a title above it; yfinance writes three lines, Price, Ticker and Date.
    """
    for number, row in enumerate(rows[: _MOST_TITLES + 1]):
        names = _names(row)
        if names[0] == "price" and "close" in names and len(rows) > number + 2:
            first = [_names(below)[0] for below in rows[number + 1 : number + 3]]
            if first[-1] in ("date", "datetime"):
                return ["date", *row[1:]], number + 3, False
        if {"日期"} & set(names) and set(COLUMNS["close"]) & set(names):
            return row, number + 1, True
        if "date" in names and "close" in names:
            return row, number + 1, False
    return (rows[0] if rows else []), 1, False


def _is_note(row: Sequence[str]) -> bool:
    """Whether a line of an exchange's file is a remark below the rows: no date, and nothing beside."""
    return read_day(row[0]) == 0 and sum(1 for cell in row if cell.strip()) <= 2


def volume_unit(header: Sequence[str], place: Mapping[str, int]) -> int:
    """How many shares one of the column of volumes stands for."""
    return 1000 if "volume" in place and _names(header)[place["volume"]] in _LOTS else 1


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
    for a footnote, is left aside. A time of day with a zone counts in Taipei: 16:00 in UTC is the next
    day there; one without a zone is left aside.
    """
    return _read_day(text) if len(text) <= _LONGEST_DATE else 0


@lru_cache(maxsize=20_000)
def _read_day(text: str) -> int:
    plain = unicodedata.normalize("NFKC", text).strip().rstrip("*").strip()
    moment = _TIME_OF_DAY.search(plain)
    plain = _TIME_OF_DAY.sub("", plain)
    match = _DATE.fullmatch(plain) or _COMPACT_DATE.fullmatch(plain)
    if match is None:
        return 0
    year, month, day = map(int, match.groups())
    if year < 1911:
        year += 1911
    try:
        found = date(year, month, day).toordinal() if year >= _FIRST_YEAR else 0
    except ValueError:
        return 0
    return found + _days_on(moment) if found and moment is not None and moment[4] else found


def _days_on(moment: re.Match[str]) -> int:
    """How many days later a time with a zone is in Taipei: -1, 0 or 1."""
    hours, minutes, _, zone = moment.groups()
    off = 0
    if zone[0] in "+-":
        sign = -1 if zone[0] == "-" else 1
        digits = zone[1:].replace(":", "").ljust(4, "0")
        off = sign * (int(digits[:2]) * 60 + int(digits[2:]))
    return (int(hours) * 60 + int(minutes) - off + 8 * 60) // (24 * 60)


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
