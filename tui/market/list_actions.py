"""What the keys of the market tab do to its watchlist: filter, order, own lists."""

from __future__ import annotations

from textual import on
from textual.widgets import Input, Static

from stockllm.tui.core.ask import AskScreen, ConfirmScreen
from stockllm.tui.core.palette import Entry
from stockllm.tui.core.tab import TabScreen
from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.market.watchlist import ORDERS, Watchlist


class ListActions(TabScreen):
    """Filter, order, and the user's own lists, which the settings keep."""

    #: The user's own lists: a name, and the codes in their order.
    lists: dict[str, tuple[str, ...]]

    @property
    def watchlist(self) -> Watchlist:
        """The list."""
        return self.query_one(Watchlist)

    # Filter

    def action_filter(self) -> None:
        """Open the filter over the watchlist."""
        box = self.query_one("#filter", Input)
        box.display = True
        self.set_focus(box)  # at once, for what is typed in the same instant

    def clear_filter(self) -> None:
        """Show all companies of the list again."""
        box = self.query_one("#filter", Input)
        box.value = ""
        box.display = False
        self.set_focus(self.watchlist)

    @on(Input.Changed, "#filter")
    def _filtered(self, message: Input.Changed) -> None:
        self.watchlist.query_text = message.value

    @on(Input.Submitted, "#filter")
    def _filter_accepted(self, message: Input.Submitted) -> None:
        message.input.display = bool(message.value)
        self.set_focus(self.watchlist)

    # Order

    def action_order(self) -> None:
        """Sort by the next column; figures begin with the highest."""
        now = ORDERS.index(self.watchlist.order)
        order = ORDERS[(now + 1) % len(ORDERS)]
        self.sort(order, descending=order in ("close", "change"))

    def action_reverse(self) -> None:
        """Turn the order around."""
        self.sort(self.watchlist.order, not self.watchlist.descending)

    def sort(self, order: str, descending: bool) -> None:
        """Sort the list, and remember it."""
        self.watchlist.sort(order, descending)
        self.stock.remember({"dashboard": {"order": order, "descending": descending}})
        self.show_list_title()

    # Own lists

    def action_list(self, name: str | None = None) -> None:
        """The list named (empty: all companies), else the next one."""
        names = ["", *self.lists]
        if name is None:
            now = names.index(self.watchlist.list_name) if self.watchlist.list_name in names else 0
            name = names[(now + 1) % len(names)]
            if len(names) == 1:
                self.notify(t("toast.no_lists", self.language), timeout=4)
        self.watchlist.show_list(name, self.lists.get(name))
        self.stock.remember({"dashboard": {"list": name}})
        self.show_list_title()

    def action_mark(self) -> None:
        """Put the company into the own list that is shown, or take it out; without one, into the first."""
        code = self.watchlist.cursor
        if not code:
            return
        name = self.watchlist.list_name or next(iter(self.lists), t("list.first", self.language))
        codes = self.lists.get(name, ())
        taken = code in codes
        self._keep(name, tuple(c for c in codes if c != code) if taken else (*codes, code))
        key = "toast.list_without" if taken else "toast.list_with"
        self.notify(t(key, self.language, code=code, name=name), timeout=3, markup=False)

    def action_new_list(self) -> None:
        """Ask for a name, and begin a list with the company under the cursor."""

        def named(name: str | None) -> None:
            if name and name in self.lists:
                self.notify(t("toast.list_there", self.language, name=name), severity="warning", markup=False)
            elif name:
                self._keep(name, (self.watchlist.cursor,) if self.watchlist.cursor else ())
                self.action_list(name)

        self.app.push_screen(AskScreen(self.language, t("list.new", self.language)), named)

    def action_drop_list(self) -> None:
        """Ask, and delete the own list that is shown."""
        name = self.watchlist.list_name
        if not name:
            self.notify(t("toast.no_list_shown", self.language), severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._keep(name, None)
                self.action_list("")

        question = t("list.drop", self.language, name=name)
        self.app.push_screen(ConfirmScreen(self.language, question), answered)

    def _keep(self, name: str, codes: tuple[str, ...] | None) -> None:
        """Change one of the own lists, in the settings too; None deletes it."""
        if codes is None:
            self.lists.pop(name, None)
        else:
            self.lists[name] = codes
        self.stock.remember({"lists": {name: None if codes is None else list(codes)}})
        if self.watchlist.list_name == name and codes is not None:
            self.watchlist.show_list(name, codes)
        self.show_list_title()

    def list_entries(self) -> list[Entry]:
        """The palette's entries about lists."""
        entries = [Entry("palette.list", *TABLE["list.all"], "screen.list('')")]
        entries += [Entry("palette.list", name, name, f"screen.list({name!r})") for name in self.lists]
        entries.append(Entry("palette.list", *TABLE["list.new"], "screen.new_list"))
        if self.watchlist.list_name:
            zh, en = (text.format(name=self.watchlist.list_name) for text in TABLE["list.drop"])
            entries.append(Entry("palette.list", zh, en, "screen.drop_list"))
        return entries

    def show_list_title(self) -> None:
        """A line over the list where it is not simply all companies by code."""
        listed = self.watchlist
        title = self.query_one("#list-title", Static)
        parts = [f"★ {listed.list_name}" if listed.list_name else t("list.all", self.language)]
        if listed.order != "code" or listed.descending:
            arrow = "↓" if listed.descending else "↑"
            parts.append(f"{t(f'order.{listed.order}', self.language)} {arrow}")
        title.update(" · ".join(parts))
        title.display = bool(listed.list_name) or len(parts) > 1
