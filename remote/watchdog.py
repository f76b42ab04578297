"""The box's leader: it ends the box when its purpose is over, whatever else lives or died in it.

It is started before anything else, in its own session, needs nothing but the standard library (also as
a single file, `python3 watchdog.py BOX`, Python ≥ 3.8), and outlives the console, the connection and
the run. It trusts no child: the run is found by `run.pid`, the box's processes by the marker in their
environment. Only it writes `watchdog.jsonl`.

A box ends when its run is over and the grace too, when the run has failed too often, at the deadline, at
the cost cap, and when its lease is over. The lease is renewed by what the run achieves (phases, progress,
metrics, checkpoints), and by the console when it writes `box.json`. Heartbeats only show that a process
lives: one that hangs has them too. Ending means: the run is asked to stop and saves its checkpoint, what
there is gets synced, and then the instance is destroyed by its own key, again and again until it is gone.

Clocks: a lease is counted on the monotonic clock, which stands still while the machine is suspended, for
a run cannot work then either. The deadline and the cost are real time: where `box.json` says when it was
`written` by the laptop's clock, time goes on from there on the clock that counts suspension and that
nobody sets. A wrong clock of the box, or one that jumps, ends nothing early and nothing late; an hour of
suspension is an hour that was paid for. Without `written` (a box on the laptop itself) it is the wall clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shlex
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOX_FILE = "box.json"
PID_FILE = "run.pid"
LOG_FILE = "watchdog.jsonl"
LOCK_FILE = "watchdog.lock"
"""Held as long as a watchdog lives: by it the dead-man of the box's start knows that it has taken over."""
BOOTSTRAP_EVENTS = "bootstrap/events.jsonl"
"""What installing the runtime achieves, before there is a run."""
HALT_VARIABLE = "UPS_REMOTE_HALT"
"""The command that halts the machine; several boxes that are one machine must not halt it."""

RUN_PATIENCE_S = 20.0
"""How long a run may take to write its last checkpoint after SIGTERM."""
RENTED_RUN_PATIENCE_S = 120.0
"""The same on a rented box, where checkpoints are larger and nobody waits at a prompt."""
SYNC_LIMIT_S = 900.0
PATIENCE_S = 5.0
"""How long everything else gets between SIGTERM and SIGKILL."""
_POLL_S = 0.5
_START_TOLERANCE_S = 2.0  # the boot time that start times are counted from moves with the wall clock
_EVENTS_TAIL_BYTES = 64 * 1024
_EXIT_NOT_FOUND = 4
_PROGRESS = frozenset(
    {"run", "phase", "progress", "metric", "resumed", "published", "rollout", "checkpoint", "done"}
)
_SYNC_PAUSES_S = (5.0, 15.0)
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 300.0
_ACCEPTED_PAUSE_S = 30.0  # a destroy that was accepted and not done is asked for again
_ANSWER_S = 20.0
_LOCK_PATIENCE_S = 1.0  # the dead-man holds it for a moment when it looks


@dataclass(frozen=True)
class Destruction:
    """How the box's machine is ended."""

    kind: str = "none"
    """`vast`: DELETE through the provider's API. `halt`: the machine is halted, and still bills. `none`:
    only the processes of the box end."""
    url: str = ""
    id: str = ""
    key_file: Path | None = None
    """Holds the instance's own key, and nothing else."""
    key_environment: str = ""
    """The environment variable that holds it; asked where there is no file."""

    @classmethod
    def read(cls, record: dict[str, Any], box_dir: Path) -> Destruction:
        """Raises ValueError, KeyError or TypeError where the record cannot be acted on."""
        kind = str(record.get("kind", "none"))
        if kind not in ("vast", "halt", "none"):
            raise ValueError(f"destroy.kind {kind!r} is none of vast, halt, none")
        file = record.get("key_file")
        found = cls(
            kind=kind,
            url=str(record.get("url", "")).rstrip("/"),
            id=str(record.get("id", "")),
            key_file=box_dir / file if file else None,
            key_environment=str(record.get("key_environment") or ""),
        )
        if kind == "vast" and not (found.url and found.id and (found.key_file or found.key_environment)):
            raise ValueError("destroy needs url, id, and key_file or key_environment")
        return found

    def key(self) -> str:
        """The key, "" where it is nowhere. Sessions may lack the container's environment; process 1 has."""
        if self.key_file is not None:
            with contextlib.suppress(OSError, ValueError):
                if found := self.key_file.read_text(encoding="utf-8").strip():
                    return found
        if not self.key_environment:
            return ""
        return (os.environ.get(self.key_environment) or _variable_of(1, self.key_environment)).strip()


