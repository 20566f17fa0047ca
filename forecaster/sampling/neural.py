"""The small networks a Llama is compared with: an LSTM and a CNN over the last days' candles.

Both read ``LOOK_BACK`` days in units of the stock's own volatility and say, for each of the next
``AHEAD`` days, the centre and the width of a Student-t distribution of that day's log move. They are
trained on the store's own history up to a given day, when they are first asked; the last fifth of
that history says when to stop. The same bars give the same network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import NotEnoughHistory
from stockllm.data.records import BarSeries
from stockllm.forecaster.encoding.codec import STEPS_PER_SIGMA, VOLUME_MIDDLE, WARM_UP, Encoded, encode
from stockllm.forecaster.encoding.windows import Window
from stockllm.forecaster.sampling.baselines import Floats, walk_to
from stockllm.forecaster.sampling.sample import Paths, window_rng

if TYPE_CHECKING:
    import torch

Kind = Literal["lstm", "cnn"]

LOOK_BACK = 20
AHEAD = 20
FEATURES = 6
WIDTH = 16
BATCH = 256
STEPS = 600
RATE = 3e-3
#: Steps between two looks at the validation windows, and how many of those are looked at.
PATIENCE = 20
VALIDATION = 2000
VALIDATION_SHARE = 0.2
SEED = 3407
#: Fewer windows than this teach a network nothing but their noise.
FEWEST_WINDOWS = 200
#: Of a larger market, so many windows are drawn at random: more would not be read in STEPS batches.
MOST_WINDOWS = 60_000
_RECIPE = (
    LOOK_BACK, AHEAD, FEATURES, WIDTH, BATCH, STEPS, RATE, PATIENCE, VALIDATION, VALIDATION_SHARE, SEED,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Windows as arrays.

    ``inputs`` (n, LOOK_BACK, FEATURES); ``moves`` (n, AHEAD) in units of the sigma known at each
    window's origin; ``days`` (n, 2) the ordinals of its first and last day ahead.
    """

    inputs: NDArray[np.float32]
    moves: NDArray[np.float32]
    days: NDArray[np.int64]

    @property
    def digest(self) -> str:
        parts = hashlib.sha256(self.inputs.tobytes())
        parts.update(self.moves.tobytes())
        return parts.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class NeuralSampler:
    """A network of one kind, trained on ``examples`` when it first samples."""

    kind: Kind
    examples: Examples
    hash: str
    adapter_hash: str | None = None

    @classmethod
    def on(cls, kind: str, market: Sequence[BarSeries], until: date) -> NeuralSampler:
        """A network that knows every window lying wholly at or before ``until``.

        :raises NotEnoughHistory: where there are fewer than FEWEST_WINDOWS of them.
        """
        which: Kind = "lstm" if kind == "lstm" else "cnn"
        examples = gather(market, until)
        key = hashlib.sha256(f"{which} {_RECIPE} {examples.digest}".encode()).hexdigest()
        return cls(which, examples, key)

    def sample(
        self,
        windows: Sequence[Window],
        *,
        paths: int,
        seed: int,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> list[Paths]:
        """``paths`` futures of every window."""
        network = _trained(self)
        done: list[Paths] = []
        for window in windows:
            centre, width, freedom = _read(network, window)
            horizon = len(window.future_dates)
            # Days beyond those it was taught look like the last of them.
            days = np.minimum(np.arange(horizon), AHEAD - 1)
            rng = window_rng(window, seed)
            moves = centre[days] + width[days] * rng.standard_t(freedom, (paths, horizon))
            done.append(walk_to(window, moves, rng=rng))
            progress(len(done))
        return done


def gather(market: Sequence[BarSeries], until: date) -> Examples:
    """Every window whose last day is at or before ``until``; a random MOST_WINDOWS of them if more.

    :raises NotEnoughHistory: where there are fewer than FEWEST_WINDOWS.
    """
    known = sorted((series.until(until) for series in market), key=lambda series: series.code)
    encoded = [(encode(series), series) for series in known if len(series) > WARM_UP + 1 + AHEAD]
    slots = [(k, t) for k, (_, series) in enumerate(encoded) for t in range(WARM_UP + 1, len(series) - AHEAD)]
    if len(slots) < FEWEST_WINDOWS:
        raise NotEnoughHistory(
            f"A network needs {FEWEST_WINDOWS} windows to learn from and there are {len(slots)} up to "
            f"{until}: import more history, or use another baseline such as ewma.",
            zh=(
                f"神經網路需要 {FEWEST_WINDOWS} 個視窗學習，而到 {until} 為止只有 {len(slots)} "
                "個：請匯入更多歷史，或用 ewma 等其他基準。"
            ),
        )
    if len(slots) > MOST_WINDOWS:
        chosen = np.random.default_rng(SEED).choice(len(slots), MOST_WINDOWS, replace=False)
        slots = [slots[i] for i in sorted(chosen.tolist())]
    tables = [(_features(days), np.log(series.close / series.reference)) for days, series in encoded]
    inputs = np.stack([_look_back(tables[k][0], t) for k, t in slots])
    moves = np.stack([tables[k][1][t + 1 : t + 1 + AHEAD] / encoded[k][0].sigma[t + 1] for k, t in slots])
    days = np.array(
        [
            (encoded[k][1].dates[t + 1].toordinal(), encoded[k][1].dates[t + AHEAD].toordinal())
            for k, t in slots
        ]
    )
    return Examples(inputs.astype(np.float32), np.clip(moves, -10, 10).astype(np.float32), days)


def _features(days: Encoded) -> Floats:
    """What a network sees of each day, shape (n, FEATURES): four prices, volume, volatility."""
    prices = np.clip(days.steps / STEPS_PER_SIGMA, -6, 6)
    volume = (days.buckets - VOLUME_MIDDLE) / 6
    return np.column_stack([prices, volume, np.log(days.sigma[:-1] / 0.02)])


def _look_back(table: Floats, origin: int) -> Floats:
    """The LOOK_BACK rows that end with ``origin``, zeros before the first."""
    rows = table[max(0, origin + 1 - LOOK_BACK) : origin + 1]
    return np.vstack([np.zeros((LOOK_BACK - len(rows), FEATURES)), rows])


def _network(kind: Kind) -> Any:
    """(n, LOOK_BACK, FEATURES) -> (n, AHEAD, 2): centre, and log width, in units of sigma."""
    import torch
    from torch import Tensor, nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if kind == "lstm":
                self.body: nn.Module = nn.LSTM(FEATURES, WIDTH, batch_first=True)
            else:
                layers: list[nn.Module] = []
                for inside, dilation in ((FEATURES, 1), (WIDTH, 2), (WIDTH, 4)):
                    layers += [nn.Conv1d(inside, WIDTH, 3, dilation=dilation), nn.GELU()]
                self.body = nn.Sequential(*layers, nn.Flatten())
            # The three convolutions take 2, 4 and 8 days off the ends.
            last = nn.Linear(WIDTH if kind == "lstm" else (LOOK_BACK - 14) * WIDTH, 2 * AHEAD)
            # It starts out as the naive baseline: centre 0, width 1.
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
            self.head = nn.Sequential(nn.Dropout(0.1), last)
            self.freedom = nn.Parameter(torch.tensor(1.5))

        def forward(self, inputs: Tensor) -> Tensor:
            if kind == "lstm":
                _, (state, _) = self.body(inputs)
                features = state[-1]
            else:
                features = self.body(inputs.transpose(1, 2))
            out: Tensor = self.head(features)
            return out.view(len(inputs), AHEAD, 2)

    return Network()


#: The last few networks trained, by their samplers' hash.
_networks: dict[str, Any] = {}


def _trained(sampler: NeuralSampler) -> Any:
    if sampler.hash not in _networks:
        while len(_networks) >= 4:
            _networks.pop(next(iter(_networks)))
        _networks[sampler.hash] = train(sampler.kind, sampler.examples, STEPS)
    return _networks[sampler.hash]


def train(kind: Kind, examples: Examples, steps: int) -> Any:
    """A network fitted by maximum likelihood, as it stood when it did best on the last days.

    Neither torch's random state nor its threads are changed for anybody else.
    """
    import torch

    inputs, moves = torch.from_numpy(examples.inputs), torch.from_numpy(examples.moves)
    learn, check = _split(examples)
    order = np.random.default_rng(SEED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network loses more to handing work around than it gains
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            network = _network(kind)
            optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.1)
            best, kept = float("inf"), network.state_dict()
            for step in range(steps + 1):
                if step % PATIENCE == 0:
                    reached = _validation_loss(network, inputs[check], moves[check])
                    if reached < best:
                        best, kept = reached, {k: v.clone() for k, v in network.state_dict().items()}
                rows = torch.from_numpy(learn[order.integers(0, len(learn), BATCH)])
                # Half of them upside down: a year that rose must not teach that stocks rise.
                sign = np.where(order.random(len(rows)) < 0.5, -1.0, 1.0).astype(np.float32)
                flip = torch.from_numpy(sign)
                out = network.train()(_mirrored(inputs[rows], flip))
                loss = _loss(out, moves[rows] * flip[:, None], network.freedom)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            network.load_state_dict(kept)
    finally:
        torch.set_num_threads(threads)
    return network.eval()


def _split(examples: Examples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to learn from, and rows to check on, all of whose days come later than any learnt from."""
    first, last = examples.days.T
    border = np.quantile(first, 1 - VALIDATION_SHARE)
    learn, check = np.flatnonzero(last < border), np.flatnonzero(first >= border)
    if len(learn) < BATCH:  # a history too short to be divided: the check is then no check
        learn = check = np.arange(len(first))
    return learn, check[:: max(1, len(check) // VALIDATION)]


def _validation_loss(network: Any, inputs: torch.Tensor, moves: torch.Tensor) -> float:
    import torch

    with torch.no_grad():
        return float(_loss(network.eval()(inputs), moves, network.freedom))


def _mirrored(inputs: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    """Rows whose ``flip`` is -1 with every move negated, so that high and low change places."""
    import torch

    prices, rest = inputs[..., :4], inputs[..., 4:]
    turned = torch.where(flip[:, None, None] < 0, -prices[..., [0, 2, 1, 3]], prices)
    return torch.cat([turned, rest], dim=-1)


def _loss(out: torch.Tensor, moves: torch.Tensor, freedom: torch.Tensor) -> Any:
    """Mean negative log likelihood of the moves."""
    import torch

    spread: Any = torch.distributions.StudentT(_degrees(freedom), out[..., 0], out[..., 1].clamp(-3, 2).exp())
    return -spread.log_prob(moves).mean()


def _degrees(freedom: torch.Tensor) -> torch.Tensor:
    import torch

    return 2.5 + torch.nn.functional.softplus(freedom)


def _read(network: Any, window: Window) -> tuple[Floats, Floats, float]:
    """(centre, width) of each day's log move, shape (AHEAD,), and the degrees of freedom."""
    import torch

    days = encode(window.history)
    rows = _look_back(_features(days), len(window.history) - 1).astype(np.float32)
    with torch.inference_mode():
        out = network(torch.from_numpy(rows)[None])[0].double().numpy()
        freedom = float(_degrees(network.freedom))
    sigma = float(days.sigma[-1])
    return out[:, 0] * sigma, np.exp(np.clip(out[:, 1], -3, 2)) * sigma, freedom
