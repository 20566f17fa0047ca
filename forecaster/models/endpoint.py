"""An OpenAI-compatible server (vLLM, llama.cpp, ollama, ``transformers serve``) and how it is asked.

``openai:BASE_URL#NAME`` names one: ``openai:http://127.0.0.1:8000/v1#my-model``. Every request has a
time limit as a whole; what may pass (a refused connection, a time-out, HTTP 429 or 5xx) is asked again
after a pause that doubles. No redirect is followed, and the key goes to the named server alone.
"""

from __future__ import annotations

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from stockllm.data.errors import ModelUnavailable, UsageError

if TYPE_CHECKING:
    import requests
    from pydantic import SecretStr

    from stockllm.data.paths import Home

T = TypeVar("T")

PREFIX = "openai:"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: The first pause before a request is sent again, in seconds, and the longest.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
_CONNECT = 10.0
_LARGEST = 32 * 1024 * 1024
_PASSING = (408, 409, 425, 429)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's base address, the model asked of it, and how patiently it is asked."""

    url: str
    model: str
    key: SecretStr | None = field(default=None, repr=False, compare=False)
    timeout: float = field(default=120.0, compare=False)
    retries: int = field(default=3, compare=False)
    parallel: int = field(default=4, compare=False)

    @classmethod
    def parse(cls, name: str, home: Home) -> Endpoint:
        """``openai:BASE_URL#NAME`` with the settings of ``home``; UsageError where it is malformed."""
        from stockllm.data.settings import Settings

        base, _, model = name.removeprefix(PREFIX).partition("#")
        base, model = base.strip(), model.strip()
        try:
            parts = urlsplit(base)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or not model:
            raise UsageError(
                f"'{_without_secret(name)}' names no server: write openai:BASE_URL#MODEL, such as "
                "openai:http://127.0.0.1:8000/v1#my-model.",
                zh=f"「{_without_secret(name)}」不是伺服器：請寫成 openai:網址#模型，例如 "
                "openai:http://127.0.0.1:8000/v1#my-model。",
            )
        if parts.username or parts.password or parts.query:
            raise UsageError(
                "The address of a server carries no key or password: set STOCKLLM_OPENAI_KEY, which is "
                "never written down.",
                zh="伺服器網址中不可帶金鑰或密碼：請設定 STOCKLLM_OPENAI_KEY，它不會被寫下來。",
            )
        path = parts.path.rstrip("/") or "/v1"
        given = Settings.load(home)
        return cls(
            f"{parts.scheme}://{parts.netloc.lower()}{path}",
            model,
            given.openai_key,
            given.openai_timeout,
            given.openai_retries,
            given.openai_parallel,
        )

    @property
    def name(self) -> str:
        """What documents and the ledger call it."""
        return f"{PREFIX}{self.url}#{self.model}"

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


