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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stockllm.data.errors import ModelUnavailable, NotEnoughHistory, UsageError
from stockllm.forecaster.prompts import price_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stockllm.data.paths import Home
    from stockllm.data.records import Series
    from stockllm.data.store import Store

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
    from stockllm.forecaster.engines import no_bars, prepare_imports, quiet_imports

    card = card_of(home, name)
    prepare_imports()
    folder = folder_of(home) / card.name
    with quiet_imports():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with quiet_imports(), no_bars():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
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
    if card is None:
        names = ", ".join(cards) or "none yet"
        which = "" if name is None else f" '{name}'"
        which_zh = "" if name is None else f"「{name}」"
        raise ModelUnavailable(
            f"There is no model of closes{which} (there: {names}): train one with 'stockllm closes train'.",
            zh=f"沒有收盤價模型{which_zh}（現有：{names}）：請用 'stockllm closes train' 訓練。",
        )
    return card


# --- forecast ------------------------------------------------------------------------------------


def forecast(loaded: ClosesModel, series: Series, *, paths: int, seed: int) -> Forecast:
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


# --- evaluation ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """Errors of closes in TWD over all windows and days; ``nrmse`` is RMSE over the range of what came,
    company by company, averaged. ``right`` counts signals whose direction the coming mean took, of
    ``signals``. Only windows that were answered count; ``unanswered`` had no answer that was prices.
    """

    mse: float
    rmse: float
    nrmse: float | None
    right: int
    signals: int
    windows: int
    unanswered: int
    failures: int
    paths: int


def evaluate(
    loaded: ClosesModel,
    store: Store,
    codes: Sequence[str],
    start: date,
    end: date,
    *,
    stride: int,
    paths: int,
    seed: int,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Figures]:
    """The model's errors beside those of the last price, on the same windows.

    Every forecast day lies from ``start`` to ``end``; each evening reads the bars up to it alone.

    :raises UsageError, NotEnoughHistory: as `windows_of` does.
    """
    card = loaded.card
    cases = windows_of(card, store, codes, start, end, stride=stride, force=force)
    made = []
    for number, (known, _) in enumerate(cases, 1):
        made.append(forecast(loaded, known, paths=paths, seed=seed))
        progress(number, len(cases))
    answered = [(each, came) for each, (_, came) in zip(made, cases, strict=True) if each.failures < paths]
    failures = sum(each.failures for each in made)
    naive = [
        np.full(card.future, known.close[-1])
        for each, (known, _) in zip(made, cases, strict=True)
        if each.failures < paths
    ]
    rest = (len(made) - len(answered), failures, paths)
    return {
        card.name: _figures(answered, [each.closes for each, _ in answered], *rest),
        "last": _figures(answered, naive, *rest),
    }


def windows_of(
    card: ClosesCard,
    store: Store,
    codes: Sequence[str],
    start: date,
    end: date,
    *,
    stride: int,
    force: bool = False,
) -> list[tuple[Series, Floats]]:
    """What was known and what came, of every so-many-th evening whose next closes lie in the period.

    All that can be refused is refused here, before any weights are loaded.

    :raises UsageError: for a period that the model has read, unless forced.
    :raises NotEnoughHistory: where no window fits into the period.
    """
    read = date.fromisoformat(card.data_end)
    if card.simulated == store.simulated and start <= read and not force:
        raise UsageError(
            f"{card.name} was trained on days up to {read}, so a period from {start} on is no test of it: "
            "start later, or pass --force.",
            zh=f"{card.name} 已用到 {read} 為止的資料訓練，從 {start} 起不能測試它："
            "請晚些開始，或加上 --force。",
        )
    cases = []
    for code in codes:
        series = store.bars.series(code)
        days, ahead = series.dates, card.future
        own = [
            (series[: at + 1], series.close[at + 1 : at + 1 + ahead])
            for at in range(card.past - 1, len(series) - ahead)
            if days[at + 1] >= start and days[at + ahead] <= end
        ]
        cases += own[::stride]
    if not cases:
        raise NotEnoughHistory(
            f"No company has {card.past} closes and {card.future} more from {start} to {end}: choose a "
            "longer period or import more.",
            zh=f"從 {start} 到 {end} 沒有公司有 {card.past} 個收盤價與其後 {card.future} 個："
            "請選較長的期間或匯入更多。",
        )
    return cases


def _figures(
    answered: Sequence[tuple[Forecast, Floats]],
    said: Sequence[Floats],
    unanswered: int,
    failures: int,
    paths: int,
) -> Figures:
    if not answered:
        return Figures(float("nan"), float("nan"), None, 0, 0, 0, unanswered, failures, paths)
    errors = np.stack([mine - came for mine, (_, came) in zip(said, answered, strict=True)])
    shares = []
    for code in {made.code for made, _ in answered}:
        own = [i for i, (made, _) in enumerate(answered) if made.code == code]
        spread = float(np.ptp([answered[i][1] for i in own]))
        if spread > 0:
            shares.append(float(np.sqrt((errors[own] ** 2).mean())) / spread)
    held = []
    for mine, (made, came) in zip(said, answered, strict=True):
        action = signal(made.a, float(mine.mean()))
        if action != "hold":
            held.append((float(came.mean()) > made.a) == (action == "buy"))
    mse = float((errors**2).mean())
    return Figures(
        mse,
        float(np.sqrt(mse)),
        float(np.mean(shares)) if shares else None,
        sum(held),
        len(held),
        len(answered),
        unanswered,
        failures,
        paths,
    )
