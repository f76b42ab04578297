"""The box's leader: it ends the box when the run is over or the deadline has come.

It is started first, in its own session, needs nothing but the standard library, and outlives the
console, the connection and the run. It trusts no child: the run is found by `run.pid`, the box's
processes by the marker in their environment. Only it writes `watchdog.jsonl`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOX_FILE = "box.json"
PID_FILE = "run.pid"
LOG_FILE = "watchdog.jsonl"

RUN_PATIENCE_S = 20.0
"""How long a run may take to write its last checkpoint after SIGTERM."""
PATIENCE_S = 5.0
"""How long everything else gets between SIGTERM and SIGKILL."""
_POLL_S = 0.5
_START_TOLERANCE_S = 2.0  # the boot time that start times are counted from moves with the wall clock
_EVENTS_TAIL_BYTES = 64 * 1024
_EXIT_NOT_FOUND = 4


@dataclass(frozen=True, slots=True)
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

    @classmethod
    def read(cls, path: Path) -> "Box":
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
        )


class BoxFile:
    """`box.json`, read again whenever it changes; a damaged new version leaves the old one in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self.box = Box.read(path)

    def refresh(self) -> None:
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self.box = Box.read(self._path)
            self._seen = stamp

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class Watchdog:
    """Watches one box until it has ended it."""

    def __init__(
        self,
        box_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        run_patience_s: float = RUN_PATIENCE_S,
    ) -> None:
        self._file = BoxFile(box_dir / BOX_FILE)
        self._clock = clock
        self._run_patience_s = run_patience_s
        self._asked_to_end = False
        self._exited_pid: int | None = None
        self._exited_at = 0.0

    def ask_to_end(self, *_: object) -> None:
        """Signal handler: end the box at the next look."""
        self._asked_to_end = True

    def watch(self) -> None:
        """Block until the box is to end, then end it."""
        self._log("watching", deadline=self._file.box.deadline)
        while (reason := self.reason_to_end()) is None:
            time.sleep(_POLL_S)
        self._log("ending", reason=reason)
        self.end()
        self._log("ended", reason=reason)

    def reason_to_end(self) -> str | None:
        """Look once; None while the box has a purpose and time left."""
        self._file.refresh()
        box = self._file.box
        if self._asked_to_end:
            return "asked to end"
        if self._clock() >= box.deadline:
            return "the deadline has come"
        if self._run_is_over() and self._clock() >= self._exited_at + box.grace_s:
            return "the run is over"
        return None

    def _run_is_over(self) -> bool:
        run_dir = self._file.box.run_dir
        identity = recorded_process(run_dir) if run_dir else None
        if run_dir is None or identity is None:
            return False
        if is_alive(identity):
            self._exited_pid = None  # started again in the same directory
            return False
        if self._exited_pid != identity["pid"]:
            self._exited_pid = identity["pid"]
            self._exited_at = self._clock()
            done = last_done(run_dir / "events.jsonl")
            self._log(
                "run_exited",
                pid=identity["pid"],
                status=done.get("status", "lost"),
                exit_code=done.get("exit_code"),
                grace_s=self._file.box.grace_s,
            )
        return True

    def end(self) -> None:
        """Terminate every marked process except this one: the run first, with time to checkpoint."""
        box = self._file.box
        run = recorded_process(box.run_dir) if box.run_dir else None
        signalled: set[int] = set()
        if run is not None and is_alive(run):
            _signal(run["pid"], signal.SIGTERM)
            signalled.add(run["pid"])
            _wait(lambda: not is_alive(run), self._run_patience_s)
        for pid in self._others():
            if pid not in signalled:
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
        run_dir = self._file.box.run_dir
        line = json.dumps({"t": round(self._clock(), 3), "type": kind, **fields}) + "\n"
        with contextlib.suppress(OSError):  # a full disk must not keep the box alive
            sys.stdout.write(line)
            sys.stdout.flush()
        if run_dir is not None and run_dir.is_dir():
            with contextlib.suppress(OSError), (run_dir / LOG_FILE).open("a", encoding="utf-8") as file:
                file.write(line)


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
    """`python -m remote watchdog BOX_DIR`."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m remote watchdog BOX_DIR", file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    path = Path(arguments[0]).absolute()
    try:
        watchdog = Watchdog(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {path / BOX_FILE} cannot be read: {error}", file=sys.stderr)
        print("hint: the provider writes it before it starts the watchdog", file=sys.stderr)
        return _EXIT_NOT_FOUND
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, watchdog.ask_to_end)
    signal.signal(signal.SIGINT, watchdog.ask_to_end)
    watchdog.watch()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
