"""Whatever goes wrong, nothing is left: the installed command, the SDK, real sshds and real signals.

After each case nothing is rented that the ledger does not know, nothing was rented twice, no event is
lost or doubled, and no process is left.
"""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from console.fleet.model import InstanceState
from console.runs.series import RunView
from tests.faults.rented import Rented
from tests.patience import PATIENCE_S
from ups import events as protocol

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]

LONG = 2000
"""Epochs of a run that goes on until it is stopped."""


# --- while it is rented ---------------------------------------------------------------------------


def test_an_instance_whose_create_was_never_answered_is_found_by_its_label(laptop: Rented) -> None:
    laptop.vast.faults.on("create", "drop", after=True, times=1)
    lines = laptop.run(*laptop.launching(), "--json")
    events = [json.loads(line) for line in lines.splitlines()]
    (done,) = [event for event in events if event["type"] == "done"]
    assert done["status"] == "succeeded"
    assert len(laptop.rows()) == 1
    laptop.assert_over("create: answer lost", purpose_ended=done["t"])


def test_a_create_that_fails_after_it_rented_is_found_by_its_label(laptop: Rented) -> None:
    laptop.vast.faults.on("create", "500", after=True, times=1)
    laptop.run(*laptop.launching(LONG), "--detach")
    assert len(laptop.rows()) == 1
    laptop.assert_sound()
    ended = time.time()
    laptop.run("destroy", "--all", "--yes")
    laptop.assert_over("create: 500 after renting", purpose_ended=ended)


@pytest.mark.parametrize("status", ["409", "410"])
def test_an_offer_that_is_gone_costs_only_the_next_one(laptop: Rented, status: str) -> None:
    laptop.vast.faults.on("create", status, times=1)
    laptop.run(*laptop.launching(LONG), "--detach")
    first, second = laptop.vast.sent("create")
    assert first.path != second.path
    assert len(laptop.rows()) == 1
    ended = time.time()
    laptop.run("destroy", "--all", "--yes")
    laptop.assert_over(f"create: {status}, offer gone", purpose_ended=ended)


def test_a_storm_of_429_delays_and_breaks_nothing(laptop: Rented) -> None:
    for call in ("search", "user", "keys", "list", "get", "destroy", "create"):
        laptop.vast.faults.on(call, "429", times=2)
    laptop.run(*laptop.launching(LONG), "--detach")
    assert len(laptop.rows()) == 1
    for call in ("list", "get", "destroy"):
        laptop.vast.faults.on(call, "429", times=3)
    ended = time.time()
    laptop.run("destroy", "--all", "--yes")
    laptop.assert_over("429 on every call", purpose_ended=ended)


def test_a_machine_that_never_starts_is_left_for_the_next_one(laptop: Rented) -> None:
    laptop.environment["UPS_FLEET_PACE"] = "0.005"
    laptop.vast.world.stuck_loading = True
    child = laptop.begin("--detach", epochs=LONG)
    laptop.until(laptop.vast.alive, "the first machine is rented")
    stuck = laptop.only()
    laptop.vast.world.stuck_loading = False
    _, said = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, said
    assert "the provider says: loading" in said
    first, second = sorted(laptop.rows(), key=lambda row: row.created)
    assert first is stuck
    assert first.ask["machine_id"] != second.ask["machine_id"]
    assert [row.id for row in laptop.vast.alive()] == [second.id]
    passed_over = laptop.json("offers", "--provider", "vast", "--why")["passed_over"]
    assert [row["machine"] for row in passed_over if "failed" in row["reason"]] == [
        str(first.ask["machine_id"])
    ]
    ended = time.time()
    laptop.run("destroy", "--all", "--yes")
    laptop.assert_over("stuck loading", purpose_ended=ended)


# --- while it is torn down ------------------------------------------------------------------------


def test_lists_that_lie_and_a_destroy_that_lies_never_make_an_instance_destroyed(laptop: Rented) -> None:
    laptop.environment["UPS_FLEET_PACE"] = "0.01"
    laptop.run(*laptop.launching(LONG), "--detach")
    laptop.vast.world.destroy_lies = True
    for kind in ("empty", "malformed", "null"):
        laptop.vast.faults.on("list", kind)
        child = laptop.start("destroy", "--all", "--yes")
        _, said = child.communicate(timeout=PATIENCE_S)
        assert child.returncode in (5, 9), (kind, said)
        laptop.vast.faults.off("list")
        assert InstanceState.DESTROYED not in {entry.state for entry in laptop.entries()}
        laptop.assert_sound()
    child = laptop.start("destroy", "--all", "--yes")
    _, said = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 9
    assert "was told to go" in said
    assert len(laptop.vast.alive()) == 1
    laptop.vast.world.destroy_lies = False
    ended = time.time()
    laptop.run("reconcile")
    assert {entry.state for entry in laptop.entries()} == {InstanceState.DESTROYED}
    laptop.assert_over("destroy and lists lie", purpose_ended=ended)


