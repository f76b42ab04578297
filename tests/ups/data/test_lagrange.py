"""Particles in LagrangeBench's layout: what is imported, in which splits, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from ups.data import convert
from ups.data.fields import SPLITS
from ups.data.point_fields import PointFields
from ups.data.split import open_split
from ups.errors import DataError, NotFoundError
from ups.stores.directory import DirectoryStore

AUTHENTIC = Path(__file__).parents[2] / "data" / "lagrangebench"
VORTEX = AUTHENTIC / "2D_TGV_400_60every10"
LENNARD_JONES = AUTHENTIC / "3D_LJ_3_1214every1"
TASK = "particles_advect"


def imported(folder: Path, *paths: Path) -> dict[str, PointFields]:
    store = DirectoryStore(folder)
    convert.import_raw(store, TASK, paths)
    return stored(store)


def stored(store: DirectoryStore) -> dict[str, PointFields]:
    found = {}
    for split in SPLITS:
        path = store.local_path(f"pdebench/full/{TASK}/{TASK}_{split}.h5")
        assert path is not None
        fields = open_split(path)
        assert isinstance(fields, PointFields)
        found[split] = fields
    return found


def positions_of(path: Path, group: str = "00000") -> NDArray[np.float64]:
    with h5py.File(path) as file:
        return np.asarray(file[group]["position"][()], np.float64)


def copied(tmp_path: Path, source: Path = VORTEX) -> Path:
    folder = tmp_path / "raw"
    shutil.copytree(source, folder)
    return folder


def change_metadata(folder: Path, **values: Any) -> None:
    path = folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


class TestImport:
    def test_states_are_the_velocities_that_the_positions_have(self, tmp_path: Path) -> None:
        raw = positions_of(VORTEX / "test.h5")
        step = np.diff(raw, axis=0)
        step = np.where(step > 0.5, step - 1, np.where(step < -0.5, step + 1, step))  # the unit box
        assert (np.abs(np.diff(raw, axis=0)) > 0.5).any(), "no particle crosses the border"
        fields = imported(tmp_path, VORTEX)["test"]
        sample = fields.block(0).samples[0]
        assert np.array_equal(sample.positions, np.moveaxis(raw[:-1], 0, 1).astype(np.float32))
        assert np.allclose(sample.targets, np.moveaxis(step / 0.01, 0, 1), rtol=1e-6, atol=1e-9)
        assert fields.dt == 0.01
        assert len(fields.times) == len(raw) - 1

    def test_a_velocity_leads_to_the_next_position_across_the_border(self, tmp_path: Path) -> None:
        fields = imported(tmp_path, VORTEX)["train"]
        sample = fields.block(0).samples[0]
        there = np.mod(sample.positions[:, :-1] + fields.dt * sample.targets[:, :-1].astype(np.float64), 1.0)
        away = np.abs(there - sample.positions[:, 1:])
        assert np.minimum(away, 1.0 - away).max() < 1e-6
        assert np.abs(np.diff(sample.positions, axis=1)).max() > 0.9

    def test_a_dataset_has_the_box_and_the_dimensions_of_its_files(self, tmp_path: Path) -> None:
        fields = imported(tmp_path, LENNARD_JONES)["val"]
        assert fields.spec.domain == ((0.0, 5.0),) * 3
        assert fields.spec.fields == fields.spec.vector_fields == ("velocity_x", "velocity_y", "velocity_z")
        assert fields.positions.shape == (3, 40, 3)
        with h5py.File(fields.path) as file:
            assert list(file.attrs["fields"]) == list(fields.spec.fields)
            assert file.attrs["domain"].tolist() == [[0.0, 5.0]] * 3
            assert list(file.attrs["axes"]) == ["x", "y", "z"]

    def test_lagrangebenchs_test_and_validation_trajectories_stay_held_out(self, tmp_path: Path) -> None:
        fields = imported(tmp_path, VORTEX)
        for split, file in (("test", "test.h5"), ("val", "valid.h5"), ("train", "train.h5")):
            first = fields[split].block(0).samples[0].positions[:, 0]
            assert np.array_equal(first, positions_of(VORTEX / file)[0].astype(np.float32))
        assert fields["train"].samples == 2

    def test_long_trajectories_are_cut_into_windows_of_the_shortest_in_one_split(
        self, tmp_path: Path
    ) -> None:
        fields = imported(tmp_path, LENNARD_JONES)
        raw = positions_of(LENNARD_JONES / "train.h5")
        assert {split: own.samples for split, own in fields.items()} == {"train": 3, "val": 1, "test": 1}
        for row in range(3):
            window = raw[40 * row : 40 * row + 40]
            assert np.array_equal(fields["train"].block(row).samples[0].positions.swapaxes(0, 1), window)
        assert len(set(fields["train"].initial_condition.tolist())) == 1

    def test_windows_stay_in_one_split_when_more_is_added(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [LENNARD_JONES])
        other = copied(tmp_path, LENNARD_JONES)
        for path in other.glob("*.h5"):
            with h5py.File(path, "r+") as file:
                file["00000/position"][...] = 5.0 - file["00000/position"][()]
        convert.import_raw(store, TASK, [other])
        fields = stored(store)
        assert {split: own.samples for split, own in fields.items()} == {"train": 8, "val": 1, "test": 1}
        trajectories = [set(own.initial_condition.tolist()) for own in fields.values()]
        assert sum(map(len, trajectories)) == len(set.union(*trajectories)) == 6

    def test_a_folder_and_its_files_are_the_same(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [VORTEX])
        again = convert.import_raw(store, TASK, sorted(copied(tmp_path).iterdir()))
        assert not again.changed

    def test_a_single_file_can_be_converted_for_evaluation(self, tmp_path: Path) -> None:
        convert.convert_file(TASK, VORTEX / "train.h5", tmp_path / "out.h5")
        assert open_split(tmp_path / "out.h5").samples == 2

    def test_a_particle_on_the_upper_border_is_on_the_lower_one(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "test.h5", "r+") as file:
            file["00000/position"][3, 5] = (1.0, -1e-9)
        fields = imported(tmp_path / "store", folder)["test"]
        assert fields.positions[5, 3].tolist() == [0.0, 0.0]
        assert fields.positions.max() < 1


class TestRefusal:
    def refused(self, folder: Path, match: str) -> DataError:
        store = DirectoryStore(folder.parent / "store")
        with pytest.raises(DataError, match=match) as caught:
            convert.import_raw(store, TASK, [folder])
        assert not list((folder.parent / "store").rglob("*.h5"))
        assert caught.value.hint or match
        return caught.value

    def test_missing_metadata(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        (folder / "metadata.json").unlink()
        assert "beside the h5 files" in self.refused(folder, "metadata.json is missing").hint

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            ({"dt": None}, "dt is missing"),
            ({"dt": 0.0}, "no time step"),
            ({"bounds": [[0.0, 1.0]]}, "bounds is"),
            ({"bounds": [[0.0, 1.0], [1.0, 1.0]]}, "bounds is"),
            ({"dim": 7}, "dim is 7"),
            ({"dim": 3, "bounds": [[0.0, 1.0]] * 3}, r"position is \[21, 100, 2\], not \[T,P,3\]"),
            ({"periodic_boundary_conditions": [True, False, False]}, "periodic_boundary_conditions"),
        ],
    )
    def test_metadata_that_do_not_fit(self, tmp_path: Path, values: dict[str, Any], match: str) -> None:
        folder = copied(tmp_path)
        change_metadata(folder, **values)
        self.refused(folder, match)

    def test_metadata_that_are_no_json(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        (folder / "metadata.json").write_text("{")
        self.refused(folder, "cannot be read")

    def test_positions_outside_of_the_bounds(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "valid.h5", "r+") as file:
            file["00000/position"][3, 5, 0] = 1.01
        self.refused(folder, r"valid\.h5: dataset 00000/position: 1 positions lie outside .* one at 1\.01")

    def test_positions_that_are_not_finite(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "train.h5", "r+") as file:
            file["00001/position"][7, 3] = np.nan
        self.refused(folder, r"train\.h5: dataset 00001/position: 2 positions are NaN")

    def test_walls(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "train.h5", "r+") as file:
            file["00001/particle_type"][:7] = 1
        self.refused(folder, r"train\.h5: 7 of the 100 particles of 00001 are no fluid")

    def test_a_file_that_is_cut_short(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        content = (folder / "train.h5").read_bytes()
        (folder / "train.h5").write_bytes(content[: len(content) // 2])
        self.refused(folder, r"train\.h5 is cut short")

    def test_a_file_of_another_layout(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "train.h5", "w") as file:
            file["tensor"] = np.zeros(3)
        self.refused(folder, r"train\.h5 holds tensor, not one group per trajectory")

    def test_missing_particle_types(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        with h5py.File(folder / "train.h5", "r+") as file:
            del file["00000/particle_type"]
        self.refused(folder, r"00000 holds position, but no dataset particle_type \[P\]")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "raw").mkdir()
        self.refused(tmp_path / "raw", r"holds none of test\.h5, valid\.h5, train\.h5")

    def test_too_few_trajectories_for_three_splits(self, tmp_path: Path) -> None:
        folder = copied(tmp_path)
        for name in ("test.h5", "valid.h5"):
            (folder / name).unlink()
        self.refused(folder, "raw/train.h5 has 2 samples, at least 3 are needed")

    def test_another_box_than_the_dataset_has(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, [VORTEX])
        with pytest.raises(DataError, match=r"its domain is \[0, 5\] × \[0, 5\] × \[0, 5\], theirs \[0, 1\]"):
            convert.import_raw(store, TASK, [LENNARD_JONES])

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            convert.import_raw(DirectoryStore(tmp_path), TASK, [tmp_path / "nowhere"])
