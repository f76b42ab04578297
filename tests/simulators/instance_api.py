"""The one request of a provider's API that a box makes itself: the destruction of its own instance."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Received:
    """A request."""

    method: str
    path: str
    authorization: str
    body: bytes


class InstanceApi:
    """Listens on a free port of 127.0.0.1; answers with `statuses` in turn, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[Received] = []
        self._statuses = list(statuses or (200,))
        self._arrived = threading.Condition()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                authorization = self.headers.get("Authorization", "")
                status = api._take(Received(self.command, self.path, authorization, body))
                content = json.dumps({"success": status < 300, "msg": f"you sent {authorization}"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_DELETE = do_GET = do_PUT = do_POST = _answer  # noqa: N815 - the names that the base looks for

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, count: int = 1, *, timeout_s: float = PATIENCE_S) -> list[Received]:
        """The requests, once there are so many of them."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.received) >= count, timeout_s):
                raise AssertionError(f"{len(self.received)} requests in {timeout_s:.0f} s, not {count}")
            return list(self.received)

    def _take(self, request: Received) -> int:
        with self._arrived:
            self.received.append(request)
            self._arrived.notify_all()
            return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "InstanceApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
