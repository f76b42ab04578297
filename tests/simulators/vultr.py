"""Vultr's REST API, version 2, on loopback: its shapes, its money, and its bad days, switched on at run time.

`World` is the account without a network: a state machine on an injected clock. `VultrSimulator` serves it.
The real API gives every machine port 22 of an address of its own; here several share 127.0.0.1, and a
machine's tag `ssh_port:N` says its port. `python -m tests.simulators.vultr --port N` serves one until its
input ends.
"""

import argparse
import base64
import json
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from console.fleet.model import SshAddress
from tests.patience import PATIENCE_S
from tests.simulators.vast import Fault, Faults

Object = dict[str, Any]

ACCOUNT_KEY = "VULTRTESTKEY0123456789ABCDEFGHIJKLMNOPQR"
PASSWORD = "default-root-password-of-the-machine"
"""In every answer to a create, as at Vultr: nobody may show it."""
LOCKED = "Unable to destroy server: Unable to remove VM: Server is currently locked"
GONE = "Server add failed: The selected plan is not available in the selected region."
BROKE = "Server add failed: insufficient funds."
_TICK_S = 0.02
_OF_ANSWERS = ("cut", "null", "empty", "short", "miscounted", "no meta", "malformed", "odd")
"""Faults that spoil an answer, which there must be first."""
_HOURS_PER_MONTH = 672.0


def _plan(
    name: str, gpu: str, vram: int, count: str | None, monthly: float, hourly: float | None, **more: Any
) -> Object:
    _, _, cores, ram, _ = name.split("-")
    plan: Object = {
        "id": name, "vcpu_count": int(cores[:-1]), "ram": int(ram.rstrip("gb")) * 1024, "disk": 350,
        "disk_count": 1, "bandwidth": 10240, "monthly_cost": monthly, "type": "vcg",
        "locations": ["ewr", "ord", "fra"],
        "gpu_brand": "NVIDIA", "gpu_type": gpu, "gpu_vram_gb": vram, "storage_type": "local_storage",
        "vcpu_type": "thread", "invoice_type": "hourly", "deploy_ondemand": True, "deploy_preemptible": False,
        "location_cost": {},
    }  # fmt: skip
    if hourly is not None:
        plan["hourly_cost"] = hourly
    if count is not None:
        plan["gpu_count"] = count
    return {**plan, **more}


PLANS = [
    _plan("vcg-a16-2c-8g-2vram", "NVIDIA_A16", 2, "1/8", 43, 0.059),
    _plan("vcg-a16-6c-64g-16vram", "NVIDIA_A16", 16, "1", 344, 0.471),
    _plan("vcg-a16-12c-128g-32vram", "NVIDIA_A16", 32, None, 688, 0.942),
    _plan("vcg-a40-6c-30g-12vram", "NVIDIA_A40", 12, "1/4", 300, None),
    _plan("vcg-l40s-16c-180g-48vram", "NVIDIA_L40S", 48, "1", 1219, 1.671,
          location_cost={"fra": {"monthly_cost": 1341, "hourly_cost": 1.838}}),
    _plan("vcg-a100-12c-120g-80vram", "NVIDIA_A100", 80, "1", 1750, 2.397, locations=["ewr"]),
    _plan("vcg-a100-96c-960g-640vram", "NVIDIA_A100", 640, "8", 14000, 19.178, deploy_ondemand=False,
          deploy_preemptible=True),
    {"id": "vc2-1c-1gb", "vcpu_count": 1, "ram": 1024, "disk": 25, "disk_count": 1, "bandwidth": 1024,
     "monthly_cost": 5, "hourly_cost": 0.007, "type": "vc2", "locations": ["ewr", "ord", "fra", "nrt"],
     "deploy_ondemand": True, "deploy_preemptible": False, "location_cost": {}},
]  # fmt: skip

