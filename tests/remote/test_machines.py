"""A run on several machines: each with its own directory, address and copy of the data."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from remote import torchrun
from remote.watchdog import marked_processes
from tests.remote.conftest import CONFIG, MakeRun, start, wait_for
from tests.remote.test_followers import losses
from tests.remote.test_pipeline import assert_whole, done_of, events_of, kinds_of
from ups.config import TrainConfig
from ups.errors import UsageError
from ups.rundir import RunDirectory
from ups.stores.directory import DirectoryStore

ROOT = Path(__file__).parents[2]
EPOCHS = 5
MARK = "UPS_TEST_MACHINE"
ADDRESSES = ("127.0.0.2", "127.0.0.3")


def config(epochs: int = EPOCHS, **distributed: object) -> TrainConfig:
    content = {**CONFIG, "stages": {"operator": {"epochs": epochs}}, "distributed": distributed}
    return TrainConfig.model_validate(content)


@dataclass
class Machine:
    """One machine of a run."""

    run: RunDirectory
    process: "subprocess.Popen[bytes]"
    mark: str

    def die(self) -> None:
        """All of its processes at once; the others are told by the system."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def fall_silent(self) -> None:
        """As by a power cut: its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        for pid in marked_processes(f"{MARK}={self.mark}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextlib.contextmanager
def machines(*runs: RunDirectory, port: int) -> Iterator[list[Machine]]:
    """The processes of a run started on each of its machines; what is left at the end is killed."""
    found = []
    try:
        for run, address in zip(runs, ADDRESSES, strict=True):
            mark = uuid.uuid4().hex
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), MARK: mark}
            command = [
                sys.executable, "-m", "remote", "run", str(run.root), "--meet", f"{ADDRESSES[0]}:{port}",
                "--machines", str(len(runs)), "--address", address, "--patience", "3", "--silence", "8",
            ]  # fmt: skip
            with run.log_path.open("ab") as log:
                process = subprocess.Popen(
                    command, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            found.append(Machine(run, process, mark))
        yield found
    finally:
        for machine in found:
            machine.die()


@pytest.fixture
def pair(make_run: MakeRun, store: DirectoryStore, tmp_path: Path) -> Callable[..., list[RunDirectory]]:
    """One run on two machines, each with a store of its own."""

    def make(name: str, settings: TrainConfig) -> list[RunDirectory]:
        here = make_run(name, config=settings, run=name)
        other = tmp_path / "other"
        shutil.copytree(store.root, other / "store", dirs_exist_ok=True)
        there = RunDirectory(other / name)
        there.root.mkdir(parents=True)
        spec = here.spec_path.read_text().replace(str(store.root), str(other / "store"))
        there.spec_path.write_text(spec)
        return [here, there]

    return make


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((ADDRESSES[0], 0))
        return int(probe.getsockname()[1])


def test_two_machines_train_as_one_does_and_one_writes_it_down(
    make_run: MakeRun, pair: Callable[..., list[RunDirectory]], store: DirectoryStore
) -> None:
    alone = make_run("alone", config=config())
    assert start("-m", "remote", "run", str(alone.root), log=alone.log_path).wait(120) == 0
    here, there = pair("both", config())
    with machines(here, there, port=free_port()) as (first, second):
        assert first.process.wait(120) == 0, here.log_path.read_text()
        assert second.process.wait(120) == 0, there.log_path.read_text()
    assert_whole(here, store)
    assert (events_of(here)[0].fields["world_size"], done_of(here)["status"]) == (2, "succeeded")
    assert not there.events_path.exists()
    found, expected = losses(here), losses(alone)
    assert [point[:3] for point in found] == [point[:3] for point in expected]
    assert [point[3] for point in found] == pytest.approx([point[3] for point in expected], rel=1e-4)


def _goes_on_after_a_death(
    make_run: MakeRun, pair: Callable[..., list[RunDirectory]], store: DirectoryStore, *, machine_too: bool
) -> None:
    """A process of the second machine is killed, and then perhaps all of it: the run comes to the same."""
    long = config(epochs=40)
    alone = make_run("alone", config=long)
    assert start("-m", "remote", "run", str(alone.root), log=alone.log_path).wait(120) == 0
    here, there = pair("both", long)
    with machines(here, there, port=free_port()) as (first, second):
        wait_for(lambda: "checkpoint" in kinds_of(here), seconds=120)
        workers = [pid for pid in marked_processes(f"{MARK}={second.mark}") if pid != second.process.pid]
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: "resumed" in kinds_of(here), seconds=120)
        if machine_too:
            before = kinds_of(here).count("checkpoint")
            wait_for(lambda: kinds_of(here).count("checkpoint") > before + 1, seconds=120)
            resumed = kinds_of(here).count("resumed")  # once, or more often where a restart came in two steps
            second.die()
            wait_for(lambda: kinds_of(here).count("resumed") > resumed, seconds=120)
        assert first.process.wait(120) == 0, here.log_path.read_text()
    assert_whole(here, store)
    assert done_of(here)["status"] == "succeeded"
    found, expected = losses(here), losses(alone)
    assert [point[:3] for point in found] == [point[:3] for point in expected]
    assert [point[3] for point in found] == pytest.approx([point[3] for point in expected], rel=1e-3)


def test_a_process_that_dies_is_started_anew(
    make_run: MakeRun, pair: Callable[..., list[RunDirectory]], store: DirectoryStore
) -> None:
    _goes_on_after_a_death(make_run, pair, store, machine_too=False)


def test_a_machine_that_dies_is_done_without(
    make_run: MakeRun, pair: Callable[..., list[RunDirectory]], store: DirectoryStore
) -> None:
    _goes_on_after_a_death(make_run, pair, store, machine_too=True)


def test_a_machine_that_falls_silent_is_done_without(
    pair: Callable[..., list[RunDirectory]], store: DirectoryStore
) -> None:
    here, there = pair("both", config(epochs=30))
    with machines(here, there, port=free_port()) as (first, second):
        wait_for(lambda: "checkpoint" in kinds_of(here), seconds=120)
        second.fall_silent()
        assert first.process.wait(240) == 0, here.log_path.read_text()
    assert "machine 1 of the training has been silent" in here.log_path.read_text()
    assert_whole(here, store)
    assert done_of(here)["status"] == "succeeded"


def test_data_that_another_machine_cannot_have_end_the_run_with_its_reason(
    pair: Callable[..., list[RunDirectory]],
) -> None:
    here, there = pair("both", config())
    for file in (there.root.parent / "store").rglob("*_train.h5"):
        file.write_bytes(b"torn")
    with machines(here, there, port=free_port()) as (first, _):
        assert first.process.wait(120) != 0
    (error,) = [event.fields for event in events_of(here) if event.type == "error"]
    assert error["message"].startswith("machine 1 failed: ")
    assert done_of(here)["status"] == "failed"


def test_a_machine_starts_as_many_processes_as_the_config_says_by_itself(
    make_run: MakeRun, store: DirectoryStore
) -> None:
    run = make_run(config=config(epochs=1, processes=2))
    process = start("-m", "remote", "run", str(run.root), log=run.log_path, UPS_REMOTE_DEVICE="cpu")
    assert process.wait(120) == 0, run.log_path.read_text()
    assert_whole(run, store)
    assert events_of(run)[0].fields["world_size"] == 2


def test_the_private_network_carries_the_exchanges() -> None:
    assert torchrun.interface_of("127.0.0.9") == "lo"
    with pytest.raises(UsageError, match=r"no address 192\.0\.2\.1"):
        torchrun.interface_of("192.0.2.1")
