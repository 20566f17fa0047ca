"""The ASCII charset: every line passes one filter, so that no widget needs to know of it.

Lines, blocks, arrows and braille are of ambiguous width: some terminals draw them two cells wide and
everything right of them slips. Each becomes one ASCII character, as wide as it was meant to be.
"""

from __future__ import annotations

from typing import Literal

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

Charset = Literal["blocks", "ascii"]

_GROUPS = {
    "|": "│╷╵┊┆║▏▎▍▌▐▕",
    "#": "█▀▄▆▇▅■▓▪┃╻╹╽╿▘▝▖▗",
    "-": "─━╶╴╺╸┈┄–—═▔",
    "_": "▁▂",
    "=": "▃",
    "+": "┼┴┬┌┐└┘├┤┷┯┿╭╮╰╯╋┏┓┗┛╔╗╚╝╔•",
    ".": "·",
    "^": "▲△↑",
    "v": "▼▽↓",
    ">": "▸▶→›",
    "<": "◂◀←‹",
    "*": "★●✓",
    "o": "○☆◯",
    "!": "⚠",
    "x": "✗×",
    "~": "░▒…",
}

#: Every glyph the dashboard draws beyond letters, to its stand-in.
GLYPHS = {ord(glyph): plain for plain, glyphs in _GROUPS.items() for glyph in glyphs}
GLYPHS |= {0x2800: " "} | {0x2800 + dots: "." for dots in range(1, 256)}


class AsciiFilter(LineFilter):
    """Replaces the glyphs of every segment; colours and widths stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The same segments in ASCII glyphs."""
        return [
            segment if segment.text.isascii() else segment._replace(text=segment.text.translate(GLYPHS))
            for segment in segments
        ]