REGIONS = [
    {"id": "ewr", "city": "New Jersey", "country": "US", "continent": "North America",
     "options": ["ddos_protection", "block_storage_high_perf", "block_storage_storage_opt"]},
    {"id": "ord", "city": "Chicago", "country": "US", "continent": "North America",
     "options": ["block_storage_high_perf"]},
    {"id": "fra", "city": "Frankfurt", "country": "DE", "continent": "Europe",
     "options": ["block_storage_high_perf"]},
    {"id": "nrt", "city": "Tokyo", "country": "JP", "continent": "Asia", "options": []},
]  # fmt: skip

SYSTEMS = [
    {"id": 1743, "name": "Ubuntu 22.04 LTS x64", "arch": "x64", "family": "ubuntu"},
    {"id": 2136, "name": "Debian 12 x64 (bookworm)", "arch": "x64", "family": "debian"},
    {"id": 2284, "name": "Ubuntu 24.04 LTS x64", "arch": "x64", "family": "ubuntu"},
    {"id": 2657, "name": "Ubuntu 25.10 x64", "arch": "x64", "family": "ubuntu"},
    {"id": 240, "name": "Windows 2016 Standard x64", "arch": "x64", "family": "windows"},
]


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """What Vultr says instead of what was asked for."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.body: Object = {"error": words, "status": status}


@dataclass(slots=True)
class Machine:
    """Something rented. Hooks get it as their `row`."""

    id: str
    label: str
    plan: Object
    region: str
    system: int
    user_data: str
    public_keys: list[str]
    """OpenSSH lines of the keys that open it."""
    tags: list[str]
    usd_per_hour: float
    created: float
    status: str = "pending"
    power: str = "running"
    server: str = "none"
    address: SshAddress | None = None
    stuck: bool = False
    booting: bool = False
    leaves: float | None = None
    """It was told to go, and is gone at this time."""
    ended: float | None = None
    private: str = ""
    """Its address in the VPC of its region."""

    @property
    def config(self) -> Object:
        """The cloud-config that it boots with."""
        text = base64.b64decode(self.user_data).decode()
        return dict(json.loads(text.removeprefix("#cloud-config\n"))) if text else {}

    @property
    def onstart(self) -> str:
        """The script that it runs first, "" where it has none."""
        files = self.config.get("write_files", [])
        return next((str(one["content"]) for one in files if one["path"].endswith("onstart.sh")), "")

    @property
    def env(self) -> dict[str, str]:
        """What is set for that script."""
        words = [word for command in self.config.get("runcmd", []) for word in command if "=" in word]
        return dict(word.split("=", 1) for word in words if word.startswith("UPS_"))

    @property
    def key(self) -> str:
        """No key exists that may end just this machine."""
        return ""


@dataclass(slots=True)
class Block:
    """A block volume, also after its deletion."""

    id: str
    label: str
    size_gb: int
    region: str
    created: float
    machine: str = ""
    ended: float | None = None

    @property
    def usd_per_hour(self) -> float:
        return self.size_gb * 0.1 / _HOURS_PER_MONTH


class World:
    """One account. Thread safe; time passes by `clock` alone, when it is looked at.

    A machine is pending for `provision_s`, and runs once its `boot` hook, if there is one, has returned.
    All costs the same whether it runs or not, until it is destroyed.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, provision_s: float = 0.0, credit: float = 100.0
    ) -> None:
        self.clock = clock
        self.provision_s = provision_s
        self.paid_in = credit
        self.machines: dict[str, Machine] = {}
        self.blocks: dict[str, Block] = {}
        self.ssh_keys: dict[str, Object] = {}
        self.sold_out: set[str] = set()
        """Plans that no region has."""
        self.page = 500
        """Rows on a page, whatever is asked for."""
        self.locked_s = 0.0
        """A younger machine can be neither destroyed nor given a volume."""
        self.label_limit: int | None = None
        """Labels are cut off after so many characters."""
        self.lag_s = 0.0
        """A younger machine is not listed yet."""
        self.destroy_lies = False
        """A destroy is accepted, and nothing happens."""
        self.destroy_s = 0.0
        """So long a destroyed machine is still there, and billed."""
        self.stuck_pending = False
        """What is rented now never gets to running."""
        self.boot: Callable[[Machine], SshAddress | None] | None = None
        self.halt: Callable[[Machine], None] | None = None
        self.lock = threading.RLock()
        self._hooks: list[threading.Thread] = []

    # What exists

    def listed(self) -> list[Machine]:
        with self.lock:
            self.pass_time()
            return [machine for machine in self.machines.values() if machine.ended is None]

    def find(self, machine: str) -> Machine:
        """Raises Refusal."""
        with self.lock:
            self.pass_time()
            found = self.machines.get(machine)
            if found is None or found.ended is not None:
                raise Refusal(404, "instance not found")
            return found

    def labelled(self, label: str) -> list[Machine]:
        """Everything that exists under a label: two of them are a double create."""
        return [machine for machine in self.listed() if machine.label == label]

    def volumes(self) -> list[Block]:
        with self.lock:
            self.pass_time()
            return [block for block in self.blocks.values() if block.ended is None]

    def find_block(self, block: str) -> Block:
        """Raises Refusal."""
        with self.lock:
            found = self.blocks.get(block)
            if found is None or found.ended is not None:
                raise Refusal(404, "Invalid block storage ID")
            return found

    # What is asked for

    def rent(self, body: Object) -> Machine:
        """Raises Refusal."""
        with self.lock:
            plan = next((p for p in PLANS if p["id"] == body.get("plan")), None)
            if plan is None:
                raise Refusal(400, "Invalid plan chosen.")
            if body.get("region") not in plan["locations"] or plan["id"] in self.sold_out:
                raise Refusal(400, GONE)
            if "image_id" not in body and body.get("os_id") not in [one["id"] for one in SYSTEMS]:
                raise Refusal(400, "Cannot add instance. Invalid os_id")
            if not all(key in self.ssh_keys for key in body.get("sshkey_id", [])):
                raise Refusal(400, "Invalid SSH key")
            if self.billed() > self.paid_in:
                raise Refusal(400, BROKE)
            own = plan["location_cost"].get(body["region"], {})
            hourly = own.get("hourly_cost", plan.get("hourly_cost"))
            made = Machine(
                id=str(uuid.uuid4()),
                label=str(body.get("label", ""))[: self.label_limit],
                plan=plan,
                region=body["region"],
                system=body.get("os_id", 0),
                user_data=body.get("user_data", ""),
                public_keys=[str(self.ssh_keys[key]["ssh_key"]) for key in body.get("sshkey_id", [])],
                tags=list(body.get("tags", [])),
                usd_per_hour=hourly or plan["monthly_cost"] / _HOURS_PER_MONTH,
                created=self.clock(),
                stuck=self.stuck_pending,
                private=f"127.1.{len(self.machines) // 200}.{2 + len(self.machines) % 200}"
                if body.get("enable_vpc")
                else "",
            )
            self.machines[made.id] = made
            return made

    def add(self, label: str, plan: str = "vc2-1c-1gb", region: str = "ewr") -> Machine:
        """A machine that somebody rents elsewhere."""
        return self.rent({"label": label, "plan": plan, "region": region, "os_id": 2284})

    def destroy(self, machine: str) -> None:
        """Raises Refusal."""
        with self.lock:
            found = self.find(machine)
            self._check_lock(found)
            if not self.destroy_lies and found.leaves is None:
                found.leaves = self.clock() + self.destroy_s
            self.pass_time()

    def make_block(self, body: Object) -> Block:
        """Raises Refusal."""
        region = next((one for one in REGIONS if one["id"] == body.get("region")), None)
        if region is None or not any(str(o).startswith("block_storage") for o in region["options"]):
            raise Refusal(400, "Block storage is not available in this region")
        if int(body.get("size_gb", 0)) < 10:
            raise Refusal(400, "Invalid size_gb")
        with self.lock:
            label, size = str(body.get("label", ""))[: self.label_limit], int(body["size_gb"])
            made = Block(str(uuid.uuid4()), label, size, str(region["id"]), self.clock())
            self.blocks[made.id] = made
            return made

    def attach(self, block: str, machine: str) -> None:
        """Raises Refusal."""
        with self.lock:
            found = self.find(machine)
            if found.status != "active":
                raise Refusal(400, "Unable to attach block storage: Server is currently locked")
            self._check_lock(found)
            self.find_block(block).machine = found.id

    def detach(self, block: str) -> None:
        """Raises Refusal."""
        with self.lock:
            found = self.find_block(block)
            if not found.machine:
                raise Refusal(400, "Block storage is not currently attached to a server")
            found.machine = ""

    def delete_block(self, block: str) -> None:
        """Raises Refusal."""
        with self.lock:
            found = self.find_block(block)
            if found.machine:
                raise Refusal(400, "Block storage is still attached to a server")
            found.ended = self.clock()

    def _check_lock(self, machine: Machine) -> None:
        if self.clock() - machine.created < self.locked_s:
            raise Refusal(500, LOCKED)

    # What happens without a request

    def switch_off(self, machine: str) -> None:
        """As its own `poweroff` does; it goes on costing."""
        with self.lock:
            found = self.find(machine)
            found.power = "stopped"
            self._end(found)

    def lose(self, machine: str) -> None:
        """It ends, whoever did it."""
        with self.lock:
            self.find(machine).leaves = self.clock()
            self.pass_time()

    # Time and money

    def pass_time(self) -> None:
        """Bring everything to the present."""
        with self.lock:
            now = self.clock()
            for machine in self.machines.values():
                if machine.ended is not None:
                    continue
                if machine.leaves is not None and now >= machine.leaves:
                    machine.ended = machine.leaves
                    for block in self.blocks.values():
                        if block.machine == machine.id:
                            block.machine = ""
                    self._end(machine)
                elif (
                    machine.status == "pending"
                    and not (machine.stuck or machine.booting)
                    and now - machine.created >= self.provision_s
                ):
                    if self.boot is None:
                        self._take_up(machine, None)
                    else:
                        machine.booting = True
                        self._in_background(self._start, machine)

    def _start(self, machine: Machine) -> None:
        assert self.boot is not None
        address = None
        try:
            address = self.boot(machine)
        finally:
            with self.lock:
                machine.booting = False
                if machine.ended is None:
                    self._take_up(machine, address)

    def _take_up(self, machine: Machine, address: SshAddress | None) -> None:
        machine.status, machine.power, machine.server = "active", "running", "ok"
        machine.address = address or SshAddress("192.0.2.1")
        if machine.address.port != 22:
            machine.tags = [*machine.tags, f"ssh_port:{machine.address.port}"]

    def billed_s(self, machine: Machine) -> float:
        return (self.clock() if machine.ended is None else machine.ended) - machine.created

    def billed(self, label: str | None = None) -> float:
        """Dollars so far, by the second, for all machines and volumes under a label, or for everything."""
        with self.lock:
            self.pass_time()
            now = self.clock()
            return sum(
                ((now if one.ended is None else one.ended) - one.created) * one.usd_per_hour / 3600.0
                for one in [*self.machines.values(), *self.blocks.values()]
                if label is None or one.label.removesuffix("-keep") == label
            )

    # Hooks may take their time: nobody waits for them but `close`.

    def _end(self, machine: Machine) -> None:
        hook = self.halt
        if hook is None:
            return
        ended = hook

        def end(machine: Machine) -> None:
            while machine.booting:  # what is being started is ended, too
                time.sleep(0.01)
            ended(machine)

        self._in_background(end, machine)

    def _in_background(self, hook: Callable[[Machine], object], machine: Machine) -> None:
        thread = threading.Thread(target=hook, args=(machine,), daemon=True)
        self._hooks.append(thread)
        thread.start()

    def close(self) -> None:
        """End everything that still exists, and wait for its hooks."""
        with self.lock:
            now = self.clock()
            for machine in self.machines.values():
                machine.leaves = min(now if machine.leaves is None else machine.leaves, now)
        for thread in list(self._hooks):  # boots first: what they start is ended
            thread.join(PATIENCE_S)
        self.pass_time()
        for thread in list(self._hooks):
            thread.join(PATIENCE_S)


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

    @property
    def json(self) -> Object:
        return dict(json.loads(self.body)) if self.body else {}


