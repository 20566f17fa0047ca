"""What the System tab's workers tell it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from stockllm.tui.system.reading import StoreState, SystemState


@dataclass(eq=False)
class SystemLoaded(Message):
    """Refreshes, sites and logs were read."""

    state: SystemState


@dataclass(eq=False)
class StoreStateLoaded(Message):
    """The store was examined."""

    state: StoreState


@dataclass(eq=False)
class Planned(Message):
    """What a refresh would ask for, in words."""

    lines: tuple[str, ...]
