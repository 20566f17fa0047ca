"""Handing the schedule to the machine: a systemd user timer, or a line of the user's crontab."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stockllm.collectors.clock import TAIPEI
from stockllm.data.errors import StockllmError, UsageError

if TYPE_CHECKING:
    from stockllm.data.paths import Home

Kind = Literal["systemd", "cron"]

_UNIT = "stockllm-refresh"
_MARK = "# stockllm refresh"


class NotInstalled(StockllmError):
    """The machine's scheduler did not take the schedule, or there is none."""


@dataclass(frozen=True)
class Entry:
    """What is to be installed: files with their content, or a crontab's line."""

    kind: Kind
    files: tuple[tuple[Path, str], ...] = ()
    line: str = ""

    def shown(self) -> str:
        """All of it, to be read before it is written."""
        if self.kind == "cron":
            return f"crontab:\n{self.line}"
        return "\n".join(f"{path}:\n{content}" for path, content in self.files)


def entry(home: Home, at: time, kind: str = "") -> Entry:
    """What runs ``stockllm refresh`` for ``home`` at ``at`` in Taipei, from Monday to Friday.

    ``kind`` is chosen by what the machine has where it is empty. NotInstalled where it has neither.
    """
    if kind not in ("", "systemd", "cron"):
        raise UsageError(
            f"There is no scheduler '{kind}': choose systemd or cron.",
            zh=f"沒有名為 '{kind}' 的排程器：請選 systemd 或 cron。",
        )
    if kind == "systemd" or (not kind and _has_systemd()):
        return Entry("systemd", files=_units(home, at))
    if kind == "cron" or shutil.which("crontab"):
        return Entry("cron", line=_line(home, at))
    raise NotInstalled(
        "This machine has neither a systemd for users nor a crontab: keep 'stockllm schedule run' running "
        "instead, or let whatever starts programs here start 'stockllm refresh' every evening.",
        zh=(
            "本機沒有使用者的 systemd，也沒有 crontab：請讓 'stockllm schedule run' 一直執"
            "行，或由這裡啟動程式的機制每晚執行 'stockllm refresh'。"
        ),
    )


def install(new: Entry) -> None:
    """Write the entry and switch it on; NotInstalled, with nothing left behind, where that fails."""
    if new.kind == "cron":
        _write_crontab([*_other_lines(), new.line])
        return
    before = {path: path.read_text("utf-8") if path.is_file() else None for path, _ in new.files}
    try:
        for path, content in new.files:
            _replace(path, content)
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", f"{_UNIT}.timer")
    except (OSError, NotInstalled) as error:
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            else:
                _replace(path, old)
        raise NotInstalled(
            f"The timer could not be installed ({error}): try --with cron.",
            zh=f"計時器無法安裝（{error}）：請試 --with cron。",
        ) from error


def installed() -> list[Kind]:
    """Which schedulers hold an entry of ours."""
    found: list[Kind] = []
    if any(path.exists() for path in _paths()):
        found.append("systemd")
    if shutil.which("crontab") and any(line.endswith(_MARK) for line in _crontab()):
        found.append("cron")
    return found


def uninstall() -> list[Kind]:
    """Take every entry of ours away again; which schedulers held one."""
    there = installed()
    if "systemd" in there:
        if shutil.which("systemctl"):
            _systemctl("disable", "--now", f"{_UNIT}.timer")
        for path in _paths():
            path.unlink(missing_ok=True)
        if shutil.which("systemctl"):
            _systemctl("daemon-reload")
    if "cron" in there:
        _write_crontab(_other_lines())
    return there


def _paths() -> tuple[Path, Path]:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folder = Path(base).expanduser() / "systemd" / "user"
    return folder / f"{_UNIT}.service", folder / f"{_UNIT}.timer"


def _units(home: Home, at: time) -> tuple[tuple[Path, str], ...]:
    service, timer = _paths()
    words = (sys.executable, "-m", "stockllm.cli.main", "refresh")
    command = " ".join(_quoted(word).replace("$", "$$") for word in words)  # a variable, in commands alone
    return (
        (
            service,
            "[Unit]\n"
            "Description=stockllm: refresh prices, news, forecasts and signals\n\n"
            "[Service]\n"
            "Type=oneshot\n"
            f"Environment={_quoted(f'STOCKLLM_HOME={home.root}')}\n"
            f"ExecStart={command}\n"
            "Nice=10\n",
        ),
        (
            timer,
            "[Unit]\n"
            "Description=stockllm: every evening after the exchanges have published\n\n"
            "[Timer]\n"
            f"OnCalendar=Mon..Fri *-*-* {at:%H:%M:%S} Asia/Taipei\n"
            "Persistent=true\n\n"
            "[Install]\n"
            "WantedBy=timers.target\n",
        ),
    )


def _quoted(word: str) -> str:
    """A word as systemd reads it back."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _line(home: Home, at: time) -> str:
    """The crontab's line: cron knows the machine's own time zone alone."""
    monday = datetime.combine(datetime.now(TAIPEI).date(), at, TAIPEI)
    here = monday.astimezone()
    shift = (here.date() - monday.date()).days
    days = ",".join(str((day + shift) % 7) for day in range(1, 6))
    command = shlex.join(
        ["env", f"STOCKLLM_HOME={home.root}", sys.executable, "-m", "stockllm.cli.main", "refresh"]
    )
    command = command.replace("%", "\\%")
    return f"{here.minute} {here.hour} * * {days} {command} >/dev/null 2>&1 {_MARK}"


def _has_systemd() -> bool:
    """Whether this user's systemd can be spoken to."""
    if not shutil.which("systemctl"):
        return False
    return _said("systemctl", "--user", "show-environment").returncode == 0


def _systemctl(*arguments: str) -> None:
    done = _said("systemctl", "--user", *arguments)
    if done.returncode:
        told = " ".join(done.stderr.split())
        raise NotInstalled(
            f"systemctl --user {' '.join(arguments)}: {told}",
            zh=f"systemctl --user {' '.join(arguments)} 失敗：{told}",
        )


def _crontab() -> list[str]:
    """The lines of the user's crontab; a user without one has none."""
    done = _said("crontab", "-l")
    if done.returncode and "no crontab" not in done.stderr.lower():
        raise NotInstalled(
            f"The crontab cannot be read ({' '.join(done.stderr.split())}).",
            zh=f"crontab 無法讀取（{' '.join(done.stderr.split())}）。",
        )
    return done.stdout.splitlines() if not done.returncode else []


def _other_lines() -> list[str]:
    return [line for line in _crontab() if not line.endswith(_MARK)]


def _write_crontab(lines: list[str]) -> None:
    done = _said("crontab", "-", told="".join(f"{line}\n" for line in lines))
    if done.returncode:
        raise NotInstalled(
            f"The crontab was left as it was ({' '.join(done.stderr.split())}).",
            zh=f"crontab 維持原狀（{' '.join(done.stderr.split())}）。",
        )


def _said(*command: str, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=told, capture_output=True, text=True, timeout=30, check=False)


def _replace(path: Path, content: str) -> None:
    """Write beside the place, then rename: the file is the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(content, "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
