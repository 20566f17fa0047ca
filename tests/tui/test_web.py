"""The web version: loopback alone, its own page alone, and the same dashboard in it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import aiohttp
import pytest

from stockllm.data.paths import Home


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def served(home: Home, port: int) -> Iterator[str]:
    command = [sys.executable, "-m", "stockllm.tui.app", "--web", "--port", str(port)]
    with subprocess.Popen(
        command,
        env=os.environ | {"STOCKLLM_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().split()[1]
        assert address.startswith(f"http://127.0.0.1:{port}/?token=")
        yield address
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def test_the_dashboard_comes_through_the_socket_and_other_pages_are_turned_away(
    served: str, port: int, client: aiohttp.ClientSession
) -> None:
    root = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:  # without the token it answers, and shows nothing
        with suppress(aiohttp.ClientConnectorError):
            async with client.get(root) as answer:
                assert answer.status == 403
                break
        assert time.monotonic() < deadline
    async with client.get(f"{root}/?token=guess") as answer:
        assert answer.status == 403
    async with client.get(served) as answer:
        assert (answer.status, str(answer.url)) == (200, f"{root}/")
        page = await answer.text()
        assert "stockllm" in page
        assert "googleapis" not in page
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for own in ("font.css", "static/fonts/RobotoMono-VariableFont_wght.ttf", "static/js/textual.js"):
        async with client.get(f"{root}/{own}") as answer:
            assert answer.status == 200
    async with aiohttp.ClientSession() as other:  # the token has been used
        for url in (served, root, f"{root}/static/js/textual.js"):
            async with other.get(url) as answer:
                assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await other.ws_connect(f"{root}/ws", headers={"Origin": root})
        assert refused.value.status == 403
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{root}/ws", headers=headers)
        assert refused.value.status == 403
    async with client.get(root, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    seen = b""
    async with client.ws_connect(f"{root}/ws?width=120&height=40", headers={"Origin": root}) as page:
        while "光寶科".encode() not in seen:
            message = await page.receive(timeout=60)
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT)
            if message.type == aiohttp.WSMsgType.BINARY:
                seen += message.data
        await page.send_json(["stdin", "l"])
        while b"LITEON" not in seen:
            message = await page.receive(timeout=60)
            if message.type == aiohttp.WSMsgType.BINARY:
                seen += message.data
        # A second page of the same browser takes the first one's place.
        async with client.ws_connect(f"{root}/ws", headers={"Origin": root}) as second:
            while (await page.receive(timeout=60)).type != aiohttp.WSMsgType.CLOSE:
                pass
            assert (await second.receive(timeout=60)).type == aiohttp.WSMsgType.BINARY
    # Another that wants the same port is told so in one sentence.
    again = subprocess.run(
        [sys.executable, "-m", "stockllm.tui.app", "--web", "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 1
    assert again.stderr.strip().startswith(f"本機的連接埠 {port} 無法使用")
    assert "Traceback" not in again.stderr


def test_a_port_needs_web_and_is_a_port() -> None:
    for arguments in (["--port", "8000"], ["--web", "--port", "99999"]):
        wrong = subprocess.run(
            [sys.executable, "-m", "stockllm.tui.app", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert wrong.returncode == 2
