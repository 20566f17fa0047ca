"""News of the selected company, with age and source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rich.cells import cell_len

from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import clip, pad
from stockllm.tui.market.panel import Line, Panel


class NewsPanel(Panel):
    """The newest articles: age, source, title. The age is counted from ``now``."""

    TITLE = "panel.news"

    def __init__(self, now: Callable[[], datetime], *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self.now = now

    def lines(self, width: int, height: int) -> list[Line]:
        """A line an article, newest first."""
        if self.detail is None:
            return []
        if not self.detail.news:
            return [[(clip(t("news.none", self.language), width), "$text-quiet")]]
        now = self.now()
        ages = [text.age(article.published_at, now, self.language) for article in self.detail.news[:height]]
        margin = max(cell_len(age) for age in ages)
        source = min(14, max(8, width // 5))
        lines: list[Line] = []
        for article, age in zip(self.detail.news, ages, strict=False):
            title = " ".join(article.title.split())
            lines.append(
                [
                    (pad(age, margin) + " ", "$text-quiet"),
                    (pad(article.source, source) + " ", "$forecast"),
                    (clip(title, max(4, width - margin - source - 2)), ""),
                ]
            )
        return lines
