"""Freshness and completeness of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.reactive import reactive

from stockllm.market.companies import display
from stockllm.nightly.names import OUTCOME_NAMES, WHY_NAMES
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import clip
from stockllm.tui.market.board import Board, DataState, LastRefresh
from stockllm.tui.market.panel import Line, Panel

if TYPE_CHECKING:
    from stockllm.data.absences import Spell


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
        missing: list[Line] = []
        if own is not None and own.missing is not None and not self.board.simulated:
            missing.append([(clip(self._missing(own.missing), width), "$text-warning")])
        # What all companies lack is the evening that the first line tells of: the reason may come last.
        common = bool(own and own.missing and state.last and own.missing.first > state.last)
        if not common:
            lines += missing
        lines.append([(clip(t("data.market", language, count=len(self.board.rows)), width), "bold")])
        lines.append(self._counts(state.bars, state.gaps, state.quarantined, width, stale=state.stale))
        if state.refresh is not None:
            lines.append(self._refreshed(state.refresh, width))
        return lines + missing if common else lines

    def _missing(self, spell: Spell) -> str:
        span = text.day(spell.last, self.language)
        if spell.days > 1:
            span = f"{text.day(spell.first, self.language)} … {span}"
        zh, en = WHY_NAMES[spell.why]
        return t("data.missing", self.language, span=span, why=en if self.language == "en" else zh)

    def _refreshed(self, last: LastRefresh, width: int) -> Line:
        """When the last refresh ran and how it ended, and when the next one is due where there is room."""
        ok = last.outcome in ("ok", "running")
        outcome = last.outcome if self.language == "en" else OUTCOME_NAMES[last.outcome]
        when = last.started.astimezone(last.due.tzinfo)
        parts = [t("data.refreshed", self.language, when=f"{when:%m-%d %H:%M}", outcome=outcome)]
        parts.append(t("data.next", self.language, when=f"{last.due:%m-%d %H:%M}"))
        return [(text.join_fitting(parts, width, " · "), "$text-quiet" if ok else "$text-warning")]

    def _fresh(self, width: int) -> Line:
        assert self.board is not None
        day = text.day(self.board.last, self.language, weekday=True)
        first = f"{t('data.last', self.language)} {day}"
        if self.state is None:
            return [(clip(first, width), "")]
        behind = self.state.behind
        key = "data.today" if behind <= 0 else "data.behind.one" if behind == 1 else "data.behind"
        words = t(key, self.language, count=behind)
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
