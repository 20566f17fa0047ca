"""What the Training tab shows: runs as their folders tell them, adapters as their cards do.

Knows no screen; every function may run in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stockllm.data.errors import UsageError
from stockllm.tui.core import export
from stockllm.tui.core.store import open_store

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.forecaster.models.cards import Card
    from stockllm.forecaster.models.registry import AdapterInfo
    from stockllm.forecaster.training.progress import TrainEvent
    from stockllm.tui.look.text import Language

#: As the run's last event has it; "killed": its process is gone and it never said how it ended.
State = Literal["preparing", "training", "validating", "saving", "finished", "stopped", "failed", "killed"]

#: States of a run that may be gone on with.
RESUMABLE: frozenset[str] = frozenset({"stopped", "failed", "killed"})

_TAIPEI = timezone(timedelta(hours=8))

_RUNNING: frozenset[str] = frozenset({"preparing", "training", "validating", "saving"})


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A training run as its folder tells it.

    ``started`` is in Taipei. ``events`` are all it said, oldest first. ``pid`` is the process that trains,
    0 where none does or nobody can say. ``options`` are those it was started with, empty before it wrote
    them down.
    """

    name: str
    folder: Path
    started: datetime | None
    state: State
    pid: int
    events: tuple[TrainEvent, ...]
    options: dict[str, Any]
    simulated: bool

    @property
    def running(self) -> bool:
        """Whether a process works on it now."""
        return self.state in _RUNNING

    @property
    def last(self) -> TrainEvent | None:
        """The last event that counts steps: how far it is."""
        return next((event for event in reversed(self.events) if event.steps), None)

    def said(self, language: Language) -> str:
        """What it said last in words; English where it had no Chinese ones."""
        event = next((event for event in reversed(self.events) if event.text), None)
        if event is None:
            return ""
        return event.text_zh if language == "zh" and event.text_zh else event.text

    def points(self, field: str) -> tuple[tuple[float, float], ...]:
        """One of the figures over the steps: "loss", "eval_loss", "lr" or "tokens_per_second".

        A run that went on from a checkpoint says some steps again; what it said last counts.
        """
        found = {
            event.step: float(value)
            for event in self.events
            if (value := getattr(event, field)) is not None and event.steps
        }
        return tuple((float(step), found[step]) for step in sorted(found))

    def latest(self, field: str) -> float | None:
        """The last value of one of the figures."""
        values = (getattr(event, field) for event in reversed(self.events))
        return next((value for value in values if value is not None), None)


def load_runs(home: Home) -> tuple[Run, ...]:
    """All runs of the home, those at work first, then the newest."""
    from stockllm.forecaster.training.progress import PROGRESS_FILE, runs_folder

    here = runs_folder(home)
    pids: dict[Path, tuple[int, datetime]] = {}
    if home.store.is_file():
        with open_store(home) as store:
            for row in store.runs.list(limit=500):
                folder = _ours(here, row.log.parent) if row.log else here / row.name
                pids.setdefault(folder, (row.pid, row.started))
    folders = {path for path in (here.iterdir() if here.is_dir() else ()) if path.is_dir()}
    # A run may lie in a folder of the user's own.
    folders |= {path for path in pids if path.is_dir()}
    runs = [
        _run(folder, *pids.get(folder, (0, None)))
        for folder in folders
        if (folder / PROGRESS_FILE).is_file() or (folder / "run.json").is_file()
    ]
    return tuple(
        sorted(
            runs, key=lambda run: (run.running, run.started.timestamp() if run.started else 0.0), reverse=True
        )
    )


def _ours(here: Path, folder: Path) -> Path:
    """The folder of a run the store names; in a copied home the copy, where the store names the original.

    The two began with the same event; a run elsewhere that only bears the same name did not.
    """
    copy = here / folder.name
    if folder == copy or folder.parent.name != here.name or not copy.is_dir():
        return folder
    return copy if not folder.is_dir() or _begun(folder) == _begun(copy) != b"" else folder


def _begun(folder: Path) -> bytes:
    from stockllm.forecaster.training.progress import PROGRESS_FILE

    try:
        with (folder / PROGRESS_FILE).open("rb") as file:
            return file.readline()
    except OSError:
        return b""


