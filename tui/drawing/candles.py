"""The glyphs of candles: solid ones for days that were observed, hollow ones for days forecast."""

from __future__ import annotations

from stockllm.tui.drawing.canvas import Canvas
from stockllm.tui.drawing.plot import Halves

#: Glyph of a cell by what its upper and lower half hold: 0 nothing, 1 wick, 2 body.
LINES = {
    (0, 0): " ",
    (0, 1): "╷",
    (1, 0): "╵",
    (1, 1): "│",
    (0, 2): "╻",
    (2, 0): "╹",
    (2, 2): "┃",
    (1, 2): "╽",
    (2, 1): "╿",
}

#: The same for a body as wide as its cell. No glyph shows a wick and such a body in one cell; the
#: line form at least keeps them joined. Wider bodies never need one, see ``_joined``.
BLOCKS = LINES | {(0, 2): "▄", (2, 0): "▀", (2, 2): "█"}

#: A wide body of half a row: a heavy bar with the wick (above, below) through it.
BARS = {(False, False): "━", (True, False): "┷", (False, True): "┯", (True, True): "┿"}

#: The left and right cell of a body that ends in the middle of a cell, by (upper, lower) half.
LEFT = {(1, 1): "▐", (1, 0): "▝", (0, 1): "▗"}
RIGHT = {(1, 1): "▌", (1, 0): "▘", (0, 1): "▖"}


def solid(canvas: Canvas, top: int, x: int, cells: int, shape: Halves, ink: str) -> None:
    """One observed candle in ``cells`` cells from ``x``, the plot's first row being ``top``.

    Its body is a heavy line in one cell, else blocks with a gap to the next candle.
    """
    glyphs = LINES if cells == 1 else BLOCKS
    shape = _joined(shape) if cells > 2 else shape
    centre = x + (cells - 1) // 2
    for row in range(shape.top // 2, shape.bottom // 2 + 1):
        upper, lower = _part(shape, row * 2), _part(shape, row * 2 + 1)
        canvas.put(top + row, centre, glyphs[upper, lower], ink)
        if cells > 2 and 2 in (upper, lower):
            _sides(canvas, top + row, centre, cells, shape, (int(upper == 2), int(lower == 2)), ink)


def _part(shape: Halves, half: int) -> int:
    """What the half row holds: 0 nothing, 1 wick, 2 body."""
    return (shape.top <= half <= shape.bottom) + (shape.body_top <= half <= shape.body_bottom)


def _sides(
    canvas: Canvas, row: int, centre: int, cells: int, shape: Halves, body: tuple[int, int], ink: str
) -> None:
    """A wide body to the left and right of the wick; ``body`` is its (upper, lower) half."""
    middle, left, right = BLOCKS[body[0] * 2, body[1] * 2], LEFT[body], RIGHT[body]
    if shape.body_top == shape.body_bottom:
        middle, left, right = "━", "╺", "╸"
        through = BARS[shape.top < shape.body_top, shape.bottom > shape.body_bottom]
        canvas.put(row, centre, through, ink)
    sides = (cells - 1) // 2 if cells < 7 else (cells - 2) // 2
    for side in range(1, sides + 1):
        # An odd number of cells leaves the gap by ending the body in the middle of two of them.
        ends = side == sides and cells % 2 == 1 and cells < 7
        canvas.put(row, centre - side, left if ends else middle, ink)
        canvas.put(row, centre + side, right if ends else middle, ink)


def _joined(shape: Halves) -> Halves:
    """A wide body ends with its cell where a wick goes on, so that the two stay joined.

    The end of the cell inside the body is the nearer one: the error is less than half a row. A
    body of half a row is left to ``BARS``.
    """
    body_top, body_bottom = shape.body_top, shape.body_bottom
    if shape.top < body_top and body_top % 2 == 1 and body_top < body_bottom:
        body_top += 1
    if shape.bottom > body_bottom and body_bottom % 2 == 0 and body_top < body_bottom:
        body_bottom -= 1
    return Halves(shape.top, body_top, body_bottom, shape.bottom)


def hollow(canvas: Canvas, top: int, x: int, cells: int, shape: Halves, ink: str) -> None:
    """One forecast candle: a box three cells wide, or a double line where there is one cell."""
    centre = x + (cells - 1) // 2
    first, last = shape.body_top // 2, shape.body_bottom // 2
    for row in range(shape.top // 2, shape.bottom // 2 + 1):
        above, below = row > shape.top // 2, row < shape.bottom // 2
        if not first <= row <= last:
            half = (int(shape.top <= row * 2), int(row * 2 + 1 <= shape.bottom))
            canvas.put(top + row, centre, LINES[half], ink)
        elif cells < 3:
            canvas.put(top + row, centre, "║", ink)
        else:
            canvas.text(top + row, centre - 1, _box(row == first, row == last, above, below), ink)


def _box(first: bool, last: bool, above: bool, below: bool) -> str:
    if first and last:
        return {(1, 1): "╶┼╴", (1, 0): "╶┴╴", (0, 1): "╶┬╴", (0, 0): "╶─╴"}[above, below]
    if first:
        return "┌┴┐" if above else "┌─┐"
    if last:
        return "└┬┘" if below else "└─┘"
    return "│ │"
