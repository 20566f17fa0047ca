"""The watchlist: one line a company, aligned in cells, however many companies there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stockllm.market.companies import display
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language, pad
from stockllm.tui.market.board import Board, Row

#: Mark and look of a rule's verdict.
MARKS = {"buy": ("▲", "up"), "sell": ("▼", "down"), "hold": ("·", "quiet"), None: (" ", "quiet")}

#: What the list can be sorted by, in the order of the key that walks along them.
ORDERS = ("code", "name", "close", "change")

#: From this width on there is room for the last price.
PRICE_FROM = 37


@dataclass(eq=False)
class Picked(Message):
    """Enter or a click on a company, one already selected too. Who follows the cursor watches it."""

    code: str


class Watchlist(ScrollView, can_focus=True):
    """Rows of the board under a heading that stays; only rows in sight are drawn.

    The cursor is a company, not a line: a filter or a reload keeps it where it was if it can.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "list--head",
        "list--row",
        "list--cursor",
        "list--up",
        "list--down",
        "list--quiet",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="list.up", tooltip="Previous company"),
        Binding("down,j", "move(1)", "Down", show=False, id="list.down", tooltip="Next company"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.pageup", tooltip="A page up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.pagedown", tooltip="A page down"),
        Binding("home,g", "move(-100000)", "First", show=False, id="list.first", tooltip="First company"),
        Binding("end,G", "move(100000)", "Last", show=False, id="list.last", tooltip="Last company"),
        Binding("enter", "pick", "Select", show=False, id="list.pick", tooltip="Select this company"),
    ]

    board: reactive[Board | None] = reactive(None)
    language: reactive[Language] = reactive("zh")
    query_text: reactive[str] = reactive("")
    cursor: reactive[str] = reactive("", repaint=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: tuple[Row, ...] = ()
        self.order = "code"
        self.descending = False
        self.list_name = ""
        self._only: frozenset[str] | None = None
        #: The line of every company listed.
        self.places: dict[str, int] = {}
        self._styles: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        """Colours are asked for again when the theme or the colours of rise and fall change."""
        super().notify_style_update()
        self._styles = {}

    # What is listed

    def watch_board(self) -> None:
        self._list()

    def watch_query_text(self) -> None:
        self._list()

    def sort(self, order: str, descending: bool) -> None:
        """Sort by one of ``ORDERS``; companies without the figure come last either way."""
        self.order, self.descending = order, descending
        self._list()

    def show_list(self, name: str, codes: Iterable[str] | None) -> None:
        """List the companies of ``codes`` alone, all of them for None."""
        self.list_name, self._only = name, None if codes is None else frozenset(codes)
        self._list()

    def _list(self) -> None:
        rows = [
            row
            for row in (self.board.rows if self.board else ())
            if (self._only is None or row.company.code in self._only) and row.answers(self.query_text)
        ]
        if self.order != "code" or self.descending:
            rows = self._sorted(rows)
        self.rows = tuple(rows)
        self.places = {row.company.code: place for place, row in enumerate(self.rows)}
        self.virtual_size = Size(0, len(self.rows) + 1)
        if self.rows and self.index is None:
            self.cursor = self.rows[0].company.code
        self._show_cursor()
        self.refresh()

    def _sorted(self, rows: list[Row]) -> list[Row]:
        def figure(row: Row) -> Any:
            if self.order == "close":
                return row.last
            if self.order == "change":
                return row.change
            return display(row.company, self.language) if self.order == "name" else row.company.code

        known = [row for row in rows if figure(row) is not None]
        known.sort(key=figure, reverse=self.descending)
        return known + [row for row in rows if figure(row) is None]

    @property
    def index(self) -> int | None:
        """The line of the cursor among those listed, None where it is not listed."""
        return self.places.get(self.cursor)

    def around(self, code: str, count: int) -> tuple[str, ...]:
        """The companies ``count`` lines below and above one, the nearest first; none if it is not listed."""
        place = self.places.get(code)
        if place is None:
            return ()
        steps = [sign * step for step in range(1, count + 1) for sign in (1, -1)]
        found = [place + step for step in steps if 0 <= place + step < len(self.rows)]
        return tuple(self.rows[index].company.code for index in found)

    def watch_cursor(self, before: str, now: str) -> None:
        """Only the two lines that look different are drawn again."""
        for code in (before, now):
            if code in self.places:
                self.refresh_line(self.places[code] + 1)

    # Moving

    def action_move(self, step: int) -> None:
        """The cursor ``step`` lines down, up where negative; stops at either end."""
        if not self.rows:
            return
        index = min(max((self.index or 0) + step, 0), len(self.rows) - 1)
        if self.rows[index].company.code != self.cursor:
            self.cursor = self.rows[index].company.code
            self._show_cursor()

    def action_page(self, pages: int) -> None:
        """As many lines as are in sight."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_pick(self) -> None:
        """Select the company under the cursor."""
        if self.index is not None:
            self.post_message(Picked(self.cursor))

    def on_click(self, event: events.Click) -> None:
        line = event.y - 1 + round(self.scroll_y)
        if event.y >= 1 and 0 <= line < len(self.rows):
            self.cursor = self.rows[line].company.code
            self.post_message(Picked(self.cursor))

    def _show_cursor(self) -> None:
        if self.index is not None and self.size.height > 1:
            # The heading covers the first line of whatever is scrolled to.
            self.scroll_to_region(Region(0, self.index, 1, 2), animate=False, force=True)

    def on_resize(self) -> None:
        self._show_cursor()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """The heading, then the rows that are scrolled into sight."""
        width = self.scrollable_content_region.width
        if y == 0:
            return self._strip(heading(width, self.language), "head", width)
        index = y - 1 + round(self.scroll_y)
        if index < len(self.rows):
            row = self.rows[index]
            ground = "cursor" if row.company.code == self.cursor else "row"
            last = self.board.last if self.board else None
            return self._strip(line(row, width, self.language, stale=row.day != last), ground, width)
        if y == 2 and self.board is not None and not self.rows:
            key = "list.empty" if self.query_text else "list.nobody"
            notice = text.clip(t(key, self.language, query=self.query_text), max(1, width - 2))
            return self._strip([(f" {notice}", "quiet")], "row", width)
        return self._strip([], "row", width)

    def _strip(self, parts: list[tuple[str, str]], ground: str, width: int) -> Strip:
        under = self._style(ground)
        segments = [Segment(part, under + Style(color=self._style(look).color)) for part, look in parts]
        return Strip(segments).adjust_cell_length(width, under)

    def _style(self, look: str) -> Style:
        if look not in self._styles:
            self._styles[look] = self.get_component_rich_style(f"list--{look}")
        return self._styles[look]


def heading(width: int, language: Language) -> list[tuple[str, str]]:
    """The heading, in the columns of ``line``."""
    edge, name, priced = _columns(width)
    cells = [edge, pad(t("list.code", language), 5), pad(t("list.name", language), name), " "]
    if priced:
        cells.append(pad(t("list.last", language), 9, "right") + " ")
    signal = t("list.signal" if edge else "list.signal_narrow", language)
    cells += [pad(t("list.change", language), 7, "right"), " ", pad(signal, 3 + len(edge))]
    return [("".join(cells), "head")]


def line(row: Row, width: int, language: Language, stale: bool = False) -> list[tuple[str, str]]:
    """One company in exactly ``width`` cells (23 at least) as (text, look).

    Figures of a company whose bars end before the others' are drawn quietly: they are not today's.
    """
    edge, name, priced = _columns(width)
    change = row.change or 0.0
    look = "quiet" if stale or not change else "up" if change > 0 else "down"
    shown = display(row.company, language)
    parts = [
        (edge + pad(row.company.code, 5), "quiet"),
        (pad(shown, name) + " ", "row"),
    ]
    if priced:
        last = "–" if row.last is None else text.price(row.last)
        parts.append((pad(last, 9, "right") + " ", look))
    parts.append((pad(text.percent(row.change), 7, "right") + " ", look))
    parts += [MARKS[mark] for mark in row.marks]
    return [*parts, (edge, "row")]


def _columns(width: int) -> tuple[str, int, bool]:
    """What stands at either edge, the width of the name column, and whether the last price has one.

    The blanks at the edges go where a name of four characters would be cut without them.
    """
    priced = width >= PRICE_FROM
    name = width - (1 + 5 + 1 + 7 + 1 + 3 + 1) - (10 if priced else 0)
    return (" ", name, priced) if name >= 8 else ("", max(1, name + 2), priced)
