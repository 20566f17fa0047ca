"""One day of many companies, judged at once by the rules of ``data.validation``.

A whole market's answer has one row a company. Judging them company by company would read every
company's history for one row; here the bars next to the day are read in one query, and a company
whose row stands a long way from both is handed to ``validate`` with all its history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from stockllm.data.records import Bar, BarFlag, BarSeries, Cents, QuarantinedRow
from stockllm.data.validation import (
    _FLAG_SETS,
    REASONS,
    Floats,
    Ints,
    Mask,
    RawRows,
    Validated,
    _judge_alone,
    _off_tick,
    _references,
    _to_cents,
    validate,
)
from stockllm.market.calendar import TradingCalendar
from stockllm.market.ticks import TEN_PERCENT_SINCE, limits, tick

#: Code -> (open, high, low, close) in hundredths of the bar before or after the day.
Neighbours = Mapping[str, tuple[int, int, int, int]]

# A step in log10 far below the one that makes ``validate`` doubt (a factor of 32): nothing to doubt.
_NEAR = 1.0


@dataclass(frozen=True)
class RawDay:
    """One day's rows of a whole market, columns of length n; otherwise as ``RawRows``.

    ``codes`` and ``names`` are the source's own; only ordinary shares belong here.
    """

    day: date
    source: str
    codes: Sequence[str]
    lines: Ints
    prices: Floats
    volumes: Floats
    changes: Floats
    values: Floats
    trades: Floats
    blank: Mask
    raw: Callable[[int], str]
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def company(self, rows: Ints, code: str) -> RawRows:
        """The rows at the indices ``rows`` as those of one company."""
        return RawRows(
            code=code,
            source=self.source,
            lines=self.lines[rows],
            days=np.full(len(rows), self.day.toordinal(), dtype=np.int64),
            prices=self.prices[rows],
            volumes=self.volumes[rows],
            raw=lambda i: self.raw(int(rows[i])),
            blank=self.blank[rows],
            changes=self.changes[rows],
            values=self.values[rows],
            trades=self.trades[rows],
        )


def validate_day(
    rows: RawDay,
    *,
    calendar: TradingCalendar,
    before: Neighbours,
    after: Neighbours,
    references: Mapping[str, int],
    history: Callable[[str], BarSeries],
) -> Validated:
    """Judge ``rows``; the bars come out by code.

    ``before`` and ``after`` are the stored bars next to the day, ``references`` the bases that the
    exchange computed for the day's ex-dates: they win over what a change implies. ``history`` is
    asked for a company's stored bars where the neighbours alone leave a doubt.
    """
    if not len(rows):
        return Validated([], [], 0)
    everything = np.arange(len(rows), dtype=np.int64)
    # Any share's code will do: whoever made the rows left out what is none.
    columns = rows.company(everything, "1101")
    cents, rounding = _to_cents(rows.prices)
    reason = _judge_alone(columns, cents, calendar)
    reason[[not code for code in rows.codes]] = _code("unreadable")
    doubtful = _doubtful(rows, cents, reason, before, after)
    for code in sorted({rows.codes[i] for i in np.flatnonzero(doubtful).tolist()}):
        own = np.array([i for i in everything.tolist() if rows.codes[i] == code], dtype=np.int64)
        verdict = validate(rows.company(own, code), calendar=calendar, known=history(code))
        refused = {row.line for row in verdict.quarantined if row.reason == "jump_100x"}
        jumped = own[[int(rows.lines[i]) in refused for i in own.tolist()]]
        reason[jumped[reason[jumped] == 0]] = _code("jump_100x")
    seen: set[str] = set()
    for i in np.flatnonzero(reason == 0).tolist():
        if rows.codes[i] in seen:
            reason[i] = _code("duplicate")
        seen.add(rows.codes[i])

    base = _references(columns, cents)
    given = np.array([references.get(code, 0) for code in rows.codes], dtype=np.int64)
    base = np.where(given > 0, given, base)
    flags = _off_tick(cents) * 2 + rounding * 4
    closes = np.array([before.get(code, (0, 0, 0, 0))[3] for code in rows.codes], dtype=np.int64)
    # A change of nothing, where the exchange compares at all, means that the base is the close.
    closes = np.where(rows.changes == 0, cents[:, 3], closes)
    flags += past_limit(cents, np.where(base > 0, base, closes), flags & 2 == 0, rows.day)
    good = np.flatnonzero(reason == 0)
    good = good[np.argsort(np.array([rows.codes[i] for i in good.tolist()], dtype=str), kind="stable")]
    bars = _bars(rows, cents, base, flags, good)
    refusals = [
        QuarantinedRow(
            rows.source, int(rows.lines[i]), rows.codes[i], rows.day, REASONS[reason[i] - 1], rows.raw(i)
        )
        for i in np.flatnonzero(reason).tolist()
    ]
    return Validated(bars, refusals, int(rounding[good].sum()))


def _code(reason: str) -> int:
    return REASONS.index(reason) + 1


def _doubtful(rows: RawDay, cents: Ints, reason: Ints, before: Neighbours, after: Neighbours) -> Mask:
    """Rows that could be off by a factor of about 100, within themselves or from their neighbours."""
    logs = np.sort(np.log10(np.maximum(cents, 1)), axis=1)
    level = logs[:, 1:3].mean(axis=1)
    doubt = logs[:, 3] - logs[:, 0] > _NEAR
    for neighbours in (before, after):
        known = np.array([neighbours.get(code, (0, 0, 0, 0)) for code in rows.codes], dtype=np.int64)
        other = np.sort(np.log10(np.maximum(known, 1)), axis=1)[:, 1:3].mean(axis=1)
        doubt |= (known[:, 0] > 0) & (np.abs(level - other) > _NEAR)
    result: Mask = doubt & (reason == 0)
    return result


def past_limit(cents: Ints, base: Ints, on_grid: Mask, day: date) -> Ints:
    """1 where the high or the low (columns 1 and 2 of ``cents``) lies past the day's limit from ``base``.

    Where ``base`` is 0 nothing does. Off the tick grid a hundredth more is allowed, as ``validate``
    allows it in adjusted series.
    """
    rate = 10 if day >= TEN_PERCENT_SINCE else 7
    grid = on_grid & (base % tick(np.maximum(base, 1)) == 0)
    down, up = limits(base, day)
    down = np.where(grid, down, base * (100 - rate) // 100 - 1)
    up = np.where(grid, up, -(-base * (100 + rate) // 100) + 1)
    past = (base > 0) & ((cents[:, 1] > up) | (cents[:, 2] < down))
    return past.astype(np.int64)


def rebased(bar: Bar, base: Cents, *, known: bool = True) -> Bar:
    """``bar`` with its limits measured from ``base``, and that as its reference where ``known``."""
    cents = np.array([[bar.open, bar.high, bar.low, bar.close]], dtype=np.int64)
    grid = np.array(["off_tick" not in bar.flags])
    past = past_limit(cents, np.array([base], dtype=np.int64), grid, bar.date)[0]
    flags: tuple[BarFlag, ...] = tuple(flag for flag in bar.flags if flag != "past_limit")
    if past:
        flags = ("past_limit", *flags)
    return replace(bar, flags=flags, reference=base if known else bar.reference)


def _bars(rows: RawDay, cents: Ints, base: Ints, flags: Ints, good: Ints) -> list[Bar]:
    def optional(column: Floats) -> list[int | None]:
        return [int(v) if np.isfinite(v) and v >= 0 else None for v in column[good].tolist()]

    day, source = rows.day, rows.source
    codes = [rows.codes[i] for i in good.tolist()]
    figures = zip(
        codes,
        cents[good].tolist(),
        rows.volumes[good].tolist(),
        optional(rows.values),
        optional(rows.trades),
        base[good].tolist(),
        flags[good].tolist(),
        strict=True,
    )
    return [
        Bar(code, day, o, h, low, c, int(volume), source, value, trades, reference or None, _FLAG_SETS[bits])
        for code, (o, h, low, c), volume, value, trades, reference, bits in figures
    ]
