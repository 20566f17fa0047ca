"""Colours. A theme is a look and a colour for a rise: eight in all, each known by its name."""

from __future__ import annotations

from typing import Literal

from textual.theme import Theme

UpColour = Literal["red", "green"]
Look = Literal["dark", "light", "contrast", "colour-blind"]

#: In the order of the key that walks along them.
LOOKS: tuple[Look, ...] = ("dark", "light", "contrast", "colour-blind")

#: The two colours of rise and fall in each look, the one that Taiwan rises in first. Orange and blue
#: stay apart for every common kind of colour blindness; their luminance differs too.
PAIRS: dict[Look, tuple[str, str]] = {
    "dark": ("#ff6b66", "#2fae75"),
    "light": ("#c8102e", "#00754a"),
    "contrast": ("#ff6b6b", "#3ddc84"),
    "colour-blind": ("#f5a623", "#4aa8ff"),
}

#: Names the styles use beyond Textual's own.
_NAMES: dict[Look, dict[str, str]] = {
    "dark": {
        "text-quiet": "#929dac",
        "line": "#2a323e",
        "grid": "#262d38",
        "cursor": "#1a3050",
        "cursor-blurred": "#1a2431",
        "forecast": "#79b8ff",
        "simulated": "#f0b429",
        "ma5": "#f2c14e",
        "ma20": "#58a6ff",
        "ma60": "#c58af9",
        "cone80": "#1b2c44",
        "cone50": "#27466e",
        "tag": "#0d1117",
    },
    "light": {
        "text-quiet": "#57606a",
        "line": "#d0d7de",
        "grid": "#e1e6eb",
        "cursor": "#d8eaff",
        "cursor-blurred": "#e4ebf3",
        "forecast": "#0550ae",
        "simulated": "#945700",
        "ma5": "#b07a00",
        "ma20": "#0969da",
        "ma60": "#8250df",
        "cone80": "#dbe9fb",
        "cone50": "#b3d1f7",
        "tag": "#ffffff",
    },
    "contrast": {
        "text-quiet": "#d0d0d0",
        "line": "#8a8a8a",
        "grid": "#4a4a4a",
        "cursor": "#002e70",
        "cursor-blurred": "#303030",
        "forecast": "#9fd0ff",
        "simulated": "#ffd000",
        "ma5": "#ffe14d",
        "ma20": "#66b7ff",
        "ma60": "#e2a8ff",
        "cone80": "#12325c",
        "cone50": "#1f5aa8",
        "tag": "#000000",
    },
    "colour-blind": {
        "text-quiet": "#9aa3af",
        "line": "#2a323e",
        "grid": "#262d38",
        "cursor": "#333347",
        "cursor-blurred": "#22242f",
        "forecast": "#e6e6fa",
        "simulated": "#f0e442",
        "ma5": "#f0e442",
        "ma20": "#b0b8c4",
        "ma60": "#d490c6",
        "cone80": "#26283c",
        "cone50": "#3d4062",
        "tag": "#000000",
    },
}

_GROUNDS: dict[Look, tuple[str, str, str]] = {
    "dark": ("#0d1117", "#151b24", "#d7dde5"),
    "light": ("#ffffff", "#f3f5f8", "#1f2328"),
    "contrast": ("#000000", "#101010", "#ffffff"),
    "colour-blind": ("#0d1117", "#151b24", "#e3e6ea"),
}

#: What ``$forecast`` and the others are in a theme that does not name them.
NAMES = _NAMES["dark"] | {"up": PAIRS["dark"][0], "down": PAIRS["dark"][1]}


def theme_name(look: Look, up: UpColour) -> str:
    """The name of the theme of a look and a colour for a rise."""
    return f"stockllm-{look}-{up}"


def themes() -> list[Theme]:
    """All eight. ``$up`` and ``$down`` are among their variables."""
    return [_theme(look, up) for look in LOOKS for up in ("red", "green")]


def _theme(look: Look, up: UpColour) -> Theme:
    ground, panel, front = _GROUNDS[look]
    names = _NAMES[look]
    first, second = PAIRS[look]
    rise, fall = (first, second) if up == "red" else (second, first)
    return Theme(
        name=theme_name(look, up),
        primary=names["forecast"],
        secondary=names["forecast"],
        warning=names["simulated"],
        error=first,
        success=second,
        accent=names["forecast"],
        foreground=front,
        background=ground,
        surface=ground,
        panel=panel,
        dark=look != "light",
        variables=names | {"up": rise, "down": fall},
    )
