"""A small network that says quantiles of a stock's move over the next 1, 5 and 20 sessions.

Two layers of 64 read the features of the evening and, where it is known, the world before the session.
One network serves every moment: while it learns, each example hides some of its sources. It learns by
pinball loss in units of the stock's own volatility.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.forecaster.outlook import features as parts
from stockllm.forecaster.outlook.features import WIDTH, bounded

Floats32 = NDArray[np.float32]
Bools = NDArray[np.bool_]

HORIZONS = (1, 5, 20)
QUANTILES = 40
LEVELS = np.arange(1, QUANTILES + 1) / (QUANTILES + 1)
#: Columns that the world adds: expected move and its size, four sources, size of two, known (two).
WORLD_WIDTH = 10
HIDDEN = 64
BATCH = 8192
PASSES = 2
RATE = 2e-3
#: How often an example is shown in the evening, with New York, with both, with the night alone.
SHOWN = (0.35, 0.25, 0.30, 0.10)
EVENING, NEW_YORK, BOTH, NIGHT = range(4)
#: Share of examples in which the institutions' buying is hidden.
FLOWS_HIDDEN = 0.3
#: What the three horizons weigh.
WEIGHTS = (1.0, 0.5, 0.5)
WEIGHTS_FILE = "outlook.safetensors"
_NAMES = ("first.weight", "first.bias", "second.weight", "second.bias", "out.weight", "out.bias")
_OUT = 2 * len(HORIZONS) + QUANTILES * len(HORIZONS)


def world_columns(expected: NDArray[Any], moves: NDArray[Any], night: Bools, new_york: Bools) -> Floats32:
    """The network's columns of the world for some examples, all zero where nothing is known.

    ``expected`` (n,) in sigmas, ``moves`` (n, 4), ``night`` and ``new_york`` (n,) say what is known.
    """
    known = np.stack((night, new_york, new_york, new_york), axis=1)
    seen = bounded(np.nan_to_num(moves) * known, 2.0)
    move = bounded(np.nan_to_num(expected), 3.0)
    return np.concatenate(
        (move[:, None], np.abs(np.nan_to_num(expected))[:, None], seen, np.abs(seen[:, :2]),
         night[:, None], new_york[:, None]), axis=1, dtype=np.float32, casting="unsafe",
    )  # fmt: skip


def _base() -> NDArray[np.float64]:
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf(level) for level in LEVELS])


@dataclass(frozen=True, eq=False)
class Network:
    """Weights of one or several networks, whose quantiles are averaged."""

    members: tuple[dict[str, Floats32], ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all weights."""
        found = hashlib.sha256()
        for member in self.members:
            for name in _NAMES:
                found.update(np.ascontiguousarray(member[name], dtype="<f4").tobytes())
        return found.hexdigest()

    def quantiles(self, inputs: Floats32) -> Floats32:
        """Quantiles of the moves over 1, 5 and 20 sessions, (n, 3, 40), in sigmas times the root of days."""
        rows = np.ascontiguousarray(inputs, dtype=np.float32)
        total = np.zeros((len(rows), len(HORIZONS), QUANTILES), dtype=np.float32)
        for member in self.members:
            hidden = _silu(rows @ member["first.weight"].T + member["first.bias"])
            hidden = _silu(hidden @ member["second.weight"].T + member["second.bias"])
            total += _spread(hidden @ member["out.weight"].T + member["out.bias"])
        mean: Floats32 = total / np.float32(len(self.members))
        return mean

    def save(self, folder: Path) -> None:
        """Write the weights into a model's folder."""
        from safetensors.numpy import save_file

        tensors = {
            f"{i}.{name}": np.ascontiguousarray(member[name])
            for i, member in enumerate(self.members)
            for name in _NAMES
        }
        save_file(tensors, folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path) -> Network:
        """The network that `save` wrote. OSError or ValueError where the file is none."""
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS_FILE)
        many = len(tensors) // len(_NAMES)
        return cls(tuple({name: tensors[f"{i}.{name}"] for name in _NAMES} for i in range(many)))


def _silu(values: Floats32) -> Floats32:
    out: Floats32 = values / (1 + np.exp(-np.clip(values, -60, 60)))
    return out


