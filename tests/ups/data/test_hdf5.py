"""The shortcuts past h5py's upper level do what it does."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from ups.data.hdf5 import Attribute, open_dataset, put_attribute, put_dataset

ATTRIBUTES: dict[str, Attribute] = {
    "format": 1,
    "task": "ströme",
    "dt": 0.05,
    "domain": np.array([[0.0, 1.0], [-1.0, 1.0]]),
    "fields": ("density", "pressure"),
    "input_fields": (),
}
ARRAYS = {
    "times": np.arange(101.0),
    "parameters": np.zeros((16, 0), np.float32),
    "source": np.arange(16, dtype=np.int32),
    "sample": np.arange(32, dtype=np.int64)[::2],
}


def test_the_bytes_are_those_of_the_upper_level(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "ours.h5", "w") as file:
        for name, value in ATTRIBUTES.items():
            put_attribute(file, name, value)
        for name, values in ARRAYS.items():
            put_dataset(file, name, values)
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        for name, value in ATTRIBUTES.items():
            kind = h5py.string_dtype() if isinstance(value, tuple) else None
            file.attrs.create(name, np.array(value, dtype=object) if kind else value, dtype=kind)
        for name, values in ARRAYS.items():
            file[name] = values
    assert (tmp_path / "ours.h5").read_bytes() == (tmp_path / "theirs.h5").read_bytes()


@pytest.mark.parametrize("name", ["group", "missing", "missing/array", "group/array/array"])
def test_what_is_no_dataset_is_not_opened_as_one(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["group/array"] = np.arange(3)
        assert np.array_equal(open_dataset(file, "group/array"), np.arange(3))
        with pytest.raises(KeyError):
            open_dataset(file, name)
