"""Raw rows of one company become bars, or go to quarantine with a reason. Nothing is dropped.

Rows come as columns and are judged all at once: half a million rows take seconds.

A row's reason is the first of `REASONS` that holds for it. What is odd but can be true is kept and
flagged: a move past the daily limit (an ex-date, a split, a new listing), prices off the tick grid
(an adjusted series), prices rounded to hundredths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockllm.data.records import Bar, BarFlag, BarSeries, QuarantinedRow
from stockllm.market.calendar import RULE_YEARS, TradingCalendar, default_calendar
from stockllm.market.companies import is_ordinary_share
from stockllm.market.moments import TAIPEI, bars_known
from stockllm.market.ticks import TEN_PERCENT_SINCE, limits, tick

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Why a row is refused, in the order they are tried.
REASONS = (
    "unreadable",  # no code, date, price or volume can be read from it
    "not_a_share",  # the code of a warrant, an ETF, a bond: not of an ordinary share
    "future_date",  # a day that has not come yet, by the clock
    "session_open",  # today's, while the session is not over: it is not final
    "no_trade",  # prices blank, or all alike with a volume of zero: a day without a trade
    "zero_price",  # a price of zero or less: how aggregators write the same
    "negative_volume",
    "not_a_session",  # a weekend or a day on which the exchanges were closed
    "low_above_high",
    "open_outside_range",
    "close_outside_range",
    "jump_100x",  # about 100 times the prices around it, or a hundredth of them
    "duplicate",  # a second row for one day; the first one is kept
)
_CODE = {reason: i + 1 for i, reason in enumerate(REASONS)}

# No share has cost 10 million TWD and none trades 10^15 shares: such a number is no reading.
_HIGHEST_CENTS = 1e9
_MOST_SHARES = 1e15

# A day's prices in units of log10 of their ratio. A factor of 32 lies beyond every split the
# exchanges allow (par 10 to par 0.5 is 20) and well below 100, even when the price has moved on.
_JUMP = 1.5

# Single precision keeps 24 bits: 37.4 arrives as 37.4000015. Less than this part of a price is noise.
_FLOAT_NOISE = 2e-7

_FLAGS: tuple[BarFlag, ...] = ("past_limit", "off_tick", "repaired")
_FLAG_SETS = tuple(tuple(f for i, f in enumerate(_FLAGS) if bits >> i & 1) for bits in range(8))
_TEN_PERCENT_SINCE = TEN_PERCENT_SINCE.toordinal()


@dataclass(frozen=True)
class RawRows:
    """Rows of one company as a file gave them, one column an array of length n.

    ``days`` are proleptic ordinals (`date.toordinal`), 0 where none could be read. ``prices`` has
    shape (n, 4): open, high, low, close in TWD. NaN stands for a number that cannot be read.
    ``blank`` marks rows whose four prices the source left empty on purpose. ``changes`` are the
    exchange's moves from the reference price, NaN where it is silent, as are ``values`` (TWD) and
    ``trades``. ``flows``, shape (n, 3), are the shares that foreign investors, investment trusts and
    dealers bought, less those sold. ``raw(i)`` is row i as text.
    """

    code: str
    source: str
    lines: Ints
    days: Ints
    prices: Floats
    volumes: Floats
    raw: Callable[[int], str]
    blank: Mask | None = None
    changes: Floats | None = None
    values: Floats | None = None
    trades: Floats | None = None
    flows: Floats | None = None

    def __len__(self) -> int:
        return len(self.days)


class Validated(NamedTuple):
    """What became of the rows: ``len(bars) + len(quarantined)`` is their number.

    ``repaired`` of the bars had prices that were rounded by more than float noise.
    """

    bars: list[Bar]
    quarantined: list[QuarantinedRow]
    repaired: int


def validate(
    rows: RawRows,
    *,
    calendar: TradingCalendar | None = None,
    known: BarSeries | None = None,
    now: datetime | None = None,
) -> Validated:
    """Judge the ``rows`` of one company; the bars come out in order of date.

    ``known`` are the bars already stored: with them a single new row can be told from a 100-fold
    glitch, and its move from the last close. A stored day that the rows bring again counts as the
    rows have it. ``calendar`` is the default one where none is given. ``now`` (aware) is the moment
    of which rows must not be ahead; where it is None they are not held against the clock.
    """
    cents, rounding = _to_cents(rows.prices)
    reason = _judge_alone(rows, cents, calendar or default_calendar(), now)
    merged = _Merged.of(rows, cents, reason, known)
    reason[merged.incoming(merged.jumps())] = _CODE["jump_100x"]
    merged = merged.only(~merged.jumps())
    repeated = merged.repeated()
    reason[merged.incoming(repeated)] = _CODE["duplicate"]
    merged = merged.only(~repeated)

    references = _references(rows, cents)
    flags = _off_tick(cents) * 2 + rounding * 4
    past = merged.past_limit(references, on_grid=flags & 2 == 0)
    flags[merged.incoming(past)] += 1
    order = merged.position[merged.position >= 0]
    bars = _bars(rows, cents, references, flags, order)
    return Validated(bars, _quarantined(rows, reason), int(rounding[order].sum()))


def _to_cents(prices: Floats) -> tuple[Ints, Ints]:
    """Prices in hundredths, and per row 1 where that changed a price; unreadable ones become -1."""
    scaled = prices * 100
    readable = np.isfinite(scaled) & (np.abs(scaled) <= _HIGHEST_CENTS)
    cents = np.where(readable, np.rint(np.where(readable, scaled, -1)), -1)
    off = np.abs(scaled - cents) > _FLOAT_NOISE * np.abs(cents) + 1e-6
    return cents.astype(np.int64), _in_any(off & readable).astype(np.int64)


def _in_any(table: Mask) -> Mask:
    """Per row of ``table``, whether any of its four prices is marked."""
    return np.asarray(table.any(axis=1))


def _judge_alone(rows: RawRows, cents: Ints, calendar: TradingCalendar, now: datetime | None = None) -> Ints:
    """The reason of each row that can be refused without looking at others; 0 where none holds."""
    reason = np.zeros(len(rows), dtype=np.int64)

    def mark(name: str, mask: Mask) -> None:
        reason[mask & (reason == 0)] = _CODE[name]

    blank = rows.blank if rows.blank is not None else np.zeros(len(rows), dtype=bool)
    with np.errstate(invalid="ignore"):
        odd_price = _in_any(~(np.abs(rows.prices) * 100 <= _HIGHEST_CENTS))
        odd_volume = ~(np.abs(rows.volumes) <= _MOST_SHARES) | (rows.volumes != np.rint(rows.volumes))
        no_session = ~_sessions(rows.days, calendar)
        mark("unreadable", (rows.days <= 0) | (not rows.code) | (~blank & (odd_price | odd_volume)))
        mark("not_a_share", np.full(len(rows), not is_ordinary_share(rows.code)))
        if now is not None:
            today = now.astimezone(TAIPEI).date()
            mark("future_date", rows.days > today.toordinal())
            if now < bars_known(today):
                mark("session_open", rows.days == today.toordinal())
        mark("no_trade", blank)
        mark("zero_price", _in_any(cents <= 0))
        mark("negative_volume", rows.volumes < 0)
    opening, high, low, close = cents.T
    mark("not_a_session", no_session)
    # Aggregators fill days without a trade with the last close, and holidays too, which are named above.
    mark("no_trade", (cents[:, :1] == cents).all(axis=1) & (cents[:, 0] > 0) & (rows.volumes == 0))
    mark("low_above_high", low > high)
    mark("open_outside_range", (opening < low) | (opening > high))
    mark("close_outside_range", (close < low) | (close > high))
    return reason


def _sessions(days: Ints, calendar: TradingCalendar) -> Mask:
    return np.fromiter((_is_session(calendar, day) for day in days.tolist()), dtype=bool, count=len(days))


@lru_cache(maxsize=100_000)
def _is_session(calendar: TradingCalendar, ordinal: int) -> bool:
    if ordinal <= 0:
        return False
    day = date.fromordinal(ordinal)
    # Before the years of the rules the exchange traded on many Saturdays, and nobody says which.
    if day.year < RULE_YEARS.start:
        return day.weekday() < 6
    return calendar.is_session(day)


@dataclass(frozen=True)
class _Merged:
    """The rows that are good so far among the bars already known, in order of date.

    ``position`` is a row's index among the incoming ones, -1 for a known bar.
    """

    days: Ints
    cents: Ints
    position: Ints

    @classmethod
    def of(cls, rows: RawRows, cents: Ints, reason: Ints, known: BarSeries | None) -> _Merged:
        good = np.flatnonzero(reason == 0)
        days, prices, position = rows.days[good], cents[good], good.astype(np.int64)
        if known is not None and len(known):
            known_days = np.fromiter((d.toordinal() for d in known.dates), dtype=np.int64, count=len(known))
            other = ~np.isin(known_days, days)
            columns = np.stack([known.open, known.high, known.low, known.close], axis=1)[other]
            days = np.concatenate([known_days[other], days])
            prices = np.concatenate([np.rint(columns * 100).astype(np.int64), prices])
            position = np.concatenate([np.full(int(other.sum()), -1), position])
        order = np.argsort(days, kind="stable")
        return cls(days[order], prices[order], position[order])

    def only(self, mask: Mask) -> _Merged:
        return _Merged(self.days[mask], self.cents[mask], self.position[mask])

    def incoming(self, mask: Mask) -> Ints:
        """The indices of the incoming rows among those that ``mask`` selects."""
        return self.position[mask & (self.position >= 0)]

    def jumps(self) -> Mask:
        """Rows off by a factor of about 100.

        Either within themselves (one price of the four is wrong), or as a whole: every step by a
        factor past 32 changes the level, and the level that most rows share is the true one. So a
        glitch may last for days, or come first, or be the last row so far; a 1:10 split changes no
        level. Between two equally common levels the known bars decide, else the earlier one.
        """
        logs = np.sort(np.log10(self.cents), axis=1)
        torn: Mask = logs[:, 3] - logs[:, 0] > _JUMP
        whole = np.flatnonzero(~torn)
        steps = np.diff(logs[whole, 1:3].mean(axis=1))
        if not (np.abs(steps) > _JUMP).any():
            return torn
        change = np.where(np.abs(steps) > _JUMP, np.rint(steps / 2), 0)
        level = np.concatenate([[0], np.cumsum(change)])
        trusted = self.position[whole] < 0
        names, first, count = np.unique(level, return_index=True, return_counts=True)
        votes = [(count[i], int((level[trusted] == names[i]).sum()), -first[i]) for i in range(len(names))]
        torn[whole[level != names[votes.index(max(votes))]]] = True
        return torn

    def repeated(self) -> Mask:
        """Every row but the first of its day."""
        repeated: Mask = np.zeros(len(self.days), dtype=bool)
        repeated[1:] = self.days[1:] == self.days[:-1]
        return repeated

    def past_limit(self, references: Ints, *, on_grid: Mask) -> Mask:
        """Rows whose high or low lies past the daily limit.

        Measured from the reference price where there is one, else from the close before. In an
        adjusted series neither lies on the tick grid: there a hundredth more is allowed.
        """
        # The appended element is what position -1, a known bar, picks.
        given = np.append(references, 0)[self.position]
        previous = np.zeros_like(self.days)
        previous[1:] = self.cents[:-1, 3]
        base = np.where(given > 0, given, previous)
        grid = np.append(on_grid, False)[self.position] & (base % tick(np.maximum(base, 1)) == 0)
        past = np.zeros(len(base), dtype=bool)
        recent = self.days >= _TEN_PERCENT_SINCE
        for era, rate, day in ((recent, 10, None), (~recent, 7, date.min)):
            if not era.any():
                continue
            down, up = limits(base, day)
            down = np.where(grid, down, base * (100 - rate) // 100 - 1)
            up = np.where(grid, up, -(-base * (100 + rate) // 100) + 1)
            past |= era & ((self.cents[:, 1] > up) | (self.cents[:, 2] < down))
        return past & (base > 0)


def _references(rows: RawRows, cents: Ints) -> Ints:
    """The reference prices that the changes imply, 0 where there is none.

    A change of zero says nothing: on ex-dates the exchange writes X0.00 for "not comparable". A
    reference from which the day's own prices lie past the limit is not the exchange's: the file
    computed its changes itself, from a row that may be wrong.
    """
    if rows.changes is None:
        return np.zeros(len(rows), dtype=np.int64)
    change = np.where(np.abs(rows.changes) * 100 <= _HIGHEST_CENTS, rows.changes, 0)
    reference = cents[:, 3] - np.rint(change * 100).astype(np.int64)
    down, up = limits(np.maximum(reference, 1))
    fits = (reference > 0) & (cents[:, 2] >= down) & (cents[:, 1] <= up)
    return np.where((change != 0) & fits, reference, 0)


def _off_tick(cents: Ints) -> Ints:
    sound = np.maximum(cents, 0)
    return _in_any(sound % tick(sound) != 0).astype(np.int64)


def _bars(rows: RawRows, cents: Ints, references: Ints, flags: Ints, order: Ints) -> list[Bar]:
    def optional(column: Floats | None) -> list[int | None]:
        if column is None:
            return [None] * len(order)
        return [int(v) if np.isfinite(v) and v >= 0 else None for v in column[order]]

    return [
        Bar(
            rows.code,
            date.fromordinal(day),
            opening,
            high,
            low,
            close,
            int(volume),
            rows.source,
            value,
            trades,
            reference or None,
            _FLAG_SETS[bits],
        )
        for day, (opening, high, low, close), volume, value, trades, reference, bits in zip(
            rows.days[order].tolist(),
            cents[order].tolist(),
            rows.volumes[order].tolist(),
            optional(rows.values),
            optional(rows.trades),
            references[order].tolist(),
            flags[order].tolist(),
            strict=True,
        )
    ]


def _quarantined(rows: RawRows, reason: Ints) -> list[QuarantinedRow]:
    return [
        QuarantinedRow(
            rows.source,
            int(rows.lines[i]),
            rows.code,
            date.fromordinal(int(rows.days[i])) if rows.days[i] > 0 else None,
            REASONS[reason[i] - 1],
            rows.raw(i),
        )
        for i in np.flatnonzero(reason).tolist()
    ]
