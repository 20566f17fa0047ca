"""One interface for everything that samples futures: the baselines and the Llama behind it.

| name | means |
| --- | --- |
| ``last`` | the last price stays: a point forecast |
| ``drift`` | random walk with the past year's mean and standard deviation |
| ``ewma`` | random walk with EWMA volatility, no drift: the naive baseline |
| ``bootstrap`` | random walk whose moves are drawn from those of the past year |
| ``ets`` ``arima`` | AutoETS and AutoARIMA of the log price (statsforecast) |
| ``lstm`` ``cnn`` | small networks trained on the store's own history |
| ``ewma+world`` | the naive walk moved by a ridge on what the world said before the session |
| ``network`` | quantiles by a small network that knows what the Llama knows |

A model behind a server (``openai:BASE_URL#NAME``) is `remote.RemoteSampler`; a forecaster of the field
(``chronos:`` and ``timesfm:``) is `peers.PeerSampler`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Protocol

from stockllm.data.records import BarSeries, PromptStyle
from stockllm.forecaster.encoding.prompts import REFERENCE_FIELDS, Field, parse_fields
from stockllm.forecaster.models.registry import EMBEDDED, LoadedModel, ModelRef, base_model_dir, load_model
from stockllm.forecaster.outlook.moments import shown_at
from stockllm.forecaster.sampling.calibration import Calibration, hash_with, pooled, read_calibration, widened
from stockllm.forecaster.sampling.cutoffs import held_out
from stockllm.market.moments import Moment

if TYPE_CHECKING:
    from stockllm.forecaster.encoding.windows import Window
    from stockllm.forecaster.outlook.outlook import Outlook
    from stockllm.forecaster.sampling.sample import Paths

#: All series as they were known on the evening of a day; only the networks ask for them.
Market = Callable[[date], Sequence[BarSeries]]
Progress = Callable[[int], None]
Walk = Callable[..., "list[Paths]"]


class Sampler(Protocol):
    """What makes forecasts. ``hash`` and ``adapter_hash`` are what the ledger freezes of it."""

    @property
    def hash(self) -> str: ...

    @property
    def adapter_hash(self) -> str | None: ...

    def sample(
        self, windows: Sequence[Window], *, paths: int, seed: int, progress: Progress = ...
    ) -> list[Paths]:
        """``paths`` futures of every window; all windows share one horizon.

        The random numbers of a window depend on the seed, its company and its origin alone.
        ``progress`` is told how many windows are done.
        """
        ...


def _silent(_done: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class LlamaSampler:
    """A Llama with its tokenizer, its adapter and its calibration where it has them."""

    loaded: LoadedModel
    prompt: PromptStyle
    fields: tuple[Field, ...]
    calibration: Calibration | None = None
    outlook: Outlook | None = None
    moment: Moment = "evening"

    @property
    def hash(self) -> str:
        return hash_with(self.loaded.model_hash, self.calibration)

    @property
    def adapter_hash(self) -> str | None:
        return self.loaded.adapter_hash

    def sample(
        self, windows: Sequence[Window], *, paths: int, seed: int, progress: Progress = _silent
    ) -> list[Paths]:
        from stockllm.forecaster.sampling.sample import sample

        calibration = self.calibration
        # Neither pool knows the open.
        alone = calibration is None or self.moment == "open"
        naive = 0 if alone or calibration is None else calibration.naive_paths(paths)
        by_network = self._by_network(windows, paths, seed)
        pool = len(by_network[0].prices) if by_network else 0
        windows = self.informed(windows)
        drawn = sample(
            self.loaded.model,
            self.loaded.tokenizer,
            windows,
            paths=paths - naive - pool,
            seed=seed,
            prompt=self.prompt,
            fields=self.fields,
            version=self.loaded.compact,
            progress=progress,
        )
        if calibration is None:
            return drawn
        closes = [round(float(window.history.close[-1]) * 100) for window in windows]
        made = [widened(mine, close, calibration.widths) for mine, close in zip(drawn, closes, strict=True)]
        if by_network:
            made = [pooled(mine, other) for mine, other in zip(made, by_network, strict=True)]
        if not naive:
            return made
        from stockllm.forecaster.sampling.baselines import ewma_walk

        walks = ewma_walk(windows, paths=naive, seed=seed)
        return [pooled(mine, walk) for mine, walk in zip(made, walks, strict=True)]

    def _by_network(self, windows: Sequence[Window], paths: int, seed: int) -> list[Paths]:
        """The paths that the calibration leaves to the network; empty where it leaves none."""
        network = self.loaded.network
        alone = self.calibration is None or self.moment == "open"
        share = 0 if alone or self.calibration is None else self.calibration.network_paths(paths)
        if not share or self.outlook is None or network is None or not windows:
            return []
        from stockllm.forecaster.sampling.informed import NetworkSampler

        sampler = NetworkSampler(self.outlook, self.moment, 0, network=network)
        return sampler.sample(windows, paths=share, seed=seed)

    def informed(self, windows: Sequence[Window]) -> list[Window]:
        """The windows with the words of what is known at the sampler's moment."""
        if self.outlook is None or self.prompt != "compact" or self.loaded.compact < 2:
            return list(windows)
        words = self.outlook.words(self.loaded.network, windows, shown=shown_at(self.moment))
        return [replace(window, words=each) for window, each in zip(windows, words, strict=True)]


