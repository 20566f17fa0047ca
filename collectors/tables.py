"""Reading the exchanges' answers: tables whose columns are found by name, whatever their order.

Each table becomes columns in our own names; nothing is judged here and no row is dropped. What the
names stand for was read from the exchanges' answers: volume and value may come in thousands, and the
name of the column says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.collectors.failures import NoData, Outage, Refused, Unreadable, WrongAnswer
from stockllm.collectors.files.prices_csv import read_day, read_number
from stockllm.collectors.http import Answer
from stockllm.data.sentences import in_chinese

Floats = NDArray[np.float64]

_SHARES = ("volume", 1)
_THOUSANDS = ("volume", 1000)

#: The exchanges' name of a column, without spaces -> ours, and what its numbers count.
COLUMNS: dict[str, tuple[str, int]] = {
    "日期": ("date", 1),
    "Date": ("date", 1),
    **dict.fromkeys(("證券代號", "代號", "股票代號", "Code", "SecuritiesCompanyCode"), ("code", 1)),
    **dict.fromkeys(("證券名稱", "名稱", "股票名稱", "Name", "CompanyName"), ("name", 1)),
    **dict.fromkeys(("開盤價", "開盤", "OpeningPrice", "Open"), ("open", 1)),
    **dict.fromkeys(("最高價", "最高", "HighestPrice", "High"), ("high", 1)),
    **dict.fromkeys(("最低價", "最低", "LowestPrice", "Low"), ("low", 1)),
    **dict.fromkeys(("收盤價", "收盤", "ClosingPrice", "Close"), ("close", 1)),
    **dict.fromkeys(("成交股數", "TradeVolume", "TradingShares"), _SHARES),
    **dict.fromkeys(("成交仟股", "成交千股", "成交張數"), _THOUSANDS),
    **dict.fromkeys(("成交金額", "成交金額(元)", "TradeValue", "TransactionAmount"), ("value", 1)),
    **dict.fromkeys(("成交仟元", "成交千元", "成交金額(仟元)"), ("value", 1000)),
    **dict.fromkeys(("成交筆數", "筆數", "Transaction", "TransactionNumber"), ("trades", 1)),
    "漲跌(+/-)": ("sign", 1),
    **dict.fromkeys(("漲跌價差", "漲跌", "Change"), ("change", 1)),
}

FIGURES = ("open", "high", "low", "close", "volume")

_TAG = re.compile(r"<[^>]*>")
_NO_DATA = ("沒有符合條件", "查無")
# What will be refused however often it is asked.
_REFUSED = ("參數輸入錯誤", "查詢日期大於", "查詢日期小於")
_BLANK = frozenset({"", "-", "--", "---", "----"})
_ROC_DATE = re.compile(r"(\d{2,3})年\s*(\d{1,2})月(?:\s*(\d{1,2})日)?")


@dataclass(frozen=True)
class Table:
    """Columns of an answer by our names, all of one length, cells as text without their tags.

    ``factors`` says for volume and value what one of the column's units is, ``lines`` each row's place
    in the answer, from 1. ``left_out`` rows of the answer were not asked for and are not here.
    """

    columns: Mapping[str, list[str]]
    factors: Mapping[str, int]
    lines: list[int]
    left_out: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def numbers(self, name: str) -> Floats:
        """A column as floats, NaN where a cell holds no number or the column is absent."""
        cells = self.columns.get(name)
        if cells is None:
            return np.full(len(self), np.nan)
        return np.fromiter(map(number, cells), dtype=np.float64, count=len(cells)) * self.factors[name]

    def prices(self) -> Floats:
        """Open, high, low and close, shape (n, 4)."""
        return np.stack([self.numbers(name) for name in FIGURES[:4]], axis=1)

    def changes(self) -> Floats:
        """The moves from the reference price; NaN where the exchange will not compare (X, 除息)."""
        size = self.numbers("change")
        signs = self.columns.get("sign")
        if signs is None:
            return size
        factor = np.array([{"+": 1.0, "-": -1.0}.get(sign, np.nan) for sign in signs])
        # Neither sign nor X stands for a move of nothing.
        unsigned = np.array([sign == "" for sign in signs], dtype=bool) & (size == 0)
        return np.where(unsigned, 0.0, size * factor)

    def blank(self) -> NDArray[np.bool_]:
        """Rows without prices: nobody traded in the session, whatever was done in blocks or odd lots."""
        blank = np.ones(len(self), dtype=bool)
        for name in FIGURES[:4]:
            blank &= np.fromiter((cell in _BLANK for cell in self.columns[name]), bool, len(self))
        return blank

    def raw(self, i: int) -> str:
        """Row i as text, alike however the exchange orders its columns."""
        return ", ".join(f"{name} {self.columns[name][i]}" for name in sorted(self.columns))


def mapping(answer: Answer) -> dict[str, Any]:
    """The answer's document, an object with a ``stat``. Unreadable where it is another thing."""
    document = answer.json()
    if not isinstance(document, dict) or not isinstance(document.get("stat"), str):
        raise unreadable(answer, "no object with a stat")
    return document