class VultrSimulator:
    """The API at `url`, for whoever has `api_key`. A context, or `close` it.

    Faults are those of `tests.simulators.vast`, by kind of call: search systems list get create destroy
    state keys user volumes volume make-volume attach detach delete-volume any. Besides a status,
    `drop html slow cut null empty short malformed odd`, there are `reset` (the connection), `locked`,
    `gone`, `refuse` (400), `miscounted` (an empty list with its true count) and `no meta`.
    """

    def __init__(self, world: World | None = None, *, api_key: str = ACCOUNT_KEY, port: int = 0) -> None:
        self.world = world or World()
        self.api_key = api_key
        self.faults = Faults()
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        simulator = self

        class Handler(_Handler):
            owner = simulator

        self._server = _Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v2"
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def boot(self) -> Callable[[Machine], SshAddress | None] | None:
        """Called in a thread of its own when a machine is about to run; says where its SSH listens."""
        return self.world.boot

    @boot.setter
    def boot(self, hook: Callable[[Machine], SshAddress | None] | None) -> None:
        self.world.boot = hook

    @property
    def halt(self) -> Callable[[Machine], None] | None:
        """Called in a thread of its own when a machine is switched off or gone, maybe once for each."""
        return self.world.halt

    @halt.setter
    def halt(self, hook: Callable[[Machine], None] | None) -> None:
        self.world.halt = hook

    def alive(self) -> list[Machine]:
        """Everything that exists, and costs, but for volumes."""
        return self.world.listed()

    def sent(self, call: str) -> list[Request]:
        """The requests of a kind that have arrived."""
        with self._lock:
            return [request for request in self.requests if request.call == call]

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

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

    def __enter__(self) -> "VultrSimulator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what many tests are about."""


