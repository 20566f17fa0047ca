"""What an exchange knows of its sessions: which takes orders now, and which can be matched next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any, cast

from stockllm.collectors.clock import Clock, taipei
from stockllm.data.errors import StockllmError
from stockllm.data.records import Cents
from stockllm.data.store import Store
from stockllm.data.stores.book_rows import ExchangeRow
from stockllm.data.stores.books import Books
from stockllm.market.calendar import TradingCalendar
from stockllm.trading.exchange.market_data import load_market
from stockllm.trading.exchange.rules import Window, booked_for

# When a day's prices are whole: after the fixed-price trading that follows the session.
_OVER = time(14, 30)


class NotYet(StockllmError):
    """The next session cannot be matched yet; the message says what is missing."""


@dataclass(slots=True)
class _Evening:
    """What is known between two sessions and asked for again with every order."""

    key: tuple[Any, ...]
    calendar: TradingCalendar
    replayed: date | None
    stocks: dict[tuple[str, date], tuple[bool, Cents | None]]


class Sessions:
    """The sessions of one exchange; what is asked with every order is kept until it can change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self._evening: _Evening | None = None

    def calendar(self, row: ExchangeRow) -> TradingCalendar:
        """The calendar as the exchange knows it this evening."""
        return self._known(row).calendar

    def due(self, row: ExchangeRow, books: Books, to: date | None) -> date:
        """The next session to match. NotYet where it has not ended or its prices are not in.

        Nothing is asked of one after ``to``.
        """
        calendar = self.calendar(row)
        if row.mode == "replay":
            found = self._replayed(row.day, calendar)
            if found is None:
                raise NotYet(
                    f"The prices in the store end with {row.day}: the replay is over.",
                    zh=f"資料庫的股價到 {row.day} 為止：重播已結束。",
                )
            return found
        session = calendar.next_sessions(row.day, 1)[0]
        if to is not None and session > to:
            return session
        now = taipei(self.clock.now())
        if session > now.date() or (session == now.date() and now.time() < _OVER):
            raise NotYet(
                f"The session of {session} has not ended yet: wait for its evening.",
                zh=f"{session} 尚未收盤：請等到當天晚上。",
            )
        if not self.store.bars.days_with_bars(session, session):
            raise NotYet(
                f"There are no prices of {session} yet: refresh, or name the day closed in "
                f"{self.store.home.closed_days_file}.",
                zh=(
                    f"還沒有 {session} 的股價：請更新，或在 {self.store.home.closed_days_file} 註明當天休市。"
                ),
            )
        late = sorted(
            code for code in books.waiting_codes(row.id, session) if not self._has_arrived(code, session)
        )
        if late:
            raise NotYet(
                f"The prices of {', '.join(late[:5])} on {session} are not in yet: refresh to have them.",
                zh=f"{', '.join(late[:5])} 在 {session} 的股價還沒進來：請更新以取得。",
            )
        return session

    def _has_arrived(self, code: str, session: date) -> bool:
        """Whether what ``code`` did on ``session`` is in: its bar, a later one, or its market's whole day."""
        span = self.store.bars.span(code)
        if span is not None and span[1] >= session:
            return True
        market = self.store.company(code).market
        return all(
            (entry := self.store.collected.get("day", name, session.isoformat())) is not None
            and entry.state == "complete"
            for name in ([market] if market else ["TWSE", "TPEx"])
        )

    def open_for(self, row: ExchangeRow) -> date:
        """The session that an order placed now is booked for. OrderRefused where the window is shut."""
        evening = self._known(row)
        if row.mode == "replay":
            return evening.replayed or evening.calendar.next_sessions(row.day, 1)[0]
        now = taipei(self.clock.now()).replace(tzinfo=None)
        return booked_for(now, cast("Window", row.hours), evening.calendar, row.day)

    def stock(self, row: ExchangeRow, code: str, session: date) -> tuple[bool, Cents | None]:
        """Whether ``code`` has ever traded, and what the limits of ``session`` are measured from."""
        evening = self._known(row)
        found = evening.stocks.get((code, session))
        if found is None:
            market = load_market(self.store, [code], session, session, evening.calendar)
            known = market.close(code, session - timedelta(days=1)) is not None
            # Until the session before has been matched, its close is not known.
            settled = evening.calendar.next_sessions(row.day, 1)[0] >= session
            if evening.replayed == session:
                settled = True
            found = known, market.reference(code, session) if known and settled else None
            if known:  # names that nobody knows must not fill the memory
                evening.stocks[code, session] = found
        return found

    def _known(self, row: ExchangeRow) -> _Evening:
        """What is known until the next session or, live, the next day."""
        key = (row.day, taipei(self.clock.now()).date() if row.mode == "live" else None)
        evening = self._evening
        if evening is None or evening.key != key:
            calendar = self.store.calendar()
            replayed = self._replayed(row.day, calendar) if row.mode == "replay" else None
            evening = self._evening = _Evening(key, calendar, replayed, {})
        return evening

    def _replayed(self, after: date, calendar: TradingCalendar) -> date | None:
        """The first session after ``after`` that the store has prices of."""
        start = after + timedelta(days=1)
        for end in (after + timedelta(days=14), date.max):
            for day in self.store.bars.days_with_bars(start, end):
                if calendar.is_session(day):
                    return day
        return None
