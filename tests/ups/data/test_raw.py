"""What does not fit a task's schema is refused with what was found and what was wanted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ups.data import raws
from ups.catalog import dataset_key
from ups.data.convert import import_raw
from ups.data.fields import SPLITS, Fields
from ups.data.raw import IMPORTABLE, open_raw
from ups.errors import DataError, NotFoundError, UpsError
from ups.stores.directory import DirectoryStore
from ups.tasks import TASK_SPECS, RawLayout

Damage = Callable[[h5py.File], None]


def test_a_flat_file_is_read_bit_for_bit() -> None:
    raw = open_raw("advection1d", raws.ADVECTION)
    (block,) = raw.blocks(100)
    with h5py.File(raws.ADVECTION) as file:
        assert np.array_equal(block.targets[..., 0], file["tensor"][()])
    assert raw.parameters == (0.4,)
    assert raw.discretisation.grid == (256,)
    assert raw.discretisation.dt == 0.05
    assert np.allclose(raw.discretisation.times, 0.05 * np.arange(41), rtol=0, atol=1e-15)


def test_darcy_is_a_pair_without_a_time_axis() -> None:
    raw = open_raw("darcy2d", raws.DARCY)
    (block,) = raw.blocks(100)
    assert block.inputs is not None
    with h5py.File(raws.DARCY) as file:
        assert np.array_equal(block.inputs[..., 0], file["nu"][()])
        assert np.array_equal(block.targets[..., 0], file["tensor"][:, 0])
    assert len(raw.discretisation.times) == 0
    assert raw.discretisation.dt == 0.0


def test_seed_groups_are_samples_in_the_order_of_their_names() -> None:
    raw = open_raw("reaction_diffusion2d", raws.REACTION_DIFFUSION)
    blocks = list(raw.blocks(3))
    assert [len(block) for block in blocks] == [3, 1]
    with h5py.File(raws.REACTION_DIFFUSION) as file:
        assert np.array_equal(blocks[0].targets[2], file["0002/data"][()])
        assert np.array_equal(blocks[1].targets[0], file["0003/data"][()])
    assert raw.discretisation.axes == ("y", "x")
    assert raw.discretisation.dt == 0.1


AUTHENTIC = {
    "compressible_ns1d": (raws.CFD_1D, (0.01, 0.01), ("density", "pressure", "Vx")),
    "compressible_ns2d": (raws.CFD_2D, (1e-8, 1e-8, 1.0), ("density", "pressure", "Vx", "Vy")),
    "compressible_ns3d": (raws.CFD_3D, (1e-8, 1e-8, 1.0), ("density", "pressure", "Vx", "Vy", "Vz")),
}


@pytest.mark.parametrize("task", AUTHENTIC)
def test_the_channels_of_compressible_flow_are_one_state(task: str) -> None:
    path, parameters, names = AUTHENTIC[task]
    raw = open_raw(task, path)
    (block,) = raw.blocks(100)
    with h5py.File(path) as file:
        for channel, name in enumerate(names):
            assert np.array_equal(block.targets[..., channel], file[name][()])
    assert block.targets.shape[-1] == len(names)
    assert raw.parameters == parameters
    assert raw.discretisation.axes == ("x", "y", "z")[: len(names) - 2]


def test_a_dataset_of_compressible_flow_keeps_values_and_parameters(tmp_path: Path) -> None:
    for task, path in (("compressible_ns1d", raws.CFD_1D), ("compressible_ns2d", raws.CFD_2D)):
        store = DirectoryStore(tmp_path / task)
        import_raw(store, task, [path])
        for split in SPLITS:
            local = store.local_path(dataset_key(task, split))
            assert local is not None
            fields = Fields.open(local)
            assert fields.states is not None
            with h5py.File(path) as file:
                for channel, name in enumerate(AUTHENTIC[task][2]):
                    assert np.array_equal(fields.states[..., channel], file[name][sorted(fields.sample)])
            assert np.allclose(fields.parameters, AUTHENTIC[task][1], rtol=1e-7)


def test_three_dimensions_keep_their_order(tmp_path: Path) -> None:
    path = raws.write_channels(tmp_path / "3D.hdf5", "compressible_ns3d")
    raw = open_raw("compressible_ns3d", path)
    assert raw.discretisation.state_shape == (3, 8, 9, 10, 5)
    with h5py.File(path) as file:
        assert np.array_equal(next(raw.blocks(1)).targets[0, ..., 4], file["Vz"][0])


def test_a_seed_group_may_be_of_one_dimension() -> None:
    raw = open_raw("diffusion_sorption1d", raws.DIFFUSION_SORPTION)
    (block,) = raw.blocks(100)
    with h5py.File(raws.DIFFUSION_SORPTION) as file:
        assert np.array_equal(block.targets[5], file["0005/data"][()])
    assert raw.discretisation.axes == ("x",)
    assert raw.discretisation.dt == 25.0


def test_which_axis_of_a_seed_group_comes_first_is_the_tasks(tmp_path: Path) -> None:
    """Nothing in a file says it: the dam breaks are stored with x first, the reactions with y first."""
    assert open_raw("shallow_water2d", raws.SHALLOW_WATER).discretisation.axes == ("x", "y")
    assert open_raw("reaction_diffusion2d", raws.REACTION_DIFFUSION).discretisation.axes == ("y", "x")
    path = Path(shutil.copy(raws.SHALLOW_WATER, tmp_path / "oblong.h5"))
    with h5py.File(path, "r+") as file:
        for group in file.values():
            values, y = group["data"][:, :, ::2], group["grid/y"][::2]
            del group["data"], group["grid/y"]
            group["data"], group["grid/y"] = values, y
    assert open_raw("shallow_water2d", path).discretisation.grid == (64, 32)


def test_dams_that_are_alike_on_the_grid_are_put_into_one_split(tmp_path: Path) -> None:
    """Other seeds, nearly the same radius: the published files have many such."""
    path = Path(shutil.copy(raws.SHALLOW_WATER, tmp_path / "dams.h5"))
    with h5py.File(path, "r+") as file:
        file.copy("0000", "0003")
        file["0003"].attrs["config"] = file["0003"].attrs["config"].replace("seed: 0", "seed: 3")
    store = DirectoryStore(tmp_path / "store")
    assert import_raw(store, "shallow_water2d", [path]).samples == {"train": 1, "val": 1, "test": 2}


def test_the_parameters_of_a_reaction_are_read_from_its_attributes(tmp_path: Path) -> None:
    initial = raws.initial_conditions(3)
    path = raws.write_flat(tmp_path / "ReacDiff.hdf5", initial, attributes={"Nu": 0.5, "rho": 2.0})
    assert open_raw("reaction_diffusion1d", path).parameters == (0.5, 2.0)
    with h5py.File(path, "r+") as file:
        del file.attrs["rho"]
    with pytest.raises(DataError, match="attribute rho, which reaction_diffusion1d needs, is missing") as hit:
        open_raw("reaction_diffusion1d", path)
    assert "burgers1d" in hit.value.hint


def test_every_task_that_is_published_on_a_grid_is_imported() -> None:
    published = {name for name, spec in TASK_SPECS.items() if spec.layout not in {None, RawLayout.LAGRANGE}}
    assert set(IMPORTABLE) == published
    assert len(published) == 11


def test_velocity_and_particles_are_one_state() -> None:
    raw = open_raw("navier_stokes2d", raws.NAVIER_STOKES)
    blocks = list(raw.blocks(1))
    assert [block.targets.shape for block in blocks] == [(1, 8, 64, 64, 3)] * 2
    with h5py.File(raws.NAVIER_STOKES) as file:
        assert np.array_equal(blocks[1].targets[..., :2], file["velocity"][1:])
        assert np.array_equal(blocks[1].targets[..., 2:], file["particles"][1:])
    assert raw.discretisation.dt == 0.01
    assert raw.discretisation.axes == ("x", "y")
    assert raw.discretisation.coordinates[0][0] == 1 / 128


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"force": None}, "dataset force is missing"),
        ({"particles": (2, 7, 8, 8, 1)}, "are not of the same samples, frames and cells"),
        ({"force": (2, 4, 4, 2)}, "are not of the same samples, frames and cells"),
        ({"velocity": (2, 6, 8, 8, 3)}, r"wants velocity \[N,T,X,Y,2\]"),
        ({"t": (3, 6)}, "t is of 3 samples, velocity of 2"),
    ],
)
def test_an_incompressible_file_that_does_not_fit_together_is_refused(
    tmp_path: Path, damage: dict[str, tuple[int, ...] | None], words: str
) -> None:
    path = raws.write_incompressible(tmp_path / "ns_incom_inhom_2d_512-0.h5", **damage)
    with pytest.raises(DataError, match=words):
        open_raw("navier_stokes2d", path)


def test_samples_at_different_times_are_refused(tmp_path: Path) -> None:
    path = raws.write_incompressible(tmp_path / "ns.h5")
    assert open_raw("navier_stokes2d", path).discretisation.dt == 0.01
    with h5py.File(path, "a") as file:
        file["t"][1] *= 2.0
    with pytest.raises(DataError, match="lie at different times"):
        open_raw("navier_stokes2d", path)


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_initial_conditions_are_what_the_blocks_begin_with(rows: int) -> None:
    for task, path in (
        ("advection1d", raws.ADVECTION),
        ("darcy2d", raws.DARCY),
        ("navier_stokes2d", raws.NAVIER_STOKES),
        ("reaction_diffusion2d", raws.REACTION_DIFFUSION),
        ("compressible_ns2d", raws.CFD_2D),
    ):
        raw = open_raw(task, path)
        starts = np.concatenate(list(raw.initial_conditions(rows)))
        (block,) = raw.blocks(100)
        expected = block.targets[:, 0] if block.inputs is None else block.inputs
        width = starts.size // expected[..., 0].size  # the channels of the first dataset stand for all
        assert np.array_equal(starts.ravel(), expected[..., :width].ravel())


@pytest.mark.parametrize("extra_times", [0, 1])
def test_one_time_more_than_frames_is_dropped(tmp_path: Path, extra_times: int) -> None:
    initial = raws.initial_conditions(3)
    path = raws.write_flat(
        tmp_path / "a.hdf5", initial, attributes={"beta": 1.0}, frames=4, extra_times=extra_times
    )
    assert len(open_raw("advection1d", path).discretisation.times) == 4


WRONG_TASK = [
    ("advection1d", raws.BURGERS, ["attribute beta", "missing", "Nu"], "burgers1d"),
    ("burgers1d", raws.ADVECTION, ["attribute Nu", "missing", "beta"], "advection1d"),
    ("advection1d", raws.DARCY, ["tensor", "[12,1,64,64]", "[N,T,X]"], "darcy2d"),
    ("darcy2d", raws.ADVECTION, ["nu is missing", "tensor [10,41,256]", "[N,X,Y]"], "advection1d"),
    ("darcy2d", raws.REACTION_DIFFUSION, ["nu is missing", "0000/"], "reaction_diffusion2d"),
    ("reaction_diffusion2d", raws.DARCY, ["nu [12,64,64]", "one group per seed"], "darcy2d"),
    ("compressible_ns1d", raws.ADVECTION, ["density is missing", "tensor [10,41,256]"], "advection1d"),
    ("compressible_ns2d", raws.CFD_1D, ["density is [6,21,128]", "[N,T,X,Y]"], "compressible_ns1d"),
    ("advection1d", raws.CFD_1D, ["tensor is missing", "Vx [6,21,128]"], "compressible_ns1d"),
    ("shallow_water2d", raws.REACTION_DIFFUSION, ["0000/data", "[T,X,Y,1]"], "reaction_diffusion2d"),
    ("diffusion_sorption1d", raws.SHALLOW_WATER, ["0000/data", "[T,X,1]"], "shallow_water2d"),
    ("allen_cahn2d", raws.ADVECTION, ["no raw files of allen_cahn2d"], "advection1d, burgers1d"),
]


@pytest.mark.parametrize(("task", "path", "words", "hint"), WRONG_TASK)
def test_a_file_of_another_task_is_refused_and_its_task_named(
    task: str, path: Path, words: list[str], hint: str, tmp_path: Path
) -> None:
    store = DirectoryStore(tmp_path / "store")
    with pytest.raises(DataError) as refused:
        import_raw(store, task, [path])
    assert all(word in refused.value.message for word in words), refused.value.message
    assert hint in refused.value.hint
    assert raws.content_of(store) == {}


def test_a_file_that_states_another_tasks_parameter_is_that_tasks(tmp_path: Path) -> None:
    """Files of reactions look like Burgers' but for one attribute."""
    initial = raws.initial_conditions(3)
    path = raws.write_flat(tmp_path / "ReacDiff.hdf5", initial, attributes={"Nu": 0.5, "rho": 2.0})
    with pytest.raises(DataError, match="attribute rho, which is no parameter of burgers1d") as refused:
        open_raw("burgers1d", path)
    assert "reaction_diffusion1d" in refused.value.hint