# --- while the run goes on ------------------------------------------------------------------------


@contextlib.contextmanager
def _refused(laptop: Rented) -> Iterator[None]:
    sshd = laptop.machine(laptop.only()).sshd
    sshd.refuse()
    yield
    sshd.start()


@contextlib.contextmanager
def _frozen(laptop: Rented) -> Iterator[None]:
    sshd = laptop.machine(laptop.only()).sshd
    sshd.freeze()
    yield
    sshd.resume()


@contextlib.contextmanager
def _cut(laptop: Rented) -> Iterator[None]:
    with laptop.machine(laptop.only()).sshd.cut_every(1.0):
        yield


@contextlib.contextmanager
def _unauthorised(laptop: Rented) -> Iterator[None]:
    for call in ("list", "get", "destroy", "search"):
        laptop.vast.faults.on(call, "401")
    yield
    said = laptop.start("fleet").communicate(timeout=PATIENCE_S)[1]
    assert "VAST_API_KEY" in said or "key" in said
    laptop.vast.faults.off()


@contextlib.contextmanager
def _offline(laptop: Rented) -> Iterator[None]:
    row = laptop.only()
    sshd = laptop.machine(row).sshd
    laptop.vast.world.host_offline(row.id)
    sshd.refuse()
    yield
    sshd.start()
    laptop.vast.world.host_offline(row.id, offline=False)


@pytest.mark.parametrize("fault", [_refused, _frozen, _cut, _unauthorised, _offline])
def test_what_cuts_the_laptop_off_costs_no_event(laptop: Rented, fault: object) -> None:
    assert callable(fault)
    child = laptop.begin(epochs=LONG)
    laptop.until(lambda: len(laptop.seen()) > 20, "the run is mirrored")
    row = laptop.only()
    with fault(laptop):
        before = len(laptop.run_on_box(row))
        time.sleep(2.5)
        assert child.poll() is None
        assert len(laptop.run_on_box(row)) > before, "the run goes on meanwhile"
    seen = len(laptop.run_on_box(row))
    laptop.until(lambda: len(laptop.seen()) >= seen, "the mirror catches up")
    run = laptop.json("runs")[0]["run"]
    laptop.run("stop", run)
    ended = time.time()
    _, said = child.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    assert laptop.mirrored()[0] == laptop.run_on_box(row)
    assert laptop.mirrored()[0][-1]["type"] == "done"
    laptop.assert_over(f"in mid-run: {fault.__name__.strip('_')}", purpose_ended=ended)


def test_a_run_that_is_outbid_goes_on_elsewhere_from_its_last_checkpoint(laptop: Rented) -> None:
    child = laptop.begin("--spot", epochs=30)
    laptop.until(lambda: _published(laptop), "a checkpoint is published")
    row = laptop.only()
    ended = time.time()
    laptop.vast.world.outbid(row.id)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 0, said
    first, second = laptop.rows()
    assert first.label != second.label
    before, events = laptop.mirrored()
    (resumed,) = [event for event in events if event["type"] == "resumed"]
    safe = [event["path"] for event in before if event["type"] == "published"]
    assert resumed["epoch"] >= max(int(path.split("/")[1][-4:]) for path in safe if "operator-" in path) >= 1
    assert events[-1]["status"] == "succeeded"
    assert _validated_epochs(laptop) == list(range(1, 31)), "its curve goes on where it was"
    assert laptop.json("runs")[0]["attempts"] == 2
    assert first.leaves is not None
    laptop.assert_over("outbid, resumed elsewhere", late_s=first.leaves - ended)


def _validated_epochs(laptop: Rented) -> list[float]:
    """Of the curve that a screen shows of all attempts."""
    view = RunView()
    for line in map(json.dumps, laptop.seen()):
        event = protocol.decode(line)
        assert event is not None
        view.apply(event)
    return list(view.curve(None, "val", "nrmse").epochs)


def _published(laptop: Rented) -> bool:
    types = [event["type"] for event in laptop.seen()]
    return "checkpoint" in types and "published" in types


# --- whoever dies ---------------------------------------------------------------------------------


def _while_it_is_prepared(laptop: Rented) -> bool:
    return bool(laptop.vast.sent("keys"))


def _while_it_is_created(laptop: Rented) -> bool:
    return bool(laptop.vast.sent("create"))


def _while_it_boots(laptop: Rented) -> bool:
    return bool(laptop.vast.alive())


def _while_it_is_shipped(laptop: Rented) -> bool:
    return any(laptop.cloud.boxes.workdir().glob("*/bootstrap"))


def _while_it_runs(laptop: Rented) -> bool:
    return any(laptop.run_on_box(row) for row in laptop.vast.alive())


