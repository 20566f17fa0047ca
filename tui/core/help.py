"""The help screen: the keys of the tab with what they do, and how to read what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from stockllm.tui.core.keys import COMMON, Key
from stockllm.tui.core.top_bar import TABS
from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.look.text import Language, pad

#: Keys that belong to lists and not to a screen; what they do is each tab's own.
MOVING = (("↑ ↓  j k", "move"), ("Enter", "enter"))


class HelpScreen(ModalScreen[None]):
    """Closes on the key that opened it, escape or q."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", id="help.close", tooltip="Close the help"),
        # A modal screen hides the keys of the app.
        Binding("l", "app.language", "Language", id="help.language", tooltip="Chinese or English"),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, tab: str, keys: Sequence[Key], notes: Sequence[str]) -> None:
        super().__init__()
        self.tab = tab
        self.set_reactive(HelpScreen.language, language)
        self.keys = (*keys, *COMMON)
        self.notes = tuple(notes)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(id="help-text")

    def on_mount(self) -> None:
        self.watch_language()

    def watch_language(self) -> None:
        for text in self.query("#help-text").results(Static):
            text.update(self.text())
        for box in self.query("#help"):
            box.border_title = t("help.title", self.language)

    def text(self) -> Content:
        """The help in the screen's language."""
        tabs = (f"1-{len(TABS)}", "help.tabs")
        moving = [(shown, name) for shown, key in MOVING if (name := f"help.{key}_{self.tab}") in TABLE]
        lines = [*moving, *((key.shown, f"help.{key.name}") for key in self.keys), tabs]
        margin = max(cell_len(shown) for shown, _ in lines) + 2
        pieces: list[str | tuple[str, str]] = []
        for shown, name in lines:
            pieces += [(pad(shown, margin), "bold $forecast"), t(name, self.language), "\n"]
        for name in self.notes:
            pieces += ["\n", (t(name, self.language), "$text-quiet"), "\n"]
        return Content.assemble(*pieces[:-1])
