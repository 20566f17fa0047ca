"""The line above everything: the tabs, the warning that prices are simulated, what is under way."""

from __future__ import annotations

from typing import cast

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stockllm.tui.core.dashboard import Dashboard, Facts
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language

#: The tabs in the order of their number keys.
TABS = ("market", "portfolio", "ledger", "training", "system")


class TopBar(Widget):
    """The tabs, ``current`` among them, and the facts of the app."""

    language: reactive[Language] = reactive("zh")

    def __init__(self, current: str) -> None:
        super().__init__()
        self.current = current

    def on_mount(self) -> None:
        self.watch(self.app, "facts", self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Content:
        """The warning never gives way; tabs lose their names before it, facts go from the right."""
        facts = cast("Dashboard", self.app).facts
        warning = t("app.simulated", self.language) if facts.simulated else ""
        width = self.size.width - cell_len(warning) - bool(warning)
        tabs = self._tabs(width)
        pieces = list(tabs)
        if warning:
            pieces += [(warning, "bold $background on $simulated"), (" ", "")]
        room = self.size.width - sum(cell_len(piece) for piece, _ in pieces)
        if room > 8:
            pieces.append((text.join_fitting(self._facts(facts, room), room, " · "), "$text-quiet"))
        return Content.assemble(*pieces)

    def _tabs(self, width: int) -> list[tuple[str, str]]:
        """Every tab with its name, or the current one alone where the others' do not fit."""

        def label(number: int, name: str, named: bool) -> str:
            return f" {number} {t(f'tab.{name}', self.language)} " if named else f" {number} "

        full = sum(cell_len(label(number, name, True)) for number, name in enumerate(TABS, 1)) <= width - 1
        pieces = []
        for number, name in enumerate(TABS, 1):
            own = name == self.current
            look = "bold $forecast on $cursor" if own else f"@click=app.tab('{name}')"
            pieces.append((label(number, name, full or own), look))
        return [*pieces, (" ", "")]

    def _facts(self, facts: Facts, room: int) -> list[str]:
        running = [f"{t('header.forecasting', self.language)} {facts.running}"] if facts.running else []
        if facts.last is None:
            return [*running, t("header.loading", self.language)]
        day = text.day(facts.last, self.language, weekday=True)
        updated = t("header.updated", self.language, day=day)
        if not running and cell_len(updated) > room:
            # Half a date says less than none.
            bare = text.day(facts.last, self.language)
            return [bare] if len(bare) <= room else []
        return [*running, updated, t("header.companies", self.language, count=facts.companies)]