class _Cut(Exception):  # noqa: N818 - the connection ends here
    pass


class _Handler(BaseHTTPRequestHandler):
    owner: VultrSimulator
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815 - names of http.server

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(size).decode() if size else ""
        path, _, query = self.path.partition("?")
        parts = path.strip("/").split("/")
        call = _call_of(self.command, parts[1:]) if parts[0] == "v2" else "elsewhere"
        now = self.owner.world.clock()
        self.owner.record(Request(self.command, self.path, dict(self.headers.items()), text, now, call))
        try:
            self._answer(call, parts[1:], dict(parse_qsl(query)), text, self.owner.faults.take(call))
        except _Cut:
            self.close_connection = True
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
        except Refusal as refusal:
            self._send(refusal.status, refusal.body)

    def _answer(
        self, call: str, parts: list[str], query: dict[str, str], text: str, fault: Fault | None
    ) -> None:
        if fault is not None and fault.seconds:
            time.sleep(fault.seconds)
        late = fault is not None and (fault.after or fault.kind in _OF_ANSWERS)
        if fault is not None and not late:
            self._spoil(fault.kind, 0, None)
        if call == "elsewhere":
            self._send_text(404, "<html>not found</html>", "text/html")
            return
        if self.headers.get("Authorization") != f"Bearer {self.owner.api_key}":
            raise Refusal(401, "Invalid API token.")
        status, answer = self._act(call, parts, query, json.loads(text) if text else {})
        if fault is not None and late:
            self._spoil(fault.kind, status, answer)
        self._send(status, answer)

    def _spoil(self, kind: str, status: int, answer: Any) -> None:
        """Answer badly, and end the request; or return, where only the wait is bad."""
        if kind == "slow":
            return
        if kind == "drop":
            raise _Cut
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise _Cut
        if kind == "cut":
            self._send_half(status, answer)
        if kind in _REFUSALS:
            raise Refusal(*_REFUSALS[kind])
        if kind == "html":
            self._send_text(200, "<html><body>Just a moment…</body></html>", "text/html")
        elif kind in _OF_ANSWERS:
            self._send(status, _spoilt(kind, answer))
        else:
            self._send_text(int(kind), f"<html><body>{kind}</body></html>", "text/html")
        raise _Cut

    def _act(self, call: str, parts: list[str], query: dict[str, str], body: Object) -> tuple[int, Any]:
        world = self.owner.world
        with world.lock:
            world.pass_time()
            match call, parts:
                case "search", ["plans"]:
                    kind = query.get("type", "all")
                    return 200, self._page("plans", [p for p in PLANS if kind in ("all", p["type"])], query)
                case "search", ["regions"]:
                    return 200, self._page("regions", REGIONS, query)
                case "search", ["regions", region, "availability"]:
                    there = [p["id"] for p in PLANS if region in p["locations"]]
                    return 200, {"available_plans": [p for p in there if p not in world.sold_out]}
                case "systems", _:
                    return 200, self._page("os", SYSTEMS, query)
                case "user", _:
                    return 200, {"account": self._account()}
                case "keys", _ if self.command == "GET":
                    return 200, self._page("ssh_keys", [*world.ssh_keys.values()], query)
                case "keys", _:
                    key = {"id": str(uuid.uuid4()), "date_created": _date(world.clock()), **body}
                    world.ssh_keys[key["id"]] = key
                    return 201, {"ssh_key": key}
                case "list", _:
                    old = [m for m in world.listed() if world.clock() - m.created >= world.lag_s]
                    return 200, self._page("instances", [_machine_row(m) for m in old], query)
                case "get", [_, machine]:
                    return 200, {"instance": _machine_row(world.find(machine))}
                case "create", _:
                    made = world.rent(body)
                    return 202, {"instance": {**_machine_row(made), "default_password": PASSWORD}}
                case "destroy", [_, machine]:
                    world.destroy(machine)
                    return 204, None
                case "state", [_, machine, "halt"]:
                    world.switch_off(machine)
                    return 204, None
                case "volumes", _:
                    return 200, self._page("blocks", [self._block_row(b) for b in world.volumes()], query)
                case "volume", [_, block]:
                    return 200, {"block": self._block_row(world.find_block(block))}
                case "make-volume", _:
                    return 202, {"block": self._block_row(world.make_block(body))}
                case "attach", [_, block, _]:
                    world.attach(block, str(body.get("instance_id")))
                    return 204, None
                case "detach", [_, block, _]:
                    world.detach(block)
                    return 204, None
                case "delete-volume", [_, block]:
                    world.delete_block(block)
                    return 204, None
        raise Refusal(404, "Invalid route")

    def _page(self, name: str, rows: list[Object], query: Mapping[str, str]) -> Object:
        size = min(int(query.get("per_page", "100")), self.owner.world.page)
        start = int(base64.b64decode(query["cursor"])) if "cursor" in query else 0
        end = start + size
        more = base64.b64encode(str(end).encode()).decode() if end < len(rows) else ""
        meta = {"total": len(rows), "links": {"next": more, "prev": ""}}
        return {name: rows[start:end], "meta": meta}

    def _account(self) -> Object:
        world = self.owner.world
        return {
            "name": "Test", "email": "test@example.com", "balance": -world.paid_in,
            "pending_charges": round(world.billed(), 4), "last_payment_date": "2026-01-01 00:00:00",
            "last_payment_amount": -world.paid_in, "acls": ["subscriptions", "billing", "provisioning"],
        }  # fmt: skip

    def _block_row(self, block: Block) -> Object:
        machine = self.owner.world.machines.get(block.machine)
        return {
            "id": block.id, "date_created": _date(block.created), "cost": round(block.size_gb * 0.1, 2),
            "pending_charges": 0, "status": "active", "size_gb": block.size_gb, "region": block.region,
            "attached_to_instance": block.machine, "attached_to_instance_ip": "",
            "attached_to_instance_label": machine.label if machine else "", "label": block.label,
            "mount_id": f"{block.region}-{block.id[:12]}", "block_type": "high_perf", "os_id": 0,
            "snapshot_id": "", "bootable": False,
        }  # fmt: skip

    def _send(self, status: int, answer: Any) -> None:
        if status == 204:
            self.send_response(204)
            self.end_headers()
            self.wfile.flush()
        else:
            self._send_text(status, json.dumps(answer), "application/json")

    def _send_text(self, status: int, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _send_half(self, status: int, answer: Any) -> None:
        """Less than is promised."""
        content = json.dumps(answer).encode()
        self.send_response(status if status != 204 else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) + 64))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        raise _Cut


