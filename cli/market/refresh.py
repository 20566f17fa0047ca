"""``stockllm refresh``: bring everything up to this evening."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli import arguments
from stockllm.cli.output import emit_json, open_store, say, show, text
from stockllm.data.errors import StockllmError, UsageError
from stockllm.nightly.names import OUTCOME_NAMES, STEP_NAMES

if TYPE_CHECKING:
    from stockllm.data.stores.refreshes import StepRow

# More sentences than these of one step are in the log and in --json.
_SHOWN = 3


class Incomplete(StockllmError):
    """The refresh has ended, and some of it is left for the next one."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("refresh")(refresh)


def refresh(
    only: str = typer.Option("", "--only", metavar="STEP,...", help=f"Steps: {', '.join(STEP_NAMES)}."),
    since: str = typer.Option(
        "", "--since", metavar="DATE", help="See to all days from here on; default: the setting prices_from."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be asked for, and do nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Fetch calendar, prices, ex-dates and news, then forecast, score and judge; safe to repeat."""
    from stockllm.nightly.journal import journal
    from stockllm.nightly.refresh import plan_refresh
    from stockllm.nightly.refresh import refresh as walk

    steps = arguments.parts(only)
    if only and not steps:  # none named is not all of them
        raise UsageError(
            f"--only '{only}' names no step: choose among {', '.join(STEP_NAMES)}.",
            zh=f"--only '{only}' 沒有指定步驟：請從 {', '.join(STEP_NAMES)} 中選擇。",
        )
    start = arguments.day(since) if since else None
    store, settings = open_store(create=True)
    language = settings.language
    with store:
        if dry_run:
            plan = plan_refresh(store, settings, since=start, only=steps)
            if as_json:
                emit_json(plan.document())
            else:
                for line in plan.lines(language):
                    show(line)
            return
        with _terminated_like_ctrl_c(), journal(store.home.logs / "refresh.log"), _Bar(language) as bar:
            report = walk(
                store,
                settings,
                since=start,
                only=steps,
                announce=lambda plan: say("\n".join(plan.lines(language))),
                progress=bar,
                said=lambda step: None if as_json else _tell(step, language, bar),
            )
    if as_json:
        emit_json(report.document())
    if report.repaired:
        say(
            text(
                "先前有一次更新中途終止；它未完成的已於這次補上。",
                "An earlier refresh had died on the way; this one has taken up what it left.",
                language,
            )
        )
    # That the news outlast a day's requests is how it goes and no failure.
    behind = [
        step.step
        for step in report.row.steps
        if step.outcome == "failed" or (step.outcome == "partial" and step.step != "news")
    ]
    if behind:
        raise Incomplete(
            f"Not everything could be done ({', '.join(behind)}): what is missing is asked for by the next "
            "refresh, and 'stockllm health' says what it is.",
            zh=(
                f"有些步驟沒有完成（{', '.join(behind)}）：下次更新會再要求缺少的部分，'"
                "stockllm health' 會說明是什麼。"
            ),
        )


def _tell(step: StepRow, language: str, bar: _Bar) -> None:
    bar.close()
    outcome = text(OUTCOME_NAMES[step.outcome], step.outcome, language)
    name = text(STEP_NAMES[step.step], step.step, language)
    show(f"{name}  {outcome}  {duration(step.seconds, language)}  {text(step.zh, step.en, language)}")
    for zh, en in step.notes[:_SHOWN]:
        say(f"  {text(zh, en, language)}")
    if len(step.notes) > _SHOWN:
        more = len(step.notes) - _SHOWN
        say(
            text(f"  還有 {more} 則，見 logs/refresh.log", f"  and {more} more in logs/refresh.log", language)
        )


def duration(seconds: float | None, language: str) -> str:
    """A step's duration in a few characters; a dash where it has no end."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    if language == "en":
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes} 分 {rest} 秒" if minutes else f"{rest} 秒"


class _Bar:
    """How far the present step is, on a terminal's stderr; nothing elsewhere. A context manager."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._progress: Any = None
        self._task: Any = None
        self._step = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, step: str, done: int, total: int) -> None:
        if not total or not sys.stderr.isatty():
            return
        if step != self._step:
            self.close()
        if self._progress is None:
            self._open(step)
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _open(self, step: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._step = step
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr, highlight=False),
            transient=True,
            redirect_stdout=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(text(STEP_NAMES[step], step, self._language), total=None)


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM interrupts as Ctrl-C does: the step under way is recorded as stopped."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
