"""A Weights & Biases server on loopback, as far as the real `wandb` asks it while a run reports to it.

It keeps runs, their history by line, and their files. `faults` are switched on at run time.
"""

import contextlib
import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789" * 4


@dataclass
class ReportedRun:
    """A run as the server knows it."""

    config: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    name: str = ""
    project: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    exit_code: int | None = None
    begun: int = 0
    """How often it was begun, or gone on with."""


class WandbServer:
    """A context; the server lives as long."""

    def __init__(self) -> None:
        self.runs: dict[str, ReportedRun] = {}
        self.faults: set[str] = set()
        """`refuse`: no key is right; `stall`: no question is answered."""
        self.asked = 0
        self._released = threading.Event()
        account = self

        class Handler(_Handler):
            server_of = account

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": self.url, "WANDB_ENTITY": "team"}

    def __enter__(self) -> "WandbServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_as_asked(self) -> None:
        if "stall" in self.faults:
            self._released.wait(60)

    # --- what is asked ------------------------------------------------------------------------

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "RunResumeStatus":
            owner = {"id": "e", "name": "team"}
            known = self.runs.get(asked["name"])
            bucket = None if known is None else _bucket_of(asked["name"], known)
            return {"model": {"id": "p", "name": asked["project"], "entity": owner, "bucket": bucket}}
        if operation == "UpsertBucket":
            return {"upsertBucket": self._upsert(asked)}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{name}"} for name in asked["files"]]
            self.runs[asked["run"]].files.update(asked["files"])
            return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}
        return {}

    def _upsert(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(asked["name"], ReportedRun())
        if asked.get("displayName"):
            run.begun += 1
            run.name, run.project = asked["displayName"], asked["project"]
            run.tags = list(asked.get("tags") or run.tags)
        run.config |= {name: item["value"] for name, item in json.loads(asked.get("config") or "{}").items()}
        project = {"id": "p", "name": asked["project"], "entity": {"id": "e", "name": "team"}}
        bucket = {
            "id": "b", "name": asked["name"], "displayName": run.name, "description": None,
            "config": asked.get("config"), "sweepName": None, "historyLineCount": len(run.history),
            "project": project,
        }  # fmt: skip
        return {"bucket": bucket, "inserted": run.begun <= 1}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        run = self.runs[name]
        history = sent.get("files", {}).get("wandb-history.jsonl")
        if history:
            del run.history[history["offset"] :]
            run.history += [json.loads(line) for line in history["content"]]
        if sent.get("complete"):
            run.exit_code = int(sent.get("exitcode", -1))


def _bucket_of(name: str, run: ReportedRun) -> dict[str, Any]:
    tail = json.dumps([json.dumps(row) for row in run.history[-1:]])
    return {
        "id": "b", "name": name, "summaryMetrics": "{}", "displayName": run.name, "logLineCount": 0,
        "historyLineCount": len(run.history), "eventsLineCount": 0, "historyTail": tail, "eventsTail": "[]",
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "tags": run.tags, "notes": None, "wandbConfig": '{"t": {}}',
    }  # fmt: skip


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked is gone: killed by a test, mostly."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: WandbServer

    def do_POST(self) -> None:
        body = self._body()
        self.server_of.asked += 1
        self.server_of.wait_as_asked()
        if "refuse" in self.server_of.faults:
            self._send({"errors": [{"message": "user is not logged in"}]}, 401)
        elif self.path == "/graphql":
            asked = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            assert found is not None
            self._send({"data": self.server_of.answer(found[1], asked.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self.server_of.stream(self.path.split("/")[-2], json.loads(body))
            self._send({})
        else:
            self._send({}, 404)

    def do_PUT(self) -> None:
        self._body()
        self.server_of.wait_as_asked()
        self._send({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def _send(self, content: dict[str, Any], code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # it did not wait for the answer
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