def _set(name: str, index: tuple[int, ...], value: float) -> Damage:
    def damage(file: h5py.File) -> None:
        file[name][index] = value

    return damage


def _all_like_the_first(*names: str) -> Damage:
    def damage(file: h5py.File) -> None:
        for name in names:
            _replace(name, lambda values: np.repeat(values[:1], len(values), axis=0))(file)

    return damage


def _replace(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(file: h5py.File) -> None:
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return damage


def _without(name: str) -> Damage:
    def damage(file: h5py.File) -> None:
        del file[name]

    return damage


def _attribute(name: str, value: float) -> Damage:
    def damage(file: h5py.File) -> None:
        file.attrs[name] = value

    return damage


def _no_attribute(name: str) -> Damage:
    def damage(file: h5py.File) -> None:
        del file.attrs[name]

    return damage


def _same(group: str, other: str) -> Damage:
    """One seed's run under the number of another."""

    def damage(file: h5py.File) -> None:
        del file[other]
        file.copy(group, other)

    return damage


A, B, D, R = "advection1d", "burgers1d", "darcy2d", "reaction_diffusion2d"
C, S = "compressible_ns1d", "diffusion_sorption1d"
SOURCE = {A: raws.ADVECTION, B: raws.BURGERS, D: raws.DARCY, R: raws.REACTION_DIFFUSION}
SOURCE |= {C: raws.CFD_1D, S: raws.DIFFUSION_SORPTION}
DAMAGED: list[tuple[str, Damage, list[str]]] = [
    (A, _set("tensor", (7, 3, 5), np.nan), ["tensor", "sample 7", "1 values"]),
    (A, _set("tensor", (0, 40, 255), np.inf), ["tensor", "sample 0"]),
    (D, _set("nu", (3, 0, 0), np.nan), ["nu", "sample 3"]),
    (D, _set("tensor", (11, 0, 2, 2), -np.inf), ["tensor", "sample 11"]),
    (R, _set("0002/data", (1, 2, 3, 1), np.nan), ["0002/data", "sample 2"]),
    (A, _replace("tensor", np.zeros_like), ["field u", "0 everywhere"]),
    (D, _replace("nu", np.ones_like), ["field a", "1 everywhere"]),
    (D, _replace("tensor", np.zeros_like), ["field u", "0 everywhere"]),
    (A, _no_attribute("beta"), ["attribute beta", "missing", "none"]),
    (D, _no_attribute("beta"), ["attribute beta", "missing"]),
    (A, _attribute("beta", np.nan), ["attribute beta is nan"]),
    (B, _attribute("Nu", 0.0), ["attribute Nu is 0"]),
    (D, _without("tensor"), ["inputs (nu) but not the answers (tensor)"]),
    (D, _without("nu"), ["nu is missing"]),
    (D, _replace("tensor", lambda u: u[:-1]), ["tensor", "[11,1,64,64]", "nu [12,64,64]"]),
    (D, _replace("tensor", lambda u: u[:, 0]), ["tensor", "[12,64,64]", "[N,1,X,Y]"]),
    (A, _without("t-coordinate"), ["t-coordinate is missing"]),
    (A, _replace("t-coordinate", lambda t: t[:-2]), ["t-coordinate has 40 entries for 41 frames"]),
    (A, _replace("t-coordinate", lambda t: np.append(t, 2.1)), ["43 entries for 41 frames"]),
    (A, _replace("t-coordinate", lambda t: t**2), ["t-coordinate", "equal steps"]),
    (A, _replace("x-coordinate", lambda x: x[:-1]), ["x-coordinate has 255 entries for 256 cells"]),
    (A, _replace("x-coordinate", lambda x: 2 * x - 1), ["x-coordinate runs from -0.999", "from 0 to 1"]),
    (A, _replace("tensor", lambda u: u[:2]), ["2 samples", "at least 3"]),
    (A, _replace("tensor", lambda u: u[:, :1]), ["t-coordinate has 42 entries for 1 frames"]),
    (A, _replace("tensor", lambda u: u[:0]), ["tensor is empty"]),
    (A, _replace("tensor", lambda u: u.astype(np.int32)), ["tensor", "int32"]),
    (A, _replace("tensor", lambda u: np.repeat(u[:1], 10, axis=0)), ["same initial condition"]),
    (R, _replace("0001/data", lambda u: u[:, :32]), ["0001/data is [11, 32, 64, 2]", "[11, 64, 64, 2]"]),
    (R, _replace("0001/data", lambda u: u[..., :1]), ["0001/data is [11,64,64,1]", "[T,Y,X,2]"]),
    (R, _replace("0001/grid/t", lambda t: 2 * t), ["the frames of 0001", "0000"]),
    (R, _without("0003/grid/t"), ["0003/grid/t is missing"]),
    (R, _without("0003/data"), ["0003/data is missing"]),
    (R, _same("0001", "0003"), ["0003 has the seed and configuration of 0001", "the same run"]),
    (S, _same("0000", "0001"), ["0001 has the seed and configuration of 0000", "the same run"]),
    (S, _set("0004/data", (1, 2, 0), np.nan), ["0004/data", "sample 4", "1 values"]),
    (C, _set("Vx", (5, 20, 1), np.nan), ["dataset Vx", "sample 5", "1 values"]),
    (C, _set("pressure", (0, 0, 0), np.inf), ["dataset pressure", "sample 0"]),
    (C, _replace("density", np.ones_like), ["field density", "1 everywhere"]),
    (C, _without("pressure"), ["pressure is missing", "Vx [6,21,128]", "pressure [N,T,X]"]),
    (C, _replace("Vx", lambda v: v[:, :20]), ["Vx is [6,20,128], density is [6,21,128]"]),
    (C, _replace("pressure", lambda p: p[:5]), ["pressure is [5,21,128], density is [6,21,128]"]),
    (C, _no_attribute("zeta"), ["attribute zeta", "missing", "eta"]),
    (C, _attribute("eta", 0.0), ["attribute eta is 0"]),
    (C, _without("x-coordinate"), ["x-coordinate is missing"]),
    (C, _replace("x-coordinate", lambda x: (x + 1) / 2), ["x-coordinate runs", "from -1 to 1"]),
    (C, _replace("t-coordinate", lambda t: t[:20]), ["20 entries for 21 frames"]),
    (C, _all_like_the_first("density", "pressure", "Vx"), ["same initial condition"]),
]


@pytest.mark.parametrize(("task", "damage", "words"), DAMAGED)
def test_a_damaged_file_is_refused_and_the_store_stays_as_it_was(
    task: str, damage: Damage, words: list[str], tmp_path: Path
) -> None:
    path = Path(shutil.copy(SOURCE[task], tmp_path / "damaged.h5"))
    with h5py.File(path, "r+") as file:
        damage(file)
    store = DirectoryStore(tmp_path / "store")
    import_raw(store, D, [raws.write_pair(tmp_path / "other.h5", cells=64)])
    before = raws.content_of(store)
    with pytest.raises(DataError) as refused:
        import_raw(store, task, [path])
    assert all(word in refused.value.message for word in words), refused.value.message
    assert "damaged.h5" in refused.value.message
    assert raws.content_of(store) == before


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _corrupt(path: Path) -> None:
    path.write_bytes(b"<html>404 Not Found</html>" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("ruin", "words"), [(_cut, "cut short"), (_corrupt, "no HDF5 file"), (_empty, "no HDF5 file")]
)
def test_what_is_no_whole_hdf5_file_is_refused(
    ruin: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    path = Path(shutil.copy(raws.ADVECTION, tmp_path / "download.hdf5"))
    ruin(path)
    store = DirectoryStore(tmp_path / "store")
    with pytest.raises(DataError, match="download") as refused:
        import_raw(store, "advection1d", [path])
    assert words in refused.value.message
    assert raws.content_of(store) == {}


def test_compressed_data_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(raws.REACTION_DIFFUSION, tmp_path / "flipped.h5"))
    with h5py.File(path) as file:
        chunk = file["0001/data"].id.get_chunk_info(0)
    with path.open("r+b") as content:
        content.seek(chunk.byte_offset)
        content.write(b"\xff" * min(64, chunk.size))
    store = DirectoryStore(tmp_path / "store")
    with pytest.raises(DataError, match="flipped"):
        import_raw(store, "reaction_diffusion2d", [path])
    assert raws.content_of(store) == {}


@pytest.mark.parametrize(
    ("task", "path", "error"),
    [
        ("advection1d", "missing.hdf5", NotFoundError),
        ("advection1d", ".", DataError),
        ("advection2d", "missing.hdf5", NotFoundError),
    ],
)
def test_what_is_not_there_is_said(task: str, path: str, error: type[UpsError], tmp_path: Path) -> None:
    with pytest.raises(error):
        import_raw(DirectoryStore(tmp_path / "store"), task, [tmp_path / path])


MIXED = [
    ({"cells": 32}, {}, "its resolution is 32, theirs 16"),
    ({}, {"dt": 0.1}, "its time step is 0.1, theirs 0.05"),
    ({}, {"frames": 5}, "it has 5 frames, they have 4"),
]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("cells", "options", "words"), MIXED)
def test_files_of_another_discretisation_are_not_mixed(
    cells: dict[str, int], options: dict[str, float], words: str, together: bool, tmp_path: Path
) -> None:
    initial = raws.initial_conditions(5, 16)
    first = raws.write_flat(tmp_path / "first.hdf5", initial, attributes={"beta": 0.4})
    other = raws.initial_conditions(5, **({"cells": 16} | cells))
    second = raws.write_flat(tmp_path / "second.hdf5", other, attributes={"beta": 1.0}, **options)
    store = DirectoryStore(tmp_path / "store")
    if not together:
        import_raw(store, "advection1d", [first])
    before = raws.content_of(store)
    with pytest.raises(DataError) as refused:
        import_raw(store, "advection1d", [first, second])
    assert words in refused.value.message
    assert "second.hdf5" in refused.value.message
    assert "first.hdf5" in refused.value.message
    assert raws.content_of(store) == before
