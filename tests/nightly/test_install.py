"""Handing the schedule to systemd or cron: real programs of those names that note what they are told."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time as system
from collections.abc import Callable
from datetime import time
from pathlib import Path

import pytest

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home
from stockllm.nightly.install import Entry, NotInstalled, entry, install, installed, uninstall

AT = time(18, 30)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """``program(name, body)``: the only programs there are; each notes its arguments in ``name.told``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))

    def make(name: str, body: str) -> Path:
        told = tmp_path / f"{name}.told"
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(told))}\n{body}\n')
        path.chmod(0o755)
        return told

    return make


@pytest.fixture
def crontab(program: Callable[[str, str], Path], tmp_path: Path) -> Path:
    """The file a crontab of ours keeps."""
    table = tmp_path / "table"
    body = (
        f"T={shlex.quote(str(table))}\n"
        'if [ "$1" = -l ]; then\n'
        '  if [ -f "$T" ]; then while IFS= read -r line; do printf "%s\\n" "$line"; done < "$T"\n'
        '  else echo "no crontab for you" >&2; exit 1; fi\n'
        'else : > "$T.new"; while IFS= read -r line; do printf "%s\\n" "$line" >> "$T.new"; done\n'
        '  /bin/mv "$T.new" "$T"\n'
        "fi"
    )
    program("crontab", body)
    return table


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / 'a "home" with 100% $PACE')


def units(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "config" / "systemd" / "user"
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()} if folder.exists() else {}


def test_the_timer(program: Callable[[str, str], Path], home: Home, tmp_path: Path) -> None:
    told = program("systemctl", "exit 0")
    new = entry(home, AT)
    assert new.kind == "systemd"
    assert units(tmp_path) == {}, "nothing is written before it was shown"
    install(new)
    written = units(tmp_path)
    assert set(written) == {"stockllm-refresh.service", "stockllm-refresh.timer"}
    assert (
        "OnCalendar=Mon..Fri *-*-* 18:30:00 Asia/Taipei\nPersistent=true\n"
        in written["stockllm-refresh.timer"]
    )
    service = written["stockllm-refresh.service"]
    assert r'Environment="STOCKLLM_HOME=' + f"{tmp_path}" + r'/a \"home\" with 100%% $PACE"' in service
    assert f'ExecStart="{sys.executable}" "-m" "stockllm.cli.main" "refresh"' in service
    assert all(content in new.shown() for content in written.values())
    assert told.read_text().splitlines()[-2:] == [
        "--user daemon-reload",
        "--user enable --now stockllm-refresh.timer",
    ]
    assert installed() == ["systemd"]
    assert uninstall() == ["systemd"]
    assert (units(tmp_path), installed(), uninstall()) == ({}, [], [])


def test_a_timer_that_is_not_taken_leaves_what_was_there(
    program: Callable[[str, str], Path], home: Home, tmp_path: Path
) -> None:
    program("systemctl", "exit 0")
    install(entry(home, time(19, 0)))
    before = units(tmp_path)
    program("systemctl", '[ "$2" = enable ] || exit 0\necho "Failed to connect to bus" >&2; exit 1')
    with pytest.raises(NotInstalled, match="Failed to connect to bus"):
        install(entry(home, AT, "systemd"))
    assert units(tmp_path) == before


def test_the_crontab_line(crontab: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    crontab.write_text("# mine\n0 1 * * * backup\n")
    new = entry(home, AT)
    assert new.kind == "cron"
    install(new)
    install(new)
    *mine, line = crontab.read_text().splitlines()
    assert mine == ["# mine", "0 1 * * * backup"]
    assert line == new.line
    assert line.endswith("# stockllm refresh")
    assert installed() == ["cron"]
    assert uninstall() == ["cron"]
    assert crontab.read_text() == "# mine\n0 1 * * * backup\n"
    assert installed() == []


@pytest.mark.parametrize(
    ("zone", "figures"),
    [("Asia/Taipei", "30 18 * * 1,2,3,4,5"), ("UTC", "30 10 * * 1,2,3,4,5"),
     ("Pacific/Kiritimati", "30 0 * * 2,3,4,5,6"), ("Etc/GMT+12", "30 22 * * 0,1,2,3,4")],
)  # fmt: skip
def test_cron_lives_in_the_machine_s_time_zone(
    crontab: Path, home: Home, monkeypatch: pytest.MonkeyPatch, zone: str, figures: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    system.tzset()
    try:
        line = entry(home, AT).line
    finally:
        monkeypatch.undo()
        system.tzset()
    assert line.startswith(f"{figures} env ")


def test_a_shell_reads_the_line_back(crontab: Path, home: Home, tmp_path: Path) -> None:
    command = entry(home, AT).line.split(maxsplit=5)[5].replace("\\%", "%")
    command = command.replace(
        "-m stockllm.cli.main refresh", "-c 'import os; print(os.environ[\"STOCKLLM_HOME\"])'"
    )
    command = command.replace(">/dev/null 2>&1", "")
    environment = os.environ | {"PATH": "/usr/bin:/bin"}
    said = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=True, env=environment
    )
    assert said.stdout == f"{home.root}\n"


def test_a_user_without_a_crontab_gets_one(crontab: Path, home: Home) -> None:
    assert installed() == []
    install(entry(home, AT, "cron"))
    assert len(crontab.read_text().splitlines()) == 1


def test_a_machine_with_neither(program: Callable[[str, str], Path], home: Home) -> None:
    with pytest.raises(NotInstalled, match="schedule run"):
        entry(home, AT)
    program("systemctl", "exit 1")  # no systemd for this user
    with pytest.raises(NotInstalled, match="schedule run"):
        entry(home, AT)
    with pytest.raises(UsageError, match="systemd or cron"):
        entry(home, AT, "launchd")
    assert (installed(), uninstall()) == ([], [])


def test_a_crontab_that_cannot_be_read_is_not_overwritten(
    program: Callable[[str, str], Path], home: Home
) -> None:
    told = program("crontab", 'echo "you may not" >&2; exit 1')
    with pytest.raises(NotInstalled, match="you may not"):
        install(Entry("cron", line="x # stockllm refresh"))
    assert told.read_text().splitlines() == ["-l"]
