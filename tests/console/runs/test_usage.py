"""Which runs used which data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from console.runs.registry import Registry
from console.runs.usage import spec_texts, uses

HASHES = {"train": "a" * 64, "val": "b" * 64}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "runs")


def write_run(registry: Registry, run: str, **changes: Any) -> None:
    folder = registry.root / run / "attempt-1"
    folder.mkdir(parents=True)
    spec = {"tasks": ["advection1d"], "datasets": {"advection1d": HASHES}, **changes}
    (folder / "run.yaml").write_text(yaml.safe_dump(spec))


def test_a_run_used_the_very_files_that_it_pinned(registry: Registry) -> None:
    write_run(registry, "r1")
    (use,) = uses(registry)
    assert use.used_dataset("advection1d", HASHES)
    assert not use.used_dataset("advection1d", {**HASHES, "val": "c" * 64})
    assert not use.used_dataset("darcy2d", HASHES)


def test_a_run_that_pinned_nothing_used_whatever_there_was(registry: Registry) -> None:
    write_run(registry, "r1", datasets={})
    (use,) = uses(registry)
    assert use.used_dataset("advection1d", HASHES)


def test_a_preprocessing_used_nothing(registry: Registry) -> None:
    write_run(registry, "r1", datasets={}, preprocess={"files": {"advection1d": []}})
    assert uses(registry) == []


def test_a_run_used_the_cache_of_its_sizes(registry: Registry) -> None:
    latent = {"latent": {"dim": 16, "tokens": 8}}
    write_run(registry, "r1", precompute=True, config=latent)
    write_run(registry, "r2", config=latent)
    found = {use.run: use for use in uses(registry)}
    assert found["r1"].used_cache("upt_16d_8tok", "advection1d")
    assert not found["r1"].used_cache("upt_16d_8tok", "darcy2d")
    assert not found["r2"].used_cache("upt_16d_8tok", "advection1d")


@pytest.mark.parametrize("text", ["", "- a", "{", "tasks: 3\ndatasets: 4", "\0"])
def test_what_is_damaged_counts_for_nothing(registry: Registry, text: str) -> None:
    write_run(registry, "r1")
    (registry.root / "r1" / "attempt-1" / "run.yaml").write_text(text)
    assert not any(use.used_dataset("advection1d", HASHES) for use in uses(registry))


def test_the_texts_are_of_all_attempts(registry: Registry) -> None:
    write_run(registry, "r1")
    (registry.root / "r1" / "attempt-2").mkdir()
    (registry.root / "r1" / "attempt-2" / "run.yaml").write_text("runtime: x")
    assert "runtime: x" in set(spec_texts(registry))
    assert len(list(spec_texts(registry))) == 2
