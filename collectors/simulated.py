"""A simulated market for the demo: the real companies and calendar, generated candles and news.

docs/simulated-market.md describes the model. Every bar's source is "simulated", every headline says
模擬, and the store they go to is flagged.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from stockllm.collectors.simulated_draws import STEPS, TRAITS, Draws
from stockllm.collectors.simulated_world import SimulatedWorld, flows, futures, new_york, put
from stockllm.data.errors import StoreError, UsageError
from stockllm.data.records import Article, Bar
from stockllm.market.calendar import RULE_YEARS, TradingCalendar, default_calendar
from stockllm.market.companies import COMPANIES, Company
from stockllm.market.ticks import limits, round_to_tick

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.paths import Home

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SOURCE = "simulated"
DEFAULT_SESSIONS = 500
DEFAULT_SEED = 3407

_TAIPEI = timezone(timedelta(hours=8))


@dataclass(frozen=True)
class SimulatedMarket:
    """What was generated: the sessions, all bars by code and date, the news by code, and the world."""

    sessions: tuple[date, ...]
    bars: tuple[Bar, ...]
    articles: dict[str, tuple[Article, ...]]
    world: SimulatedWorld | None = None


def simulate(
    end: date,
    sessions: int = DEFAULT_SESSIONS,
    seed: int = DEFAULT_SEED,
    *,
    companies: Sequence[Company] = COMPANIES,
    calendar: TradingCalendar | None = None,
) -> SimulatedMarket:
    """Generate ``sessions`` trading days that end on the last session up to ``end``, and their world.

    The world goes one night further, to the morning of the session after. The same arguments give the
    same market (with one release of numpy). UsageError where the days asked for reach outside the years
    whose holidays are known, or a number is out of range.
    """
    import numpy as np

    calendar = calendar or default_calendar()
    days = _last_sessions(end, sessions, calendar)
    if seed < 0:
        raise UsageError(
            f"A seed of {seed} cannot be used: give 0 or a larger number.",
            zh=f"種子 {seed} 不能使用：請給 0 或更大的整數。",
        )
    rng = np.random.default_rng(seed)
    (after,) = calendar.next_sessions(days[-1], 1)
    *_, before = calendar.sessions(days[0] - timedelta(days=30), days[0] - timedelta(days=1))
    drawn = Draws.draw(rng, days, companies, before, after)
    columns = _trade(drawn, days, companies)
    bars: list[Bar] = []
    articles: dict[str, tuple[Article, ...]] = {}
    for k, company in enumerate(companies):
        own = _bars_of(company, days, columns, k)
        bars += own
        articles[company.code] = _news_of(company, own)
    nights = drawn.nights
    world = SimulatedWorld(
        new_york(rng, nights),
        futures(rng, nights, (*days, after), drawn.shock.mean(axis=1), drawn.slope.mean(axis=0)),
        flows(days, [c.code for c in companies], drawn.buying, columns.volume),
    )
    return SimulatedMarket(days, tuple(bars), articles, world)


def write(market: SimulatedMarket, home: Home) -> None:
    """Put ``market`` into a new store at ``home``, in place of the one there, or change nothing.

    The store is filled beside its place and moved there when it is whole. StoreError where the
    folder cannot be written or the store is in use.
    """
    from stockllm.data.paths import Home as HomeAt
    from stockllm.data.store import Store

    home.ensure()
    try:
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=home.root))
        try:
            with Store.open(HomeAt(building)) as store, store.transaction():
                store.set_simulated(True)
                store.bars.put(market.bars)
                for code, articles in market.articles.items():
                    store.news.put(articles, code)
                if market.world is not None:
                    put(store, market.world)
            # A journal left beside the old file would be replayed into the new one.
            for leftover in home.root.glob(f"{home.store.name}-*"):
                leftover.unlink()
            os.replace(HomeAt(building).store, home.store)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"The demo store at {home.store} cannot be written ({error.strerror or error}): "
            "close what uses it, or set STOCKLLM_HOME to another folder.",
            zh=(
                f"試用資料庫 {home.store} 無法寫入（{error.strerror or error}）：請關閉使用它的"
                "程式，或把 STOCKLLM_HOME 設為其他資料夾。"
            ),
        ) from error


def _last_sessions(end: date, count: int, calendar: TradingCalendar) -> tuple[date, ...]:
    if count < 1:
        raise UsageError(
            f"{count} sessions cannot be simulated: give 1 or more.",
            zh=f"無法模擬 {count} 個交易日：請給 1 以上。",
        )
    if end.year not in RULE_YEARS:
        raise UsageError(
            f"The simulated market cannot end on {end}: "
            f"the holidays are known from {RULE_YEARS[0]} to {RULE_YEARS[-1]} only.",
            zh=f"模擬行情不能結束於 {end}：假日只知道 {RULE_YEARS[0]} 至 {RULE_YEARS[-1]} 年。",
        )
    known = tuple(
        calendar.sessions(max(date(RULE_YEARS[0], 1, 1), end - timedelta(days=2 * count + 30)), end)
    )
    if len(known) < count:
        raise UsageError(
            f"{count} sessions up to {end} reach back before {RULE_YEARS[0]}, "
            f"where the holidays are not known: give {len(known)} or fewer.",
            zh=(
                f"到 {end} 為止的 {count} 個交易日會早於 {RULE_YEARS[0]} 年，而該年以前的假日未"
                f"知：請給 {len(known)} 以下。"
            ),
        )
    return known[-count:]


@dataclass(frozen=True)
class _Columns:
    """Traded days, shape (sessions, companies); prices in hundredths, 0 where nobody traded."""

    prices: Ints  # (sessions, companies, 4)
    volume: Ints
    reference: Ints  # 0 where the previous close is the reference


def _trade(drawn: Draws, days: tuple[date, ...], companies: Sequence[Company]) -> _Columns:
    """Let the market run day by day: limits and ticks make each day depend on the one before."""
    import numpy as np

    traits = np.array([TRAITS[c.code] for c in companies])
    anchor = np.log(traits[:, 0] * 100)
    usual = np.log(traits[:, 1] * 1000)
    listed = np.array([c.listed_since.toordinal() for c in companies])
    typical = drawn.scale.mean(axis=0)
    width = len(companies)
    close = round_to_tick(np.rint(traits[:, 0] * 100).astype(np.int64))
    carry = np.zeros(width)
    pending = np.zeros(width, dtype=bool)  # an ex-date nobody traded on: the base waits for a trade
    prices = np.zeros((len(days), width, 4), dtype=np.int64)
    volume = np.zeros((len(days), width), dtype=np.int64)
    references = np.zeros((len(days), width), dtype=np.int64)

    for row, day in enumerate(days):
        paying = drawn.cash[row] > 0
        base = close * (1 - drawn.cash[row]) / (1 + drawn.rights[row])
        reference = np.where(paying, round_to_tick(np.rint(base).astype(np.int64)), close)
        pending |= paying
        down, up = limits(reference, day)

        scale = drawn.scale[row]
        # A weak pull to the starting level keeps long runs plausible (half-life about two years).
        drift = 0.0002 - 0.5 * scale**2 + 0.0014 * (anchor - np.log(reference))
        demand = drift + drawn.shock[row] + drawn.jump[row] + carry
        # New York's word is in the open; of the day's own shock a quarter.
        world, rest = drawn.world[row], drawn.shock[row] - drawn.world[row]
        opening = 0.9 * world + 0.25 * rest + 0.9 * drawn.jump[row] + carry + 0.3 * scale * drawn.gap[row]
        share = np.linspace(0, 1, STEPS + 1)
        path = opening[:, None] + (demand - opening)[:, None] * share
        path += 0.75 * scale[:, None] * drawn.wander[row]
        walked = round_to_tick(np.rint(reference[:, None] * np.exp(path)).astype(np.int64))
        walked = np.clip(walked, down[:, None], up[:, None])

        day_prices = np.stack([walked[:, 0], walked.max(axis=1), walked.min(axis=1), walked[:, -1]], axis=1)
        traded = ~drawn.idle[row] & (listed <= day.toordinal())
        # What the limit held back is still wanted the next day; some of the urgency is lost.
        excess = demand - np.log(day_prices[:, 3] / reference)
        held = (day_prices[:, 3] == up) & (excess > 0) | (day_prices[:, 3] == down) & (excess < 0)
        carry = np.where(traded, np.where(held, 0.85 * excess, 0.0), demand)

        width_of_day = np.log(day_prices[:, 1] / day_prices[:, 2])
        wide = np.log((width_of_day + 0.2 * typical) / (1.4 * typical))
        locked = np.where(day_prices[:, 1] == day_prices[:, 2], -1.0, 0.0)
        shares = np.exp(usual + 1.1 * wide + locked + drawn.attention[row])

        prices[row] = np.where(traded[:, None], day_prices, 0)
        volume[row] = np.where(traded, np.maximum(np.rint(shares), 1), 0).astype(np.int64)
        references[row] = np.where(traded & pending, reference, 0)
        close = np.where(traded, day_prices[:, 3], reference)
        pending &= ~traded
    return _Columns(prices, volume, references)


def _bars_of(company: Company, days: tuple[date, ...], columns: _Columns, k: int) -> list[Bar]:
    volumes = columns.volume[:, k].tolist()
    bars = []
    for row, (open_, high, low, close) in enumerate(columns.prices[:, k].tolist()):
        if not close:
            continue
        shares = volumes[row]
        # The mean of the four prices lies between low and high, as a day's average price does.
        value = shares * (open_ + high + low + close) // 400
        bars.append(
            Bar(
                company.code,
                days[row],
                open_,
                high,
                low,
                close,
                shares,
                SOURCE,
                value=value,
                trades=max(1, round(shares**0.72 / 8)),
                reference=int(columns.reference[row, k]) or None,
            )
        )
    return bars


_NOTE_ZH = "本則由 stockllm 的模擬市場產生，並非真實新聞。"
_NOTE_EN = "Generated by the simulated market of stockllm; this is not real news."


def _news_of(company: Company, bars: Sequence[Bar]) -> tuple[Article, ...]:
    """Headlines of the days that stand out, and of the last one: only what that day shows itself."""
    moves = [(bar.close / (bar.reference or before.close) - 1, bar) for before, bar in pairwise(bars)]
    if not moves:
        return ()
    stand_out = [max(moves, key=lambda m: m[0]), min(moves, key=lambda m: m[0])]
    stand_out += [max(moves, key=lambda m: m[1].volume), moves[-1]]
    stand_out += [move for move in moves if move[1].reference is not None][-1:]
    chosen = {bar.date: (change, bar) for change, bar in stand_out}
    articles: list[Article] = []
    for change, bar in sorted(chosen.values(), key=lambda m: m[1].date):
        articles += _headlines(company, change, bar)
    return tuple(articles)


def _headlines(company: Company, change: float, bar: Bar) -> tuple[Article, Article]:
    price = f"{bar.close / 100:g}"
    if bar.reference is not None:
        zh = f"{company.name_zh}今日除權息，參考價 {bar.reference / 100:g} 元，收盤 {price} 元"
        en = f"{company.name_en} goes ex-dividend, reference {bar.reference / 100:g}, closes at {price} TWD"
    else:
        up = change >= 0
        zh = f"{company.name_zh}收盤{'上漲' if up else '下跌'} {abs(change):.1%}，報 {price} 元"
        en = f"{company.name_en} closes {'up' if up else 'down'} {abs(change):.1%} at {price} TWD"
    lots = bar.volume // 1000
    day = f"{bar.date:%Y-%m-%d}"
    at = datetime.combine(bar.date, time(14, 30), _TAIPEI)
    address = f"https://simulated.invalid/{bar.code}/{day}"
    return (
        Article(
            f"{address}/zh",
            f"【模擬】{zh}（{day}）",
            SOURCE,
            at,
            "zh",
            description=f"{company.name_zh}（{company.code}）成交 {lots:,} 張。{_NOTE_ZH}",
            content=_NOTE_ZH,
        ),
        Article(
            f"{address}/en",
            f"[SIMULATED 模擬] {en} ({day})",
            SOURCE,
            at,
            "en",
            description=f"{company.name_en} ({company.code}) traded {lots:,} lots. {_NOTE_EN}",
            content=_NOTE_EN,
        ),
    )
