"""Changing single keys of ``settings.toml``; all else in it stays as the user wrote it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from stockllm.data.errors import StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.private import private_folder


def remember(home: Home, changes: Mapping[str, Any]) -> None:
    """Write ``changes`` into the settings of ``home``: a table in it changes its own keys alone.

    None takes a key out. Comments, order and keys not named stay; the file is whole at every moment.
    UsageError where the file is no TOML, StoreError where it cannot be read or written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = home.settings_file.resolve()  # a link stays a link
    try:
        # As bytes: the line ends stay as they are.
        document = tomlkit.parse(path.read_bytes()) if path.exists() else tomlkit.document()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror}): correct its permissions, or delete it.",
            zh=f"{path} 無法讀取（{error.strerror}）：請修正其權限，或刪除它。",
        ) from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read as TOML ({error}): correct it or delete it.",
            zh=f"{path} 不是正確的 TOML（{error}）：請修正或刪除它。",
        ) from error
    _merge(document, changes)
    try:
        private_folder(path.parent)
        _replace(path, tomlkit.dumps(document).encode())
    except OSError as error:
        raise StoreError(
            f"The settings cannot be written to {path} ({error.strerror}): make room for it, or correct "
            "the folder's permissions.",
            zh=f"設定無法寫入 {path}（{error.strerror}）：請騰出空間，或修正資料夾的權限。",
        ) from error


def _merge(table: MutableMapping[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        there = table.get(key)
        if value is None:
            table.pop(key, None)
        elif isinstance(value, Mapping):
            if not isinstance(there, MutableMapping):
                import tomlkit

                table[key] = there = tomlkit.table()
            _merge(there, value)
        elif there != value:  # an unchanged value keeps the way it was written
            table[key] = value


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` in the file's place, readable as before: the settings may hold a key."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(prefix=".settings-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
