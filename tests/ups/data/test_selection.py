"""A part of a raw file: the right values with their coordinates and times, and an identity of its own."""

import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ups.data import raws
from ups.data.raw import Reading, open_raw
from ups.data.selection import Selection
from ups.errors import DataError

ALL = [
    ("advection1d", raws.ADVECTION), ("darcy2d", raws.DARCY), ("navier_stokes2d", raws.NAVIER_STOKES),
    ("reaction_diffusion2d", raws.REACTION_DIFFUSION),
]  # fmt: skip


@pytest.mark.parametrize(("task", "path"), ALL)
@pytest.mark.parametrize("selection", [Selection(2, 16, 3), Selection(None, 32, 1), Selection(3, None, 2)])
def test_a_part_is_what_slicing_the_whole_gives(task: str, path: Path, selection: Selection) -> None:
    whole, part = open_raw(task, path), open_raw(task, path, Reading(selection))
    samples = min(whole.samples, selection.samples or whole.samples)
    grid = whole.discretisation.grid
    cells = grid[0] // (selection.resolution or grid[0])
    frames = () if whole.spec.static else (slice(None, None, selection.stride),)
    taken = (slice(samples), *frames, *(slice(None, None, cells),) * len(grid))
    (all_of_it,) = whole.blocks(100)
    (block,) = part.blocks(100)
    assert np.array_equal(block.targets, all_of_it.targets[taken])
    if all_of_it.inputs is not None:
        assert block.inputs is not None
        assert np.array_equal(block.inputs, all_of_it.inputs[taken])
    assert block.targets.shape == (part.samples, *part.discretisation.state_shape)
    for axis, of_all in zip(part.discretisation.coordinates, whole.discretisation.coordinates, strict=True):
        assert np.array_equal(axis, of_all[::cells])
    assert math.isclose(part.discretisation.dt, whole.discretisation.dt * selection.stride)
    (starts,) = part.initial_conditions(100)
    (all_starts,) = whole.initial_conditions(100)
    space = all_starts.shape[1 : 1 + len(grid)]
    assert np.array_equal(starts, all_starts[:samples, *(slice(None, None, cells) for _ in space)])


def test_its_identity_depends_on_what_is_taken_and_not_on_where_it_lies(tmp_path: Path) -> None:
    moved = tmp_path / "moved.hdf5"
    moved.write_bytes(raws.ADVECTION.read_bytes())
    whole = open_raw("advection1d", raws.ADVECTION)
    assert whole.sha256 == open_raw("advection1d", moved).sha256
    few = [open_raw("advection1d", path, Reading(Selection(samples=3))) for path in (raws.ADVECTION, moved)]
    assert few[0].sha256 == few[1].sha256 != whole.sha256
    assert open_raw("advection1d", moved, Reading(Selection(samples=4))).sha256 != few[0].sha256
    assert few[0].about["selection"] == {"samples": 3}
    assert "selection" not in whole.about


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(resolution=100), r"has 256 cells, which 100 does not divide"),
        (Selection(resolution=512), r"which 512 does not divide"),
        (Selection(stride=41), r"has 41 frames: at a stride of 41 a single one is left"),
    ],
)
def test_what_cannot_be_taken_is_refused(selection: Selection, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        open_raw("advection1d", raws.ADVECTION, Reading(selection))
    assert error.value.hint.startswith(
        ("--resolution may be 16, 32, 64, 128, 256", "take a smaller --stride")
    )


def test_a_static_task_has_no_frames_to_stride_over() -> None:
    part = open_raw("darcy2d", raws.DARCY, Reading(Selection(stride=4)))
    (block,) = part.blocks(100)
    with h5py.File(raws.DARCY) as file:
        assert np.array_equal(block.targets[..., 0], file["tensor"][:, 0])
