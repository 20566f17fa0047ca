"""What the palette offers: the actions of every tab, tabs, spans and lists, looks, companies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from stockllm.tui.core.keys import COMMON, TAB_KEYS, Key
from stockllm.tui.core.palette import Entry, company_entries
from stockllm.tui.core.top_bar import TABS
from stockllm.tui.look.strings import TABLE
from stockllm.tui.look.theme import LOOKS

if TYPE_CHECKING:
    from stockllm.tui.core.tab import TabScreen
    from stockllm.tui.market.screen import MarketScreen


def offered(market: MarketScreen, screen: TabScreen) -> list[Entry]:
    """All there is to do, seen from ``screen``: what can be done there first, companies last."""
    entries = [_action(key, screen.TAB) for key in TAB_KEYS[screen.TAB]]
    entries += [_action(key) for key in COMMON if key.name != "palette"]
    entries += [
        Entry("palette.tab", *TABLE[f"tab.{name}"], f"app.tab('{name}')", str(number), name)
        for number, name in enumerate(TABS, 1)
    ]
    entries += screen.entries()
    for tab in TABS:
        if tab != screen.TAB:
            entries += _elsewhere(market, tab)
    entries += [
        Entry("palette.look", *TABLE[f"look.{look}"], f"app.look('{look}')", "", look) for look in LOOKS
    ]
    entries += [
        Entry("palette.look", *TABLE[f"charset.{charset}"], f"app.charset('{charset}')", "", charset)
        for charset in ("blocks", "ascii")
    ]
    board = market.board
    return entries + (company_entries(row.company for row in board.rows) if board else [])


def _action(key: Key, tab: str = "") -> Entry:
    """What a key does; it answers to the name of its tab too, after the tab itself."""
    words = f"{key.name}\n{' '.join(TABLE[f'tab.{tab}'])}" if tab else key.name
    return Entry("palette.action", *TABLE[f"help.{key.name}"], key.action, key.shown, words)


def _elsewhere(market: MarketScreen, tab: str) -> Iterator[Entry]:
    """What can be done on a tab that is not shown; it says whose it is."""
    # Where the focus is next is no matter for who is elsewhere.
    found = [_action(key, tab) for key in TAB_KEYS[tab] if key.action.startswith("screen.")]
    if tab == market.TAB:
        found += market.entries()
    number = TABS.index(tab) + 1
    for entry in found:
        yield replace(
            entry,
            kind=f"tab.{tab}",
            action=f"app.on_tab({tab!r}, {entry.action!r})",
            key=f"{number} {entry.key}" if entry.key else "",
        )
