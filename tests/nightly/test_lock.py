"""One process at a time, let go of by death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stockllm.data.errors import StoreError
from stockllm.nightly.lock import Busy, hold, holder

HOLDER = (
    "import sys, signal\n"
    "from pathlib import Path\n"
    "from stockllm.nightly.lock import hold\n"
    "with hold(Path(sys.argv[1]), 'another'):\n"
    "    print('held', flush=True)\n"
    "    signal.pause()\n"
)


def test_one_at_a_time_and_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert holder(path) is None
    with hold(path, "the first"):
        held = holder(path)
        assert held is not None
        assert (held.who, held.pid) == ("the first", os.getpid())
        with (
            pytest.raises(Busy, match=r"^the first \(process \d+, since 20.*\) is at it already: "),
            hold(path, "x"),
        ):
            pytest.fail("held twice")
        assert holder(path) is not None, "a refusal lets go of nothing"
    assert holder(path) is None
    with hold(path, "the second"):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Busy) as refused, hold(path, "us"):
            pytest.fail("held twice")
        assert (refused.value.holder.who, refused.value.holder.pid) == ("another", process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with hold(path, "us"):
        assert holder(path) is not None


def test_what_stands_in_the_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text('{"who": "a dead one", "pid": 1, "since": "2025-01-01T00:00:00+00:00", "more": ""}' * 9)
    assert holder(path) is None
    with hold(path, "us"):
        os.truncate(path, 0)
        with pytest.raises(Busy, match=r"^stockllm \(a process\)"), hold(path, "x"):
            pytest.fail("held twice")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"), hold(tmp_path / "no" / "x.lock", "us"):
        pytest.fail("held nowhere")
