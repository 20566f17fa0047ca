"""Forecasters of the field behind the samplers' interface: what others made, held to the same score.

| name | means |
| --- | --- |
| ``chronos:FOLDER_OR_HUB_ID`` | Chronos-2 or Chronos-Bolt (package ``chronos-forecasting``) |
| ``timesfm:FOLDER_OR_HUB_ID`` | TimesFM 2.5 (package ``timesfm``) |

A peer reads the log of a stock's closes and says quantiles of each day ahead. Paths follow a normal walk's
ranks through them, as those of ``network`` do; candles are put around as for every baseline.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import ModelUnavailable
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import encode
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.models.engines import no_bars, prepare_imports, quiet_imports
from stockllm.forecaster.models.files import SAFE, check_whole
from stockllm.forecaster.models.registry import ModelRef, model_folder, weights_hash
from stockllm.forecaster.sampling.informed import along
from stockllm.forecaster.sampling.sample import Paths

Floats = NDArray[np.float64]

#: Days of its past that a peer reads at most: two years.
CONTEXT = 512
#: Windows read in one batch.
AT_ONCE = 64
#: The horizon that TimesFM is compiled for at least: one of its output patches.
_PATCH = 128


class Forecaster(Protocol):
    """A peer's model, loaded."""

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of its quantiles, rising, each inside (0, 1)."""
        ...

    def quantiles(self, series: Sequence[Floats], horizon: int) -> Floats:
        """Quantiles of the values that follow each series, shape (series, horizon, levels)."""
        ...


@dataclass(frozen=True, slots=True)
class Chronos:
    """A pipeline of ``chronos-forecasting`` that says quantiles."""

    pipeline: Any

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(float(level) for level in self.pipeline.quantiles)

    def quantiles(self, series: Sequence[Floats], horizon: int) -> Floats:
        import torch

        inputs = [torch.tensor(each, dtype=torch.float32) for each in series]
        found, _mean = self.pipeline.predict_quantiles(
            inputs, prediction_length=horizon, quantile_levels=list(self.pipeline.quantiles)
        )
        # Chronos-2 answers with (variates, horizon, levels) for each series, Bolt with (horizon, levels).
        rows = [np.asarray(each, dtype=np.float64).reshape(horizon, -1) for each in found]
        return np.stack(rows)


@dataclass(frozen=True, slots=True)
class TimesFM:
    """TimesFM 2.5, which says its mean and nine deciles."""

    model: Any
    levels: tuple[float, ...] = tuple(tenth / 10 for tenth in range(1, 10))

    def quantiles(self, series: Sequence[Floats], horizon: int) -> Floats:
        _point, found = self.model.forecast(horizon=horizon, inputs=list(series))
        return np.asarray(found, dtype=np.float64)[..., 1:]


@dataclass(eq=False)
class PeerSampler:
    """A peer: paths through the quantiles that it says of each day."""

    name: str
    hash: str
    forecaster: Forecaster
    adapter_hash: str | None = field(default=None, init=False)

    def sample(
        self,
        windows: Sequence[Window],
        *,
        paths: int,
        seed: int,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> list[Paths]:
        """``paths`` futures of every window.

        :raises ModelUnavailable: where the model's answer is no quantiles.
        """
        done: list[Paths] = []
        ranks = np.array([NormalDist().inv_cdf(level) for level in self.forecaster.levels])
        for start in range(0, len(windows), AT_ONCE):
            batch = windows[start : start + AT_ONCE]
            for window, lines in zip(batch, self.moves(batch), strict=True):
                days = np.arange(1, len(lines) + 1)[:, None]
                sigma = float(encode(window.history).sigma[-1])
                done.append(along(window, lines / (sigma * np.sqrt(days)), ranks, paths=paths, seed=seed))
                progress(len(done))
        return done

    def moves(self, windows: Sequence[Window]) -> Floats:
        """Quantiles of the log return since the last close, shape (windows, horizon, levels)."""
        horizon = len(windows[0].future_dates)
        shape = (len(windows), horizon, len(self.forecaster.levels))
        with _quietly():
            found = self.forecaster.quantiles([log_closes(window.history) for window in windows], horizon)
        if found.shape != shape or not np.isfinite(found).all():
            raise ModelUnavailable(
                f"The model {self.name} answered with no quantiles: check its folder, or use another model.",
                zh=f"模型 {self.name} 的回答不是分位數：請檢查其資料夾，或改用其他模型。",
            )
        # Quantiles of one day may cross; sorted, they say the same and can be read at any rank.
        return np.sort(found, axis=2)


def log_closes(series: BarSeries) -> Floats:
    """The log of past closes over the last one, at most `CONTEXT`, oldest first; the last is 0.

    Each move is from the day's own reference price, so that an ex-date or a split is none.
    """
    moves = np.log(series.close / series.reference)[-CONTEXT + 1 :]
    if len(moves) == len(series.close):
        moves = moves[1:]  # the first day's reference belongs to no close that is here
    past: Floats = np.concatenate([np.zeros(1), np.cumsum(moves)])
    moved: Floats = past - past[-1]
    return moved


def peer(ref: ModelRef) -> PeerSampler:
    """The sampler of a resolved peer, loaded from its folder or from the hub's cache.

    :raises ModelUnavailable: where its package is missing or its files cannot be loaded.
    """
    if ref.peer is None or ref.base is None:
        raise ValueError(f"{ref.name} is no peer")
    _require(ref.peer)
    digest = weights_hash(ref.base)
    return PeerSampler(ref.name, digest, _loaded(ref, digest))


def _require(kind: str) -> None:
    """ModelUnavailable with the command where a peer's package is not installed."""
    module, package = {"chronos": ("chronos", "chronos-forecasting"), "timesfm": ("timesfm", "timesfm")}[kind]
    if find_spec(module) is None:
        raise ModelUnavailable(
            f"{kind}: models need the package {package}, which is not installed: "
            "run pip install 'stockllm[peers]'.",
            zh=f"{kind}: 模型需要尚未安裝的套件 {package}：請執行 pip install 'stockllm[peers]'。",
        )


