"""Every shipped config runs, small, the way a real one does: `python -m remote run`, and its evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.remote.conftest import start
from ups import catalog
from ups.config import TrainConfig, load_train_config, parse_train_config
from ups.data.convert import make
from ups.events import Event, EventReader
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.stores.directory import DirectoryStore

CONFIGS = Path(__file__).parents[2] / "configs"
TRAINING = sorted(path.stem for path in CONFIGS.glob("*.yaml") if not path.stem.startswith("eval_"))
SAMPLES = 10
"""Initial conditions of each task, one of them for validation and one for the test."""


@pytest.fixture(scope="session")
def reference_data(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    """A little reference data of every task that a shipped config names."""
    store = DirectoryStore(tmp_path_factory.mktemp("reference"))
    tasks = {task for name in TRAINING for task in load_train_config(CONFIGS / f"{name}.yaml").data.task}
    for task in sorted(tasks):
        make(store, task, samples=SAMPLES)
    return store


def shortened(name: str) -> TrainConfig:
    """A shipped config with its tasks, losses, stages and curricula, but small.

    Each stage is one short epoch; a curriculum of tasks gets one for each of its stages.
    """
    content = load_train_config(CONFIGS / f"{name}.yaml").model_dump(mode="json")
    content["operator"]["pdet"] |= {"hidden_dim": 32, "depth": 2, "num_heads": 2}
    content["diffusion"] |= {"hidden_dim": 32}
    training = content["training"]
    training |= {"batch_size": 2, "accum_steps": 2, "log_every": 1, "samples_per_epoch": 24, "num_workers": 1}
    training["inverse_loss_warmup_epochs"] = 0
    training["query_sampling"]["num_queries"] = 64
    curriculum = training["task_curriculum"]["stages"]
    for index, stage in enumerate(curriculum):
        stage["epochs"] = [index, index + 1]
    epochs = max(1, len(curriculum))
    unrolled = training["rollout_curriculum"]
    unrolled["stages"] = unrolled["stages"][:epochs]
    unrolled["epoch_boundaries"] = list(range(len(unrolled["stages"])))
    for stage in filter(None, content["stages"].values()):
        stage["epochs"] = 1
    content["stages"]["operator"]["epochs"] = epochs
    content["evaluation"] |= {"validation_samples": 2, "rollout_steps": 3}
    return parse_train_config(content)


def run_directory(root: Path, name: str, store: DirectoryStore) -> RunDirectory:
    config = shortened(name)
    spec = RunSpec(
        run=name, name=name, created=0.0, config=config, tasks=config.data.task, stages=config.stages.names,
        seed=config.seed, threads=1, store=store.url, datasets=catalog.pins(store, config.data.task),
        code_version="0", config_sha256=config_sha256(config),
    )  # fmt: skip
    directory = RunDirectory(root / name)
    directory.root.mkdir(parents=True)
    directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
    return directory


def executed(directory: RunDirectory) -> list[Event]:
    process = start("-m", "remote", "run", str(directory.root), log=directory.log_path)
    assert process.wait(timeout=300) == 0, directory.log_path.read_text()[-3000:]
    return EventReader(directory.events_path).read()


def losses(events: list[Event], stage: str) -> dict[str, list[float]]:
    """Training curve of each task in a stage."""
    found: dict[str, list[float]] = {}
    for event in events:
        if event.type == "metric" and event.fields["split"] == "train" and event.fields["stage"] == stage:
            found.setdefault(event.fields["task"], []).append(event.fields["values"]["loss"])
    return found


@pytest.mark.parametrize("name", TRAINING)
def test_config_trains_an_epoch_of_every_stage_and_is_judged(
    tmp_path: Path, reference_data: DirectoryStore, name: str
) -> None:
    directory = run_directory(tmp_path, name, reference_data)
    config = directory.read_spec().config
    events = executed(directory)
    assert events[-1].fields["status"] == "succeeded"
    for stage in config.stages.names:
        curves = losses(events, stage)
        assert set(curves) == set(config.data.task)
        values = [tuple(curve) for curve in curves.values()]
        assert len(set(values)) == len(values)  # a curve of its own for every task
    validated = [e.fields for e in events if e.type == "metric" and e.fields["split"] == "val"]
    assert {fields["task"] for fields in validated} >= set(config.data.task)
    report = json.loads(directory.report_path.read_text())
    for split in ("val", "test"):
        tasks = report["splits"][split]["tasks"]
        assert set(tasks) == set(config.data.task)
        assert all(tasks[task]["one_step"] > 0 < tasks[task]["persistence_one_step"] for task in tasks)


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory, reference_data: DirectoryStore) -> RunDirectory:
    """A finished run of the two-task baseline."""
    root = tmp_path_factory.mktemp("baseline")
    directory = run_directory(root, "train_pdebench_2task_baseline", reference_data)
    executed(directory)
    return directory


@pytest.mark.parametrize("name", ["eval_pdebench_scale_ttc", "eval_pdebench_scale_test_ttc"])
def test_evaluation_config_judges_a_run_with_test_time_compute(
    reference_data: DirectoryStore, baseline: RunDirectory, name: str
) -> None:
    directory = baseline
    process = start(
        "-m", "remote", "evaluate", str(directory.root), "--store", reference_data.url,
        "--config", str(CONFIGS / f"{name}.yaml"), "--json",
    )  # fmt: skip
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    report: dict[str, Any] = json.loads(printed.splitlines()[-1])
    report = report.get("report", report)
    ((split, judged),) = report["splits"].items()
    assert split == ("test" if "test" in name else "val")
    for way in ("off", "average", "on"):
        assert set(judged["ttc"][way]["tasks"]) == {"advection1d", "darcy2d"}
