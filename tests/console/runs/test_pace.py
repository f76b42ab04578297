"""How fast a bucket was, as runs' own events tell."""

import json
from pathlib import Path

import pytest

from console.runs.pace import measured_mbit_per_s
from console.runs.registry import Registry
from console.runs.usage import uses


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "runs")


def record(registry: Registry, run: str, seconds: float, moved: float, store: str = "s3://bucket") -> None:
    folder = registry.root / run / "attempt-1"
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(f"tasks: [advection1d]\nstore: {store}\n")
    told = [
        {"t": 100.0, "phase": "hydrate", "done": 0, "unit": "bytes"},
        {"t": 100.0 + seconds, "phase": "hydrate", "done": moved, "unit": "bytes"},
        {"t": 900.0, "phase": "train", "done": 9e9, "unit": "samples"},
    ]
    lines = [json.dumps({"seq": seq, "type": "progress", **fields}) for seq, fields in enumerate(told)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")


def measured(registry: Registry) -> float | None:
    return measured_mbit_per_s(registry, uses(registry))


def test_it_is_the_median_over_runs(registry: Registry) -> None:
    for run, moved in (("r1", 1e9), ("r2", 2e9), ("r3", 9e9)):
        record(registry, run, 10.0, moved)
    assert measured(registry) == pytest.approx(1600.0)


def test_a_few_bytes_and_a_directory_say_nothing(registry: Registry) -> None:
    record(registry, "r1", 10.0, 1e6)
    record(registry, "r2", 10.0, 1e9, store="dir:/data")
    (registry.root / "r3" / "attempt-1").mkdir(parents=True)
    (registry.root / "r3" / "attempt-1" / "run.yaml").write_text("tasks: [advection1d]\nstore: s3://bucket\n")
    assert measured(registry) is None