@pytest.mark.parametrize(
    ("stage", "slow"),
    [
        (_while_it_is_prepared, "keys"),
        (_while_it_is_created, "create"),
        (_while_it_boots, ""),
        (_while_it_is_shipped, ""),
        (_while_it_runs, ""),
    ],
)
def test_the_guard_ends_what_a_killed_launch_has_left(laptop: Rented, stage: object, slow: str) -> None:
    assert callable(stage)
    if slow:
        laptop.vast.faults.on(slow, "slow", seconds=1.5, times=1)
    laptop.vast.world.stuck_loading = stage is _while_it_boots
    child = laptop.begin()
    laptop.until(lambda: stage(laptop), "the stage is reached")
    child.kill()
    ended = time.time()
    child.communicate()
    if slow:
        time.sleep(2)  # what was asked for is done, although nobody waits for it
    unknown = len(laptop.unknown())
    laptop.until(lambda: not laptop.guards(), "the guard has nothing left to guard")
    assert unknown == 0
    if stage is _while_it_runs:
        done = laptop.mirrored()[0][-1]
        assert done["status"] == "succeeded"
        ended = done["t"]
    laptop.assert_over(f"launch killed {_name(stage)}", purpose_ended=ended, unknown=unknown)


def test_a_box_ends_itself_after_its_run_when_everybody_else_is_dead(laptop: Rented) -> None:
    child = laptop.begin()
    laptop.until(lambda: _while_it_runs(laptop), "it runs")
    row = laptop.only()
    laptop.kill_guard()
    child.kill()
    child.communicate()
    laptop.until(lambda: not laptop.vast.alive(), "the box ends itself")
    events = laptop.run_on_box(row)
    assert events[-1]["status"] == "succeeded"
    _assert_by_its_own_key(laptop, row.key)
    laptop.run("reconcile")
    laptop.assert_over("launch and guard killed while it runs", purpose_ended=events[-1]["t"])
    run = laptop.json("runs")[0]["run"]
    laptop.run("resume", run, exit_code=2)  # nothing is rented for a run that has succeeded
    assert laptop.mirrored()[0] == events
    assert len(laptop.rows()) == 1


def test_a_box_that_was_half_set_up_ends_itself_at_its_deadline(laptop: Rented) -> None:
    child = laptop.begin("--max-hours", str(10 / 3600))
    laptop.until(lambda: _while_it_is_shipped(laptop), "the box has its watchdog")
    row = laptop.only()
    laptop.kill_guard()
    child.kill()
    child.communicate()
    deadline = float(str(row.label).rpartition("-")[2])
    laptop.until(lambda: not laptop.vast.alive(), "the box ends itself")
    _assert_by_its_own_key(laptop, row.key)
    laptop.run("reconcile")
    laptop.assert_over("launch and guard killed while it is shipped", purpose_ended=deadline)


def test_a_box_whose_clock_is_hours_behind_ends_in_time(laptop: Rented) -> None:
    child = laptop.begin(epochs=LONG)
    laptop.until(lambda: _while_it_runs(laptop), "it runs")
    row = laptop.only()
    laptop.kill_guard()
    child.kill()
    child.communicate()
    orders = laptop.on_box(row) / "box.json"
    content = json.loads(orders.read_text())
    ahead = time.time() + 7200  # as the laptop's clock has it
    content |= {"written": ahead, "deadline": ahead + 3, "started": ahead - 60}
    orders.with_suffix(".new").write_text(json.dumps(content))
    orders.with_suffix(".new").replace(orders)
    deadline = time.time() + 3
    laptop.until(lambda: not laptop.vast.alive(), "the box ends itself")
    assert row.leaves is not None
    assert row.leaves >= deadline - 0.5
    _assert_by_its_own_key(laptop, row.key)
    laptop.run("reconcile")
    laptop.assert_over("the box's clock is 2 h behind", purpose_ended=deadline)


def _assert_by_its_own_key(laptop: Rented, key: str) -> None:
    by = [request.headers.get("Authorization", "") for request in laptop.vast.sent("destroy")]
    assert f"Bearer {key}" in by
    assert f"Bearer {laptop.vast.api_key}" not in by


def _name(stage: object) -> str:
    return str(getattr(stage, "__name__", stage)).strip("_").replace("_", " ")


# --- the box itself -------------------------------------------------------------------------------


def test_a_box_whose_disk_is_full_is_given_back_with_the_reason(small_disk: Rented) -> None:
    child = small_disk.begin("--detach")
    _, said = child.communicate(timeout=PATIENCE_S)
    ended = time.time()
    assert child.returncode != 0
    assert "disk" in said
    assert "Traceback" not in said
    small_disk.assert_over("the box's disk is full", purpose_ended=ended)
