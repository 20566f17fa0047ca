"""The generated market: what is true, and what a store must hold in the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, datetime, time

from standin.clock import TAIPEI
from stockllm.data.records import Bar
from stockllm.market.calendar import TradingCalendar, default_calendar
from stockllm.market.companies import COMPANIES, Company
from stockllm.market.ticks import limits, round_to_tick

#: Rows that a list holds beside ordinary shares: a fund, a warrant, a preferred share.
OTHERS = (("0050", "元大台灣50"), ("030001", "某某認購"), ("2881A", "富邦特"))


@dataclass(frozen=True)
class Quote:
    """A stock's day: prices in cents, None where nobody traded; ``base`` is the day's reference."""

    code: str
    day: date
    prices: tuple[int, int, int, int] | None
    volume: int
    value: int
    trades: int
    base: int
    before: int  # the last close
    ex: bool = False  # an ex-date; the days after one without a trade inherit its base

    @property
    def change(self) -> int:
        assert self.prices is not None
        return self.prices[3] - self.base


@dataclass
class GeneratedMarket:
    """``companies`` over the sessions from ``start`` to ``end``; ``typhoons`` are scheduled sessions
    on which nobody traded. TPEx volumes are whole lots where ``lots`` is true."""

    start: date
    end: date
    companies: tuple[Company, ...] = tuple(c for c in COMPANIES if c.code in ("2330", "2317", "3088", "8234"))
    typhoons: frozenset[date] = frozenset()
    seed: int = 1
    lots: bool = True
    idle: float = 0.05
    ex_rate: float = 0.06
    quotes: dict[tuple[str, date], Quote] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        closes = {c.code: round_to_tick(draw.randrange(2000, 90000)) for c in self.companies}
        bases = dict(closes)
        for day in self.sessions():
            for company in self.companies:
                quote = self._draw(draw, company, day, closes[company.code], bases[company.code])
                self.quotes[company.code, day] = quote
                bases[company.code] = quote.base
                if quote.prices:
                    closes[company.code] = bases[company.code] = quote.prices[3]

    def _draw(self, draw: random.Random, company: Company, day: date, close: int, base: int) -> Quote:
        old = base
        if draw.random() < self.ex_rate:
            base = round_to_tick(round(base * draw.uniform(0.92, 0.99)))
        ex = base != old
        if draw.random() < self.idle:
            return Quote(company.code, day, None, 0, 0, 0, base, close, ex)
        down, up = limits(base)
        walk = [base * (1 + draw.gauss(0, 0.02)) for _ in range(4)]
        open_, one, two, last = (min(max(round_to_tick(round(p)), down), up) for p in walk)
        if draw.random() < 0.1:
            last = base  # a change of nothing
        prices = (open_, max(open_, one, two, last), min(open_, one, two, last), last)
        volume = draw.randrange(1000, 9_000_000)
        value = volume * sum(prices) // 400
        if company.market == "TPEx" and self.lots:
            volume, value = volume // 1000 * 1000, value // 1000 * 1000
        return Quote(company.code, day, prices, volume, value, draw.randrange(1, 9999), base, close, ex)

    @property
    def calendar(self) -> TradingCalendar:
        """The exchanges' true calendar."""
        return default_calendar().with_closed(self.typhoons)

    def sessions(self) -> list[date]:
        return list(self.calendar.sessions(self.start, self.end))

    def of(self, exchange: str) -> tuple[Company, ...]:
        return tuple(c for c in self.companies if c.market == exchange)

    def published(self, exchange: str, now: datetime) -> list[date]:
        """The sessions whose lists are out at ``now``."""
        here = now.astimezone(TAIPEI)
        late = time(14, 30) if exchange == "TWSE" else time(16, 49)
        return [day for day in self.sessions() if datetime.combine(day, late, TAIPEI) <= here]

    def bars(self, until: datetime | None = None) -> list[Bar]:
        """What a store holds in the end, by code and day; ``source`` is left empty.

        The reference is the exchange's where it gives one: through the change, or for an ex-date.
        """
        found = []
        for company in self.companies:
            pending: int | None = None  # an ex-date's base, until the share trades
            days = self.sessions() if until is None else self.published(company.market, until)
            for day in days:
                quote = self.quotes[company.code, day]
                if quote.ex:
                    pending = quote.base
                if quote.prices is None:
                    continue
                reference = quote.base if quote.change and not quote.ex else None
                found.append(
                    Bar(
                        company.code, day, *quote.prices, quote.volume, "",
                        value=quote.value, trades=quote.trades, reference=pending or reference,
                    )
                )  # fmt: skip
                pending = None
        return found

    def ex_quotes(self, exchange: str, start: date, end: date) -> list[Quote]:
        """The ex-dates of an exchange, by day and code."""
        codes = {c.code for c in self.of(exchange)}
        found = [q for q in self.quotes.values() if q.code in codes and start <= q.day <= end and q.ex]
        return sorted(found, key=lambda q: (q.day, q.code))
