"""An HTTP server that hands out files by their id, as DaRUS does, and fails as real servers do."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_CHUNK = 16 * 1024
API = "/api/access/datafile/"
STORE = "/object-store/"


@dataclass
class Fault:
    """What happens to one request."""

    status: int = 0
    """Answer with this instead of the file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection behind so many bytes."""
    stall_after: int | None = None
    """Send nothing for a while behind so many bytes."""
    stall_s: float = 1.0


class FileServer:
    """Serves `files` on loopback while it is open; the attributes may be changed at any time."""

    def __init__(self, files: Mapping[str, bytes | Path]) -> None:
        self.files = dict(files)
        self.ranges = True
        self.redirects = False
        self.bytes_per_second: float | None = None
        """Of each connection."""
        self.version = "1"
        self.faults: deque[Fault] = deque()
        """For the next requests for content, in order; probes of one byte are spared."""
        self.served = 0
        """Bytes of content that were sent."""
        self.requests: list[str] = []
        """The Range header of each request for content, empty where there was none."""
        self._lock = threading.Lock()

    def __enter__(self) -> "FileServer":
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """What ids are appended to."""
        return self.root + API

    def content(self, identifier: str) -> bytes | None:
        found = self.files.get(identifier)
        return found.read_bytes() if isinstance(found, Path) else found

    def count(self, sent: int) -> None:
        with self._lock:
            self.served += sent

    def next_fault(self, asked: str) -> Fault:
        with self._lock:
            self.requests.append(asked)
            return self.faults.popleft() if self.faults and asked != "bytes=0-0" else Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that was killed is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    owner: FileServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Tests have enough to say."""

    def do_GET(self) -> None:
        owner = self.owner
        if self.path.startswith(API) and owner.redirects:
            return self._say(303, {"Location": f"{owner.root}{STORE}{self.path.removeprefix(API)}?signed=1"})
        name = self.path.partition("?")[0].removeprefix(API).removeprefix(STORE)
        content = owner.content(name)
        if content is None:
            return self._say(404, {})
        asked = self.headers.get("Range", "")
        fault = owner.next_fault(asked)
        if fault.status:
            return self._say(fault.status, fault.headers)
        version = {"ETag": f'"{owner.version}"'}
        if not asked or not owner.ranges:
            return self._send(200, content, version, fault)
        first, last = asked.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1]
        where = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}
        return self._send(206, part, version | where, fault)

    def _say(self, status: int, headers: Mapping[str, str]) -> None:
        self._head(status, headers | {"Content-Length": "0"})

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], fault: Fault) -> None:
        try:
            self._head(status, headers | {"Content-Length": str(len(content))})
            for begin in range(0, len(content), _CHUNK):
                chunk = content[begin : begin + _CHUNK]
                if fault.stall_after is not None and begin >= fault.stall_after:
                    time.sleep(fault.stall_s)
                if fault.cut_after is not None and begin >= fault.cut_after:
                    self.close_connection = True
                    return
                self.owner.count(len(chunk))  # before the client can look
                self.wfile.write(chunk)
                if self.owner.bytes_per_second:
                    time.sleep(len(chunk) / self.owner.bytes_per_second)
        except OSError:  # the client has gone
            self.close_connection = True


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
