"""A key begins with its task."""

import pytest

from ups.dataset_keys import KEY_VARIABLE, DatasetKeys, task_of


def test_task_of_a_key() -> None:
    assert task_of("burgers1d_full_v1") == "burgers1d"
    assert task_of("reaction_diffusion2d_full_v1") == "reaction_diffusion2d"
    assert task_of("darcy2d_mesh_v1") == "darcy2d_mesh"
    assert task_of("darcy2d") == "darcy2d"
    assert task_of("burgers1dx_v1") is None


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert DatasetKeys.of_environment().keys == ()
    monkeypatch.setenv(KEY_VARIABLE, " burgers1d_full_v1,,darcy2d_v2 , burgers1d_v3")
    keys = DatasetKeys.of_environment()
    assert keys.key_of("burgers1d") == "burgers1d_full_v1"
    assert keys.key_of("darcy2d") == "darcy2d_v2"
    assert keys.key_of("advection1d") is None