_REFUSALS = {
    "401": (401, "Invalid API token."),
    "429": (429, "Rate limit exceeded"),
    "500": (500, "Internal server error"),
    "locked": (500, LOCKED),
    "gone": (400, GONE),
    "broke": (400, BROKE),
    "refuse": (400, "no can do"),
    "404": (404, "instance not found"),
}


def _machine_row(machine: Machine) -> Object:
    system = next((one["name"] for one in SYSTEMS if one["id"] == machine.system), "")
    return {
        "id": machine.id, "os": system, "ram": machine.plan["ram"], "disk": machine.plan["disk"],
        "main_ip": machine.address.host if machine.address else "0.0.0.0",
        "vcpu_count": machine.plan["vcpu_count"], "region": machine.region, "plan": machine.plan["id"],
        "date_created": _date(machine.created), "status": machine.status, "allowed_bandwidth": 10,
        "netmask_v4": "", "gateway_v4": "0.0.0.0", "power_status": machine.power,
        "server_status": machine.server, "v6_network": "", "v6_main_ip": "", "v6_network_size": 0,
        "label": machine.label, "internal_ip": machine.private, "kvm": "https://my.vultr.com/subs/novnc/?data=secret",
        "hostname": "vultr.guest", "tag": "", "tags": machine.tags, "os_id": machine.system, "app_id": 0,
        "image_id": "", "firewall_group_id": "", "features": [], "user_scheme": "root",
        "pending_charges": 0, "vpc_only": False,
    }  # fmt: skip


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _spoilt(kind: str, answer: Any) -> Any:
    """An answer of the right kind that lies or makes no sense."""
    if kind == "odd" or not isinstance(answer, dict):
        return {}
    name = next(iter(answer))
    meta = answer.get("meta", {})
    rows = answer[name]
    if kind == "null":
        return {**answer, name: None}
    if kind == "empty":  # and nothing shows that it is wrong
        return {name: [], "meta": {"total": 0, "links": {"next": "", "prev": ""}}}
    if kind == "miscounted":
        return {name: [], "meta": meta}
    if kind == "short":
        return {name: rows[:-1], "meta": {**meta, "links": {"next": "", "prev": ""}}}
    if kind == "no meta":
        return {name: rows}
    return {**answer, name: [{"label": "without an id"}, *rows] if isinstance(rows, list) else "odd"}


