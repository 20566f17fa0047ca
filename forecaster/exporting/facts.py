"""What is known of an export: what it holds, what made it and on what it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["merged", "adapter"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is written down of an export, in its card and in ``stockllm.json``; anybody may read it.

    ``base`` is ``llama``, a hub id, or the name of a folder without those above it.
    ``data_end`` is the last day that training read, None where nobody can say; ``held_out`` the codes that
    training never saw; ``rank`` that of an adapter of low rank, None otherwise.
    """

    kind: Kind
    base: str
    model_hash: str
    adapter: str | None
    adapter_hash: str | None
    method: str | None
    rank: int | None
    prompt: str
    data_end: str | None
    held_out: tuple[str, ...]
    companies: tuple[str, ...]
    simulated: bool
    dtype: str

    @property
    def name(self) -> str:
        """A name for the hub and for servers: letters, digits and dashes."""
        words = self.base if self.adapter is None else f"{self.base}-{self.adapter}"
        plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in Path(words).name)
        return "-".join(part for part in ("stockllm", *plain.split("-")) if part)
