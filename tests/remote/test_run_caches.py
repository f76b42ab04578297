"""A run trains from its cache, learns the same, and never fails for want of one."""

from pathlib import Path

import pytest

from remote.hydrate import Datasets
from remote.run_caches import RunCaches
from tests.remote.caching import Point, converted, curves, make_run, put_datasets
from ups.data.cached_fields import CachedFields
from ups.data.split import open_split
from ups.events import EventWriter
from ups.rundir import RunDirectory, RunSpec
from ups.stores.directory import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "store")
    put_datasets(made)
    return made


def provide(
    spec: RunSpec, store: DirectoryStore, directory: RunDirectory, told: list[str] | None = None
) -> Datasets:
    """What the run trains on and is judged on."""
    caches = RunCaches.of(spec, store, directory)
    files = {
        task: {split: path for split, path in splits.items() if (task, split) not in caches.replaced}
        for task, splits in converted(store).items()
    }
    lines = [] if told is None else told
    caches = caches.built(files, silent, lines.append)
    caches.settle(lines.append)
    found = caches.bring(spec.tasks, silent)
    assert found == caches.places(spec.tasks) == caches.ready(spec.tasks)
    return {task: of | ({caches.split: found[task]} if task in found else {}) for task, of in files.items()}


def silent(task: str, done: int, total: int) -> None:
    pass


def is_cached(datasets: Datasets) -> dict[str, bool]:
    return {task: isinstance(open_split(files["train"]), CachedFields) for task, files in datasets.items()}


def trained(spec: RunSpec, directory: RunDirectory, datasets: Datasets) -> list[Point]:
    from ups.training.run import TrainingJob, train

    with EventWriter(directory.events_path) as sink:
        train(TrainingJob(spec, directory, datasets, "cpu"), sink)
    return curves(directory)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    made = DirectoryStore(tmp_path_factory.mktemp("shared") / "store")
    put_datasets(made)
    return made


@pytest.fixture(scope="module")
def from_fields(shared: DirectoryStore, tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    spec, directory = make_run(tmp_path_factory.mktemp("runs") / "fields", shared)
    return trained(spec, directory, converted(shared))


class TestWhatIsLearned:
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 1e-3)])
    def test_is_the_same_from_a_cache(
        self, tmp_path: Path, shared: DirectoryStore, from_fields: list[Point], dtype: str, tolerance: float
    ) -> None:
        spec, directory = make_run(tmp_path / "run", shared, precompute=True, cache_dtype=dtype)
        datasets = provide(spec, shared, directory)
        assert is_cached(datasets) == {"advection1d": True, "darcy2d": True}
        from_cache = trained(spec, directory, datasets)
        assert {where[0] for where, _ in from_cache} == {"train", "val"}
        assert [where for where, _ in from_cache] == [where for where, _ in from_fields]
        for (_, ours), (_, theirs) in zip(from_cache, from_fields, strict=True):
            assert ours
            assert ours == pytest.approx(theirs, rel=tolerance)
