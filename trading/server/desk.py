"""What both of the exchange's protocols stand on: who asks, how often, and how the books are reached."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

from stockllm.data.errors import StockllmError
from stockllm.data.stores.book_rows import AccountRow
from stockllm.data.stores.books import Books
from stockllm.market.companies import Company
from stockllm.trading.exchange.access import Credential, NotAllowed, PasswordCheck, digest_of
from stockllm.trading.exchange.exchange import Advance, Exchange
from stockllm.trading.exchange.rules import OffTick
from stockllm.trading.server.writer import Writer

T = TypeVar("T")

LOG = logging.getLogger("stockllm.exchange")

_MOST_BUCKETS = 10_000


class TooOften(StockllmError):
    """More requests than the limit; ``wait`` is the seconds until the next may come."""

    def __init__(self, wait: float) -> None:
        self.wait = max(1, round(wait + 0.5))
        super().__init__(f"Too many requests: wait {self.wait} s and send fewer.")


@dataclass(slots=True)
class Allowance:
    """A rate limit for each of many callers: ``rate`` a second, ``burst`` at once."""

    rate: float
    burst: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, caller: str, now: float | None = None) -> None:
        """Count one request of ``caller``. TooOften where it has none left."""
        left = self.left(caller, now := time.monotonic() if now is None else now)
        if left < 1:
            raise TooOften((1 - left) / self.rate)
        if len(self._left) >= _MOST_BUCKETS:  # those that are full again need no memory
            self._left = {who: was for who, was in self._left.items() if self.left(who, now) < self.burst}
        if len(self._left) >= _MOST_BUCKETS:
            raise TooOften(1 / self.rate)
        self._left[caller] = left - 1, now

    def left(self, caller: str, now: float) -> float:
        """How many requests ``caller`` may send at once."""
        left, since = self._left.get(caller, (self.burst, now))
        return min(self.burst, left + (now - since) * self.rate)


class Desk:
    """An exchange that serves. Every call checks who asks against the books as they are."""

    def __init__(self, exchange: Exchange, *, rate: float, failures: float = 10) -> None:
        """``rate`` is requests a second for each account; ``failures`` wrong passwords a minute."""
        self.exchange = exchange
        self.writer = Writer(exchange.store)
        self._asked = Allowance(rate, 2 * rate)
        self._failed = Allowance(failures / 60, failures)
        self._passwords = PasswordCheck()
        self._readers = ThreadPoolExecutor(4, "reader")
        # Argon2 takes its time and memory on purpose; two at once are enough.
        self._verifiers = ThreadPoolExecutor(2, "password")
        self._names: dict[str, Company] = {}
        with exchange.store.books.read() as books:
            row = exchange.row(books)
        self._id, self.off_tick = row.id, cast("OffTick", row.off_tick)

    def close(self) -> None:
        """Finish what was accepted."""
        self.writer.close()
        self._readers.shutdown()
        self._verifiers.shutdown()

    def count(self, caller: str) -> None:
        """Count a request of ``caller``. TooOften past the limit."""
        self._asked.take(caller)

    async def password(self, client: str, name: str, password: str) -> Credential:
        """What a name and a password open. NotAllowed, or TooOften after too many wrong ones."""
        self.count(f"{client} {name}")
        remembered = self._passwords.remembered(name, password)
        if remembered is not None:
            return Credential(name, remembered)
        caller = f"{client} {name}"
        if self._failed.left(caller, time.monotonic()) < 1:
            raise TooOften(60)
        known = await self.read(lambda books: books.account(name))
        hashed = known.password if known is not None and known.exchange == self._id else None
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._verifiers, self._passwords.verify, name, password, hashed)
        except NotAllowed:
            self._failed.take(caller)
            raise

    def token(self, client: str, token: str) -> Credential:
        """What a token opens; whether it opens anything is found with the books."""
        digest = digest_of(token)
        self.count(f"{client} {digest}")
        return Credential(token_digest=digest)

    async def act(self, who: Credential, job: Callable[[Books, AccountRow], T]) -> T:
        """Run ``job`` for the account of ``who``; the answer comes when it is on the disk."""

        def whole(books: Books) -> T:
            return job(books, self.account(who, books))

        return await asyncio.wrap_future(self.writer.submit(whole))

    async def look(self, who: Credential, job: Callable[[Books, AccountRow], T]) -> T:
        """Read for the account of ``who``."""
        return await self.read(lambda books: job(books, self.account(who, books)))

    async def read(self, job: Callable[[Books], T]) -> T:
        """Read the books."""

        def whole() -> T:
            with self.exchange.store.books.read() as books:
                return job(books)

        return await self.call(whole)

    async def call(self, work: Callable[[], T]) -> T:
        """Run ``work``, which reads, off the server's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)

    def account(self, who: Credential, books: Books) -> AccountRow:
        """The account of ``who``. NotAllowed where there is none any more."""
        try:
            return who.account(books, self._id, self.exchange.clock.now())
        except NotAllowed:
            self._passwords.forget(who.password_hash)
            raise

    def company(self, code: str) -> Company:
        """What is known of a stock that has prices."""
        if code not in self._names:
            self._names |= {company.code: company for company in self.exchange.store.companies()}
        return self._names.get(code) or Company.bare(code)

    async def advance(self) -> Advance | None:
        """Match the next session. NotYet where that cannot be done yet."""
        return await asyncio.wrap_future(self.writer.submit(self.exchange.match))
