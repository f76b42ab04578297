"""The console in a browser: for whoever has the address, and for nobody else."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.home import Home
from tests.console.tui.conftest import record_run

pytestmark = pytest.mark.needs_module("textual_serve")
PATIENCE = 60.0
BROWSER = "chromium"


@contextlib.contextmanager
def served(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`ups-console serve` and the address that it prints."""
    command = [sys.executable, "-m", "console.cli.app", "serve", "--home", str(home), *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "UPS_HOME": ""},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(PATIENCE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    record_run(Home(tmp_path / "home"), "1130-seen", epochs=1, done="succeeded")
    return tmp_path / "home"


async def status_of(url: str, **headers: str) -> int:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status


async def read_until(websocket: Any, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(PATIENCE):
        while text not in re.sub(rb"\x1b\[[0-9;]*m", b"", seen):
            message = await websocket.receive()
            assert isinstance(message.data, bytes | str), message
            seen += message.data if isinstance(message.data, bytes) else b""
    return seen


def consoles_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def test_only_the_printed_address_opens_the_console_and_an_interrupt_ends_all(home: Path) -> None:
    import aiohttp

    with served(home) as (process, url):
        base, secret = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/", url).groups()  # type: ignore[union-attr]
        assert await status_of(url) == 200
        assert await status_of(url + "static/css/xterm.css") == 200
        for path in (
            "/",
            "/ws",
            "/static/css/xterm.css",
            "/x" + secret + "/",
            "/" + secret[:-1] + "/ws",
            "/ä/",
        ):
            assert await status_of(base + path) == 403
        assert await status_of(url, Host="rebound.example") == 403
        assert await status_of(url, Origin="http://elsewhere.example") == 403
        async with aiohttp.ClientSession() as session:
            for wrong in (f"{base}/ws", f"{base}/{secret[::-1]}/ws"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(wrong)
                assert refused.value.status == 403
            assert consoles_of(process) == []
            async with session.ws_connect(f"{url}ws?width=120&height=40") as first:
                await read_until(first, b"before paying")
                await first.send_json(["stdin", "5"])
                await read_until(first, b"1130-seen")
                (console,) = consoles_of(process)
                process.send_signal(signal.SIGINT)
                await asyncio.to_thread(process.wait, PATIENCE)
        assert process.returncode == 0
        psutil.wait_procs([console], timeout=PATIENCE)
        assert not console.is_running()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2])))


async def test_a_window_that_is_closed_ends_its_console_and_no_other(home: Path) -> None:
    import aiohttp

    with served(home) as (process, url):
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "ws") as kept:
            await read_until(kept, b"Launch")
            (other,) = consoles_of(process)
            async with session.ws_connect(url + "ws") as left:
                await read_until(left, b"Launch")
                (closed,) = set(consoles_of(process)) - {other}
            await asyncio.to_thread(psutil.wait_procs, [closed], PATIENCE)
            assert not closed.is_running()
            assert other.is_running()
            process.kill()  # which leaves the server no time to end anything
            await asyncio.to_thread(psutil.wait_procs, [other], PATIENCE)
            assert not other.is_running()


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with served(home, "--port", port) as (process, line):
            assert process.wait(PATIENCE) == 2
            assert f"cannot listen on 127.0.0.1:{port}" in line


def test_without_textual_serve_it_says_what_to_install(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['textual_serve'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.app", "serve", "--home", str(home), "--json"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 3
    assert "ups-console[serve]" in json.loads(done.stderr)["error"]["hint"]


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Any]:
    """A headless browser's page as a function that sends it a command of the DevTools protocol."""
    import aiohttp

    process = subprocess.Popen(
        [shutil.which(BROWSER) or BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
         "--window-size=1200,760", "--no-first-run", "--remote-debugging-port=0",
         f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        told, until = profile / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not (told.exists() and told.read_text()) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{told.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/json") as response:
                page = next(entry for entry in await response.json() if entry["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as websocket:
                sent = 0

                async def call(method: str, **parameters: Any) -> Any:
                    nonlocal sent
                    sent += 1
                    await websocket.send_json({"id": sent, "method": method, "params": parameters})
                    while (answer := await websocket.receive_json(timeout=PATIENCE)).get("id") != sent:
                        pass
                    return answer.get("result")

                yield call
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.needs_program(BROWSER)
async def test_a_browser_shows_the_console_and_sends_its_keys(home: Path, tmp_path: Path) -> None:
    with served(home) as (process, url):
        async with browser(tmp_path / "profile") as call:

            async def until(state: str) -> None:
                async with asyncio.timeout(PATIENCE):
                    while state not in str(
                        await call("Runtime.evaluate", expression="document.body.className")
                    ):
                        await asyncio.sleep(0.1)

            async def press(key: str) -> None:
                await call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
                await call("Input.dispatchKeyEvent", type="keyUp", key=key)

            await call("Page.navigate", url=url)
            await until("-first-byte")
            assert len(consoles_of(process)) == 1
            await call("Runtime.evaluate", expression="document.querySelector('textarea').focus()")
            before = await call("Page.captureScreenshot")
            await press("3")
            async with asyncio.timeout(PATIENCE):
                while await call("Page.captureScreenshot") == before:
                    await asyncio.sleep(0.2)
            await press("q")
            await until("-closed")
            await asyncio.to_thread(psutil.wait_procs, consoles_of(process), PATIENCE)
            assert consoles_of(process) == []
