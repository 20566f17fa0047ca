"""Labels of the date axis: which sessions get one, and where it stands without touching another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from rich.cells import cell_len

from stockllm.tui.drawing.plot import Columns
from stockllm.tui.look.text import Language, month


@dataclass(frozen=True, slots=True)
class Label:
    """``text`` from cell ``x`` on; ``line`` is the column of the session it names."""

    x: int
    text: str
    line: int
    forecast: bool = False


def date_labels(
    dates: Sequence[date], columns: Columns, width: int, language: Language, per_month: float = 21
) -> tuple[Label, ...]:
    """Labels in ``width`` cells, left to right, with a blank between any two.

    ``per_month`` is about how many bars a month has.

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
    for slot, text in _marks(dates[: columns.history], columns.spacing, language, per_month):
        line = columns.start(slot) + (columns.spacing - 1) // 2
        place(Label(line, text, line))
    return tuple(sorted(taken, key=lambda label: label.x))


def _short(day: date) -> str:
    return f"{day.month:02d}/{day.day:02d}"


def _marks(
    dates: Sequence[date], spacing: int, language: Language, per_month: float
) -> Iterator[tuple[int, str]]:
    """The first bars of months or years, or of weeks where a month is wider than 50 cells."""
    if per_month * spacing > 50:
        for slot in range(1, len(dates)):
            if dates[slot].isocalendar()[:2] != dates[slot - 1].isocalendar()[:2]:
                yield slot, _short(dates[slot])
        return
    needed = 8 / (per_month * spacing)
    stride = next((s for s in (1, 2, 3, 6, 12, 24) if s >= needed), 60)
    if stride >= 12 or per_month < 1:
        for slot in range(1, len(dates)):
            year = dates[slot].year
            if year != dates[slot - 1].year and year % max(1, stride // 12) == 0:
                yield slot, str(year)
        return
    shown: int | None = None
    for slot in range(1, len(dates)):
        day = dates[slot]
        if day.month != dates[slot - 1].month and (day.month - 1) % stride == 0:
            yield slot, month(day, language, with_year=shown != day.year)
            shown = day.year
