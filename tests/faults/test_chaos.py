"""SIGKILL in any phase of a run, at a random moment: started again it comes to the same, to 1e-6.

Each seed is a run that is killed several times. `UPS_RUNTIME_KILLS` says how many kills are played in all
(docs/faults.md shows those of 30); by default only a few are.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.chaos import (
    ChaosBox,
    assert_events_whole,
    assert_published,
    assert_same,
    curves,
    draws,
    moments,
    told_checkpoints,
)
from tests.patience import PATIENCE_S
from tests.remote.test_bucket_hydration import copied
from tests.remote.test_configs import shortened
from tests.simulators.files import FileServer, md5
from tests.ups.data import raws
from ups import catalog
from ups.config import TrainConfig, parse_train_config
from ups.data.preprocessing import preprocess_job
from ups.rundir import RunDirectory, RunSpec, config_sha256, no_training, render_spec
from ups.store import ObjectStore, file_sha256, open_store
from ups.stores.directory import DirectoryStore

if TYPE_CHECKING:
    from tests.simulators.b2 import B2Server

KILLS = int(os.environ.get("UPS_RUNTIME_KILLS") or 4)
_EACH = 2
"""Kills of one run."""
_PREPROCESSING = max(1, KILLS // 5)
TRAININGS = [(seed, _EACH) for seed in range(max(1, (KILLS - _PREPROCESSING) // _EACH))]
PREPROCESSINGS = [(100 + seed, 1) for seed in range(_PREPROCESSING)]
NAME = "train_pdebench_2task_baseline"


def reduced_baseline() -> TrainConfig:
    """The shipped config with all of its stages, small."""
    content = shortened(NAME).model_dump(mode="json")
    content["stages"]["operator"]["epochs"] = 3
    for name in ("diff_residual", "consistency_distill"):
        content["stages"][name]["epochs"] = 2
    content["logging"]["wandb"]["enabled"] = False
    return parse_train_config(content)


class Scene:
    """A bucket with data, and boxes that run there."""

    def __init__(self, root: Path, server: "B2Server", source: DirectoryStore | None) -> None:
        self._root = root
        self._server = server
        self._source = source
        self.expected: Any = None
        self.told: set[tuple[str, int]] = set()
        self.took: dict[tuple[str, str], float] = {}

    def box(self, name: str, spec_of: Callable[[str, ObjectStore], RunSpec]) -> tuple[ChaosBox, ObjectStore]:
        """A box of its own, with a bucket of its own."""
        key = self._server.new_key(self._server.new_bucket())
        environment = {
            "B2_KEY_ID": key.key_id, "B2_APP_KEY": key.secret, "B2_BUCKET": key.bucket,
            "B2_S3_ENDPOINT": self._server.url, "B2_S3_REGION": "us-west-004",
        }  # fmt: skip
        store = open_store(f"s3://{key.bucket}", environment)
        if self._source is not None:
            copied(self._source, store)
        run = RunDirectory(self._root / name / "runs" / name)
        run.root.mkdir(parents=True)
        run.spec_path.write_text(render_spec(spec_of(name, store)), encoding="utf-8")
        return ChaosBox(self._root / name, run, environment), store


# --- training -----------------------------------------------------------------------------------------


def _training(name: str, store: ObjectStore) -> RunSpec:
    config = reduced_baseline()
    return RunSpec(
        run=name, name=NAME, created=0.0, config=config, tasks=config.data.task, stages=config.stages.names,
        seed=config.seed, threads=1, store=store.url, datasets=catalog.pins(store, config.data.task),
        precompute=True, smoke=True, code_version="0", config_sha256=config_sha256(config),
    )  # fmt: skip


def _weights(run: RunDirectory) -> dict[str, str]:
    """The sha256 of every tensor file of the checkpoints that are left."""
    paths = sorted(run.checkpoints.rglob("*.safetensors"))
    return {path.relative_to(run.root).as_posix(): file_sha256(path) for path in paths}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, b2_server: "B2Server", two_tasks: Path) -> Scene:
    """What the run comes to where nobody kills it, and how long each part of it takes."""
    scene = Scene(tmp_path_factory.mktemp("chaos"), b2_server, DirectoryStore(two_tasks))
    box, store = scene.box("undisturbed", _training)
    try:
        events = box.play()
        box.assert_quiet()
    finally:
        box.close()
    assert_events_whole(events)
    scene.took = moments(events)
    scene.expected = json.loads(box.run.report_path.read_text()), curves([events]), _weights(box.run)
    scene.told = told_checkpoints(events)
    scratch = tmp_path_factory.mktemp("published")
    assert_published(box.run, store, "runs/undisturbed/attempt-1/", scratch)
    return scene


@pytest.mark.parametrize(("seed", "kills"), TRAININGS)
def test_a_killed_training_comes_to_the_same(
    undisturbed: Scene, tmp_path: Path, seed: int, kills: int
) -> None:
    name = f"killed-{seed}"
    box, store = undisturbed.box(name, _training)
    try:
        events = box.play(draws(seed, undisturbed.took, kills))
        box.assert_quiet()
        report, points, weights = undisturbed.expected
        assert_events_whole(events)
        assert curves([events]).keys() == points.keys()
        for point, values in curves([events]).items():
            assert values == pytest.approx(points[point], abs=1e-6), point
        assert_same(json.loads(box.run.report_path.read_text()), report)
        assert _weights(box.run) == weights
        assert told_checkpoints(events) == undisturbed.told
        assert_published(box.run, store, f"runs/{name}/attempt-1/", tmp_path)
        assert box.start().wait(timeout=PATIENCE_S) == 0
        assert box.events == events
    finally:
        box.close()


# --- preprocessing ------------------------------------------------------------------------------------

FILES = {"11": raws.ADVECTION, "13": raws.DARCY}
TASKS = {"11": "advection1d", "13": "darcy2d"}


@pytest.fixture(scope="module")
def published_files() -> Iterator[FileServer]:
    with FileServer(FILES) as server:
        yield server


@pytest.fixture(scope="module")
def converting(
    tmp_path_factory: pytest.TempPathFactory, published_files: FileServer
) -> Callable[[str, ObjectStore], RunSpec]:
    table = tmp_path_factory.mktemp("table") / "table.csv"
    rows = [f"{TASKS[name]},{path.name},{name},{md5(path.read_bytes())}" for name, path in FILES.items()]
    table.write_text("\n".join(["task,file,id,md5", *rows]) + "\n")
    tasks = tuple(TASKS.values())
    job = preprocess_job(
        tasks, base=published_files.url, table=table, cache_dim=64, cache_tokens=64, num_workers=2
    )

    def spec_of(name: str, store: ObjectStore) -> RunSpec:
        return RunSpec(
            run=name, name="preprocess", created=0.0, config=no_training(tasks), tasks=tasks, stages=(),
            seed=0, store=store.url, datasets={}, code_version="0", config_sha256="0", preprocess=job,
        )  # fmt: skip

    return spec_of


def _contents(store: ObjectStore) -> dict[str, Any]:
    """Key → content of every dataset and cache; of a manifest, what it says but for the time."""
    found: dict[str, Any] = {}
    for info in [*store.list("pdebench/"), *store.list("latent_caches/")]:
        content = store.read_bytes(info.key)
        found[info.key] = json.loads(content) if info.key.endswith(".json") else content
    return found


@pytest.fixture(scope="module")
def converted(
    tmp_path_factory: pytest.TempPathFactory,
    b2_server: "B2Server",
    converting: Callable[[str, ObjectStore], RunSpec],
) -> Scene:
    """What the preprocessing makes where nobody kills it."""
    scene = Scene(tmp_path_factory.mktemp("chaos"), b2_server, None)
    box, store = scene.box("undisturbed", converting)
    try:
        events = box.play()
        box.assert_quiet()
    finally:
        box.close()
    assert_events_whole(events)
    scene.took = moments(events)
    scene.expected = _contents(store)
    assert sum(key.endswith(".h5") for key in scene.expected) == 6
    return scene


@pytest.mark.parametrize(("seed", "kills"), PREPROCESSINGS)
def test_a_killed_preprocessing_makes_the_same_bytes(
    converted: Scene, converting: Callable[[str, ObjectStore], RunSpec], seed: int, kills: int
) -> None:
    box, store = converted.box(f"killed-{seed}", converting)
    try:
        events = box.play(draws(seed, converted.took, kills))
        box.assert_quiet()
        assert_events_whole(events)
        assert_same(_contents(store), converted.expected)
        assert (
            store.read_bytes(f"runs/killed-{seed}/attempt-1/events.jsonl") == box.run.events_path.read_bytes()
        )
        assert box.start().wait(timeout=PATIENCE_S) == 0
        assert box.events == events
    finally:
        box.close()
