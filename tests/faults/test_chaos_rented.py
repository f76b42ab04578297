"""A run on a rented box whose processes are killed there comes to the same as one that nobody kills.

A provider's API, a real sshd and a bucket are on loopback; `launch` is the installed command, and all that is
typed: what is lost goes on elsewhere by itself.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.chaos import assert_same, curves, draws, moments
from tests.faults.rented import Rented, renting
from tests.faults.test_chaos import KILLS, reduced_baseline
from ups.config_patch import patched, render
from ups.events import Event

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]

SEEDS = range(200, 200 + max(1, KILLS // 6))
LAUNCH = ("--provider", "vast", "--budget", "5", "--no-smoke", "--json")


@pytest.fixture
def renter(tmp_path: Path, two_tasks: Path) -> Iterator[Rented]:
    with renting(tmp_path, two_tasks) as laptop:
        yield laptop


def _launch(laptop: Rented) -> Any:
    one_epoch = {f"stages.{name}.epochs": 1 for name in ("diff_residual", "consistency_distill")}
    laptop.config.write_text(render(patched(reduced_baseline(), {"stages.operator.epochs": 2, **one_epoch})))
    return laptop.start("launch", str(laptop.config), *LAUNCH)


def _result(laptop: Rented) -> tuple[dict[str, Any], Any]:
    (row,) = laptop.json("runs")
    attempts = [[_event(line) for line in attempt] for attempt in laptop.mirrored()]
    return laptop.json("report", row["run"]), attempts


def _event(record: dict[str, Any]) -> Event:
    rest = {name: value for name, value in record.items() if name not in ("seq", "t", "type")}
    return Event(record["seq"], record["t"], record["type"], rest)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, two_tasks: Path) -> Any:
    with renting(tmp_path_factory.mktemp("rented"), two_tasks) as laptop:
        child = _launch(laptop)
        _, errors = child.communicate(timeout=240)
        assert child.returncode == 0, errors
        laptop.assert_over("undisturbed")
        report, attempts = _result(laptop)
    return report, curves(attempts), moments(attempts[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_killed_on_a_rented_box_comes_to_the_same(
    undisturbed: Any, renter: Rented, seed: int
) -> None:
    report, points, took = undisturbed
    (kill,) = draws(seed, took, 1)
    child = _launch(renter)
    renter.until(lambda: _reached(renter, kill.moment), f"{kill.moment} is reached", 120)
    time.sleep(kill.after_s)
    _strike(renter)
    _, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    renter.assert_over(f"killed in {kill.moment}")
    found, attempts = _result(renter)
    for events in attempts:
        assert [event.seq for event in events] == list(range(len(events)))
    ours = curves(attempts)
    assert ours.keys() == points.keys()
    for point, values in ours.items():
        assert values == pytest.approx(points[point], abs=1e-6), point
    assert_same(found, report)


def _reached(laptop: Rented, moment: tuple[str, str]) -> bool:
    phase, stage = moment
    for row in laptop.vast.alive():
        for event in laptop.run_on_box(row):
            begun = (event.get("phase"), event.get("state")) == (phase, "started")
            if begun and stage in ("", "operator"):
                return True
            if stage and event["type"] == "metric" and event.get("stage") == stage:
                return True
    return False


def _strike(laptop: Rented) -> None:
    """SIGKILL for the run on the box, and all that it has started."""
    for process in laptop.machine(laptop.only()).processes():
        try:
            words = process.cmdline()
            if "remote" in words and "watchdog" not in words:
                process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
