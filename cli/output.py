"""Printing: answers on stdout, everything else on stderr, one language at a time.

A command answers either with ``emit_json`` (exactly one document) or with ``show`` and ``table``.
Whatever shows figures of a simulated store calls ``banner`` first.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store

SIMULATED = "SIMULATED 模擬資料"

#: The moments of a forecast, in Traditional Chinese and English.
MOMENT_NAMES = {"evening": ("晚間", "evening"), "morning": ("早晨", "morning"), "open": ("開盤", "open")}


def text(zh: str, en: str, language: str) -> str:
    """The wording of the user's language; anything but ``"en"`` reads Traditional Chinese."""
    return en if language == "en" else zh


def open_store(*, create: bool = False) -> tuple[Store, Settings]:
    """The user's store and settings; the caller closes the store (``with store:``).

    Raises StoreError where there is no store yet and ``create`` is False, or it cannot be used.
    """
    from stockllm.data.paths import Home
    from stockllm.data.settings import Settings
    from stockllm.data.store import Store

    home = Home.locate()
    settings = Settings.load(home)
    return Store.open(home, create=create), settings


@contextmanager
def store_to_fill() -> Iterator[tuple[Store, Settings]]:
    """The user's store, made where there is none; closed at the end.

    A store that was made here and got nothing before an error is taken away again with its folders:
    a command that was refused leaves no empty store for others to find.
    """
    from stockllm.data.paths import Home

    home = Home.locate()
    made = [path for path in (home.adapters, home.logs, home.root) if not path.exists()]
    new = not home.store.exists()
    store, settings = open_store(create=True)
    useless = False
    try:
        with store:
            try:
                yield store, settings
            except BaseException:
                useless = new and store.is_empty()
                raise
    finally:
        if useless:
            for suffix in ("", "-journal", "-wal", "-shm"):
                home.store.with_name(home.store.name + suffix).unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):  # somebody has put something there meanwhile
                    folder.rmdir()


def emit_json(document: Any) -> None:
    """Print one JSON document on stdout, in UTF-8 whatever the terminal's encoding."""
    rendered = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(rendered)
    else:
        sys.stdout.flush()
        binary.write(rendered.encode())
    sys.stdout.flush()


def say(message: str) -> None:
    """Tell the user something that is not the answer: progress, warnings, errors (stderr)."""
    _echo(message, sys.stderr)


def counter(done: int, total: int) -> None:
    """Progress of a long step, on one line of stderr; silent where nobody watches."""
    if total > 1 and sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done >= total else "", file=sys.stderr, flush=True)


def show(message: str = "") -> None:
    """Print a line of the answer (stdout)."""
    _echo(message, sys.stdout)


def banner(simulated: bool, language: str, *, err: bool = False) -> None:
    """Mark what follows as simulated; prints nothing for real data."""
    if not simulated:
        return
    stream = sys.stderr if err else sys.stdout
    line = f"{SIMULATED} " + text(
        "— 以下皆為產生的數字，不是真實行情", "— generated figures, no real market", language
    )
    _echo(typer.style(line, fg="yellow", bold=True) if _colours(stream) else line, stream)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Collection[int] = ()) -> None:
    """Print rows under their headers on stdout, padded by terminal cells, not by characters.

    ``right`` names the columns (from 0) that are aligned to the right. None prints as a dash.
    """
    from rich.cells import cell_len

    cells = [[str(header) for header in headers]]
    cells += [["-" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            " " * (width - cell_len(cell)) + cell if k in right else cell + " " * (width - cell_len(cell))
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        show("  ".join(padded).rstrip())


def _colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _echo(message: str, stream: TextIO) -> None:
    """Write a line; characters that the stream's encoding lacks are replaced, never an error."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    typer.echo(message.encode(encoding, "replace").decode(encoding), file=stream)
