"""twstock's four buy and four sell points on our own series, guarded.

The rule is twstock 1.5.1's ``BestFourPoint``, run by twstock's own class. Buy points are looked at
first, and a day that shows one is a buy whatever the sell points say:

1. volume up on the day before, close above the open (sell: below the open);
2. volume down, close above the *previous* day's open (sell: below it);
3. the 3-day mean of closes turned up today, having not risen the day before (sell: stopped rising
   today; a mean that stays equal counts as falling);
4. the 3-day mean above the 6-day mean (sell: below it).

What the bias gate really does: ``best_four_point_to_buy`` and ``..._to_sell`` each also ask
``mins_bias_ratio()`` or ``plus_bias_ratio()``, meant to let a point through only near a pivot of
the gap between the 3-day and the 6-day mean. Both return a tuple of three, which is true however
its first member reads, so the gate never filters anything. It is kept as it is: the rule's users
know its signals, not its intention.

twstock raises IndexError below six closes, TypeError on a missing close, and compares volumes of
days nobody traded. Here each of these is no signal, with the reason said.

The rule lives in this room because training's choice of stocks and the trading signals both use it,
and trading stands above the forecaster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stockllm.data.records import BarSeries

#: Closes the rule looks at; twstock's 3-day means of older days change nothing it decides.
CLOSES_NEEDED = 6

_SHARES_A_LOT = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """One point that fired: its number 1 to 4, and what it saw, with its figures."""

    number: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class FourPoints:
    """The verdict on the last day of a series.

    ``points`` are the fired points of the side named by ``action``; none for a hold. ``why_not_zh``
    and ``why_not_en`` say, for a hold, why there is no signal; empty otherwise. Without full stop.
    """

    action: Literal["buy", "sell", "hold"]
    points: tuple[Point, ...] = ()
    why_not_zh: str = ""
    why_not_en: str = ""


def four_points(series: BarSeries) -> FourPoints:
    """Run the rule on the last day of ``series``; never raises on short or gappy data."""
    unfit = _unfit(series)
    if unfit is not None:
        return FourPoints("hold", why_not_zh=unfit[0], why_not_en=unfit[1])
    analytics, best_four_point = _twstock()
    tail = series[-CLOSES_NEEDED:]
    stock: Any = analytics()
    stock.open = tail.open.tolist()
    stock.high = tail.high.tolist()
    stock.low = tail.low.tolist()
    stock.close = stock.price = tail.close.tolist()
    stock.capacity = tail.volume.tolist()
    stock.date = list(tail.dates)

    rule: Any = best_four_point(stock)
    verdict = rule.best_four_point()
    if verdict is None:
        return FourPoints(
            "hold",
            why_not_zh="四大買點與四大賣點皆未出現",
            why_not_en="None of the four buy points and none of the four sell points fired",
        )
    side: Literal["buy", "sell"] = "buy" if verdict[0] else "sell"
    names = best_four_point.BEST_BUY_WHY if side == "buy" else best_four_point.BEST_SELL_WHY
    fired = [n for n in range(1, 5) if getattr(rule, f"best_{side}_{n}")()]
    return FourPoints(side, tuple(_point(stock, side, n, names[n - 1]) for n in fired))


@cache
def _twstock() -> tuple[Any, Any]:
    """twstock's ``Analytics`` and ``BestFourPoint``, from the one module of it that holds them.

    ``import twstock`` would read its lists of 30,000 codes, import what talks to the exchanges and wrap
    sys.stdout: a third of a second and 40 MB for two classes that need none of it.
    """
    package = find_spec("twstock")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'twstock'", name="twstock")
    path = Path(package.submodule_search_locations[0]) / "analytics.py"
    spec = spec_from_file_location("stockllm_twstock_analytics", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Analytics, module.BestFourPoint


def buy_or_sell(series: BarSeries) -> Literal["buy", "sell"] | None:
    """ "buy" or "sell" where the last day shows a point, else None."""
    action = four_points(series).action
    return None if action == "hold" else action


def _unfit(series: BarSeries) -> tuple[str, str] | None:
    """Why the rule cannot be asked about this series, in both languages; None when it can."""
    if len(series) < CLOSES_NEEDED:
        return (
            f"只有 {len(series)} 天的收盤價，四大買賣點需要 {CLOSES_NEEDED} 天",
            f"There are {len(series)} closes and the four points need {CLOSES_NEEDED}",
        )
    tail = series[-CLOSES_NEEDED:]
    for i, day in enumerate(tail.dates):
        prices = [float(tail.close[i])] + ([float(tail.open[i])] if i >= CLOSES_NEEDED - 2 else [])
        if not all(math.isfinite(p) and p > 0 for p in prices):
            return (
                f"{day} 缺少價格，無法判斷四大買賣點",
                f"A price of {day} is missing, so the four points cannot be judged",
            )
        volume = float(tail.volume[i])
        if i >= CLOSES_NEEDED - 2 and not (math.isfinite(volume) and volume > 0):
            return (
                f"{day} 沒有成交量，無法比較量的增減",
                f"No volume was recorded on {day}, so volumes cannot be compared",
            )
    return None


def _point(stock: Any, side: Literal["buy", "sell"], number: int, name: str) -> Point:
    """One fired point in words. ``name`` is twstock's own Chinese for it."""
    up = side == "buy"
    close, volume = stock.close, stock.capacity
    if number in (1, 2):
        # Point 2 measures the close from the open of the day before, whatever its name says.
        day_zh, day_en, mark = (
            ("開盤", "the open", stock.open[-1])
            if number == 1
            else ("前日開盤", "the previous open", stock.open[-2])
        )
        than = "高於" if up else "低於"
        return Point(
            number,
            f"{name}（成交量 {_lots(volume[-2])} → {_lots(volume[-1])} 張，"
            f"收盤 {_twd(close[-1])} {than}{day_zh} {_twd(mark)}）",
            f"volume {'up' if number == 1 else 'down'} ({_lots(volume[-2])} to {_lots(volume[-1])} lots) "
            f"with the close {_twd(close[-1])} {'above' if up else 'below'} {day_en} {_twd(mark)}",
        )
    three = stock.moving_average(stock.price, 3)
    if number == 3:
        return Point(
            number,
            f"{name}（{three[-3]:,.2f} → {three[-2]:,.2f} → {three[-1]:,.2f}）",
            f"the 3-day mean turned {'up' if up else 'down'} "
            f"({three[-3]:,.2f}, {three[-2]:,.2f}, {three[-1]:,.2f})",
        )
    six = stock.moving_average(stock.price, 6)
    return Point(
        number,
        f"{name}（{three[-1]:,.2f} {'>' if up else '<'} {six[-1]:,.2f}）",
        f"the 3-day mean {three[-1]:,.2f} is {'above' if up else 'below'} the 6-day mean {six[-1]:,.2f}",
    )


def _twd(price: float) -> str:
    """A price as people write it: 1,075 and 66.3, not 1,075.00 and 66.30."""
    return f"{price:,.2f}".rstrip("0").rstrip(".")


def _lots(shares: float) -> str:
    """Shares as lots of 1,000; a day of odd lots alone keeps its decimals."""
    lots = shares / _SHARES_A_LOT
    return f"{lots:,.0f}" if lots >= 10 else f"{lots:,.3f}".rstrip("0").rstrip(".")
