"""Who may act for an account: passwords as Argon2 hashes, tokens as digests. Nothing here is logged."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from stockllm.data.errors import StockllmError, UsageError
from stockllm.data.stores.book_rows import AccountRow
from stockllm.data.stores.books import Books

#: How long a token opens its account.
TOKEN_LIFE = timedelta(days=30)
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128

_MOST_REMEMBERED = 10_000


class NotAllowed(StockllmError):
    """The account, the password or the token is wrong; which of them is not said."""

    def __init__(self) -> None:
        super().__init__(
            "The account or its password is wrong, or the token has run out.",
            zh="帳戶或密碼不正確，或權杖已過期。",
        )


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What a request carries: an account's name and the hash its password was held against, or a token."""

    name: str = ""
    password_hash: str = ""
    token_digest: str = ""

    def account(self, books: Books, exchange: int, now: datetime) -> AccountRow:
        """The account it opens, as the books have it now. NotAllowed where it opens none."""
        if self.token_digest:
            found = books.account_of_token(self.token_digest, now)
            good = found is not None
        else:
            found = books.account(self.name)
            good = found is not None and found.password == self.password_hash
        if found is None or not good or found.exchange != exchange:
            raise NotAllowed
        return found


def hash_password(password: str) -> str:
    """The Argon2id hash of a new password. UsageError where it is too short or too long."""
    from argon2 import PasswordHasher

    check_password(password)
    return PasswordHasher().hash(password)


def check_password(password: str) -> None:
    """UsageError for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters: choose another one.",
            zh=f"密碼須為 {SHORTEST_PASSWORD} 到 {LONGEST_PASSWORD} 個字元：請換一個。",
        )


def new_token() -> tuple[str, str]:
    """A token to hand out, and the digest to keep of it."""
    token = secrets.token_urlsafe(32)
    return token, digest_of(token)


def digest_of(token: str) -> str:
    """What is kept of a token: long and random, so that one SHA-256 hides it."""
    return hashlib.sha256(token.encode()).hexdigest()


class PasswordCheck:
    """Holds passwords against hashes, and remembers what passed.

    The university's protocol sends the password with every order, and Argon2 is slow by design. A
    password that passed is remembered under a keyed digest whose key lives and dies with the process;
    the hash in the books is still compared with every order, so a changed password counts at once.
    """

    def __init__(self) -> None:
        from argon2 import PasswordHasher

        self._hasher = PasswordHasher()
        self._key = secrets.token_bytes(32)
        self._passed: dict[bytes, str] = {}
        self._lock = Lock()
        # An unknown name takes as long to refuse as a wrong password.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def remembered(self, name: str, password: str) -> str | None:
        """The hash that this password has passed against, None where it has to be verified."""
        with self._lock:
            return self._passed.get(self._mark(name, password))

    def verify(self, name: str, password: str, password_hash: str | None) -> Credential:
        """A credential where the password fits ``password_hash``; NotAllowed otherwise. Slow."""
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            self._hasher.verify(password_hash or self._nobody, password)
        except (VerificationError, InvalidHashError):
            raise NotAllowed from None
        if password_hash is None:
            raise NotAllowed
        with self._lock:
            if len(self._passed) >= _MOST_REMEMBERED:
                self._passed.clear()
            self._passed[self._mark(name, password)] = password_hash
        return Credential(name, password_hash)

    def forget(self, password_hash: str) -> None:
        """What passed against this hash has to be verified again: the password was changed."""
        with self._lock:
            self._passed = {mark: found for mark, found in self._passed.items() if found != password_hash}

    def _mark(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{name}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
