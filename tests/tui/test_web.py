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
        assert str(port) in process.stdout.readline().decode()
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_dashboard_comes_through_the_socket_and_other_pages_are_turned_away(
    served: str, port: int, client: aiohttp.ClientSession
) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(aiohttp.ClientConnectorError):
            async with client.get(served) as answer:
                assert answer.status == 200
                assert "stockllm" in await answer.text()
                break
        assert time.monotonic() < deadline
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{served}/ws", headers=headers)
        assert refused.value.status == 403
    async with client.get(served, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
    seen = b""
    async with client.ws_connect(f"{served}/ws?width=120&height=40", headers={"Origin": served}) as page:
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
