"""One row a key: the bindings, the footer, the help and the palette are all made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from stockllm.tui.strings import TABLE


@dataclass(frozen=True, slots=True)
class Key:
    """``keys`` as Textual names them, ``shown`` as a keyboard does.

    ``action`` carries its namespace ("screen.forecast", "app.quit"). ``key.NAME`` is the footer's
    word for it, ``help.NAME`` the sentence of help, palette and tooltip. ``footer`` is False for
    keys that only the help and the palette list.
    """

    keys: str
    shown: str
    action: str
    name: str
    footer: bool = True


def bindings(keys: Sequence[Key], place: str) -> list[BindingType]:
    """The bindings of a screen or the app; their ids begin with ``place``."""
    return [
        Binding(
            key.keys,
            key.action,
            TABLE[f"help.{key.name}"][1],
            show=key.footer,
            id=f"{place}.{key.name}",
            tooltip=TABLE[f"help.{key.name}"][1],
        )
        for key in keys
    ]


#: Keys of every tab. The last three are the ones a footer leaves out last.
COMMON = (
    Key("l", "l", "app.language", "language"),
    Key("c", "c", "app.colours", "colours"),
    Key("t", "t", "app.look", "look"),
    Key("e", "e", "screen.export", "export"),
    Key("r", "r", "screen.reload", "reload"),
    Key("colon,ctrl+p", ":", "app.palette", "palette"),
    Key("question_mark", "?", "app.help", "help"),
    Key("q", "q", "app.quit", "quit"),
)
