"""The help screen: every key with what it does, and how to read marks and forecast."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from stockllm.tui.strings import t
from stockllm.tui.text import Language, pad

#: Keys as a keyboard names them, and the text of each.
LINES = (
    ("↑ ↓  j k", "help.move"),
    ("Enter", "help.enter"),
    ("f", "help.forecast"),
    ("+ -  [ ]", "help.zoom"),
    ("/", "help.filter"),
    ("p", "help.panel"),
    ("l", "help.language"),
    ("c", "help.colours"),
    ("r", "help.reload"),
    ("?", "help.help"),
    ("q", "help.quit"),
)


class HelpScreen(ModalScreen[None]):
    """Closes on the key that opened it, escape or q."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", id="help.close", tooltip="Close the help"),
        # A modal screen hides the keys of the app.
        Binding("l", "app.language", "Language", id="help.language", tooltip="Chinese or English"),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language) -> None:
        super().__init__()
        self.set_reactive(HelpScreen.language, language)

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
        pieces: list[str | tuple[str, str]] = []
        for keys, name in LINES:
            pieces += [(pad(keys, 10), "bold $forecast"), t(name, self.language), "\n"]
        for name in ("help.marks", "help.cone"):
            pieces += ["\n", (t(name, self.language), "$text-quiet"), "\n"]
        return Content.assemble(*pieces[:-1])
