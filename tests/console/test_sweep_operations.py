"""Several runs at once, headless and whole: a queue, a kill, Ctrl-C, and what they cost before paying."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.api import LaunchRequest, Level, RentOptions
from console.home import Home
from console.operations import Operations, SweepRequest
from tests.console.cli.test_cli import error_of, ups
from tests.console.recorded import CONFIGS
from tests.laptop import Laptop, is_checkpoint_of
from tests.simulators.vast import VastSimulator, World

SHORT = ("--set", "stages.operator.epochs=1", "--set", "training.samples_per_epoch=16")
LONG = "stages.operator.epochs=400"


def test_a_run_that_is_killed_stops_no_other_and_the_queue_goes_on(laptop: Laptop) -> None:
    """Two at a time where there are two cores: the first lives until the others had their turn."""
    child = laptop.start(
        "launch", str(laptop.config), "--set", "training.samples_per_epoch=16", "--json",
        "--sweep", "stages.operator.epochs=400,1", "--sweep", "seed=1,2", "--max-parallel", "2",
    )  # fmt: skip
    assert child.stdout is not None
    lines: list[dict[str, Any]] = []
    killed = False
    for line in child.stdout:
        lines.append(json.loads(line))
        started = [line["run"] for line in lines if line["type"] == "launch"]
        if not killed and len(started) == min(2, os.cpu_count() or 1):
            for run in started:
                laptop.wait_for(run, is_checkpoint_of(1))
                os.kill(json.loads((laptop.box(run) / "run.pid").read_text())["pid"], signal.SIGKILL)
            killed = True
    _, errors = child.communicate(timeout=120)

    assert child.returncode == 7
    assert "of 4 runs did not succeed" in json.loads(errors.splitlines()[-1])["error"]["message"]
    assert lines[0]["type"] == "sweep"
    final = lines[-1]
    assert final["type"] == "compare"
    assert [run["differs"] for run in final["runs"]] == [
        {"seed": seed, "stages.operator.epochs": epochs} for epochs in (400, 1) for seed in (1, 2)
    ]
    states = [run["state"] for run in final["runs"]]
    assert states[2:] == ["succeeded", "succeeded"]
    assert set(states[:2]) <= {"lost", "failed"}
    assert most_at_once(lines) <= 2
    assert all(line["run"] for line in lines if "seq" in line), "every event says whose it is"

    rows = laptop.json("runs")
    assert {row["sweep"] for row in rows} == {lines[0]["sweep"]}
    told = laptop.run("compare", lines[0]["sweep"])
    assert [line.split()[0] for line in told.splitlines()[2:6]] == [run["run"] for run in final["runs"]]
    assert laptop.processes() == []


def most_at_once(lines: list[dict[str, Any]]) -> int:
    """How many instances of these JSON Lines lived at the same time."""
    alive: set[str] = set()
    most = 0
    moves = [line for line in lines if line["type"] == "instance"]
    for move in sorted(moves, key=lambda move: float(move["t"])):
        if move["after"] in ("stopping", "destroyed"):
            alive.discard(move["run"])
        else:
            alive.add(move["run"])
        most = max(most, len(alive))
    return most


def test_an_interrupt_tears_all_down_and_starts_no_other(laptop: Laptop) -> None:
    child = laptop.start("launch", str(laptop.config), "--set", LONG, "--sweep", "seed=1,2")
    assert child.stdout is not None
    child.stdout.readline()
    run = child.stdout.readline().split()[0]
    laptop.wait_for(run, is_checkpoint_of(1))

    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)

    assert child.returncode == 130
    assert "all runs are torn down" in errors
    assert laptop.processes() == []
    assert [row["state"] for row in laptop.json("fleet")] == ["destroyed"]
    assert [(row["run"], row["status"]) for row in laptop.json("runs")] == [(run, "stopped")]
    assert list((laptop.store / "runs" / run / "attempt-1").glob("checkpoints/*")), "its results are safe"


def test_a_dry_run_lists_the_runs_and_launches_none(laptop: Laptop) -> None:
    other = laptop.config.with_name("other.yaml")
    other.write_text(laptop.config.read_text().replace("seed: 3", "seed: 4"))
    what = ("launch", str(laptop.config), str(other), "--sweep", "training.batch_size=4,8", "--dry-run")

    told = laptop.json(*what)

    assert told["ok"]
    assert [(run["config"], run["differs"]) for run in told["runs"]] == [
        (name, {"seed": seed, "training.batch_size": size})
        for name, seed in (("tiny", 3), ("other", 4))
        for size in (4, 8)
    ]
    assert told["parallel"] == 1
    assert laptop.json("runs") == []
    assert "4 runs, 1 at a time" in laptop.run(*what)
    laptop.run(*what[:-1], "--detach", exit_code=2)
    assert laptop.json("runs") == [], "nobody would start the others"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["--sweep", "training.batch_sise=4,8"], 3, "unknown key training.batch_sise"),
        (["--sweep", "training.batch_size=4,many"], 3, "--sweep training.batch_size=many"),
        (["--sweep", "training.batch_size="], 2, "no values"),
        (["--max-parallel", "2"], 2, "several runs"),
        (["--sweep", "seed=1,2", "--offer-id", "7"], 2, "--offer-id is one machine"),
    ],
)
def test_bad_input_gets_one_error(arguments: list[str], exit_code: int, says: str) -> None:
    done = ups("launch", "local_2task", *arguments, "--json")

    assert (done.returncode, done.stdout) == (exit_code, "")
    assert says in error_of(done)["message"]


@pytest.fixture
def vast(monkeypatch: pytest.MonkeyPatch) -> Iterator[VastSimulator]:
    with VastSimulator(World()) as vast:
        monkeypatch.setenv("VAST_API_KEY", vast.api_key)
        monkeypatch.setenv("VAST_URL", vast.url)
        yield vast


def sweep(*axes: str, budget_usd: float | None = None, each_usd: float | None = None) -> SweepRequest:
    rent = RentOptions(provider="vast", budget_usd=each_usd)
    config = CONFIGS / "local_2task.yaml"
    return SweepRequest((config,), LaunchRequest(config, rent=rent), axes, budget_usd=budget_usd)


@pytest.mark.needs_module("vastai")
class TestMoney:
    def failed(self, operations: Operations, request: SweepRequest) -> list[tuple[str, str]]:
        preflight = operations.sweep_preflight(request)
        checks = [check for check in preflight.checks if check.level is Level.FAILED]
        return [(check.code, check.text) for check in checks if check.code != "not_found"]

    def test_all_are_checked_before_anything_is_rented_and_offers_asked_for_once(
        self, tmp_path: Path, vast: VastSimulator
    ) -> None:
        operations = Operations(Home(tmp_path))

        preflight = operations.sweep_preflight(sweep("seed=1,2,3", each_usd=8.0))

        assert (preflight.cap_usd, preflight.parallel) == (24.0, 3)
        assert len(vast.sent("search")) == 1
        assert vast.sent("create") == []

    def test_the_caps_of_the_day_say_how_many_fit_at_a_time(
        self, tmp_path: Path, vast: VastSimulator
    ) -> None:
        (tmp_path / "config.toml").write_text("[caps]\nusd_per_day = 2.0\n")

        preflight = Operations(Home(tmp_path)).sweep_preflight(sweep("seed=1,2,3", each_usd=0.9))

        assert preflight.parallel == 2

    def test_a_budget_below_what_they_cost_is_refused(self, tmp_path: Path, vast: VastSimulator) -> None:
        operations = Operations(Home(tmp_path))

        ((code, text),) = self.failed(operations, sweep("seed=1,2", budget_usd=0.05))
        assert code == "over_budget"
        assert "2 runs are expected to cost" in text
        assert "their budget is $0.05" in text
        (tmp_path / "config.toml").write_text("[caps]\nusd_per_day = 0.5\n")
        ((code, text),) = self.failed(Operations(Home(tmp_path)), sweep("seed=1,2,3,4,5,6"))
        assert code == "over_budget"
        assert "today's cap" in text
