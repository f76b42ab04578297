"""A box whose processes are killed at seeded moments, and what must be the same as if nobody had.

A box is a directory with the start script's dead-man, a real watchdog, and `python -m remote run` in a
session of its own; its store is a bucket. What is played: a process is killed by SIGKILL in the middle of a
phase, as far into it as a draw says, and the run is started again in the same directory.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from console.fleet import onstart, processes
from console.fleet.box_file import BOX_FILE, BoxFile, Destruction
from console.fleet.model import Label
from remote import watchdog
from remote.publish import content_sha256, files_below
from ups.events import Event, EventReader
from ups.models import checkpoint as checkpoints
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256

MEASURED = "CHAOS_LOG"
"""Names a file that gets a JSON line for each kill."""
PATIENCE_S = 240.0
TOLERANCE = 1e-6
_MARKER = "UPS_INSTANCE"
_LOOK_S = 0.005

VICTIMS = ("run", "session", "child", "watchdog", "everything")
"""`run`: its main process. `session`: with its children. `child`: one of them. `everything`: of the box,
the dead-man too, as where the machine was cut off."""
Moment = tuple[str, str]
"""A phase, and the stage of it that is trained; "" for the others."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What is killed when."""

    moment: Moment
    after_s: float
    victim: str


def moments(events: Sequence[Event]) -> dict[Moment, float]:
    """How long each phase of a run took, and each stage of its training."""
    found: dict[Moment, float] = {}
    begun: dict[str, float] = {}
    stage, since = "", 0.0
    for event in events:
        phase, state = event.fields.get("phase"), event.fields.get("state")
        if event.type == "phase" and state == "started":
            begun[phase] = event.t
        elif event.type == "phase" and state == "finished":
            if phase == "train":
                found["train", stage] = event.t - since
            else:
                found[phase, ""] = event.t - begun[phase]
        elif (other := event.fields.get("stage")) and event.type == "metric" and other != stage:
            if stage:
                found["train", stage] = event.t - since
            stage, since = other, event.t if stage else begun["train"]
    return found


def draws(seed: int, took: Mapping[Moment, float], count: int) -> list[Kill]:
    """Kills of one run, in the order of its phases; a seed's first one goes round all of them."""
    random_ = random.Random(seed)
    phases = list(took)
    chosen = sorted([seed % len(phases), *random_.sample(range(len(phases)), count - 1)])
    found: list[Kill] = []
    victims = [*VICTIMS]
    for index in chosen:
        moment = phases[index]
        found.append(Kill(moment, random_.uniform(0.0, took[moment]), random_.choice(victims)))
        if found[-1].victim == "watchdog":  # the dead-man starts it again once a minute at most
            victims.remove("watchdog")
    return found


