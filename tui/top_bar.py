"""The line above everything: what this is, what data it shows, what is under way."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui import text
from stockllm.tui.board import Board
from stockllm.tui.strings import t
from stockllm.tui.text import Language


class TopBar(Widget):
    """Name, the warning that prices are simulated, how much data, what is under way."""

    board: reactive[Board | None] = reactive(None)
    language: reactive[Language] = reactive("zh")
    running: reactive[tuple[str, int, int] | None] = reactive(None)

    def render(self) -> Content:
        """The warning never gives way; the rest does, from the right."""
        width = self.size.width
        pieces = [(" stockllm ", "bold $forecast")]
        if self.board is not None and self.board.simulated:
            pieces += [(t("app.simulated", self.language), "bold $background on $simulated"), (" ", "")]
        room = width - sum(cell_len(piece) for piece, _ in pieces)
        pieces.append((text.join_fitting(self._facts(), room, " · "), "$text-quiet"))
        return Content.assemble(*pieces)

    def _facts(self) -> list[str]:
        facts = []
        if self.running is not None:
            facts.append(f"{t('header.forecasting', self.language)} {self.running[0]}")
        if self.board is None:
            return [*facts, t("header.loading", self.language)]
        day = text.day(self.board.last, self.language, weekday=True)
        facts.append(t("header.updated", self.language, day=day))
        facts.append(t("header.companies", self.language, count=len(self.board.rows)))
        return facts
