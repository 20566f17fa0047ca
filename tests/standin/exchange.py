"""The store's exchange behind its real server, for tests that speak to it over HTTP."""

from __future__ import annotations

import threading
from typing import Any

import requests

from stockllm.trading.exchange.exchange import Exchange


class Served:
    """An exchange behind its server, in a thread of this process."""

    def __init__(self, exchange: Exchange, rate: float = 10_000) -> None:
        from stockllm.trading.server.serve import Server, Terms, listen

        self.exchange = exchange
        ready = threading.Event()
        self._listener = listen("127.0.0.1", 0)
        self._server = Server(exchange, Terms(rate), ready.set)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        assert ready.wait(30)
        self.root = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.session = requests.Session()

    def university(self, call: str, **form: object) -> dict[str, Any]:
        """POST a form as the university's clients do."""
        answer = self.session.post(f"{self.root}/stock/api/v1/{call}", data=form, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def close(self) -> None:
        self.session.close()
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()
