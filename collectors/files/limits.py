"""How large a file may be that is taken in, and what is done with text that is too long or too deep.

A small file can stand for a huge table: repeated values cost nothing on the disk and everything in memory.
So sizes are compared before anything is read, and counts before anything is kept.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import ImportFailed

if TYPE_CHECKING:
    from stockllm.data.settings import Settings

#: A company's or a symbol's rows are judged for themselves: more of them than this take hours.
MOST_CODES = 100_000

_HEAD = 65_536
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# Deeper than any list of companies or news, and far from where Python's own stack ends.
_DEEPEST = 50
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Limits:
    """The most that one file may hold; the settings ``import_megabytes`` and so on raise it.

    A row or byte of text takes about ten times the memory that one of parquet takes, and JSON more.
    """

    megabytes: int = 128
    rows: int = 5_000_000
    columns: int = 1000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """What the user allows."""
        return cls(settings.import_megabytes, settings.import_rows, settings.import_columns)

    @property
    def text_rows(self) -> int:
        """The most rows of a CSV, and of a table whose cells are kept as text."""
        return max(1, self.rows // 10)

    def check_size(self, size: int, name: str, *, part: int = 1) -> None:
        """ImportFailed for a file of ``size`` bytes; some kinds may take only a ``part``-th."""
        most = (self.megabytes << 20) // part
        if size > most:
            raise ImportFailed(
                f"{name} has {size / 2**20:,.1f} MB and a file of its kind may have {most / 2**20:,.1f}: "
                "split it, or raise the setting import_megabytes.",
                zh=f"{name} 有 {size / 2**20:,.1f} MB，這類檔案上限為 {most / 2**20:,.1f} MB："
                "請分成幾個檔案，或調高設定 import_megabytes。",
            )

    def check_rows(self, rows: int, name: str, *, text: bool = False) -> None:
        """ImportFailed for a table with too many rows."""
        most = self.text_rows if text else self.rows
        if rows > most:
            raise ImportFailed(
                f"{name} has more than {most:,} rows: split it, or raise the setting import_rows.",
                zh=f"{name} 超過 {most:,} 列：請分成幾個檔案，或調高設定 import_rows。",
            )

    def check_columns(self, columns: int, name: str) -> None:
        """ImportFailed for a table with too many columns."""
        if columns > self.columns:
            raise ImportFailed(
                f"{name} has {columns:,} columns and may have {self.columns:,}: "
                "leave out those that are not needed, or raise the setting import_columns.",
                zh=f"{name} 有 {columns:,} 欄，上限為 {self.columns:,} 欄："
                "請去掉不需要的欄位，或調高設定 import_columns。",
            )


DEFAULT = Limits()


def check_codes(codes: int, name: str, most: int = MOST_CODES) -> None:
    """ImportFailed for a table of more stocks or symbols than there are."""
    if codes > most:
        raise ImportFailed(
            f"{name} names more than {most:,} codes: correct the column of codes, or split the file.",
            zh=f"{name} 有超過 {most:,} 個代號：請修正代號欄，或分成幾個檔案。",
        )


def head_of(path: Path, name: str) -> bytes:
    """The first 64 KiB of a file. ImportFailed where it cannot be read or is empty."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ImportFailed(
            f"{name} cannot be read ({error.strerror}): check its permissions.",
            zh=f"{name} 無法讀取（{error.strerror}）：請檢查其權限。",
        ) from error
    if not head:
        raise ImportFailed(
            f"{name} is empty: there is nothing to import.", zh=f"{name} 是空的：沒有可匯入的內容。"
        )
    return head


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text: text in UTF-8 or Big5 has no zero byte."""
    return b"\0" in head and not head.startswith(_UTF_16)


def decode(data: bytes) -> str | None:
    """Text in UTF-8, UTF-16 with its mark, or Big5, as Taiwanese spreadsheets write; None for no text."""
    for encoding in ("utf-16",) if data.startswith(_UTF_16) else ("utf-8-sig", "cp950"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    return None


def read_json(text: str) -> Any:
    """The document in ``text``. ValueError where it is none, or nested deeper than lists of ours are.

    Half of a character that an escape left alone, as a cut-off emoji is, becomes the sign for it: it
    could be stored nowhere.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if text.count("[") + text.count("{") > _DEEPEST or _ESCAPED.search(text):
        box = [document]
        _mend(box)
        return box[0]
    return document


def _mend(box: list[Any]) -> None:
    """Replace lone surrogates in all texts; ValueError past the depth allowed."""
    level: list[Any] = [box]
    for _ in range(_DEEPEST + 2):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                for key in [key for key in part if _SURROGATE.search(key)]:
                    part[_SURROGATE.sub("\ufffd", key)] = part.pop(key)
            for key, value in part.items() if isinstance(part, dict) else enumerate(part):
                if isinstance(value, str):
                    if _SURROGATE.search(value):
                        part[key] = _SURROGATE.sub("\ufffd", value)
                elif isinstance(value, dict | list):
                    below.append(value)
        if not below:
            return
        level = below
    raise ValueError("it is nested too deeply")


def cut(text: str, most: int = 80) -> str:
    """``text``, shortened for a message.

    >>> cut("x" * 10, 4)
    'xxxx…'
    """
    return text if len(text) <= most else f"{text[:most]}…"