def _call_of(method: str, parts: list[str]) -> str:
    """The name by which faults and tests know a request."""
    match method, parts:
        case "GET", ["plans"] | ["regions"] | ["regions", _, "availability"]:
            return "search"
        case "GET", ["os"]:
            return "systems"
        case "GET", ["account"]:
            return "user"
        case "GET" | "POST", ["ssh-keys"]:
            return "keys"
        case "GET", ["instances"]:
            return "list"
        case "POST", ["instances"]:
            return "create"
        case "GET", ["instances", _]:
            return "get"
        case "DELETE", ["instances", _]:
            return "destroy"
        case "POST", ["instances", _, _]:
            return "state"
        case "GET", ["blocks"]:
            return "volumes"
        case "POST", ["blocks"]:
            return "make-volume"
        case "GET", ["blocks", _]:
            return "volume"
        case "DELETE", ["blocks", _]:
            return "delete-volume"
        case "POST", ["blocks", _, "attach" | "detach" as what]:
            return what
    return "unknown"


def main() -> None:
    """Serve until the standard input ends; the first line of output is the URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.vultr", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key", default=ACCOUNT_KEY)
    parser.add_argument("--provision-s", type=float, default=0.0)
    options = parser.parse_args()
    world = World(provision_s=options.provision_s)
    with VultrSimulator(world, api_key=options.api_key, port=options.port) as simulator:
        print(simulator.url, flush=True)
        for _ in sys.stdin:
            pass


if __name__ == "__main__":
    main()
