"""A stand-in for an OpenAI-compatible server on loopback, with the manners and faults of real ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What OpenAI's own API takes; the rest of a body is answered as each kind of server does.
PLAIN = {"model", "messages", "max_tokens", "temperature", "top_p", "seed", "n"}


class OpenAIStandIn:
    """Serve ``answer(messages, seed)`` as the model ``name``. Use it as a context manager.

    ``kind`` is the server whose manners it has: "vllm" takes every field and ``n``; "transformers" refuses
    fields it does not know, ignores ``n`` and has no list of models; "openai" refuses what its API has not.
    ``faults`` befall the next requests, one each: a status, "hang", "drip", "cut", "html" or "odd".
    """

    def __init__(self, answer: Callable[[list[dict[str, str]], int], str], kind: str = "vllm") -> None:
        self.answer, self.kind, self.name = answer, kind, "candles"
        self.key: str | None = None
        self.faults: list[int | str] = []
        self.always: int | str | None = None
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}/v1"
        self.model = f"openai:{self.url}#{self.name}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> OpenAIStandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The bodies of the questions to the model, in the order they came."""
        return [body for path, body, _ in self.seen if path.endswith("/chat/completions")]

    def respond(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
        """Status and document of one request."""
        with self._lock:
            self.seen.append((path, body, headers))
            fault = self.always
            if fault is None and self.faults and path.endswith("/chat/completions"):
                fault = self.faults.pop(0)
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"error": {"message": f"Incorrect API key provided: {headers.get('Authorization')}"}}
        if isinstance(fault, int):
            return fault, {"error": {"message": "the engine is out of memory"}}
        if fault:
            return -1, fault
        if path == "/v1/models":
            row = {"id": self.name, "object": "model", "created": len(self.seen), "owned_by": self.kind}
            return (500, "no cache") if self.kind == "transformers" else (200, {"data": [row]})
        if path != "/v1/chat/completions":
            return 404, {"detail": "Not Found"}
        return self._chat(body)

    def _chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        known = PLAIN | {"transformers": {"generation_config", "chat_template_kwargs"}, "openai": set()}.get(
            self.kind, set(body)
        )
        if set(body) - known:
            words = f"Unexpected fields: {sorted(set(body) - known)}"
            return (422, {"detail": words}) if self.kind == "transformers" else (400, {"error": words})
        if body["model"] != self.name:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        count = 1 if self.kind == "transformers" else body.get("n", 1)
        texts = [self.answer(body["messages"], body["seed"] + k) for k in range(count)]
        choices = [{"index": k, "message": {"role": "assistant", "content": t}} for k, t in enumerate(texts)]
        return 200, {"object": "chat.completion", "choices": choices}

    def _handler(owner) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self._answer(json.loads(self.rfile.read(length)))

            def _answer(self, body: dict[str, Any]) -> None:
                status, document = owner.respond(self.path, body, dict(self.headers))
                if status == -1:
                    self._fault(document)
                    return
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _fault(self, fault: str) -> None:
                if fault == "hang":
                    owner.released.wait(20)
                    return
                self.send_response(200)
                if fault == "html":
                    self.end_headers()
                    self.wfile.write(b"<html>Welcome</html>")
                elif fault == "odd":
                    self.end_headers()
                    self.wfile.write(b'{"choices": [{"text": "not a chat"}]}')
                elif fault == "cut":
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [')
                elif fault == "drip":
                    self.end_headers()
                    while not owner.released.wait(0.02):
                        try:
                            self.wfile.write(b" ")
                            self.wfile.flush()
                        except OSError:
                            return

            def log_message(self, *_: object) -> None:
                pass

        return Handler
