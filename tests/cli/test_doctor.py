"""``stockllm doctor``, and asking a terminal how wide its characters are."""

from __future__ import annotations

import io
import os
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from stockllm.cli import doctor as doctor_module
from stockllm.cli import terminal
from stockllm.cli.terminal import BLOCK_SAMPLE, CJK_SAMPLE, measured_width, ruler
from stockllm.data.paths import Home

KEYS = [
    "python", "torch", "unsloth", "bitsandbytes", "colours", "cjk-width", "glyph-width", "chart-font",
    "home", "privacy", "store", "base-model", "adapters",
]  # fmt: skip


def finding(report: dict[str, Any], key: str) -> dict[str, str]:
    (found,) = [f for f in report["findings"] if f["key"] == key]
    return found


def test_a_fresh_machine_is_told_what_to_do(document: Callable[..., Any], home_dir: Path) -> None:
    report = document("doctor", "--json")
    assert [f["key"] for f in report["findings"]] == KEYS
    assert report["simulated"] is False
    assert finding(report, "torch")["mark"] == "ok"
    assert finding(report, "base-model")["detail"].startswith("sha256 ")
    store = finding(report, "store")
    assert store["mark"] == "absent"
    assert "stockllm import" in store["advice"]
    assert "not a terminal" in finding(report, "cjk-width")["detail"]
    assert not home_dir.exists()


def test_a_simulated_store_is_described_under_the_banner(
    run: Callable[..., Any], simulated_home: Home
) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("SIMULATED 模擬資料")
    (store,) = [line for line in lines if str(simulated_home.store) in line]
    assert store.startswith("✓ Store")
    for part in ("41 companies", "up to 2026-03-31", "SIMULATED"):
        assert part in store
    assert lines[-len(ruler()) :] == [f"  {line}" for line in ruler()]


def test_broken_things_are_findings_and_exit_1(
    run: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home_dir.mkdir()
    (home_dir / "store.sqlite").write_text("no database" * 100)
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "fr")
    result = run("doctor")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    bad = [line for line in result.stdout.splitlines() if line.startswith("✗")]
    assert len(bad) == 2
    assert "STOCKLLM_LANGUAGE" in bad[0]
    assert "store.sqlite" in bad[1]


def test_one_broken_library_leaves_the_other_findings(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> None:
        raise OSError("libcudart.so: cannot open shared object file\nand more")

    monkeypatch.setattr(doctor_module, "_torch", explode)
    result = run("doctor")
    assert result.exit_code == 1
    assert "✗ torch" in result.stdout
    assert "OSError: libcudart.so: cannot open shared object file" in result.stdout
    assert "and more" not in result.stdout
    assert "Base model" in result.stdout


def test_absent_extras_are_no_failure(document: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "_installed", lambda _: None)
    report = document("doctor", "--json")
    assert finding(report, "unsloth")["mark"] == "absent"
    assert "stockllm[unsloth]" in finding(report, "unsloth")["advice"]
    assert finding(report, "bitsandbytes")["mark"] == "absent"


def test_looking_for_a_package_does_not_import_it() -> None:
    assert doctor_module._installed("no_such_package_at_all") is None
    before = set(sys.modules)
    doctor_module._installed("unsloth")
    assert "unsloth" not in set(sys.modules) - before


def test_wrong_usage(refused: Callable[..., str]) -> None:
    assert "--fix" in refused("doctor", "--fix")


# A terminal of our own: the far end of a pseudo-terminal, answering as a terminal does.


class FakeTerminal:
    """Counts every character as ``wide`` or one cell and answers cursor questions, or keeps quiet."""

    def __init__(self, cells: Callable[[str], int] | None) -> None:
        self.cells = cells
        self.heard = b""
        self.master, self.near = os.openpty()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        asked = 0
        while True:
            try:
                got = os.read(self.master, 1024)
            except OSError:
                return
            if not got or got == b"\0":
                return
            self.heard += got
            while self.heard.count(b"\x1b[6n") > asked:
                asked += 1
                sample = self.heard.split(b"\x1b[6n")[asked - 1].rpartition(b"\r")[2].decode()
                if self.cells is not None:
                    # What the user typed ahead arrives first.
                    os.write(self.master, f"q\x1b[12;{1 + self.cells(sample)}R".encode())

    def close(self) -> None:
        os.close(self.near)
        self.thread.join(timeout=10)
        os.close(self.master)


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[str], int] | None], FakeTerminal]]:
    made: list[FakeTerminal] = []

    def make(cells: Callable[[str], int] | None) -> FakeTerminal:
        made.append(FakeTerminal(cells))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("sample", [CJK_SAMPLE, BLOCK_SAMPLE])
@pytest.mark.parametrize(("cells", "factor"), [(cell_len, 1), (lambda text: 2 * cell_len(text), 2)])
def test_the_terminals_own_answer_counts(
    sample: str, cells: Callable[[str], int], factor: int, fake: Callable[..., FakeTerminal]
) -> None:
    end = fake(cells)
    before = termios.tcgetattr(end.near)
    assert measured_width(sample, end.near, end.near, timeout=10) == factor * cell_len(sample)
    assert termios.tcgetattr(end.near) == before


def test_a_silent_terminal_is_not_waited_for(fake: Callable[..., FakeTerminal]) -> None:
    end = fake(None)
    before = termios.tcgetattr(end.near)
    assert measured_width(CJK_SAMPLE, end.near, end.near, timeout=0.01) is None
    assert termios.tcgetattr(end.near) == before


def test_what_was_measured_becomes_a_finding(
    run: Callable[..., Any], fake: Callable[..., FakeTerminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    end = fake(lambda text: 2 * len(text))  # a terminal that takes ambiguous glyphs for wide ones
    monkeypatch.setattr(terminal, "terminal", lambda: (end.near, end.near))
    shown = run("doctor").stdout
    assert "✓ Chinese cell width  台積電 takes 6 cells, should take 6" in shown
    assert f"– Glyph cell width    {BLOCK_SAMPLE} takes 28 cells, should take 14" in shown
    assert "narrow" in shown


def test_captured_streams_are_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert terminal.terminal() is None


def test_the_ruler_is_flush() -> None:
    assert len({cell_len(line) for line in ruler()}) == 1
