"""The networks whose words the base model learns to read: for each day one that has not learnt that day.

A model that trained on words as good as hindsight would trust them too much. The first training cuts its
days into blocks and gives each block the network of all the others. A later training keeps those, and
gives the days that came since the network that was shipped before them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory
from stockllm.forecaster.outlook.network import HORIZONS, Network, fit
from stockllm.forecaster.outlook.outlook import Outlook

Ints = NDArray[np.int64]

#: Blocks of days in the first training.
BLOCKS = 5
_FILE = "teachers.json"


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network and the days (ordinals, both included) that it speaks about."""

    first: int
    last: int
    network: Network


@dataclass(frozen=True, slots=True)
class Teachers:
    """Teachers of all days up to ``until`` (an ordinal), and the ``final`` network, learnt on all of them."""

    until: int
    block: tuple[Teacher, ...]
    final: Network

    def save(self, folder: Path) -> None:
        """Write them into a folder of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for i, teacher in enumerate(self.block):
            (folder / str(i)).mkdir(exist_ok=True)
            teacher.network.save(folder / str(i))
            rows.append([teacher.first, teacher.last])
        (folder / "final").mkdir(exist_ok=True)
        self.final.save(folder / "final")
        (folder / _FILE).write_text(json.dumps({"until": self.until, "block": rows}), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Teachers:
        """What `save` wrote."""
        document = json.loads((folder / _FILE).read_text("utf-8"))
        block = tuple(
            Teacher(int(first), int(last), Network.load(folder / str(i)))
            for i, (first, last) in enumerate(document["block"])
        )
        return cls(int(document["until"]), block, Network.load(folder / "final"))


def teach(
    outlook: Outlook,
    columns: Sequence[int],
    until: int,
    *,
    networks: int,
    before: Teachers | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Teachers:
    """Teachers of a panel's days up to ``until``, learnt on the stocks in ``columns``.

    :raises NotEnoughHistory: where none of them has traded long enough.
    """
    days = outlook.panel.days
    end = int(np.searchsorted(days, until, side="right"))
    rows, cols = outlook.learnable(0, end, columns)
    if not len(rows):
        raise NotEnoughHistory(
            "No company has traded long enough to learn anything from; import more history.",
            zh="沒有任何公司交易得夠久，無從學習：請匯入更多歷史。",
        )
    examples = outlook.examples(rows, cols, targets=True)
    for k, ahead in enumerate(HORIZONS):  # no target reaches past the end
        examples.targets[rows + ahead > end, k] = np.nan
    if before is not None:
        report("network")
        since = Teacher(before.until + 1, until, before.final)
        block = (*before.block, since) if until > before.until else before.block
        return Teachers(until, block, fit(examples, seeds=range(1, networks + 1)))
    block = ()
    cuts = np.quantile(rows, np.linspace(0, 1, BLOCKS + 1)).astype(np.int64)
    for i in range(BLOCKS):
        report(f"network {i + 1} of {BLOCKS + 1}")
        low, high = int(cuts[i]), int(cuts[i + 1]) if i < BLOCKS - 1 else end - 1
        # A target reaches twenty days ahead: as many before the block are left out.
        others = np.flatnonzero((rows < low - max(HORIZONS)) | (rows > high))
        network = fit(examples[others] if len(others) else examples)
        first = int(days[low]) if i else 0
        block = (*block, Teacher(first, int(days[high]), network))
    # Blocks share their borders: each begins after the one before.
    block = tuple(
        Teacher(block[i - 1].last + 1 if i else one.first, one.last, one.network)
        for i, one in enumerate(block)
    )
    report(f"network {BLOCKS + 1} of {BLOCKS + 1}")
    return Teachers(until, block, fit(examples, seeds=range(1, networks + 1)))
