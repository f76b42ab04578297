"""Particle datasets written in LagrangeBench's layout, and read from it again."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ups.data.test_lagrange import LENNARD_JONES, TASK, VORTEX, stored
from ups.data import convert
from ups.data.export import export
from ups.data.formats import ExportFormat
from ups.data.lagrange import displacements
from ups.errors import DataError, NotFoundError
from ups.stores.directory import DirectoryStore


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def made(tmp_path: Path) -> DirectoryStore:
    store = DirectoryStore(tmp_path / "store")
    convert.make(store, TASK, samples=5, seed=2)
    return store


def exported(store: DirectoryStore, folder: Path) -> Path:
    export(store, TASK, folder, ExportFormat.LAGRANGEBENCH, silent)
    return folder


class TestRoundTrip:
    def test_solver_data_come_back_with_their_positions_and_velocities(
        self, made: DirectoryStore, tmp_path: Path
    ) -> None:
        folder = exported(made, tmp_path / "out")
        again = DirectoryStore(tmp_path / "again")
        convert.import_raw(again, TASK, [folder])
        before, after = stored(made), stored(again)
        for split, fields in before.items():
            for row in range(fields.samples):
                given, found = (own[split].block(row).samples[0] for own in (before, after))
                assert np.array_equal(given.positions[:, :-1], found.positions)
                assert np.abs(np.diff(found.positions, axis=1)).max() > 0.9, "no particle crosses the border"
                # forward differences are the velocity in the middle of the step
                middle = 0.5 * (given.targets[:, :-1] + given.targets[:, 1:])
                assert np.abs(found.targets - middle).max() < 0.02 * np.abs(middle).max()
            assert after[split].dt == fields.dt

    def test_lagrangebenchs_own_trajectories_come_back_as_they_were(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [VORTEX])
        folder = exported(store, tmp_path / "out")
        for name in ("train.h5", "valid.h5", "test.h5"):
            with h5py.File(folder / name) as written, h5py.File(VORTEX / name) as raw:
                assert list(written) == list(raw)
                for group in raw:
                    assert np.array_equal(written[group]["position"], raw[group]["position"][:-1])
                    assert np.array_equal(written[group]["particle_type"], raw[group]["particle_type"])
                    assert written[group]["position"].dtype == raw[group]["position"].dtype
                    assert written[group]["particle_type"].dtype == raw[group]["particle_type"].dtype

    def test_three_dimensions_keep_their_box(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [LENNARD_JONES])
        again = DirectoryStore(tmp_path / "again")
        convert.import_raw(again, TASK, [exported(store, tmp_path / "out")])
        assert stored(again)["test"].spec == stored(store)["test"].spec


class TestMetadata:
    def test_it_has_all_that_lagrangebenchs_own_has_of_a_model(
        self, made: DirectoryStore, tmp_path: Path
    ) -> None:
        written = json.loads((exported(made, tmp_path / "out") / "metadata.json").read_text())
        own = json.loads((LENNARD_JONES / "metadata.json").read_text())
        assert set(own) - {"description"} <= set(written)
        assert written["bounds"] == [[0.0, 1.0], [0.0, 1.0]]
        assert (written["dt"], written["write_every"]) == (0.02, 1)
        assert written["sequence_length_train"] == 40
        assert written["num_trajs_train"] == 3
        assert written["num_particles_max"] == max(fields.most_points for fields in stored(made).values())
        assert 0.03 < written["default_connectivity_radius"] < 0.08

    def test_statistics_are_those_of_displacements(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [VORTEX])
        written = json.loads((exported(store, tmp_path / "out") / "metadata.json").read_text())
        velocity, acceleration = [], []
        for group in ("00000", "00001"):
            with h5py.File(VORTEX / "train.h5") as file:
                raw = file[group]["position"][:-1].astype(np.float64)
            step = (np.diff(raw, axis=0) + 0.5) % 1.0 - 0.5
            velocity.append(step.reshape(-1, 2))
            acceleration.append(np.diff(step, axis=0).reshape(-1, 2))
        for name, parts in (("vel", velocity), ("acc", acceleration)):
            values = np.concatenate(parts)
            assert np.allclose(written[f"{name}_mean"], values.mean(axis=0), atol=1e-9)
            assert np.allclose(written[f"{name}_std"], values.std(axis=0), rtol=1e-6)

    def test_displacements_take_the_short_way_round(self) -> None:
        positions = np.array([[[0.9, -1.5]], [[0.1, 1.5]], [[0.2, 1.4]]], np.float32)
        moved = displacements(positions, ((0.0, 1.0), (-2.0, 2.0)))
        assert np.allclose(moved[:, 0], [[0.2, -1.0], [0.1, -0.1]])


class TestRefusal:
    def test_a_folder_with_something_in_it_is_left_alone(self, made: DirectoryStore, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        with pytest.raises(DataError, match="not empty"):
            exported(made, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]

    @pytest.mark.parametrize(
        ("task", "match"), [("darcy2d_mesh", "layout of particles"), ("advection1d", "lives on a grid")]
    )
    def test_other_kinds_of_data(self, tmp_path: Path, task: str, match: str) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.make(store, task, samples=3)
        with pytest.raises(DataError) as caught:
            export(store, task, tmp_path / "out", ExportFormat.LAGRANGEBENCH, silent)
        assert match in f"{caught.value.message} {caught.value.hint}"
        assert not (tmp_path / "out").exists()

    def test_nothing_is_left_of_an_export_that_fails(self, made: DirectoryStore, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(Exception, match="file"):
            exported(made, tmp_path / "file" / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]

    def test_a_dataset_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            exported(DirectoryStore(tmp_path / "store"), tmp_path / "out")