@dataclass(frozen=True)
class Sync:
    """The command that brings what there is to safety."""

    argv: tuple[str, ...]
    """`{run_dir}` in it is replaced."""
    limit_s: float = SYNC_LIMIT_S
    environment_file: Path | None = None
    """A JSON object of further variables: the keys of the store."""


@dataclass(frozen=True)
class Box:
    """What `box.json` says."""

    label: str
    deadline: float
    """Unix seconds."""
    grace_s: float
    """How long the box stays after its run has ended, so that its artifacts can be fetched."""
    marker: str
    """`NAME=value`, in the environment of every process of the box."""
    run_dir: Path | None
    written: float | None = None
    """Unix seconds by the laptop's clock at which this was written."""
    lease_s: float | None = None
    """The longest time without progress."""
    cap_usd: float | None = None
    """None, or nothing above zero: no cap."""
    usd_per_hour: float = 0.0
    started: float = 0.0
    """Unix seconds by the laptop's clock since which the box costs money."""
    hold_on_failure_s: float = 0.0
    """A box whose run has failed stays so long, if that is longer than the grace."""
    max_failures: int | None = None
    """So many failed ends of runs end the box without grace."""
    stop_s: float | None = None
    """How long a run may take to stop."""
    sync: Sync | None = None
    destroy: Destruction = Destruction()

    @classmethod
    def read(cls, path: Path) -> Box:
        """Raises OSError, ValueError, KeyError or TypeError where the file is missing or damaged."""
        record = json.loads(path.read_text(encoding="utf-8"))
        run_dir = record.get("run_dir")
        marker = str(record["marker"])
        if "=" not in marker.strip("="):
            raise ValueError(f"marker {marker!r} would fit any process")
        return cls(
            label=str(record["label"]),
            deadline=float(record["deadline"]),
            grace_s=float(record["grace_s"]),
            marker=marker,
            run_dir=path.parent / run_dir if run_dir else None,
            written=_optional(record, "written"),
            lease_s=_optional(record, "lease_s"),
            cap_usd=_optional(record, "cap_usd"),
            usd_per_hour=float(record.get("usd_per_hour") or 0.0),
            started=float(record.get("started") or 0.0),
            hold_on_failure_s=float(record.get("hold_on_failure_s") or 0.0),
            max_failures=int(record["max_failures"]) if record.get("max_failures") else None,
            stop_s=_optional(record, "stop_s"),
            sync=_read_sync(record.get("sync"), path.parent),
            destroy=Destruction.read(record.get("destroy") or {}, path.parent),
        )

    @property
    def run_patience_s(self) -> float:
        if self.stop_s is not None:
            return self.stop_s
        return RUN_PATIENCE_S if self.destroy.kind == "none" else RENTED_RUN_PATIENCE_S

    def spent_usd(self, now: float) -> float:
        return max(0.0, now - self.started) / 3600 * self.usd_per_hour


def _optional(record: dict[str, Any], name: str) -> float | None:
    value = record.get(name)
    return None if value is None else float(value)


def _read_sync(record: Any, box_dir: Path) -> Sync | None:
    if not record:
        return None
    file = record.get("environment_file")
    return Sync(
        argv=tuple(str(word) for word in record["argv"]),
        limit_s=float(record.get("limit_s") or SYNC_LIMIT_S),
        environment_file=box_dir / file if file else None,
    )


