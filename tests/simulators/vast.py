"""Vast.ai on loopback: the shapes that its SDK reads, and its bad days, switched on at run time.

`World` is the market and the account without a network: a state machine on an injected clock.
`VastSimulator` serves it. `python -m tests.simulators.vast --port N` serves one until its input ends.
"""

import argparse
import itertools
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from console.fleet.model import SshAddress
from tests.patience import PATIENCE_S

ACCOUNT_KEY = "vast-account-key-0123456789abcdef"
PAGE = 25
_HOURS_PER_MONTH = 730.0
_TICK_S = 0.02
_OF_ANSWERS = ("cut", "null", "empty", "short", "malformed")
"""Faults that spoil an answer, which there must be first."""
_RUNS = ("running", "frozen", "unknown", "offline")
"""Statuses in which the GPU is paid for; the disk is always."""


@dataclass(slots=True)
class Instance:
    """Something rented. Hooks get it as their `row`."""

    id: int
    ask: dict[str, Any]
    label: str | None
    image: str
    disk: float
    onstart: str
    env: dict[str, str]
    runtype: str
    bid: float | None
    key: str
    """May start, stop and destroy just this instance: `CONTAINER_API_KEY` on the box."""
    created: float
    status: str | None = None
    intended: str = "running"
    message: str = ""
    address: SshAddress | None = None
    log: list[str] = field(default_factory=list)
    stuck: bool = False
    since: float = 0.0
    """When it took its status."""
    billed_to: float = 0.0
    billed_usd: float = 0.0
    leaves: float | None = None
    """It was told to go, and is gone at this time."""
    stays: bool = False
    """It was told to go, and that was a lie."""
    booting: bool = False

    @property
    def usd_per_hour(self) -> float:
        gpu = self.ask["dph_base"] if self.bid is None else self.bid
        return float(gpu) + self.disk_usd_per_hour

    @property
    def disk_usd_per_hour(self) -> float:
        return float(self.ask["storage_cost"]) * self.disk / _HOURS_PER_MONTH


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """What the API answers instead of doing it."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"success": False, "error": error, "msg": message}


class World:
    """The market and one account. Thread safe; time passes by `clock` alone, when it is looked at.

    An instance waits `provision_s`, loads its image for `load_s`, and runs once its `boot` hook, if there
    is one, has returned.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, provision_s: float = 0.0, load_s: float = 0.0,
        credit: float = 100.0,
    ) -> None:  # fmt: skip
        self.clock = clock
        self.provision_s = provision_s
        self.load_s = load_s
        self.credit = credit
        self.asks: dict[int, dict[str, Any]] = {}
        self.instances: dict[int, Instance] = {}
        self.gone: dict[int, Instance] = {}
        """Destroyed instances, for the bill."""
        self.ssh_keys: list[dict[str, Any]] = []
        self.volumes: list[dict[str, Any]] = []
        self.destroy_lies = False
        """A destroy is accepted, and nothing happens."""
        self.destroy_s = 0.0
        """So long a destroyed instance is still there, and billed."""
        self.missing_images: set[str] = set()
        """No registry has them."""
        self.label_limit: int | None = None
        """Labels are cut to so many characters."""
        self.stuck_loading = False
        """What is rented now never gets past loading."""
        self.boot: Callable[[Instance], SshAddress | None] | None = None
        self.halt: Callable[[Instance], None] | None = None
        self.lock = threading.RLock()
        self._ids = itertools.count(18000)
        self._hooks: list[threading.Thread] = []
        for gpu, vram, base, place in _MARKET:
            self.stock(gpu, vram_gb=vram, usd_per_hour=base, place=place)

    # The market

    def stock(
        self, gpu: str = "RTX 4090", count: int = 1, *, vram_gb: float = 24.564, usd_per_hour: float = 0.29,
        place: str = "Poland, PL", **fields: Any,
    ) -> list[int]:  # fmt: skip
        """Put machines on the market; `fields` overrides what an offer says. Returns the asks' ids."""
        made = []
        with self.lock:
            for _ in range(count):
                ask = next(self._ids)
                row = _ask_row(ask, gpu, vram_gb, usd_per_hour, place, self.clock())
                self.asks[ask] = {**row, **fields}
                made.append(ask)
        return made

    def search(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The offers that fit a query in the API's own form."""
        controls = {"order", "type", "limit", "allocated_storage", "disable_bundling"}
        storage = float(query.get("allocated_storage", 5.0))
        bid = query.get("type") == "bid"
        found = []
        with self.lock:
            rows = [dict(row) for row in self.asks.values()]
        for row in rows:
            row["storage_total_cost"] = row["storage_cost"] * storage / _HOURS_PER_MONTH
            row["dph_total"] = (row["min_bid"] if bid else row["dph_base"]) + row["storage_total_cost"]
            row["is_bid"] = bid
            if all(_fits(row.get(name), ops) for name, ops in query.items() if name not in controls):
                found.append(row)
        for name, direction in reversed(query.get("order") or []):
            found.sort(key=lambda row: row.get(name) or 0, reverse=direction == "desc")
        return found[: int(query.get("limit") or 64)]

    # The account

    def rent(self, ask: int, body: Mapping[str, Any]) -> Instance:
        """Raises Refusal."""
        with self.lock:
            self.pass_time()
            if ask not in self.asks:
                raise Refusal(404, "no_such_ask", f"Instance type by id {ask} is not available.")
            if self.credit <= 0:
                raise Refusal(400, "insufficient_credit", "Your account lacks credit; see the billing page.")
            if len(json.dumps(body.get("args") or "")) + len(body.get("onstart") or "") > 4096 + 2:
                raise Refusal(400, "invalid_args", "onstart and args are limited to 4096 characters.")
            row = self.asks[ask]
            bid = body.get("price")
            if bid is not None and bid < row["min_bid"]:
                raise Refusal(400, "bid_too_low", f"The least bid is {row['min_bid']}.")
            if float(body.get("disk") or 10) > row["disk_space"]:
                raise Refusal(400, "invalid_args", "The machine lacks the disk space.")
            del self.asks[ask]
            now = self.clock()
            label = body.get("label")
            if label is not None:
                label = str(label)[: self.label_limit]
            made = Instance(
                id=next(self._ids), ask=row, label=label, image=str(body.get("image")),
                disk=float(body.get("disk") or 10), onstart=body.get("onstart") or "",
                env={str(k): str(v) for k, v in (body.get("env") or {}).items()},
                runtype=body.get("runtype") or "", bid=bid, key=secrets.token_hex(16), created=now,
                since=now, billed_to=now, stuck=self.stuck_loading,
            )  # fmt: skip
            if made.image in self.missing_images:
                made.stuck = True
                made.message = f"Error response from daemon: manifest for {made.image} not found\n"
            self.instances[made.id] = made
            return made

    def listed(self) -> list[Instance]:
        """What exists now, in the order of the ids."""
        with self.lock:
            self.pass_time()
            return [self.instances[i] for i in sorted(self.instances)]

    def find(self, instance: int) -> Instance | None:
        with self.lock:
            self.pass_time()
            return self.instances.get(instance)

    def labelled(self, label: str) -> list[Instance]:
        """Everything that exists under a label: two of them are a double create."""
        return [row for row in self.listed() if row.label == label]

    def destroy(self, instance: int) -> None:
        """Raises Refusal."""
        with self.lock:
            self.pass_time()
            row = self._existing(instance)
            if self.destroy_lies:
                row.stays = True
                return
            row.stays = False
            if row.leaves is None:
                row.leaves = self.clock() + self.destroy_s
            self.pass_time()

    def set_state(self, instance: int, state: str) -> None:
        """Raises Refusal."""
        with self.lock:
            self.pass_time()
            row = self._existing(instance)
            row.intended = state
            if state == "stopped" and row.status != "stopped":
                self._take(row, "stopped", self.clock())
                self._end(row)
            elif row.status in ("stopped", "exited"):
                self._take(row, "loading", self.clock())

    def _existing(self, instance: int) -> Instance:
        row = self.instances.get(instance)
        if row is None:
            raise Refusal(404, "no_such_instance", f"Instance {instance} not found.")
        return row

    def delete_volume(self, volume: int) -> None:
        """Raises Refusal."""
        with self.lock:
            row = next((row for row in self.volumes if row["id"] == volume), None)
            if row is None:
                raise Refusal(404, "no_such_volume", f"Volume {volume} not found.")
            if row.get("instances"):
                raise Refusal(400, "volume_in_use", "Instances use this volume.")
            self.volumes.remove(row)

    # Its bad days

    def outbid(self, instance: int) -> None:
        """Somebody pays more: it stops, and its disk goes on costing."""
        with self.lock:
            row = self._existing(instance)
            row.message = "outbid"
            self.set_state(instance, "stopped")

    def host_offline(self, instance: int, *, offline: bool = True) -> None:
        """The host has lost its network: it is paid for."""
        with self.lock:
            self.pass_time()
            self._take(self._existing(instance), "offline" if offline else "running", self.clock())

    def exit(self, instance: int, message: str = "") -> None:
        """The container ended, or its image does not exist."""
        with self.lock:
            self.pass_time()
            row = self._existing(instance)
            row.message = message
            self._take(row, "exited", self.clock())

    # Time and money

    def pass_time(self) -> None:
        """Bring every instance to the present: its status, its bill, its end."""
        with self.lock:
            now = self.clock()
            for row in list(self.instances.values()):
                self._advance(row, now if row.leaves is None else min(now, row.leaves))
                if row.leaves is not None and now >= row.leaves:
                    self.gone[row.id] = self.instances.pop(row.id)
                    self.asks[row.ask["id"]] = row.ask
                    self._end(row)

    def _advance(self, row: Instance, now: float) -> None:
        if row.status is None and row.intended == "running" and now >= row.since + self.provision_s:
            self._take(row, "loading", row.since + self.provision_s)
        ready = now >= row.since + self.load_s and not row.stuck and row.leaves is None
        if row.status == "loading" and row.intended == "running" and ready:
            if self.boot is None:
                self._take(row, "running", row.since + self.load_s)
            elif not row.booting:
                row.booting = True
                self._in_background(self._start, row)
        self._bill(row, now)

    def _start(self, row: Instance) -> None:
        assert self.boot is not None
        try:
            address = self.boot(row)
        except Exception as error:  # noqa: BLE001 - the box's fault, told where a user would see it
            with self.lock:
                row.message, row.booting = f"Error: {error}", False
                self._take(row, "exited", self.clock())
            return
        with self.lock:
            row.booting = False
            if row.status == "loading" and row.id in self.instances:
                row.address = address
                self._take(row, "running", self.clock())

    def _take(self, row: Instance, status: str | None, at: float) -> None:
        self._bill(row, at)
        row.status, row.since = status, at

    def _bill(self, row: Instance, until: float) -> None:
        seconds = until - row.billed_to
        if seconds <= 0:
            return
        rate = row.usd_per_hour if row.status in _RUNS else row.disk_usd_per_hour
        usd = rate * seconds / 3600.0
        row.billed_to = until
        row.billed_usd += usd
        self.credit -= usd

    def billed(self, label: str) -> float:
        """Dollars so far for everything that was ever rented under a label."""
        with self.lock:
            self.pass_time()
            rows = [*self.instances.values(), *self.gone.values()]
            return sum(row.billed_usd for row in rows if row.label == label)

    # Hooks may take their time: nobody waits for them but `close`.

    def _end(self, row: Instance) -> None:
        """What ran on it runs no more."""
        row.address = None
        hook = self.halt
        if hook is None:
            return
        ended = hook

        def end(row: Instance) -> None:
            while row.booting:  # what is being started is ended, too
                time.sleep(0.01)
            ended(row)

        self._in_background(end, row)

    def _in_background(self, hook: Callable[[Instance], object], row: Instance) -> None:
        thread = threading.Thread(target=hook, args=(row,), daemon=True)
        self._hooks.append(thread)
        thread.start()

    def close(self) -> None:
        """End everything that still exists, and wait for its hooks."""
        with self.lock:
            self.destroy_lies, self.destroy_s = False, 0.0
            for row in self.instances.values():
                row.leaves = min(row.leaves or self.clock(), self.clock())
        for thread in list(self._hooks):  # boots first: what they start is ended
            thread.join(PATIENCE_S)
        self.pass_time()
        for thread in list(self._hooks):
            thread.join(PATIENCE_S)


_MARKET = (
    ("RTX 3090", 24.576, 0.16, "Sweden, SE"),
    ("RTX 4090", 24.564, 0.29, "Poland, PL"),
    ("RTX 4090", 24.564, 0.34, "Quebec, CA"),
    ("RTX 4090D", 49.140, 0.42, "China, CN"),
    ("RTX 5090", 32.607, 0.47, "Norway, NO"),
    ("A100 SXM4", 81.920, 0.92, "Texas, US"),
    ("H100 SXM", 81.559, 1.87, "Iceland, IS"),
    ("RTX A4000", 16.376, 0.09, "Spain, ES"),
)


def _ask_row(ask: int, gpu: str, vram_gb: float, base: float, place: str, now: float) -> dict[str, Any]:
    megabytes = round(vram_gb * 1000)
    return {
        "id": ask, "ask_contract_id": ask, "machine_id": 40000 + ask, "host_id": 900 + ask % 7,
        "num_gpus": 1, "gpu_name": gpu, "gpu_ram": megabytes, "gpu_total_ram": megabytes, "gpu_frac": 1.0,
        "gpu_arch": "nvidia", "compute_cap": 890, "cuda_max_good": 12.8, "driver_version": "570.86.10",
        "cpu_name": "EPYC 7543", "cpu_cores": 32, "cpu_cores_effective": 16.0, "cpu_ram": 64000,
        "disk_space": 512.0, "disk_bw": 2100.0, "inet_up": 640.0, "inet_down": 860.0,
        "inet_up_cost": 0.002, "inet_down_cost": 0.002, "direct_port_count": 100,
        "dph_base": base, "dph_total": base, "min_bid": round(base * 0.55, 4), "dlperf": 90.0,
        "score": 300.0, "storage_cost": 0.15, "storage_total_cost": 0.0, "rentable": True, "rented": False,
        "is_bid": False, "external": False, "verified": True, "verification": "verified",
        "reliability": 0.997, "reliability2": 0.997, "geolocation": place, "static_ip": True,
        "public_ipaddr": "127.0.0.1", "start_date": now, "end_date": now + 30 * 86400.0,
        "duration": 30 * 86400.0,
    }  # fmt: skip


def _fits(value: Any, operations: Any) -> bool:
    if not isinstance(operations, Mapping):
        return bool(value == operations)
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "eq": lambda a, b: a == b, "neq": lambda a, b: a != b, "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b,
        "in": lambda a, b: a in b, "notin": lambda a, b: a not in b,
    }  # fmt: skip
    return all(tests[name](value, wanted) for name, wanted in operations.items())


