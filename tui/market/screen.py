"""The market tab: watchlist, chart with forecast, signals, news, data. It owns what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import reactive
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from stockllm.data.errors import StockllmError
from stockllm.market.companies import display
from stockllm.tui.core.dashboard import Facts
from stockllm.tui.core.keys import MARKET, Key, bindings
from stockllm.tui.core.messages import LoadFailed
from stockllm.tui.core.palette import Entry
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.core.store_watch import LOOK_S, StoreWatch, mark
from stockllm.tui.core.tab import TabScreen
from stockllm.tui.drawing.periods import SPANS
from stockllm.tui.look.strings import TABLE, t
from stockllm.tui.look.text import Language
from stockllm.tui.market import board as core
from stockllm.tui.market.board import Board, DataState, Forecaster
from stockllm.tui.market.chart import CandleChart
from stockllm.tui.market.company_actions import CompanyActions
from stockllm.tui.market.data_panel import DataPanel
from stockllm.tui.market.details import Details
from stockllm.tui.market.forecast_line import ForecastLine
from stockllm.tui.market.guide import GuideScreen
from stockllm.tui.market.messages import (
    BoardLoaded,
    DataStateLoaded,
    ForecastDone,
    ForecastFailed,
    ForecastProgress,
    Judged,
    StoreSeen,
)
from stockllm.tui.market.news_panel import NewsPanel
from stockllm.tui.market.outcome_line import OutcomeLine
from stockllm.tui.market.quote import Quote
from stockllm.tui.market.signals_panel import SignalsPanel
from stockllm.tui.market.watchlist import Watchlist

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.data.settings import DashboardSettings

#: The panels that take turns where there is room for one.
PANELS = ("signals", "news", "data")

#: Companies judged in the background where no signals are stored: the 41 and then some.
JUDGED_AT_ONCE = 100


class Stopped(Exception):
    """Raised inside a forecast whose worker was cancelled, to leave it at its next report."""


class MarketScreen(CompanyActions):
    """Everything about one company at a time, with the whole list beside it."""

    TAB = "market"
    READING = ("board", "detail")
    KEYS: ClassVar[tuple[Key, ...]] = MARKET
    NOTES = ("help.marks", "help.cone")
    BINDINGS: ClassVar[list[BindingType]] = bindings(MARKET, "market")
    #: Not the filter, which would take the keys that are pressed before it is hidden.
    AUTO_FOCUS = "Watchlist"

    # A screen that repaints paints all that is on it: its widgets are told, and repaint themselves.
    board: reactive[Board | None] = reactive(None, repaint=False)
    state: reactive[DataState | None] = reactive(None, repaint=False)
    #: (code, done, total) while a forecast is being made.
    running: reactive[tuple[str, int, int] | None] = reactive(None, repaint=False)
    panel: reactive[str] = reactive(PANELS[0], repaint=False)

    def __init__(
        self,
        language: Language,
        forecaster: Forecaster,
        now: Callable[[], datetime],
        where: DashboardSettings,
        lists: Mapping[str, tuple[str, ...]],
    ) -> None:
        super().__init__(language)
        self.forecaster = forecaster
        self.now = now
        self.where = where
        self.lists = dict(lists)
        self.selected = where.company
        self.details = Details()
        self.store_watch = StoreWatch()

    @property
    def home(self) -> Home:
        """The home that is shown."""
        return self.stock.home

    def body(self) -> ComposeResult:
        cls = MarketScreen
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Input(id="filter", compact=True)
                yield Static(id="list-title", markup=False)
                yield Watchlist(id="list").data_bind(cls.board, TabScreen.language)
                yield DataPanel(classes="panel").data_bind(
                    cls.board, cls.detail, cls.state, TabScreen.language
                )
            with Vertical(id="centre"):
                yield Quote().data_bind(cls.board, cls.detail, TabScreen.language)
                yield CandleChart(id="chart").data_bind(cls.detail, cls.past, TabScreen.language)
                yield ForecastLine().data_bind(cls.detail, TabScreen.language, cls.running)
                yield OutcomeLine().data_bind(cls.detail, cls.past, TabScreen.language)
                with Horizontal(id="info", classes="show-signals"):
                    yield SignalsPanel(classes="panel").data_bind(cls.detail, TabScreen.language)
                    yield NewsPanel(self.now, classes="panel").data_bind(cls.detail, TabScreen.language)
                    yield DataPanel(classes="panel").data_bind(
                        cls.board, cls.detail, cls.state, TabScreen.language
                    )

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(OutcomeLine).display = False
        chart, listed, where = self.chart, self.watchlist, self.where
        chart.spacing, chart.period, chart.span = where.spacing, where.period, where.span
        listed.sort(where.order, where.descending)
        if where.list in self.lists:
            listed.show_list(where.list, self.lists[where.list])
        listed.cursor = where.company
        self.show_list_title()
        listed.focus()
        self.load_board()
        self.look_at_store()
        self.set_interval(LOOK_S, self.look_at_store)

    # What others write

    @work(thread=True, exclusive=True, exit_on_error=False, group="watch", description="look at the store")
    def look_at_store(self) -> None:
        """See whether another process has written to the store."""
        home = self.home
        self.post_message(StoreSeen(home, mark(home)))

    @on(StoreSeen)
    def _store_seen(self, message: StoreSeen) -> None:
        if message.home != self.home or not self.store_watch.look(message.mark):
            return
        self.stock.changes += 1
        if not isinstance(self.app.screen, GuideScreen):
            self.catch_up()  # in sight or not: the other tabs do when they are
        if isinstance(self.app.screen, TabScreen | GuideScreen):
            self.app.screen.catch_up()

    # Reading, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="board", description="read the watchlist")
    def load_board(self, anew: bool = False) -> None:
        try:
            self.post_message(BoardLoaded(core.load_board(self.home), anew))
        except Exception as error:
            self.post_message(LoadFailed("board", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="data", description="count gaps")
    def load_data_state(self) -> None:
        try:
            self.post_message(DataStateLoaded(core.load_data_state(self.home, self.now())))
        except Exception as error:
            self.post_message(LoadFailed("data", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="marks", description="judge companies")
    def judge(self, codes: tuple[str, ...]) -> None:
        worker = get_current_worker()
        try:
            self.post_message(Judged(core.judge(self.home, codes, lambda: worker.is_cancelled)))
        except Exception as error:
            self.post_message(LoadFailed("marks", error))

    @work(
        thread=True, exclusive=True, exit_on_error=False, group="forecast", description="forecast a company"
    )
    def make_forecast(self, code: str) -> None:
        worker = get_current_worker()

        def progress(done: int, total: int) -> None:
            if worker.is_cancelled:
                raise Stopped
            self.post_message(ForecastProgress(code, done, total))

        try:
            self.post_message(ForecastDone(code, self.forecaster(self.home, code, progress)))
        except Stopped:
            return
        except Exception as error:
            self.post_message(ForecastFailed(code, error))

    # What the threads report

    @on(BoardLoaded)
    def _board_loaded(self, message: BoardLoaded) -> None:
        board = message.board
        if self.board is not None and not message.anew:
            board = board.with_marks(self.board.marks_still_good(board))
        self.board = board
        shown = self.watchlist.rows or board.rows
        if board.row(self.selected) is None:
            self.selected = shown[0].company.code
        self.select(self.selected)
        self.load_data_state()
        if board.unjudged:
            self.judge(board.unjudged[:JUDGED_AT_ONCE])

    @on(Judged)
    def _judged(self, message: Judged) -> None:
        if self.board is not None:
            self.board = self.board.with_marks(message.marks)

    @on(DataStateLoaded)
    def _data_state_loaded(self, message: DataStateLoaded) -> None:
        self.state = message.state

    @on(LoadFailed)
    def _load_failed(self, message: LoadFailed) -> None:
        error = message.error
        lost = self.board is None or isinstance(error, NothingToShow)
        if message.group == "board" and isinstance(error, StockllmError) and lost:
            self.app.push_screen(GuideScreen(self.language, error), self._guide_left)
            return
        self.report(error, "toast.load_failed")

    def _guide_left(self, retry: bool | None) -> None:
        if retry:
            self.load_board()

    @on(ForecastProgress)
    def _forecast_progress(self, message: ForecastProgress) -> None:
        self.running = (message.code, message.done, message.total)

    @on(ForecastDone)
    def _forecast_done(self, message: ForecastDone) -> None:
        self.running = None
        if message.code != self.selected:
            self.notify(t("toast.forecast_done", self.language, name=self.name_of(message.code)))
        for warning in message.warnings:
            self.notify(warning, severity="warning")
        self.load_board()

    @on(ForecastFailed)
    def _forecast_failed(self, message: ForecastFailed) -> None:
        self.running = None
        self.report(message.error, "toast.forecast_failed")

    # What the user does

    def name_of(self, code: str) -> str:
        """Code and name as the screen's language has it."""
        row = self.board.row(code) if self.board else None
        return f"{code} {display(row.company, self.language)}" if row else code

    def action_forecast(self) -> None:
        """Forecast the selected company, unless one is being made."""
        if self.running is not None:
            name = self.name_of(self.running[0])
            self.notify(t("toast.busy", self.language, name=name), severity="warning")
            return
        # The cursor, not what is shown: keys may be quicker than the reads they ask for.
        code = self.watchlist.cursor
        if code:
            self.running = (code, 0, 0)
            self.make_forecast(code)

    def store_changed(self) -> None:
        self.load_board()

    def action_reload(self) -> None:
        """Read everything again."""
        self.state = None
        self.load_board(anew=True)

    def action_panel(self) -> None:
        """The next of the panels that take turns in a small window."""
        self.panel = PANELS[(PANELS.index(self.panel) + 1) % len(PANELS)]

    def action_clear(self) -> None:
        """Away with the crosshair, the older forecast, the filter: the first of them there is."""
        if self.query_one("#filter", Input).has_focus:
            self.clear_filter()
        elif self.chart.cross is not None:
            self.chart.cross = None
        elif self.past is not None:
            self.past, self.chart.back = None, 0
        else:
            self.clear_filter()

    def entries(self) -> list[Entry]:
        """Spans and lists by name."""
        spans = [Entry("palette.view", *TABLE[f"span.{span}"], f"screen.span('{span}')") for span in SPANS]
        return [*spans, *self.list_entries()]

    # What follows from what is shown

    def watch_language(self) -> None:
        if not self.query("#filter"):
            return
        self.query_one("#filter", Input).placeholder = t("filter.placeholder", self.language)
        self.show_list_title()

    def watch_panel(self) -> None:
        for info in self.query("#info"):
            info.set_classes(f"show-{self.panel}")

    def watch_board(self) -> None:
        if self.board is not None:
            self._tell(
                Facts(self.board.simulated, self.board.last, len(self.board.rows), self.stock.facts.running)
            )

    def watch_running(self) -> None:
        self._tell(replace(self.stock.facts, running=self.running[0] if self.running else ""))

    def _tell(self, facts: Facts) -> None:
        self.stock.facts = facts