class BoxFile:
    """`box.json`, read again whenever it changes; a damaged new version leaves the old one in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self.box = Box.read(path)

    @property
    def age_s(self) -> float:
        """Seconds since it was written, by the box's own clock twice."""
        return max(0.0, time.time() - self._seen[0] / 1e9) if self._seen else 0.0

    def refresh(self) -> bool:
        """Whether there is a new version."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False
        try:
            self.box = Box.read(self._path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        self._seen = stamp
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def elapsed() -> float:
    """Seconds on a clock that nobody sets and that counts suspension, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class LaptopClock:
    """Unix seconds by the clock of the laptop that wrote `box.json`; the wall clock where it did not say."""

    def __init__(self, file: BoxFile, wall: Callable[[], float], passed: Callable[[], float]) -> None:
        self._file = file
        self._wall = wall
        self._passed = passed
        self._written: float | None = None
        self._offset = 0.0
        self.now()  # time goes on from here

    def now(self) -> float:
        written = self._file.box.written
        if written is None:
            return self._wall()
        if written != self._written:
            self._written = written
            self._offset = written + self._file.age_s - self._passed()
        return self._passed() + self._offset


class Lease:
    """How long ago something was achieved."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sizes: dict[Path, int] = {}
        self._renewed = monotonic()

    def renew(self) -> None:
        self._renewed = self._monotonic()

    def look(self, files: list[Path]) -> None:
        """Renew if one of these event files got an event that is progress."""
        for path in files:
            if self._achieved(path):
                self.renew()

    def _achieved(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                before = self._sizes.get(path, 0)
                self._sizes[path] = size
                if size == before:
                    return False
                # A few bytes of the line before are no harm: what does not parse is passed over.
                file.seek(max(before if before < size else 0, size - _EVENTS_TAIL_BYTES))
                lines = file.read().splitlines()
        except OSError:
            return False
        for line in reversed(lines):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.get("type") in _PROGRESS:
                    return True
        return False

    def idle_s(self) -> float:
        return self._monotonic() - self._renewed


class Watchdog:
    """Watches one box until it has ended it."""

    def __init__(
        self,
        box_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        passed: Callable[[], float] = elapsed,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._box_dir = box_dir
        self._file = BoxFile(box_dir / BOX_FILE)
        self._wall = clock
        self._clock = LaptopClock(self._file, clock, passed)
        self._lease = Lease(monotonic)
        self._asked_to_end = False
        self._exited: tuple[int, float] | None = None
        self._exited_at = 0.0
        self._failed = False
        self._failures = 0

    def ask_to_end(self, *_: object) -> None:
        """Signal handler: end the box at the next look."""
        self._asked_to_end = True

    def watch(self) -> None:
        """Block until the box is to end, then end it."""
        box = self._file.box
        self._log("watching", deadline=box.deadline, destroy=box.destroy.kind, pid=os.getpid())
        while (reason := self.reason_to_end()) is None:
            self._sleep(_POLL_S)
        self._log("ending", reason=reason)
        self.end()
        self._log("ended", reason=reason)

    def reason_to_end(self) -> str | None:
        """Look once; None while the box has a purpose, time and money left."""
        if self._file.refresh():
            self._lease.renew()
        box = self._file.box
        now = self._clock.now()
        if self._asked_to_end:
            return "asked to end"
        if now >= box.deadline:
            return "the deadline has come"
        if box.cap_usd is not None and 0 < box.cap_usd <= box.spent_usd(now):
            return f"the cost cap of ${box.cap_usd:.2f} is reached"
        if self._run_is_over(now):
            if box.max_failures is not None and self._failures >= box.max_failures:
                return f"the run has failed {self._failures} times"
            stays = max(box.grace_s, box.hold_on_failure_s if self._failed else 0.0)
            return "the run is over" if now >= self._exited_at + stays else None
        self._lease.look(self._event_files())
        if box.lease_s is not None and self._lease.idle_s() >= box.lease_s:
            return f"nothing was achieved for {box.lease_s:.0f} s: the lease is over"
        return None

    def _event_files(self) -> list[Path]:
        run_dir = self._file.box.run_dir
        bootstrap = self._box_dir / BOOTSTRAP_EVENTS
        return [bootstrap, run_dir / "events.jsonl"] if run_dir else [bootstrap]

    def _run_is_over(self, now: float) -> bool:
        run_dir = self._file.box.run_dir
        identity = recorded_process(run_dir) if run_dir else None
        if run_dir is None or identity is None:
            return False
        if is_alive(identity):
            if self._exited is not None:  # started again in the same directory
                self._exited = None
                self._lease.renew()
            return False
        exited = identity["pid"], identity["start_time"]
        if self._exited != exited:
            self._exited = exited
            self._exited_at = now
            done = last_done(run_dir / "events.jsonl")
            status = done.get("status", "lost")
            self._failed = status in ("failed", "lost")
            self._failures = self._failures + 1 if self._failed else 0
            self._log(
                "run_exited",
                pid=identity["pid"],
                status=status,
                exit_code=done.get("exit_code"),
                grace_s=self._file.box.grace_s,
            )
        return True

    def end(self) -> None:
        """Stop the run with time to checkpoint, sync, and end the box the way `destroy` says.

        On a rented box it returns only if the machine is not destroyed by what the provider accepted:
        never, for it asks again.
        """
        for step in (self._stop_run, self._sync):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever fails before, the destruction is reached
                self._log("failed", step=step.__name__.strip("_"), error=_words(error))
        kind = self._file.box.destroy.kind
        if kind == "vast":
            self._repeat(self._delete)
        elif kind == "halt":
            self._end_processes()
            self._repeat(self._halt)
        else:
            self._end_processes()

    def _stop_run(self) -> None:
        box = self._file.box
        run = recorded_process(box.run_dir) if box.run_dir else None
        if run is not None and is_alive(run):
            _signal(run["pid"], signal.SIGTERM)
            _wait(lambda: not is_alive(run), box.run_patience_s)
        if box.run_dir is None or box.destroy.kind == "none":
            return
        # Whatever is left of the run, its workers too: nothing may write while the rest is synced, or hold
        # the run's lock. What it has published so far is whole.
        left = self._remains(run, box.run_dir)
        if left:
            self._log("killed", pids=left)
        until = time.monotonic() + PATIENCE_S
        while left and time.monotonic() < until:
            for pid in left:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.05)
            left = self._remains(run, box.run_dir)

    def _remains(self, run: dict[str, Any] | None, run_dir: Path) -> list[int]:
        """The run's process, and those of the box that have its files open: its output, at least."""
        prefix = os.path.realpath(run_dir) + os.sep
        found = {pid for pid in self._others() if any(path.startswith(prefix) for path in open_files(pid))}
        if run is not None and is_alive(run):
            found.add(run["pid"])
        return sorted(found)

    def _sync(self) -> None:
        box = self._file.box
        if box.sync is None or box.run_dir is None or not box.run_dir.is_dir():
            return
        until = time.monotonic() + box.sync.limit_s
        for pause in (0.0, *_SYNC_PAUSES_S):
            if time.monotonic() + pause >= until:
                break
            self._sleep(pause)
            began = time.monotonic()
            code = self._sync_once(box.sync, box.run_dir, until - began)
            self._log("synced" if code == 0 else "sync_failed", exit_code=code,
                      seconds=round(time.monotonic() - began, 1))  # fmt: skip
            if code == 0:
                return
        self._log("lost", what="what was not published before; the sync did not succeed")

    def _sync_once(self, sync: Sync, run_dir: Path, limit_s: float) -> int | None:
        """The exit code, None where it took too long."""
        argv = [word.replace("{run_dir}", str(run_dir)) for word in sync.argv]
        name, _, value = self._file.box.marker.partition("=")
        environment = {**os.environ, **_environment_of(sync.environment_file), name: value}
        with _log_or_nowhere(self._box_dir / "sync.log") as output:
            child = subprocess.Popen(
                argv, cwd=str(self._box_dir), env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                return child.wait(timeout=limit_s)
            except subprocess.TimeoutExpired:
                for number, patience_s in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, PATIENCE_S)):
                    with contextlib.suppress(OSError):
                        os.killpg(child.pid, number)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(timeout=patience_s)
                return None

    def _repeat(self, attempt_once: Callable[[], dict[str, Any]]) -> None:
        """For ever, further and further apart: only the end of this machine ends it."""
        pause = _FIRST_PAUSE_S
        attempt = 0
        while True:
            attempt += 1
            try:
                self._file.refresh()  # a new key or address is used
                outcome = attempt_once()
            except Exception as error:  # noqa: BLE001 - giving up would cost money for ever
                outcome = {"error": _words(error)}
            self._log("destroy", attempt=attempt, **outcome)
            if outcome.get("accepted"):
                pause = max(pause, _ACCEPTED_PAUSE_S)
            self._sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _delete(self) -> dict[str, Any]:
        destroy = self._file.box.destroy
        key = destroy.key()
        if not key:
            return {"error": "the instance's key is nowhere to be found"}
        status, text = delete_instance(destroy.url, destroy.id, key)
        return {"status": status, "accepted": 200 <= status < 300, "answer": text.replace(key, "***")[:200]}

    def _halt(self) -> dict[str, Any]:
        argv = shlex.split(os.environ.get(HALT_VARIABLE) or "shutdown -P now")
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        return {"halted": done.returncode == 0, "accepted": done.returncode == 0, "still_billing": True,
                "answer": said[-200:]}  # fmt: skip

    def _end_processes(self) -> None:
        """Terminate every marked process except this one."""
        box = self._file.box
        run = recorded_process(box.run_dir) if box.run_dir else None
        for pid in self._others():
            if run is None or pid != run["pid"]:  # it was asked before: twice means at once
                _signal(pid, signal.SIGTERM)
        _wait(lambda: not self._others(), PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        while (left := self._others()) and time.monotonic() < until:
            for pid in left:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _others(self) -> list[int]:
        return [pid for pid in marked_processes(self._file.box.marker) if pid != os.getpid()]

    def _log(self, kind: str, **fields: Any) -> None:
        box = self._file.box
        line = json.dumps({"t": round(self._wall(), 3), "type": kind, **fields}) + "\n"
        with contextlib.suppress(OSError, ValueError):  # a full disk must not keep the box alive
            sys.stdout.write(line)
            sys.stdout.flush()
        folder = box.run_dir if box.run_dir is not None and box.run_dir.is_dir() else self._box_dir
        if folder == self._box_dir and box.destroy.kind == "none":
            return  # a box of this machine has nothing to tell before its run
        with contextlib.suppress(OSError), (folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(line)


def delete_instance(url: str, instance: str, key: str) -> tuple[int, str]:
    """Ask the provider once; returns the HTTP status and the answer's text.

    Raises:
        OSError: it did not answer.
    """
    request = urllib.request.Request(
        f"{url}/api/v0/instances/{instance}/",
        data=b"{}",
        method="DELETE",
        headers={
            "Authorization": f"Bearer {key}", "Content-Type": "application/json",
            "Accept": "application/json", "User-Agent": "ups-watchdog",
        },
    )  # fmt: skip
    contexts = certificate_contexts() if url.startswith("https") else iter((None,))
    failure: OSError = OSError("no certificates")
    for context in contexts:
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S, context=context) as answer:
                return int(answer.status), answer.read(2000).decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code), error.read(2000).decode(errors="replace")
        except urllib.error.URLError as error:
            failure = error
            if not isinstance(error.reason, ssl.SSLCertVerificationError):
                break
    raise failure


