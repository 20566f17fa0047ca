"""How a model of closes does on a period that it has not read, beside the last price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.errors import NotEnoughHistory, UsageError
from stockllm.forecaster.closes.text import ClosesCard, ClosesModel, Forecast, forecast, signal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stockllm.data.records import BarSeries
    from stockllm.data.store import Store

    Floats = NDArray[np.float64]


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
) -> list[tuple[BarSeries, Floats]]:
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