def _instance_row(row: Instance, now: float) -> dict[str, Any]:
    """The row as the API shows it."""
    address = row.address
    return {
        "id": row.id, "machine_id": row.ask["machine_id"], "host_id": row.ask["host_id"],
        "actual_status": row.status, "cur_state": row.intended, "next_state": row.intended,
        "intended_status": row.intended, "label": row.label, "image_uuid": row.image, "image_args": [],
        "image_runtype": row.runtype, "extra_env": [[k, v] for k, v in row.env.items()],
        "onstart": row.onstart, "status_msg": row.message or None, "num_gpus": row.ask["num_gpus"],
        "gpu_name": row.ask["gpu_name"], "gpu_util": 0.0, "gpu_ram": row.ask["gpu_ram"],
        "cpu_cores_effective": row.ask["cpu_cores_effective"], "cpu_ram": row.ask["cpu_ram"],
        "disk_space": row.disk, "disk_usage": -1.0, "inet_up": row.ask["inet_up"],
        "inet_down": row.ask["inet_down"], "geolocation": row.ask["geolocation"],
        "reliability2": row.ask["reliability2"], "is_bid": row.bid is not None, "min_bid": row.ask["min_bid"],
        "dph_base": row.usd_per_hour - row.disk_usd_per_hour, "dph_total": row.usd_per_hour,
        "storage_cost": row.ask["storage_cost"], "storage_total_cost": row.disk_usd_per_hour,
        "start_date": row.created, "end_date": row.ask["end_date"], "uptime_mins": None,
        "duration": now - row.created, "jupyter_token": secrets.token_hex(8),
        "public_ipaddr": address.host if address else "127.0.0.1",
        "ssh_host": "127.0.0.1", "ssh_port": 9, "ssh_idx": "1", "direct_port_start": -1,
        "direct_port_end": -1,
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(address.port)}]} if address else {},
    }  # fmt: skip


