"""Every look can be read: contrast as WCAG 2 reckons it, 4.5 to 1 for words and 3 to 1 for lines."""

from __future__ import annotations

import pytest
from textual.theme import Theme

from stockllm.tui.look.theme import themes

WORDS = ("foreground", "text-quiet", "up", "down", "forecast", "simulated")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", themes(), ids=lambda theme: theme.name)
def test_words_and_lines_stand_out(theme: Theme) -> None:
    names = theme.variables | {
        "foreground": str(theme.foreground), "background": str(theme.background), "panel": str(theme.panel),
    }  # fmt: skip
    faint = {
        (word, ground): round(contrast(names[word], names[ground]), 2)
        for word in WORDS
        for ground in ("background", "panel", "cursor", "cursor-blurred")
        if contrast(names[word], names[ground]) < 4.5
    }
    assert faint == {}
    assert min(contrast(names[line], names["background"]) for line in ("ma5", "ma20", "ma60")) >= 3
    assert min(contrast(names["tag"], names[ground]) for ground in ("up", "down")) >= 4.5
