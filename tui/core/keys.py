"""One row a key: the bindings, the footer, the help and the palette are all made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType

from stockllm.tui.look.strings import TABLE


@dataclass(frozen=True, slots=True)
class Key:
    """``keys`` as Textual names them, ``shown`` as a keyboard does.

    ``action`` carries its namespace ("screen.forecast", "app.quit"). ``key.NAME`` is the footer's
    word for it, ``help.NAME`` the sentence of help, palette and tooltip. ``footer`` is False for
    keys that only the help and the palette list.
    """

    keys: str
    shown: str
    action: str
    name: str
    footer: bool = True


def bindings(keys: Sequence[Key], place: str) -> list[BindingType]:
    """The bindings of a screen or the app; their ids begin with ``place``."""
    return [
        Binding(
            key.keys,
            key.action,
            TABLE[f"help.{key.name}"][1],
            show=key.footer,
            id=f"{place}.{key.name}",
            tooltip=TABLE[f"help.{key.name}"][1],
        )
        for key in keys
    ]


#: Keys of every tab. The last three are the ones a footer leaves out last.
COMMON = (
    Key("l", "l", "app.language", "language"),
    Key("c", "c", "app.colours", "colours"),
    Key("t", "t", "app.look", "look"),
    Key("e", "e", "screen.export", "export"),
    Key("r", "r", "screen.reload", "reload"),
    Key("colon,ctrl+p", ":", "app.palette", "palette"),
    Key("question_mark", "?", "app.help", "help"),
    Key("q", "q", "app.quit", "quit"),
)

MARKET = (
    Key("f", "f", "screen.forecast", "forecast"),
    Key("slash", "/", "screen.filter", "filter"),
    Key("plus,equals_sign,right_square_bracket", "+-", "screen.zoom(1)", "zoom"),
    Key("minus,left_square_bracket", "- [", "screen.zoom(-1)", "zoom_out", footer=False),
    Key("left", "←→", "screen.pan(1)", "pan"),
    Key("right", "→", "screen.pan(-1)", "pan_right", footer=False),
    Key("shift+left,comma", "shift+← ,", "screen.page(1)", "page", footer=False),
    Key("shift+right,full_stop", "shift+→ .", "screen.page(-1)", "page_right", footer=False),
    Key("zero", "0", "screen.newest", "newest", footer=False),
    Key("v", "v", "screen.span", "span"),
    Key("x", "x", "screen.cross", "cross"),
    Key("d", "d", "screen.period('day')", "day", footer=False),
    Key("w", "w", "screen.period('week')", "week", footer=False),
    Key("m", "m", "screen.period('month')", "month", footer=False),
    Key("b", "b", "screen.compare(1)", "compare"),
    Key("B", "B", "screen.compare(-1)", "compare_next", footer=False),
    Key("n", "n", "screen.news", "news"),
    Key("o", "o", "screen.order", "order"),
    Key("O", "O", "screen.reverse", "reverse", footer=False),
    Key("s", "s", "screen.list", "list"),
    Key("a", "a", "screen.mark", "mark", footer=False),
    Key("p", "p", "screen.panel", "panel"),
    Key("escape", "Esc", "screen.clear", "clear", footer=False),
)

PORTFOLIO = (
    Key("b", "b", "screen.ticket('buy')", "buy"),
    Key("s", "s", "screen.ticket('sell')", "sell"),
    Key("x", "x", "screen.cancel", "cancel_order"),
    Key("a", "a", "screen.account", "account"),
    Key("n", "n", "screen.new_account", "new_account"),
    Key("tab", "Tab", "app.focus_next", "focus"),
)

LEDGER = (
    Key("slash", "/", "screen.filter", "filter_ledger"),
    Key("m", "m", "screen.model", "model"),
    Key("a", "a", "screen.adapter", "adapter"),
    Key("o", "o", "screen.order", "order_ledger"),
    Key("O", "O", "screen.reverse", "reverse", footer=False),
    Key("u", "u", "screen.score", "score"),
    Key("escape", "Esc", "screen.clear", "clear_ledger", footer=False),
)

TRAINING = (
    Key("s", "s", "screen.start", "start_run"),
    Key("x", "x", "screen.stop", "stop_run"),
    Key("u", "u", "screen.resume", "resume_run"),
    Key("d", "d", "screen.default", "default"),
    Key("v", "v", "screen.compare", "compare_adapters"),
    Key("tab", "Tab", "app.focus_next", "focus"),
)

SYSTEM = (
    Key("u", "u", "screen.refresh_now", "refresh_now"),
    Key("x", "x", "screen.stop", "stop_refresh"),
    Key("p", "p", "screen.pane(1)", "pane"),
    Key("P", "P", "screen.pane(-1)", "pane_back", footer=False),
    Key("tab", "Tab", "app.focus_next", "focus"),
)

#: The keys of each tab beside the common ones. They stand here and not with their screens, so that the
#: palette knows them all without importing a tab that nobody has opened.
TAB_KEYS = {
    "market": MARKET,
    "portfolio": PORTFOLIO,
    "ledger": LEDGER,
    "training": TRAINING,
    "system": SYSTEM,
}
