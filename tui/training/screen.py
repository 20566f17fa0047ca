"""The Training tab: runs with their curves, adapters with their cards, and what can be done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from stockllm.tui.core import jobs
from stockllm.tui.core.ask import ConfirmScreen
from stockllm.tui.core.jobs import Job
from stockllm.tui.core.keys import TRAINING, Key, bindings
from stockllm.tui.core.messages import LoadFailed, Started
from stockllm.tui.core.tab import TabScreen, Write
from stockllm.tui.core.text_screen import TextScreen
from stockllm.tui.drawing.box import say
from stockllm.tui.drawing.curve import Curve, Plot
from stockllm.tui.drawing.table import Cell, Column, Line, Table
from stockllm.tui.look.strings import t
from stockllm.tui.training import reading as core
from stockllm.tui.training.form import TrainForm
from stockllm.tui.training.messages import AdaptersLoaded, DefaultSet, RunsLoaded
from stockllm.tui.training.reading import Adapter, Adapters, Run
from stockllm.tui.training.wording import adapter_text, run_text, state_look

if TYPE_CHECKING:
    from collections.abc import Sequence


#: How often a run at work is looked at.
_LOOK_S = 1.0

#: What to call a failure, by the group of the worker.
_FAILED = {"start": "toast.train_failed", "default": "toast.not_saved"}


class TrainingScreen(TabScreen):
    """Runs and adapters at the left, the one under the cursor at the right."""

    TAB = "training"
    READING = ("runs", "adapters")
    KEYS: ClassVar[tuple[Key, ...]] = TRAINING
    NOTES = ("help.training",)
    BINDINGS: ClassVar[list[BindingType]] = bindings(TRAINING, "training")

    runs: tuple[Run, ...] | None = None
    adapters: Adapters | None = None
    jobs: tuple[Job, ...] = ()
    #: Processes that the user asked to stop: that they end with a sentence is no failure.
    stopping: frozenset[int] = frozenset()

    def body(self) -> ComposeResult:
        with Horizontal(id="training"):
            with Vertical(id="train-lists"):
                yield Table(id="runs")
                yield Table(id="adapters")
            with Vertical(id="train-detail"):
                yield Static(id="train-text", markup=False)
                yield Curve(id="loss")
                yield Curve(id="lr")

    def on_mount(self) -> None:
        self.marked: list[str] = []
        self.shown = "runs"
        self._clock: Timer = self.set_interval(_LOOK_S, self._look, pause=True)
        self.query_one("#runs", Table).focus()
        self.show()
        self.action_reload()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.runs is not None:
            self.load_runs()

    def on_unmount(self) -> None:
        for job in self.jobs:
            job.let_go()

    # Reading and starting, each in a thread of its own

    @work(thread=True, exclusive=True, exit_on_error=False, group="runs", description="read the runs")
    def load_runs(self) -> None:
        try:
            self.answer(RunsLoaded(core.load_runs(self.stock.home)))
        except Exception as error:
            self.post_message(LoadFailed("runs", error))

    @work(thread=True, exclusive=True, exit_on_error=False, group="adapters", description="read the adapters")
    def load_adapters(self) -> None:
        try:
            self.answer(AdaptersLoaded(core.load_adapters(self.stock.home)))
        except Exception as error:
            self.post_message(LoadFailed("adapters", error))

    @work(thread=True, exit_on_error=False, group="start", description="start a command")
    def start_command(self, name: str, arguments: Sequence[str]) -> None:
        try:
            self.post_message(Started(self.stock.start_job(name, arguments)))
        except Exception as error:
            self.post_message(LoadFailed("start", error))

    @work(thread=True, exit_on_error=False, group="compare", description="compare adapters")
    def start_comparison(self, models: tuple[str, ...], ends: tuple[str, ...]) -> None:
        try:
            arguments, period = core.compare_arguments(self.stock.home, models, ends)
            job = self.stock.start_job("evaluate", arguments)
            self.post_message(Started(job, t("toast.comparing", self.language, period=period)))
        except Exception as error:
            self.post_message(LoadFailed("start", error))

    @work(thread=True, exit_on_error=False, group="default", description="set the default model")
    def set_default(self, model: str) -> None:
        try:
            core.set_default(self.stock.home, model)
            self.post_message(DefaultSet(model))
        except Exception as error:
            self.post_message(LoadFailed("default", error))

    # What the threads report

    @on(RunsLoaded)
    def _runs_loaded(self, message: RunsLoaded) -> None:
        before = {run.folder for run in self.runs or () if run.running}
        self.runs = message.runs
        if before - {run.folder for run in self.runs if run.running}:
            self.load_adapters()
        self._reap()
        if self.jobs or any(run.running for run in self.runs):
            self._clock.resume()
        else:
            self._clock.pause()
        self.show()

    def _reap(self) -> None:
        """Tell how the commands that have ended did."""
        for job in self.jobs:
            if not job.ended():
                continue
            self.jobs = tuple(other for other in self.jobs if other is not job)
            failure = job.failure()
            if failure is not None and job.process.pid in self.stopping:
                self.notify(failure.sentence(self.language), markup=False)
            elif failure is not None:
                self.report(failure, "toast.train_failed")
            elif job.name == "evaluate":
                said = "\n".join(jobs.tail(job.log, 200))
                self.app.push_screen(TextScreen(self.language, t("training.compared", self.language), said))

    @on(AdaptersLoaded)
    def _adapters_loaded(self, message: AdaptersLoaded) -> None:
        self.adapters = message.adapters
        self.show()

    @on(DefaultSet)
    def _default_set(self, message: DefaultSet) -> None:
        self.notify(t("toast.default_set", self.language, model=message.model), markup=False)
        self.load_adapters()

    @on(Started)
    def _started(self, message: Started) -> None:
        self.jobs = (*self.jobs, message.job)
        self.notify(message.text or t("toast.train_started", self.language), timeout=4, markup=False)
        self._clock.resume()

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        self.report(message.error, _FAILED.get(message.group, "toast.load_failed"))

    def _look(self) -> None:
        if self.is_current or self.jobs:
            self.load_runs()

    # What the user does

    @property
    def run(self) -> Run | None:
        """The run under the cursor."""
        key = self.query_one("#runs", Table).cursor
        return next((run for run in self.runs or () if str(run.folder) == key), None)

    @property
    def every_adapter(self) -> tuple[Adapter, ...]:
        """The adapters there are, none before they are read."""
        return self.adapters.adapters if self.adapters else ()

    @property
    def adapter(self) -> Adapter | None:
        """The adapter under the cursor."""
        key = self.query_one("#adapters", Table).cursor
        return next((each for each in self.every_adapter if each.info.name == key), None)

    def action_start(self) -> None:
        """Fill in the form; what it gives is started as a process of its own."""

        def filled(arguments: list[str] | None) -> None:
            if arguments:
                self.start_command("train", arguments)

        chosen = self.stock.market.selected
        self.app.push_screen(TrainForm(self.language, self.stock.home, chosen), filled)

    def action_stop(self) -> None:
        """Ask, and stop the run under the cursor; it keeps a checkpoint."""
        run = self.run
        if run is None or not run.running or not run.pid:
            self.notify(t("toast.not_running", self.language), severity="warning")
            return
        pid = run.pid

        def answered(yes: bool | None) -> None:
            if yes:
                self.stopping |= {pid}
                try:
                    jobs.stop(pid)
                except jobs.JobFailed as error:
                    self.report(error, "toast.train_failed")

        self.app.push_screen(
            ConfirmScreen(self.language, t("training.stop", self.language, name=run.name)), answered
        )

    def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        run = self.run
        if run is None or run.state not in core.RESUMABLE:
            self.notify(t("toast.not_resumable", self.language), severity="warning")
        else:
            self.start_command("train", core.resume_arguments(self.stock.home, run))

    def action_default(self) -> None:
        """Let the adapter under the cursor forecast where no model is named; again: the newest one."""
        adapter = self.adapter
        if adapter is None or self.adapters is None:
            self.notify(t("toast.no_adapter", self.language), severity="warning")
        else:
            self.set_default("auto" if self.adapters.default == adapter.model else adapter.model)

    def action_compare(self) -> None:
        """Mark the adapter under the cursor; two marked ones are scored on days neither has seen."""
        adapter = self.adapter
        if adapter is None:
            self.notify(t("toast.no_adapter", self.language), severity="warning")
            return
        if adapter.info.name in self.marked:
            self.marked.remove(adapter.info.name)
        else:
            self.marked.append(adapter.info.name)
        both = [each for each in self.every_adapter if each.info.name in self.marked]
        if len(both) == 2:
            self.marked.clear()
            self.start_comparison(tuple(a.model for a in both), tuple(a.card.data_end for a in both))
        elif self.marked:
            self.notify(t("toast.mark_another", self.language), timeout=4)
        self.show()

    def store_changed(self) -> None:
        self.action_reload()

    def action_reload(self) -> None:
        """Read runs and adapters again."""
        self.load_runs()
        self.load_adapters()

    def exports(self) -> Write | None:
        """What the run under the cursor said, as CSV."""
        if self.run is None:
            return None
        home, run = self.stock.home, self.run
        return lambda: [core.export_run(home, run)]

    @on(Table.Moved)
    def _moved(self, message: Table.Moved) -> None:
        if message.table.has_focus:
            self.shown = message.table.id or "runs"
        self._detail()

    def on_descendant_focus(self) -> None:
        if isinstance(self.focused, Table) and self.focused.id:
            self.shown = self.focused.id
            self._detail()

    # Showing

    def watch_language(self) -> None:
        if self.query(Table):
            self.show()

    def show(self) -> None:
        """Everything, in the language of the screen."""
        language = self.language
        self.query_one("#runs", Table).fill(
            (
                Column(t("training.run", language), 0),
                Column(t("training.state", language), 8),
                Column(t("training.step", language), 11, "right"),
            ),
            [Line(str(run.folder), self._run_cells(run)) for run in self.runs or ()],
            t("training.no_runs" if self.runs is not None else "training.loading", language),
        )
        self.query_one("#adapters", Table).fill(
            (
                Column("", 1),
                Column(t("training.adapter", language), 0),
                Column(t("training.until", language), 10),
                Column(t("training.valid", language), 7, "right", rank=1),
            ),
            [Line(each.info.name, self._adapter_cells(each)) for each in self.every_adapter],
            t("training.no_adapters" if self.adapters else "training.loading", language),
        )
        self._detail()

    def _run_cells(self, run: Run) -> tuple[Cell, ...]:
        last = run.last
        steps = f"{last.step}/{last.steps}" if last else "–"
        return (
            (run.name, "row"),
            (t(f"state.{run.state}", self.language), state_look(run.state)),
            (steps, "quiet"),
        )

    def _adapter_cells(self, adapter: Adapter) -> tuple[Cell, ...]:
        default = self.adapters is not None and self.adapters.default == adapter.model
        mark = "★" if default else "●" if adapter.info.name in self.marked else ""
        loss = adapter.card.losses.get("validation_loss_after")
        return (
            (mark, "forecast"),
            (adapter.info.name, "row"),
            (adapter.info.data_end, "quiet"),
            ("–" if loss is None else f"{loss:.3f}", "quiet"),
        )

    def _detail(self) -> None:
        """The run or the adapter under the cursor of the list that is used."""
        run, adapter = self.run, self.adapter
        loss, rate = self.query_one("#loss", Curve), self.query_one("#lr", Curve)
        as_run = run is not None and (self.shown == "runs" or adapter is None)
        loss.display = rate.display = as_run
        box = self.query_one("#train-text", Static)
        if as_run and run is not None:
            say(box, run_text(run, self.language))
            last = run.last
            ends = ("0", str(last.steps)) if last else ("", "")
            notice = t("training.no_points", self.language)
            loss.plot = Plot(
                t("training.loss_curve", self.language), run.points("loss"), run.points("eval_loss"),
                ends=ends, notice=notice,
                legend=(t("training.curve_train", self.language), t("training.curve_valid", self.language)),
            )  # fmt: skip
            rate.plot = Plot(
                t("training.lr_curve", self.language), run.points("lr"), ends=ends, notice=notice
            )
        elif adapter is not None:
            say(box, adapter_text(adapter, self.language))
        else:
            say(box, t("training.how", self.language))
