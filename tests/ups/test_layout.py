"""What a key belongs to."""

import pytest

from ups.layout import Area, place

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("key", "area", "folder", "name"),
    [
        ("pdebench/full/darcy2d/darcy2d_train.h5", "datasets", "pdebench/full/darcy2d", "darcy2d_train.h5"),
        ("full/darcy2d/manifest.json", "datasets", "full/darcy2d", "manifest.json"),
        ("full/darcy2d_mesh/darcy2d_mesh_val.h5", "datasets", "full/darcy2d_mesh", "darcy2d_mesh_val.h5"),
        ("full/darcy2d/.tmp-darcy2d_val.h5", "datasets", "full/darcy2d", ".tmp-darcy2d_val.h5"),
        ("pdebench/latent_caches/v/darcy2d_val/ff/shard-00000.safetensors", "caches",
         "pdebench/latent_caches/v/darcy2d_val", "ff/shard-00000.safetensors"),
        ("latent_caches/v/darcy2d_mesh_test/sample_00000.pt", "caches", "latent_caches/v/darcy2d_mesh_test",
         "sample_00000.pt"),
    ],
)  # fmt: skip
def test_files_of_datasets_and_caches(key: str, area: str, folder: str, name: str) -> None:
    found = place(key)
    assert found.folder is not None
    assert (found.area, found.folder.path, found.name) == (area, folder, name)


def test_a_cache_folder_says_version_task_and_split() -> None:
    found = place("latent_caches/upt_128d_128tok/darcy2d_mesh_test/manifest.json").folder
    assert found is not None
    assert (found.version, found.task, found.split) == ("upt_128d_128tok", "darcy2d_mesh", "test")


@pytest.mark.parametrize(
    ("key", "area"),
    [
        (f"runtime/{SHA}.whl", Area.RUNTIMES), ("runtime/mine.whl", Area.OTHER),
        ("runs/1124-aaaa/attempt-1/run.yaml", Area.RUNS), ("holiday/beach.jpg", Area.OTHER),
        ("pdebench/full/darcy2d/notes.txt", Area.OTHER), ("pdebench/full/other/other_train.h5", Area.OTHER),
        ("pdebench/full/darcy2d/burgers1d_train.h5", Area.OTHER),
        ("latent_caches/readme.txt", Area.OTHER), ("latent_caches/v/other_train/x", Area.OTHER),
        ("latent_caches/v/darcy2d_train", Area.OTHER), ("manifest.json", Area.OTHER),
        ("latent_caches/../darcy2d_train/x", Area.OTHER), ("latent_caches//darcy2d_train/x", Area.OTHER),
        ("mine/pdebench/full/darcy2d/manifest.json", Area.OTHER),
    ],
)  # fmt: skip
def test_everything_else(key: str, area: Area) -> None:
    assert (place(key).area, place(key).folder) == (area, None)
