"""``stockllm-tui --web``: the dashboard in a browser of this machine, through textual-serve.

textual-serve asks nobody who they are. So it listens on the loopback alone, and answers no page of
another site: else any page open in the same browser could press keys here.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from stockllm.data.errors import StockllmError

HOST = "127.0.0.1"
PORT = 8000


class WebFailed(StockllmError):
    """The web version cannot be served."""


def serve(port: int, arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C; each visitor gets a dashboard of their own, started with ``arguments``.

    WebFailed where the port is taken.
    """
    from aiohttp import web
    from textual_serve.server import Server

    own = {f"{name}:{port}" for name in (HOST, "localhost")}

    @web.middleware
    async def own_pages_only(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        foreign = bool(origin) and origin.removeprefix("http://") not in own
        # A browser always names the page that opens a socket; what does not is none.
        if request.host not in own or foreign or (request.path == "/ws" and not origin):
            raise web.HTTPForbidden(text="The dashboard answers its own page alone.")
        return await handler(request)

    class Loopback(Server):
        """textual-serve, for its own page."""

        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(own_pages_only)
            return app

        async def on_startup(self, app: Any) -> None:  # noqa: ARG002
            print(f"stockllm: http://{HOST}:{port} (Ctrl-C)", flush=True)

    command = shlex.join([sys.executable, "-m", "stockllm.tui.app", *arguments])
    try:
        Loopback(command, host=HOST, port=port, title="stockllm").serve()
    except OSError as error:
        raise WebFailed(
            f"Port {port} of this machine cannot be served ({error.strerror}): choose another with --port.",
            zh=f"本機的連接埠 {port} 無法使用（{error.strerror}）：請用 --port 換一個。",
        ) from error