@lru_cache(maxsize=2)
def _loaded(ref: ModelRef, _digest: str) -> Forecaster:
    assert ref.base is not None
    folder = model_folder(ref.base)
    check_whole(folder)
    prepare_imports()
    try:
        with _quietly(), no_bars():
            return _chronos(folder) if ref.peer == "chronos" else _timesfm(folder)
    except Exception as error:  # each package has errors of its own, asserts among them
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelUnavailable(
            f"The model {ref.name} cannot be loaded ({cause}): name the folder or hub id of one that the "
            f"package for {ref.peer} can load.",
            zh=f"模型 {ref.name} 無法載入（{cause}）：請指定 {ref.peer} 套件能載入的資料夾或模型庫代號。",
        ) from error


def _chronos(folder: Path) -> Chronos:
    import chronos
    import torch

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = config.get("architectures") or [None]
    known = {
        "Chronos2Model": chronos.Chronos2Pipeline,
        "ChronosBoltModelForForecasting": chronos.ChronosBoltPipeline,
    }
    if named[0] not in known:
        raise ValueError(f"{named[0]} is neither Chronos-2 nor Chronos-Bolt")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Chronos(known[named[0]].from_pretrained(folder, device_map=device, dtype=torch.float32, **SAFE))


def _timesfm(folder: Path) -> TimesFM:
    import timesfm

    model = timesfm.TimesFM_2p5_200M_torch(torch_compile=False)
    model.load_checkpoint(str(folder), torch_compile=False)
    model.compile(
        timesfm.ForecastConfig(
            max_context=CONTEXT,
            max_horizon=_PATCH,
            normalize_inputs=True,
            per_core_batch_size=8,
            use_continuous_quantile_head=True,
            force_flip_invariance=True,
            infer_is_positive=False,  # a log return may be below zero
            fix_quantile_crossing=True,
        )
    )
    return TimesFM(model)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the packages' chatter; what matters to a user is said in a sentence of ours."""
    with quiet_imports(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
