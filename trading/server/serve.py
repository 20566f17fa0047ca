"""The exchange as a server: both protocols, limits on what comes in, and the sessions that go by.

Loads FastAPI and uvicorn, so only what serves imports it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stockllm.data.errors import OrderRefused, StockllmError, StoreError, UsageError
from stockllm.data.logfiles import rotating
from stockllm.data.paths import Home
from stockllm.trading.exchange.access import NotAllowed
from stockllm.trading.exchange.exchange import Exchange
from stockllm.trading.exchange.sessions import NotYet
from stockllm.trading.server import api, connections, wire
from stockllm.trading.server.desk import LOG, Desk, TooOften, client_of

#: The largest request body; an order has a few hundred bytes.
LARGEST_BODY = 64 * 1024
#: How long a body may take to come in.
SLOWEST_BODY_S = 10.0
#: How often a live exchange looks for the prices of the session that has ended.
LIVE_LOOK_S = 60.0
#: Requests that are answered at a time.
MOST_REQUESTS = 1000
#: What this machine is called in requests that come from it.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_LOG_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How to serve: requests a second for each account, and seconds between a replay's sessions.

    ``proxy`` is the address of the one that may say for whom it asks (X-Forwarded-For); nobody else may.
    On the ``loopback`` without one, requests must name this machine as their host.
    """

    rate: float = 100.0
    every: float | None = None
    proxy: str = ""
    loopback: bool = True


def create_app(exchange: Exchange, terms: Terms | None = None) -> Any:
    """The ASGI application that serves ``exchange``."""
    terms = terms or Terms()
    desk = Desk(exchange, rate=terms.rate)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        clockwork = asyncio.create_task(_clockwork(desk, terms.every))
        yield
        clockwork.cancel()
        await asyncio.gather(clockwork, return_exceptions=True)
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="stockllm exchange",
        version=version("stockllm"),
        description="A simulated exchange for Taiwan stocks. docs/exchange.md has its rules.",
        docs_url=None,  # its page would come from another site
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat whatever Host was sent
        lifespan=lifespan,
    )
    app.include_router(api.routes(desk))
    university = wire.routes(desk)
    for base in wire.BASES:
        app.include_router(university, prefix=base, include_in_schema=base == wire.BASES[0])
    _answer_errors(app)
    return Gate(app, () if terms.proxy or not terms.loopback else LOOPBACK)


async def _clockwork(desk: Desk, every: float | None) -> None:
    """Match sessions: a live exchange's as their prices come in, a replay's every so many seconds."""
    with desk.exchange.store.books.read() as books:
        live = desk.exchange.row(books).mode == "live"
    if every is None and not live:
        return  # step by step, from the command line
    while True:
        await asyncio.sleep(LIVE_LOOK_S if every is None else every)
        try:
            if done := await desk.advance():
                LOG.info("session %s: %d filled, %d expired", done.session, done.filled, done.expired)
        except NotYet:
            continue
        except StoreError as error:
            LOG.error("a session could not be matched: %s", error)


