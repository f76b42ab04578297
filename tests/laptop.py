"""A laptop with a home and a store of its own, driven through the installed command as a user does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = shutil.which("ups-console", path=str(Path(sys.executable).parent)) or "ups-console"
Event = dict[str, Any]

CONFIG = """
seed: 3
data: {task: [advection1d, darcy2d]}
latent: {dim: 64, tokens: 64}
operator:
  pdet: {input_dim: 64, hidden_dim: 32, depth: 1, num_heads: 2}
  patch: {advection1d: 32, darcy2d: 8}
training: {batch_size: 4, samples_per_epoch: 96, grad_clip: 1.0, log_every: 4, refinement: {channels: 4}}
stages: {operator: {epochs: 5, optimizer: {lr: 3.0e-3}}}
evaluation: {rollout_steps: 4, validation_samples: 4}
"""


def _heed_interrupts() -> None:
    """A shell starts background jobs deaf to Ctrl-C, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Laptop:
    """One home and one store, driven through the installed command."""

    def __init__(self, root: Path, store: Path) -> None:
        self.home = root / "home"
        self.store = store
        self.config = root / "tiny.yaml"
        self.config.write_text(CONFIG)
        self.environment = {
            **os.environ,
            "UPS_HOME": str(self.home),
            "UPS_STORE": f"dir:{store}",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [COMMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        child = self.start(*arguments)
        output, errors = child.communicate(timeout=240)
        assert child.returncode == exit_code, (arguments, child.returncode, errors, output[-2000:])
        assert "Traceback" not in errors
        return output

    def json(self, *arguments: str, exit_code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", exit_code=exit_code))

    def launch(self, *arguments: str) -> str:
        launched = self.json("launch", str(self.config), "--detach", *arguments)
        return str(launched["run"])

    def events(self, run: str) -> list[Event]:
        return [json.loads(line) for line in self.run("events", run).splitlines()]

    def box(self, run: str) -> Path:
        """The run directory on its box, on the first of several."""
        every = list(self.home.glob(f"instances/*/runs/{run}/attempt-*"))
        found = [directory for directory in every if (directory / "events.jsonl").exists()] or every
        assert len(found) == 1 or len(every) > 1, found
        return found[0]

    def wait_for(self, run: str, is_it: Callable[[Event], bool]) -> None:
        """Wait until the box itself has written such an event."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            path = self.box(run) / "events.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            if any(is_it(json.loads(line)) for line in lines[:-1]):
                return
            time.sleep(0.05)
        raise AssertionError("the event never came: " + (self.box(run) / "run.log").read_text()[-2000:])

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the marker of an instance of this home."""
        labels = {path.name for path in self.home.glob("instances/*")} | set(self.labels())
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("UPS_INSTANCE") in labels and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def labels(self) -> list[str]:
        return [row["label"] for row in self.json("fleet")]


@pytest.fixture(scope="session")
def laptop_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference data of two tasks, made once for all tests."""
    root = tmp_path_factory.mktemp("store")
    environment = {**os.environ, "UPS_HOME": str(root / "home"), "UPS_STORE": f"dir:{root / 'store'}"}
    for task, samples in (("advection1d", "10"), ("darcy2d", "20")):
        command = [COMMAND, "data", "make", task, "--samples", samples]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    return root / "store"


@pytest.fixture
def laptop(tmp_path: Path, laptop_store: Path) -> Iterator[Laptop]:
    shutil.copytree(laptop_store, tmp_path / "store")
    laptop = Laptop(tmp_path, tmp_path / "store")
    yield laptop
    laptop.run("destroy", "--all", "--yes")
    assert laptop.processes() == []


def is_checkpoint_of(epoch: int) -> Callable[[Event], bool]:
    """Whether an event tells of a checkpoint of that epoch or a later one."""
    return lambda event: event["type"] == "checkpoint" and event["epoch"] >= epoch
