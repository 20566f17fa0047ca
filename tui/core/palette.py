"""The command palette: any company, tab or action, in either language, by a few letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input

from stockllm.market.companies import Company, display
from stockllm.tui.drawing.table import Column, Line, Table
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language

#: Rows listed at once; whoever means another types one letter more.
_LISTED = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to do: its names in both languages, its key as shown, and the action that does it.

    ``words`` are further words it answers to. ``kind`` names the text that says what it is.
    """

    kind: str
    zh: str
    en: str
    action: str
    key: str = ""
    words: str = ""

    def rank(self, query: str) -> int | None:
        """How well ``query`` (casefolded) fits, 0 is best; None where a word of it is nowhere."""
        texts = f"{self.zh}\n{self.en}\n{self.words}".casefold()
        if not all(word in texts for word in query.split()):
            return None
        names = texts.split("\n")
        if query in names:
            return 0
        if any(name.startswith(query) for name in names):
            return 1
        return 2 if query in texts else 3


def company_entries(companies: Iterable[Company]) -> list[Entry]:
    """An entry a company, under its code and all its names."""
    return [
        Entry(
            "palette.company",
            f"{company.code} {display(company, 'zh')}",
            f"{company.code} {display(company, 'en')}",
            f"app.company('{company.code}')",
            words="\n".join(company.names()),
        )
        for company in companies
    ]


class Palette(ModalScreen[str]):
    """Dismissed with the action that was chosen, None where none was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="palette.close", tooltip="Close the palette"),
        Binding("down", "move(1)", "Down", id="palette.down", tooltip="Next entry", priority=True),
        Binding("up", "move(-1)", "Up", id="palette.up", tooltip="Previous entry", priority=True),
        Binding("pagedown", "move(10)", "Page", id="palette.pagedown", tooltip="Ten on", priority=True),
        Binding("pageup", "move(-10)", "Page", id="palette.pageup", tooltip="Ten back", priority=True),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.set_reactive(Palette.language, language)
        self.all = tuple(entries)
        self.found: tuple[Entry, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="palette"):
            yield Input(id="palette-input", placeholder=t("palette.placeholder", self.language), compact=True)
            yield Table(id="palette-list")

    def on_mount(self) -> None:
        table = self.query_one(Table)
        table.can_focus = False
        self._list("")

    def _list(self, query: str) -> None:
        wanted = query.strip().casefold()
        ranked = [(rank, n) for n, entry in enumerate(self.all) if (rank := entry.rank(wanted)) is not None]
        self.found = tuple(self.all[n] for _, n in sorted(ranked)[:_LISTED])
        lines = [
            Line(
                str(number),
                (
                    (entry.zh if self.language == "zh" else entry.en, "row"),
                    (t(entry.kind, self.language), "quiet"),
                    (entry.key, "forecast"),
                ),
            )
            for number, entry in enumerate(self.found)
        ]
        columns = (
            Column(t("palette.title", self.language), 0),
            Column("", 10, rank=1),
            Column("", 11, "right", rank=2),
        )
        table = self.query_one(Table)
        table.cursor = "0"
        table.fill(columns, lines, t("palette.none", self.language, query=query.strip()))

    @on(Input.Changed, "#palette-input")
    def _typed(self, message: Input.Changed) -> None:
        self._list(message.value)

    @on(Input.Submitted, "#palette-input")
    def _entered(self) -> None:
        self._choose(self.query_one(Table).cursor)

    @on(Table.Picked)
    def _picked(self, message: Table.Picked) -> None:
        message.stop()
        self._choose(message.key)

    def _choose(self, key: str) -> None:
        if key.isdecimal() and int(key) < len(self.found):
            self.dismiss(self.found[int(key)].action)

    def action_move(self, step: int) -> None:
        """The cursor ``step`` entries down."""
        self.query_one(Table).action_move(step)

    def action_leave(self) -> None:
        """Close without doing anything."""
        self.dismiss(None)