def _run(folder: Path, pid: int, started: datetime | None) -> Run:
    from stockllm.forecaster.training.progress import ENDED, read_progress
    from stockllm.forecaster.training.runs import Run as Folder

    document = Folder(folder, folder.name).document()
    events = tuple(read_progress(folder))
    state: State = events[-1].state if events else "preparing"
    if document.get("finished"):
        state = "finished"
    working = _working(folder)
    if state in ENDED and working and state != "finished":
        state = "preparing"  # gone on with, and nothing said yet
    elif state not in ENDED and not working:
        state = "killed"
    if started is None and events and events[0].at:
        started = datetime.fromisoformat(events[0].at)
    return Run(
        str(document.get("name") or folder.name),
        folder,
        started.astimezone(_TAIPEI) if started else None,
        state,
        pid if working and _alive(pid) else 0,
        events,
        dict(document.get("options") or {}),
        bool(document.get("simulated")),
    )


def _working(folder: Path) -> bool:
    """Whether a process holds the run's lock; the system lets go of it however the process ends."""
    import fcntl

    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two dashboards that look at once see no ghost of each other.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Adapter:
    """A finished adapter with its card. ``model`` is the name a forecast asks for it by."""

    info: AdapterInfo
    card: Card

    @property
    def model(self) -> str:
        """As ``--model`` takes it."""
        return f"{self.info.base}+{self.info.name}"


@dataclass(frozen=True, slots=True)
class Adapters:
    """The home's adapters, newest first, and the model that forecasts where none is named."""

    adapters: tuple[Adapter, ...]
    default: str


def load_adapters(home: Home) -> Adapters:
    """The adapters of the home; folders without a readable card are passed over."""
    from stockllm.data.settings import Settings
    from stockllm.forecaster.models.cards import read_card
    from stockllm.forecaster.models.registry import list_adapters

    found = []
    for info in list_adapters(home):
        try:
            found.append(Adapter(info, read_card(info.path)))
        except (OSError, ValueError):
            continue
    return Adapters(tuple(found), Settings.load(home).model)


def set_default(home: Home, model: str) -> None:
    """Make ``model`` the one that forecasts where none is named. Raises what ``remember`` raises."""
    from stockllm.data.settings_file import remember

    remember(home, {"model": model})


def resume_arguments(home: Home, run: Run) -> list[str]:
    """The command line that goes on with a run."""
    from stockllm.forecaster.training.progress import runs_folder

    if run.folder.parent == runs_folder(home):
        return ["train", "--resume", run.name]
    return ["train", "--resume", "--output-dir", str(run.folder)]


def compare_arguments(home: Home, models: Sequence[str], ends: Sequence[str]) -> tuple[list[str], str]:
    """The command line that scores models on the days after all of them were trained, and the period.

    ``ends`` are the last days they trained on. UsageError where no week of such days is in the store.
    """
    with open_store(home) as store:
        after = [day for day in store.bars.traded() if day.isoformat() > max(ends)]
    if len(after) < 5:
        raise UsageError(
            f"Only {len(after)} sessions in the store come after {max(ends)}, the last day trained on: "
            "compare them when a week has come.",
            zh=(f"資料庫中 {max(ends)}（最後的訓練日）之後只有 {len(after)} 個交易日：請等滿一週再比較。"),
        )
    start, end = after[0], after[-1]
    arguments = [
        "evaluate",
        "--start",
        str(start),
        "--end",
        str(end),
        "--models",
        ",".join((*models, "ewma")),
    ]
    if len(after) > 20:
        arguments += ["--stride", str(len(after) // 10)]
    return arguments, f"{start} … {end}"


def export_run(home: Home, run: Run) -> Path:
    """What a run said, event by event, as a CSV."""
    heading = (
        "at",
        "state",
        "step",
        "steps",
        "loss",
        "eval_loss",
        "lr",
        "tokens_per_second",
        "eta_s",
        "text",
    )
    rows = [[getattr(event, name) for name in heading] for event in run.events]
    return export.write_csv(export.folder(home) / f"run-{run.name}.csv", heading, rows)
