"""The one way out: every request to a site passes here.

It is reserved in the store before it is sent (``data.stores.requests``), so that spacing and budgets hold
over restarts and processes; it has a time limit as a whole; it follows no redirect; and how it ended
is logged. A site that turns us away is left alone for an hour, then for longer.
"""

from __future__ import annotations

import logging
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from stockllm.collectors.clock import Clock, SystemClock, taipei
from stockllm.collectors.failures import (
    Blocked,
    BudgetSpent,
    NoData,
    Outage,
    SiteFailure,
    Unreadable,
    WrongAnswer,
)
from stockllm.collectors.files.limits import read_json
from stockllm.data.sentences import Sentence, in_chinese
from stockllm.data.settings import Settings
from stockllm.data.stores.requests import Budget, Refusal, RequestStore

T = TypeVar("T")

#: How long a site that turned us away is left alone: at first, and at most.
BAR = timedelta(hours=1)
LONGEST_BAR = timedelta(hours=12)

# Connections in a row that a site refuses or breaks off before that is taken for turning us away.
_HANG_UPS = 6

_LARGEST = 64 * 1024 * 1024
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; stockllm)",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "gzip",
    # Requests lie seconds apart: a kept connection would mostly be found dead.
    "Connection": "close",
}

_log = logging.getLogger("stockllm.collectors")


@dataclass(frozen=True)
class Site:
    """Somebody to be polite to. ``speaks`` is true of an API that explains its refusals in JSON,
    ``speaks_of_404`` of one that does so of what it does not know."""

    key: str
    name: str
    speaks: bool = False
    speaks_of_404: bool = False


TWSE = Site("twse", Sentence("The Taiwan Stock Exchange", zh="證交所"))
TWSE_OPENAPI = Site("twse_openapi", Sentence("The Taiwan Stock Exchange's open data", zh="證交所開放資料"))
#: The open data of the Taipei Exchange are on the same host, so they queue with the rest.
TPEX = Site("tpex", Sentence("The Taipei Exchange", zh="櫃買中心"))
NEWSAPI = Site("newsapi", "NewsAPI", speaks=True)
TAIFEX = Site("taifex", Sentence("The Taiwan Futures Exchange", zh="期交所"))
TAIFEX_OPENAPI = Site(
    "taifex_openapi", Sentence("The Taiwan Futures Exchange's open data", zh="期交所開放資料")
)
YAHOO = Site("yahoo", "Yahoo Finance", speaks=True, speaks_of_404=True)


@dataclass(frozen=True)
class Answer:
    """What came back, whole. Has what twstock and newsapi-python ask of a response."""

    site: Site
    what: str
    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def text(self) -> str:
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return self.content.decode("cp950", "replace")

    def json(self) -> Any:
        """The document. Unreadable where it is none."""
        try:
            return read_json(self.text)
        except ValueError as error:
            raise Unreadable(
                f"{self.site.name} answered {self.what} with something cut short or no JSON: "
                "it is asked again on the next run.",
                zh=f"{in_chinese(self.site.name)}對{in_chinese(self.what)}的回應不完整或不是 JSON："
                "下次更新會再問。",
            ) from error


