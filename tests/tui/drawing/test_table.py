"""Rows of a table."""

from __future__ import annotations

from stockllm.tui.drawing.table import Cell, Lines


def test_rows_that_are_made_when_drawn_are_made_for_what_is_in_sight() -> None:
    asked: list[int] = []

    def cells(place: int) -> tuple[Cell, ...]:
        asked.append(place)
        return ((f"row {place}", "row"),)

    lines = Lines([str(number) for number in range(100_000)], cells)
    assert len(lines) == 100_000
    assert asked == []
    assert [line.key for line in lines[10:13]] == ["10", "11", "12"]
    assert lines[-1].cells == (("row -1", "row"),)
    assert asked == [10, 11, 12, -1]
