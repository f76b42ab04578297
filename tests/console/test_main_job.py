"""The main job, headless and whole: data, launch, curves, crash, resume, teardown; real processes."""

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

import numpy as np
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
        (found,) = self.home.glob(f"instances/*/runs/{run}/attempt-*")
        return found

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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference data of two tasks, made once for the tests of this module."""
    root = tmp_path_factory.mktemp("store")
    environment = {**os.environ, "UPS_HOME": str(root / "home"), "UPS_STORE": f"dir:{root / 'store'}"}
    for task, samples in (("advection1d", "10"), ("darcy2d", "20")):
        command = [COMMAND, "data", "make", task, "--samples", samples]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
    return root / "store"


@pytest.fixture
def laptop(tmp_path: Path, store: Path) -> Iterator[Laptop]:
    shutil.copytree(store, tmp_path / "store")
    laptop = Laptop(tmp_path, tmp_path / "store")
    yield laptop
    laptop.run("destroy", "--all", "--yes")
    assert laptop.processes() == []


def curve(events: list[Event], split: str, name: str) -> dict[tuple[str | None, int], float]:
    """(task, step) → value; a later attempt replaces what an earlier one wrote after its checkpoint."""
    return {
        (event["task"], event["step"]): event["values"][name]
        for event in events
        if event["type"] == "metric" and event["split"] == split and name in event["values"]
    }


def is_checkpoint_of(epoch: int) -> Callable[[Event], bool]:
    return lambda event: event["type"] == "checkpoint" and event["epoch"] >= epoch


def test_launch_trains_evaluates_publishes_and_leaves_nothing_running(laptop: Laptop) -> None:
    lines = [json.loads(line) for line in laptop.run("launch", str(laptop.config), "--json").splitlines()]
    first, events = lines[0], [line for line in lines if "seq" in line]
    assert first["type"] == "launch"
    run = first["run"]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"], events[-1]["status"]) == ("run", "done", "succeeded")
    finished = [e["phase"] for e in events if e["type"] == "phase" and e["state"] in ("finished", "skipped")]
    assert finished == ["hydrate", "precompute", "train", "evaluate", "publish"]
    losses = curve(events, "train", "loss")
    advection = [value for (task, _), value in losses.items() if task == "advection1d"]
    darcy = [value for (task, _), value in losses.items() if task == "darcy2d"]
    assert len(advection) > 5
    assert len(darcy) > 5
    assert advection != darcy

    states = [line["after"] for line in lines if line["type"] == "instance"]
    assert states == ["intended", "requested", "starting", "reachable", "running", "stopping", "destroyed"]
    assert laptop.processes() == []
    assert not list(laptop.home.glob("instances/*"))
    assert [row["state"] for row in laptop.json("fleet")] == ["destroyed"]

    report = laptop.json("report", run)
    for task in ("advection1d", "darcy2d"):
        values = report["splits"]["test"]["tasks"][task]
        assert values["one_step"] > 0
        assert values["persistence_one_step"] > 0
    published = laptop.store / "runs" / run / "attempt-1"
    for name in ("run.yaml", "events.jsonl", "run.log", "report.json", "checkpoints", "rollouts"):
        assert (published / name).exists(), name
    mirror = laptop.home / "runs" / run / "attempt-1"
    assert (published / "events.jsonl").read_bytes() == (mirror / "events.jsonl").read_bytes()
    (row,) = laptop.json("runs")
    assert (row["run"], row["status"], row["attempts"]) == (run, "succeeded", 1)


def test_predictions_let_anyone_recompute_the_report(laptop: Laptop, tmp_path: Path) -> None:
    run = json.loads(laptop.run("launch", str(laptop.config), "--json").splitlines()[0])["run"]
    out = tmp_path / "predictions.npz"
    report = laptop.json("evaluate", run, "--task", "darcy2d", "--predictions", str(out))
    with np.load(out) as arrays:
        predicted, true = arrays["one_step"].astype(float), arrays["true"].astype(float)
    axes = tuple(range(2, predicted.ndim))
    nrmse = np.sqrt(((predicted - true) ** 2).sum(axes) / (true**2).sum(axes)).mean()
    stated = report["splits"]["test"]["tasks"]["darcy2d"]["one_step"]
    assert nrmse == pytest.approx(stated, rel=1e-4)


def test_a_killed_trainer_is_lost_and_resumes_on_the_same_curve(laptop: Laptop) -> None:
    whole = laptop.launch()
    laptop.run("events", whole, "-f")
    run = laptop.launch()
    laptop.wait_for(run, is_checkpoint_of(2))
    os.kill(json.loads((laptop.box(run) / "run.pid").read_text())["pid"], signal.SIGKILL)
    laptop.run("events", run, "-f")
    (row,) = [row for row in laptop.json("runs") if row["run"] == run]
    assert row["status"] in ("failed", "lost")

    laptop.run("resume", run)
    events = laptop.events(run)
    assert any(event["type"] == "resumed" for event in events)
    (row,) = [row for row in laptop.json("runs") if row["run"] == run]
    assert (row["status"], row["attempts"]) == ("succeeded", 2)
    reference = laptop.events(whole)
    for split, name in (("train", "loss"), ("val", "nrmse")):
        expected, found = curve(reference, split, name), curve(events, split, name)
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, abs=1e-6), key
    assert laptop.json("report", run)["splits"] == laptop.json("report", whole)["splits"]


def test_a_killed_follower_loses_and_doubles_no_event(laptop: Laptop) -> None:
    child = laptop.start("launch", str(laptop.config), "--json")
    assert child.stdout is not None
    run = json.loads(child.stdout.readline())["run"]
    laptop.wait_for(run, is_checkpoint_of(1))
    child.kill()
    child.communicate()
    events = [json.loads(line) for line in laptop.run("events", run, "-f").splitlines()]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert events[-1]["status"] == "succeeded"
    (box_log,) = (laptop.store / "runs" / run).glob("attempt-1/run.log")
    assert laptop.run("logs", run) == box_log.read_text()


def test_destroy_all_in_mid_run_saves_the_artifacts_first(laptop: Laptop) -> None:
    run = laptop.launch()
    laptop.wait_for(run, is_checkpoint_of(1))
    assert laptop.processes()
    laptop.run("destroy", "--all", "--yes")
    assert laptop.processes() == []
    assert [row["state"] for row in laptop.json("fleet")] == ["destroyed"]
    published = laptop.store / "runs" / run / "attempt-1"
    assert list(published.glob("checkpoints/*"))
    assert json.loads((published / "events.jsonl").read_text().splitlines()[-1])["status"] == "stopped"
    (row,) = laptop.json("runs")
    assert row["status"] == "stopped"


def test_a_box_that_nobody_watches_ends_itself(laptop: Laptop) -> None:
    run = laptop.launch()
    until = time.monotonic() + 120
    while laptop.processes() and time.monotonic() < until:
        time.sleep(0.2)
    assert laptop.processes() == []
    laptop.run("reconcile")
    assert [row["state"] for row in laptop.json("fleet")] == ["destroyed"]
    (row,) = laptop.json("runs")
    assert (row["run"], row["status"]) == (run, "succeeded")


def test_the_first_interrupt_detaches_and_the_second_tears_down(laptop: Laptop) -> None:
    child = laptop.start("launch", str(laptop.config))
    assert child.stdout is not None
    run = child.stdout.readline().split()[1]
    laptop.wait_for(run, is_checkpoint_of(1))
    child.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert laptop.processes()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "goes on without this window" in errors
    assert laptop.processes() == []
