"""The box ends when its run is over or its deadline has come, whatever else lives or died in it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from remote import environment, watchdog
from tests.remote.conftest import wait_for

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

    def describe(self, *, deadline_in: float = 600, grace_s: float = 600, run_dir: bool = True) -> None:
        content = {
            "label": self.label, "deadline": time.time() + deadline_in, "grace_s": grace_s,
            "marker": f"UPS_INSTANCE={self.label}", "run_dir": str(self.run_dir) if run_dir else None,
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

    def watch(self) -> Popen:
        env = {**os.environ, "UPS_INSTANCE": self.label}
        child = subprocess.Popen(
            [sys.executable, "-m", "remote", "watchdog", str(self.root)], env=env, start_new_session=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self._children.append(child)
        wait_for(lambda: bool(self.log()) or not (self.root / "box.json").exists())
        return child

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
        assert dog.wait(timeout=20) == 0
        assert helper.wait(timeout=5) == -signal.SIGTERM
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
        assert dog.wait(timeout=20) == 0
        assert [record["status"] for record in box.logged("run_exited")] == ["lost"]

    def test_and_is_started_again_within_the_grace_goes_on(self, box: Box) -> None:
        box.describe(grace_s=1.5)
        first = box.process(SLEEPER)
        box.be_the_run(first)
        dog = box.watch()
        first.kill()
        first.wait()
        wait_for(lambda: bool(box.logged("run_exited")))
        second = box.process(SLEEPER)
        box.be_the_run(second)
        time.sleep(2.2)
        assert dog.poll() is None
        assert second.poll() is None

    def test_is_not_a_process_that_has_its_pid_now(self, box: Box) -> None:
        box.describe(grace_s=0)
        other = box.process(SLEEPER, marked=False)
        box.be_the_run(other, started_earlier=3600)
        dog = box.watch()
        assert dog.wait(timeout=20) == 0
        assert other.poll() is None

    def test_is_not_one_that_never_started(self, box: Box) -> None:
        box.describe(grace_s=0)
        dog = box.watch()
        time.sleep(1.2)
        assert dog.poll() is None


class TestTheDeadline:
    def test_ends_everything_and_lets_the_run_checkpoint_first(self, box: Box, tmp_path: Path) -> None:
        box.describe(deadline_in=600)
        run = box.process(CAREFUL, str(tmp_path / "saved"), ready=True)
        box.be_the_run(run)
        stubborn = box.process(STUBBORN, ready=True)
        dog = box.watch()
        box.describe(deadline_in=0)  # also proves that a new deadline is read
        assert dog.wait(timeout=30) == 0
        assert (tmp_path / "saved").read_text() == "checkpoint"
        assert run.wait(timeout=5) == 0
        assert stubborn.wait(timeout=5) == -signal.SIGKILL
        assert box.logged("ending")[0]["reason"] == "the deadline has come"

    def test_may_be_moved_further(self, box: Box) -> None:
        box.describe(deadline_in=1.2)
        dog = box.watch()
        box.describe(deadline_in=600)
        time.sleep(2)
        assert dog.poll() is None

    def test_holds_while_box_json_is_damaged_or_gone(self, box: Box) -> None:
        box.describe(deadline_in=2)
        dog = box.watch()
        (box.root / "box.json").write_text('{"label"')
        time.sleep(0.7)
        (box.root / "box.json").unlink()
        assert dog.wait(timeout=10) == 0
        assert box.logged("ended")


class TestSignals:
    def test_sigterm_ends_the_box_now(self, box: Box) -> None:
        box.describe()
        helper = box.process(SLEEPER)
        dog = box.watch()
        dog.send_signal(signal.SIGTERM)
        assert dog.wait(timeout=10) == 0
        assert helper.wait(timeout=5) == -signal.SIGTERM

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


class TestStarting:
    def test_needs_only_the_standard_library(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import remote.__main__, remote.watchdog\n"
            "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
            "print(sorted(new - set(sys.stdlib_module_names) - {'remote'}))"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "[]"

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
