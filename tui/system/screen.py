"""The System tab: how fresh the data is, what refreshes did, what they may ask, and what went wrong."""

from __future__ import annotations

from datetime import tzinfo
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Static

from stockllm.data.stores.refreshes import RefreshRow
from stockllm.nightly.names import OUTCOME_NAMES, STEP_NAMES
from stockllm.tui.core import jobs
from stockllm.tui.core.ask import ConfirmScreen
from stockllm.tui.core.jobs import Job
from stockllm.tui.core.keys import SYSTEM, Key, bindings
from stockllm.tui.core.messages import LoadFailed, Started
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.core.tab import TabScreen, Write
from stockllm.tui.core.text_screen import TextScreen
from stockllm.tui.drawing.box import say
from stockllm.tui.drawing.table import Table
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.system import reading as core
from stockllm.tui.system.messages import Planned, StoreStateLoaded, SystemLoaded
from stockllm.tui.system.reading import StoreState, SystemState
from stockllm.tui.system.tables import PANES, fill_pane, freshness_table

#: What to call a failure, by the group of the worker.
_FAILED = {"start": "toast.refresh_failed", "plan": "toast.refresh_failed"}

#: How often what is under way is looked at.
_LOOK_S = 1.0


class SystemScreen(TabScreen):
    """Freshness at the left; refresh, requests, quarantine and log take turns at the right."""

    TAB = "system"
    READING = ("system", "health")
    KEYS: ClassVar[tuple[Key, ...]] = SYSTEM
    NOTES = ("help.system",)
    BINDINGS: ClassVar[list[BindingType]] = bindings(SYSTEM, "system")

    pane: reactive[str] = reactive(PANES[0], repaint=False)

    state: SystemState | None = None
    store_state: StoreState | None = None
    job: Job | None = None
    #: What the table of freshness was made from.
    _fresh: tuple[StoreState | None, Language] | None = None

    def body(self) -> ComposeResult:
        yield Static(id="system-line", markup=False)
        with Horizontal(id="system", classes=f"show-{PANES[0]}"):
            yield Table(id="freshness", classes="pane")
            with Vertical(id="right"):
                yield Static(id="pane-title", markup=False)
                yield Table(id="pane")

    def on_mount(self) -> None:
        self.steps_of = ""
        self._clock: Timer = self.set_interval(_LOOK_S, self._look, pause=True)
        self.query_one("#pane", Table).focus()
        self.show()
        self.action_reload()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.state is not None:
            self.load_system()

    def on_unmount(self) -> None:
        if self.job is not None:
            self.job.let_go()

    # Reading, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="system", description="read the state")
    def load_system(self) -> None:
        try:
            self.answer(SystemLoaded(core.load_system(self.stock.home, self.stock.now())))
        except Exception as error:
            self.post_message(LoadFailed("system", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="health", description="examine the store")
    def load_store_state(self) -> None:
        try:
            self.answer(StoreStateLoaded(core.load_store_state(self.stock.home, self.stock.now())))
        except Exception as error:
            self.post_message(LoadFailed("health", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="plan", description="plan a refresh")
    def plan(self) -> None:
        try:
            lines = core.plan_refresh(self.stock.home, self.stock.now(), self.language)
            self.post_message(Planned(tuple(lines)))
        except Exception as error:
            self.post_message(LoadFailed("plan", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="start", description="start a refresh")
    def start(self) -> None:
        try:
            self.post_message(Started(self.stock.start_job("refresh", ["refresh"])))
        except Exception as error:
            self.post_message(LoadFailed("start", error))

    # What the threads report

    @on(SystemLoaded)
    def _system_loaded(self, message: SystemLoaded) -> None:
        was = self.state.holder if self.state else None
        self.state = message.state
        if self.job is not None and self.job.ended():
            failure, self.job = self.job.failure(), None
            if failure is not None:
                self.report(failure, "toast.refresh_failed")
        if was is not None and message.state.holder is None:
            self.load_store_state()
            self.stock.market.load_board()
        if message.state.holder is None and self.job is None:
            self._clock.pause()
        else:
            self._clock.resume()
        self.show()

    @on(StoreStateLoaded)
    def _store_state_loaded(self, message: StoreStateLoaded) -> None:
        self.store_state = message.state
        self.show()

    @on(Planned)
    def _planned(self, message: Planned) -> None:
        question = "\n".join([*message.lines, "", t("system.really", self.language)])
        self.app.push_screen(ConfirmScreen(self.language, question), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes:
            self.start()

    @on(Started)
    def _started(self, message: Started) -> None:
        self.job = message.job
        self.notify(t("toast.refresh_started", self.language), timeout=3)
        self._clock.resume()

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        if isinstance(message.error, NothingToShow):
            say(self.query_one("#system-line", Static), message.error.sentence(self.language))
            return
        self.report(message.error, _FAILED.get(message.group, "toast.load_failed"))

    def _look(self) -> None:
        if self.is_current:
            self.load_system()

    # What the user does

    def action_refresh_now(self) -> None:
        """Say what a refresh would ask for, and start one if the user says yes."""
        if self.state is not None and self.state.holder is not None:
            self.notify(t("toast.refresh_runs", self.language), severity="warning")
        else:
            self.plan()

    def action_stop(self) -> None:
        """Ask, and stop the refresh that runs."""
        holder = self.state.holder if self.state else None
        if holder is None or not holder.pid:
            self.notify(t("toast.no_refresh", self.language), severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                try:
                    jobs.stop(holder.pid)
                except jobs.JobFailed as error:
                    self.report(error, "toast.refresh_failed")

        question = t("system.stop", self.language, who=holder.who, pid=holder.pid)
        self.app.push_screen(ConfirmScreen(self.language, question), answered)

    def action_pane(self, step: int) -> None:
        """The next of the panes at the right."""
        panes = PANES if self.has_class("-narrow") else tuple(p for p in PANES if p != "freshness")
        now = panes.index(self.pane) if self.pane in panes else 0
        self.pane = panes[(now + step) % len(panes)]

    def store_changed(self) -> None:
        self.action_reload()

    def action_reload(self) -> None:
        """Read everything again."""
        self.load_system()
        self.load_store_state()

    def exports(self) -> Write | None:
        """The freshness of every company, as CSV."""
        if self.store_state is None:
            return None
        home, state, now = self.stock.home, self.store_state, self.stock.now()
        return lambda: [core.export_state(home, state, now)]

    @on(Table.Picked, "#freshness")
    def _company(self, message: Table.Picked) -> None:
        self.stock.action_company(message.key)

    @on(Table.Picked, "#pane")
    def _refresh_picked(self, message: Table.Picked) -> None:
        if self.pane == "refresh" and message.key.startswith("refresh-"):
            id = message.key.removeprefix("refresh-")
            self.steps_of = "" if self.steps_of == id else id
            self.show()
        elif self.pane == "log":
            whole = next(row.cells[0][0] for row in message.table.rows if row.key == message.key)
            self.app.push_screen(TextScreen(self.language, t("pane.log", self.language), whole))

    # Showing

    def watch_language(self) -> None:
        if self.query(Table):
            self.show()

    def watch_pane(self) -> None:
        for box in self.query("#system"):
            box.set_classes(f"show-{self.pane}")
            self.show()
            shown = "#freshness" if self.pane == "freshness" else "#pane"
            self.query_one(shown, Table).focus()

    def show(self) -> None:
        """Everything, in the language of the screen."""
        language = self.language
        fresh = (self.store_state, language)
        if fresh != self._fresh:
            # A line a company: not to be made again for every look at a refresh that runs.
            self._fresh = fresh
            freshness_table(self.query_one("#freshness", Table), *fresh)
        table = self.query_one("#pane", Table)
        if self.pane != "freshness":
            troubles = tuple(self.stock.troubles)
            fill_pane(table, self.pane, self.state, self.store_state, troubles, self.steps_of, language)
        say(self.query_one("#pane-title", Static), self._titles())
        if self.state is not None:
            say(self.query_one("#system-line", Static), " · ".join(self._line(self.state)))

    def _titles(self) -> Content:
        """The panes' names, the one shown in bright."""
        pieces: list[tuple[str, str]] = []
        for pane in PANES:
            if pane != "freshness" or self.has_class("-narrow"):
                look = "bold $forecast" if pane == self.pane else "$text-quiet"
                pieces += [(t(f"pane.{pane}", self.language), look), ("  ", "")]
        return Content.assemble(*pieces)

    def _line(self, state: SystemState) -> list[str]:
        """The last and the next refresh, and who runs or hosts them."""
        language = self.language
        zone = self.stock.now().tzinfo
        parts = []
        if state.holder is not None:
            row = state.refreshes[0] if state.refreshes else None
            step = row.steps[-1].step if row and row.steps else ""
            parts.append(t("system.runs", language, step=_step(step, language), pid=state.holder.pid))
        elif state.refreshes:
            parts.append(t("system.last", language, what=_summary(state.refreshes[0], zone, language)))
        else:
            parts.append(t("system.never", language))
        if not state.simulated:
            parts.append(t("system.next", language, when=f"{state.due.astimezone(zone):%m/%d %H:%M}"))
            host = state.host
            parts.append(t("system.host", language, who=host.who) if host else t("system.no_host", language))
        return parts


def _step(step: str, language: Language) -> str:
    return STEP_NAMES.get(step, step) if language == "zh" else step


def _summary(row: RefreshRow, zone: tzinfo | None, language: Language) -> str:
    outcome = OUTCOME_NAMES[row.outcome] if language == "zh" else row.outcome
    return f"{row.started.astimezone(zone):%m/%d %H:%M} {outcome}"
