"""Freshness and completeness of the data."""

from __future__ import annotations

from rich.cells import cell_len
from textual.reactive import reactive

from stockllm.market.companies import display
from stockllm.tui import text
from stockllm.tui.board import Board, DataState
from stockllm.tui.panel import Line, Panel
from stockllm.tui.strings import t
from stockllm.tui.text import clip


class DataPanel(Panel):
    """How fresh and how complete the data is, of the whole store and of the selected company."""

    TITLE = "panel.data"

    board: reactive[Board | None] = reactive(None)
    state: reactive[DataState | None] = reactive(None)

    def lines(self, width: int, height: int) -> list[Line]:
        """The last session and its age, then counts; the company's own first where room is short."""
        language = self.language
        if self.board is None:
            return []
        lines: list[Line] = [self._fresh(width)]
        if self.state is None:
            return [*lines, [(clip(t("data.loading", language), width), "$text-quiet")]]
        own = self.state.company(self.detail.company.code) if self.detail else None
        if own is not None and self.detail is not None:
            name = f"{own.code} {display(self.detail.company, language)}"
            first, last = text.day(own.first, language), text.day(own.last, language)
            spread = t("data.since", language, first=first, last=last)
            lines.append([(clip(name, width), "bold")])
            if height > 3:
                lines.append([(clip(spread, width), "$text-quiet")])
            lines.append(self._counts(own.bars, own.gaps, own.quarantined, width))
        state = self.state
        lines.append([(clip(t("data.market", language, count=len(self.board.rows)), width), "bold")])
        lines.append(self._counts(state.bars, state.gaps, state.quarantined, width, stale=state.stale))
        return lines

    def _fresh(self, width: int) -> Line:
        assert self.board is not None
        day = text.day(self.board.last, self.language, weekday=True)
        first = f"{t('data.last', self.language)} {day}"
        if self.state is None:
            return [(clip(first, width), "")]
        behind = self.state.behind
        words = (
            t("data.behind", self.language, count=behind) if behind > 0 else t("data.today", self.language)
        )
        if cell_len(first) + 1 + cell_len(words) > width:
            first = day
        look = "$text-warning" if behind > 1 else "$text-quiet"
        return [(clip(first, width) + " ", ""), (clip(words, max(1, width - cell_len(first) - 1)), look)]

    def _counts(self, bars: int, gaps: int, quarantined: int, width: int, stale: int | None = None) -> Line:
        counts = [("data.bars", bars, ""), ("data.gaps", gaps, "$text-warning")]
        counts.append(("data.quarantined", quarantined, "$text-warning"))
        if stale is not None:
            counts.append(("data.stale", stale, "$text-warning"))
        line: Line = []
        used = 0
        for key, count, look in counts:
            piece = f"{t(key, self.language)} {count:,}  "
            if used + cell_len(piece.rstrip()) > width:
                break
            used += cell_len(piece)
            line.append((piece, look if count and look else "$text-quiet"))
        return line
