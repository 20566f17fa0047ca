"""What is done to a base model's paths before anyone sees them, so that its bands keep their word.

Three things, all fitted on a period that the model has not read and kept in ``calibration.json``
beside its weights: every day's moves are made wider or narrower by a factor, a share of the paths is
drawn from the naive walk in place of the model, and another from the network whose words it reads (a pool
of forecasts is better than each where all are near the truth and err differently: Bates and Granger 1969).
Candles stay valid: a move's factor is the same for all four prices, which keeps their order, and every price
is put back on its tick and inside its limits.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.sampling.sample import Paths
from stockllm.market.ticks import limits, round_to_tick

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """``widths[k]`` multiplies the log moves of day k + 1, the last one those of all later days too.

    ``naive_share`` of the paths come from the naive walk, ``network_share`` from the network whose words the
    model reads. ``start`` and ``end`` are the days it was
    fitted on, ``windows`` how many forecasts of them; ``model`` the hash of the weights it was fitted
    with.
    """

    widths: tuple[float, ...]
    naive_share: float
    start: date
    end: date
    windows: int
    model: str
    network_share: float = 0.0

    def __post_init__(self) -> None:
        good = self.widths and all(math.isfinite(width) and 0.1 <= width <= 10 for width in self.widths)
        shares = self.naive_share, self.network_share
        if not good or min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(f"no calibration: widths {self.widths}, shares {shares}")

    @property
    def digest(self) -> str:
        """SHA-256 of what changes a forecast."""
        made: list[Any] = [self.widths, self.naive_share]
        if self.network_share:
            made.append(self.network_share)
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()

    def naive_paths(self, paths: int) -> int:
        """How many of so many paths the naive walk gives; never all of them."""
        return min(round(self.naive_share * paths), paths - 1)

    def network_paths(self, paths: int) -> int:
        """How many of so many paths the network gives; one at least is left to the model."""
        return max(0, min(round(self.network_share * paths), paths - self.naive_paths(paths) - 1))

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"start": self.start.isoformat(), "end": self.end.isoformat()}

    def write(self, folder: Path) -> None:
        """Put it beside the weights."""
        part = folder / (CALIBRATION_FILE + ".part")
        part.write_text(json.dumps(self.document(), indent=1) + "\n", "utf-8")
        part.replace(folder / CALIBRATION_FILE)


def hash_with(model_hash: str, calibration: Calibration | None) -> str:
    """What the ledger freezes of weights and their calibration: the weights' own hash without one."""
    if calibration is None:
        return model_hash
    return hashlib.sha256(f"{model_hash} {calibration.digest}".encode()).hexdigest()


def read_calibration(base: Path | str | None) -> Calibration | None:
    """The calibration beside a model's weights; None where there is none.

    :raises ModelUnavailable: a file that is none.
    """
    if not isinstance(base, Path) or not (base / CALIBRATION_FILE).is_file():
        return None
    try:
        document = json.loads((base / CALIBRATION_FILE).read_text("utf-8"))
        return Calibration(
            tuple(float(width) for width in document["widths"]),
            float(document["naive_share"]),
            date.fromisoformat(document["start"]),
            date.fromisoformat(document["end"]),
            int(document["windows"]),
            str(document["model"]),
            float(document.get("network_share", 0.0)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(
            f"{base / CALIBRATION_FILE} cannot be read ({error}): fit it anew with 'stockllm calibrate', or "
            "remove it.",
            zh=(
                f"{base / CALIBRATION_FILE} 無法讀取（{error}）：請用 'stockllm calibrate' 重新"
                "擬合，或刪除它。"
            ),
        ) from error


def widened(paths: Paths, last_close: int | NDArray[np.int64], widths: Sequence[float]) -> Paths:
    """``paths`` with the log moves of each day from the close before multiplied by the day's width.

    ``last_close`` in hundredths of a TWD, one or one a path.
    """
    if all(width == 1.0 for width in widths):
        return paths
    prices = paths.prices
    out = np.empty_like(prices)
    before = reference = np.broadcast_to(np.asarray(last_close, dtype=np.int64), len(prices))
    for day in range(prices.shape[1]):
        moves = np.log(prices[:, day] / before[:, None])
        down, up = limits(reference)
        wider = reference[:, None] * np.exp(moves * widths[min(day, len(widths) - 1)])
        on_tick = round_to_tick(np.rint(wider).astype(np.int64))
        out[:, day] = np.clip(on_tick, down[:, None], up[:, None])
        before, reference = prices[:, day, 3], out[:, day, 3]
    return Paths(out, paths.volumes)


def pooled(first: Paths, second: Paths) -> Paths:
    """The paths of both, those of ``first`` before those of ``second``."""
    return Paths(
        np.concatenate([first.prices, second.prices]), np.concatenate([first.volumes, second.volumes])
    )
