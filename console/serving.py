"""The console in a browser: textual-serve behind a secret path on the loopback interface.

The browser shows a terminal, each window a process of its own. The secret is the first part of the
path, so that the page, what it loads and its websocket all carry it; without it the answer is 403.
"""

import asyncio
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from aiohttp import web
from aiohttp.typedefs import Handler
from textual_serve.server import Server

from ups.errors import UsageError

_HOST = "127.0.0.1"
_LEAVE_S = 5.0
"""A console that takes longer to leave is killed; what it has launched goes on."""
_POLICY = "default-src 'self' 'unsafe-inline' data: blob:; connect-src 'self' ws://{host}"
"""The page of textual-serve names a font of another host: nothing is fetched there."""
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def serve(home: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, then end every console that a browser has opened.

    Args:
        home: the console's home.
        port: on 127.0.0.1; 0: a free one.
        ready: told the address once it can be opened.

    Raises:
        UsageError: the port is taken, or may not be used.
    """
    try:
        listening = socket.create_server((_HOST, port))
    except OSError as error:
        raise UsageError(
            f"cannot listen on {_HOST}:{port}: {error.strerror}", hint="name another --port"
        ) from None
    with listening:
        address = f"http://{_HOST}:{listening.getsockname()[1]}"
        os.environ["UPS_HOME"] = str(home.absolute())
        secret = secrets.token_urlsafe(24)
        server = _Consoles(address)
        web.run_app(
            _behind(secret, address, server, lambda: ready(f"{address}/{secret}/")),
            sock=listening,
            print=None,
            access_log=None,  # it would hold the secret
            shutdown_timeout=_LEAVE_S,
        )


async def _behind(
    secret: str, address: str, server: "_Consoles", ready: Callable[[], None]
) -> web.Application:
    """The server's own application below the secret path, and 403 for all else."""
    host = address.removeprefix("http://")

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.path.split("/")[1]
        own_page = request.headers.get("Origin", address) == address
        # Another name for this machine would be a page of another site that points its name here.
        if (
            request.host != host
            or not own_page
            or not secrets.compare_digest(given.encode(), secret.encode())
        ):
            return web.Response(status=403, text="403: open the address that `ups-console serve` printed\n")
        return await handler(request)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = _POLICY.format(host=host)

    async def tell(app: web.Application) -> None:
        ready()

    outer = web.Application(middlewares=[guard])
    outer.on_response_prepare.append(add_headers)
    outer.add_subapp(f"/{secret}", await server.application())
    outer.on_startup.append(tell)
    return outer


class _Consoles(Server):
    """textual-serve's server; says nothing itself and leaves no console behind."""

    def __init__(self, address: str) -> None:
        command = f"exec {shlex.quote(sys.executable)} -m console.tui"
        super().__init__(command, host=_HOST, title="ups-console", public_url=address)
        self._sessions: set[asyncio.Task[object]] = set()

    async def application(self) -> web.Application:
        return await self._make_app()

    async def on_startup(self, app: web.Application) -> None:
        """Nothing: the command prints the address."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Tell every console to leave, and kill those that do not."""
        consoles = psutil.Process().children()
        for session in self._sessions:
            session.cancel()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=_LEAVE_S)
        for console in consoles:
            if console.is_running():
                console.kill()

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One browser window, from its first byte to its last."""
        session: asyncio.Task[object] | None = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        try:
            return await super().handle_websocket(request)
        finally:
            self._sessions.discard(session)
