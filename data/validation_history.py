"""Adjusted candles, flows, world bars and futures: which of their rows are kept, and why others are not.

Beside the rules of ``data.validation`` there are two of time: a row of a day that has not come yet is
refused, and so is one of a session that is not over, whose last price is no close. Prices keep
all their digits; the tick grid and the daily limit say nothing about them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from stockllm.data.records import QuarantinedRow
from stockllm.data.stores.known import seconds
from stockllm.data.validation import Floats, Ints, Mask, RawRows
from stockllm.market.calendar import RULE_YEARS
from stockllm.market.moments import TAIPEI, bars_known, flows_known

if TYPE_CHECKING:
    from stockllm.market.calendar import TradingCalendar

#: Why a row is refused. The first that holds is the reason.
REASONS = (
    "unreadable",  # no date, price or volume can be read from it
    "lost_zeros",  # a code such as 50 or 757, which was 0050 or 00757 before a spreadsheet had it
    "not_a_code",
    "unknown_session",  # of a future: neither the day's nor the night's
    "other_contract",  # of a future: a spread, a week's, or not the nearest month
    "zero_price",
    "negative_volume",
    "future_date",  # after today by the exchange's clock
    "session_open",  # of a session that is not over
    "not_a_session",
    "low_above_high",
    "open_outside_range",
    "close_outside_range",
    "jump_100x",
    "duplicate",  # a second row of one day; the first one is kept
)
_PLACE = {reason: i + 1 for i, reason in enumerate(REASONS)}

_CODE = re.compile(r"\d{4,6}[A-Z]?")
_SHORT_CODE = re.compile(r"\d{1,3}")

# A factor of 32 lies beyond every split and far below 100 (``data.validation``), in units of log10.
_JUMP = 1.5
_HIGHEST = 1e9
_MOST = 1e15


class Judgement:
    """The reasons of n rows, 0 where none was found so far."""

    def __init__(self, n: int) -> None:
        self.marks = np.zeros(n, dtype=np.int64)

    def mark(self, reason: str, rows: Mask) -> None:
        """Give ``rows`` this reason, if they have none."""
        self.marks[rows & (self.marks == 0)] = _PLACE[reason]

    @property
    def good(self) -> Ints:
        """The indices of the rows without a reason."""
        return np.flatnonzero(self.marks == 0)

    def candles(self, prices: Floats, volumes: Floats, *, silent_volume: bool = False) -> None:
        """Judge open, high, low and close, shape (n, 4), and volumes each for itself."""
        with np.errstate(invalid="ignore"):
            odd = np.asarray(~(np.abs(prices) <= _HIGHEST).all(axis=1))
            wrong = ~(np.abs(volumes) <= _MOST)
            self.mark("unreadable", odd | (wrong & ~np.isnan(volumes) if silent_volume else wrong))
            self.mark("zero_price", np.asarray((prices <= 0).any(axis=1)))
            self.mark("negative_volume", volumes < 0)
            opening, high, low, close = prices.T
            self.mark("low_above_high", low > high)
            self.mark("open_outside_range", (opening < low) | (opening > high))
            self.mark("close_outside_range", (close < low) | (close > high))

    def jumps(self, days: Ints, prices: Floats) -> None:
        """Rows a hundred times the rows around them, or within themselves."""
        good = self.good
        good = good[np.argsort(days[good], kind="stable")]
        logs = np.log10(prices[good])
        torn = logs[:, 1] - logs[:, 2] > _JUMP
        steps = np.diff(logs[:, 3])
        lone = np.zeros(len(good), dtype=bool)
        if len(steps) > 1:
            lone[1:-1] = (np.abs(steps) > _JUMP)[:-1] & (np.abs(steps) > _JUMP)[1:]
            lone[1:-1] &= np.sign(steps[:-1]) != np.sign(steps[1:])
        where = np.zeros(len(days), dtype=bool)
        where[good[torn | lone]] = True
        self.mark("jump_100x", where)

    def repeated(self, keys: Ints) -> None:
        """Every good row but the first of its key."""
        good = self.good
        order = good[np.argsort(keys[good], kind="stable")]
        again = np.zeros(len(keys), dtype=bool)
        again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
        self.mark("duplicate", again)

    def refused(
        self, source: str, lines: Ints, days: Ints, raw: Callable[[int], str]
    ) -> list[QuarantinedRow]:
        """The rows that have a reason. They name no company: a refused row of one would explain why a
        traded bar is missing, and these are not about those."""
        return [
            QuarantinedRow(
                source,
                int(lines[i]),
                "",
                date.fromordinal(int(days[i])) if days[i] > 0 else None,
                REASONS[self.marks[i] - 1],
                raw(i),
            )
            for i in np.flatnonzero(self.marks).tolist()
        ]


@dataclass(frozen=True)
class JudgedHistory:
    """What became of one company's rows. Indices are by day; ``flow_rows`` is None without flows."""

    rows: Ints
    known_at: Ints
    refused: list[QuarantinedRow]
    flow_rows: Ints | None
    flow_known_at: Ints
    flows_refused: list[QuarantinedRow]


