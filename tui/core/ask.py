"""Two small questions: a line of text, and yes or no."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language


class AskScreen(ModalScreen[str]):
    """Dismissed with the line that was entered, None where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="ask.close", tooltip="Leave without an answer"),
    ]

    def __init__(self, language: Language, question: str, value: str = "") -> None:
        super().__init__()
        self.language = language
        self.question = question
        self.value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="ask"):
            yield Static(self.question, markup=False)
            yield Input(self.value, id="ask-input", compact=True)
            yield Static(t("ask.keys", self.language), classes="ask-keys")

    @on(Input.Submitted, "#ask-input")
    def _entered(self, message: Input.Submitted) -> None:
        if message.value.strip():
            self.dismiss(message.value.strip())

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)


class ConfirmScreen(ModalScreen[bool]):
    """Dismissed with True on y or enter, False on anything that says no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes", id="confirm.yes", tooltip="Do it"),
        Binding("n,escape,q", "answer(False)", "No", id="confirm.no", tooltip="Leave it"),
    ]

    def __init__(self, language: Language, question: str) -> None:
        super().__init__()
        self.language = language
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="ask"):
            yield Static(self.question, markup=False)
            yield Static(t("confirm.keys", self.language), classes="ask-keys")

    def action_answer(self, yes: bool) -> None:
        """Close with the answer."""
        self.dismiss(yes)