class ChaosBox:
    """One box, and one run in it."""

    def __init__(self, root: Path, run: RunDirectory, environment: Mapping[str, str]) -> None:
        """
        Args:
            root: the box's directory; `run` lies below it.
            run: its run directory, with a run.yaml.
            environment: what its processes find besides, such as the keys of the store.
        """
        self.root = root
        self.run = run
        self._label = Label.new("chaos", time.time() + 3600)
        self.label = str(self._label)
        self.environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "UPS_REMOTE_DEVICE": "cpu", "HOME": str(root),
            "UPS_REMOTE_HALT": f"touch {root / 'halted'}", **environment, _MARKER: self.label,
        }  # fmt: skip
        self.starts = 0
        self._boot()

    def _boot(self) -> None:
        """The start script with its dead-man, then the watchdog and its orders, as a launch brings them."""
        self._power_on()
        self.until((self.root / watchdog.LOCK_FILE).exists, "the dead-man has looked")
        program = self.root / "watchdog.py"
        shutil.copy(str(watchdog.__file__), program)
        orders = BoxFile(
            label=self.label, deadline=time.time() + 3600, grace_s=600.0, destroy=Destruction("none"),
            run_dir=str(self.run.root), max_failures=None,
        )  # fmt: skip
        (self.root / BOX_FILE).write_bytes(orders.render(time.time()))
        subprocess.Popen(
            [sys.executable, str(program), str(self.root)], env=self.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.until(self.watchdogs, "the watchdog watches")

    def _power_on(self) -> None:
        script = onstart.render(
            self._label, box=str(self.root), written=time.time(), url=None, poll_s=0.2
        )  # fmt: skip
        subprocess.run(["sh", "-c", script], env=self.environment, check=True, timeout=30)

    # --- the run --------------------------------------------------------------------------------

    def start(self) -> "subprocess.Popen[bytes]":
        self.starts += 1
        with self.run.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "remote", "run", str(self.run.root)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env=self.environment,
            )  # fmt: skip

    def play(self, kills: Sequence[Kill] = ()) -> list[Event]:
        """Run to the end, through all kills; the run is started again as often as it takes."""
        process = self.start()
        for kill in kills:
            self._until_in(kill.moment, process)
            time.sleep(kill.after_s)
            if not self._strike(kill, process):
                continue  # the run goes on, or has something to say about it
            process.wait(timeout=PATIENCE_S)
            process = self.start()
        for _ in range(len(kills) + 1):
            if process.wait(timeout=PATIENCE_S) == 0:
                break
            process = self.start()  # it lost a child, and said so
        assert process.returncode == 0, self.log[-4000:]
        return self.events

    def _until_in(self, moment: Moment, process: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + PATIENCE_S
        while process.poll() is None and not self._reached(moment):
            assert time.monotonic() < until, f"{moment}: not reached\n{self.log[-4000:]}"
            time.sleep(_LOOK_S)

    def _reached(self, moment: Moment) -> bool:
        """Whether a phase, or a stage, has begun since the last start or before."""
        phase, stage = moment
        for event in self.events:
            begun = (event.fields.get("phase"), event.fields.get("state")) == (phase, "started")
            if begun and stage in ("", "operator"):
                return True
            if stage and event.type == "metric" and event.fields.get("stage") == stage:
                return True
        return False

    def _strike(self, kill: Kill, process: "subprocess.Popen[bytes]") -> bool:
        """Kill; returns whether the run's own process was among them, or was dead already."""
        events = self.events
        at = events[-1] if events else None
        hit = [victim for victim in self._victims(kill.victim, process) if _ended(victim)]
        self._measure(kill, at, hit)
        if kill.victim == "everything":
            self.until(lambda: not self.processes(), "the machine is off")
            self._power_on()
            self.until(self.watchdogs, "the dead-man starts the watchdog again")
        return process.poll() is not None or any(victim.pid == process.pid for victim in hit)

    def _victims(self, name: str, process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        try:
            main = psutil.Process(process.pid)
            children = main.children(recursive=True)
        except psutil.NoSuchProcess:
            main, children = None, []
        if name == "watchdog":
            return self.watchdogs()
        if name == "everything":
            return self.processes()
        if name == "child" and children:
            return children[-1:]
        if main is None:
            return []
        return [main, *children] if name == "session" else [main]

    def _measure(self, kill: Kill, at: Event | None, hit: Sequence[psutil.Process]) -> None:
        if path := os.environ.get(MEASURED):
            line = {
                "run": self.run.root.name, "moment": [*kill.moment], "after_s": round(kill.after_s, 3),
                "victim": kill.victim, "processes": len(hit), "seq": at.seq if at else None,
                "type": at.type if at else None,
            }  # fmt: skip
            with Path(path).open("a") as file:
                file.write(json.dumps(line) + "\n")

    # --- what is so -----------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        return EventReader(self.run.events_path).read()

    @property
    def log(self) -> str:
        return self.run.log_path.read_text() if self.run.log_path.exists() else ""

    def processes(self) -> list[psutil.Process]:
        return [found for found in processes.marked(_MARKER, self.label) if _lives(found)]

    def watchdogs(self) -> list[psutil.Process]:
        return [found for found in self.processes() if str(self.root / "watchdog.py") in _words(found)]

    def until(self, is_so: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
            time.sleep(0.02)

    def assert_quiet(self) -> None:
        """Nothing of the run lives: only what guards the box."""
        self.until(lambda: len(self.processes()) <= 2, f"only the guards live: {self._told()}")
        self.until(self.watchdogs, "the watchdog watches")
        assert not (self.root / "halted").exists()

    def _told(self) -> list[list[str]]:
        return [_words(found) for found in self.processes()]

    def close(self) -> None:
        for _ in range(2):
            for found in self.processes():
                _ended(found)


def _ended(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGKILL)
        return True
    return False


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


# --- what must be the same ---------------------------------------------------------------------------


def numbers(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a report with its path; how long something took is not what it came to."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key not in _TIMED:
                yield from numbers(value, f"{path}.{key}")
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from numbers(value, f"{path}[{index}]")
    else:
        yield path, content


_TIMED = frozenset({"seconds", "created", "run", "attempt", "checkpoint_sha256"})
"""A checkpoint holds how long it took."""


def assert_same(found: Any, expected: Any) -> None:
    """Equal in every word, and to 1e-6 in every number."""
    ours, theirs = dict(numbers(found)), dict(numbers(expected))
    assert ours.keys() == theirs.keys()
    different = [
        f"{path}: {value}, not {theirs[path]}"
        for path, value in ours.items()
        if not _equal(value, theirs[path])
    ]
    assert not different, "\n".join(different)


def _equal(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, (int, float)):
        return abs(value - other) <= TOLERANCE * max(1.0, abs(other))
    return bool(value == other)


Point = tuple[Any, ...]


def curves(attempts: Sequence[Sequence[Event]]) -> dict[Point, Mapping[str, Any]]:
    """The points of a run's curves as a reader joins them: what a `resumed` makes void is dropped."""
    found: dict[Point, Mapping[str, Any]] = {}
    order: list[str] = []
    for events in attempts:
        for event in events:
            fields = event.fields
            if event.type == "resumed":
                stage, step = fields["stage"], fields["step"]
                later = order[order.index(stage) + 1 :] if stage in order else []
                found = {
                    point: values
                    for point, values in found.items()
                    if not (point[0] == stage and point[2] > step) and point[0] not in later
                }
            elif event.type == "metric":
                stage = fields["stage"]
                order += [] if stage in order else [stage]
                point = (stage, fields["epoch"], fields["step"], fields["task"], fields["split"])
                assert point not in found, f"told twice: {point}"
                found[point] = {name: fields["values"].get(name) for name in ("loss", "nrmse")}
    return found


def told_checkpoints(events: Sequence[Event]) -> set[tuple[str, int]]:
    """Stage and epoch of every checkpoint that a console has heard of."""
    return {(e.fields["stage"], e.fields["epoch"]) for e in events if e.type == "checkpoint"}


def assert_events_whole(events: Sequence[Event]) -> None:
    """Numbered without gaps, begun once, ended well and only at the end."""
    assert [event.seq for event in events] == list(range(len(events)))
    assert [event.type for event in events].count("run") == 1
    assert events[0].type == "run"
    dones = [event for event in events if event.type == "done"]
    assert events[-1].type == "done"
    assert [event.fields["status"] for event in dones if event.fields["status"] == "succeeded"] == [
        "succeeded"
    ]


def assert_published(run: RunDirectory, store: ObjectStore, prefix: str, scratch: Path) -> None:
    """The store holds exactly the results, each with the hash that is told of it."""
    held = {info.key.removeprefix(prefix) for info in store.list(prefix)}
    found = checkpoints.whole(run.checkpoints)
    assert len(found) == len([path for path in run.checkpoints.iterdir() if path.is_dir()])
    for item in found:
        names = {f"checkpoints/{item.path.name}/{file.name}" for file in files_below(item.path)}
        assert names <= held
    here = {path.relative_to(run.root).as_posix() for path in files_below(run.checkpoints)}
    assert {name for name in held if name.startswith("checkpoints/")} == here
    beside = {"run.yaml", "events.jsonl", "run.log", "report.json", "stages.json"}
    assert beside <= held
    assert not any("/." in f"/{name}" for name in held), held
    for number, name in enumerate(sorted(held)):
        copy = scratch / str(number)
        copy.write_bytes(store.read_bytes(prefix + name))
        assert file_sha256(copy) == file_sha256(run.root / name), name
    told = {e.fields["path"]: e.fields["sha256"] for e in EventReader(run.events_path).read()
            if e.type == "published"}  # fmt: skip
    for name in here:
        assert told[name] == content_sha256(run.root / name), name
