"""Commands of stockllm as processes of their own, which go on when the dashboard closes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.data.errors import StockllmError
from stockllm.data.private import opener

if TYPE_CHECKING:
    from stockllm.data.paths import Home
    from stockllm.tui.look.text import Language

#: How the command line is called.
COMMAND: tuple[str, ...] = (sys.executable, "-m", "stockllm.cli.main")


class JobFailed(StockllmError):
    """A command that the dashboard started ended with an error; the message is its last sentence."""


@dataclass(frozen=True, slots=True)
class Job:
    """A running command; ``log`` holds all that it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        """Whether it has ended; asks the system and does not wait."""
        return self.process.poll() is not None

    def let_go(self) -> None:
        """Leave it running for good: nobody here will ask how it ended."""
        if self.process.poll() is None:
            self.process.returncode = 0  # or Python warns of a process forgotten

    def failure(self) -> JobFailed | None:
        """The error it ended with; None where it did what it should, or was stopped by a signal."""
        code = self.process.poll()
        if not code or code in (-signal.SIGTERM, -signal.SIGINT):
            return None
        if code < 0:  # what it said last is not why
            name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else str(-code)
            return JobFailed(
                f"`stockllm {self.name}` was killed ({name}), perhaps for want of memory: start it again, "
                "and what was finished is not done twice.",
                zh=f"`stockllm {self.name}` 被系統或他人終止（{name}），可能是記憶體不足：請再執行一次，"
                "已完成的部分不會重做。",
            )
        said = last_sentence(self.log)
        return JobFailed(
            said or f"`stockllm {self.name}` ended with exit code {code}: its log is {self.log}.",
            zh=said or f"`stockllm {self.name}` 以結束碼 {code} 結束：紀錄在 {self.log}。",
        )


def start(home: Home, name: str, arguments: Sequence[str], command: Sequence[str], language: Language) -> Job:
    """Start a command for ``home`` in a session of its own, to speak the reader's language.

    JobFailed where that cannot be done.
    """
    try:
        home.ensure()
        log = home.logs / f"{name}-from-dashboard.log"
        with open(log, "wb", opener=opener) as file:
            process = subprocess.Popen(
                (*command, *arguments),
                env=os.environ | {"STOCKLLM_HOME": str(home.root), "STOCKLLM_LANGUAGE": language},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # A Ctrl-C, or the end of the terminal, is for the dashboard.
                start_new_session=True,
            )
    except OSError as error:
        raise JobFailed(
            f"`stockllm {name}` cannot be started ({error.strerror}): start it in a terminal.",
            zh=f"`stockllm {name}` 無法啟動（{error.strerror}）：請在終端機執行。",
        ) from error
    return Job(name, process, log)


def stop(pid: int) -> None:
    """Ask a process to end as Ctrl-C would. JobFailed where it is not ours, nothing where it is gone."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise JobFailed(
            f"Process {pid} belongs to another user: stop it where it was started.",
            zh=f"程序 {pid} 屬於其他使用者：請到啟動它的地方停止。",
        ) from error


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file; none where it is not there. Reads its end alone."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - lines * 400))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]


def last_sentence(path: Path) -> str:
    """What a command said last, without the word that marks an error."""
    said = [line.strip() for line in tail(path, 40) if line.strip()]
    return said[-1].removeprefix("stockllm: ") if said else ""
