"""A proxy on loopback before an S3 server: counts what passes, slows it down, and breaks what it is told to.

Requests pass as they are, so that their signatures stay valid. Faults are for the requests that a test
names; each is used up.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_CHUNK = 64 * 1024


@dataclass
class Fault:
    """What happens to requests of one method."""

    method: str
    times: int = 1
    status: int = 0
    """Answer with this instead of passing it on."""
    code: str = "ServiceUnavailable"
    cut_after: int | None = None
    """Pass on so many bytes of the answer's body, then close the connection."""
    stall_after: int | None = None
    """The same, but leave it open and silent."""
    flip: bool = False
    """Change the last byte of the answer's body."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that reached the server."""

    method: str
    path: str
    """With its query."""
    sent: int
    """Bytes of its body."""
    received: int
    """Of the answer's body."""
    status: int


@dataclass
class Courier:
    """The proxy, while it is open."""

    upstream: str
    bytes_per_second: float | None = None
    """Of each connection, in each direction."""
    faults: list[Fault] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    refused: int = 0
    """Requests that were answered by a fault."""
    moved: int = 0
    """Bytes of bodies so far, of requests that are under way too."""
    active: int = 0
    """Requests that are under way."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Courier":
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def settle(self) -> None:
        """Wait until nothing is under way any more."""
        while self.active:
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self.faults.clear()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, method: str) -> Fault | None:
        """The fault for this request, used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def sent(self, method: str = "PUT") -> int:
        """Bytes of bodies that reached the server and were accepted."""
        with self.lock:
            return sum(one.sent for one in self.passed if one.method == method and one.status < 300)

    def received(self) -> int:
        """Bytes of answers to GET."""
        with self.lock:
            return sum(one.received for one in self.passed if one.method == "GET" and one.status < 300)

    def pause(self, count: int) -> None:
        """As long as so many bytes take."""
        with self.lock:
            self.moved += count
        if self.bytes_per_second is not None:
            time.sleep(count / self.bytes_per_second)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Courier

    def log_message(self, *_: Any) -> None:
        pass

    def _pass(self) -> None:
        fault = self.owner.take(self.command)
        body = self._body()
        if fault is not None and fault.status:
            self._refuse(fault)
            return
        where = urlsplit(self.owner.upstream)
        connection = HTTPConnection(str(where.hostname), where.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            received = self._answer(answer, fault)
        finally:
            connection.close()
        with self.owner.lock:
            self.owner.passed.append(Passed(self.command, self.path, len(body), received, answer.status))

    def do_GET(self) -> None:
        self._counted()

    def do_PUT(self) -> None:
        self._counted()

    def do_POST(self) -> None:
        self._counted()

    def do_DELETE(self) -> None:
        self._counted()

    def do_HEAD(self) -> None:
        self._counted()

    def _counted(self) -> None:
        with self.owner.lock:
            self.owner.active += 1
        try:
            self._pass()
        finally:
            with self.owner.lock:
                self.owner.active -= 1

    def _body(self) -> bytes:
        length, parts = int(self.headers.get("Content-Length") or 0), []
        while length > 0 and (part := self.rfile.read(min(length, _CHUNK))):
            self.owner.pause(len(part))
            parts.append(part)
            length -= len(part)
        if length > 0:  # the sender is gone
            raise ConnectionAbortedError
        return b"".join(parts)

    def _refuse(self, fault: Fault) -> None:
        with self.owner.lock:
            self.owner.refused += 1
        content = f"<Error><Code>{fault.code}</Code><Message>fault</Message></Error>".encode()
        self.send_response(fault.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer(self, answer: HTTPResponse, fault: Fault | None) -> int:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        content = b"" if self.command == "HEAD" else answer.read()
        if self.command != "HEAD" and answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        passed = 0
        for part in _parts(content, fault):
            self.owner.pause(len(part))
            self.wfile.write(part)
            passed += len(part)
        if fault is not None and fault.stall_after is not None:
            time.sleep(3.0)
        if fault is not None and (fault.cut_after, fault.stall_after) != (None, None):
            self.close_connection = True
        return passed


def _parts(content: bytes, fault: Fault | None) -> Iterator[bytes]:
    if fault is not None and fault.flip:
        content = content[:-1] + bytes([content[-1] ^ 1])
    if fault is not None:
        ends = [end for end in (fault.cut_after, fault.stall_after) if end is not None]
        content = content[: min(ends, default=len(content))]
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]
