"""A run ends by itself before its box does: at a checkpoint, evaluated and published."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from remote.budget import Budget
from tests.remote.conftest import MakeRun
from tests.remote.test_pipeline import assert_whole, done_of, drive, events_of, phases_of, published
from ups.stores.directory import DirectoryStore


def orders(folder: Path, **changes: Any) -> Path:
    """The box.json of a box that costs a dollar an hour, rented an hour ago, for ten."""
    now = time.time()
    content = {
        "label": "ups-test", "deadline": now + 9 * 3600, "grace_s": 60, "marker": "UPS_INSTANCE=ups-test",
        "run_dir": None, "usd_per_hour": 1.0, "started": now - 3600, "cap_usd": None, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "box.json"
    path.write_text(json.dumps(content))
    return path


class Clock:
    """The wall clock and the one that nobody sets."""

    def __init__(self) -> None:
        self.wall, self.passed = time.time(), 1000.0

    def go_on(self, seconds: float) -> None:
        self.wall, self.passed = self.wall + seconds, self.passed + seconds


def budget(path: Path | None, clock: Clock) -> Budget:
    return Budget(path, wall=lambda: clock.wall, passed=lambda: clock.passed)


def test_a_run_without_a_box_may_take_its_time(tmp_path: Path) -> None:
    assert Budget.of_run(tmp_path).enough(1e9) is None
    (tmp_path / "box.json").write_text("{")
    assert Budget.of_run(tmp_path / "runs" / "r1" / "attempt-1").enough(1e9) is None


def test_the_cap_leaves_time_for_the_results(tmp_path: Path) -> None:
    clock = Clock()
    asked = budget(orders(tmp_path, cap_usd=2.0), clock)
    assert asked.enough(1800) is None
    clock.go_on(1800)
    told = asked.enough(1800)
    assert told is not None
    assert told.startswith("of its budget of $2.00 $0.50 are left, and a further epoch, the evaluation and")
    assert asked.enough(0) == told  # it goes on saying so


def test_the_deadline_does_too(tmp_path: Path) -> None:
    clock = Clock()
    asked = budget(orders(tmp_path), clock)
    assert asked.enough(3600) is None
    clock.go_on(8.5 * 3600)
    assert "its deadline comes in 30 min" in str(asked.enough(3600))


def test_a_wrong_clock_of_the_box_ends_nothing_early(tmp_path: Path) -> None:
    clock = Clock()
    path = orders(tmp_path, written=time.time())
    clock.wall += 100 * 3600
    asked = budget(path, clock)
    assert asked.enough(600) is None
    clock.go_on(8.9 * 3600)
    assert asked.enough(600) is not None


def test_more_time_given_meanwhile_counts(tmp_path: Path) -> None:
    clock = Clock()
    path = orders(tmp_path, cap_usd=2.0)
    asked = budget(path, clock)
    clock.go_on(1800)
    orders(tmp_path, cap_usd=20.0)
    assert asked.enough(1800) is None


def test_what_costs_nothing_has_no_cap(tmp_path: Path) -> None:
    assert budget(orders(tmp_path, cap_usd=2.0, usd_per_hour=0.0), Clock()).enough(3600) is None


@pytest.mark.parametrize("killed", ["never", "checkpoint+", "evaluate:finished+", "publish:started+"])
def test_the_run_says_so_after_its_evaluation(make_run: MakeRun, store: DirectoryStore, killed: str) -> None:
    run = make_run()
    orders(run.root.parent, cap_usd=1.5)
    if killed != "never":
        drive(run, killed, "epochs", TEST_NEEDED_S="3600")
    assert drive(run, "never", "epochs", TEST_NEEDED_S="3600") == 8
    assert_whole(run, store)
    done = done_of(run)
    assert (done["status"], done["exit_code"]) == ("stopped", 8)
    assert "of its budget of $1.50 $0.50 are left" in done["summary"]["ended_early"]
    assert done["summary"]["tasks"]["advection1d"]["one_step"] == 0.1
    assert json.loads(published(run, store, "report.json"))["run"] == "r1"
    (finished,) = [e for e in events_of(run) if e.fields.get("phase") == "train"
                   and e.fields.get("state") == "finished"][-1:]  # fmt: skip
    assert "ended early: of its budget" in finished.fields["detail"]


def test_with_more_to_spend_it_goes_on(make_run: MakeRun) -> None:
    run = make_run()
    orders(run.root.parent, cap_usd=1.5)
    assert drive(run, "never", "epochs", TEST_NEEDED_S="3600") == 8
    orders(run.root.parent, cap_usd=15.0)
    assert drive(run, "never", "epochs", TEST_NEEDED_S="3600") == 0
    assert phases_of(run).count("train finished") == 2
    assert done_of(run)["status"] == "succeeded"
