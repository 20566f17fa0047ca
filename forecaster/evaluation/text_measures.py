"""What can be counted in a text: numbers that stand in its context, a note of risk, percentiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

#: A day is one thing to get right, not three; then numbers, with thousands set apart or not.
_NUMBER = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
#: Counting points of a list are no figures of it.
_POINT = re.compile(r"^\s*\(?\d{1,2}[.)、]\s", re.MULTILINE)

#: That a text says it is no advice or foretells nothing; the word risk alone is no note.
_NOTE = re.compile(
    r"風險(提示|聲明|警語|提醒)|投資(一定)?有風險|不(構成|是|作為|屬於|代表)[^。\n]{0,8}(投資)?建議|非投資建議"
    r"|不能預測|無法預測|不保證|不代表未來|僅供參考|審慎評估"
    r"|risk (note|warning|disclaimer)|\b(not?|never|n't)\b[^.\n]{0,40}\badvice\b|no guarantee|not guarantee"
    r"|past performance|foretells nothing|(not|cannot|can't) (predict|foretell)|at your own risk"
    r"|not[^.\n]{0,30}recommendation to",
    re.IGNORECASE,
)


def numbers(text: str) -> list[str]:
    """The numbers and days of a text in one spelling: ``1,005.50`` is ``1005.5``; signs and % are dropped."""
    found = []
    for match in _NUMBER.findall(_POINT.sub(" ", text.translate(_FULL_WIDTH))):
        if "-" in match:
            found.append(match)
        else:
            found.append(format(Decimal(match.replace(",", "")).normalize(), "f"))
    return found


_FULL_WIDTH = {ord("０") + digit: ord("0") + digit for digit in range(10)} | {ord("．"): ord(".")}


def numbers_in_context(answer: str, context: str) -> tuple[int, int]:
    """How many of an answer's numbers stand in its context, and how many it has.

    A figure that was worked out, a mean say, does not stand there: the share of honest answers is
    below one, and is to be read beside that of the answers known to be right.
    """
    known = set(numbers(context))
    said = numbers(answer)
    return sum(number in known for number in said), len(said)


def has_risk_note(text: str) -> bool:
    """Whether a text says, in Chinese or English, that it is no advice or foretells nothing."""
    return _NOTE.search(text) is not None


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """``p50``, ``p95`` and ``p99``: the smallest of the values that as many are at or below."""
    values = np.sort(np.asarray(seconds, dtype=np.float64))
    return {
        f"p{level}": float(np.quantile(values, level / 100, method="inverted_cdf")) for level in (50, 95, 99)
    }
