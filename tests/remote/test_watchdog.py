"""The box ends when its run is over or its deadline has come, whatever else lives or died in it."""

import ast
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

from remote import bootstrap, environment, watchdog
from tests.patience import PATIENCE_S
from tests.remote.conftest import MakeRun, wait_for
from tests.simulators.instance_api import InstanceApi
from ups.stores.directory import DirectoryStore

KEY = "instance-key-5f3a"
Popen = subprocess.Popen[bytes]

SLEEPER = "import time; time.sleep(120)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
)
CAREFUL = """
import pathlib, signal, sys, time
def on(*_):
    time.sleep(0.3)
    pathlib.Path(sys.argv[1]).write_text("checkpoint")
    sys.exit(0)
signal.signal(signal.SIGTERM, on)
print(flush=True)
time.sleep(120)
"""


class Box:
    """A box directory, the processes in it, and its watchdog."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_dir = root / "run"
        self.run_dir.mkdir(parents=True)
        self.label = f"ups-test-{root.name}-{os.getpid()}"
        self._children: list[Popen] = []

    def describe(
        self, *, deadline_in: float = 600, grace_s: float = 600, run_dir: bool = True, **more: Any
    ) -> None:
        content = {
            "label": self.label, "deadline": time.time() + deadline_in, "grace_s": grace_s,
            "marker": f"UPS_INSTANCE={self.label}", "run_dir": str(self.run_dir) if run_dir else None,
            **more,
        }  # fmt: skip
        temporary = self.root / ".box"
        temporary.write_text(json.dumps(content))
        temporary.chmod(0o600)
        temporary.replace(self.root / "box.json")

    def process(self, code: str, *arguments: str, marked: bool = True, ready: bool = False) -> Popen:
        """A process of the box; waits for its first line where `ready`."""
        env = {**os.environ, "UPS_INSTANCE": self.label} if marked else dict(os.environ)
        child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=env, stdout=subprocess.PIPE, start_new_session=True
        )
        self._children.append(child)
        if ready:
            assert child.stdout is not None
            child.stdout.readline()
        return child

    def be_the_run(self, child: Popen, *, started_earlier: float = 0.0) -> None:
        content = {
            "pid": child.pid, "start_time": psutil.Process(child.pid).create_time() - started_earlier,
            "boot_id": watchdog.boot_id(),
        }  # fmt: skip
        (self.run_dir / "run.pid").write_text(json.dumps(content))

    def events(self, *records: dict[str, Any]) -> None:
        lines = [json.dumps({"seq": seq, "t": 0.0, **record}) for seq, record in enumerate(records)]
        (self.run_dir / "events.jsonl").write_text("\n".join(lines) + "\n")

    def rent(self, api: InstanceApi, **more: Any) -> None:
        """The same on a rented machine."""
        key = self.root / "instance.key"
        key.write_text(KEY)
        key.chmod(0o600)
        destroy = {"kind": "vast", "url": api.url, "id": "17", "key_file": "instance.key"}
        self.describe(**{"destroy": destroy, **more})

    def watch(self, *argv: str, environment: dict[str, str] | None = None) -> Popen:
        env = {**os.environ, "UPS_INSTANCE": self.label, **(environment or {})}
        child = subprocess.Popen(
            [*(argv or (sys.executable, "-m", "remote", "watchdog")), str(self.root)], env=env,
            start_new_session=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._children.append(child)
        wait_for(lambda: bool(self.log()) or not (self.root / "box.json").exists())
        return child

    def adopt(self, child: Popen) -> None:
        self._children.append(child)

    def log(self) -> list[dict[str, Any]]:
        path = self.run_dir / "watchdog.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def logged(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.log() if record["type"] == kind]

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "box")
    yield made
    made.close()


class TestARunThatIsOver:
    def test_ends_the_box_after_the_grace(self, box: Box) -> None:
        box.describe(grace_s=0.5)
        helper, stranger = box.process(SLEEPER), box.process(SLEEPER, marked=False)
        run = box.process(SLEEPER)
        box.be_the_run(run)
        dog = box.watch()
        box.events({"type": "run"}, {"type": "done", "status": "succeeded", "exit_code": 0})
        run.kill()
        run.wait()
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert helper.wait(timeout=PATIENCE_S) == -signal.SIGTERM
        assert stranger.poll() is None
        [exited] = box.logged("run_exited")
        assert (exited["pid"], exited["status"], exited["exit_code"]) == (run.pid, "succeeded", 0)
        assert box.log()[-1]["type"] == "ended"
        assert box.log()[-1]["t"] - exited["t"] >= 0.5

    def test_that_crashed_is_lost_and_ends_the_box_too(self, box: Box) -> None:
        box.describe(grace_s=0)
        run = box.process(SLEEPER)
        box.be_the_run(run)
        box.events({"type": "done", "status": "stopped", "exit_code": 0}, {"type": "resumed"})
        dog = box.watch()
        os.kill(run.pid, signal.SIGKILL)  # never waited for: it stays behind as a zombie
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert [record["status"] for record in box.logged("run_exited")] == ["lost"]

    def test_is_not_a_process_that_has_its_pid_now(self, box: Box) -> None:
        box.describe(grace_s=0)
        other = box.process(SLEEPER, marked=False)
        box.be_the_run(other, started_earlier=3600)
        dog = box.watch()
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert other.poll() is None


class TestTheDeadline:
    def test_ends_everything_and_lets_the_run_checkpoint_first(self, box: Box, tmp_path: Path) -> None:
        box.describe(deadline_in=600)
        run = box.process(CAREFUL, str(tmp_path / "saved"), ready=True)
        box.be_the_run(run)
        stubborn = box.process(STUBBORN, ready=True)
        dog = box.watch()
        box.describe(deadline_in=0)  # also proves that a new deadline is read
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert (tmp_path / "saved").read_text() == "checkpoint"
        assert run.wait(timeout=PATIENCE_S) == 0
        assert stubborn.wait(timeout=PATIENCE_S) == -signal.SIGKILL
        assert box.logged("ending")[0]["reason"] == "the deadline has come"

    def test_holds_while_box_json_is_damaged_or_gone(self, box: Box) -> None:
        box.describe(deadline_in=2)
        dog = box.watch()
        (box.root / "box.json").write_text('{"label"')
        time.sleep(0.7)
        (box.root / "box.json").unlink()
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert box.logged("ended")


class TestSignals:
    def test_sigterm_ends_the_box_now(self, box: Box) -> None:
        box.describe()
        helper = box.process(SLEEPER)
        dog = box.watch()
        dog.send_signal(signal.SIGTERM)
        assert dog.wait(timeout=PATIENCE_S) == 0
        assert helper.wait(timeout=PATIENCE_S) == -signal.SIGTERM

    def test_a_hang_up_and_the_death_of_the_run_do_not(self, box: Box) -> None:
        box.describe()
        run = box.process(SLEEPER)
        box.be_the_run(run)
        dog = box.watch()
        run.kill()
        run.wait()
        dog.send_signal(signal.SIGHUP)
        wait_for(lambda: bool(box.logged("run_exited")))
        assert dog.poll() is None


@pytest.fixture
def api() -> Iterator[InstanceApi]:
    with InstanceApi() as served:
        yield served


class TestARentedBox:
    def test_is_destroyed_by_its_own_key_when_its_run_is_over(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, grace_s=0)
        run = box.process(SLEEPER)
        box.be_the_run(run)
        box.watch()
        box.events({"type": "run"}, {"type": "done", "status": "succeeded", "exit_code": 0})
        run.kill()
        [request] = api.wait()
        assert (request.method, request.path) == ("DELETE", "/api/v0/instances/17/")
        assert request.authorization == f"Bearer {KEY}"
        wait_for(lambda: bool(box.logged("destroy")))
        assert (box.logged("destroy")[0]["attempt"], box.logged("destroy")[0]["status"]) == (1, 200)

    def test_tells_nobody_its_key(self, box: Box) -> None:
        with InstanceApi(401) as api:  # its answer repeats the key
            box.rent(api, deadline_in=0)
            dog = box.watch()
            api.wait()
            wait_for(lambda: bool(box.logged("destroy")))
            assert "you sent Bearer ***" in box.logged("destroy")[0]["answer"]
        assert KEY not in Path(f"/proc/{dog.pid}/cmdline").read_text()
        told = [path for path in box.root.rglob("*") if path.is_file() and KEY in path.read_text()]
        assert told == [box.root / "instance.key"]

    def test_that_crashed_saves_what_there_is_before_it_goes(self, box: Box, api: InstanceApi) -> None:
        (box.root / "keys.json").write_text('{"B2_APP_KEY": "store-key"}')
        code = "import os, sys; open('saved', 'w').write(sys.argv[1] + os.environ['B2_APP_KEY'])"
        argv = [sys.executable, "-c", code, "{run_dir}"]
        box.rent(api, grace_s=0, sync={"argv": argv, "environment_file": "keys.json"})
        run = box.process(SLEEPER)
        box.be_the_run(run)
        box.watch()
        os.kill(run.pid, signal.SIGKILL)
        api.wait()
        assert (box.root / "saved").read_text() == f"{box.run_dir}store-key"
        assert box.logged("synced")[0]["exit_code"] == 0

    def test_lets_the_run_checkpoint_and_then_syncs(self, box: Box, api: InstanceApi, tmp_path: Path) -> None:
        saved = tmp_path / "saved"
        argv = [sys.executable, "-c", f"assert open({str(saved)!r}).read() == 'checkpoint'"]
        box.rent(api, deadline_in=0, sync={"argv": argv})
        run = box.process(CAREFUL, str(saved), ready=True)
        box.be_the_run(run)
        box.watch()
        api.wait()
        assert [record["type"] for record in box.log()][:3] == ["watching", "ending", "synced"]

    def test_ends_a_run_that_does_not_stop(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, deadline_in=0, stop_s=0.3)
        run = box.process(f"log = open({str(box.run_dir / 'run.log')!r}, 'a')\n{STUBBORN}", ready=True)
        box.be_the_run(run)
        box.watch()
        api.wait()
        assert run.wait(timeout=PATIENCE_S) == -signal.SIGKILL

    def test_ends_the_workers_that_a_crashed_run_left_before_it_syncs(
        self, box: Box, api: InstanceApi
    ) -> None:
        lock = box.run_dir / ".lock"
        worker = box.process(
            f"import fcntl, time; lock = open({str(lock)!r}, 'a'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "print(flush=True); time.sleep(120)",
            ready=True,
        )
        bystander = box.process(SLEEPER)
        take = f"import fcntl; fcntl.flock(open({str(lock)!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        box.rent(api, grace_s=0, sync={"argv": [sys.executable, "-c", take]})
        run = box.process(SLEEPER)
        box.be_the_run(run)
        run.kill()
        box.watch()
        api.wait()
        assert worker.wait(timeout=PATIENCE_S) == -signal.SIGKILL
        assert bystander.poll() is None
        assert not box.logged("sync_failed")

    def test_a_sync_that_hangs_keeps_nothing_alive(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, deadline_in=0, sync={"argv": [sys.executable, "-c", SLEEPER], "limit_s": 0.5})
        box.watch()
        api.wait()
        assert box.logged("sync_failed")[0]["exit_code"] is None
        assert box.logged("lost")

    def test_a_sync_that_cannot_start_keeps_nothing_alive(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, deadline_in=0, sync={"argv": ["/no/such/program"]})
        box.watch()
        api.wait()
        assert box.logged("failed")[0]["step"] == "sync"

    @pytest.mark.needs_program("sh")
    def test_a_full_disk_keeps_nothing_alive(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, deadline_in=1, sync={"argv": [sys.executable, "-c", "pass"]})
        shutil.copy(str(watchdog.__file__), box.root / "watchdog.py")
        child = subprocess.Popen(  # not one byte can be written, the lock's file cannot be made
            ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-B", str(box.root / "watchdog.py"),
             str(box.root)], stdout=(box.root / "out").open("ab"), start_new_session=True,
        )  # fmt: skip
        box.adopt(child)
        api.wait()
        assert not (box.run_dir / "watchdog.jsonl").exists() or not box.log()

    def test_is_asked_to_go_until_it_is_gone(self, box: Box) -> None:
        pauses = Pauses(5)
        with InstanceApi(429, 500, 200, 404) as api:
            box.rent(api)
            with pytest.raises(NoMoreTimeError):
                watchdog.Watchdog(box.root, sleep=pauses).end()
        assert [record.get("status") for record in box.logged("destroy")] == [429, 500, 200, 404, 404]
        assert pauses.seconds[0] < 3  # soon
        assert pauses.seconds[2] > 20  # it was accepted: it takes a while
        assert box.logged("destroy")[2]["accepted"] is True

    def test_goes_on_when_nobody_answers_or_the_key_is_gone(self, box: Box) -> None:
        with InstanceApi() as api:
            box.rent(api)
        pauses = Pauses(2)
        with pytest.raises(NoMoreTimeError):
            watchdog.Watchdog(box.root, sleep=pauses).end()
        (box.root / "instance.key").unlink()
        with pytest.raises(NoMoreTimeError):
            watchdog.Watchdog(box.root, sleep=Pauses(1)).end()
        errors = [record["error"] for record in box.logged("destroy")]
        assert "refused" in errors[0]
        assert "nowhere" in errors[2]

    def test_pauses_no_longer_than_minutes(self, box: Box) -> None:
        with InstanceApi() as api:
            box.rent(api)
        pauses = Pauses(14)
        with pytest.raises(NoMoreTimeError):
            watchdog.Watchdog(box.root, sleep=pauses).end()
        assert 240 <= pauses.seconds[-1] <= 360

    def test_a_key_of_the_environment_serves_too(self, box: Box, api: InstanceApi) -> None:
        destroy = {"kind": "vast", "url": api.url, "id": "17", "key_environment": "CONTAINER_API_KEY"}
        (box.root / "empty.key").write_text("")
        box.describe(deadline_in=0, destroy={**destroy, "key_file": "empty.key"})
        box.watch(environment={"CONTAINER_API_KEY": KEY})
        assert api.wait()[0].authorization == f"Bearer {KEY}"

    def test_a_key_is_found_where_only_another_process_has_it(self, box: Box) -> None:
        child = box.process(SLEEPER)
        # between fork and exec it still has this process's environment
        wait_for(lambda: watchdog._variable_of(child.pid, "UPS_INSTANCE") == box.label)
        assert watchdog._variable_of(child.pid, "NO_SUCH_NAME") == ""

    def test_without_such_a_key_halts_and_says_that_it_still_bills(self, box: Box, tmp_path: Path) -> None:
        program = tmp_path / "halt"
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/halted\n")
        program.chmod(0o755)
        box.describe(deadline_in=0, destroy={"kind": "halt"})
        helper = box.process(SLEEPER)
        box.watch(environment={"UPS_REMOTE_HALT": str(program)})
        wait_for(lambda: bool(box.logged("destroy")))
        assert (tmp_path / "halted").exists()
        assert box.logged("destroy")[0]["still_billing"] is True
        assert helper.wait(timeout=PATIENCE_S) == -signal.SIGTERM

    def test_publishes_what_a_dead_run_could_not(self, box: Box, api: InstanceApi, make_run: MakeRun) -> None:
        run = make_run()
        (run.checkpoints / "operator-0002").mkdir(parents=True)
        for name in ("state.json", "model.safetensors"):
            (run.checkpoints / "operator-0002" / name).write_text("saved")
        run.log_path.write_text("a line\n")
        argv = [sys.executable, "-m", "remote", "publish", "{run_dir}"]
        box.rent(api, deadline_in=0, run_dir=False, sync={"argv": argv})
        content = json.loads((box.root / "box.json").read_text())
        (box.root / "box.json").write_text(json.dumps({**content, "run_dir": str(run.root)}))
        box.run_dir = run.root
        box.watch()
        api.wait()
        assert box.logged("synced"), (box.root / "sync.log").read_text()
        spec = run.read_spec()
        keys = {info.key for info in DirectoryStore(Path(spec.store.removeprefix("dir:"))).list("runs/")}
        prefix = f"runs/{spec.run}/attempt-{spec.attempt}/"
        assert {f"{prefix}run.log", f"{prefix}checkpoints/operator-0002/model.safetensors"} <= keys


class NoMoreTimeError(Exception):
    """The test has seen enough."""


class Pauses:
    """A sleep that takes no time, so many times."""

    def __init__(self, count: int) -> None:
        self.seconds: list[float] = []
        self._count = count

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) >= self._count:
            raise NoMoreTimeError


class Clocks:
    """The three clocks of a machine, turned by hand."""

    def __init__(self) -> None:
        self.wall = time.time()
        self.monotonic = 1000.0
        self.passed = 5000.0

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
        self.passed += seconds

    def suspend(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def watch(self, box: Box) -> watchdog.Watchdog:
        return watchdog.Watchdog(
            box.root, clock=lambda: self.wall, monotonic=lambda: self.monotonic, passed=lambda: self.passed
        )


class TestTheLease:
    @pytest.fixture
    def clocks(self) -> Clocks:
        return Clocks()

    def achieve(self, box: Box, kind: str, *, times: int = 1, file: str = "run/events.jsonl") -> None:
        path = box.root / file
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as events:
            events.write(f'{{"seq":1,"t":0,"type":"{kind}"}}\n' * times)

    def test_is_renewed_by_what_is_achieved_and_not_by_heartbeats(self, box: Box, clocks: Clocks) -> None:
        box.describe(lease_s=100, deadline_in=1e6)
        dog = clocks.watch(box)
        for kind in ("run", "phase", "progress", "metric", "checkpoint"):
            clocks.work(90)
            self.achieve(box, kind)
            self.achieve(box, "heartbeat")
            assert dog.reason_to_end() is None
        for kind in ("heartbeat", "system", "warning", "error"):
            clocks.work(30)
            self.achieve(box, kind)
            reason = dog.reason_to_end()
        assert reason is not None
        assert "lease" in reason

    def test_is_renewed_by_progress_below_a_heap_of_heartbeats(self, box: Box, clocks: Clocks) -> None:
        box.describe(lease_s=100, deadline_in=1e6)
        dog = clocks.watch(box)
        clocks.work(90)
        self.achieve(box, "metric")
        self.achieve(box, "heartbeat", times=500)
        assert dog.reason_to_end() is None
        clocks.work(90)
        assert dog.reason_to_end() is None

    def test_runs_before_there_is_a_run_and_the_bootstrap_renews_it(self, box: Box, clocks: Clocks) -> None:
        box.describe(lease_s=100, deadline_in=1e6, run_dir=False)
        dog = clocks.watch(box)
        clocks.work(90)
        self.achieve(box, "progress", file="bootstrap/events.jsonl")
        assert dog.reason_to_end() is None
        clocks.work(99)
        assert dog.reason_to_end() is None
        clocks.work(1)
        assert dog.reason_to_end() is not None

    def test_is_renewed_by_new_orders(self, box: Box, clocks: Clocks) -> None:
        box.describe(lease_s=100, deadline_in=1e6)
        dog = clocks.watch(box)
        clocks.work(90)
        box.describe(lease_s=120, deadline_in=1e6)
        assert dog.reason_to_end() is None
        clocks.work(100)
        assert dog.reason_to_end() is None

    def test_is_not_used_up_by_a_suspension(self, box: Box, clocks: Clocks) -> None:
        box.describe(lease_s=100, deadline_in=1e6)
        dog = clocks.watch(box)
        clocks.suspend(3600)
        assert dog.reason_to_end() is None


class TestTimeAndMoney:
    @pytest.fixture
    def clocks(self) -> Clocks:
        return Clocks()

    def test_the_cap_ends_the_box(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, cap_usd=1.0, usd_per_hour=0.5, started=clocks.wall - 3600)
        dog = clocks.watch(box)
        clocks.work(3500)
        assert dog.reason_to_end() is None
        clocks.work(100)
        assert dog.reason_to_end() == "the cost cap of $1.00 is reached"

    @pytest.mark.parametrize("cap", [None, 0.0])
    def test_no_cap_is_no_cap(self, box: Box, clocks: Clocks, cap: float | None) -> None:
        box.describe(deadline_in=1e6, cap_usd=cap, usd_per_hour=0.5, started=clocks.wall - 3600)
        assert clocks.watch(box).reason_to_end() is None

    @pytest.mark.parametrize("skew", [-5 * 3600, 5 * 3600])
    def test_a_wrong_clock_of_the_box_moves_no_deadline(self, box: Box, clocks: Clocks, skew: float) -> None:
        box.describe(deadline_in=600 - skew, written=time.time() - skew)  # as the laptop's clock has it
        dog = clocks.watch(box)
        clocks.work(590)
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() == "the deadline has come"

    def test_a_deadline_may_be_moved_further(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=60)
        dog = clocks.watch(box)
        assert dog.reason_to_end() is None
        box.describe(deadline_in=600)
        clocks.work(590)
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() == "the deadline has come"

    def test_a_run_that_is_started_again_within_the_grace_goes_on(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, grace_s=10)
        first = box.process(SLEEPER)
        box.be_the_run(first)
        dog = clocks.watch(box)
        first.kill()
        first.wait()
        assert dog.reason_to_end() is None
        assert box.logged("run_exited")
        clocks.work(9)
        box.be_the_run(box.process(SLEEPER))
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() is None

    def test_a_run_that_never_started_is_not_over(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, grace_s=0)
        dog = clocks.watch(box)
        clocks.work(3600)
        assert dog.reason_to_end() is None

    @pytest.mark.parametrize("jump", [-3600.0, 3600.0])
    def test_a_jump_of_the_wall_clock_moves_no_deadline(self, box: Box, clocks: Clocks, jump: float) -> None:
        box.describe(deadline_in=600, written=time.time())
        dog = clocks.watch(box)
        assert dog.reason_to_end() is None
        clocks.wall += jump
        clocks.work(590)
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() == "the deadline has come"

    def test_suspended_time_counts(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=600, written=time.time())
        dog = clocks.watch(box)
        assert dog.reason_to_end() is None
        clocks.suspend(3600)
        assert dog.reason_to_end() == "the deadline has come"

    def test_a_failed_run_is_held_for_a_look(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, grace_s=10, hold_on_failure_s=900)
        run = box.process(SLEEPER)
        box.be_the_run(run)
        dog = clocks.watch(box)
        run.kill()
        run.wait()
        assert dog.reason_to_end() is None
        clocks.work(890)
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() == "the run is over"

    def test_one_that_succeeded_is_not(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, grace_s=10, hold_on_failure_s=900)
        run = box.process(SLEEPER)
        box.be_the_run(run)
        box.events({"type": "done", "status": "succeeded", "exit_code": 0})
        dog = clocks.watch(box)
        run.kill()
        run.wait()
        assert dog.reason_to_end() is None
        clocks.work(20)
        assert dog.reason_to_end() == "the run is over"

    def test_failing_again_and_again_ends_the_grace(self, box: Box, clocks: Clocks) -> None:
        box.describe(deadline_in=1e6, grace_s=600, max_failures=2)
        dog = clocks.watch(box)
        for ends in (None, "the run has failed 2 times"):
            run = box.process(SLEEPER)
            box.be_the_run(run)
            assert dog.reason_to_end() is None
            run.kill()
            run.wait()
            assert dog.reason_to_end() == ends


class TestStarting:
    def test_needs_only_the_standard_library(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import remote.__main__, remote.watchdog\n"
            "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
            "print(sorted(new - set(sys.stdlib_module_names) - {'remote'}))"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "[]"

    def test_serves_as_a_single_file(self, box: Box, api: InstanceApi) -> None:
        box.rent(api, deadline_in=0)
        shutil.copy(str(watchdog.__file__), box.root / "watchdog.py")
        box.watch(sys.executable, "-I", str(box.root / "watchdog.py"))
        api.wait()

    def test_speaks_python_3_8(self) -> None:
        for path in (watchdog.__file__, bootstrap.__file__):
            ast.parse(Path(str(path)).read_text(encoding="utf-8"), feature_version=(3, 8))

    def test_a_second_one_leaves_the_box_to_the_first(self, box: Box) -> None:
        box.describe()
        first = box.watch()
        second = box.watch()
        assert second.wait(timeout=PATIENCE_S) == 0
        assert first.poll() is None
        assert not box.logged("ending")

    @pytest.mark.parametrize(
        "destroy",
        [{"kind": "explode"}, {"kind": "vast", "url": "http://x", "id": ""}, {"kind": "vast", "id": "1"}, 7],
    )
    def test_refuses_a_destruction_that_it_cannot_do(self, box: Box, destroy: Any) -> None:
        box.describe(destroy=destroy)
        assert watchdog.main([str(box.root)]) == 4

    def test_without_a_box_says_so(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert watchdog.main([str(tmp_path)]) == 4
        assert "box.json cannot be read" in capsys.readouterr().err
        assert watchdog.main([]) == 2

    @pytest.mark.parametrize("marker", ["", "=", "X"])
    def test_refuses_a_marker_that_would_fit_any_process(self, tmp_path: Path, marker: str) -> None:
        content = {"label": "x", "deadline": 0, "grace_s": 0, "marker": marker, "run_dir": None}
        (tmp_path / "box.json").write_text(json.dumps(content))
        assert watchdog.main([str(tmp_path)]) == 4

    def test_knows_a_process_as_the_runtime_records_it(self, tmp_path: Path) -> None:
        environment.record_process(tmp_path)
        recorded = watchdog.recorded_process(tmp_path)
        assert recorded is not None
        assert recorded["pid"] == os.getpid()
        assert watchdog.is_alive(recorded)
        assert not watchdog.is_alive({**recorded, "boot_id": "00000000-1111"})

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
    def test_a_half_written_pid_file_is_no_process(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "run.pid").write_text(content)
        assert watchdog.recorded_process(tmp_path) is None


class TestWithoutProc:
    """macOS has no /proc: the same answers come from `ps`."""

    def test_start_times_agree(self) -> None:
        by_proc, by_ps = watchdog.start_time(os.getpid()), watchdog._start_time_by_ps(os.getpid())
        assert by_proc is not None
        assert by_ps is not None
        assert abs(by_proc - by_ps) < 2
        assert watchdog._start_time_by_ps(2**22 - 3) is None

    def test_marked_processes_agree(self, box: Box) -> None:
        child = box.process(SLEEPER)
        marker = f"UPS_INSTANCE={box.label}"
        find: list[Callable[[str], Iterator[int]]] = [watchdog.marked_processes, watchdog._marked_by_ps]
        for found in find:
            wait_for(lambda found=found: list(found(marker)) == [child.pid])  # type: ignore[misc]
