"""What a sweep says of itself when its runs have ended; tests/console/test_sweep_operations.py runs some."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.api import LaunchRequest, RunStatus
from console.errors import LoginError, OverBudgetError, TeardownNotVerifiedError
from console.home import Home
from console.operations import MemberState, Operations, PlannedRun, SweepPreflight
from console.runs.allowance import Allowance
from console.runs.sweep_queue import SweepQueue
from ups.errors import UpsError

PLAN = PlannedRun(LaunchRequest(Path("local_2task")), "local_2task", {}, None, None, 1.0)


@pytest.fixture
def queue(tmp_path: Path) -> SweepQueue:
    """Three runs that have ended well."""
    operations = Operations(Home(tmp_path))
    preflight = SweepPreflight((), (PLAN, PLAN, replace(PLAN, cap_usd=2.0)), 3, 1.0, None, None, 4.0, 12.0)
    queue = SweepQueue(
        "s1130-abcd", preflight, Allowance(3, 25.0, None), operations,
        ledger=operations.ledger, registry=operations.registry,
    )  # fmt: skip
    for member in queue.members:
        member.run, member.status, member.state = f"r{member.number}", RunStatus.SUCCEEDED, MemberState.ENDED
    return queue


def test_all_that_went_well_is_no_failure(queue: SweepQueue) -> None:
    queue.members[1].status = RunStatus.STOPPED

    assert queue.failure() is None
    assert queue.over


@pytest.mark.parametrize(
    ("errors", "exit_code"),
    [
        ([], 7),
        ([OverBudgetError("too dear")], 8),
        ([OverBudgetError("too dear"), LoginError("no key")], 5),
        ([TeardownNotVerifiedError("still listed"), UpsError("a defect")], 9),
    ],
)
def test_the_worst_of_them_is_the_exit_code_and_all_are_told(
    queue: SweepQueue, errors: list[UpsError], exit_code: int
) -> None:
    queue.members[0].status = RunStatus.FAILED
    for member, error in zip(queue.members[1:], errors, strict=False):
        member.error = error

    failure = queue.failure()

    assert failure is not None
    assert failure.exit_code == exit_code
    assert f"{1 + len(errors)} of 3 runs did not succeed: r1: failed: see its log" in failure.message
    assert all(error.message in failure.message for error in errors)