class Turned(Exception):
    """The server does not take a request as it is: HTTP 400, 404, 413 or 422, and its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class _Passing(Exception):
    """What may be gone when it is asked again. ``after``: seconds the server asks to be left alone."""

    def __init__(self, en: str, zh: str, after: float | None = None) -> None:
        super().__init__(en)
        self.zh, self.after = zh, after


def ask(endpoint: Endpoint, path: str, body: Any = None, pause: Callable[[float], None] = time.sleep) -> Any:
    """The JSON document that a path answers, by POST where there is a ``body``.

    :raises Turned: where the server does not take the request as it is.
    :raises ModelUnavailable: where there is no answer, or none that can be understood.
    """
    for attempt in range(endpoint.retries + 1):
        try:
            status, content = _send(endpoint, path, body)
            return _document(endpoint, status, content)
        except _Passing as failure:
            if attempt == endpoint.retries:
                tries = "once" if not attempt else f"{attempt + 1} times"
                raise ModelUnavailable(
                    f"The server at {endpoint.host} {failure} (asked {tries}): see that it runs and what its "
                    "log says, or raise openai_timeout in the settings.",
                    zh=f"{endpoint.host} 的伺服器{failure.zh}（已問 {attempt + 1} 次）：請看它是否在執行、"
                    "記錄檔怎麼說，或調高設定 openai_timeout。",
                ) from failure
            pause(min(LONGEST_PAUSE, failure.after or PAUSE * 2**attempt))
    raise AssertionError("unreachable")


def _send(endpoint: Endpoint, path: str, body: Any) -> tuple[int, bytes]:
    """One request and its whole answer, in the time there is."""
    import requests
    import urllib3

    deadline = time.monotonic() + endpoint.timeout
    parts = urlsplit(endpoint.url)
    local = parts.hostname in LOOPBACK
    if endpoint.key is not None and parts.scheme == "http" and not local:
        raise UsageError(
            f"The key is not sent to {endpoint.host} unencrypted: write https:// in --model, or unset "
            "STOCKLLM_OPENAI_KEY.",
            zh=f"金鑰不會以未加密方式送往 {endpoint.host}：請在 --model 使用 https://，或取消 "
            "STOCKLLM_OPENAI_KEY。",
        )
    try:
        with requests.request(
            "GET" if body is None else "POST",
            endpoint.url + path,
            json=body,
            auth=lambda request: _with_key(endpoint, request),
            timeout=(min(_CONNECT, endpoint.timeout), endpoint.timeout),
            allow_redirects=False,
            stream=True,
            proxies={"http": "", "https": ""} if local else None,
        ) as response:
            after = response.headers.get("Retry-After", "")
            content = _body(response, deadline, endpoint)
            status = response.status_code
    except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
        raise _slow(endpoint) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if "timed out" in str(error).lower():
            raise _slow(endpoint) from error
        cause = _cause(error)
        raise _Passing(f"cannot be reached ({cause})", f"無法連線（{cause}）") from error
    if status in _PASSING or status >= 500:
        words = _clipped(_words(content), endpoint)
        wait = float(after) if after.isdigit() else None
        raise _Passing(f"answered HTTP {status} ({words})", f"回應 HTTP {status}（{words}）", wait)
    return status, content


def _with_key(endpoint: Endpoint, request: Any) -> Any:
    """Being an authentication of our own it also keeps requests from looking one up in ~/.netrc."""
    if endpoint.key is not None:
        request.headers["Authorization"] = f"Bearer {endpoint.key.get_secret_value()}"
    return request


def _body(response: requests.Response, deadline: float, endpoint: Endpoint) -> bytes:
    """What arrives until the deadline, which a server that drips passes between two drops."""
    parts, size = [], 0
    while part := response.raw.read1(65536, decode_content=True):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise _slow(endpoint)
        if size > _LARGEST:
            raise _Passing("answered without end", "的回應沒有結束")
    return b"".join(parts)


def _slow(endpoint: Endpoint) -> _Passing:
    return _Passing(f"did not answer within {endpoint.timeout:g} s", f"在 {endpoint.timeout:g} 秒內沒有回應")


def _document(endpoint: Endpoint, status: int, content: bytes) -> Any:
    if status in (401, 403):
        raise ModelUnavailable(
            f"The server at {endpoint.host} turned the request away with HTTP {status}: set the key it knows "
            "as STOCKLLM_OPENAI_KEY, or openai_key in the settings.",
            zh=f"{endpoint.host} 的伺服器以 HTTP {status} 拒絕：請設定 STOCKLLM_OPENAI_KEY，或設定檔中的 "
            "openai_key。",
        )
    if status in (400, 404, 405, 413, 422):
        raise Turned(status, _clipped(_words(content), endpoint))
    try:
        if status != 200:
            raise ValueError(f"HTTP {status}")
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise not_understood(endpoint) from error


def not_understood(endpoint: Endpoint) -> ModelUnavailable:
    """The sentence for an answer that is not the API's."""
    return ModelUnavailable(
        f"{endpoint.url} answers, but not as an OpenAI-compatible API: see that the address is its base, "
        "such as http://127.0.0.1:8000/v1.",
        zh=f"{endpoint.url} 有回應，但不是 OpenAI 相容的 API：請確認網址是它的根，例如 "
        "http://127.0.0.1:8000/v1。",
    )


def _words(content: bytes) -> str:
    """The server's own explanation, wherever it puts it; the first words of anything else."""
    text = content[:4000].decode("utf-8", "replace")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return text
    for _ in range(3):
        if not isinstance(document, dict):
            break
        document = next((document[k] for k in ("error", "detail", "message") if document.get(k)), text)
    return document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)


def _clipped(words: str, endpoint: Endpoint) -> str:
    """One line of at most 160 characters, without the key should the server repeat it."""
    if endpoint.key is not None:
        words = words.replace(endpoint.key.get_secret_value(), "***")
    words = " ".join("".join(c if c.isprintable() else " " for c in words).split()).rstrip(".")
    return (words[:159] + "…" if len(words) > 160 else words) or "no words"


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words."""
    while True:
        held = (getattr(error, "reason", None), *error.args)
        inner = [one for one in held if isinstance(one, BaseException)]
        if not inner:
            break
        error = inner[-1]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = re.sub(r"\[Errno \d+\] ", "", text.rpartition(": ")[2])
    return (" ".join(words.split()).rstrip(".") or type(error).__name__)[:120]


def _without_secret(name: str) -> str:
    """A malformed name to show: what stands before an @ may be a password."""
    return f"{PREFIX}…@{name.rpartition('@')[2]}" if "@" in name.partition("#")[0] else name


def together(jobs: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """What the jobs give, in their order, ``workers`` at a time.

    The first error is raised at once. The threads are daemons: one that waits for a server that hangs
    holds up neither an error nor Ctrl-C.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, T | BaseException, bool]] = queue.SimpleQueue()
    stop = threading.Event()
    for index in range(len(jobs)):
        waiting.put(index)

    def work() -> None:
        while not stop.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, jobs[index](), True))
            except BaseException as error:
                done.put((index, error, False))
                return

    for _ in range(min(workers, len(jobs))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Any] = {}
    try:
        while len(found) < len(jobs):
            index, result, good = done.get()
            if not good:
                assert isinstance(result, BaseException)
                raise result
            found[index] = result
    finally:
        stop.set()
    return [found[index] for index in range(len(jobs))]
