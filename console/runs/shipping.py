"""Bringing the runtime to a box: the watchdog first, then the wheel, then an environment to run it in.

The environment inherits the image's torch where that is in range, by a `.pth` that names its
interpreter's site-packages, and so whatever else of the requirements is there in range; only the rest is
downloaded. What is executed on the box are two single files of the standard library, `watchdog.py` and
`bootstrap.py`; both outlive the connection.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from console.errors import BootstrapError
from console.fleet.box_file import BOX_FILE, BoxFile
from console.runs.requirements import (
    PILLOW,
    PYTHON,
    REQUIREMENTS,
    TORCH,
    TORCH_CPU_MEGABYTES,
    TORCH_CUDA,
    UV,
    WANDB,
    Requirement,
    cuda_of,
)
from console.runs.transport import Transport
from console.runs.wheel import RuntimeWheel, module_source
from ups.events import EventType, PhaseState, decode_lines

VENV_PYTHON = "venv/bin/python"
"""The interpreter that has the runtime, relative to the box's directory."""
CANDIDATES = (
    "python3", "/opt/conda/bin/python", "/venv/main/bin/python", "/opt/venv/bin/python",
    "/usr/local/bin/python3", "/usr/bin/python3", "python",
)  # fmt: skip
EVENTS = "bootstrap/events.jsonl"
_PLAN = "bootstrap/plan.json"
_LOG = "bootstrap/run.log"
_STATE = "venv/.ups-runtime"
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_ANSWER_S = 30.0
_START_S = 10.0
_POLL_S = 0.1
_UNPACKED = 3
"""A download takes so many times its size on the disk."""
_RUNTIME_MEGABYTES = 50
_FULL_KB = 1024
_CHECKED = ("torch", "boto3", "einops", "h5py", "httpx", "numpy", "obstore", "psutil", "pydantic", "yaml",
            "safetensors", "scipy", "ups", "remote", "configs")  # fmt: skip

_START_WATCHDOG = """\
box=$1
shift
for python in "$@"; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || continue
    setsid "$python" "$box/watchdog.py" "$box" >>"$box/watchdog.log" 2>&1 </dev/null &
    exit 0
done
exit 3
"""

_PROBE = """\
code=$1
shift
for python in "$@"; do
    "$python" -I -c "$code" "$python" 2>/dev/null
done
exit 0
"""

_PROBE_CODE = """\
import importlib.util, json, sys
try:
    from importlib import metadata
except ImportError:
    metadata = None
def version(name):
    try:
        return metadata.version(name)
    except Exception:
        return None
print(json.dumps({
    "name": sys.argv[1], "python": sys.executable, "version": ".".join(map(str, sys.version_info[:3])),
    "sites": [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))],
    "modules": [name for name in ("pip", "venv", "ensurepip") if importlib.util.find_spec(name)],
    "has": {name: version(name) for name in NAMES},
}))
"""


@dataclass(frozen=True, slots=True)
class ShipStep:
    """What shipping is at."""

    phase: str
    """look, upload, bootstrap or ready."""
    text: str
    done: int | None = None
    total: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that the box has."""

    name: str
    """As it was asked for."""
    path: str
    version: str
    sites: tuple[str, ...]
    """Its site-packages."""
    modules: frozenset[str]
    """Which of pip, venv and ensurepip it has."""
    has: dict[str, str | None]
    """Versions of what the runtime needs."""

    @classmethod
    def read(cls, line: bytes) -> "Interpreter | None":
        try:
            record = json.loads(line)
            return cls(
                name=str(record["name"]),
                path=str(record["python"]),
                version=str(record["version"]),
                sites=tuple(map(str, record["sites"])),
                modules=frozenset(map(str, record["modules"])),
                has=dict(record["has"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def __str__(self) -> str:
        torch = self.has.get("torch")
        return f"{self.name}: Python {self.version}, " + (f"torch {torch}" if torch else "no torch")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the box gets its environment; all of it is known before anything is downloaded."""

    python: str
    """The interpreter that makes it."""
    sites: tuple[str, ...]
    """Its packages are inherited; () where the environment stands alone."""
    inherits_pip: bool
    torch: str
    """What is downloaded, `""` where the image's is inherited."""
    index: str
    own_python: bool
    install: tuple[str, ...]
    """Pinned requirements that are downloaded."""
    constraints: tuple[str, ...]
    megabytes: int
    """Of all downloads."""
    text: str
    """For people."""
    cuda: str | None = None
    """The version that its torch is built for; None: unknown, or for none."""


