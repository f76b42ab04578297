"""Older scripts find the data under their old names, and nobody's own file is lost over it."""

from pathlib import Path

import pytest

from remote.links import FOLDER_VARIABLE, folder_of, link_splits
from tests.remote.conftest import CONFIG
from ups.config import TrainConfig


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_links_lead_to_the_files(tmp_path: Path) -> None:
    file, folder = write(tmp_path / "data" / "ab12.h5", "first"), tmp_path / "data" / "pdebench"
    assert link_splits(folder, {"advection1d": {"train": file}}) == []
    link = folder / "advection1d_train.h5"
    assert link.is_symlink()
    assert link.read_text() == "first"
    assert not link.readlink().is_absolute()  # the folders may be moved together


def test_link_follows_the_next_run(tmp_path: Path) -> None:
    first, second = write(tmp_path / "1.h5", "first"), write(tmp_path / "2.h5", "second")
    for file in (first, second, second):
        assert link_splits(tmp_path / "links", {"advection1d": {"val": file}}) == []
    assert (tmp_path / "links" / "advection1d_val.h5").read_text() == "second"
    assert [path.name for path in (tmp_path / "links").iterdir()] == ["advection1d_val.h5"]
    assert first.read_text() == "first"


def test_link_that_leads_nowhere_is_mended(tmp_path: Path) -> None:
    link = tmp_path / "advection1d_val.h5"
    link.symlink_to(tmp_path / "gone.h5")
    assert link_splits(tmp_path, {"advection1d": {"val": write(tmp_path / "1.h5", "here")}}) == []
    assert link.read_text() == "here"


def test_real_file_stays(tmp_path: Path) -> None:
    own = write(tmp_path / "advection1d_val.h5", "my own")
    file = write(tmp_path / "1.h5", "fetched")
    (problem,) = link_splits(tmp_path, {"advection1d": {"val": file}})
    assert "is a file of its own" in problem
    assert own.read_text() == "my own"
    assert not own.is_symlink()


def test_folder_that_cannot_be_made_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    (problem,) = link_splits(tmp_path / "file" / "x", {"advection1d": {"val": tmp_path / "1.h5"}})
    assert "Not a directory" in problem


def test_folder_is_that_of_the_config_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig.model_validate(CONFIG)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert folder_of(config, tmp_path) == tmp_path / "data" / "pdebench"
    monkeypatch.setenv(FOLDER_VARIABLE, "/mnt/pdebench")
    assert folder_of(config, tmp_path) == Path("/mnt/pdebench")
