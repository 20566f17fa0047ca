"""``stockllm-tui --web``: the dashboard in a browser of this machine, through textual-serve.

textual-serve asks nobody who they are, and every user of a machine reaches its loopback. So the address that
is printed carries a token that opens the page once; from then on a cookie does, and nobody else's. Pages of
other sites are turned away, and the page itself asks no other host for anything.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from stockllm.data.errors import StockllmError

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
PORT = 8000

# textual-serve's page has its scripts and styles in line; nothing but that and its own files is taken.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self'; img-src 'self' data:; connect-src 'self' ws://{own}; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
_FOREIGN_FONT = "https://fonts.googleapis.com/css?family=Roboto%20Mono"
_OWN_FONT = (
    "@font-face{font-family:'Roboto Mono';font-weight:100 700;"
    "src:url('static/fonts/RobotoMono-VariableFont_wght.ttf')}"
)


class WebFailed(StockllmError):
    """The web version cannot be served."""


class Door:
    """Who may come in: whoever brings the token first, and after that whoever has the cookie."""

    def __init__(self, port: int) -> None:
        self.own = f"{HOST}:{port}"
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"stockllm-{port}"  # cookies do not know ports
        self._key = ""

    def open(self, token: str) -> str:
        """The cookie's value for the token, "" where it is wrong or was used before."""
        good = bool(self.token) and hmac.compare_digest(token.encode(), self.token.encode())
        if not good:
            return ""
        self.token, self._key = "", secrets.token_urlsafe(32)
        return self._key

    def knows(self, key: str) -> bool:
        """Whether this is the cookie that was given out."""
        return bool(self._key) and hmac.compare_digest(key.encode(), self._key.encode())


def guard(door: Door) -> Any:
    """The middleware that turns away whoever may not come in, and says what the page may do."""
    from aiohttp import web

    headers = {
        "Content-Security-Policy": _POLICY.format(own=door.own),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    @web.middleware
    async def own_pages_only(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        foreign = bool(origin) and origin != f"http://{door.own}"
        # A browser always names the page that opens a socket; what does not is none.
        if request.host != door.own or foreign or (request.path == "/ws" and not origin):
            raise web.HTTPForbidden(text="The dashboard answers its own page alone.", headers=headers)
        if not door.knows(request.cookies.get(door.cookie, "")):
            key = door.open(request.query.get("token", "")) if request.path == "/" else ""
            if not key:
                raise web.HTTPForbidden(
                    text="Open the address that the command has printed; it is good for one browser, once.",
                    headers=headers,
                )
            entered = web.HTTPSeeOther("/", headers=headers)
            entered.set_cookie(door.cookie, key, httponly=True, samesite="Strict")
            raise entered
        return await handler(request)

    return own_pages_only, headers


def make_server(command: str, port: int, door: Door) -> Any:
    """textual-serve's server for ``command`` behind ``door``; one dashboard at a time, the last that came."""
    from aiohttp import web
    from textual_serve.server import Server

    middleware, headers = guard(door)

    class Loopback(Server):
        """textual-serve, for its own page."""

        _shown: asyncio.Task[Any] | None = None

        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(middleware)
            app.router.add_get("/font.css", self.handle_font)

            async def prepare(_: web.Request, response: web.StreamResponse) -> None:
                response.headers.update(headers)

            app.on_response_prepare.append(prepare)
            return app

        async def on_startup(self, app: Any) -> None:  # noqa: ARG002
            print(f"stockllm: http://{door.own}/?token={door.token} (Ctrl-C)", flush=True)

        async def handle_index(self, request: web.Request) -> Any:
            page = await super().handle_index(request)
            assert isinstance(page, web.Response)
            page.text = (page.text or "").replace(_FOREIGN_FONT, f"http://{door.own}/font.css")
            return page

        async def handle_font(self, _: web.Request) -> web.Response:
            return web.Response(text=_OWN_FONT, content_type="text/css")

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            before, self._shown = self._shown, asyncio.current_task()
            if before is not None and not before.done():
                before.cancel()  # the same browser again: its older page is closed
                await asyncio.wait([before], timeout=10)
            return await super().handle_websocket(request)

    return Loopback(command, host=HOST, port=port, title="stockllm")


def serve(port: int, arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C; whoever has the token gets a dashboard, started with ``arguments``.

    WebFailed where the port is taken.
    """
    command = shlex.join([sys.executable, "-m", "stockllm.tui.app", *arguments])
    try:
        make_server(command, port, Door(port)).serve()
    except OSError as error:
        raise WebFailed(
            f"Port {port} of this machine cannot be served ({error.strerror}): choose another with --port.",
            zh=f"本機的連接埠 {port} 無法使用（{error.strerror}）：請用 --port 換一個。",
        ) from error
