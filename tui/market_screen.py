"""The market screen: watchlist, chart with forecast, signals, news, data. It owns what they show."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Input
from textual.worker import get_current_worker

from stockllm.data.errors import StockllmError
from stockllm.market.companies import display
from stockllm.tui import board as core
from stockllm.tui.board import Board, DataState, Detail, NothingToShow
from stockllm.tui.chart import CandleChart
from stockllm.tui.data_panel import DataPanel
from stockllm.tui.forecast_line import ForecastLine
from stockllm.tui.guide_screen import GuideScreen
from stockllm.tui.help_screen import HelpScreen
from stockllm.tui.key_bar import KeyBar
from stockllm.tui.messages import (
    BoardLoaded,
    DataStateLoaded,
    DetailLoaded,
    ForecastDone,
    ForecastFailed,
    ForecastProgress,
    Judged,
    LoadFailed,
)
from stockllm.tui.news_panel import NewsPanel
from stockllm.tui.quote import Quote
from stockllm.tui.signals_panel import SignalsPanel
from stockllm.tui.strings import t
from stockllm.tui.text import Language
from stockllm.tui.top_bar import TopBar
from stockllm.tui.watchlist import Picked, Watchlist

if TYPE_CHECKING:
    from stockllm.data.paths import Home

log = logging.getLogger("stockllm.tui")

#: The panels that take turns where there is room for one.
PANELS = ("signals", "news", "data")

#: Companies judged in the background where no signals are stored: the 41 and then some.
JUDGED_AT_ONCE = 100

#: Makes a forecast: home, code, progress -> warnings. ``board.forecast_one`` but in tests.
Forecaster = Callable[["Home", str, core.Progress], tuple[str, ...]]


class Stopped(Exception):
    """Raised inside a forecast whose worker was cancelled, to leave it at its next report."""


class MarketScreen(Screen[None]):
    """Everything about one company at a time, with the whole list beside it."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (150, "-wide"), (190, "-vast")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (48, "-high")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "forecast", "Forecast", id="market.forecast", tooltip="Forecast the selected stock"),
        Binding("slash", "filter", "Filter", id="market.filter", tooltip="Filter the watchlist"),
        Binding(
            "plus,equals_sign,right_square_bracket",
            "zoom(1)",
            "Nearer",
            id="market.zoom_in",
            tooltip="Fewer days",
        ),
        Binding(
            "minus,left_square_bracket", "zoom(-1)", "Farther", id="market.zoom_out", tooltip="More days"
        ),
        Binding("r", "reload", "Reload", id="market.reload", tooltip="Read the store again"),
        Binding("p", "panel", "Panel", id="market.panel", tooltip="Next panel, in small windows"),
        Binding("question_mark", "help", "Help", id="market.help", tooltip="All keys"),
        Binding("escape", "clear", "Clear", show=False, id="market.clear", tooltip="Clear the filter"),
    ]

    language: reactive[Language] = reactive("zh")
    board: reactive[Board | None] = reactive(None)
    detail: reactive[Detail | None] = reactive(None)
    state: reactive[DataState | None] = reactive(None)
    #: (code, done, total) while a forecast is being made.
    running: reactive[tuple[str, int, int] | None] = reactive(None)
    panel: reactive[str] = reactive(PANELS[0])

    def __init__(
        self, home: Home, language: Language, forecaster: Forecaster, now: Callable[[], datetime]
    ) -> None:
        super().__init__()
        self.home = home
        self.forecaster = forecaster
        self.now = now
        self.selected = ""
        self.set_reactive(MarketScreen.language, language)

    def compose(self) -> ComposeResult:
        cls = MarketScreen
        yield TopBar().data_bind(cls.board, cls.language, cls.running)
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield Input(id="filter", compact=True)
                yield Watchlist(id="list").data_bind(cls.board, cls.language)
                yield DataPanel(classes="panel").data_bind(cls.board, cls.detail, cls.state, cls.language)
            with Vertical(id="centre"):
                yield Quote().data_bind(cls.board, cls.detail, cls.language)
                yield CandleChart(id="chart").data_bind(cls.detail, cls.language)
                yield ForecastLine().data_bind(cls.detail, cls.language, cls.running)
                with Horizontal(id="info", classes="show-signals"):
                    yield SignalsPanel(classes="panel").data_bind(cls.detail, cls.language)
                    yield NewsPanel(self.now, classes="panel").data_bind(cls.detail, cls.language)
                    yield DataPanel(classes="panel").data_bind(cls.board, cls.detail, cls.state, cls.language)
        yield KeyBar().data_bind(cls.language)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(Watchlist).focus()
        self.load_board()

    # Reading, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="board", description="read the watchlist")
    def load_board(self, anew: bool = False) -> None:
        try:
            self.post_message(BoardLoaded(core.load_board(self.home), anew))
        except Exception as error:
            self.post_message(LoadFailed("board", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="detail", description="read a company")
    def load_detail(self, code: str) -> None:
        try:
            self.post_message(DetailLoaded(core.load_detail(self.home, code)))
        except Exception as error:
            self.post_message(LoadFailed("detail", error))

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
        if board.row(self.selected) is None:
            self.selected = ""
        self.select(self.selected or board.rows[0].company.code)
        self.load_data_state()
        if board.unjudged:
            self.judge(board.unjudged[:JUDGED_AT_ONCE])

    @on(Judged)
    def _judged(self, message: Judged) -> None:
        if self.board is not None:
            self.board = self.board.with_marks(message.marks)

    @on(DetailLoaded)
    def _detail_loaded(self, message: DetailLoaded) -> None:
        if message.detail.company.code == self.selected:
            self.detail = message.detail

    @on(DataStateLoaded)
    def _data_state_loaded(self, message: DataStateLoaded) -> None:
        self.state = message.state

    @on(LoadFailed)
    def _load_failed(self, message: LoadFailed) -> None:
        error = message.error
        if message.group == "board" and isinstance(error, StockllmError):
            missing = error if isinstance(error, NothingToShow) else None
            self.app.push_screen(GuideScreen(self.language, missing, str(error)), self._guide_left)
            return
        self.notify(self.sentence(error), title=t("toast.load_failed", self.language), severity="error")

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
        title = t("toast.forecast_failed", self.language)
        self.notify(self.sentence(message.error), title=title, severity="error")

    def sentence(self, error: Exception) -> str:
        """One sentence for a toast; the traceback of what nobody foresaw goes to the log."""
        if isinstance(error, StockllmError):
            return str(error)
        log.error("unexpected error", exc_info=error)
        kind = type(error).__name__
        return t("toast.unexpected", self.language, kind=kind, log=str(self.home.logs / "tui.log"))

    # What the user does

    @on(Picked)
    def _picked(self, message: Picked) -> None:
        self.select(message.code, again=message.confirmed)

    def select(self, code: str, again: bool = True) -> None:
        """Show a company; one already shown is read anew only where ``again`` asks for it."""
        if code == self.selected and not again:
            return
        self.selected = code
        self.query_one(Watchlist).cursor = code
        self.load_detail(code)

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
        code = self.query_one(Watchlist).cursor
        if code:
            self.running = (code, 0, 0)
            self.make_forecast(code)

    def action_zoom(self, step: int) -> None:
        """Nearer or farther."""
        self.query_one(CandleChart).zoom(step)

    def action_reload(self) -> None:
        """Read everything again."""
        self.state = None
        self.load_board(anew=True)

    def action_panel(self) -> None:
        """The next of the panels that take turns in a small window."""
        self.panel = PANELS[(PANELS.index(self.panel) + 1) % len(PANELS)]

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(HelpScreen(self.language))

    def action_filter(self) -> None:
        """Open the filter over the watchlist."""
        box = self.query_one("#filter", Input)
        box.display = True
        box.focus()

    def action_clear(self) -> None:
        """Show all companies again."""
        box = self.query_one("#filter", Input)
        box.value = ""
        box.display = False
        self.query_one(Watchlist).focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, message: Input.Changed) -> None:
        self.query_one(Watchlist).query_text = message.value

    @on(Input.Submitted, "#filter")
    def _filter_accepted(self, message: Input.Submitted) -> None:
        message.input.display = bool(message.value)
        self.query_one(Watchlist).focus()

    # What follows from what is shown

    def watch_language(self) -> None:
        for box in self.query("#filter").results(Input):
            box.placeholder = t("filter.placeholder", self.language)

    def watch_panel(self) -> None:
        for info in self.query("#info"):
            info.set_classes(f"show-{self.panel}")