@dataclass(slots=True)
class Fault:
    """One bad answer to one kind of call."""

    kind: str
    """A status (`500`, `429`, `401`, …) or `drop html slow refuse odd cut null empty short malformed`.

    `refuse` is a 200 with `success: false`, `odd` a 200 that lacks what it should say, `empty` an empty
    list that nothing gives away, `short` a list without its last row, `slow` just the wait.
    """
    after: bool = False
    """The call is carried out first."""
    times: int | None = None
    """So many calls; None: until it is switched off."""
    seconds: float = 0.0
    """The answer waits so long."""
    skip: int = 0
    """So many calls go well before."""


class Faults:
    """What goes wrong, by the kind of call: search create list get destroy state keys user volumes logs."""

    def __init__(self) -> None:
        self._on: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()

    def on(
        self, call: str, kind: str, *, after: bool = False, times: int | None = None, seconds: float = 0.0,
        skip: int = 0,
    ) -> None:  # fmt: skip
        """`any` as the call is every call."""
        with self._lock:
            self._on.setdefault(call, []).append(Fault(kind, after, times, seconds, skip))

    def off(self, call: str | None = None) -> None:
        """Of one kind of call, or of all."""
        with self._lock:
            if call is None:
                self._on.clear()
            else:
                self._on.pop(call, None)

    def take(self, call: str) -> Fault | None:
        """The fault that this call meets."""
        with self._lock:
            for name in (call, "any"):
                for fault in self._on.get(name, []):
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    if fault.times is None:
                        return fault
                    if fault.times > 0:
                        fault.times -= 1
                        return fault
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    body: str
    t: float
    """By the world's clock."""
    call: str


