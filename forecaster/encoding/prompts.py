"""Two ways to put a window of days into words, as chat messages.

``compact`` is five short numbers a day (see docs/architecture.md); it names neither the company nor
a date, so that a base model cannot answer from what it has read about them. ``reference`` is the
text of the system that stockllm succeeds, to the letter, with any subset of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import UsageError
from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.codec import BOUND, Encoded, encode
from stockllm.forecaster.encoding.tokenizer import volatility_labels
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.encoding.words import LETTERS, UNKNOWN, Words, letter

Message = dict[str, str]
Field = Literal["Open", "High", "Low", "Close", "Capacity", "Change", "Turnover", "Transaction"]

#: The fields of the reference's documentation, in its order.
REFERENCE_FIELDS: tuple[Field, ...] = ("Open", "High", "Low", "Close", "Capacity")
ALL_FIELDS: tuple[Field, ...] = (*REFERENCE_FIELDS, "Change", "Turnover", "Transaction")

#: The compact style in its two versions; adapters and base models say which they speak.
CompactVersion = Literal[1, 2]
NEWEST: CompactVersion = 2

COMPACT_SYSTEM_2 = (
    "Daily candles of a stock: market world place width, open close upper lower in eighths of its "
    "volatility, volume."
)
COMPACT_SYSTEM = "Daily candles of a stock: open high low close volume, in eighths of its volatility."
REFERENCE_SYSTEM = (
    "You are a stock trader. Given a company and the past days of its stock price, "
    "predict the next n days of its stock price."
)


@dataclass(frozen=True, slots=True)
class Example:
    """One training example, in the conversational prompt and completion form."""

    prompt: list[Message]
    completion: list[Message]

    def row(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "completion": self.completion}


def parse_fields(text: str) -> tuple[Field, ...]:
    """Fields from a comma-separated list such as ``Open,Close``, in the order of ALL_FIELDS.

    :raises UsageError: for an empty list or a name that is no field.
    """
    known = {name.lower(): name for name in ALL_FIELDS}
    names = {part.strip().lower() for part in text.split(",") if part.strip()}
    if not names or names - known.keys():
        raise UsageError(
            f"'{text}' does not name prompt fields; choose some of {', '.join(ALL_FIELDS)}, with commas.",
            zh=f"'{text}' 不是提示欄位：請從 {', '.join(ALL_FIELDS)} 中選擇，以逗號分隔。",
        )
    return tuple(field for name, field in known.items() if name in names)


def prompt_messages(
    window: Window,
    style: PromptStyle,
    *,
    fields: Sequence[Field] = REFERENCE_FIELDS,
    context: str = "",
    version: CompactVersion = NEWEST,
) -> list[Message]:
    """System and user message for a window; ``context`` (news) joins the reference's system text."""
    if style == "compact" and version == 2:
        return [
            {"role": "system", "content": COMPACT_SYSTEM_2},
            {"role": "user", "content": _question_2(window)},
        ]
    if style == "compact":
        return [
            {"role": "system", "content": COMPACT_SYSTEM},
            {"role": "user", "content": _compact_question(window)},
        ]
    system = f"{REFERENCE_SYSTEM}\n\n{context}" if context else REFERENCE_SYSTEM
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": _reference_question(window, fields)},
    ]


def beginning(window: Window, style: PromptStyle, version: CompactVersion = NEWEST) -> str:
    """What every answer to a window begins with, because it is known: the first line's words, or nothing."""
    if style != "compact" or version != 2:
        return ""
    return " ".join(letter(word) for word in _words_of(window).lines[-1].tolist())


def training_messages(
    window: Window,
    style: PromptStyle,
    *,
    fields: Sequence[Field] = REFERENCE_FIELDS,
    context: str = "",
    version: CompactVersion = NEWEST,
) -> Example:
    """The prompt and the true answer of a window whose future is known."""
    prompt = prompt_messages(window, style, fields=fields, context=context, version=version)
    if style == "reference":
        answer = _reference_answer(window, fields)
    else:
        answer = _answer_2(window) if version == 2 else _compact_answer(window)
    return Example(prompt, [{"role": "assistant", "content": answer}])


# --- compact, second version --------------------------------------------------------------------