class Web:
    """Asks sites, politely. One per process and store is enough; not for several threads at once."""

    def __init__(self, store: RequestStore, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self._store = store
        self._interval = timedelta(seconds=settings.request_interval)
        self._budgets = {
            NEWSAPI.key: (Budget(settings.newsapi_requests_per_day, timedelta(hours=24)),),
        }
        self._hang_ups: Counter[str] = Counter()
        self._session = requests.Session()
        self._session.headers.clear()
        self._session.headers.update(_HEADERS)
        self._session.mount("https://", _Tls())

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, site: Site, what: str, do: Callable[[Door], T]) -> T:
        """What ``do`` makes of the site's answer to the requests it sends through the door.

        ``do`` is run again where it raises Outage, Unreadable or WrongAnswer, as often as the
        settings allow; NoData, Refused, Blocked and BudgetSpent end the matter at once. ``what``
        says what is asked for, in sentences and in the log.
        """
        for attempt in count():
            door = Door(self, site, what)
            try:
                result = do(door)
            except NoData as nothing:
                door.finish("no_data", str(nothing))
                self._store.unbar(site.key)
                raise
            except Blocked as blocked:
                if not door.used:
                    raise  # by an earlier bar, which stands
                raise self._bar(door, blocked) from blocked
            except (Outage, Unreadable, WrongAnswer) as failure:
                door.finish(failure.outcome, str(failure))
                self._count_hang_ups(site, failure)
                if attempt >= self.settings.request_retries:
                    raise
                self.clock.sleep(self.settings.request_interval * 2**attempt)
            except SiteFailure as failure:
                if door.used:
                    door.finish(failure.outcome, str(failure))
                raise
            except Exception as error:  # our own mistake; a kill leaves the request as sent
                if door.used:
                    door.finish("unreadable", f"{type(error).__name__}: {error}")
                raise
            else:
                door.finish("ok")
                self._store.unbar(site.key)
                self._hang_ups[site.key] = 0
                return result
        raise AssertionError("unreachable")

    def _count_hang_ups(self, site: Site, failure: SiteFailure) -> None:
        """Bans come as refused and broken connections too: after some in a row the site is left alone."""
        if not (isinstance(failure, Outage) and failure.hung_up):
            self._hang_ups[site.key] = 0
            return
        self._hang_ups[site.key] += 1
        if self._hang_ups[site.key] < _HANG_UPS:
            return
        self._hang_ups[site.key] = 0
        why = Sentence(
            f"{site.name} refused or broke off {_HANG_UPS} connections in a row.",
            zh=f"{in_chinese(site.name)}連續 {_HANG_UPS} 次拒絕或中斷連線。",
        )
        until = self._store.bar(site.key, why, now=self.clock.now(), pause=BAR, longest=LONGEST_BAR)
        raise Blocked(
            f"{why} It is left alone until {_clock(until)}.",
            until,
            zh=f"{why.zh}{_clock(until)} 前不再詢問。",
        ) from failure

    def bar(self, site: Site, why: str, pause: timedelta) -> datetime:
        """Ask ``site`` nothing for ``pause``, because it said so; until when."""
        return self._store.bar(site.key, why, now=self.clock.now(), pause=pause, longest=pause)

    def barred(self, site: Site) -> Refusal | None:
        """Why ``site`` must not be asked at present."""
        return self._store.barred(site.key, now=self.clock.now())

    def _bar(self, door: Door, blocked: Blocked) -> Blocked:
        site = door.site
        until = self._store.bar(site.key, str(blocked), now=self.clock.now(), pause=BAR, longest=LONGEST_BAR)
        door.finish("blocked", str(blocked))
        return Blocked(
            f"{blocked} It is left alone until {_clock(until)}.",
            until,
            zh=f"{blocked.zh}{_clock(until)} 前不再詢問。",
        )

    def _reserve(self, site: Site, what: str) -> int:
        """Take the next place in the site's queue and wait for it."""
        now = self.clock.now()
        budgets = self._budgets.get(site.key, ())
        place = self._store.reserve(site.key, what, now=now, interval=self._interval, budgets=budgets)
        if isinstance(place, Refusal):
            if place.kind == "barred":
                raise Blocked(
                    f"{site.name} is left alone until {_clock(place.until)}, because: {place.why}",
                    place.until,
                    zh=f"{in_chinese(site.name)}先前拒絕了請求，{_clock(place.until)} 前不再詢問。",
                )
            raise BudgetSpent(
                f"{site.name} allows {place.why} and they are used up: "
                f"the rest is asked for from {_clock(place.until)} on.",
                place.until,
                zh=f"{in_chinese(site.name)}允許的請求次數已用完：其餘在 {_clock(place.until)} 之後再問。",
            )
        wait = (place.at - now).total_seconds()
        if wait > 0:
            self.clock.sleep(wait)
        return place.id

    def _send(self, door: Door, method: str, url: str, options: dict[str, Any]) -> Answer:
        """One request and its whole answer. Outage where there is none, or not in time."""
        site, what, limits = door.site, door.what, self.settings
        deadline = time.monotonic() + limits.answer_timeout
        host = urlsplit(url).hostname or ""
        if host in ("127.0.0.1", "localhost", "::1"):
            options["proxies"] = {"http": "", "https": ""}  # no proxy leads to this machine itself
        try:
            with self._session.request(
                method, url, timeout=limits.request_timeout, allow_redirects=False, stream=True, **options
            ) as response:
                content = _read(response, deadline, site, what)
                return Answer(site, what, response.status_code, dict(response.headers), content)
        except requests.exceptions.SSLError as error:
            raise Outage(
                f"The certificate of {host} cannot be trusted ({_cause(error)}): nothing was taken "
                "from it; see that this machine's clock and certificates are right.",
                zh=f"{host} 的憑證不可信（{_cause(error)}），沒有取用任何資料：請檢查本機的時鐘與憑證。",
            ) from error
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
            raise Outage(
                f"{site.name} did not answer {what} within {limits.request_timeout:g} s: "
                "it is asked again on the next run.",
                zh=f"{in_chinese(site.name)}在 {limits.request_timeout:g} 秒內沒有回應{in_chinese(what)}："
                "下次更新會再問。",
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Outage(
                f"{site.name} could not be asked for {what} ({_cause(error)}): "
                "see that there is a connection; it is asked again on the next run.",
                zh=f"無法向{in_chinese(site.name)}詢問{in_chinese(what)}（{_cause(error)}）："
                "請檢查網路連線，下次更新會再問。",
                hung_up=_hung_up(error),
            ) from error
        finally:
            # Whatever the headers say: a connection taken up again may be found dead, and a request
            # that fails so would count against the site.
            self._session.close()


class Door:
    """What ``Web.ask`` gives to send requests through; each is reserved, spaced and logged."""

    def __init__(self, web: Web, site: Site, what: str) -> None:
        self.site = site
        self.what = what
        self._web = web
        self._open: int | None = None
        self.used = False

    def get(self, url: str, params: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        """GET. ``options``: ``auth``, as requests takes it."""
        return self._request("GET", url, {"params": params} | options)

    def post(self, url: str, data: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        """POST a form."""
        return self._request("POST", url, {"data": data} | options)

    def finish(self, outcome: Any, detail: str = "") -> None:
        """Say in the log how the request under way ended."""
        if self._open is not None:
            self._web._store.finish(self._open, outcome, detail)
            self._open = None
            if outcome not in ("ok", "no_data"):
                _log.info("%s", detail)

    def _request(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        self.finish("ok")  # whoever asks for more has read the last answer
        self._open = self._web._reserve(self.site, self.what)
        self.used = True
        answer = self._web._send(self, method, url, options)
        _check(answer)
        return answer


def _check(answer: Answer) -> None:
    """Raise what a status or a page in place of data means."""
    site, what, status = answer.site, answer.what, answer.status_code
    start = answer.content.lstrip()[:1]
    if site.speaks and start == b"{" and not 300 <= status < 400 and (status != 404 or site.speaks_of_404):
        return
    if status in (301, 308):  # a page that moved for good is no ban
        raise Unreadable(
            f"{site.name} answered {what} with HTTP {status}: its addresses have changed; "
            "look for a newer stockllm.",
            zh=f"{in_chinese(site.name)}以 HTTP {status} 回應{in_chinese(what)}："
            "網址已變更，請更新 stockllm。",
        )
    if 300 <= status < 400 or status in (401, 403, 429):
        raise Blocked(
            f"{site.name} turned the request for {what} away with HTTP {status}.",
            zh=f"{in_chinese(site.name)}以 HTTP {status} 拒絕了{in_chinese(what)}的請求。",
        )
    if status >= 500:
        raise Outage(
            f"{site.name} answered {what} with HTTP {status}: it is asked again on the next run.",
            zh=f"{in_chinese(site.name)}以 HTTP {status} 回應{in_chinese(what)}：下次更新會再問。",
        )
    if status != 200:
        raise Unreadable(
            f"{site.name} answered {what} with HTTP {status}: its addresses may have changed; "
            "look for a newer stockllm.",
            zh=f"{in_chinese(site.name)}以 HTTP {status} 回應{in_chinese(what)}："
            "網址可能改了，請更新 stockllm。",
        )
    if start == b"<":
        raise Blocked(
            f"{site.name} answered {what} with a web page in place of data.",
            zh=f"{in_chinese(site.name)}以網頁取代資料回應{in_chinese(what)}。",
        )


def _read(response: requests.Response, deadline: float, site: Site, what: str) -> bytes:
    """The body, unpacked. Outage where it is not whole by ``deadline`` (of ``time.monotonic``)."""
    parts: list[bytes] = []
    size = 0
    # What has arrived at each turn, and no more: a site that drips is noticed between two drops.
    while part := response.raw.read1(65536, decode_content=False):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise Outage(
                f"{site.name} sends {what} too slowly: it is asked again on the next run.",
                zh=f"{in_chinese(site.name)}傳送{in_chinese(what)}太慢：下次更新會再問。",
            )
        if size > _LARGEST:
            raise Unreadable(
                f"{site.name} answered {what} without end: it is asked again on the next run.",
                zh=f"{in_chinese(site.name)}對{in_chinese(what)}的回應沒有止盡：下次更新會再問。",
            )
    body = b"".join(parts)
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing in ("", "identity"):
        return body
    unpacker = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it is
    try:
        body = unpacker.decompress(body, _LARGEST)
    except zlib.error:
        body = b""
    if packing not in ("gzip", "x-gzip", "deflate") or not unpacker.eof:
        raise Unreadable(
            f"{site.name} answered {what} with something cut short: it is asked again on the next run.",
            zh=f"{in_chinese(site.name)}對{in_chinese(what)}的回應不完整：下次更新會再問。",
        )
    return body


class _Tls(HTTPAdapter):
    """Full verification, less one flag that is younger than the exchanges' root certificate."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | {"ssl_context": tls_context()}))

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **(kwargs | {"ssl_context": tls_context()}))


@cache
def tls_context() -> ssl.SSLContext:
    """Verifies chain and host name. Python 3.13 began to refuse roots without a Subject Key
    Identifier, which the exchanges' has not; that one flag is cleared where it is set."""
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _hung_up(error: BaseException) -> bool:
    """Whether the other side refused the connection or broke it off, and not the line."""
    seen, left = [error], 20
    while seen and left:
        one, left = seen.pop(), left - 1
        if isinstance(one, (ConnectionRefusedError, ConnectionResetError)):
            return True
        held = (getattr(one, "reason", None), one.__cause__, one.__context__, *one.args)
        seen += [inner for inner in held if isinstance(inner, BaseException)]
    return False


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words, without addresses."""
    seen = error
    while True:
        held = (getattr(seen, "reason", None), *seen.args)
        inner = [one for one in held if isinstance(one, BaseException)]
        if not inner:
            break
        seen = inner[-1]
    text = seen.strerror if isinstance(seen, OSError) and seen.strerror else str(seen)
    text = text.rpartition(": ")[2] or type(seen).__name__
    return " ".join(text.split()).rstrip(".")[:120]


def _clock(moment: datetime) -> str:
    return f"{taipei(moment):%Y-%m-%d %H:%M} (Taipei)"
