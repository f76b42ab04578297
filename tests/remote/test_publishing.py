"""Checkpoints reach the store while a run trains, from a process that training never waits for."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from remote.publish import Publisher
from remote.publishing import Publishing
from tests.patience import PATIENCE_S
from tests.remote.conftest import MakeRun, wait_for
from ups.rundir import RunDirectory
from ups.store import open_store
from ups.stores.directory import DirectoryStore

PREFIX = "runs/r1/attempt-1/"


class Told:
    """What the run is told."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.warnings: list[str] = []

    def on_published(self, path: str, where: str, sha256: str) -> None:
        self.published.append(path)

    def on_warning(self, code: str, message: str, hint: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run()


@pytest.fixture
def publishing(run: RunDirectory, told: Told) -> Iterator[Publishing]:
    with Publishing(run, told.on_published, told.on_warning) as opened:
        yield opened


def train_epoch(run: RunDirectory, epoch: int) -> None:
    """One more checkpoint, and none of the earlier ones."""
    made = run.checkpoints / f"operator-{epoch:04d}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_text(f"weights {epoch}")
    (made / "state.json").write_text(f'{{"epoch": {epoch}}}')
    for path in run.checkpoints.iterdir():
        if path != made:
            shutil.rmtree(path)


def published(store: DirectoryStore) -> set[str]:
    prefix = f"{PREFIX}checkpoints/"
    return {info.key.removeprefix(prefix).partition("/")[0] for info in store.list(prefix)}


def child_of(publishing: Publishing) -> "subprocess.Popen[str]":
    assert publishing._child is not None
    return publishing._child


def test_each_new_checkpoint_replaces_the_one_before(
    run: RunDirectory, store: DirectoryStore, told: Told, publishing: Publishing
) -> None:
    run.log_path.write_text("a line\n")
    for epoch in (1, 2):
        train_epoch(run, epoch)
        publishing.checkpoint()
        wait_for(lambda epoch=epoch: published(store) == {f"operator-{epoch:04d}"})
        wait_for(lambda epoch=epoch: len(told.published) == 2 * epoch)
    assert told.published[-1] == "checkpoints/operator-0002/state.json"
    assert store.read_bytes(f"{PREFIX}run.log") == b"a line\n"
    assert told.warnings == []


def test_slower_than_an_epoch_it_skips_to_the_newest(
    run: RunDirectory, store: DirectoryStore, told: Told, publishing: Publishing
) -> None:
    train_epoch(run, 1)
    publishing.checkpoint()
    wait_for(lambda: len(told.published) == 2)
    os.kill(child_of(publishing).pid, signal.SIGSTOP)
    for epoch in (2, 3, 4):
        train_epoch(run, epoch)
        publishing.checkpoint()
    os.kill(child_of(publishing).pid, signal.SIGCONT)
    wait_for(lambda: published(store) == {"operator-0004"})
    assert not any("0002" in path or "0003" in path for path in told.published)


def test_a_store_that_refuses_is_a_warning(make_run: MakeRun, told: Told) -> None:
    run = make_run("r2", run="r2", store="dir:/proc/nowhere")
    with Publishing(run, told.on_published, told.on_warning) as publishing:
        train_epoch(run, 1)
        publishing.checkpoint()
        wait_for(lambda: bool(told.warnings))
    assert "could not be published" in told.warnings[0]


def test_a_publisher_that_was_killed_is_told_and_replaced(
    run: RunDirectory, store: DirectoryStore, told: Told, publishing: Publishing
) -> None:
    train_epoch(run, 1)
    publishing.checkpoint()
    wait_for(lambda: len(told.published) == 2)
    child_of(publishing).kill()
    wait_for(lambda: bool(told.warnings))
    assert "ended by signal 9" in told.warnings[0]
    train_epoch(run, 2)
    publishing.checkpoint()
    wait_for(lambda: published(store) == {"operator-0002"})


def test_what_no_event_tells_yet_is_not_noted_as_published(run: RunDirectory) -> None:
    """All may be killed at any moment: whoever goes on then tells it."""
    train_epoch(run, 1)
    noted = run.root / "published.json"
    with subprocess.Popen(
        [sys.executable, "-m", "remote", "publish", str(run.root), "--follow"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        print("new", file=child.stdin, flush=True)
        first = json.loads(child.stdout.readline())["path"]
        assert not noted.exists()
        print("told", file=child.stdin, flush=True)
        second = json.loads(child.stdout.readline())["path"]
        assert [name.removeprefix(PREFIX) for name in json.loads(noted.read_text())] == [first]
        child.kill()
    again: list[str] = []
    store = open_store(run.read_spec().store)
    Publisher(store, run.read_spec(), run, lambda path, where, sha256: again.append(path)).publish(
        lambda done, total: None
    )
    assert second in again
    assert first not in again


def test_it_ends_where_its_run_was_killed(run: RunDirectory) -> None:
    """Whoever goes on with the run has a publisher of his own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "remote", "publish", str(run.root), "--follow"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    assert child.wait(PATIENCE_S) == 1
    child.stdout.close()
