"""A table of aligned cells with a cursor. Only the rows in sight are drawn, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, overload

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stockllm.tui.look.text import clip, pad

#: A cell as (text, look); looks are the component classes ``table--LOOK``.
Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and the cells it takes. ``width`` 0 takes what is left over; ``rank`` says who goes
    first where room is short, the highest number first, and never 0."""

    title: str
    width: int
    align: Literal["left", "right"] = "left"
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its key, which the cursor follows, and a cell a column."""

    key: str
    cells: tuple[Cell, ...]


class Lines(Sequence[Line]):
    """Rows that are made when they are drawn: the key of every one, and what makes the cells of one."""

    def __init__(self, keys: Sequence[str], cells: Callable[[int], tuple[Cell, ...]]) -> None:
        self.keys = tuple(keys)
        self._cells = cells

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Line, ...]: ...

    def __getitem__(self, index: int | slice) -> Line | tuple[Line, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        return Line(self.keys[index], self._cells(index))


class Table(ScrollView, can_focus=True):
    """Rows under a heading that stays. The cursor is a row's key: new rows keep it where they can."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--head",
        "table--row",
        "table--cursor",
        "table--up",
        "table--down",
        "table--quiet",
        "table--forecast",
        "table--warning",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up", tooltip="Previous row"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down", tooltip="Next row"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.pageup", tooltip="A page up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.pagedown", tooltip="A page down"),
        Binding("home,g", "move(-1000000)", "First", show=False, id="table.first", tooltip="First row"),
        Binding("end,G", "move(1000000)", "Last", show=False, id="table.last", tooltip="Last row"),
        Binding("enter", "pick", "Select", show=False, id="table.pick", tooltip="Select this row"),
    ]

    cursor: reactive[str] = reactive("", repaint=False)

    @dataclass(eq=False)
    class Moved(Message):
        """The cursor came to stand on another row, by hand or with new rows."""

        table: Table
        key: str

        @property
        def control(self) -> Table:
            """The table, so that a handler can name one."""
            return self.table

    @dataclass(eq=False)
    class Picked(Message):
        """Enter or a click on a row."""

        table: Table
        key: str

        @property
        def control(self) -> Table:
            """The table, so that a handler can name one."""
            return self.table

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.columns: tuple[Column, ...] = ()
        self.rows: Sequence[Line] = ()
        self.notice = ""
        self._places: dict[str, int] = {}
        self._styles: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        """Colours are asked for again when the theme changes."""
        super().notify_style_update()
        self._styles = {}

    def fill(self, columns: Sequence[Column], rows: Sequence[Line], notice: str = "") -> None:
        """Put in what is to be seen; ``notice`` stands where there are no rows."""
        made = rows if isinstance(rows, Lines) else tuple(rows)
        wanted = (tuple(columns), made, notice)
        if wanted == (self.columns, self.rows, self.notice):
            return  # of rows not made yet nobody can tell: they are drawn anew
        before = self.index
        self.columns, self.rows, self.notice = wanted
        keys = made.keys if isinstance(made, Lines) else (row.key for row in made)
        self._places = {key: place for place, key in enumerate(keys)}
        self.virtual_size = Size(0, len(self.rows) + 1)
        if self.rows and self.index is None:
            self.cursor = self.rows[min(before or 0, len(self.rows) - 1)].key
            self.post_message(self.Moved(self, self.cursor))
        self._show_cursor()
        self.refresh()

    def watch_cursor(self, before: str, now: str) -> None:
        """Only the two lines that look different are drawn again."""
        for key in (before, now):
            if key in self._places:
                self.refresh_line(self._places[key] + 1)

    @property
    def index(self) -> int | None:
        """The line of the cursor, None where it stands on no row."""
        return self._places.get(self.cursor)

    @property
    def in_sight(self) -> tuple[str, ...]:
        """Keys of the rows that are, or are about to be, on the screen."""
        first = max(0, round(self.scroll_y))
        return tuple(row.key for row in self.rows[first : first + max(1, self.size.height)])

    def action_move(self, step: int) -> None:
        """The cursor ``step`` lines down, up where negative; stops at either end."""
        if not self.rows:
            return
        index = min(max((self.index or 0) + step, 0), len(self.rows) - 1)
        if self.rows[index].key != self.cursor:
            self.cursor = self.rows[index].key
            self._show_cursor()
            self.post_message(self.Moved(self, self.cursor))

    def action_page(self, pages: int) -> None:
        """As many lines as are in sight."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_pick(self) -> None:
        """Select the row under the cursor."""
        if self.index is not None:
            self.post_message(self.Picked(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        line = event.y - 1 + round(self.scroll_y)
        if event.y >= 1 and 0 <= line < len(self.rows):
            again = self.rows[line].key == self.cursor
            self.action_move(line - (self.index or 0))
            if again:
                self.action_pick()

    def _show_cursor(self) -> None:
        if self.index is not None and self.size.height > 1:
            # The heading covers the first line of whatever is scrolled to.
            self.scroll_to_region(Region(0, self.index, 1, 2), animate=False, force=True)

    def on_resize(self) -> None:
        self._show_cursor()
        # Other rows may be in sight.
        self.post_message(self.Moved(self, self.cursor))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved(self, self.cursor))

    def render_line(self, y: int) -> Strip:
        """The heading, then the rows that are scrolled into sight."""
        width = self.scrollable_content_region.width
        shares = shared(self.columns, width)
        if y == 0:
            parts = zip(self.columns, shares, strict=True)
            head = [(pad(column.title, share, column.align), "head") for column, share in parts if share]
            return self._strip(_spaced(head), "head", width)
        index = y - 1 + round(self.scroll_y)
        if index < len(self.rows):
            row = self.rows[index]
            ground = "cursor" if row.key == self.cursor else "row"
            cells = [
                (pad(text, share, column.align), look)
                for (text, look), column, share in zip(row.cells, self.columns, shares, strict=True)
                if share
            ]
            return self._strip(_spaced(cells), ground, width)
        if y == 2 and not self.rows and self.notice:
            return self._strip([(" " + clip(self.notice, max(1, width - 2)), "quiet")], "row", width)
        return self._strip([], "row", width)

    def _strip(self, parts: list[Cell], ground: str, width: int) -> Strip:
        under = self._style(ground)
        segments = [Segment(part, under + Style(color=self._style(look).color)) for part, look in parts]
        return Strip(segments).adjust_cell_length(width, under)

    def _style(self, look: str) -> Style:
        if look not in self._styles:
            self._styles[look] = self.get_component_rich_style(f"table--{look}")
        return self._styles[look]


def _spaced(cells: list[Cell]) -> list[Cell]:
    parts: list[Cell] = [(" ", "row")]
    for cell in cells:
        parts += [cell, (" ", "row")]
    return parts


def shared(columns: Sequence[Column], width: int) -> list[int]:
    """The cells of each column in ``width``, 0 for those that there is no room for.

    Columns give way by rank, the highest first; a flexible one wants ten cells, or its title's.
    """
    kept = list(range(len(columns)))

    def least(index: int) -> int:
        column = columns[index]
        return column.width or max(10, cell_len(column.title))

    def needed() -> int:
        return 1 + sum(least(index) + 1 for index in kept)

    while needed() > width:
        weakest = max(kept, key=lambda index: (columns[index].rank, index), default=None)
        if weakest is None or columns[weakest].rank == 0:
            break
        kept.remove(weakest)
    flexible = [index for index in kept if not columns[index].width]
    spare = max(0, width - needed())
    shares = [0] * len(columns)
    for index in kept:
        shares[index] = least(index)
    for number, index in enumerate(flexible):
        shares[index] += spare // len(flexible) + (number < spare % len(flexible))
    return shares
