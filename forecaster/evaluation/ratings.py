"""A sheet on which people rate answers from 1 to 5, and what their ratings come to.

The sheet is CSV in UTF-8 with a byte order mark, which spreadsheets open with its Chinese whole. Each
rater fills a copy; copies are read back together, whatever a spreadsheet made of their encoding and
separators. A row is known by a digest of its question and answer, so that ratings of other texts are
not mixed in.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stockllm.data.errors import ImportFailed, StoreError, UsageError
from stockllm.forecaster.evaluation.metrics import Floats
from stockllm.forecaster.evaluation.quality import Quality

#: Rows of a sheet: enough to tell models apart, few enough to rate in an evening.
ROWS = 100
LOWEST, HIGHEST = 1, 5
COLUMNS = ("id", "task", "code", "date", "question", "answer", "rating", "comment")
#: What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rater's ratings by the rows' ids; a row without one is in ``rows`` alone."""

    path: Path
    rows: dict[str, str]
    ratings: dict[str, int]


def write_sheet(quality: Quality, target: Path) -> int:
    """Write up to `ROWS` samples, spread over the tasks, with an empty column to fill; how many.

    :raises UsageError: where the file is there already: it may hold somebody's ratings.
    :raises StoreError: where it cannot be written.
    """
    target = target.expanduser().absolute()
    if target.exists():
        raise UsageError(
            f"{target} is there already and may hold ratings: name another file for --sheet.",
            zh=f"{target} 已經存在，可能有人填過分數：請為 --sheet 指定另一個檔案。",
        )
    text = io.StringIO(newline="")
    sheet = csv.writer(text)  # commas and CRLF, as spreadsheets write it
    sheet.writerow(COLUMNS)
    by_task = [[s for s in quality.samples if s.task == task] for task in quality.ask.tasks]
    turns = [s for turn in range(max(map(len, by_task))) for s in (t[turn] for t in by_task if turn < len(t))]
    chosen = {_id(s.question, s.answer): s for s in turns}  # one row for an answer given twice
    rows = list(chosen.items())[:ROWS]
    for name, s in rows:
        cells = (name, s.task, s.code, s.evening.isoformat(), s.question, s.answer, "", "")
        sheet.writerow([_plain(cell) for cell in cells])
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.write_bytes(text.getvalue().encode("utf-8-sig"))
        os.replace(beside, target)
    except OSError as error:
        beside.unlink(missing_ok=True) if beside.parent.is_dir() else None
        raise StoreError(
            f"The sheet cannot be written to {target} ({error.strerror or error}): name a file in a folder "
            "that can be written.",
            zh=f"無法寫入 {target}（{error.strerror or error}）：請指定可寫入的資料夾中的檔案。",
        ) from error
    return len(rows)


def _id(question: str, answer: str) -> str:
    return hashlib.sha256(f"{question}\0{answer}".encode()).hexdigest()[:12]


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: ``+12 +45`` would be one."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def read_sheet(path: Path) -> Sheet:
    """A filled sheet.

    :raises ImportFailed: where it cannot be read, is no sheet of ours, or has a rating that is none.
    """
    rows = _table(path)
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not {"id", "answer", "rating"} <= set(header):
        raise ImportFailed(
            f"{path} is no rating sheet: it needs the columns id, answer and rating, as --sheet writes them.",
            zh=f"{path} 不是評分表：需要 id、answer、rating 欄，如 --sheet 所寫。",
        )
    at = {name: header.index(name) for name in ("id", "answer", "rating")}
    there: dict[str, str] = {}
    ratings: dict[str, int] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        name, answer, given = (row[i].strip() if i < len(row) else "" for i in at.values())
        if not name or name in there:
            raise ImportFailed(
                f"{path}, row {number}: the id is {'missing' if not name else 'there twice'}; leave every "
                "column but rating and comment as it was.",
                zh=f"{path} 第 {number} 列：id {'不見了' if not name else '重複'}；除了 rating 與 comment，"
                "請保持原樣。",
            )
        there[name] = answer
        if given:
            ratings[name] = _rating(given, path, number)
    if not ratings:
        raise ImportFailed(
            f"{path} has no rating in it: fill the column rating with {LOWEST} to {HIGHEST}.",
            zh=f"{path} 裡沒有任何分數：請在 rating 欄填入 {LOWEST} 到 {HIGHEST}。",
        )
    return Sheet(path, there, ratings)