def certificate_contexts() -> Iterator[ssl.SSLContext]:
    """The system's certificates, then those that come with pip: slim images lack the first."""
    yield ssl.create_default_context()
    for name in ("certifi", "pip._vendor.certifi"):
        with contextlib.suppress(ImportError, OSError, AttributeError):
            module = __import__(name, fromlist=["where"])
            yield ssl.create_default_context(cafile=module.where())


def _environment_of(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in record.items()}
    except (OSError, ValueError, AttributeError):
        return {}


@contextlib.contextmanager
def _log_or_nowhere(path: Path) -> Iterator[Any]:
    try:
        file = path.open("ab")
    except OSError:  # a full disk must not prevent the sync
        yield subprocess.DEVNULL
        return
    with file:
        yield file


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def hold(box_dir: Path) -> Any | None:
    """The lock of the box's only watchdog, held until it is closed or its process dies; None where taken."""
    try:
        file = (box_dir / LOCK_FILE).open("a")
    except OSError:  # a disk so full that a name finds no room: better two watchdogs than none
        return Path(os.devnull).open()
    until = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() > until:
                file.close()
                return None
        time.sleep(0.05)


def _wait(condition: Callable[[], bool], patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already, or not ours to end
        os.kill(pid, number)


def boot_id() -> str:
    """Differs after every start of the machine; the console writes and compares the same text."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "boot"


def recorded_process(run_dir: Path) -> dict[str, Any] | None:
    """What `run.pid` says: pid, start_time (Unix seconds), boot_id; None where it says nothing yet."""
    try:
        record = json.loads((run_dir / PID_FILE).read_text())
        return {
            "pid": int(record["pid"]),
            "start_time": float(record["start_time"]),
            "boot_id": str(record["boot_id"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(identity: dict[str, Any]) -> bool:
    """Whether that very process lives: not another one with its pid, not a zombie."""
    if not str(identity["boot_id"]).startswith("boot") and identity["boot_id"] != boot_id():
        return False
    start = start_time(identity["pid"])
    return start is not None and abs(start - identity["start_time"]) < _START_TOLERANCE_S


def start_time(pid: int) -> float | None:
    """Unix seconds at which a living process was started; None where there is none (a zombie is none)."""
    if not Path("/proc/stat").exists():
        return _start_time_by_ps(pid)
    try:
        # The command in parentheses may hold anything, also spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    except (OSError, StopIteration):
        return None
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return float(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _start_time_by_ps(pid: int) -> float | None:
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    state, _, started = answer.stdout.strip().partition(" ")
    if not started or state.startswith("Z"):
        return None
    return time.mktime(time.strptime(started.strip()))


def marked_processes(marker: str) -> Iterator[int]:
    """Pids of living processes that carry `NAME=value` in their environment."""
    if not Path("/proc/self/environ").exists():
        yield from _marked_by_ps(marker)
        return
    wanted = marker.encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # Unreadable are other users' processes and those that end while we look; zombies read empty.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _variable_of(pid: int, name: str) -> str:
    """A variable of another process's environment; "" where it has none, or does not let us see it."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(name.encode() + b"="):
                return entry.partition(b"=")[2].decode(errors="replace")
    return ""


def open_files(pid: int) -> list[str]:
    """Paths of the files that a process has open, as far as one may see them."""
    found = []
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(descriptor))  # noqa: PTH115 - Path has it since 3.9
    return found


