"""What the phases of a run see of its data, and what a run says while it waits for them."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from remote.failures import StopRequested
from remote.hydrate import Hydrator
from remote.journal import Journal
from remote.run_caches import RunCaches
from remote.supply import Supply
from tests.remote.conftest import MakeRun, wait_for
from tests.remote.test_hydrate import Bucket
from tests.remote.test_pipeline import events_of, phases_of
from ups.catalog import manifest_key
from ups.errors import StoreError
from ups.rundir import RunDirectory
from ups.store import Progress
from ups.stores.directory import DirectoryStore


class Unsteady(Bucket):
    """Fails as often as it is told to when the late task is fetched, and holds it back until it may come."""

    def __init__(self, root: Path, *, failures: int = 0) -> None:
        super().__init__(root)
        self.failures = failures
        self.may_come = threading.Event()
        self.may_come.set()

    def download(self, key: str, target: Path, **options: object) -> None:
        progress: Progress = options["progress"]  # type: ignore[assignment]
        while "advection1d" in key and not self.may_come.wait(0.01):
            progress(0, 1)
        if "advection1d" in key and self.failures:
            self.failures -= 1
            raise StoreError("the line was cut", hint="look at the line")
        super().download(key, target, **options)


@contextmanager
def supply_of(
    run: RunDirectory, store: DirectoryStore, stop: threading.Event | None = None
) -> Iterator[Supply]:
    def check() -> None:
        if stop is not None and stop.is_set():
            raise StopRequested

    spec = run.read_spec()
    hydrator, caches = Hydrator(spec, store, run), RunCaches(spec, store, run)
    with (
        Journal(run.events_path) as journal,
        closing(Supply(hydrator, caches, journal, check, pauses_s=(0.0, 0.0))) as supply,
    ):
        yield supply


def codes_of(run: RunDirectory) -> list[str]:
    return [event.fields["message"] for event in events_of(run) if event.type == "warning"]


def test_training_may_begin_before_the_rest_is_here(
    make_joint_run: MakeRun, two_tasks: DirectoryStore
) -> None:
    run, bucket = make_joint_run(), Unsteady(two_tasks.root)
    bucket.may_come.clear()
    with supply_of(run, bucket) as supply:
        assert not supply.ready()
        assert "advection1d follow" in supply.begin()
        assert supply.arrived(["darcy2d"])
        assert all(path.is_file() for path in supply.datasets["darcy2d"].values())
        assert not any(path.exists() for path in supply.datasets["advection1d"].values())
        assert supply.outlines["advection1d"].samples == 24
        assert not supply.arrived(["advection1d"])
        bucket.may_come.set()
        wait_for(lambda: supply.arrived(["advection1d"]))
        assert supply.whole() == supply.datasets
    assert phases_of(run) == ["hydrate started", "hydrate finished"]
    with supply_of(run, bucket) as supply:
        assert supply.ready()
        assert supply.outlines == {}


def test_failure_that_passes_is_a_warning(make_joint_run: MakeRun, two_tasks: DirectoryStore) -> None:
    run = make_joint_run()
    with supply_of(run, Unsteady(two_tasks.root, failures=2)) as supply:
        supply.begin()
        assert set(supply.whole()) == {"advection1d", "darcy2d"}
    assert codes_of(run) == ["the line was cut; it is tried again"] * 2


def test_failure_that_lasts_is_raised_where_the_data_are_needed(
    make_joint_run: MakeRun, two_tasks: DirectoryStore
) -> None:
    run = make_joint_run()
    with supply_of(run, Unsteady(two_tasks.root, failures=99)) as supply:
        supply.begin()
        assert supply.arrived(["darcy2d"])
        with pytest.raises(StoreError, match="the line was cut"):
            supply.whole()
    assert phases_of(run)[-1] == "hydrate failed"


def test_request_to_stop_ends_the_wait(make_joint_run: MakeRun, two_tasks: DirectoryStore) -> None:
    run, bucket, stop = make_joint_run(), Unsteady(two_tasks.root), threading.Event()
    bucket.may_come.clear()
    with supply_of(run, bucket, stop) as supply:
        supply.begin()
        stop.set()
        with pytest.raises(StopRequested):
            supply.whole()
    assert phases_of(run)[-1] == "hydrate skipped"
    assert not any(thread.name == "hydrate" for thread in threading.enumerate())
    data = run.root.parent / "data"
    assert sorted(path.suffix for path in data.iterdir() if path.is_file()) == [".h5"] * 3


def test_next_process_fetches_only_what_is_missing(
    make_joint_run: MakeRun, two_tasks: DirectoryStore
) -> None:
    run, bucket = make_joint_run(), Unsteady(two_tasks.root)
    bucket.may_come.clear()
    with supply_of(run, bucket) as supply:
        supply.begin()
    bucket.may_come.set()
    bucket.downloads.clear()
    with supply_of(run, bucket) as supply:
        supply.begin()
        supply.whole()
    assert {Path(key).name for key in bucket.downloads} == {
        f"advection1d_{split}.h5" for split in ("train", "val", "test")
    }


def test_task_of_unknown_size_comes_before_training_begins(
    make_joint_run: MakeRun, two_tasks: DirectoryStore
) -> None:
    run = make_joint_run()
    two_tasks.delete(manifest_key("advection1d"))  # its files are still those that the run pins
    with supply_of(run, Unsteady(two_tasks.root)) as supply:
        supply.begin()
        assert supply.arrived(["advection1d"])
        assert all(path.is_file() for files in supply.datasets.values() for path in files.values())
