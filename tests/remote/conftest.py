"""A small store with real data (travelling waves with their exact solution) and tiny runs on it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.ups.converted import write_darcy
from ups.catalog import dataset_key, manifest_key
from ups.config import TrainConfig
from ups.data.outline import Outline
from ups.data.split import open_split
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.store import file_sha256
from ups.stores.directory import DirectoryStore

SAMPLES = {"train": 24, "val": 8, "test": 8}
FRAMES, CELLS, DT = 6, 32, 0.05

CONFIG: dict[str, Any] = {
    "data": {"task": "advection1d"},
    "latent": {"dim": 16, "tokens": 8},
    "operator": {
        "pdet": {"input_dim": 16, "hidden_dim": 16, "depth": 1, "num_heads": 2},
        "patch": {"advection1d": 4},
    },
    "training": {
        "batch_size": 8, "samples_per_epoch": 48, "log_every": 2,
        "refinement": {"channels": 4, "layers": 1},
    },
    "stages": {"operator": {"epochs": 2}},
}  # fmt: skip


def write_waves(path: Path, split: str, *, samples: int, seed: int) -> None:
    """A converted advection file: u(x, t) = sin(2πk(x − βt) + φ)."""
    random = np.random.default_rng(seed)
    k = random.integers(1, 4, (samples, 1, 1))
    beta, phase = random.uniform(0.2, 1.0, (samples, 1, 1)), random.uniform(0, 6.28, (samples, 1, 1))
    x, t = (np.arange(CELLS) + 0.5) / CELLS, np.arange(FRAMES) * DT
    states = np.sin(2 * np.pi * k * (x[None, None] - beta * t[None, :, None]) + phase)
    with h5py.File(path, "w") as file:
        file["states"] = states[..., None].astype(np.float32)
        file["times"] = t
        file["parameters"] = beta[:, :, 0].astype(np.float32)
        file["initial_condition"] = np.arange(samples) + 1000 * seed
        file["source"] = np.zeros(samples, np.int64)
        file["sample"] = np.arange(samples)
        file["x"] = x
        file.attrs.update(
            format=1, task="advection1d", split=split, dt=DT, boundary="periodic", fields=["u"],
            input_fields=h5py.Empty("S1"), units=["1"], parameter_names=["beta"], axes=["x"],
            provenance=json.dumps([{"name": "waves", "kind": "solver", "sha256": str(seed)}]),
        )  # fmt: skip


def write_dataset(store: DirectoryStore, *, seed: int = 0) -> None:
    """All splits of advection1d and their manifest."""
    splits = {}
    for number, (split, samples) in enumerate(SAMPLES.items()):
        path = store.root / dataset_key("advection1d", split)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_waves(path, split, samples=samples, seed=3 * seed + number + 1)
        splits[split] = {
            "file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path), "samples": samples,
            "shape": [samples, FRAMES, CELLS, 1], "dt": DT,
        }  # fmt: skip
    manifest = {
        "format": 1, "task": "advection1d", "state": "complete", "created": 0.0, "splits": splits,
        "statistics": {"mean": [0.0], "std": [0.7071], "min": [-1.0], "max": [1.0]},
        "parameters": {"beta": [0.5]}, "provenance": [],
    }  # fmt: skip
    store.write_bytes(manifest_key("advection1d"), json.dumps(manifest).encode())


def write_darcy_dataset(store: DirectoryStore) -> None:
    """All splits of darcy2d and their manifest."""
    files = write_darcy((store.root / dataset_key("darcy2d", "train")).parent)
    splits = {}
    for split, path in files.items():
        outline = Outline.of(open_split(path))
        splits[split] = {
            "file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path),
            "samples": outline.samples, "shape": [outline.samples, *outline.extent, 1], "dt": 0.0,
        }  # fmt: skip
    manifest = {
        "format": 1, "task": "darcy2d", "state": "complete", "created": 0.0, "splits": splits,
        "statistics": {}, "parameters": {"beta": [1.0]}, "provenance": [],
    }  # fmt: skip
    store.write_bytes(manifest_key("darcy2d"), json.dumps(manifest).encode())


def two_task_config(**training: Any) -> TrainConfig:
    """Darcy's problem from the first epoch, travelling waves from the second."""
    curriculum = {"enabled": True, "stages": [{"epochs": [0, 1], "tasks": ["darcy2d"]}]}
    return TrainConfig.model_validate(
        {
            **CONFIG,
            "data": {"task": ["advection1d", "darcy2d"]},
            "latent": {"dim": 16, "tokens": 16},
            "operator": {"pdet": CONFIG["operator"]["pdet"]},
            "training": {**CONFIG["training"], "task_curriculum": curriculum, **training},
        }
    )


def pins_of(store: DirectoryStore, *tasks: str) -> dict[str, dict[str, str]]:
    manifests = {task: json.loads(store.read_bytes(manifest_key(task))) for task in tasks or ("advection1d",)}
    return {
        task: {name: split["sha256"] for name, split in manifest["splits"].items()}
        for task, manifest in manifests.items()
    }


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    found = DirectoryStore(tmp_path / "store")
    write_dataset(found)
    return found


@pytest.fixture
def two_tasks(store: DirectoryStore) -> DirectoryStore:
    """The store with a second dataset."""
    write_darcy_dataset(store)
    return store


MakeRun = Callable[..., RunDirectory]


@pytest.fixture
def make_run(tmp_path: Path, store: DirectoryStore) -> MakeRun:
    """Writes run directories for `store`; keyword arguments replace fields of the spec."""

    def make(name: str = "r1", **changes: Any) -> RunDirectory:
        config = TrainConfig.model_validate(CONFIG)
        spec = RunSpec(
            run=name, name="tiny", created=0.0, config=config, tasks=config.data.task, stages=("operator",),
            seed=0, threads=1, store=store.url, datasets=pins_of(store), code_version="0",
            config_sha256=config_sha256(config),
        ).model_copy(update=changes)  # fmt: skip
        directory = RunDirectory(tmp_path / "box" / name)
        directory.root.mkdir(parents=True)
        directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
        return directory

    return make


@pytest.fixture
def make_joint_run(make_run: MakeRun, two_tasks: DirectoryStore) -> MakeRun:
    """Runs on both tasks, of which one joins in the second epoch."""

    def make(name: str = "r1", **changes: Any) -> RunDirectory:
        config = two_task_config()
        pins = pins_of(two_tasks, *config.data.task)
        given: dict[str, Any] = {"config": config, "tasks": config.data.task, "datasets": pins, **changes}
        return make_run(name, run=name, **given)

    return make


def start(*arguments: str, log: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """A process with this interpreter, as the console starts one: own session, output to a log."""
    output = log.open("a") if log is not None else subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=output, stderr=subprocess.STDOUT if log is not None else subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], *, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
