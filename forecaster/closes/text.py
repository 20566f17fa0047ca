"""Closes only: any causal model reads past closes as plain text and writes the next ones.

The simpler rule set of the system before this one, there on GPT-2: every weight tuned on ``past 20 -> next
40``, the signal from two means, errors as MSE, RMSE and NRMSE. No chat, no grammar, no candles: an answer
that holds no such list of prices is counted as a failure, which is why this lives beside `forecast` and
not in it. Training is in `closes_train`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory
from stockllm.forecaster.encoding.prompts import price_text
from stockllm.forecaster.models.files import NO_CODE, SAFE, is_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stockllm.data.paths import Home
    from stockllm.data.records import BarSeries

    Floats = NDArray[np.float64]

PAST, FUTURE = 20, 40
#: The signal holds while B is within this share of A, as the mean rule of `stockllm signals` does.
TOLERANCE = 0.001
CARD_FILE = "closes.json"
_PRICE = re.compile(r"\d+(\.\d+)?")

Action = Literal["buy", "sell", "hold"]


@dataclass(frozen=True, slots=True)
class ClosesCard:
    """What a model of closes was made of. Days are ISO dates, losses in nats a token."""

    name: str
    base: str
    base_hash: str
    hash: str
    made_at: str
    companies: list[str]
    data_start: str
    data_end: str
    simulated: bool
    past: int
    future: int
    windows: int
    steps: int
    losses: dict[str, float]
    flags: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """The next closes of a company, the median of the answers that were prices, shape (future,), TWD.

    ``a`` is the mean of the past closes, ``b`` that of the forecast ones; ``failures`` counts answers
    that were no list of prices, of ``paths``.
    """

    code: str
    origin: date
    closes: Floats
    a: float
    b: float
    paths: int
    failures: int

    @property
    def action(self) -> Action:
        """Buy where B lies above A, sell where below, neither where they are very close."""
        return signal(self.a, self.b)


def signal(a: float, b: float) -> Action:
    """The rule: buy if B > A, sell if B < A, nothing if equal or within `TOLERANCE` of it."""
    if abs(b / a - 1) <= TOLERANCE:
        return "hold"
    return "buy" if b > a else "sell"


# --- text ----------------------------------------------------------------------------------------


def question(closes: Sequence[float], future: int = FUTURE) -> str:
    """What the model reads; its answer follows after a blank."""
    return (
        f"Closing prices of the past {len(closes)} trading days: {_prices(closes)}\n"
        f"The next {future} closing prices:"
    )


def answer(closes: Sequence[float]) -> str:
    """What the model is to write."""
    return " " + _prices(closes)


def parse(text: str, future: int = FUTURE) -> Floats | None:
    """The prices that an answer starts with, shape (future,); None where it is no such list."""
    words = text.split()[:future]
    if len(words) < future or not all(_PRICE.fullmatch(word) for word in words):
        return None
    closes = np.array([float(word) for word in words])
    return closes if (closes > 0).all() else None


def _prices(closes: Sequence[float]) -> str:
    return " ".join(price_text(float(close)) for close in closes)


# --- models --------------------------------------------------------------------------------------


def folder_of(home: Home) -> Path:
    """Where the home keeps its models of closes, one folder each."""
    return home.root / "closes"


def read_card(folder: Path) -> ClosesCard:
    """The card of a model's folder; OSError or ValueError where there is none."""
    document = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    try:
        return ClosesCard(**{key: document[key] for key in ClosesCard.__slots__ if key in document})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CARD_FILE} is not the card of a model of closes") from error


def write_card(folder: Path, card: ClosesCard) -> None:
    text = json.dumps(asdict(card), ensure_ascii=False, indent=2) + "\n"
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def list_models(home: Home) -> list[ClosesCard]:
    """The home's models of closes, the newest first."""
    found = []
    here = folder_of(home)
    for path in here.iterdir() if here.is_dir() else ():
        try:
            found.append(read_card(path))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda card: card.made_at, reverse=True)


