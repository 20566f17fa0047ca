"""What a program finds around it: no home, another encoding, another program's variables, no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STOCKLLM_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where there is no home
    with pytest.raises(UsageError, match="set STOCKLLM_HOME"):
        Home.locate()
    monkeypatch.setenv("STOCKLLM_HOME", "~/stocks")
    with pytest.raises(UsageError, match="set STOCKLLM_HOME"):
        Home.locate()


def test_chinese_is_written_where_the_locale_has_none(tmp_path: Path) -> None:
    code = (
        "import io, sys; from stockllm.cli import main\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1')\n"
        "main._write_chinese(); print('行'); print(sys.stdout.encoding)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout.decode("utf-8").split() == ["行", "utf-8"]


def test_the_dashboard_refuses_without_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stockllm.tui.app"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | {"STOCKLLM_HOME": str(tmp_path), "STOCKLLM_LANGUAGE": "en"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("stockllm-tui needs a terminal")
    assert done.stdout == b""