class VastSimulator:
    """The API at `url`, for whoever has `api_key` or an instance's own key. A context, or `close` it."""

    def __init__(
        self, world: World | None = None, *, api_key: str = ACCOUNT_KEY, port: int = 0,
        spacing_s: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.world = world or World()
        self.api_key = api_key
        self.faults = Faults()
        self.requests: list[Request] = []
        self.spacing_s = dict(spacing_s or {})
        """Calls of a kind that come closer than so many seconds of the world's clock get a 429."""
        self._latest: dict[str, float] = {}
        self._lock = threading.Lock()
        simulator = self

        class Handler(_Handler):
            owner = simulator

        self._server = _Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    # The hooks, and what may be seen from outside

    @property
    def boot(self) -> Callable[[Instance], SshAddress | None] | None:
        """Called in a thread of its own when an instance is about to run; says where its SSH listens."""
        return self.world.boot

    @boot.setter
    def boot(self, hook: Callable[[Instance], SshAddress | None] | None) -> None:
        self.world.boot = hook

    @property
    def halt(self) -> Callable[[Instance], None] | None:
        """Called in a thread of its own when an instance stops or is gone, maybe once for each."""
        return self.world.halt

    @halt.setter
    def halt(self, hook: Callable[[Instance], None] | None) -> None:
        self.world.halt = hook

    def alive(self) -> list[Instance]:
        """Everything that exists, and costs."""
        return self.world.listed()

    def sent(self, call: str) -> list[Request]:
        """The requests of a kind that have arrived."""
        with self._lock:
            return [request for request in self.requests if request.call == call]

    def record(self, request: Request) -> bool:
        """Remember a request; whether it came too soon after the one before it."""
        with self._lock:
            self.requests.append(request)
            before = self._latest.get(request.call)
            soon = before is not None and request.t - before < self.spacing_s.get(request.call, 0.0)
            if not soon:
                self._latest[request.call] = request.t
            return soon

    def _tick(self) -> None:
        while not self._closing.wait(_TICK_S):
            if self.world.boot is not None or self.world.halt is not None:
                self.world.pass_time()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self.world.close()

    def __enter__(self) -> "VastSimulator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Cut(Exception):  # noqa: N818 - the connection ends here
    pass


class _Handler(BaseHTTPRequestHandler):
    owner: VastSimulator
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - names of http.server

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(size).decode() if size else ""
        path, _, query = self.path.partition("?")
        call = _call_of(self.command, path)
        now = self.owner.world.clock()
        request = Request(self.command, self.path, dict(self.headers.items()), text, now, call)
        soon = self.owner.record(request)
        fault = self.owner.faults.take(call)
        try:
            self._answer(call, path, dict(parse_qsl(query)), text, fault, soon)
        except _Cut:
            self.close_connection = True
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
        except Refusal as refusal:
            self._send(refusal.status, refusal.body)

    def _answer(
        self, call: str, path: str, query: dict[str, str], text: str, fault: Fault | None, soon: bool
    ) -> None:
        if call == "text":
            self._send_text(200, "\n".join(self._log_of(path)))
            return
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        late = fault is not None and (fault.after or fault.kind in _OF_ANSWERS)
        if fault is not None and not late:
            self._spoil(fault.kind, None)
        if soon:
            self._send_text(429, "API requests too frequent")
            return
        self._check_key(call, path)
        body = json.loads(text) if text else {}
        status, answer = self._act(call, path, query, body)
        if fault is not None and late:
            self._spoil(fault.kind, answer)
        self._send(status, answer)

    def _spoil(self, kind: str, answer: Any) -> None:
        """Answer badly, and end the request; or return, where only the wait is bad."""
        if kind == "slow":
            return
        if kind == "drop":
            raise _Cut
        if kind == "cut":
            self._send_half(answer)
        if kind == "429":
            self._send_text(429, "API requests too frequent")
        elif kind == "html":
            self._send_text(200, "<html><body>Just a moment…</body></html>", "text/html")
        elif kind == "refuse":
            self._send(200, {"success": False, "error": "unavailable", "msg": "no can do"})
        elif kind == "odd":
            self._send(200, {"success": True})
        elif kind in _OF_ANSWERS:
            self._send(200, _spoilt(kind, answer))
        elif kind in ("404", "410"):
            self._send(int(kind), {"success": False, "error": "no_such_ask", "msg": "no such ask"})
        elif kind == "401":
            self._send(401, {"success": False, "error": "auth_error", "msg": "Invalid user key"})
        else:
            self._send_text(int(kind), f"<html><body>{kind}</body></html>", "text/html")
        raise _Cut

    def _check_key(self, call: str, path: str) -> None:
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if key == self.owner.api_key:
            return
        own = next((row for row in self.owner.world.listed() if secrets.compare_digest(row.key, key)), None)
        if own is None:
            raise Refusal(401, "auth_error", "Invalid user key")
        if call not in ("get", "destroy", "state") or _number_of(path) != own.id:
            raise Refusal(403, "not_authorized", "This key may not do that.")

    def _act(self, call: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        world = self.owner.world
        if call == "search":
            return 200, {"offers": world.search(body)}
        if call == "create":
            made = world.rent(_number_of(path), body)
            return 200, {"success": True, "new_contract": made.id, "instance_api_key": made.key}
        if call == "list":
            return 200, self._page(query)
        if call == "get":
            found = world.find(_number_of(path))
            return 200, {"instances": None if found is None else _instance_row(found, world.clock())}
        if call == "destroy":
            world.destroy(_number_of(path))
            return 200, {"success": True, "msg": "Instance destroyed."}
        if call == "state":
            world.set_state(_number_of(path), str(body.get("state")))
            return 200, {"success": True}
        if call == "keys":
            return 200, self._keys(body)
        if call == "user":
            return 200, {"id": 77, "username": "ada", "email": "ada@example.org", "balance": 0.0,
                         "credit": round(world.credit, 4), "api_key": self.owner.api_key}  # fmt: skip
        if call == "volumes" and self.command == "DELETE":
            world.delete_volume(int(query["id"]))
            return 200, {"success": True}
        if call == "volumes":
            return 200, {"volumes": list(world.volumes)}
        if call == "logs":
            number = _number_of(path)
            if world.find(number) is None:
                raise Refusal(404, "no_such_instance", f"Instance {number} not found.")
            daemon = "daemon" if body.get("daemon_logs") else "container"
            return 200, {"success": True, "result_url": f"{self.owner.url}/text/{daemon}/{number}"}
        if call == "v0list":
            raise Refusal(410, "gone", "Use /api/v1/instances/.")
        raise Refusal(404, "not_found", f"{self.command} {path}")

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        world = self.owner.world
        rows = world.listed()
        after = int(query.get("after_token") or 0)
        limit = min(int(query.get("limit") or PAGE), PAGE)
        left = [row for row in rows if row.id > after]
        page = left[:limit]
        token = str(page[-1].id) if len(left) > limit else None
        now = world.clock()
        return {
            "success": True, "instances": [_instance_row(row, now) for row in page],
            "total_instances": len(rows), "next_token": token, "label_counts": {},
        }  # fmt: skip

    def _keys(self, body: Any) -> Any:
        world = self.owner.world
        with world.lock:
            if self.command == "GET":
                return list(world.ssh_keys)
            text = str(body.get("ssh_key") or "").strip()
            if any(row["public_key"] == text for row in world.ssh_keys):
                raise Refusal(400, "duplicate", "This key exists already.")
            if not text.startswith(("ssh-", "ecdsa-")):
                raise Refusal(400, "invalid_args", "That is no SSH key.")
            row = {"id": len(world.ssh_keys) + 1, "user_id": 77, "public_key": text, "deleted_at": None}
            world.ssh_keys.append(row)
            return {"success": True, "key": row}

    def _log_of(self, path: str) -> list[str]:
        _, _, kind, number = path.split("/")
        row = self.owner.world.find(int(number))
        if row is None:
            return []
        if kind == "container":
            return row.log
        return [f"pulling {row.image}", *([row.message] if row.message else [])]

    def _send(self, status: int, answer: Any) -> None:
        self._send_text(status, json.dumps(answer), "application/json")

    def _send_text(self, status: int, text: str, kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _send_half(self, answer: Any) -> None:
        """A chunk that promises more than comes."""
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n" % (len(content) + 64) + content[: len(content) // 2])
        raise _Cut


def _spoilt(kind: str, answer: Any) -> Any:
    """An answer of the right kind that lies or makes no sense."""
    if not isinstance(answer, dict):
        return None
    name = next((name for name in ("instances", "offers", "volumes") if name in answer), None)
    if name is None:
        return None
    rows = answer[name]
    if kind == "null":
        return {**answer, name: None}
    if kind == "empty":  # and nothing shows that it is wrong
        return {**answer, name: [], "total_instances": 0, "next_token": None}
    if kind == "short":
        return {**answer, name: rows[:-1] if isinstance(rows, list) else rows, "next_token": None}
    row = rows[0] if isinstance(rows, list) and rows else {}
    odd = {key: value for key, value in row.items() if key not in ("label", "actual_status", "gpu_name")}
    rest = rows[1:] if isinstance(rows, list) else []
    return {**answer, name: [odd, *rest] if isinstance(rows, list) else odd}


def _call_of(method: str, path: str) -> str:
    """The name by which faults and tests know a request."""
    parts = path.strip("/").split("/")
    if parts[0] == "text":
        return "text"
    area = parts[2] if len(parts) > 2 else ""
    if area in ("bundles", "search"):
        return "search"
    if area == "asks" and method == "PUT":
        return "create"
    if area == "instances":
        if parts[3:4] == ["request_logs"]:
            return "logs"
        if len(parts) == 3:
            return "list" if parts[1] == "v1" else "v0list"
        return {"GET": "get", "DELETE": "destroy", "PUT": "state"}.get(method, "?")
    return {"ssh": "keys", "users": "user", "volumes": "volumes"}.get(area, "?")


def _number_of(path: str) -> int:
    number = urlsplit(path).path.rstrip("/").rpartition("/")[2]
    if not number.isdecimal():
        raise Refusal(400, "invalid_args", f"{number!r} is no number")
    return int(number)


def lines_until_end() -> Iterator[str]:
    """Standard input, until whoever started this is gone."""
    yield from sys.stdin


def main() -> None:
    """Serve until the standard input ends; the first line of output is the URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.vast", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key", default=ACCOUNT_KEY)
    parser.add_argument("--load-s", type=float, default=0.0)
    options = parser.parse_args()
    world = World(load_s=options.load_s)
    with VastSimulator(world, api_key=options.api_key, port=options.port) as simulator:
        print(simulator.url, flush=True)
        for _ in lines_until_end():
            pass


if __name__ == "__main__":
    main()
