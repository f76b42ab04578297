"""The table of tasks: complete, consistent, and helpful where a name is wrong."""

import pytest

from ups.errors import NotFoundError
from ups.tasks import TASK_SPECS, Boundary, Modality, RawLayout, TaskSpec, task_spec

ALL = list(TASK_SPECS.values())


def test_there_are_the_fifteen_tasks_of_the_project() -> None:
    assert set(TASK_SPECS) == {
        "advection1d", "burgers1d", "diffusion_sorption1d", "reaction_diffusion1d",
        "darcy2d", "navier_stokes2d", "allen_cahn2d", "cahn_hilliard2d", "reaction_diffusion2d",
        "shallow_water2d", "compressible_ns1d", "compressible_ns2d", "compressible_ns3d",
        "darcy2d_mesh", "particles_advect",
    }  # fmt: skip


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_spec_is_consistent(spec: TaskSpec) -> None:
    assert TASK_SPECS[spec.name] is spec
    assert len(spec.units) == len(spec.fields) > 0
    assert len(set(spec.fields)) == len(spec.fields)
    assert len(spec.domain) == spec.spatial_dims
    assert all(low < high for low, high in spec.domain)
    assert spec.title
    assert spec.equation
    assert 0 < len(spec.short) <= 10
    assert spec.static == (spec.dt == 0)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_a_raw_layout_comes_with_its_datasets_and_files(spec: TaskSpec) -> None:
    assert (spec.layout is None) == (spec.raw_datasets == ())
    if spec.layout is RawLayout.CHANNELS:
        assert len(spec.raw_datasets) == len(spec.fields)
    if spec.layout not in {None, RawLayout.LAGRANGE}:
        assert "*" in spec.raw_files or spec.raw_files.endswith((".h5", ".hdf5"))


def test_raw_file_patterns_tell_tasks_apart() -> None:
    patterns = [spec.raw_files for spec in ALL if spec.raw_files]

    assert len(set(patterns)) == len(patterns)


def test_short_names_tell_tasks_apart() -> None:
    assert len({spec.short for spec in ALL}) == len(ALL)


def test_darcy_is_a_pair_and_advection_a_time_stepper() -> None:
    assert task_spec("darcy2d").static
    assert task_spec("darcy2d").input_fields == ("a",)
    assert not task_spec("advection1d").static
    assert task_spec("advection1d").periodic
    assert task_spec("darcy2d").boundary is Boundary.DIRICHLET


def test_the_tasks_without_a_grid_say_so() -> None:
    assert task_spec("darcy2d_mesh").modality is Modality.MESH
    assert task_spec("particles_advect").modality is Modality.PARTICLES


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("advection", "did you mean advection1d?"), ("burgers2d", "burgers1d"), ("xyz", "ups-console tasks")],
)
def test_an_unknown_task_is_not_found_with_the_nearest_name(wrong: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        task_spec(wrong)

    assert wrong in caught.value.message
    assert hint in caught.value.hint