@dataclass(frozen=True, slots=True)
class ClosesModel:
    """A model of closes, its tokenizer and its card."""

    model: Any
    tokenizer: Any
    card: ClosesCard


def load(home: Home, name: str | None) -> ClosesModel:
    """A model of closes by its name, the newest where none is given.

    :raises ModelUnavailable: where there is none, or it cannot be read.
    """
    from stockllm.forecaster.models.engines import no_bars, prepare_imports, quiet_imports

    card = card_of(home, name)
    prepare_imports()
    folder = folder_of(home) / card.name
    with quiet_imports():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with quiet_imports(), no_bars():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **SAFE)
            model = model.to(device).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, **NO_CODE)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelUnavailable(
            f"The model of closes '{card.name}' cannot be loaded from {folder}: train it again.",
            zh=f"無法從 {folder} 載入收盤價模型「{card.name}」：請重新訓練。",
        ) from error
    return ClosesModel(model, tokenizer, card)


def card_of(home: Home, name: str | None) -> ClosesCard:
    """The card of a model by its name, the newest where none is given; loads no weights.

    :raises ModelUnavailable: where there is none.
    """
    cards = {card.name: card for card in list_models(home)}
    card = next(iter(cards.values()), None) if name is None else cards.get(name)
    if card is None or not is_name(card.name):
        names = ", ".join(cards) or "none yet"
        which = "" if name is None else f" '{name}'"
        which_zh = "" if name is None else f"「{name}」"
        raise ModelUnavailable(
            f"There is no model of closes{which} (there: {names}): train one with 'stockllm closes train'.",
            zh=f"沒有收盤價模型{which_zh}（現有：{names}）：請用 'stockllm closes train' 訓練。",
        )
    return card


# --- forecast ------------------------------------------------------------------------------------


def forecast(loaded: ClosesModel, series: BarSeries, *, paths: int, seed: int) -> Forecast:
    """The next closes after a series' last bar.

    One path takes the likeliest word each time; several are sampled, with random numbers that depend on
    the seed, the company and the day alone.

    :raises NotEnoughHistory: where the series is shorter than what the model reads.
    """
    import torch

    card = loaded.card
    if len(series) < card.past:
        raise NotEnoughHistory(
            f"{series.code} has {len(series)} trading days and this model reads {card.past}; import more.",
            zh=f"{series.code} 只有 {len(series)} 個交易日，這個模型要讀 {card.past} 天；請匯入更多。",
        )
    past = series.close[-card.past :]
    text = question(past.tolist(), card.future)
    ids = loaded.tokenizer(text, return_tensors="pt").to(loaded.model.device)
    # As long as prices like these take, and half as much again.
    room = 16 + 3 * len(loaded.tokenizer(answer(past.tolist()))["input_ids"]) * card.future // (2 * card.past)
    torch.manual_seed(zlib.crc32(f"{seed}/{series.code}/{series.dates[-1]}".encode()))
    how: dict[str, Any] = {"do_sample": False}
    if paths > 1:
        how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    with torch.inference_mode():
        said = loaded.model.generate(
            **ids,
            max_new_tokens=room,
            num_return_sequences=paths,
            pad_token_id=loaded.tokenizer.pad_token_id or loaded.tokenizer.eos_token_id,
            **how,
        )
    texts = loaded.tokenizer.batch_decode(said[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    good = [closes for each in texts if (closes := parse(each, card.future)) is not None]
    closes = np.median(good, axis=0) if good else np.full(card.future, np.nan)
    return Forecast(
        series.code,
        series.dates[-1],
        closes,
        float(past.mean()),
        float(closes.mean()),
        paths,
        paths - len(good),
    )


def check_answered(made: Forecast) -> None:
    """ModelUnavailable where not one answer was a list of prices."""
    if made.failures == made.paths:
        raise ModelUnavailable(
            f"None of {made.paths} answers for {made.code} was a list of prices: train for more steps.",
            zh=f"{made.code} 的 {made.paths} 個回答都不是價格：請將模型訓練更多步。",
        )
