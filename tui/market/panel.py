"""What the panels under the chart have in common: a titled box of lines about one company."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.market.board import Detail

#: A line of a panel as (text, style) pieces.
Line = list[tuple[str, str]]


class Panel(Widget):
    """A titled box of lines; the title follows the language."""

    TITLE = ""

    detail: reactive[Detail | None] = reactive(None)
    language: reactive[Language] = reactive("zh")

    def on_mount(self) -> None:
        self.watch_language()

    def watch_language(self) -> None:
        self.border_title = f" {t(self.TITLE, self.language)} "

    def render(self) -> Content:
        """The panel's lines, as many as there is room for."""
        lines = self.lines(max(1, self.size.width), max(1, self.size.height))[: self.size.height]
        pieces = [piece for line in lines for piece in (*line, ("\n", ""))]
        return Content.assemble(*pieces[:-1])

    def lines(self, width: int, height: int) -> list[Line]:
        """What to show in ``width`` by ``height`` cells."""
        raise NotImplementedError
