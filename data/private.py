"""Folders and files for their owner alone, whatever the umask: settings hold keys, logs who trades what."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER, FILE = 0o700, 0o600


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing. One that is there stays as it is.

    :raises OSError: where that cannot be done.
    """
    missing = []
    above = path
    while not above.exists():
        missing.append(above)
        above = above.parent
    for folder in reversed(missing):
        try:
            folder.mkdir(FOLDER)
        except FileExistsError:
            continue  # another process was faster; what is no folder shows below
        folder.chmod(FOLDER)  # an odd umask takes bits of the owner's
    path.mkdir(exist_ok=True)
    return path


def opener(path: str, flags: int) -> int:
    """For ``open(..., opener=opener)``: what is made is for the owner alone, what is there stays as it is."""
    return os.open(path, flags, FILE)


def others_can_read(path: Path) -> bool:
    """Whether the group or everybody may read what is there."""
    try:
        return bool(path.stat().st_mode & 0o044)
    except OSError:
        return False
