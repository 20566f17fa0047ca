"""What the tabs have in common: a top bar, a footer, their keys, and how they say what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.worker import WorkerCancelled, WorkerFailed, get_current_worker

from stockllm.tui.core.key_bar import KeyBar
from stockllm.tui.core.keys import COMMON, Key
from stockllm.tui.core.messages import Exported, ExportFailed
from stockllm.tui.core.palette import Entry
from stockllm.tui.core.top_bar import TopBar
from stockllm.tui.core.turns import passed
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language

if TYPE_CHECKING:
    from stockllm.tui.core.dashboard import Dashboard

#: Writes files and says which; for a thread.
Write = Callable[[], Sequence[Path]]


class TabScreen(Screen[None]):
    """One tab. A subclass names its ``TAB`` and ``KEYS`` and composes its body."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (150, "-wide"), (190, "-vast")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (48, "-high")]  # noqa: RUF012

    TAB: ClassVar[str] = ""
    KEYS: ClassVar[tuple[Key, ...]] = ()
    #: Groups of the workers without whose answers the keys have nothing to act on.
    READING: ClassVar[tuple[str, ...]] = ()
    #: Texts under the keys of the help screen: how to read what is shown.
    NOTES: ClassVar[tuple[str, ...]] = ()

    language: reactive[Language] = reactive("zh", repaint=False)

    def __init__(self, language: Language) -> None:
        super().__init__()
        self._changes = 0
        self._was_read = False
        self.set_reactive(TabScreen.language, language)

    @property
    def stock(self) -> Dashboard:
        """The app, as its tabs know it."""
        return cast("Dashboard", self.app)

    def compose(self) -> ComposeResult:
        yield TopBar(self.TAB).data_bind(TabScreen.language)
        yield from self.body()
        yield KeyBar((*self.KEYS, *COMMON)).data_bind(TabScreen.language)

    def body(self) -> ComposeResult:
        """What stands between the top bar and the footer."""
        raise NotImplementedError

    def entries(self) -> list[Entry]:
        """Palette entries beyond the keys."""
        return []

    def on_screen_resume(self) -> None:
        """The language and the store may have changed while another tab was shown."""
        self.language = self.stock.language
        self.catch_up()

    def catch_up(self) -> None:
        """Read again if the store was changed from elsewhere since the last time."""
        if self._changes != self.stock.changes:
            self._changes = self.stock.changes
            self.store_changed()

    def do_when_read(self, action: str) -> None:
        """Do what a key of this tab does; on a tab only just opened, after its first reading."""
        self.call_later(self._do_when_read, action)  # that is, when it is built

    @work(exclusive=True, exit_on_error=False, group="wanted", description="act once the tab is read")
    async def _do_when_read(self, action: str) -> None:
        while not self._was_read:
            await passed(self)  # an answer may ask for another reading
            reading = [
                worker
                for worker in self.workers
                if worker.node is self and worker.group in self.READING and not worker.is_finished
            ]
            self._was_read = not reading
            for worker in reading:
                with suppress(WorkerCancelled, WorkerFailed):
                    await worker.wait()
        if self.is_current:
            await self.app.run_action(action, self)

    def store_changed(self) -> None:
        """Somebody else wrote to the store: read again, and leave the user where they are."""

    @on(events.ScreenResume)
    def _keep_styles(self, event: events.ScreenResume) -> None:
        # A theme that was changed meanwhile is applied before the screen is shown.
        event.refresh_styles = False

    def answer(self, message: Message) -> None:
        """For a worker: post what it found, unless a newer one has taken its place meanwhile.

        A thread cannot be interrupted; without this its late answer would cover the newer one's.
        """
        if not get_current_worker().is_cancelled:
            self.post_message(message)

    def report(self, error: Exception, title: str) -> None:
        """One sentence in a toast under the text named ``title``; the log keeps the rest."""
        self.stock.report(error, t(title, self.language))

    def action_reload(self) -> None:
        """Read again what is shown."""
        raise NotImplementedError

    # Export

    def action_export(self) -> None:
        """Write what is shown to files and say where they are."""
        write = self.exports()
        if write is None:
            self.notify(t("toast.nothing_to_export", self.language), severity="warning")
        else:
            self.export(write)

    def exports(self) -> Write | None:
        """What writes the files of what is shown, in a thread; None where there is nothing to write."""
        raise NotImplementedError

    @work(thread=True, exit_on_error=False, group="export", description="write what is shown")
    def export(self, write: Write) -> None:
        try:
            self.post_message(Exported(tuple(write())))
        except Exception as error:
            self.post_message(ExportFailed(error))

    @on(Exported)
    def _exported(self, message: Exported) -> None:
        files = "\n".join(map(str, message.files))
        self.notify(t("toast.exported", self.language, files=files), markup=False)

    @on(ExportFailed)
    def _not_exported(self, message: ExportFailed) -> None:
        self.report(message.error, "toast.export_failed")