def shadows(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days (n, 4) of open, high, low and close as open, close, upper and lower shadow, all in steps."""
    opened, high, low, close = np.moveaxis(steps, -1, 0)
    upper = np.clip(high - np.maximum(opened, close), 0, BOUND)
    lower = np.clip(np.minimum(opened, close) - low, 0, BOUND)
    return np.stack((opened, close, upper, lower), axis=-1)


def line_2(words: Sequence[int] | None, day: Sequence[int], bucket: int) -> str:
    """One day: its words (one ``?`` where there are none), then open, close, shadows and volume."""
    before = " ".join(letter(w) for w in words) if words is not None else UNKNOWN
    opened, close, upper, lower = (int(n) for n in day)
    return f"{before} {opened:+d} {close:+d} {upper} {lower} {LETTERS[int(bucket)]}"


def head_2(sigma: float, words: Words) -> str:
    """The head of a question: the volatility the lines start from, and what is said of a week and a month."""
    place5, width5, place20, width20 = (letter(int(w)) for w in words.heads)
    return f"volatility {volatility_label(sigma)}\nweek {place5} {width5} month {place20} {width20}"


def _words_of(window: Window) -> Words:
    return window.words if window.words is not None else Words.unknown(window.past)


def _question_2(window: Window) -> str:
    past, words = encode(window.history)[-window.past :], _words_of(window)
    lines = [
        line_2(known, day, bucket)
        for known, day, bucket in zip(
            words.lines[:-1].tolist(), shadows(past.steps).tolist(), past.buckets.tolist(), strict=True
        )
    ]
    head = head_2(float(past.sigma[0]), words)
    return "\n".join((head, *lines, f"Predict the next {_days(len(window.future_dates))}:"))


def _answer_2(window: Window) -> str:
    known = encode(window.history.then(window.future))[len(window.history) :]
    first = _words_of(window).lines[-1].tolist()
    return "\n".join(
        line_2(first if i == 0 else None, day, bucket)
        for i, (day, bucket) in enumerate(
            zip(shadows(known.steps).tolist(), known.buckets.tolist(), strict=True)
        )
    )


# --- compact, first version ---------------------------------------------------------------------


def volatility_label(sigma: float) -> str:
    """The nearest of the volatilities that a compact prompt can name; ``sigma`` is daily, 0.02 = 2%."""
    labels = volatility_labels()
    position = np.log(sigma / 0.005) / np.log(20.0) * (len(labels) - 1)
    return labels[int(np.clip(round(float(position)), 0, len(labels) - 1))]


def compact_line(steps: Sequence[int], bucket: int) -> str:
    """One day: open, high, low, close in steps, and the volume bucket."""
    return " ".join(f"{int(n):+d}" for n in steps) + f" {int(bucket)}"


def compact_answer(encoded: Encoded) -> str:
    """The lines of some days, oldest first."""
    return "\n".join(compact_line(s, b) for s, b in zip(encoded.steps, encoded.buckets, strict=True))


def compact_question(past: Encoded, future: int) -> str:
    """The user's turn: the volatility the lines start from, the lines, and how many days to say."""
    return (
        f"volatility {volatility_label(float(past.sigma[0]))}\n{compact_answer(past)}\n"
        f"Predict the next {_days(future)}:"
    )


def _compact_question(window: Window) -> str:
    return compact_question(encode(window.history)[-window.past :], len(window.future_dates))


def _compact_answer(window: Window) -> str:
    known = encode(window.history.then(window.future))
    return compact_answer(known[len(window.history) :])


def _days(n: int) -> str:
    return "1 day" if n == 1 else f"{n} days"


# --- reference -------------------------------------------------------------------------------


def price_text(price: float) -> str:
    """A price as the reference writes it: at least one decimal, no trailing zeros beyond it."""
    # Adding 0 turns a difference that rounds to -0 into 0.
    text = f"{round(price, 2) + 0.0:.2f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _reference_rows(series: BarSeries, fields: Sequence[Field]) -> list[str]:
    rows = []
    for i, day in enumerate(series.dates):
        parts = [f"{name}: {_reference_value(series, i, name)}" for name in fields]
        rows.append(f"Date: {day.isoformat()}, " + ", ".join(parts))
    return rows


def _reference_value(series: BarSeries, i: int, name: Field) -> str:
    match name:
        case "Capacity":
            return str(int(series.volume[i]))
        case "Open" | "High" | "Low" | "Close":
            return price_text(float(getattr(series, name.lower())[i]))
        case "Change":
            return price_text(float(series.close[i] - series.reference[i]))
        case "Turnover" | "Transaction":
            column = series.value if name == "Turnover" else series.trades
            if column is None or not np.isfinite(column[i]):
                raise UsageError(
                    f"{name} of {series.code} is not known for {series.dates[i]}: "
                    f"leave {name} out of the fields.",
                    zh=f"{series.code} 在 {series.dates[i]} 的 {name} 未知：請不要把 {name} 放進欄位。",
                )
            return str(int(column[i]))


def _reference_question(window: Window, fields: Sequence[Field]) -> str:
    past, future = window.past, len(window.future_dates)
    asked = "date price" if future == 1 else f"{future} dates price"
    rows = "\n".join(_reference_rows(window.history[-past:], fields))
    return (
        f"Here is past {_days(past)} stock price of {window.name} company.\n\n{rows}\n"
        f"Predict the next {asked}:\n"
    )


def reference_opening(future: int) -> str:
    """What the assistant's turn begins with, before the first date."""
    return f"The next {_days(future)} price is: Date:\n "


def _reference_answer(window: Window, fields: Sequence[Field]) -> str:
    rows = [row.removeprefix("Date: ") for row in _reference_rows(window.future, fields)]
    return reference_opening(len(rows)) + "\n ".join(rows) + "\n"