def _marked_by_ps(marker: str) -> Iterator[int]:
    answer = subprocess.run(["ps", "-axeww", "-o", "pid=,command="], capture_output=True, check=False)
    for line in answer.stdout.decode(errors="replace").splitlines():
        pid, _, words = line.strip().partition(" ")
        if pid.isdecimal() and marker in words.split(" "):
            yield int(pid)


def last_done(events: Path) -> dict[str, Any]:
    """The `done` that ends an `events.jsonl`; {} where it does not end with one."""
    try:
        with events.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _EVENTS_TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "seq" in record:
                return record if record.get("type") == "done" else {}
    return {}


def main(arguments: list[str]) -> int:
    """`python -m remote watchdog BOX_DIR`, or `python3 watchdog.py BOX_DIR`."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m remote watchdog BOX_DIR", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    path = Path(arguments[0]).absolute()
    try:
        watchdog = Watchdog(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"error: {path / BOX_FILE} cannot be read: {error}", file=sys.stderr)
        print("hint: the provider writes it before it starts the watchdog", file=sys.stderr)
        return _EXIT_NOT_FOUND
    lock = hold(path)
    if lock is None:
        print(f"{path} has a watchdog already", file=sys.stderr)
        return 0
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, it would hide exit codes
    signal.signal(signal.SIGTERM, watchdog.ask_to_end)
    signal.signal(signal.SIGINT, watchdog.ask_to_end)
    with lock:
        watchdog.watch()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
