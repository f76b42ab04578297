"""Meshes from numpy archives and VTK files: what is imported, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ups.data import convert
from ups.data.fields import SPLITS
from ups.data.meshes import open_meshes
from ups.data.point_fields import PointFields
from ups.data.solvers.registry import solver_of
from ups.data.split import open_split
from ups.errors import DataError, NotFoundError, UsageError
from ups.stores.directory import DirectoryStore
from ups.tasks import task_spec

TASK = "darcy2d_mesh"
SAMPLES = solver_of(TASK).solve(5, range(5), (1.0,)).samples
SQUARE = {
    "points": np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]], float),
    "cells": np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]),
    "a": np.array([1, 2, 3, 4, 5], float),
    "u": np.array([0, 0, 0, 0, 0.1]),
    "beta": np.array(2.0),
}
"""Four triangles around a node in the middle."""


def arrays_of(index: int, beta: float = 1.0) -> dict[str, Any]:
    sample = SAMPLES[index]
    return {
        "points": sample.positions, "cells": sample.cells, "a": sample.inputs[:, 0],
        "u": sample.targets[:, 0], "beta": beta,
    }  # fmt: skip


def write_archives(folder: Path, count: int = 5, beta: float = 1.0, prefix: str = "mesh") -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{prefix}{index}.npz" for index in range(count)]
    for index, path in enumerate(paths):
        np.savez(path, **arrays_of(index, beta))
    return paths


def write_vtk(path: Path, arrays: dict[str, Any], *, cells: Any = None, flat: bool = True) -> Path:
    import meshio

    points = np.asarray(arrays["points"], float)
    height = np.zeros(len(points)) if flat else points[:, 0]
    mesh = meshio.Mesh(
        np.column_stack([points, height]),
        cells or [("triangle", np.asarray(arrays["cells"]))],
        point_data={
            name: np.broadcast_to(np.asarray(arrays[name], float), len(points)).copy()
            for name in ("a", "u", "beta")
            if name in arrays
        },
    )
    meshio.write(path, mesh)
    return path


def add_field_data(path: Path, beta: float) -> None:
    """meshio reads field data but writes none."""
    data = (
        b'<UnstructuredGrid><FieldData><DataArray type="Float64" Name="beta" NumberOfTuples="1" '
        b'format="ascii">%r</DataArray></FieldData>' % beta
    )
    path.write_bytes(path.read_bytes().replace(b"<UnstructuredGrid>", data))


def stored(store: DirectoryStore) -> dict[str, PointFields]:
    found = {}
    for split in SPLITS:
        path = store.local_path(f"pdebench/full/{TASK}/{TASK}_{split}.h5")
        assert path is not None
        fields = open_split(path)
        assert isinstance(fields, PointFields)
        found[split] = fields
    return found


def imported(folder: Path, *paths: Path) -> dict[str, PointFields]:
    store = DirectoryStore(folder)
    convert.import_raw(store, TASK, paths)
    return stored(store)


def assert_same(splits: dict[str, PointFields], *, parameters: float = 1.0) -> None:
    """All five meshes, the first two held out, as the solver made them."""
    order = [(split, row) for split in ("test", "val", "train") for row in range(splits[split].samples)]
    assert [split for split, _ in order] == ["test", "val", "train", "train", "train"]
    for (split, row), given in zip(order, SAMPLES, strict=True):
        found = splits[split].block(row).samples[0]
        for name in ("positions", "inputs", "targets", "boundary", "cells"):
            assert np.array_equal(getattr(found, name), getattr(given, name)), name
        assert splits[split].parameters[row] == parameters


class TestImport:
    def test_a_folder_of_archives_is_one_source(self, tmp_path: Path) -> None:
        write_archives(tmp_path / "raw")
        splits = imported(tmp_path / "store", tmp_path / "raw")
        assert_same(splits)
        assert [entry["name"] for entry in splits["train"].provenance] == ["mesh0.npz … mesh4.npz"]

    def test_an_archive_of_many_meshes(self, tmp_path: Path) -> None:
        parts = [arrays_of(index) for index in range(5)]
        joined = {
            name: np.concatenate([part[name] for part in parts]) for name in ("points", "cells", "a", "u")
        }
        offsets = {
            f"{what}_offsets": np.cumsum([0, *(len(part[name]) for part in parts)])
            for what, name in (("point", "points"), ("cell", "cells"))
        }
        np.savez(tmp_path / "all.npz", beta=1.0, **joined, **offsets)
        assert_same(imported(tmp_path / "store", tmp_path / "all.npz"))

    @pytest.mark.needs_module("meshio")
    @pytest.mark.parametrize("ending", [".vtu", ".vtk"])
    def test_vtk_files(self, tmp_path: Path, ending: str) -> None:
        paths = [write_vtk(tmp_path / f"{i}{ending}", arrays_of(i, beta=3.0)) for i in range(5)]
        assert_same(imported(tmp_path / "store", *reversed(paths)), parameters=3.0)

    @pytest.mark.needs_module("meshio")
    def test_a_parameter_may_be_field_data(self, tmp_path: Path) -> None:
        path = write_vtk(tmp_path / "one.vtu", {**SQUARE, "beta": 1.0})
        add_field_data(path, 4.0)
        convert.convert_file(TASK, path, tmp_path / "out.h5")
        assert open_split(tmp_path / "out.h5").parameters.tolist() == [[4.0]]

    def test_other_parameters_are_another_source_with_the_same_splits(self, tmp_path: Path) -> None:
        write_archives(tmp_path / "raw", beta=1.0, prefix="one")
        write_archives(tmp_path / "raw", beta=2.0, prefix="two")
        splits = imported(tmp_path / "store", tmp_path / "raw")
        assert {split: own.samples for split, own in splits.items()} == {"train": 6, "val": 2, "test": 2}
        for fields in splits.values():
            assert set(fields.parameters[:, 0].tolist()) == {1.0, 2.0}
        starts = {
            split: {own.start(row).tobytes() for row in range(own.samples)} for split, own in splits.items()
        }
        assert not starts["train"] & starts["test"]

    def test_a_part_of_the_samples_is_read_from_the_files_that_have_it(self, tmp_path: Path) -> None:
        parts = [arrays_of(index) for index in (1, 2)]
        names = ("points", "cells", "a", "u")
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
        ends = {
            f"{kind}_offsets": [0, *np.cumsum([len(part[name]) for part in parts])]
            for kind, name in (("point", "points"), ("cell", "cells"))
        }
        for name, index in (("a", 0), ("c", 3), ("d", 4)):
            np.savez(tmp_path / f"{name}.npz", **arrays_of(index))
        np.savez(tmp_path / "b.npz", beta=1.0, **joined, **ends)
        [source] = open_meshes(task_spec(TASK), [tmp_path])
        for span in (range(5), range(2, 4), range(1, 2), range(4, 5)):
            found = [sample for block in source.blocks(2, span) for sample in block.samples]
            assert len(found) == len(span)
            for sample, index in zip(found, span, strict=True):
                assert np.array_equal(sample.targets, SAMPLES[index].targets)

    def test_the_same_files_again_change_nothing(self, tmp_path: Path) -> None:
        paths = write_archives(tmp_path / "raw")
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, paths)
        assert not convert.import_raw(store, TASK, [tmp_path / "raw"]).changed

    def test_boundary_nodes_are_those_of_edges_with_one_triangle(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "one.npz", **SQUARE)
        convert.convert_file(TASK, tmp_path / "one.npz", tmp_path / "out.h5")
        fields = open_split(tmp_path / "out.h5")
        assert isinstance(fields, PointFields)
        assert fields.boundary.tolist() == [1, 1, 1, 1, 0]
        assert fields.parameters.tolist() == [[2.0]]

    def test_a_hole_has_a_boundary_too(self, tmp_path: Path) -> None:
        ring = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
        points = np.concatenate([ring, 0.25 + 0.5 * ring])
        cells = [[i, (i + 1) % 4, 4 + i] for i in range(4)] + [
            [(i + 1) % 4, 4 + (i + 1) % 4, 4 + i] for i in range(4)
        ]
        values = np.arange(8.0)
        np.savez(tmp_path / "ring.npz", points=points, cells=cells, a=values, u=values, beta=1.0)
        convert.convert_file(TASK, tmp_path / "ring.npz", tmp_path / "out.h5")
        assert open_split(tmp_path / "out.h5").boundary.all()  # type: ignore[union-attr]


def refused(path: Path, match: str, kind: type[Exception] = DataError) -> None:
    with pytest.raises(kind, match=match):
        convert.convert_file(TASK, path, path.parent / "out.h5")
    assert not (path.parent / "out.h5").exists()


class TestRefusedArchives:
    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"u": None}, "u is missing, it holds a, beta, cells, points"),
            ({"beta": None}, "beta, a number that darcy2d_mesh needs, is missing"),
            ({"beta": np.array([1.0, 2.0])}, "beta is .* not a number"),
            ({"a": np.array([1, 2, np.nan, 4, 5])}, r"one\.npz: a: 1 values are NaN"),
            ({"a": np.ones(4)}, "a has 4 rows for 5 points"),
            ({"a": np.ones((5, 2))}, r"a is \[5, 2\], not \[P\]"),
            ({"points": SQUARE["points"] * 3}, r"4 points lie outside .* one at \(3, 0\)"),
            ({"points": np.zeros((5, 3))}, r"points are \[5, 3\], not \[P,2\]"),
            ({"cells": np.array([[0, 1, 2, 3]])}, "not triangles"),
            ({"cells": SQUARE["cells"].astype(float)}, "float64 values, not numbers of nodes"),
            ({"cells": np.array([[0, 1, 5]])}, "has the node 5, nodes are numbered from 0 to 4"),
            ({"cells": np.array([[0, 1, -1]])}, "has the node -1"),
            ({"cells": np.array([[0, 1, 4], [1, 1, 2]])}, "1 triangles have no area, the first is number 1"),
            ({"cells": np.array([[0, 2, 4]])}, "no area"),
            ({"cells": SQUARE["cells"][:2]}, "1 points belong to no triangle"),
            (
                {"cells": SQUARE["cells"][[0, 1, 2, 3, 0, 0]]},
                "4 triangles share the edge from node 0 to node 4",
            ),
            ({"point_offsets": np.array([0, 3])}, "point_offsets does not run from 0 to 5"),
            ({"point_offsets": np.array([0, 5, 5])}, "a mesh would be empty"),
            ({"point_offsets": np.array([0, 3, 5])}, "point_offsets are of 2 meshes, cell_offsets of 1"),
        ],
    )
    def test_what_is_no_mesh_of_the_task(self, tmp_path: Path, change: dict[str, Any], match: str) -> None:
        arrays = {name: value for name, value in {**SQUARE, **change}.items() if value is not None}
        np.savez(tmp_path / "one.npz", **arrays)
        refused(tmp_path / "one.npz", match)

    def test_two_pieces(self, tmp_path: Path) -> None:
        points = np.array([[0, 0], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1]], float)
        values = np.arange(6.0)
        np.savez(
            tmp_path / "one.npz", points=points, cells=[[0, 1, 2], [3, 4, 5]], a=values, u=values, beta=1.0
        )
        refused(tmp_path / "one.npz", "falls into 2 pieces")

    def test_an_archive_that_is_cut_short(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "one.npz", **SQUARE)
        content = (tmp_path / "one.npz").read_bytes()
        (tmp_path / "one.npz").write_bytes(content[: len(content) // 2])
        refused(tmp_path / "one.npz", r"one\.npz is no readable numpy archive")

    def test_a_pickle_is_never_run(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "one.npz", **{**SQUARE, "a": np.array([{}], object)})
        refused(tmp_path / "one.npz", "no readable numpy archive")

    def test_a_refused_import_leaves_the_store_as_it_was(self, tmp_path: Path) -> None:
        paths = write_archives(tmp_path / "raw")
        store = DirectoryStore(tmp_path / "store")
        convert.import_raw(store, TASK, paths)
        before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.h5")}
        np.savez(tmp_path / "bad.npz", **{**SQUARE, "u": np.full(5, np.inf)})
        with pytest.raises(DataError, match=r"bad\.npz"):
            convert.import_raw(store, TASK, [tmp_path / "bad.npz"])
        assert before == {path: path.read_bytes() for path in (tmp_path / "store").rglob("*.h5")}

    def test_too_few_meshes_for_three_splits(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has 2 samples, at least 3"):
            imported(tmp_path / "store", *write_archives(tmp_path / "raw", 2))

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "mesh.stl").write_text("solid")
        refused(tmp_path / "mesh.stl", "no known format")
        (tmp_path / "empty").mkdir()
        refused(tmp_path / "empty", "holds no meshes")
        refused(tmp_path / "nowhere.npz", "there is no file", NotFoundError)


@pytest.mark.needs_module("meshio")
class TestRefusedVtk:
    def test_quadrilaterals(self, tmp_path: Path) -> None:
        path = write_vtk(tmp_path / "one.vtu", SQUARE, cells=[("quad", np.array([[0, 1, 2, 3]]))])
        refused(path, "cells of the type quad, not triangles alone")

    def test_marked_borders_are_looked_through(self, tmp_path: Path) -> None:
        cells = [("line", np.array([[0, 1]])), ("triangle", SQUARE["cells"])]
        path = write_vtk(tmp_path / "one.vtu", SQUARE, cells=cells)
        convert.convert_file(TASK, path, tmp_path / "out.h5")
        assert open_split(tmp_path / "out.h5").samples == 1

    def test_a_missing_field(self, tmp_path: Path) -> None:
        path = write_vtk(tmp_path / "one.vtu", {name: SQUARE[name] for name in ("points", "cells", "a")})
        refused(path, "the point data u are missing, it has a")

    def test_a_missing_parameter(self, tmp_path: Path) -> None:
        path = write_vtk(tmp_path / "one.vtk", {name: SQUARE[name] for name in ("points", "cells", "a", "u")})
        refused(path, "beta, a number that darcy2d_mesh needs, is missing; it has a, u")

    def test_a_parameter_that_differs_from_node_to_node(self, tmp_path: Path) -> None:
        path = write_vtk(tmp_path / "one.vtu", {**SQUARE, "beta": SQUARE["a"]})
        refused(path, r"beta is \[1\.0, 2\.0, 3\.0\], not a number")

    def test_a_surface_in_space(self, tmp_path: Path) -> None:
        refused(write_vtk(tmp_path / "one.vtu", SQUARE, flat=False), "does not lie in a plane")

    @pytest.mark.parametrize("ending", [".vtu", ".vtk"])
    def test_a_file_that_is_cut_short(self, tmp_path: Path, ending: str) -> None:
        path = write_vtk(tmp_path / f"one{ending}", SQUARE)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        refused(path, "is no readable VTK file")

    def test_without_meshio_the_answer_is_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "one.vtu"
        path.write_text("<VTKFile/>")
        monkeypatch.setitem(sys.modules, "meshio.vtu", None)
        with pytest.raises(UsageError, match=r"one\.vtu needs meshio") as caught:
            convert.convert_file(TASK, path, tmp_path / "out.h5")
        assert "ups-console[mesh]" in caught.value.hint
