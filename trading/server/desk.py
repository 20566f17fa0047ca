"""What both of the exchange's protocols stand on: who asks, how often, and how the books are reached."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar, cast

from stockllm.data.errors import StockllmError
from stockllm.data.stores.book_rows import AccountRow
from stockllm.data.stores.books import Books
from stockllm.market.companies import Company
from stockllm.trading.exchange.access import Credential, NotAllowed, PasswordCheck, digest_of
from stockllm.trading.exchange.exchange import Advance, Exchange
from stockllm.trading.exchange.rules import OffTick
from stockllm.trading.server.writer import Writer

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")

LOG = logging.getLogger("stockllm.exchange")

_MOST_BUCKETS = 10_000

# Of the wrong passwords that one client may try for one account, so many times may be tried by one client for
# all accounts, and for one account by all clients.
_OF_A_CLIENT, _OF_AN_ACCOUNT = 4, 5


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
    _left: dict[bytes, tuple[float, float]] = field(default_factory=dict)

    def take(self, caller: str, now: float | None = None) -> None:
        """Count one request of ``caller``. TooOften where it has none left."""
        key = _key(caller)
        left = self._of(key, now := time.monotonic() if now is None else now)
        if left < 1:
            raise TooOften((1 - left) / self.rate)
        if len(self._left) >= _MOST_BUCKETS:  # those that are full again need no memory
            self._left = {who: was for who, was in self._left.items() if self._of(who, now) < self.burst}
        if len(self._left) >= _MOST_BUCKETS:
            raise TooOften(1 / self.rate)
        self._left[key] = left - 1, now

    def give_back(self, caller: str, now: float | None = None) -> None:
        """Take back one that was counted."""
        key, now = _key(caller), time.monotonic() if now is None else now
        if key in self._left:
            self._left[key] = min(self.burst, self._of(key, now) + 1), now

    def _of(self, key: bytes, now: float) -> float:
        left, since = self._left.get(key, (self.burst, now))
        return min(self.burst, left + (now - since) * self.rate)


def _key(caller: str) -> bytes:
    """Of one size however long the name is that somebody sends."""
    return blake2b(caller.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def client_of(request: Request) -> str:
    """Who asks, as limits count it: an address, of IPv6 its network, "?" where it is none."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return "?"
    if address.version == 6:
        return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
    return str(address)


class Desk:
    """An exchange that serves. Every call checks who asks against the books as they are."""

    def __init__(self, exchange: Exchange, *, rate: float, failures: float = 10) -> None:
        """``rate`` is requests a second for each account; ``failures`` wrong passwords a minute."""
        self.exchange = exchange
        self.writer = Writer(exchange.store)
        self._asked = Allowance(rate, 2 * rate)
        self._failed = Allowance(failures / 60, failures)
        self._failed_client = Allowance(_OF_A_CLIENT * failures / 60, _OF_A_CLIENT * failures)
        self._failed_account = Allowance(_OF_AN_ACCOUNT * failures / 60, _OF_AN_ACCOUNT * failures)
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
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
        """What a name and a password open. NotAllowed, or TooOften after too many wrong ones.

        Each try counts as a wrong one before it is looked at, and is given back where it was right: of many
        that come at once only as many are looked at as may be wrong. One client's are looked at one after the
        other, so that another's waits for one at most.
        """
        self.count(f"{client} {name}")
        if (found := self._remembered(name, password)) is not None:
            return found
        self._waiting[client] += 1
        try:
            async with self._turns.setdefault(client, asyncio.Lock()):
                # The same password may have passed while this one waited.
                return self._remembered(name, password) or await self._verified(client, name, password)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client], self._turns[client]

    def _remembered(self, name: str, password: str) -> Credential | None:
        hashed = self._passwords.remembered(name, password)
        return None if hashed is None else Credential(name, hashed)

    async def _verified(self, client: str, name: str, password: str) -> Credential:
        counted: list[tuple[Allowance, str]] = []
        for limit, caller in (
            (self._failed_client, client),
            (self._failed, f"{client} {name}"),
            (self._failed_account, name),
        ):
            try:
                limit.take(caller)
            except TooOften as error:
                for other, one in counted:
                    other.give_back(one)
                LOG.warning("too many wrong passwords from %s", client)
                raise TooOften(max(error.wait, 1)) from None
            counted.append((limit, caller))
        known = await self.read(lambda books: books.account(name))
        hashed = known.password if known is not None and known.exchange == self._id else None
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._verifiers, self._passwords.verify, name, password, hashed
            )
        except NotAllowed:
            LOG.warning("a wrong account or password from %s", client)
            raise
        for limit, caller in counted:
            limit.give_back(caller)
        return found

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
