"""The folder of a training run: what was asked, what it reads, and how far it came.

    run.json            the options and the plan, written before the first step
    examples.jsonl      what it trains on; validation.jsonl what it is checked on
    progress.jsonl      what it said
    checkpoint-N/       weights, optimiser and counters after step N
    tensorboard/        curves

A run is found again by its options, so that starting the same training once more after a kill goes
on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockllm.data.errors import StoreError, UsageError
from stockllm.data.private import private_folder

RUN_FILE = "run.json"
#: What a checkpoint must hold to be gone on from; the trainer's state is written last.
_CHECKPOINT_FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth")
#: One of these, too: an adapter, a whole model, or one in several files.
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
_STATE_FILE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder and its name, which the adapter will bear."""

    folder: Path
    name: str

    @property
    def examples(self) -> Path:
        return self.folder / "examples.jsonl"

    @property
    def validation(self) -> Path:
        return self.folder / "validation.jsonl"

    def document(self) -> dict[str, Any]:
        """What ``run.json`` says; empty where there is none that can be read."""
        return _document(self.folder)

    def unfinished(self) -> bool:
        """Whether a training was begun here and has not come to its end."""
        document = self.document()
        return bool(document) and not document.get("finished")

    def write(self, document: dict[str, Any]) -> None:
        """Replace ``run.json``; it is whole at every moment."""
        part = self.folder / (RUN_FILE + ".part")
        part.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        part.replace(self.folder / RUN_FILE)

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first. One that a kill cut short is removed."""
        whole = []
        for folder in self.folder.glob("checkpoint-*"):
            if re.fullmatch(r"checkpoint-\d+", folder.name) and folder.is_dir():
                if _complete(folder):
                    whole.append(folder)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
        return sorted(whole, key=step_of)

    def finish(self) -> None:
        """Mark the run as done and drop its checkpoints: the adapter holds what they led to."""
        self.write(self.document() | {"finished": True})
        for folder in self.folder.glob("checkpoint-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove what an earlier run left here, and nothing else: the folder may be the user's own."""
        for name in (RUN_FILE, self.examples.name, self.validation.name, "progress.jsonl", "engine.log"):
            (self.folder / name).unlink(missing_ok=True)
        for folder in (*self.folder.glob("checkpoint-*"), self.folder / "tensorboard"):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out of this folder; the lock dies with the process.

        :raises UsageError: where another process trains here.
        :raises StoreError: where the folder cannot be written.
        """
        try:
            private_folder(self.folder)
            file = (self.folder / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"The run's folder {self.folder} cannot be written ({error.strerror}); free it, or choose "
                "another with --output-dir.",
                zh=(
                    f"訓練的資料夾 {self.folder} 無法寫入（{error.strerror}）：請處理它，或用 "
                    "--output-dir 另選。"
                ),
            ) from error
        with file:
            _lock(file.fileno(), self)
            yield


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def find_unfinished(runs: Path, options: dict[str, Any]) -> Run | None:
    """The unfinished run that was started with exactly these options, the latest if several."""
    found = [
        Run(folder, document["name"])
        for folder, document in _unfinished(runs)
        if document.get("options") == options
    ]
    return found[-1] if found else None


def latest_unfinished(runs: Path) -> Run:
    """The unfinished run that was touched last; UsageError where there is none."""
    found = [Run(folder, document["name"]) for folder, document in _unfinished(runs)]
    if not found:
        raise UsageError(
            "There is no unfinished training to resume; start one with `stockllm train`.",
            zh="沒有未完成的訓練可以接續：請用 `stockllm train` 開始一個。",
        )
    return found[-1]


def in_folder(folder: Path) -> Run:
    """The unfinished run that lies in ``folder``; UsageError where there is none."""
    run = Run(folder, _document(folder).get("name", ""))
    if not run.unfinished():
        raise UsageError(
            f"There is no unfinished training in {folder}; leave --resume out to start one.",
            zh=f"{folder} 裡沒有未完成的訓練：要開始新的，請不要用 --resume。",
        )
    return run


def named(runs: Path, name: str) -> Run:
    """The unfinished run of this name; UsageError where there is none."""
    run = Run(runs / name, name)
    if not run.unfinished():
        known = ", ".join(d["name"] for _, d in _unfinished(runs)) or "none"
        raise UsageError(
            f"There is no unfinished training called {name!r}; unfinished are: {known}.",
            zh=f"沒有名為 {name!r} 的未完成訓練；未完成的有：{known}。",
        )
    return run


def _unfinished(runs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Folders and documents of unfinished runs, the one touched last at the end."""
    if not runs.is_dir():
        return []
    found = [(folder, _document(folder)) for folder in runs.iterdir() if folder.is_dir()]
    open_ones = [
        (folder, document) for folder, document in found if document and not document.get("finished")
    ]
    return sorted(open_ones, key=lambda pair: ((pair[0] / RUN_FILE).stat().st_mtime, pair[0].name))


def _document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) and "name" in document else {}


def _complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = any((checkpoint / name).is_file() for name in _WEIGHTS)
    return weights and all((checkpoint / name).is_file() for name in _CHECKPOINT_FILES)


def _lock(descriptor: int, run: Run) -> None:
    if os.name == "nt":  # no advisory locks there; two runs of one name are the user's to avoid
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"Another process is training {run.name!r} right now; wait for it, or choose another --name.",
            zh=f"另一個程序正在訓練 {run.name!r}：請等它結束，或換一個 --name。",
        ) from error
