"""Connections of the exchange's server: none may stand idle for long, and none keeps others out.

uvicorn waits forever for a request that never comes or never ends, and answers 503 to everybody once there
are too many. Here a head has its time, and where there are too many connections the one that has been idle
the longest makes room.
"""

from __future__ import annotations

import asyncio
import json
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds that a request's head may take to come in, from the connection's first moment.
HEAD_S = 10.0
#: Seconds that a connection may stand idle between two requests.
KEEP_ALIVE_S = 20
#: Connections of one address, and of all together.
MOST_OF_ADDRESS, MOST = 300, 1000

# What the process needs besides for the store, the logs and itself.
_OTHER_FILES = 100


def most_connections() -> int:
    """How many connections the system's limit on open files allows, `MOST` at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(50, min(MOST, soft - _OTHER_FILES))


def protocol() -> type[Any]:
    """The class of a server's connections, which know of each other."""
    everything: dict[Any, None] = {}  # those that were active longest ago come first
    limit, of_address, head = most_connections(), MOST_OF_ADDRESS, HEAD_S

    class Connection(H11Protocol):
        """A connection that is closed where it idles or stands in the way."""

        _timer: asyncio.TimerHandle | None = None
        _address = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            everything[self] = None
            self._wait_for_head()
            own = [one for one in everything if one._address == self._address]
            if len(own) > of_address:
                self._make_room(own)
            elif len(everything) > limit:
                self._make_room(list(everything))

        def connection_lost(self, exc: Exception | None) -> None:
            everything.pop(self, None)
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._timer is None and not self.busy:
                self._wait_for_head()
            super().data_received(data)
            if self.busy:
                self._stop_waiting()
                everything.pop(self, None)
                everything[self] = None

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.busy and self.conn.trailing_data[0]:
                self._wait_for_head()  # the beginning of another request came with the last one

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002
            """What is no HTTP at all, in the protocol's own form."""
            body = json.dumps({"result": "failed", "status": "格式錯誤"}, ensure_ascii=False).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        @property
        def busy(self) -> bool:
            """Whether a request is being answered."""
            return self.cycle is not None and not self.cycle.response_complete

        def _make_room(self, others: list[Any]) -> None:
            """Close the one that has been idle longest; the newest itself where all are busy."""
            (next((one for one in others if one is not self and not one.busy), self)).drop()

        def _wait_for_head(self) -> None:
            self._stop_waiting()
            self._timer = self.loop.call_later(head, self.drop)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def drop(self) -> None:
            """Close the connection now, whether or not the other side reads."""
            everything.pop(self, None)
            self._stop_waiting()
            self.transport.abort()

    return Connection