def _rating(given: str, path: Path, number: int) -> int:
    """``4``, ``4.0`` or full-width ``４``."""
    try:
        value = float(unicodedata.normalize("NFKC", given))
    except ValueError:
        value = 0.0
    if value not in range(LOWEST, HIGHEST + 1):
        raise ImportFailed(
            f"{path}, row {number}: '{given[:20]}' is no rating; write a whole number from {LOWEST} to "
            f"{HIGHEST}, or leave it empty.",
            zh=f"{path} 第 {number} 列：「{given[:20]}」不是分數；請填 {LOWEST} 到 {HIGHEST}，或留空。",
        )
    return int(value)


def _table(path: Path) -> list[list[str]]:
    """The cells of a file as spreadsheets save one: UTF-8, UTF-16 or Big5; commas, semicolons or tabs."""
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise ImportFailed(
            f"{path} cannot be read ({error.strerror or error}): name a filled sheet.",
            zh=f"無法讀取 {path}（{error.strerror or error}）：請指定填好的評分表。",
        ) from error
    for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp950"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise ImportFailed(
            f"{path} is no text that can be read: save it as CSV in UTF-8.",
            zh=f"{path} 不是可讀的文字：請存成 UTF-8 的 CSV。",
        )
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise ImportFailed(
            f"{path} is no CSV ({error}): save it as CSV in UTF-8.",
            zh=f"{path} 不是 CSV（{error}）：請存成 UTF-8 的 CSV。",
        ) from error


def summary(sheets: Sequence[Sheet]) -> dict[str, Any]:
    """Mean and agreement of one or more raters of the same sheet.

    ``alpha`` is Krippendorff's for interval data, 1 where raters agree and 0 where they might as well
    draw lots; None with one rater, or where nobody differs from anybody on anything.

    :raises UsageError: where the sheets are not of the same samples.
    """
    first = sheets[0]
    for sheet in sheets[1:]:
        if set(sheet.rows) != set(first.rows):
            raise UsageError(
                f"{sheet.path} and {first.path} hold different samples: rate copies of one sheet.",
                zh=f"{sheet.path} 與 {first.path} 的樣本不同：請評同一份評分表的副本。",
            )
    table = np.array([[s.ratings.get(name, np.nan) for s in sheets] for name in first.rows], dtype=np.float64)
    given = table[~np.isnan(table)]
    pairs = _pairs(table)
    return {
        "raters": len(sheets),
        "samples": len(table),
        "rated": int((~np.isnan(table)).any(axis=1).sum()),
        "ratings": len(given),
        "mean": float(given.mean()),
        "standard_deviation": float(given.std(ddof=1)) if len(given) > 1 else None,
        "counts": {str(n): int((given == n).sum()) for n in range(LOWEST, HIGHEST + 1)},
        "means": {str(s.path): float(np.mean(list(s.ratings.values()))) for s in sheets},
        "pairs": len(pairs),
        "equal": float((pairs == 0).mean()) if len(pairs) else None,
        "within_one": float((pairs <= 1).mean()) if len(pairs) else None,
        "alpha": krippendorff(table),
    }


def _pairs(table: Floats) -> Floats:
    """Differences of every two ratings of the same sample."""
    found = []
    for row in table:
        values = row[~np.isnan(row)]
        found += [abs(a - b) for i, a in enumerate(values) for b in values[i + 1 :]]
    return np.array(found)


def krippendorff(table: Floats) -> float | None:
    """Krippendorff's alpha of interval data; ``table`` (samples, raters) with NaN where none was given.

    1 - observed over expected disagreement, squared differences, after Krippendorff, "Computing
    Krippendorff's alpha-reliability" (2011). None where there is nothing to compare.
    """
    rated = [row[~np.isnan(row)] for row in table]
    rated = [row for row in rated if len(row) > 1]
    if not rated:
        return None
    every = np.concatenate(rated)
    n = len(every)
    observed = sum(((row[:, None] - row[None]) ** 2).sum() / (len(row) - 1) for row in rated) / n
    expected = ((every[:, None] - every[None]) ** 2).sum() / (n * (n - 1))
    return None if expected == 0 else float(1 - observed / expected)