def status(answer: Answer, document: Mapping[str, Any]) -> None:
    """Raise what the exchange's ``stat`` says: NoData, Refused for what it will never answer, or Outage
    for a sentence of another kind.

    An exchange that is asked too often has been seen to answer with an invented error here.
    """
    stat = str(document["stat"]).strip()
    if stat.lower() == "ok":
        return
    if any(part in stat for part in _NO_DATA):
        raise no_data(answer)
    said = " ".join(_TAG.sub(" ", stat).split())[:80]
    if any(part in stat for part in _REFUSED):
        raise Refused(
            f"{answer.site.name} refuses {answer.what} with «{said}»: see that this machine's date is right; "
            "if it is, look for a newer stockllm.",
            "refused",
            zh=f"{in_chinese(answer.site.name)}以「{said}」拒絕{in_chinese(answer.what)}："
            "請確認本機日期是否正確；若正確，請更新 stockllm。",
        )
    raise Outage(
        f"{answer.site.name} answered {answer.what} with «{said}» in place of data: "
        "it is asked again on the next run.",
        zh=f"{in_chinese(answer.site.name)}以「{said}」取代資料回應{in_chinese(answer.what)}：下次更新會再問。",
    )


def find(
    answer: Answer,
    tables: Iterable[object],
    needed: Sequence[str],
    wanted: Callable[[str], bool] | None = None,
) -> Table:
    """The rows of every table that has the ``needed`` columns, one after the other.

    With ``wanted`` those alone whose code it takes: a market's list holds ten warrants a share.
    Unreadable where no table has the columns. A row of another length than its header's keeps its
    place, empty: it cannot be told which cells are missing.
    """
    columns: dict[str, list[str]] = {}
    factors: dict[str, int] = {}
    lines: list[int] = []
    read = 0
    missing: set[str] = set(needed)
    for table in tables:
        if not isinstance(table, dict) or not isinstance(table.get("fields"), list):
            continue
        place = _place(table["fields"])
        if lacking := [name for name in needed if name not in place]:
            missing = min(missing, set(lacking), key=len)
            continue
        rows = whole_rows(answer, table)
        units = {name: factor for name, (_, factor) in place.items()}
        if columns and units != factors:
            raise unreadable(answer, "two tables of different columns")
        factors = units
        if wanted is not None:
            at = place["code"][0]
            codes = [plain(row[at]) if row else "" for row in rows]
            chosen = [i for i, code in enumerate(codes) if wanted(code)]
        else:
            chosen = list(range(len(rows)))
        for name, (index, _) in place.items():
            columns.setdefault(name, []).extend(plain(rows[i][index]) if rows[i] else "" for i in chosen)
        lines += [read + i + 1 for i in chosen]
        read += len(rows)
    if not columns:
        raise unreadable(answer, f"no column for {', '.join(sorted(missing))}")
    return Table(columns, factors, lines, read - len(lines))


