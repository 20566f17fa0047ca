"""What the exchange knows of prices: sessions by companies, in whole hundredths of a TWD.

One table serves the simulator (a stock or two for one session) and a backtest (all of them for
years). Nothing in it looks ahead: what is told of a session's evening is from that session or before,
and what is told of a coming session is what the exchanges publish before it opens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from stockllm.data.records import Bar, Cents
from stockllm.trading.exchange.engine import Action, Quote

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stockllm.data.store import Store
    from stockllm.market.calendar import TradingCalendar
    from stockllm.market.companies import Company

# Sessions of a new listing that have no limit.
_FREE_SESSIONS = 5


class Market:
    """Quotes, closes, references and ex-dates of some companies over some sessions."""

    def __init__(
        self,
        sessions: Sequence[date],
        codes: Sequence[str],
        prices: NDArray[np.int32],
        *,
        before: Mapping[str, Cents] | None = None,
        references: Mapping[tuple[str, date], Cents] | None = None,
        actions: Iterable[tuple[date, Action]] = (),
        unlimited: Iterable[tuple[str, date]] = (),
    ) -> None:
        """``prices`` has shape (codes, sessions, 3): low, high and close in hundredths, 0 = no trade.

        ``before`` are the closes before the first session, ``references`` what limits are measured
        from where that is not the last close, ``unlimited`` the sessions without limits.
        """
        import numpy as np

        if prices.shape != (len(codes), len(sessions), 3):
            raise ValueError(f"prices {prices.shape} for {len(codes)} codes and {len(sessions)} sessions")
        self.sessions = tuple(sessions)
        self.codes = tuple(codes)
        self._row = {code: row for row, code in enumerate(codes)}
        self._column = {day: column for column, day in enumerate(sessions)}
        self._prices = prices
        first = np.array([(before or {}).get(code, 0) for code in codes], prices.dtype)
        # The close of each evening, carried over days without a trade; column 0 is the one before.
        closes = np.concatenate((first[:, None], prices[:, :, 2]), axis=1)
        latest = np.maximum.accumulate(np.where(closes > 0, np.arange(closes.shape[1]), 0), axis=1)
        self._closes = np.take_along_axis(closes, latest, axis=1)
        self._references = dict(references or {})
        self._unlimited = frozenset(unlimited)
        self._actions: dict[date, list[Action]] = {}
        for day, action in actions:
            self._actions.setdefault(day, []).append(action)

    def session_after(self, day: date) -> date | None:
        """The first session after ``day``, None where the market's days have run out."""
        column = bisect_right(self.sessions, day)
        return self.sessions[column] if column < len(self.sessions) else None

    def quote(self, code: str, day: date) -> Quote | None:
        """The session ``day`` of ``code``, None where it did not trade."""
        row, column = self._row.get(code), self._column.get(day)
        if row is None or column is None:
            return None
        low, high, close = self._prices[row, column].tolist()
        return Quote(low, high, close) if low else None

    def close(self, code: str, day: date) -> Cents | None:
        """The last close of ``code`` up to the evening of ``day``, None where there was none yet."""
        row = self._row.get(code)
        if row is None:
            return None
        return int(self._closes[row, bisect_right(self.sessions, day)]) or None

    def reference(self, code: str, day: date) -> Cents | None:
        """What the limits of the coming session ``day`` are measured from.

        None where the share has no limit then, or has never traded.
        """
        if (code, day) in self._unlimited:
            return None
        known = self._references.get((code, day))
        return known if known is not None else self.close(code, day - timedelta(days=1))

    def actions(self, day: date) -> list[Action]:
        """What is paid to holders on the ex-date ``day``, by code."""
        return self._actions.get(day, [])


def load_market(
    store: Store, codes: Iterable[str], start: date, end: date, calendar: TradingCalendar
) -> Market:
    """The market of ``codes`` from ``start`` to ``end`` as the store has it.

    Its sessions are the days that ``calendar`` calls sessions and on which the store has any bar.
    """
    import numpy as np

    codes = sorted(set(codes))
    days = store.bars.days_with_bars(start, end)
    sessions = [day for day in days if calendar.is_session(day)]
    column = {day: k for k, day in enumerate(sessions)}
    prices = np.zeros((len(codes), len(sessions), 3), dtype=np.int32)
    references: dict[tuple[str, date], Cents] = {}
    before: dict[str, Cents] = {}
    for row, code in enumerate(codes):
        last = store.bars.last_close(code, start - timedelta(days=1))
        if last is not None:
            before[code] = last
        for bar in store.bars.bars(code, start, end):
            if bar.date in column and _traded(bar):
                prices[row, column[bar.date]] = bar.low, bar.high, bar.close
            if bar.reference is not None:
                references[code, bar.date] = bar.reference
    wanted = set(codes)
    rows = [row for row in store.ex_rights.rows(start, end) if row.code in wanted]
    references |= {(row.code, row.date): row.basis for row in rows}
    unlimited = {
        (company.code, day)
        for company in store.companies()
        if company.code in wanted
        for day in _free_sessions(company, start, end, calendar)
    }
    actions = [(row.date, Action.of(row)) for row in rows]
    return Market(
        sessions,
        codes,
        prices,
        before=before,
        references=references,
        actions=actions,
        unlimited=unlimited,
    )


def _traded(bar: Bar) -> bool:
    return bar.volume > 0


def _free_sessions(company: Company, start: date, end: date, calendar: TradingCalendar) -> tuple[date, ...]:
    """The sessions of a new listing that have no limit, where they may touch ``start`` to ``end``."""
    listed = company.listed_since
    if not start - timedelta(days=60) <= listed <= end:  # date.min, where nobody told us, is not
        return ()
    return calendar.next_sessions(listed - timedelta(days=1), _FREE_SESSIONS)
