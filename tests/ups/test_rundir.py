"""run.yaml holds all that a run computes from, and says so when it is damaged."""

from pathlib import Path
from typing import Any

import pytest

from ups.config import TrainConfig
from ups.errors import NotFoundError, StoreError
from ups.preprocess_job import JobFile, PreprocessJob
from ups.rundir import RunDirectory, RunSpec, config_sha256, no_training, render_spec

CONFIG = TrainConfig.model_validate(
    {"data": {"task": ["advection1d", "darcy2d"]}, "stages": {"operator": {"epochs": 2}}}
)


def spec(**changes: Any) -> RunSpec:
    return RunSpec(
        run="7f3a", name="local_2task", created=12.5, config=CONFIG, tasks=CONFIG.data.task,
        stages=("operator",), seed=3, threads=2, store="dir:/data", code_version="0.1.0",
        datasets={"advection1d": {"train": "a" * 64}}, config_sha256=config_sha256(CONFIG),
    ).model_copy(update=changes)  # fmt: skip


def test_a_written_spec_reads_back_equal(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.spec_path.write_text(render_spec(spec()), encoding="utf-8")
    assert directory.read_spec() == spec()


def test_a_directory_without_spec_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no run\.yaml"):
        RunDirectory(tmp_path).read_spec()


@pytest.mark.parametrize("text", ["run: [", "run: x\n", "- 1\n", ""])
def test_a_damaged_spec_is_named(tmp_path: Path, text: str) -> None:
    directory = RunDirectory(tmp_path)
    directory.spec_path.write_text(text)
    with pytest.raises(StoreError, match=r"run\.yaml is damaged"):
        directory.read_spec()


def test_a_spec_of_a_newer_version_is_read(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.spec_path.write_text(render_spec(spec()) + "from_the_future: 1\n", encoding="utf-8")
    assert directory.read_spec() == spec()


def test_a_preprocessing_has_files_in_the_place_of_a_config(tmp_path: Path) -> None:
    files = {"darcy2d": (JobFile(file="a.hdf5", id="13", md5="0" * 32),)}
    asked = spec(
        tasks=("darcy2d",), stages=(), config=no_training(["darcy2d"]),
        preprocess=PreprocessJob(files=files, base="https://mirror/{file}", samples=4),
    )  # fmt: skip
    directory = RunDirectory(tmp_path)
    directory.spec_path.write_text(render_spec(asked), encoding="utf-8")
    assert "config:" not in directory.spec_path.read_text()
    assert directory.read_spec() == asked


def test_a_spec_does_not_ask_for_a_cache_by_itself() -> None:
    assert not spec().precompute


def test_equal_configs_have_equal_hashes_whatever_the_order_of_keys() -> None:
    content = CONFIG.model_dump(mode="json")
    assert config_sha256(dict(reversed(content.items()))) == config_sha256(CONFIG)
    assert config_sha256({**content, "seed": 1}) != config_sha256(CONFIG)
