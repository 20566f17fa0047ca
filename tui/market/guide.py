"""Shown in place of an empty screen: ways to get data, or what is wrong with the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from stockllm.data.errors import StockllmError
from stockllm.tui.core import jobs
from stockllm.tui.core.ask import AskScreen
from stockllm.tui.core.jobs import Job
from stockllm.tui.core.key_bar import KeyBar
from stockllm.tui.core.keys import Key, bindings
from stockllm.tui.core.messages import LoadFailed, Started
from stockllm.tui.core.store import NothingToShow
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language

if TYPE_CHECKING:
    from stockllm.tui.core.dashboard import Dashboard

KEYS = (
    Key("d", "d", "screen.demo", "guide_demo"),
    Key("i", "i", "screen.import", "guide_import"),
    Key("u", "u", "screen.refresh", "guide_refresh"),
    Key("r", "r", "screen.retry", "reload"),
    Key("l", "l", "app.language", "language"),
    Key("q", "q", "app.quit", "quit"),
)

#: How often a command that runs is looked at.
_LOOK_S = 1.0


class GuideScreen(Screen[bool]):
    """Dismissed with True to read the store again. ``error`` says why nothing else can be shown."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS, "guide")

    language: reactive[Language] = reactive("zh")

    def __init__(self, language: Language, error: StockllmError) -> None:
        super().__init__()
        self.missing = error if isinstance(error, NothingToShow) else None
        self.error = error
        self.job: Job | None = None
        self.set_reactive(GuideScreen.language, language)

    @property
    def stock(self) -> Dashboard:
        """The app, as its tabs know it."""
        return cast("Dashboard", self.app)

    def compose(self) -> ComposeResult:
        yield Static(id="guide")
        keys = KEYS[3:] if self.missing is None else [key for key in KEYS if self._fits(key.name)]
        yield KeyBar(keys).data_bind(GuideScreen.language)

    def on_mount(self) -> None:
        self._clock: Timer = self.set_interval(_LOOK_S, self.look, pause=True)
        self.watch_language()

    def on_unmount(self) -> None:
        if self.job is not None:
            self.job.let_go()

    def watch_language(self) -> None:
        for guide in self.query("#guide").results(Static):
            guide.update(self.text())

    def _fits(self, name: str) -> bool:
        """Real prices do not belong among the demo's: there is nothing to import or refresh there."""
        return not (self.stock.demo_shown and name in ("guide_import", "guide_refresh"))

    def text(self) -> Content:
        """The guide in the screen's language."""
        language = self.language
        if self.missing is None:
            return Content.assemble(
                (t("guide.trouble", language), "bold $text-error"),
                "\n\n",
                self.error.sentence(language),
                "\n\n",
                (t("guide.then", language), "$text-quiet"),
            )
        pieces: list[str | tuple[str, str]] = [
            (t("guide.title", language), "bold $forecast"),
            "\n\n",
            t(f"guide.{self.missing.reason}", language, path=self.missing.path),
        ]
        for key, command, name in (
            ("d", "stockllm demo", "guide.demo"),
            ("i", "stockllm import PATH", "guide.import"),
            ("u", "stockllm refresh", "guide.refresh"),
        ):
            if not self._fits(name.replace(".", "_")):
                continue
            pieces += ["\n\n", (f"  {key}  ", "bold $forecast"), t(name, language)]
            pieces += ["\n     ", (command, "$simulated")]
        if self.job is not None:
            said = jobs.last_sentence(self.job.log)
            pieces += ["\n\n", (t("guide.runs", language, command=self.job.name), "bold"), f"\n{said}"]
        else:
            form = "guide.or.demo" if self.stock.demo_shown else "guide.or"
            pieces += ["\n\n", (t(form, language), "$text-quiet")]
        if self.stock.demo_shown:
            home = str(self.stock.settings_home.root)
            pieces += ["\n\n", (t("guide.real", language, path=home), "$text-quiet")]
        return Content.assemble(*pieces)

    # Starting one of the three

    def action_demo(self) -> None:
        """Make the simulated market and show it."""
        self._start("demo", ["demo"])

    def action_import(self) -> None:
        """Ask what to import, and import it."""

        def named(path: str | None) -> None:
            if path:
                self._start("import", ["import", path])

        if self._free() and self._fits("guide_import"):
            self.app.push_screen(AskScreen(self.language, t("guide.path", self.language)), named)

    def action_refresh(self) -> None:
        """Fetch prices and news from the exchanges."""
        self._start("refresh", ["refresh"])

    def _free(self) -> bool:
        return self.missing is not None and self.job is None

    def _start(self, name: str, arguments: list[str]) -> None:
        if self._free() and self._fits(f"guide_{name}"):
            self.start(name, arguments)

    @work(thread=True, exclusive=True, exit_on_error=False, group="start", description="start a command")
    def start(self, name: str, arguments: list[str]) -> None:
        """The demo belongs to the user's home, the other commands to the one that is shown."""
        try:
            home = self.stock.settings_home if name == "demo" else self.stock.home
            self.post_message(Started(jobs.start(home, name, arguments, self.stock.command, self.language)))
        except StockllmError as error:
            self.post_message(LoadFailed("start", error))

    @on(Started)
    def _started(self, message: Started) -> None:
        self.job = message.job
        self._clock.resume()
        self.watch_language()

    @on(LoadFailed)
    def _failed(self, message: LoadFailed) -> None:
        self.stock.report(message.error, t("guide.failed", self.language))

    def look(self) -> None:
        """See whether the command has ended; show what there is then."""
        job = self.job
        if job is None or not job.ended():
            self.watch_language()
            return
        self._clock.pause()
        self.job = None
        failure = job.failure()
        if failure is not None:
            self.stock.report(failure, t("guide.failed", self.language))
            # A refresh that could not do all may have brought something.
            if job.name != "refresh":
                self.watch_language()
                return
        if job.name == "demo":
            self.stock.show_demo()
        self.dismiss(True)

    def catch_up(self) -> None:
        """Something came into the store from elsewhere."""
        self.action_retry()

    def action_retry(self) -> None:
        """Leave the guide and read the store again."""
        if self.job is None:
            self.dismiss(True)
