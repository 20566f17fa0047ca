"""Colours. The theme names everything but rise and fall, which the user sets apart from it."""

from __future__ import annotations

from typing import Literal

from textual.theme import Theme

UpColour = Literal["red", "green"]

RED = "#f0524f"
GREEN = "#2fae75"

#: Names the styles use beyond Textual's own, with the values of the dark theme.
NAMES = {
    "text-quiet": "#8b96a5",
    "line": "#2a323e",
    "grid": "#262d38",
    "cursor": "#1f3a5f",
    "cursor-blurred": "#1a2431",
    "forecast": "#79b8ff",
    "simulated": "#f0b429",
    "ma5": "#f2c14e",
    "ma20": "#58a6ff",
    "ma60": "#c58af9",
    "cone80": "#1b2c44",
    "cone50": "#27466e",
    "tag": "#ffffff",
}

DARK = Theme(
    name="stockllm-dark",
    primary="#58a6ff",
    secondary="#79b8ff",
    warning="#f0b429",
    error="#f0524f",
    success="#2fae75",
    accent="#79b8ff",
    foreground="#d7dde5",
    background="#0d1117",
    surface="#0d1117",
    panel="#151b24",
    dark=True,
    variables=NAMES,
)


def rise_and_fall(up: UpColour) -> dict[str, str]:
    """``$up`` and ``$down``: Taiwan shows a rise in red, most of the world in green."""
    return {"up": RED, "down": GREEN} if up == "red" else {"up": GREEN, "down": RED}
