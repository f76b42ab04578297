"""A run trains from its cache, learns the same, and never fails for want of one."""

import json
from pathlib import Path
from typing import Any

import pytest

from remote.hydrate import Datasets
from remote.run_caches import RunCaches
from tests.remote.caching import FarStore, Point, converted, curves, make_run, put_datasets, tiny_config
from ups.catalog import manifest_key
from ups.data.cached_fields import CachedFields
from ups.data.split import open_split
from ups.errors import StoreError
from ups.events import EventWriter
from ups.rundir import RunDirectory, RunSpec
from ups.stores.directory import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "store")
    put_datasets(made)
    return made


class Told:
    """What a run says while it provides its caches."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.units: set[str] = set()

    def progress(self, unit: str) -> Any:
        return lambda task, done, total: self.units.add(unit)


def provide(
    spec: RunSpec, store: DirectoryStore, directory: RunDirectory, told: Told | None = None
) -> Datasets:
    """What the run trains on and is judged on."""
    told = told or Told()
    caches = RunCaches.of(spec, store, directory)
    files = {
        task: {split: path for split, path in splits.items() if (task, split) not in caches.replaced}
        for task, splits in converted(store).items()
    }
    caches = caches.built(files, told.progress("samples"), told.lines.append)
    caches.settle(told.lines.append)
    found = caches.bring(spec.tasks, told.progress("bytes"))
    assert found == caches.places(spec.tasks) == caches.ready(spec.tasks)
    return {task: of | ({caches.split: found[task]} if task in found else {}) for task, of in files.items()}


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


class TestWhatIsProvided:
    def test_is_nothing_where_nobody_asks(self, tmp_path: Path, store: DirectoryStore) -> None:
        spec, directory = make_run(tmp_path / "run", store)
        caches = RunCaches.of(spec, store, directory)
        assert (caches.recipes, caches.reasons, caches.replaced) == ({}, {}, frozenset())

    @pytest.mark.parametrize("asked", [{"precompute": True}, {"cache_version": "mine"}, {}])
    def test_is_asked_for_in_three_ways(
        self, tmp_path: Path, store: DirectoryStore, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not asked:
            monkeypatch.setenv("PRECOMPUTE_LATENT", "1")
        spec, directory = make_run(tmp_path / "run", store, **asked)
        assert RunCaches.of(spec, store, directory).version == asked.get("cache_version", "upt_16d_16tok")

    def test_comes_from_a_store_elsewhere_without_the_fields(self, tmp_path: Path) -> None:
        store = FarStore(tmp_path / "store")
        put_datasets(store)
        told = Told()
        provide(*spec_and_run(tmp_path / "first", store), told)
        assert told.units == {"samples", "bytes"}
        spec, directory = make_run(tmp_path / "box" / "second", store, precompute=True)
        assert RunCaches.of(spec, store, directory).replaced == {
            ("advection1d", "train"),
            ("darcy2d", "train"),
        }
        told = Told()
        datasets = provide(spec, store, directory, told)
        assert told.units == {"bytes"}
        assert is_cached(datasets) == {"advection1d": True, "darcy2d": True}
        assert all(tmp_path / "box" in files["train"].parents for files in datasets.values())
        assert told.lines == []

    def test_is_not_fetched_again(self, tmp_path: Path) -> None:
        store = FarStore(tmp_path / "store")
        put_datasets(store)
        spec, directory = make_run(tmp_path / "box" / "run", store, precompute=True)
        before = stamps(provide(spec, store, directory))
        assert stamps(provide(spec, store, directory)) == before
        # what an interrupted process left half, or what has changed since, is
        [shard, *_] = sorted((tmp_path / "box").rglob("shard-*.safetensors"))
        content = shard.read_bytes()
        shard.write_bytes(content[:-1] + b"x")
        after = stamps(provide(spec, store, directory))
        assert shard.read_bytes() == content
        assert {name for name in before if before[name] != after[name]} == {str(shard)}

    def test_is_never_what_the_store_has_damaged(self, tmp_path: Path, store: DirectoryStore) -> None:
        provide(*spec_and_run(tmp_path / "first", store))
        [shard, *_] = sorted(store.root.rglob("shard-*.safetensors"))
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
        with pytest.raises(StoreError, match="missing or damaged"):
            provide(*spec_and_run(tmp_path / "second", store))

    def test_is_built_anew_where_a_reset_is_asked_for(
        self, tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, _ = provide(*spec_and_run(tmp_path / "first", store)).values()
        [shard] = first["train"].glob("shard-*")
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
        monkeypatch.setenv("RESET_CACHE", "1")
        run = spec_and_run(tmp_path / "second", store)
        provide(*run)
        built = shard.stat().st_mtime_ns
        provide(*run)  # the same run again, as after a crash: once is enough
        assert shard.stat().st_mtime_ns == built


class TestWhatDiffers:
    def test_is_said_and_only_that_is_built(self, tmp_path: Path, store: DirectoryStore) -> None:
        provide(*spec_and_run(tmp_path / "first", store))
        before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*.safetensors")}
        config = tiny_config().model_copy(deep=True)
        config.operator.patch["darcy2d"] = 2
        told = Told()
        spec, directory = make_run(tmp_path / "second", store, config, precompute=True)
        datasets = provide(spec, store, directory, told)
        assert told.lines == ["upt_16d_16tok of darcy2d train is built anew: patch 4 and 4, wanted 2 and 2"]
        assert is_cached(datasets) == {"advection1d": True, "darcy2d": True}
        assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())

    def test_from_a_newer_version_is_an_error_that_says_so(
        self, tmp_path: Path, store: DirectoryStore
    ) -> None:
        provide(*spec_and_run(tmp_path / "first", store))
        [manifest, *_] = sorted(store.root.rglob("latent_caches/**/manifest.json"))
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 9}))
        with pytest.raises(StoreError, match="is of format 9, and this version reads up to 2"):
            provide(*spec_and_run(tmp_path / "second", store))


class TestWithoutACache:
    def test_a_task_says_why_and_the_run_goes_on(self, tmp_path: Path, store: DirectoryStore) -> None:
        config = tiny_config().model_copy(deep=True)
        config.operator.patch["darcy2d"] = 8  # of 64 values, more than a token has
        told = Told()
        spec, directory = make_run(tmp_path / "run", store, config, precompute=True)
        datasets = provide(spec, store, directory, told)
        assert is_cached(datasets) == {"advection1d": True, "darcy2d": False}
        [line] = told.lines
        assert line.startswith("darcy2d trains from its fields: a patch of darcy2d has 64 values")

    @pytest.mark.parametrize(
        ("change", "why"),
        [({"patch_size": 2}, "pooled fields are not cached"), ({"split": "val"}, "never done on a cache")],
    )
    def test_nor_does_it_stop_a_run_whose_config_has_none(
        self, tmp_path: Path, store: DirectoryStore, change: dict[str, Any], why: str
    ) -> None:
        config = tiny_config()
        config = config.model_copy(update={"data": config.data.model_copy(update=change)})
        told = Told()
        spec, directory = make_run(tmp_path / "run", store, config, precompute=True)
        assert not any(is_cached(provide(spec, store, directory, told)).values())
        assert len(told.lines) == 2
        assert all(why in line for line in told.lines)

    def test_nor_one_whose_values_do_not_fit(self, tmp_path: Path, store: DirectoryStore) -> None:
        key = manifest_key("advection1d")
        manifest = json.loads(store.read_bytes(key))
        manifest["statistics"]["std"] = [1e-6]
        store.write_bytes(key, json.dumps(manifest).encode())
        told = Told()
        run = spec_and_run(tmp_path / "run", store)
        assert is_cached(provide(*run, told)) == {"advection1d": False, "darcy2d": True}
        assert told.lines == ["advection1d trains from its fields: advection1d train does not fit float16"]
        assert is_cached(provide(*run, told)) == {"advection1d": False, "darcy2d": True}
        assert told.lines[-1].endswith("this run has begun with its fields")


def spec_and_run(folder: Path, store: DirectoryStore) -> tuple[RunSpec, DirectoryStore, RunDirectory]:
    spec, directory = make_run(folder, store, precompute=True)
    return spec, store, directory


def stamps(datasets: Datasets) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns for files in datasets.values() for path in files["train"].iterdir()
    }
