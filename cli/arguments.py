"""What several commands read from their arguments, and the sentence for what cannot be read."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from stockllm.data.errors import UsageError
from stockllm.market.moments import MOMENTS, Moment

if TYPE_CHECKING:
    from stockllm.data.records import PromptStyle


def day(text: str) -> date:
    """``2026-03-31`` -> a date; UsageError for anything else."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is no date: write it as YYYY-MM-DD, such as 2026-03-31.",
            zh=f"'{text}' 不是日期：請寫成 YYYY-MM-DD，例如 2026-03-31。",
        ) from None


def style(text: str) -> PromptStyle:
    """A prompt style by its name; UsageError for anything else."""
    if text == "compact":
        return "compact"
    if text == "reference":
        return "reference"
    raise UsageError(
        f"There is no prompt style '{text}': choose compact or reference.",
        zh=f"沒有名為 '{text}' 的提示格式：請選 compact 或 reference。",
    )


def moment(text: str) -> Moment:
    """A moment by its name; UsageError for anything else."""
    for known in MOMENTS:
        if text == known:
            return known
    raise UsageError(
        f"There is no moment '{text}': choose evening, morning or open.",
        zh=f"沒有名為 '{text}' 的時刻：請選 evening、morning 或 open。",
    )


def parts(text: str) -> list[str]:
    """``"a, b,,c"`` -> ``["a", "b", "c"]``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def whole(text: str, example: str, example_zh: str = "") -> int:
    """A whole number; UsageError, with how to write it, for anything else.

    ``example_zh`` is for an example that has words in it.
    """
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is no whole number: write {example}.",
            zh=f"'{text}' 不是整數：請寫成 {example_zh or example}。",
        ) from None
