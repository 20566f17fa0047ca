"""A longer text over the tabs: what a command answered."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from stockllm.tui.look.text import Language


class TextScreen(ModalScreen[None]):
    """Closes on escape, enter or q."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close", id="text.close", tooltip="Close this text"),
    ]

    def __init__(self, language: Language, title: str, said: str) -> None:
        super().__init__()
        self.language = language
        self.title_text = title
        self.said = said

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="said") as box:
            box.border_title = self.title_text
            yield Static(self.said, markup=False)
