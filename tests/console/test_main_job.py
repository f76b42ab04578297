"""The main job, headless and whole: data, launch, curves, crash, resume, teardown; real processes."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.laptop import Event, Laptop, is_checkpoint_of

LONG = ("--set", "stages.operator.epochs=400")
"""Options of a run that does not end by itself while a test looks at it."""


def curve(events: list[Event], split: str, name: str) -> dict[tuple[str | None, int], float]:
    """(task, step) → value; a later attempt replaces what an earlier one wrote after its checkpoint."""
    return {
        (event["task"], event["step"]): event["values"][name]
        for event in events
        if event["type"] == "metric" and event["split"] == split and name in event["values"]
    }


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
    run = laptop.launch(*LONG)
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
    assert [row["status"] for row in laptop.json("runs")] == ["succeeded"], "ended while nobody looked"
    laptop.run("reconcile")
    assert [row["state"] for row in laptop.json("fleet")] == ["destroyed"]
    (row,) = laptop.json("runs")
    assert (row["run"], row["status"]) == (run, "succeeded")


def test_the_first_interrupt_detaches_and_the_second_tears_down(laptop: Laptop) -> None:
    child = laptop.start("launch", str(laptop.config), *LONG)
    assert child.stdout is not None
    assert child.stderr is not None
    run = child.stdout.readline().split()[1]
    laptop.wait_for(run, is_checkpoint_of(1))
    child.send_signal(signal.SIGINT)
    child.stderr.readline()
    assert "goes on without this window" in child.stderr.readline()
    child.send_signal(signal.SIGINT)  # at once: the window for it is short
    child.communicate(timeout=120)
    assert child.returncode == 130
    assert laptop.processes() == []
