"""Who may come in through the browser: the token once, the cookie after that, one dashboard at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer, unused_port

from stockllm.tui.web import Door, make_server


class FakeDashboard:
    """Stands in for the process that textual-serve starts for a page."""

    running = 0

    def __init__(self, *_: Any, write_bytes: Any, **__: Any) -> None:
        self._write = write_bytes
        self._alive = False

    async def start(self, width: int, height: int) -> None:
        FakeDashboard.running += 1
        self._alive = True
        await self._write(b"hello")

    async def stop(self) -> None:
        if self._alive:
            FakeDashboard.running -= 1
        self._alive = False


@pytest.fixture
def door() -> Door:
    return Door(unused_port())


@pytest.fixture
async def root(door: Door, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr("textual_serve.server.AppService", FakeDashboard)
    port = int(door.own.rpartition(":")[2])
    app = await make_server("none", port, door)._make_app()
    async with TestServer(app, host="127.0.0.1", port=port):
        yield f"http://{door.own}"
    assert FakeDashboard.running == 0


def browser() -> aiohttp.ClientSession:
    """A client that keeps cookies of an address that is a number, as browsers do."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def status(client: aiohttp.ClientSession, url: str, **more: Any) -> int:
    async with client.get(url, **more) as answer:
        return answer.status


async def test_the_token_opens_once_and_the_cookie_stays(root: str, door: Door) -> None:
    token = door.token
    address = f"{root}/?token={token}"
    async with browser() as mine, browser() as other:
        for path in ("/", "/?token=", "/?token=guess", "/static/js/textual.js", "/font.css", "/download/x"):
            assert await status(other, root + path) == 403, path
        async with mine.get(address, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            given = answer.headers["Set-Cookie"]
            assert "HttpOnly" in given
            assert "SameSite=Strict" in given
            assert token not in given
        for path in (
            "/",
            "/static/js/textual.js",
            "/font.css",
            "/static/fonts/RobotoMono-VariableFont_wght.ttf",
        ):
            assert await status(mine, root + path) == 200, path
        assert await status(other, address) == 403, "it is spent"
        assert await status(other, root, headers={"Cookie": f"{door.cookie}=guess"}) == 403
        assert await status(mine, root, headers={"Host": "evil.example"}) == 403
        assert await status(mine, root, headers={"Origin": "http://evil.example"}) == 403


async def test_the_page_asks_no_other_host_and_is_framed_by_none(root: str, door: Door) -> None:
    token = door.token
    async with browser() as client, client.get(f"{root}/?token={token}") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        for address in re.findall(r"(?:src|href|url)\s*=\s*[\"'](\w+://[^\"']*)", page):
            assert address.startswith(f"{root}/") or address.startswith(f"ws://{door.own}/"), address
        assert "googleapis" not in page
        assert token not in page


async def test_a_socket_needs_the_page_and_the_cookie_and_the_last_one_counts(root: str, door: Door) -> None:
    own = {"Origin": root}
    async with browser() as client:
        for headers in (own, {}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{root}/ws", headers=headers)
            assert refused.value.status == 403
        assert await status(client, f"{root}/?token={door.token}") == 200
        for headers in ({}, {"Origin": "null"}, {"Origin": "http://evil.example"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{root}/ws", headers=headers)
            assert refused.value.status == 403
        async with client.ws_connect(f"{root}/ws", headers=own) as first:
            assert (await first.receive(timeout=10)).data == b"hello"
            async with client.ws_connect(f"{root}/ws", headers=own) as second:
                assert (await second.receive(timeout=10)).data == b"hello"
                assert (await first.receive(timeout=10)).type == aiohttp.WSMsgType.CLOSE
                assert FakeDashboard.running == 1
