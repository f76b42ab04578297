"""Installs the runtime on a box: `python3 bootstrap.py PLAN.json`, a single file, Python ≥ 3.8.

The console decides (which interpreter, which requirements) and writes the plan; this executes it, as often
as it is asked to, and does nothing twice. It outlives the connection that started it. What it does is told
in `events.jsonl` beside the plan, in the events of a run: `phase` and `progress` of the phase `bootstrap`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EVENTS_FILE = "events.jsonl"
STATE_FILE = ".ups-runtime"
"""In the venv, written last: which plan it fulfils."""
_BASE_FILE = ".ups-base"
_TAIL_LINES = 12
_EVERY_S = 1.0
_NO_SPACE = "No space left on device"


class FailedError(Exception):
    """The box cannot run the runtime; told as an `error` event."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Events:
    """The bootstrap's own events.jsonl, begun anew each time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._seq = 0

    def write(self, kind: str, **fields: Any) -> None:
        record = {"seq": self._seq, "t": round(time.time(), 6), "type": kind, **fields}
        self._seq += 1
        self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")


class Bootstrap:
    """One execution of a plan."""

    def __init__(self, box: Path, plan: dict[str, Any], events: Events) -> None:
        self._box = box
        self._plan = plan
        self._events = events
        self._venv = box / "venv"
        self._done = 0
        self._total = 0

    @property
    def _python(self) -> str:
        return str(self._venv / "bin" / "python")

    def execute(self) -> None:
        """Raises FailedError, OSError."""
        plan = self._plan
        self._events.write("phase", phase="bootstrap", state="started", detail="", plan=plan["id"])
        if self._installed():
            self._events.write("phase", phase="bootstrap", state="finished", detail="installed already")
            return
        steps: list[tuple[str, Callable[[], None]]] = [("an environment", self._make_venv)]
        if plan["torch"]:
            steps.append((f"downloading {plan['torch']}", self._install_torch))
        if plan["install"]:
            steps.append((f"installing {len(plan['install'])} requirements", self._install_requirements))
        steps += [("installing the runtime", self._install_wheel), ("importing it", self._check)]
        self._total = len(steps)
        self._require_space()
        for text, step in steps:
            self._tell(text)
            step()
            self._done += 1
            self._tell(text)
        (self._venv / STATE_FILE).write_text(plan["digest"])
        self._events.write("phase", phase="bootstrap", state="finished", detail=plan["summary"])

    def _installed(self) -> bool:
        state = self._venv / STATE_FILE
        return state.exists() and state.read_text() == self._plan["digest"]

    def _tell(self, detail: str) -> None:
        self._events.write(
            "progress", phase="bootstrap", task=None, done=self._done, total=self._total, unit="steps",
            detail=detail,
        )  # fmt: skip

    def _require_space(self) -> None:
        free = shutil.disk_usage(self._box).free // 2**20
        needed = self._plan["megabytes"]
        if free < needed:
            raise FailedError(
                f"the box's disk is full: {free} MB are free, the runtime needs {needed} MB",
                "rent with a larger --disk",
            )

    # --- the steps ----------------------------------------------------------------------------

    def _make_venv(self) -> None:
        plan = self._plan
        base = json.dumps([plan["python"], plan["sites"], plan["torch"], plan["uv"]])
        if self._venv.exists():
            record = self._venv / _BASE_FILE
            if record.exists() and record.read_text() == base:
                (self._venv / STATE_FILE).unlink(missing_ok=True)
                return
            shutil.rmtree(self._venv)
        if plan["uv"]:
            self._make_venv_by_uv()
        elif plan["sites"]:
            self._make_inheriting_venv()
        elif self._call([plan["python"], "-m", "venv", str(self._venv)], check=False):
            # Debian splits ensurepip off; pip from outside serves as well.
            shutil.rmtree(self._venv, ignore_errors=True)
            self._call([plan["python"], "-m", "venv", "--without-pip", str(self._venv)])
        (self._venv / _BASE_FILE).write_text(base)

    def _make_inheriting_venv(self) -> None:
        plan = self._plan
        # Making a pip takes seconds, and an inherited one serves as well.
        without = ["--without-pip"] if plan["inherits_pip"] else []
        self._call([plan["python"], "-m", "venv", *without, str(self._venv)])
        # A venv of a venv does not see its parent's packages; this names them, after its own.
        folder = next((self._venv / "lib").glob("python3*")) / "site-packages"
        (folder / "inherited.pth").write_text("".join(f"{site}\n" for site in plan["sites"]))

    def _make_venv_by_uv(self) -> None:
        plan, tools = self._plan, self._box / "tools"
        self._call([plan["python"], "-m", "pip", "install", *_PIP, "--target", str(tools), plan["uv"]])
        self._call([str(tools / "bin" / "uv"), "venv", "--seed", "--python", plan["python_version"],
                    str(self._venv)])  # fmt: skip

    def _install_torch(self) -> None:
        index = ["--index-url", self._plan["index"]] if self._plan["index"] else []
        self._pip("install", *index, self._plan["torch"])

    def _install_requirements(self) -> None:
        constraints = self._box / "bootstrap" / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in self._plan["constraints"]))
        self._pip("install", "-c", str(constraints), *self._plan["install"])

    def _install_wheel(self) -> None:
        wheel = self._box / "wheels" / self._plan["wheel"]
        with wheel.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != self._plan["wheel_sha256"]:
            wheel.unlink()
            raise FailedError(
                f"{wheel.name} has another hash than the one that was sent: it is not installed",
                "launch again: it is sent anew",
            )
        self._pip("install", "--no-deps", "--no-index", "--no-compile", "--force-reinstall", str(wheel))

    def _check(self) -> None:
        code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
        self._call([self._python, "-c", code, *self._plan["check"]])

    # --- commands -----------------------------------------------------------------------------

    def _pip(self, *arguments: str) -> None:
        pip = [self._python, "-m", "pip"]
        if self._call([self._python, "-c", "import pip"], check=False):
            pip = [self._plan["python"], "-m", "pip", "--python", self._python]
        command, *rest = arguments
        self._call([*pip, command, *_PIP, *rest])

    def _call(self, argv: Sequence[str], *, check: bool = True) -> int:
        """Run a command; its lines go to our own output, and one a second becomes progress."""
        environment = {**os.environ, "PYTHONNOUSERSITE": "1", "PIP_NO_INPUT": "1"}
        for name in ("PYTHONPATH", "PYTHONHOME"):
            environment.pop(name, None)
        child = subprocess.Popen(
            list(argv), cwd=str(self._box), env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            tail = self._narrate(child)
            code = child.wait()
        finally:
            if child.poll() is None:  # we are told to end: nothing goes on writing to the environment
                child.kill()
                child.wait()
        if code and check:
            raise _failure(argv, code, tail)
        return code

    def _narrate(self, child: subprocess.Popen[bytes]) -> list[str]:
        """Pass on what a command says until it ends; its last lines."""
        assert child.stdout is not None
        tail: list[str] = []
        told = time.monotonic()
        for raw in child.stdout:
            line = raw.decode(errors="replace").rstrip()
            print(line, flush=True)
            tail = [*tail, line][-_TAIL_LINES:]
            if line.strip() and time.monotonic() - told > _EVERY_S:
                told = time.monotonic()
                self._tell(line.strip()[:200])
        return tail


_PIP = ("--disable-pip-version-check", "--progress-bar", "off", "--no-warn-script-location")


def _failure(argv: Sequence[str], code: int, tail: list[str]) -> FailedError:
    text = "\n".join(tail)
    if _NO_SPACE in text:
        return FailedError("the box's disk is full", "rent with a larger --disk")
    name = "pip" if "pip" in argv[:4] else Path(argv[0]).name
    return FailedError(
        f"{name} failed on the box (exit code {code}):\n{text}", "its output is in bootstrap/run.log"
    )


def main(arguments: list[str]) -> int:
    """Execute a plan; the exit code only repeats what the events say."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = Path(arguments[0]).absolute()
    box = path.parent.parent
    with (path.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        plan = json.loads(path.read_text(encoding="utf-8"))
        events = Events(path.parent / EVENTS_FILE)
        try:
            Bootstrap(box, plan, events).execute()
            return 0
        except FailedError as error:
            message, hint = error.message, error.hint
        except OSError as error:
            message, hint = f"the box failed: {error.strerror or error}", "its disk may be full or damaged"
        events.write("error", code="bootstrap", message=message, hint=hint)
        events.write("phase", phase="bootstrap", state="failed", detail=message.splitlines()[0])
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
