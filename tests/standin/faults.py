"""What can go wrong with an answer, and what a client must make of it."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from standin.pages import roc

BLOCK_PAGE = (
    "<!DOCTYPE html><html><head><title>Error</title></head><body>"
    "FOR SECURITY REASONS, THIS PAGE CAN NOT BE ACCESSED</body></html>"
)

#: Name -> the outcome the log must show. "ok" are oddities that change nothing about what is true.
FAULTS: dict[str, str] = {
    # Of the line
    "500": "outage",
    "503_page": "outage",
    "hang": "outage",
    "drip": "outage",
    "reset": "outage",
    "cut_short": "outage",  # fewer bytes than announced
    "truncated": "unreadable",  # half a document, announced as whole
    "empty": "unreadable",
    "404": "unreadable",
    "307": "blocked",
    "403": "blocked",
    "429": "blocked",
    "block_page": "blocked",  # HTML with status 200
    "invented_stat": "outage",  # a sentence in place of data, when asked too often
    # Of the content
    "wrong_day": "wrong_answer",
    "wrong_month": "wrong_answer",
    "wrong_code": "wrong_answer",
    "missing_rows": "unreadable",
    "no_columns": "unreadable",
    # Harmless
    "extra_column": "ok",
    "reordered": "ok",
    "star_dates": "ok",
    "zero_rows": "ok",  # a day without a trade as zeros
    "phantom_saturday": "ok",
    "duplicate_rows": "ok",
    "x050": "ok",  # X0.50 where the exchange compares nothing
    "dividend_word": "ok",  # 除息 in the same place
    "chunked": "ok",
    "gzip": "ok",
}

#: Those that came to be known later, and those of the sources beside prices.
MORE_FAULTS: dict[str, str] = {
    "301": "unreadable",  # an address that has moved for good
    "refused_words": "refused",  # what the site will never answer
    "false_no_data": "no_data",  # asked too often: the very words of a true answer
    "running_session": "ok",  # a session is listed before its end, with the last price so far
    "late_night": "ok",  # the night that has ended is not listed yet
}
OUTCOMES = FAULTS | MORE_FAULTS

#: Those that make sense for every question, and those that need rows of prices.
LINE = tuple(FAULTS)[:14]
HARMLESS = tuple(name for name, outcome in FAULTS.items() if outcome == "ok")


_OF_LISTS = ("invented_stat", "wrong_day", "missing_rows", "no_columns", "false_no_data", "refused_words")
#: Kinds of answers beside prices -> the faults of the content that they have.
_BESIDE_PRICES: dict[str, tuple[str, ...]] = {
    "flows": _OF_LISTS,
    "margin": _OF_LISTS,
    "revenue": (),
    "futures": ("wrong_day", "no_columns", "running_session", "late_night"),
    "futures_open": ("running_session",),
    "world": ("wrong_code",),
}


@dataclass(frozen=True)
class Fault:
    """A fault for the next request that it can befall. ``route`` is a part of the request's path."""

    name: str
    route: str = ""


def can_befall(name: str, kind: str, site: str = "twse") -> bool:
    """Whether a fault makes sense for an answer of this kind: day, month, ex, holidays, open, news, and
    flows, margin, revenue, futures, futures_open, world."""
    if name in ("false_no_data", "refused_words") and not site.startswith("twse"):
        return False  # seen of TWSE alone
    line = name in LINE and name != "invented_stat"
    if name in ("chunked", "gzip", "301") or line:
        return True
    if kind in _BESIDE_PRICES:
        return name in _BESIDE_PRICES[kind]
    kinds = {
        "invented_stat": ("day", "month", "ex", "holidays"),
        "refused_words": ("day", "month", "ex"),
        "false_no_data": ("day", "month", "ex"),
        "wrong_day": ("day", "open", "ex"),
        "missing_rows": ("day",),
        "running_session": (),
        "late_night": (),
    } | dict.fromkeys(("wrong_month", "wrong_code", "star_dates", "phantom_saturday"), ("month",))
    return kind in kinds.get(name, ("day", "month"))


def spoil(document: dict[str, Any], name: str, draw: random.Random) -> dict[str, Any]:
    """The document with a harmless oddity, or with rows or columns missing."""
    document = copy.deepcopy(document)
    for table in _tables(document):
        if name in ("extra_column", "reordered", "no_columns"):
            _columns(table, name, draw)
        elif table["data"]:
            _rows(table, name)
        for holder in (document, table):
            for key in {"total", "totalCount"} & holder.keys():
                holder[key] = len(table["data"])
    return document


def _columns(table: dict[str, Any], name: str, draw: random.Random) -> None:
    fields, rows = table["fields"], table["data"]
    order = list(range(len(fields)))
    if name == "reordered":
        draw.shuffle(order)
    table["fields"] = [f"欄{i}" if name == "no_columns" else fields[i] for i in order]
    table["data"] = [[row[i] for i in order] for row in rows]
    if name == "extra_column":
        table["fields"].insert(2, "新欄位")
        for row in table["data"]:
            row.insert(2, "9,999")


def _rows(table: dict[str, Any], name: str) -> None:
    rows = table["data"]
    if name == "missing_rows":
        table["data"] = rows[:1]
    elif name == "star_dates":
        for i, row in enumerate(rows):
            row[0] += "＊" if i % 2 else "*"
    elif name == "zero_rows":
        for row in rows:
            row[:] = ["0.00" if cell in ("--", "----") else cell for cell in row]
    elif name == "duplicate_rows":
        rows.append(list(rows[0]))
    elif name == "phantom_saturday":
        year, month, day = map(int, rows[0][0].split("/"))
        first = date(year + 1911, month, day)
        saturday = first + timedelta(days=(5 - first.weekday()) % 7)
        if saturday.month == first.month:
            rows.append([roc(saturday), *rows[-1][1:]])
    elif name in ("x050", "dividend_word"):
        _uncompared(table["fields"], rows, "X0.50" if name == "x050" else "除息")


def _uncompared(fields: list[str], rows: list[list[str]], text: str) -> None:
    plain = ["".join(field.split()) for field in fields]
    place = next((plain.index(f) for f in ("漲跌價差", "漲跌") if f in plain), None)
    if place is None:
        return
    sign = plain.index("漲跌(+/-)") if "漲跌(+/-)" in plain else None
    for row in rows:
        if sign is None and row[place].strip() in ("X0.00", "除息"):
            row[place] = text
        elif sign is not None and "X" in row[sign]:
            row[place] = "0.50" if text.startswith("X") else text


def _tables(document: dict[str, Any]) -> list[dict[str, Any]]:
    tables = document.get("tables", [document])
    return [table for table in tables if table.get("fields") and len(table["fields"]) > 2]
