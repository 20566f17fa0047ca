"""Whoever runs it: where the tests run as root, the main commands run as nobody too."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def stockllm() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """A command as a user who owns nothing but the home."""
    if os.geteuid() != 0:
        pytest.skip("the whole suite runs as an ordinary user already")
    folder = Path(tempfile.mkdtemp())  # pytest's own is root's alone
    os.chown(folder, NOBODY, NOBODY)

    # Python and the checkout may lie in root's own home: nobody may read everything, and write nothing.
    as_nobody = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ]
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv to become another user with")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*as_nobody, sys.executable, "-m", "stockllm.cli.main", *map(str, arguments)],
            env=os.environ
            | {"STOCKLLM_HOME": str(folder / "home"), "STOCKLLM_LANGUAGE": "en", "HOME": str(folder)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    if run("--version").returncode:
        pytest.skip(f"user {NOBODY} cannot be had here")
    run.folder = folder  # type: ignore[attr-defined]
    yield run
    shutil.rmtree(folder)


def test_the_main_commands(stockllm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    folder: Path = stockllm.folder  # type: ignore[attr-defined]
    (folder / "2330.csv").write_text("date,open,high,low,close,volume\n2025-01-02,100,101,99,100,1000\n")
    done = stockllm("import", folder / "2330.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kinds"][0]["accepted"] == 1
    done = stockllm("health", "--json")
    assert done.returncode == 0, done.stderr
    home = folder / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in (home, *home.rglob("*")):
        assert path.stat().st_uid == NOBODY
        path.chmod(0o500 if path.is_dir() else 0o400)
    done = stockllm("import", folder / "2330.csv")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    for path in (home, *home.rglob("*")):
        path.chmod(0o700)
