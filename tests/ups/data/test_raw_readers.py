"""A raw file reads alike however HDF5 has stored its arrays."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.ups.data import raws
from ups.data.raw import RawFile, open_raw
from ups.errors import DataError

STORED: dict[str, dict[str, Any]] = {
    "plain": {},
    "chunked": {"chunks": (2, 3, 8)},
    "compressed": {"chunks": True, "compression": "gzip"},
    "in double precision": {"dtype": "<f8"},
    "the other way round": {"dtype": ">f4"},
}


def stored_as(path: Path, **how: Any) -> tuple[RawFile, raws.Array]:
    """A raw file whose values are stored so, and the values [N, T, X]."""
    raws.write_flat(path, raws.initial_conditions(5), attributes={"beta": 0.1})
    with h5py.File(path, "r+") as file:
        values: raws.Array = file["tensor"][()]
        del file["tensor"]
        file.create_dataset("tensor", data=values, **how)
    return open_raw("advection1d", path), values


@pytest.mark.parametrize("how", STORED.values(), ids=STORED.keys())
class TestHoweverItIsStored:
    def test_its_samples_are_the_values(self, tmp_path: Path, how: dict[str, Any]) -> None:
        raw, values = stored_as(tmp_path / "raw.hdf5", **how)
        blocks = [block.targets[..., 0] for block in raw.blocks(2)]
        assert [len(block) for block in blocks] == [2, 2, 1]
        assert np.array_equal(np.concatenate(blocks), values)
        (block,) = raw.blocks(10, range(1, 3))
        assert np.array_equal(block.targets[..., 0], values[1:3])

    def test_a_large_sample_comes_a_few_frames_at_a_time(
        self, tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raw, values = stored_as(tmp_path / "raw.hdf5", **how)
        monkeypatch.setattr("ups.data.source._PART_BYTES", 3 * values[0, 0].nbytes)
        blocks = list(raw.blocks(2))
        assert [block.targets.shape[1] for block in blocks] == [3, 1] * 5
        parts = [block.targets[..., 0] for block in blocks]
        assert np.array_equal(np.concatenate([np.hstack(parts[i : i + 2]) for i in range(0, 10, 2)]), values)

    def test_its_first_frames_are_the_initial_conditions(self, tmp_path: Path, how: dict[str, Any]) -> None:
        raw, values = stored_as(tmp_path / "raw.hdf5", **how)
        assert np.array_equal(np.concatenate(list(raw.initial_conditions(2)))[..., 0], values[:, 0])


def test_a_file_that_is_cut_while_it_is_used_is_told_as_such(tmp_path: Path) -> None:
    raw, values = stored_as(tmp_path / "raw.hdf5")
    with raw.path.open("r+b") as file:
        file.truncate(raw.path.stat().st_size - values.nbytes // 2)
    with pytest.raises(DataError, match=r"raw\.hdf5 is cut short"):
        list(raw.blocks(2))
