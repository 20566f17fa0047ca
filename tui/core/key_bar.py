"""The line below everything: which keys there are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui.core.keys import Key
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language


class KeyBar(Widget):
    """The keys in one line that never overflows: what does not fit is left to help and palette."""

    language: reactive[Language] = reactive("zh")

    def __init__(self, keys: Sequence[Key], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys = tuple(key for key in keys if key.footer)

    def render(self) -> Content:
        """Wider gaps where there is room; palette, help and quit are kept to the last."""
        labels = [(key.shown, t(f"key.{key.name}", self.language), key.action) for key in self.keys]
        width = self.size.width - 1

        def length(gap: int) -> int:
            return sum(cell_len(key) + 1 + cell_len(label) for key, label, _ in labels) + gap * (
                len(labels) - 1
            )

        while length(1) > width and len(labels) > 2:
            del labels[max(-4, -len(labels))]
        gap = next((g for g in (3, 2) if length(g) <= width), 1)
        pieces: list[tuple[str, str]] = [(" ", "")]
        for number, (key, label, action) in enumerate(labels):
            # A link takes its colours from the style sheet, so the key is none.
            pieces += [(f"{key} ", "bold $forecast"), (label, f"@click={action}")]
            if number < len(labels) - 1:
                pieces.append((" " * gap, ""))
        return Content.assemble(*pieces)