@dataclass(frozen=True, slots=True)
class WalkSampler:
    """A baseline that is a formula: nothing to load, nothing to train.

    ``formula`` says in words what it computes; its digest stands where a model has its weights'.
    """

    formula: str
    walk: Walk

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.formula.encode()).hexdigest()

    @property
    def adapter_hash(self) -> str | None:
        return None

    def sample(
        self, windows: Sequence[Window], *, paths: int, seed: int, progress: Progress = _silent
    ) -> list[Paths]:
        done: list[Paths] = []
        for window in windows:
            done += self.walk([window], paths=paths, seed=seed)
            progress(len(done))
        return done


def sampler_for(
    ref: ModelRef,
    *,
    until: date,
    market: Market,
    prompt: PromptStyle = "compact",
    calibrated: bool = True,
    outlook: Callable[[], Outlook] | None = None,
    moment: Moment = "evening",
) -> Sampler:
    """What samples for a resolved model name.

    :param until: the last day a network may be trained on.
    :param market: gives the bars it is trained on; not called for any other model.
    :param calibrated: whether a Llama's calibration is used, where it has one for this style.
    :param outlook: what is known beside the candles; asked by models that read it, None for nothing.
    :param moment: when the forecasts are made.
    :raises ModelUnavailable: a Llama, an adapter or a peer that cannot be loaded.
    :raises NotEnoughHistory: a network without enough days to train on.
    """
    if ref.server is not None:
        from stockllm.forecaster.sampling.remote import RemoteSampler

        return RemoteSampler(ref.server, prompt)
    if ref.peer is not None:
        from stockllm.forecaster.sampling.peers import peer

        return peer(ref)
    if ref.base is not None:
        loaded = load_model(ref)
        use = read_calibration(ref.base) if calibrated and prompt == "compact" else None
        known = outlook() if outlook is not None and prompt == "compact" and loaded.compact == 2 else None
        return LlamaSampler(loaded, prompt, _fields(loaded), use, known, moment)
    if ref.name in ("network", "ewma+world"):
        from stockllm.forecaster.sampling.informed import informed

        if outlook is None:
            raise ValueError(f"{ref.name} needs an outlook")
        return informed(ref.name, outlook(), moment, until, held_out(ModelRef(EMBEDDED, base_model_dir())))
    if ref.name in ("lstm", "cnn"):
        from stockllm.forecaster.sampling.neural import NeuralSampler

        return NeuralSampler.on(ref.name, market(until), until)
    return _formula(ref.name)


def _formula(name: str) -> WalkSampler:
    """A baseline that learns nothing."""
    from stockllm.forecaster.sampling.baselines import FORMULA, ewma_walk

    if name == "ewma":
        return WalkSampler(FORMULA, ewma_walk)
    from stockllm.forecaster.sampling.classical import CLASSICAL

    return WalkSampler(*CLASSICAL[name])


def _fields(loaded: LoadedModel) -> tuple[Field, ...]:
    """The reference style's fields an adapter was trained on; those of the reference otherwise."""
    named = loaded.card.flags.get("fields") if loaded.card is not None else None
    if not named:
        return REFERENCE_FIELDS
    return parse_fields(named if isinstance(named, str) else ",".join(named))
