"""Text put into a box of a screen."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


def say(box: Static, said: str | Content) -> None:
    """Put ``said`` into ``box`` if it is not there already: an update lays out the whole screen anew."""
    there, said = box.content, Content(said) if isinstance(said, str) else said
    if not isinstance(there, Content) or not there.is_same(said):
        box.update(said)