def whole_rows(answer: Answer, table: Mapping[str, Any]) -> list[list[Any]]:
    """A table's rows, those of another length than its header as empty ones."""
    rows, width = table.get("data"), len(table["fields"])
    if not isinstance(rows, list):
        raise unreadable(answer, "a table without rows")
    total = table.get("totalCount", table.get("total", len(rows)))
    if isinstance(total, int) and total != len(rows):
        raise unreadable(answer, f"{len(rows)} rows of {total}")
    return [row if isinstance(row, list) and len(row) == width else [] for row in rows]


def records(
    answer: Answer, rows: object, needed: Sequence[str], wanted: Callable[[str], bool] | None = None
) -> Table:
    """A list of objects with the open data's English names as a table, as ``find`` makes it."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise unreadable(answer, "no list of rows")
    fields = list(rows[0])
    cells = [[row.get(name, "") for name in fields] for row in rows]
    return find(answer, [{"fields": fields, "data": cells}], needed, wanted)


def same_day(answer: Answer, said: object, day: date) -> None:
    """WrongAnswer where what the answer says of its date is not ``day``."""
    if read_day(str(said or "")) != day.toordinal():
        raise wrong(answer, f"the day {plain(said) or 'nobody named'}")


def same_title(answer: Answer, title: object, day: date, *, whole_month: bool = False) -> None:
    """WrongAnswer where a title names a date, in years of the Republic, and it is another one."""
    match = _ROC_DATE.search(plain(title))
    if match is None:
        return
    year, month = int(match[1]) + 1911, int(match[2])
    alike = (year, month) == (day.year, day.month)
    if not alike or (not whole_month and match[3] is not None and int(match[3]) != day.day):
        raise wrong(answer, f"«{plain(title)[:40]}»")


def wrong(answer: Answer, said: str) -> WrongAnswer:
    """The answer is about something else."""
    return WrongAnswer(
        f"{answer.site.name} answered {answer.what} with {said}: nothing of it was kept; "
        "it is asked again on the next run.",
        zh=f"{in_chinese(answer.site.name)}對{in_chinese(answer.what)}答非所問（{said}），沒有保留：下次更新會再問。",
    )


def no_data(answer: Answer) -> NoData:
    """The site has nothing for what was asked."""
    return NoData(
        f"{answer.site.name} has nothing for {answer.what}.",
        zh=f"{in_chinese(answer.site.name)}沒有{in_chinese(answer.what)}。",
    )


def unreadable(answer: Answer, why: str) -> Unreadable:
    """The answer is not of the known form."""
    return Unreadable(
        f"{answer.site.name} answered {answer.what} in a form that cannot be read ({why}): "
        "it is asked again on the next run; if that stays so, look for a newer stockllm.",
        zh=f"{in_chinese(answer.site.name)}對{in_chinese(answer.what)}的回應無法解讀（{why}）："
        "下次更新會再問；若一直如此，請更新 stockllm。",
    )


def plain(cell: object) -> str:
    """A cell as text: no tags, one width, no spaces around it."""
    if isinstance(cell, str):
        if "<" in cell:
            cell = _TAG.sub("", cell)
        return cell.strip() if cell.isascii() else unicodedata.normalize("NFKC", cell).strip()
    return "" if cell is None else str(cell)


def _place(fields: Sequence[object]) -> dict[str, tuple[int, int]]:
    """Our column names -> (position, factor); of two names for one thing the finer unit wins."""
    place: dict[str, tuple[int, int]] = {}
    for index, field in enumerate(fields):
        name = "".join(plain(field).split())
        if name in COLUMNS:
            ours, factor = COLUMNS[name]
            if ours not in place or factor < place[ours][1]:
                place[ours] = (index, factor)
    return place


def number(cell: str) -> float:
    """The number in a cell, NaN where there is none; thousands separators are understood."""
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return read_number(cell)
