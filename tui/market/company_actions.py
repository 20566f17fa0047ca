"""Which company the market tab shows, and how it comes to be shown at once."""

from __future__ import annotations

from textual import on, work
from textual.timer import Timer
from textual.widgets import Input
from textual.worker import get_current_worker

from stockllm.tui.core.messages import LoadFailed
from stockllm.tui.market.chart_actions import ChartActions
from stockllm.tui.market.details import Details
from stockllm.tui.market.list_actions import ListActions
from stockllm.tui.market.messages import DetailLoaded
from stockllm.tui.market.watchlist import Picked

#: Keys rest for this long before the neighbours are read: who holds a key down is not held up by it.
REST_S = 0.15

#: Lines below and above the selected one that are read ahead.
AHEAD = 3


class CompanyActions(ChartActions, ListActions):
    """The selected company: shown from what is kept, then asked for again, its neighbours read ahead."""

    #: A screen has its own; this one stands for none.
    details: Details
    _rest: Timer | None = None

    def on_mount(self) -> None:
        # Watched, not told by a message: a message comes after the cursor was painted in its new place, and
        # the chart then waits for the painting after that.
        self.watch(self.watchlist, "cursor", self._cursor_moved, init=False)

    def on_unmount(self) -> None:
        self.details.close()

    def _cursor_moved(self, code: str) -> None:
        if code != self.selected:
            self.select(code)

    @on(Picked)
    def _picked(self, message: Picked) -> None:
        self.select(message.code)

    def select(self, code: str) -> None:
        """Show a company; one already shown is read anew."""
        if code != self.selected:
            self.past = None
            self.stock.remember({"dashboard": {"company": code}})
        self.selected = code
        self.watchlist.cursor = code
        kept = self.details.kept(code)
        if kept is not None:
            self.detail = kept
        self.load_detail(code)
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._rested)

    def show_company(self, code: str) -> None:
        """Select a company, whatever list and filter are shown."""
        if self.query_one("#filter", Input).value:
            self.clear_filter()
        if code not in self.watchlist.places:
            self.action_list("")
        self.select(code)

    @work(thread=True, exclusive=True, exit_on_error=False, group="detail", description="read a company")
    def load_detail(self, code: str) -> None:
        try:
            self.post_message(DetailLoaded(self.details.read(self.stock.home, code)))
        except Exception as error:
            self.post_message(LoadFailed("detail", error))

    @on(DetailLoaded)
    def _detail_loaded(self, message: DetailLoaded) -> None:
        if message.detail.company.code == self.selected:
            self.detail = message.detail
            self.compare_awaited()

    def _rested(self) -> None:
        self._rest = None
        codes = self.watchlist.around(self.selected, AHEAD)
        if codes:
            self.look_ahead(codes)

    @work(thread=True, exclusive=True, exit_on_error=False, group="ahead", description="read neighbours")
    def look_ahead(self, codes: tuple[str, ...]) -> None:
        """Read companies that are not shown, so that they are at hand when they are."""
        worker = get_current_worker()
        for code in codes:
            # A key was pressed: what it asks for comes first. What cannot be read says so when selected.
            if worker.is_cancelled or self._rest is not None:
                return
            try:
                self.details.read(self.stock.home, code)
            except Exception:
                return