def _answer_errors(app: FastAPI) -> None:
    """Every refusal in the form of the protocol that was spoken."""

    def answer(request: Request, reason: str, en: str, zh: str, http: int, **headers: str) -> JSONResponse:
        # With the client, so that what watches logs (fail2ban) can shut somebody out.
        LOG.info("%s %s from %s: %d %s", request.method, _route(request), client_of(request), http, reason)
        if request.url.path.startswith("/v1/"):
            return api.refused(reason, en, zh, http, **headers)
        found = wire.failed(zh, http)
        found.headers.update(headers)
        return found

    @app.exception_handler(TooOften)
    async def too_often(request: Request, error: TooOften) -> JSONResponse:
        wait = {"Retry-After": str(error.wait)}
        return answer(request, "rate", str(error), "請求過於頻繁", 429, **wait)

    @app.exception_handler(NotAllowed)
    async def not_allowed(request: Request, error: NotAllowed) -> JSONResponse:
        how = {"WWW-Authenticate": "Bearer"}
        return answer(request, "account", str(error), "帳號或密碼錯誤", 401, **how)

    @app.exception_handler(OrderRefused)
    async def order_refused(_: Request, error: OrderRefused) -> JSONResponse:
        return api.order_refused(error)

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        # Names the field and what is wrong with it, never what was sent: that may be a password.
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return answer(request, "form", f"{where}: {first['msg']}", f"欄位錯誤 {where}", 422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        known = {404: ("not_found", "查無資料或功能"), 405: ("method", "方法錯誤")}
        reason, zh = known.get(error.status_code, ("form", "格式錯誤"))
        return answer(request, reason, f"{error.detail}.", zh, error.status_code, **(error.headers or {}))

    @app.exception_handler(StoreError)
    async def store(request: Request, error: StoreError) -> JSONResponse:
        LOG.error("the store: %s", error)
        return answer(request, "store", "The books cannot be used now: try again.", "系統忙碌", 503)

    @app.exception_handler(queue.Full)
    async def full(request: Request, _: queue.Full) -> JSONResponse:
        return answer(request, "busy", "Too many orders wait: try again.", "系統忙碌", 503)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        LOG.error("%s %s: %s", request.method, _route(request), type(error).__name__)
        return answer(request, "fault", "The exchange failed at this request.", "系統錯誤", 500)


def _route(request: Request) -> str:
    """The pattern of the path that was asked for: the path itself may hold anything."""
    return str(getattr(request.scope.get("route"), "path", "(no such path)"))


class Gate:
    """What comes before either protocol: whose host is meant, how many at once, and bodies as a whole.

    A page of another site whose name points to this machine sends that name as its host.
    """

    def __init__(self, app: Any, hosts: Collection[str] = ()) -> None:
        self.app = app
        self._hosts = frozenset(hosts)
        self._inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        modern = scope["path"].startswith("/v1/")
        names = {name for name, _ in scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:  # two lengths: a smuggler's request
            length = "A request has one length: Content-Length or Transfer-Encoding."
            await _refuse(modern, 400, "form", length, "格式錯誤")(scope, receive, send)
        elif self._hosts and not _hosts(scope["headers"]) <= self._hosts:
            host = "The exchange answers to this machine's own names alone."
            await _refuse(modern, 421, "host", host, "主機名稱錯誤")(scope, receive, send)
        elif self._inside >= MOST_REQUESTS:
            await _refuse(modern, 503, "busy", "Too many requests at once: try again.", "系統忙碌")(
                scope, receive, send
            )
        else:
            self._inside += 1
            try:
                await self._answer(scope, receive, send, modern)
            finally:
                self._inside -= 1

    async def _answer(self, scope: Any, receive: Any, send: Any, modern: bool) -> None:
        try:
            async with asyncio.timeout(SLOWEST_BODY_S):
                body = await _body(scope, receive)
        except TimeoutError:
            await _refuse(modern, 408, "slow", "The body came in too slowly.", "連線逾時")(
                scope, receive, send
            )
            return
        if body is None:
            large = f"The body is larger than {LARGEST_BODY:,} bytes."
            await _refuse(modern, 413, "size", large, "內容過大")(scope, receive, send)
            return
        given = False

        async def replay() -> Any:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def _hosts(headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
    """The names in Host headers, without their ports."""
    names = [value.decode("latin-1").strip().lower() for name, value in headers if name == b"host"]
    return {n.rpartition("]")[0] + "]" if n.startswith("[") else n.partition(":")[0] for n in names}


async def _body(scope: Any, receive: Callable[[], Any]) -> bytes | None:
    """The whole body; None where it is too large."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value[:12]) > LARGEST_BODY):
            return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _refuse(modern: bool, http: int, reason: str, en: str, zh: str) -> JSONResponse:
    found = api.refused(reason, en, zh, http) if modern else wire.failed(zh, http)
    found.headers["Connection"] = "close"
    return found


def serve(exchange: Exchange, host: str, port: int, terms: Terms, ready: Callable[[str, int], None]) -> None:
    """Serve until a signal ends it. ``ready`` is told the address once it answers.

    UsageError where the address cannot be had. What was acknowledged is on the disk; what waits
    when the signal comes is finished first.
    """
    listener = listen(host, port)
    log_to(exchange.store.home)
    taken = listener.getsockname()[1]
    server = Server(exchange, terms, lambda: ready(host, taken))
    LOG.info("serving %s on %s port %d", exchange.name, host, taken)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # that is how a server ends; it has finished what it accepted
    finally:
        listener.close()
    if not server.started:
        raise StockllmError(
            f"The server did not start; {exchange.store.home.logs}/exchange.log says why.",
            zh=f"伺服器沒有啟動；原因在 {exchange.store.home.logs}/exchange.log。",
        )


class Server(uvicorn.Server):
    """uvicorn's server of an exchange; ``ready`` is called once it answers."""

    def __init__(self, exchange: Exchange, terms: Terms, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(exchange, terms),
                log_config=None,
                access_log=False,
                server_header=False,
                http=connections.protocol(),  # over h11, which bounds the size of a request's head
                loop="asyncio",
                timeout_keep_alive=connections.KEEP_ALIVE_S,
                timeout_graceful_shutdown=10,
                proxy_headers=bool(terms.proxy),
                forwarded_allow_ips=terms.proxy or None,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ``port`` 0 takes a free one. UsageError where it cannot be had."""
    listener = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        if listener is not None:
            listener.close()
        cause = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{host} port {port} cannot be used ({cause}): choose another --port.",
            zh=f"{host} 的連接埠 {port} 無法使用（{cause}）：請換一個 --port。",
        ) from error
    return listener


def log_to(home: Home) -> None:
    """Write what happens to ``logs/exchange.log``: no body, no query and no path as it was sent."""
    handler = rotating(home.logs / "exchange.log", _LOG_BYTES, 3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in (LOG.name, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
