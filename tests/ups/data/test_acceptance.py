"""A file that nothing vouches for is looked through before it is used."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ups.converted import write_advection, write_darcy
from tests.ups.point_files import write_points
from ups.data.acceptance import require_split
from ups.errors import DataError, NotFoundError


def test_split_is_what_it_is_taken_for(tmp_path: Path) -> None:
    assert require_split(write_advection(tmp_path)["val"], "advection1d", "val").samples == 4
    mesh = write_points(tmp_path, "darcy2d_mesh")["train"]
    assert require_split(mesh, "darcy2d_mesh", "train").split == "train"


def test_another_split_or_task_is_refused(tmp_path: Path) -> None:
    file = write_advection(tmp_path)["val"]
    with pytest.raises(DataError, match="is the val split of advection1d, not the train split of"):
        require_split(file, "advection1d", "train")
    with pytest.raises(DataError, match="not the val split of darcy2d"):
        require_split(file, "darcy2d", "val")


@pytest.mark.parametrize(("name", "value"), [("inputs", np.nan), ("targets", np.inf), ("parameters", np.nan)])
def test_value_that_is_not_finite_is_refused(tmp_path: Path, name: str, value: float) -> None:
    file = write_darcy(tmp_path)["test"]
    with h5py.File(file, "r+") as content:
        content[name][-1] = value
    with pytest.raises(DataError, match=f"values in `{name}` that are not finite"):
        require_split(file, "darcy2d", "test")


def test_what_is_no_converted_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x_train.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError):
        require_split(tmp_path / "x_train.h5", "advection1d", "train")
    with pytest.raises(NotFoundError):
        require_split(tmp_path / "absent.h5", "advection1d", "train")
