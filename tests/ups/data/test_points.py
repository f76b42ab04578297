"""Datasets of meshes and particles: made, stored, read with h5py alone, mapped and refused."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from ups import catalog
from ups.data import convert
from ups.data.point_fields import PointFields
from ups.data.solvers.registry import solver_of
from ups.data.split import open_split
from ups.data.stored import stored_sources
from ups.errors import DataError
from ups.stores.directory import DirectoryStore

TASKS = ("darcy2d_mesh", "particles_advect")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    made = DirectoryStore(tmp_path_factory.mktemp("store"))
    for task in TASKS:
        convert.make(made, task, samples=4, seed=3)
    return made


def path_of(store: DirectoryStore, task: str, split: str) -> Path:
    path = store.local_path(catalog.dataset_key(task, split))
    assert path is not None
    return path


def opened(store: DirectoryStore, task: str, split: str) -> PointFields:
    fields = open_split(path_of(store, task, split))
    assert isinstance(fields, PointFields)
    return fields


@pytest.mark.parametrize("task", TASKS)
class TestBoth:
    def test_dataset_is_verified_and_has_a_split_for_every_sample(
        self, store: DirectoryStore, task: str
    ) -> None:
        entry = catalog.verify(store, task, lambda what, done, total: None)
        assert entry.state == "verified"
        assert {name: split.samples for name, split in entry.splits.items()} == {
            "train": 2,
            "val": 1,
            "test": 1,
        }
        assert entry.splits["test"].shape[-2] == opened(store, task, "test").most_points

    def test_samples_are_what_the_solver_gave(self, store: DirectoryStore, task: str) -> None:
        solver = solver_of(task)
        block = solver.solve(3, range(4), solver.parameter_sets[0])
        fields = opened(store, task, "train")
        for row, index in enumerate(fields.sample):
            found, given = fields.block(row).samples[0], block.samples[index]
            for name in ("positions", "inputs", "targets", "boundary", "cells"):
                assert np.array_equal(getattr(found, name), getattr(given, name)), name

    def test_file_is_read_without_the_project(self, store: DirectoryStore, task: str) -> None:
        fields = opened(store, task, "train")
        with h5py.File(path_of(store, task, "train")) as file:
            first, end = file["point_offsets"][1:3]
            values = file["targets" if task == "darcy2d_mesh" else "states"][first:end]
            assert np.array_equal(values, fields.block(1).samples[0].targets)
            assert list(file.attrs["axes"]) == ["x", "y"]
            if task == "darcy2d_mesh":
                first, end = file["cell_offsets"][1:3]
                assert np.array_equal(file["cells"][first:end], fields.triangles(1))

    def test_opens_again_in_another_process(self, store: DirectoryStore, task: str) -> None:
        fields = opened(store, task, "val")
        again = pickle.loads(pickle.dumps(fields))
        assert np.array_equal(again.positions, fields.positions)

    def test_making_it_again_changes_nothing(self, store: DirectoryStore, task: str) -> None:
        before = path_of(store, task, "train").read_bytes()
        assert not convert.make(store, task, samples=4, seed=3).changed
        assert path_of(store, task, "train").read_bytes() == before

    def test_stored_samples_come_back_in_their_first_order(self, store: DirectoryStore, task: str) -> None:
        (source,) = stored_sources([opened(store, task, split) for split in ("train", "val", "test")])
        solver = solver_of(task)
        given = solver.solve(3, range(4), solver.parameter_sets[0]).samples
        found = [sample for block in source.blocks(3) for sample in block.samples]
        starts = [start for rows in source.initial_conditions(3) for start in rows]
        for one, other, start in zip(found, given, starts, strict=True):
            assert np.array_equal(one.targets, other.targets)
            assert np.array_equal(start, other.start)

    def test_statistics_weigh_every_point_alike(self, store: DirectoryStore, task: str) -> None:
        fields, entry = opened(store, task, "train"), catalog.dataset(store, task)
        values = fields.targets if fields.states is None else fields.states
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        assert np.allclose(entry.statistics["mean"], flat.mean(axis=0), rtol=1e-6, atol=1e-9)
        assert np.allclose(entry.statistics["std"], flat.std(axis=0), rtol=1e-6)


def test_truncated_file_is_refused(store: DirectoryStore, tmp_path: Path) -> None:
    whole = path_of(store, "darcy2d_mesh", "test").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.h5"):
        open_split(tmp_path / "cut.h5")


def test_offsets_that_do_not_fit_the_points_are_refused(store: DirectoryStore, tmp_path: Path) -> None:
    path = tmp_path / "wrong.h5"
    path.write_bytes(path_of(store, "darcy2d_mesh", "test").read_bytes())
    with h5py.File(path, "r+") as file:
        file["point_offsets"][-1] -= 1
    with pytest.raises(DataError, match="point_offsets does not divide"):
        open_split(path)
