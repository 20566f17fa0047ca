"""What the terminal does with wide characters, asked of the terminal itself."""

from __future__ import annotations

import os
import re
import select
import sys
import time

#: Chinese, two cells a character everywhere.
CJK_SAMPLE = "台積電"
#: The glyphs charts are drawn with: "ambiguous" in Unicode's table, so terminals differ.
BLOCK_SAMPLE = "█▀▄│┃─▲▼╽╿╻╹╷╵"

_REPORT = re.compile(rb"\x1b\[\d+;(\d+)R")


def terminal() -> tuple[int, int] | None:
    """The descriptors to ask the terminal through, or None where this is no terminal of ours.

    Written to is stderr, because stdout carries the answer. A process in the background must not
    touch the terminal's modes: it would be stopped.
    """
    try:
        read, write = sys.stdin.fileno(), sys.stderr.fileno()
        mine = os.isatty(read) and os.isatty(write) and os.tcgetpgrp(read) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # no termios (Windows), no descriptors (captured)
        return None
    return (read, write) if mine else None


def measured_width(sample: str, read: int, write: int, timeout: float = 0.5) -> int | None:
    """How many cells the cursor moves for ``sample``; None where the terminal does not answer.

    Prints the sample at the line's start, asks for the cursor's position (DSR, ``ESC[6n``), then
    wipes the line and restores the terminal's modes. ``timeout`` is in seconds.
    """
    import termios
    import tty

    before = termios.tcgetattr(read)
    try:
        tty.setcbreak(read)
        os.write(write, b"\r" + sample.encode() + b"\x1b[6n")
        answer = _position(read, timeout)
        os.write(write, b"\r\x1b[K")
    finally:
        termios.tcsetattr(read, termios.TCSAFLUSH, before)  # the flush drops an answer that came late
    return None if answer is None else answer - 1


def _position(read: int, timeout: float) -> int | None:
    """The column, from 1, of the next cursor report."""
    deadline = time.monotonic() + timeout
    heard = b""
    while (left := deadline - time.monotonic()) > 0 and select.select([read], [], [], left)[0]:
        heard += os.read(read, 64)
        if report := _REPORT.search(heard):
            return int(report[1])
    return None


def ruler() -> list[str]:
    """Lines whose right edges are flush where the terminal counts cells as stockllm does."""
    from rich.cells import cell_len

    lines = ["12345678901234", CJK_SAMPLE + "聯發科鴻", BLOCK_SAMPLE]
    width = max(map(cell_len, lines))
    return [f"{line}{' ' * (width - cell_len(line))}|" for line in lines]
