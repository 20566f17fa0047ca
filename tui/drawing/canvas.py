"""A grid of cells to draw a chart into: a glyph, an ink and a ground for every cell.

Inks and grounds are names ("up", "cone80", ...); the widget turns them into colours, so a theme
or a switch of red and green needs no new drawing logic. Nothing here knows Textual.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rich.cells import cell_len

#: Ground of a cell that nothing shades.
PLAIN = ""

#: Dots of a braille cell by (column, row from the top), U+2800 plus their sum is the glyph.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class Canvas:
    """``height`` rows of ``width`` cells."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.glyphs = [[" "] * width for _ in range(height)]
        self.inks = [["text"] * width for _ in range(height)]
        self.grounds = [[PLAIN] * width for _ in range(height)]

    def put(self, row: int, x: int, glyph: str, ink: str) -> None:
        """One glyph of one cell; the ground stays. Outside the canvas nothing happens.

        Over one half of a wide character the other half turns blank: half a character would shift
        everything right of it.
        """
        if 0 <= row < self.height and 0 <= x < self.width:
            line = self.glyphs[row]
            if line[x] == "":
                line[x - 1] = " "
            elif x + 1 < self.width and line[x + 1] == "":
                line[x + 1] = " "
            line[x] = glyph
            self.inks[row][x] = ink

    def shade(self, row: int, x: int, ground: str) -> None:
        """The ground of one cell."""
        if 0 <= row < self.height and 0 <= x < self.width:
            self.grounds[row][x] = ground

    def text(self, row: int, x: int, text: str, ink: str, ground: str | None = None) -> int:
        """Writes ``text`` from cell ``x``; returns the cell after it.

        A character that is two cells wide takes both; one that would stick out is left away.
        """
        for character in text:
            cells = 1 if character.isascii() else cell_len(character)
            if x < 0 or x + cells > self.width or not 0 <= row < self.height:
                break
            self.put(row, x, character, ink)
            for extra in range(1, cells):
                self.put(row, x + extra, "", ink)
            if ground is not None:
                for cell in range(x, x + cells):
                    self.grounds[row][cell] = ground
            x += cells
        return x

    def free(self, row: int, x: int) -> bool:
        """Whether the cell is on the canvas and carries no glyph yet."""
        return 0 <= row < self.height and 0 <= x < self.width and self.glyphs[row][x] == " "

    def runs(self, row: int) -> Iterator[tuple[str, str, str]]:
        """The row as (text, ink, ground), neighbours of one look joined."""
        inks, grounds = self.inks[row], self.grounds[row]
        # A blank shows no ink, so it may join whatever stands on the same ground before it.
        run: list[str] = []
        ink, ground = "text", grounds[0] if grounds else PLAIN
        for glyph, own, under in zip(self.glyphs[row], inks, grounds, strict=True):
            if under != ground or (own != ink and glyph != " "):
                if run:
                    yield "".join(run), ink, ground
                    run = []
                ground = under
                if glyph != " ":
                    ink = own
            run.append(glyph)
        if run:
            yield "".join(run), ink, ground

    def plain(self) -> str:
        """The glyphs alone, one line a row; for tests and logs."""
        return "\n".join("".join(row).rstrip() for row in self.glyphs)


class Dots:
    """A thin line of braille dots, two across and four down in every cell, for one canvas."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.cells: dict[tuple[int, int], tuple[int, str]] = {}

    def line(self, points: list[tuple[float, float]], ink: str) -> None:
        """Joins ``points`` (x in cells, y in rows, both from the top left) with dots.

        Points outside the canvas are not drawn, nor moved to its edge. Where two lines meet in a
        cell the later one gives the colour, as a cell has only one.
        """
        for (x0, y0), (x1, y1) in pairwise(points):
            steps = max(1, round(max(abs(x1 - x0) * 2, abs(y1 - y0) * 4)))
            for step in range(steps + 1):
                share = step / steps
                self._dot(int((x0 + (x1 - x0) * share) * 2), int((y0 + (y1 - y0) * share) * 4), ink)

    def _dot(self, x: int, y: int, ink: str) -> None:
        if 0 <= x < self.width * 2 and 0 <= y < self.height * 4:
            key = (y // 4, x // 2)
            mask = self.cells.get(key, (0, ink))[0]
            self.cells[key] = (mask | _DOTS[x % 2][y % 4], ink)

    def draw(self, canvas: Canvas, row: int = 0) -> None:
        """Puts the dots on ``canvas``, ``row`` rows down, wherever it is still free."""
        for (cell_row, x), (mask, ink) in self.cells.items():
            if canvas.free(row + cell_row, x):
                canvas.put(row + cell_row, x, chr(0x2800 + mask), ink)
