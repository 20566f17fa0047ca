"""The line below everything: which keys there are."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui.strings import t
from stockllm.tui.text import Language

#: (key as shown, name of its text, action of the screen), most needed first.
KEYS = (
    ("f", "key.forecast", "screen.forecast"),
    ("/", "key.filter", "screen.filter"),
    ("+-", "key.zoom", "screen.zoom(1)"),
    ("l", "key.language", "app.language"),
    ("c", "key.colours", "app.colours"),
    ("r", "key.reload", "screen.reload"),
    ("p", "key.panel", "screen.panel"),
    ("?", "key.help", "screen.help"),
    ("q", "key.quit", "app.quit"),
)


class KeyBar(Widget):
    """The keys in one line that never overflows: what does not fit is left to the help screen."""

    language: reactive[Language] = reactive("zh")
    keys: reactive[tuple[tuple[str, str, str], ...]] = reactive(KEYS)

    def render(self) -> Content:
        """Wider gaps where there is room; help and quit are kept to the last."""
        labels = [(key, t(name, self.language), action) for key, name, action in self.keys]
        width = self.size.width - 1

        def length(gap: int) -> int:
            return sum(cell_len(key) + 1 + cell_len(label) for key, label, _ in labels) + gap * (
                len(labels) - 1
            )

        while length(1) > width and len(labels) > 2:
            del labels[-3]
        gap = next((g for g in (3, 2) if length(g) <= width), 1)
        pieces: list[tuple[str, str]] = [(" ", "")]
        for number, (key, label, action) in enumerate(labels):
            # A link takes its colours from the style sheet, so the key is none.
            pieces += [(f"{key} ", "bold $forecast"), (label, f"@click={action}")]
            if number < len(labels) - 1:
                pieces.append((" " * gap, ""))
        return Content.assemble(*pieces)
