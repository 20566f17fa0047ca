"""The signals of the selected company, each with its reason."""

from __future__ import annotations

from rich.cells import cell_len

from stockllm.data.records import Signal
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import clip, pad
from stockllm.tui.market.panel import Line, Panel
from stockllm.tui.market.watchlist import MARKS

#: The style of a verdict.
_LOOKS = {"buy": "$up", "sell": "$down", "hold": "$text-quiet"}


class SignalsPanel(Panel):
    """Each rule's verdict with its reason; the reasons share the room there is."""

    TITLE = "panel.signals"

    def lines(self, width: int, height: int) -> list[Line]:
        """A verdict a rule: the mark and word, then the reason, wrapped beside it."""
        if self.detail is None:
            return []
        if not self.detail.signals:
            return [[(clip(t("signal.none", self.language), width), "$text-quiet")]]
        words = [
            f"{MARKS[s.action][0]} {t(f'signal.{s.action}', self.language)} " for s in self.detail.signals
        ]
        margin = max(cell_len(word) for word in words)
        reasons = [self._reason(signal) for signal in self.detail.signals]
        blocks = text.paragraphs(reasons, max(8, width - margin), height)
        lines: list[Line] = []
        for signal, word, block in zip(self.detail.signals, words, blocks, strict=True):
            look = _LOOKS[signal.action]
            for number, reason in enumerate(block):
                head = pad(word if number == 0 else "", margin)
                lines.append([(head, f"bold {look}"), (reason, "")])
        return lines

    def _reason(self, signal: Signal) -> str:
        """The rule by name, then what it saw."""
        reason = signal.reason_zh if self.language == "zh" else signal.reason_en
        name = t(f"rule.{signal.rule}", self.language)
        return t("rule.says", self.language, rule=name, reason=reason)