def _spread(out: Floats32) -> Floats32:
    """Outputs (n, _OUT) as quantiles (n, horizons, levels); a zero output is the normal distribution."""
    many = len(HORIZONS)
    place, width = out[:, :many], np.clip(out[:, many : 2 * many], -2, 2)
    shape = np.clip(out[:, 2 * many :].reshape(-1, many, QUANTILES)[..., 1:] * 0.5, -2, 2)
    steps = np.diff(_base()).astype(np.float32) * np.exp(shape + width[..., None])
    line = np.concatenate((np.zeros((*steps.shape[:2], 1), np.float32), np.cumsum(steps, axis=-1)), axis=-1)
    middle = QUANTILES // 2
    centre = (line[..., middle - 1 : middle] + line[..., middle : middle + 1]) / 2
    found: Floats32 = place[..., None] + line - centre
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What a network learns from, n examples.

    ``table`` (n, WIDTH) features of the evening before; ``expected`` (n, 3) by night, New York and both;
    ``moves`` (n, 4) of the world; ``night`` and ``new_york`` (n,) say what was known; ``targets`` (n, 3)
    moves over the horizons in sigmas over the root of days, NaN where they lie past the end.
    """

    table: Floats32
    expected: Floats32
    moves: Floats32
    night: Bools
    new_york: Bools
    targets: Floats32

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: NDArray[np.int64]) -> Examples:
        return Examples(*(getattr(self, name)[rows] for name in self.__slots__))

    def inputs(self, shown: NDArray[np.int64], flows: Bools | None = None) -> Floats32:
        """Network inputs, each example showing EVENING, NEW_YORK, BOTH or NIGHT of what was known."""
        night = self.night & ((shown == BOTH) | (shown == NIGHT))
        new_york = self.new_york & ((shown == BOTH) | (shown == NEW_YORK))
        expected = np.where(
            night & new_york,
            self.expected[:, 2],
            np.where(night, self.expected[:, 0], np.where(new_york, self.expected[:, 1], 0.0)),
        )
        table = self.table
        if flows is not None:
            table = table.copy()
            table[~flows, parts.OWN + parts.MARKET :] = 0.0
        return np.concatenate((table, world_columns(expected, self.moves, night, new_york)), axis=1)


def fit(examples: Examples, *, seeds: Sequence[int] = (1,), passes: int = PASSES) -> Network:
    """A network for each seed, trained on all examples; the same examples give the same network.

    Neither torch's random state nor anybody's gradient mode is changed.
    """
    return Network(tuple(_fit(examples, seed, passes) for seed in seeds))


def _fit(examples: Examples, seed: int, passes: int) -> dict[str, Floats32]:
    import torch

    rng = np.random.default_rng(seed)
    many, middle = len(HORIZONS), QUANTILES // 2
    batch = min(BATCH, max(1, len(examples)))
    steps = passes * (len(examples) // batch)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        # Made in here: a tensor of the caller's inference mode could not be learnt through.
        levels = torch.tensor(LEVELS, dtype=torch.float32)
        base = torch.tensor(np.diff(_base()), dtype=torch.float32)
        weigh = torch.tensor(WEIGHTS)
        layers = [
            torch.nn.Linear(WIDTH + WORLD_WIDTH, HIDDEN), torch.nn.Linear(HIDDEN, HIDDEN),
            torch.nn.Linear(HIDDEN, _OUT),
        ]  # fmt: skip
        torch.nn.init.zeros_(layers[2].weight[2 * many :])
        torch.nn.init.zeros_(layers[2].bias)
        parameters = [p for layer in layers for p in layer.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2)
        step = 0
        for _ in range(passes):
            order = rng.permutation(len(examples))
            for first in range(0, len(order) - batch + 1, batch):
                rows = np.sort(order[first : first + batch])
                some = examples[rows]
                shown = rng.choice(4, batch, p=SHOWN)
                inputs = torch.from_numpy(some.inputs(shown, rng.random(batch) >= FLOWS_HIDDEN))
                for group in optimizer.param_groups:
                    wave = 0.5 * (1 + np.cos(np.pi * step / steps))
                    group["lr"] = RATE * min(1.0, (step + 1) / 50) * max(0.02, wave)
                silu = torch.nn.functional.silu
                out = layers[2](silu(layers[1](silu(layers[0](inputs)))))
                shape = (out[:, 2 * many :].view(-1, many, QUANTILES)[..., 1:] * 0.5).clamp(-2, 2)
                jumps = base * torch.exp(shape + out[:, many : 2 * many].clamp(-2, 2)[..., None])
                line = torch.nn.functional.pad(jumps.cumsum(-1), (1, 0))
                centre = (line[..., middle - 1] + line[..., middle]) / 2
                found = out[:, :many, None] + line - centre[..., None]
                target = torch.from_numpy(some.targets)
                there = ~target.isnan()
                off = target.nan_to_num().clamp(-8, 8)[..., None] - found
                loss = torch.maximum(levels * off, (levels - 1) * off).mean(-1) * there
                optimizer.zero_grad()
                (loss.mean(0) @ weigh).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
    values = [p.detach().numpy().copy() for p in parameters]
    return dict(zip(_NAMES, values, strict=True))