def guard(
    transport: Transport,
    box: BoxFile,
    *,
    python: str | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Hand the box to its watchdog, before anything else is put on it. A second time renews its orders.

    Args:
        transport: to the box.
        box: what the box is for, and how it ends.
        python: the interpreter to use, instead of looking for one.
        clock: Unix seconds.
        sleep: waits so many seconds.

    Raises:
        BootstrapError: the watchdog does not start; says why.
        ProviderError, StoreError: the box cannot be reached or written.
    """
    transport.put(module_source("remote", "watchdog"), "watchdog.py")
    transport.put(box.render(clock()), BOX_FILE, mode=0o600)
    before = transport.size("watchdog.log") or 0
    tried = _candidates(python)
    argv = ["sh", "-c", _START_WATCHDOG, "sh", transport.absolute("").rstrip("/"), *tried]
    done = transport.run(argv, timeout_s=_ANSWER_S)
    if done.code == 3:
        raise BootstrapError(
            f"the box has no Python ≥ 3.8 for its watchdog; tried {', '.join(tried)}",
            hint="choose another --image, or set UPS_REMOTE_PYTHON",
        )
    said = done.err
    waited = 0.0
    while waited < _START_S:
        said = transport.read("watchdog.log", before)
        if b'"watching"' in said or b"has a watchdog already" in said:
            return
        sleep(_POLL_S)
        waited += _POLL_S
    raise BootstrapError(
        f"the box's watchdog does not start: {_last_line(said or done.err)}",
        hint="is the box's disk full?",
    )


def ship(
    transport: Transport,
    wheel: RuntimeWheel,
    *,
    python: str | None = None,
    cpu: bool = False,
    wandb: bool = False,
    check: Callable[[Plan], None] = lambda plan: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ShipStep]:
    """Bring the runtime to the box; quick where it has it already. Going on after a cut is calling it again.

    Args:
        transport: to the box, which its watchdog guards already.
        wheel: the runtime.
        python: the interpreter whose torch is inherited (`UPS_REMOTE_PYTHON`); by default it is looked for.
        cpu: the box has no GPU (`UPS_REMOTE_DEVICE=cpu`): where torch is downloaded, it is the small one.
        wandb: the run reports to Weights & Biases.
        check: told the plan before anything of it is done; raises where it will not do.
        sleep: waits so many seconds.

    Raises:
        BootstrapError: the runtime cannot be installed; says why.
        ProviderError, StoreError: the box cannot be reached or written.
    """
    tried = _candidates(python)
    yield ShipStep("look", "looking for a Python with torch on the box")
    plan = choose(look(transport, tried, wandb=wandb), tried, cpu=cpu, wandb=wandb)
    yield ShipStep("look", plan.text)
    check(plan)
    digest = _digest(plan, wheel)
    if transport.read(_STATE) == digest.encode():
        yield ShipStep("ready", "the box has this runtime already")
        return
    yield ShipStep("upload", f"sending the runtime, {wheel.bytes / 1e6:.1f} MB", 0, wheel.bytes, "bytes")
    transport.put_file(wheel.path, f"wheels/{wheel.name}")
    yield ShipStep("upload", "the runtime is on the box", wheel.bytes, wheel.bytes, "bytes")
    yield from _bootstrap(transport, plan, wheel, digest, sleep)
    yield ShipStep("ready", "the runtime is installed")


def look(transport: Transport, tried: Sequence[str], *, wandb: bool = False) -> list[Interpreter]:
    """The interpreters that the box has, in the order in which they were asked for."""
    names = [requirement.name for requirement in _requirements(wandb)] + [TORCH.name]
    code = _PROBE_CODE.replace("NAMES", repr(names))
    done = transport.run(["sh", "-c", _PROBE, "sh", code, *tried], timeout_s=_ANSWER_S * len(tried))
    found = [Interpreter.read(line) for line in done.out.splitlines()]
    return [interpreter for interpreter in found if interpreter is not None]


def choose(
    found: Sequence[Interpreter], tried: Sequence[str], *, cpu: bool = False, wandb: bool = False
) -> Plan:
    """Inherit a torch if one is in range, else bring one's own, and a Python too where none is in range.

    Raises:
        BootstrapError: no interpreter will do; names all that were tried.
    """
    usable = [
        one
        for one in found
        if PYTHON.accepts(one.version) and "venv" in one.modules and one.modules & {"pip", "ensurepip"}
    ]
    for one in usable:
        if TORCH.accepts(one.has.get("torch")):
            return _inheriting(one, wandb)
    if usable:
        return _own_torch(usable[0], found, own_python=False, cpu=cpu, wandb=wandb)
    old = [one for one in found if "pip" in one.modules]
    if old:
        return _own_torch(old[0], found, own_python=True, cpu=cpu, wandb=wandb)
    seen = "; ".join(map(str, found)) or "none of them is there"
    raise BootstrapError(
        f"the box has no usable Python; tried {', '.join(tried)} ({seen})",
        hint="choose an --image with Python and pip, or name its interpreter in UPS_REMOTE_PYTHON",
    )


def _requirements(wandb: bool) -> tuple[Requirement, ...]:
    return (*REQUIREMENTS, WANDB, PILLOW) if wandb else REQUIREMENTS


def _inheriting(one: Interpreter, wandb: bool) -> Plan:
    missing = [need for need in _requirements(wandb) if not need.accepts(one.has.get(need.name))]
    megabytes = sum(need.megabytes for need in missing)
    text = f"torch {one.has['torch']} of {one.path} is used"
    if missing:
        text += f"; the box downloads {', '.join(need.name for need in missing)}, about {megabytes} MB"
    return Plan(
        python=one.path,
        sites=one.sites,
        inherits_pip="pip" in one.modules,
        torch="",
        index="",
        own_python=False,
        install=tuple(f"{need.name}=={need.pin}" for need in missing),
        constraints=(f"torch=={one.has['torch']}",),
        megabytes=megabytes,
        text=text,
        cuda=cuda_of(one.has["torch"] or ""),
    )


def _own_torch(
    one: Interpreter, found: Sequence[Interpreter], *, own_python: bool, cpu: bool, wandb: bool
) -> Plan:
    torch_megabytes = TORCH_CPU_MEGABYTES if cpu else TORCH.megabytes
    needs = _requirements(wandb)
    megabytes = torch_megabytes + sum(need.megabytes for need in needs)
    megabytes += PYTHON.megabytes if own_python else 0
    what = f"Python {PYTHON.pin} and torch {TORCH.pin}" if own_python else f"torch {TORCH.pin}"
    wanted = f"torch ≥ {TORCH.low}, < {TORCH.high} with Python ≥ {PYTHON.low}, < {PYTHON.high}"
    return Plan(
        python=one.path,
        sites=(),
        inherits_pip=False,
        torch=f"torch=={TORCH.pin}",
        index=_CPU_INDEX if cpu else "",
        own_python=own_python,
        install=tuple(f"{need.name}=={need.pin}" for need in needs),
        constraints=(f"torch=={TORCH.pin}",),
        megabytes=megabytes,
        text=f"the image has no {wanted} ({'; '.join(map(str, found))}): the box downloads "
        f"{what}, about {megabytes / 1000:.1f} GB",
        cuda=None if cpu else TORCH_CUDA,
    )


def _digest(plan: Plan, wheel: RuntimeWheel) -> str:
    parts = [plan.python, plan.sites, plan.torch, plan.index, plan.own_python, plan.install, wheel.sha256]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _content(plan: Plan, wheel: RuntimeWheel, digest: str, unique: str) -> bytes:
    return json.dumps(
        {
            "id": unique,
            "wheel": wheel.name,
            "wheel_sha256": wheel.sha256,
            "python": plan.python,
            "python_version": PYTHON.pin,
            "sites": plan.sites,
            "inherits_pip": plan.inherits_pip,
            "torch": plan.torch,
            "index": plan.index,
            "uv": UV if plan.own_python else "",
            "install": plan.install,
            "constraints": plan.constraints,
            "check": _CHECKED,
            "megabytes": plan.megabytes * _UNPACKED + _RUNTIME_MEGABYTES,
            "digest": digest,
            "summary": plan.text,
        },
        indent=1,
    ).encode()


def _bootstrap(
    transport: Transport, plan: Plan, wheel: RuntimeWheel, digest: str, sleep: Callable[[float], None]
) -> Iterator[ShipStep]:
    unique = _running(transport, digest)
    if unique is None:
        unique = secrets.token_hex(8)
        transport.put(module_source("remote", "bootstrap"), "bootstrap.py")
        transport.put(_content(plan, wheel, digest, unique), _PLAN)
        argv = [plan.python, transport.absolute("bootstrap.py"), transport.absolute(_PLAN)]
        transport.start(argv, "bootstrap", environment={"PYTHONUNBUFFERED": "1"})
    yield from _follow(transport, unique, sleep)


def _running(transport: Transport, digest: str) -> str | None:
    """The id of a bootstrap that goes on from before a cut, and does the same; any other one is ended."""
    if transport.process_of("bootstrap") is None:
        return None
    try:
        plan = json.loads(transport.read(_PLAN))
        if plan["digest"] == digest:
            return str(plan["id"])
    except (ValueError, KeyError, TypeError):
        pass
    transport.terminate("bootstrap")
    return None


def _follow(transport: Transport, unique: str, sleep: Callable[[float], None]) -> Iterator[ShipStep]:
    seen = 0
    failure: dict[str, Any] = {}
    while True:
        alive = transport.process_of("bootstrap") is not None
        content = transport.read(EVENTS)
        whole = content[: content.rfind(b"\n") + 1]
        events = list(decode_lines(whole.split(b"\n")))
        if not events or events[0].fields.get("plan") != unique:
            events = []  # those of the one before
        for event in events[seen:]:
            fields = event.fields
            if event.type == EventType.PROGRESS:
                yield ShipStep("bootstrap", str(fields.get("detail", "")), fields.get("done"),
                               fields.get("total"), "steps")  # fmt: skip
            elif event.type == EventType.ERROR:
                failure = dict(fields)
            elif event.type == EventType.PHASE and fields.get("state") == PhaseState.FINISHED:
                return
            elif event.type == EventType.PHASE and fields.get("state") == PhaseState.FAILED:
                raise BootstrapError(str(failure.get("message", "the bootstrap failed")),
                                     hint=str(failure.get("hint", "")))  # fmt: skip
        seen = max(seen, len(events))
        if not alive:
            if _is_full(transport):
                raise BootstrapError("the box's disk is full", hint="rent with a larger --disk")
            raise BootstrapError(
                f"the bootstrap ended without a word: {_last_line(transport.read(_LOG))}",
                hint="launch again; `ups-console logs --provider-log` may say more",
            )
        sleep(_POLL_S)


def _is_full(transport: Transport) -> bool:
    done = transport.run(["df", "-Pk", transport.absolute("")], timeout_s=_ANSWER_S)
    fields = done.out.decode(errors="replace").splitlines()[-1:]
    try:
        return int(fields[0].split()[3]) < _FULL_KB
    except (IndexError, ValueError):
        return False


def _candidates(python: str | None) -> tuple[str, ...]:
    return (python,) if python else CANDIDATES


def _last_line(content: bytes) -> str:
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"
