"""A store with two tiny tasks, runs on it, and a store that is not on this machine."""

import json
from pathlib import Path
from typing import Any

from tests.ups.converted import write_advection, write_darcy
from ups.catalog import dataset_key, manifest_key
from ups.config import TrainConfig, parse_train_config
from ups.data.fields import Fields
from ups.data.survey import survey
from ups.events import EventReader, EventType
from ups.rundir import RunDirectory, RunSpec, config_sha256, render_spec
from ups.store import ObjectStore, Progress, file_sha256
from ups.stores.directory import DirectoryStore

TASKS = ("advection1d", "darcy2d")


class FarStore(DirectoryStore):
    """A directory that behaves like a bucket: nothing of it can be opened as a file."""

    def local_path(self, key: str) -> Path | None:
        return None

    def move(self, source: Path, key: str, *, progress: Progress | None = None) -> None:
        self.upload(source, key, progress=progress)
        source.unlink()


def put_datasets(store: DirectoryStore) -> None:
    """All splits of both tasks, and their manifests."""
    for task, write in zip(TASKS, (write_advection, write_darcy), strict=True):
        folder = (store.root / dataset_key(task, "train")).parent
        files = write(folder)
        measured = survey(Fields.open(files["train"]))
        statistics = {
            name: getattr(measured, name).tolist() for name in ("mean", "std", "input_mean", "input_std")
        }
        statistics |= {"min": measured.low.tolist(), "max": measured.high.tolist()}
        manifest = {
            "format": 1, "task": task, "state": "complete", "created": 0.0, "statistics": statistics,
            "splits": {split: _described(path) for split, path in files.items()},
            "parameters": {}, "provenance": [],
        }  # fmt: skip
        store.write_bytes(manifest_key(task), json.dumps(manifest).encode())


def _described(path: Path) -> dict[str, Any]:
    fields = Fields.open(path)
    array = fields.targets if fields.states is None else fields.states
    assert array is not None
    return {
        "file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path),
        "samples": fields.samples, "shape": list(array.shape), "dt": fields.dt,
    }  # fmt: skip


def tiny_config(**training: Any) -> TrainConfig:
    """Both tasks, two epochs of eight steps, at a rate at which what is learned is no chaos yet."""
    return parse_train_config(
        {
            "data": {"task": list(TASKS)},
            "latent": {"dim": 16, "tokens": 16},
            "operator": {"pdet": {"input_dim": 16, "hidden_dim": 16, "num_heads": 2, "depth": 1}},
            "training": {
                "batch_size": 4, "samples_per_epoch": 32, "log_every": 4, "transport_skip": "off",
                "refinement": {"channels": 4, "layers": 1}, **training,
            },
            "stages": {"operator": {"epochs": 2, "optimizer": {"lr": 1e-3}}},
        }
    )  # fmt: skip


def make_run(
    folder: Path, store: ObjectStore, config: TrainConfig | None = None, **changes: Any
) -> tuple[RunSpec, RunDirectory]:
    """A run directory; keyword arguments replace fields of the spec."""
    config = config or tiny_config()
    spec = RunSpec(
        run="r1", name="tiny", created=0.0, config=config, tasks=config.data.task, stages=("operator",),
        seed=0, threads=1, store=store.url, datasets=pins(store), code_version="0",
        config_sha256=config_sha256(config),
    ).model_copy(update=changes)  # fmt: skip
    folder.mkdir(parents=True)
    directory = RunDirectory(folder)
    directory.spec_path.write_text(render_spec(spec), encoding="utf-8")
    return spec, directory


def pins(store: ObjectStore) -> dict[str, dict[str, str]]:
    """task → split → sha256."""
    manifests = {task: json.loads(store.read_bytes(manifest_key(task))) for task in TASKS}
    return {
        task: {split: of["sha256"] for split, of in manifest["splits"].items()}
        for task, manifest in manifests.items()
    }


def converted(store: DirectoryStore) -> dict[str, dict[str, Path]]:
    """task → split → converted file."""
    splits = ("train", "val", "test")
    return {task: {split: store.root / dataset_key(task, split) for split in splits} for task in TASKS}


Point = tuple[tuple[str, int, int, str], dict[str, float]]
"""(split, epoch, step, task) of a point, and its loss or nRMSE."""


def curves(directory: RunDirectory) -> list[Point]:
    """All that a run's training has measured."""
    points: list[Point] = []
    for event in EventReader(directory.events_path).read():
        if event.type == EventType.METRIC:
            where = tuple(event.fields[name] for name in ("split", "epoch", "step", "task"))
            values = event.fields["values"]
            points.append((where, {name: values[name] for name in ("loss", "nrmse") if values.get(name)}))
    return points
