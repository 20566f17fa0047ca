"""What the dashboard does about memory while nothing happens."""

from __future__ import annotations

import ctypes
import gc

import pytest

from stockllm.tui import memory
from stockllm.tui.memory import GROWN_BYTES, Tidy, resident

glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim") or not resident(), reason="the C library is not glibc"
)


@glibc
def test_memory_that_nobody_uses_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    tidy = Tidy()
    tidy(quiet=True)
    before = resident()
    # Pieces too large for Python's own pools; those that are kept hold the pages between them.
    pieces = [bytes(600) for _ in range(150_000)]
    kept = pieces[::100]
    del pieces
    assert resident() > before + 6 * GROWN_BYTES
    tidy(quiet=False)
    assert resident() < before + GROWN_BYTES
    assert len(kept) == 1500


def test_it_is_asked_for_only_after_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    used, asked = [100], []
    monkeypatch.setattr(memory, "resident", lambda: used[0] * 1_000_000)
    monkeypatch.setattr(memory, "trim", lambda: asked.append(used[0]))
    tidy = Tidy()
    for megabytes in (100, 105, 108, 110, 111, 60, 65, 70):
        used[0] = megabytes
        tidy(quiet=True)
    assert asked == [100, 110, 70]


def test_what_was_imported_is_set_aside_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    tidy = Tidy()
    tidy.begin()
    assert not gc.isenabled()
    tidy(quiet=False)
    assert gc.isenabled()
    assert not frozen
    tidy(quiet=True)
    tidy(quiet=True)
    assert frozen == [1]
