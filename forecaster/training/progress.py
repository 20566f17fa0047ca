"""What a training run says while it runs, and how it hears that it should stop.

Every event goes to ``progress.jsonl`` in the run's folder, one JSON object a line: whoever started
the run, the dashboard say, follows that file. The terminal gets a bar, or plain lines where stderr
is no terminal.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType, TracebackType

    from rich.progress import Progress, TaskID

    from stockllm.data.errors import TrainingStopped
    from stockllm.data.paths import Home
    from stockllm.data.store import Store

State = Literal["preparing", "training", "validating", "saving", "finished", "stopped", "failed"]

#: States after which a run says nothing more.
ENDED: frozenset[State] = frozenset({"finished", "stopped", "failed"})

PROGRESS_FILE = "progress.jsonl"
_TAIPEI = ZoneInfo("Asia/Taipei")
#: States in Chinese, for the terminal.
_STATES_ZH: dict[State, str] = {
    "preparing": "準備中",
    "training": "訓練中",
    "validating": "驗證中",
    "saving": "儲存中",
    "finished": "已完成",
    "stopped": "已停止",
    "failed": "失敗",
}

#: Seconds between two plain lines where there is no terminal.
_PLAIN_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """Where a run stands.

    ``loss`` is the mean over the answer's tokens since the last event, ``eval_loss`` the same on
    validation windows, ``eta_s`` the seconds still to go. Speeds are means since the run last started,
    without padding. ``text`` is a sentence for the user, ``text_zh`` the same in Chinese.
    """

    state: State
    step: int = 0
    steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    windows_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_s: float | None = None
    text: str = ""
    text_zh: str = ""
    at: str = ""

    def sentence(self, language: str) -> str:
        """What it says in words; English where a run of an earlier version had no Chinese."""
        return self.text_zh if language != "en" and self.text_zh else self.text


def runs_folder(home: Home) -> Path:
    """One folder per training run: its options, examples, checkpoints and progress."""
    return home.root / "runs"


class ProgressLog:
    """Appends events to a run's ``progress.jsonl``, each line whole or absent."""

    def __init__(self, run: Path, simulated: bool = False) -> None:
        """``simulated`` marks every line of a run on generated prices."""
        self.path = run / PROGRESS_FILE
        self._mark = {"market": "SIMULATED"} if simulated else {}

    def __call__(self, event: TrainEvent) -> None:
        document = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        document |= self._mark
        document["at"] = event.at or datetime.now(_TAIPEI).isoformat(timespec="milliseconds")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def read_progress(run: Path) -> Iterator[TrainEvent]:
    """The events of a run so far, oldest first; none where it has not begun.

    A line cut off by a kill is passed over, as are keys a later version may add.
    """
    path = run / PROGRESS_FILE
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            document: dict[str, Any] = json.loads(line)
            yield TrainEvent(**{key: document[key] for key in TrainEvent.__slots__ if key in document})
        except (ValueError, TypeError):
            continue


class Terminal:
    """Shows events on stderr: a bar with its ETA on a terminal, else a plain line now and then.

    A context manager; use it as the listener of `train`.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        language: str = "en",
    ) -> None:
        from rich.console import Console

        self._language = language
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._clock = clock
        self._said_at: float | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __call__(self, event: TrainEvent) -> None:
        # The sentence of a run that ended badly comes with its error, once.
        if event.text and event.state not in ("stopped", "failed"):
            self._console.print(event.sentence(self._language), markup=False, soft_wrap=True)
        if event.steps and event.state not in ENDED:
            if self._console.is_terminal:
                self._draw(event)
            else:
                self._print(event)
        if event.state in ENDED:
            self._close()

    def _draw(self, event: TrainEvent) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                console=self._console,
                # Training sends stdout elsewhere meanwhile; two that swap it would undo each other.
                redirect_stdout=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._state(event), total=event.steps, figures="")
        assert self._task is not None
        figures = figures_of(event, self._language)
        self._bar.update(self._task, completed=event.step, description=self._state(event))
        if figures:
            self._bar.update(self._task, figures=figures)

    def _print(self, event: TrainEvent) -> None:
        now = self._clock()
        last = event.step == event.steps
        if self._said_at is not None and now - self._said_at < _PLAIN_EVERY and not last:
            return
        if event.loss is None and event.eval_loss is None:
            return
        self._said_at = now
        figures = figures_of(event, self._language)
        line = f"{self._state(event)} {event.step}/{event.steps} {figures}"
        self._console.print(line, markup=False, soft_wrap=True)

    def _state(self, event: TrainEvent) -> str:
        return event.state if self._language == "en" else _STATES_ZH[event.state]

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def figures_of(event: TrainEvent, language: str = "en") -> str:
    """Loss, speed and time to go in a few words; empty where the event has none."""
    parts = []
    zh = language != "en"
    if event.loss is not None:
        parts.append(f"{'損失' if zh else 'loss'} {event.loss:.3f}")
    if event.eval_loss is not None:
        parts.append(f"{'驗證損失' if zh else 'validation loss'} {event.eval_loss:.3f}")
    if event.windows_per_second is not None:
        windows = f"{event.windows_per_second:,.1f}"
        parts.append(f"每秒 {windows} 個視窗" if zh else f"{windows} windows/s")
    if event.tokens_per_second is not None:
        tokens = f"{event.tokens_per_second:,.0f}"
        parts.append(f"每秒 {tokens} 個詞元" if zh else f"{tokens} tokens/s")
    if event.eta_s is not None:
        minutes, seconds = divmod(round(event.eta_s), 60)
        left = f"{minutes}:{seconds:02d}"
        parts.append(f"還要 {left}" if zh else f"{left} to go")
    return ("，" if zh else ", ").join(parts)


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a wish, so that training can end with a checkpoint.

    Until `patient` is set, and from the second signal on, it interrupts at once. Handlers can be
    set in the main thread only; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._heard)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self.wanted or not self.patient:
            raise KeyboardInterrupt
        self.wanted = True


@contextlib.contextmanager
def reported(
    store: Store,
    name: str,
    options: dict[str, Any],
    folder: Path,
    tell: Callable[[TrainEvent], None],
    stopped: Callable[[], TrainingStopped],
) -> Iterator[None]:
    """Keep the store's record of a run and say how it ended, whichever way it does.

    :param options: the run's, as JSON values.
    :param stopped: what to raise, and to say, where the run was stopped by Ctrl-C or SIGTERM.
    """
    row = store.runs.start(name, options, folder / PROGRESS_FILE)
    try:
        yield
    except KeyboardInterrupt:
        ended = stopped()
        tell(TrainEvent("stopped", text=str(ended), text_zh=ended.zh))
        store.runs.finish(row, "stopped", str(ended))
        raise ended from None
    except Exception as error:
        sentence = str(error) or type(error).__name__
        tell(TrainEvent("failed", text=sentence, text_zh=getattr(error, "zh", "")))
        store.runs.finish(row, "failed", sentence)
        raise
    store.runs.finish(row, "done")
