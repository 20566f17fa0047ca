"""Labels of the date axis: which sessions get one, and where it stands without touching another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from rich.cells import cell_len

from stockllm.tui.plot import Columns
from stockllm.tui.text import Language, month

#: Sessions in a month, about; decides how many months may be labelled.
_MONTH_SESSIONS = 21


@dataclass(frozen=True, slots=True)
class Label:
    """``text`` from cell ``x`` on; ``line`` is the column of the session it names."""

    x: int
    text: str
    line: int
    forecast: bool = False


def date_labels(dates: Sequence[date], columns: Columns, width: int, language: Language) -> tuple[Label, ...]:
    """Labels in ``width`` cells, left to right, with a blank between any two.

    The last observed day and the last forecast day always come first; months (or weeks, in a near
    view) take what room is left.
    """
    taken: list[Label] = []

    def place(label: Label) -> None:
        end = label.x + cell_len(label.text)
        free = all(end < other.x or label.x > other.x + cell_len(other.text) for other in taken)
        if label.x >= 0 and end <= width and free:
            taken.append(label)

    if columns.future:
        last = columns.history + columns.future - 1
        text = _short(dates[last])
        end = min(width, columns.start(last) + columns.cells(last))
        place(Label(end - len(text), text, columns.start(last), forecast=True))
    if columns.history:
        text = _short(dates[columns.history - 1])
        line = columns.start(columns.history - 1) + (columns.spacing - 1) // 2
        end = columns.divider if columns.divider is not None else width
        place(Label(end - len(text), text, line))
    for slot, text in _marks(dates[: columns.history], columns.spacing, language):
        line = columns.start(slot) + (columns.spacing - 1) // 2
        place(Label(line, text, line))
    return tuple(sorted(taken, key=lambda label: label.x))


def _short(day: date) -> str:
    return f"{day.month:02d}/{day.day:02d}"


def _marks(dates: Sequence[date], spacing: int, language: Language) -> Iterator[tuple[int, str]]:
    """The first sessions of months, or of weeks where a month is wider than 50 cells."""
    if _MONTH_SESSIONS * spacing > 50:
        for slot in range(1, len(dates)):
            if dates[slot].isocalendar()[:2] != dates[slot - 1].isocalendar()[:2]:
                yield slot, _short(dates[slot])
        return
    needed = 8 / (_MONTH_SESSIONS * spacing)
    stride = next((s for s in (1, 2, 3, 6) if s >= needed), 12)
    year: int | None = None
    for slot in range(1, len(dates)):
        day = dates[slot]
        if day.month != dates[slot - 1].month and (day.month - 1) % stride == 0:
            yield slot, month(day, language, with_year=year != day.year)
            year = day.year
