"""One model on several instances, by one command: boxes of this machine with addresses of their own."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from console.api import LaunchRequest, PreprocessRequest, RentOptions
from console.cli.data import shares
from console.errors import ProviderError
from console.fleet.model import InstanceSpec
from console.fleet.providers.local import LocalProvider
from console.home import Home
from console.operations import Operations
from tests.console.test_main_job import curve
from tests.laptop import Event, Laptop, is_checkpoint_of
from tests.patience import PATIENCE_S


def kill(box: Path) -> None:
    """All processes of a box at once, its watchdog too."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("UPS_INSTANCE") == box.name:
                os.kill(process.pid, signal.SIGKILL)
        except (psutil.Error, ProcessLookupError):
            continue


def test_several_instances_train_one_model_and_a_lost_one_ends_nothing(laptop: Laptop) -> None:
    more = ("--set", "stages.operator.epochs=8")
    whole = laptop.launch(*more)
    laptop.run("events", whole, "-f")

    child = laptop.start("launch", str(laptop.config), "--instances", "2", "--json", *more)
    assert child.stdout is not None
    run = json.loads(child.stdout.readline())["run"]
    laptop.wait_for(run, is_checkpoint_of(2))
    first = laptop.box(run).parents[2]
    assert len(list(laptop.home.glob("instances/*"))) == 2
    kill(first)
    output, errors = child.communicate(timeout=240)
    assert child.returncode == 0, (errors, output[-3000:])

    events = laptop.events(run)
    assert [event["world_size"] for event in events if event["type"] == "run"] == [2, 2]
    assert any(event["type"] == "resumed" for event in events)
    (row,) = [row for row in laptop.json("runs") if row["run"] == run]
    assert (row["status"], row["attempts"]) == ("succeeded", 2)
    assert {row["state"] for row in laptop.json("fleet")} == {"destroyed"}
    assert len(laptop.json("fleet")) == 5
    assert laptop.processes() == []
    _assert_same(laptop.events(whole), events)
    assert (laptop.home / "runs" / run / "attempt-2" / "box-1.log").read_text()


def _assert_same(reference: list[Event], events: list[Event]) -> None:
    expected, found = curve(reference, "val", "nrmse"), curve(events, "val", "nrmse")
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-3), key


def test_when_one_of_several_is_refused_nothing_stays_rented(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[str] = []

    def create(provider: LocalProvider, spec: InstanceSpec) -> str:
        if len(created) == 2:
            raise ProviderError("no room for a third")
        created.append(spec.label)
        return real(provider, spec)

    real = LocalProvider.create
    monkeypatch.setattr(LocalProvider, "create", create)
    monkeypatch.setenv("UPS_STORE", f"dir:{laptop.store}")
    operations = Operations(Home(laptop.home))
    with pytest.raises(ProviderError, match="no room for a third"):
        operations.launch(LaunchRequest(config=laptop.config, rent=RentOptions(instances=3)))
    assert sorted(row.state for row in operations.fleet()) == ["destroyed", "destroyed", "refused"]
    assert laptop.processes() == []


def test_a_preprocessing_on_several_instances_is_a_run_for_each_share_of_the_tasks() -> None:
    request = PreprocessRequest(tasks=("a", "b", "c"), rent=RentOptions(provider="vast", instances=2))
    assert [one.tasks for one in shares(request)] == [("a", "c"), ("b",)]
    assert {one.rent.instances for one in shares(request)} == {1}
    assert len(shares(replace(request, tasks=("a",)))) == 1


def test_what_several_instances_cost_is_said_before(laptop: Laptop) -> None:
    answer = laptop.json("launch", str(laptop.config), "--instances", "3", "--dry-run")
    assert any(check["text"].startswith("local: 3 × ") for check in answer["checks"])
    assert sum(step["title"] == "instance" for step in answer["steps"]) == 3
    refused = laptop.start("launch", str(laptop.config), "--instances", "2", "--keep")
    assert refused.wait(PATIENCE_S) == 2