class Days:
    """What is known of days: whether they are sessions, and when their figures were public."""

    def __init__(self, calendar: TradingCalendar, now: datetime) -> None:
        self._calendar = calendar
        self.now = now
        self.today = now.astimezone(TAIPEI).date()
        self._sessions: dict[int, int] = {}
        self._bars: dict[int, int] = {}
        self._flows: dict[int, int] = {}

    def sessions(self, days: Ints) -> Mask:
        """Whether each day is a session; before the years of the rules every day but Sunday may be."""
        return self._each(days, self._sessions, self._session).astype(bool)

    def bars_known(self, days: Ints) -> Ints:
        """When the candles of each day were public, in seconds."""
        return self._each(days, self._bars, lambda day: seconds(bars_known(day)))

    def flows_known(self, days: Ints) -> Ints:
        """When the institutions' purchases of each day were public, in seconds."""
        return self._each(days, self._flows, lambda day: seconds(flows_known(day)))

    def _session(self, day: date) -> bool:
        if day.year < RULE_YEARS.start:
            return day.weekday() < 6
        return self._calendar.is_session(day)

    @staticmethod
    def _each(days: Ints, memory: dict[int, int], answer: Callable[[date], int]) -> Ints:
        distinct, place = np.unique(days, return_inverse=True)
        for day in distinct.tolist():
            if day not in memory:
                memory[day] = int(answer(date.fromordinal(day)) if day > 0 else 0)
        return np.array([memory[day] for day in distinct.tolist()], dtype=np.int64)[place]


def judge_history(rows: RawRows, days: Days) -> JudgedHistory:
    """Judge the adjusted candles of one company and, where the source has them, its flows."""
    when = Judgement(len(rows))
    when.mark("unreadable", (rows.days <= 0) | (not rows.code))
    everything = np.ones(len(rows), dtype=bool)
    if _SHORT_CODE.fullmatch(rows.code):
        when.mark("lost_zeros", everything)
    elif not _CODE.fullmatch(rows.code):
        when.mark("not_a_code", everything)
    when.mark("future_date", rows.days > days.today.toordinal())
    when.mark("session_open", days.bars_known(rows.days) > seconds(days.now))
    when.mark("not_a_session", ~days.sessions(rows.days))

    candles = Judgement(len(rows))
    candles.marks[:] = when.marks
    candles.candles(rows.prices, rows.volumes)
    candles.jumps(rows.days, rows.prices)
    candles.repeated(rows.days)
    good = _by_day(candles.good, rows.days)
    known_at = days.bars_known(rows.days[good])
    refused = candles.refused(rows.source, rows.lines, rows.days, rows.raw)
    if rows.flows is None:
        return JudgedHistory(good, known_at, refused, None, good[:0], [])
    with np.errstate(invalid="ignore"):
        when.mark("unreadable", np.asarray(~(np.abs(rows.flows) <= _MOST).all(axis=1)))
    when.repeated(rows.days)
    flow_rows = _by_day(when.good, rows.days)
    return JudgedHistory(
        good,
        known_at,
        refused,
        flow_rows,
        days.flows_known(rows.days[flow_rows]),
        when.refused(rows.source, rows.lines, rows.days, rows.raw),
    )


def _by_day(rows: Ints, days: Ints) -> Ints:
    return rows[np.argsort(days[rows], kind="stable")]
