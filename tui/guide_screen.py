"""Shown in place of an empty screen: how to get data, or what is wrong with the store."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Static

from stockllm.tui.board import NothingToShow
from stockllm.tui.key_bar import KeyBar
from stockllm.tui.keys import Key
from stockllm.tui.strings import t
from stockllm.tui.text import Language

KEYS = (
    Key("r", "r", "screen.retry", "reload"),
    Key("l", "l", "app.language", "language"),
    Key("q", "q", "app.quit", "quit"),
)


class GuideScreen(Screen[bool]):
    """Dismissed with True to read the store again. ``sentence`` is the error in its own words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "retry", "Reload", id="guide.retry", tooltip="Read the store again"),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, missing: NothingToShow | None, sentence: str) -> None:
        super().__init__()
        self.missing = missing
        self.sentence = sentence
        self.set_reactive(GuideScreen.language, language)

    def compose(self) -> ComposeResult:
        yield Static(id="guide")
        yield KeyBar(KEYS).data_bind(GuideScreen.language)

    def on_mount(self) -> None:
        self.watch_language()

    def watch_language(self) -> None:
        for guide in self.query("#guide").results(Static):
            guide.update(self.text())

    def text(self) -> Content:
        """The guide in the screen's language."""
        language = self.language
        if self.missing is None:
            return Content.assemble(
                (t("guide.trouble", language), "bold $text-error"),
                "\n\n",
                self.sentence,
                "\n\n",
                (t("guide.then", language), "$text-quiet"),
            )
        pieces: list[str | tuple[str, str]] = [
            (t("guide.title", language), "bold $forecast"),
            "\n\n",
            t(f"guide.{self.missing.reason}", language, path=self.missing.path),
        ]
        for command, key in (("stockllm demo", "guide.demo"), ("stockllm import PATH", "guide.import")):
            pieces += ["\n\n", (f"  {command}", "bold $simulated"), "\n", f"  {t(key, language)}"]
        pieces += ["\n\n", (t("guide.then", language), "$text-quiet")]
        pieces += ["\n", (t("guide.demo_open", language), "$text-quiet"), (" stockllm-tui --demo", "bold")]
        return Content.assemble(*pieces)

    def action_retry(self) -> None:
        """Leave the guide and read the store again."""
        self.dismiss(True)
