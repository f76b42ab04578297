"""A home in which every screen has something to show, and the same at any time and place.

The clock stands, runs have fixed names and ages, nothing shows a path of the machine it was made on.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from console.api import (
    Check,
    FleetState,
    Level,
    Market,
    ProviderProblem,
    RunRow,
    RunStatus,
    VolumeRow,
)
from console.fleet.model import InstanceKind, InstanceState
from console.home import Home
from console.operations import Operations
from console.settings import Settings, read_settings
from tests.console.recorded import CONFIGS, figures_of
from tests.console.tui.conftest import FakeOperations, instance, offer, record_run
from tests.ups.stored import Bucket, print_of, put, put_cache, put_dataset
from ups.config import load_train_config
from ups.config_patch import patched
from ups.evaluation.gates import decide
from ups.evaluation.validation_curves import Point
from ups.events import EventType, EventWriter
from ups.rundir import RunDirectory, render_spec
from ups.store import ObjectStore

NOW = 1_795_528_950.0
"""14:02:30 UTC on November 24, 2026."""
RUNNING, BEST, WORSE, FAILED = "1124-7f3a", "1124-5b1e", "1123-2c77", "1122-91c0"


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is `NOW`, in Greenwich; what measures waiting goes on."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@dataclass
class GoldenOperations(FakeOperations):
    """A fleet, offers and a bucket that are imaginary; runs and configs that are there."""

    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.home.root.parent / "bucket")

    @property
    def settings(self) -> Settings:  # type: ignore[override]
        return replace(read_settings(self.home, environment={}), store_url="s3://bucket/prefix")

    def store(self) -> ObjectStore:
        return self.bucket

    def runs(self) -> list[RunRow]:
        rows = Operations.runs(self)
        return [
            replace(row, status=RunStatus.RUNNING, usd=0.11) if row.run == RUNNING else row for row in rows
        ]

    def fleet_state(self, *, oldest_s: float = 0.0, volumes: bool = True) -> FleetState:
        return FleetState(tuple(self.rows), tuple(self.volumes), tuple(self.problems), NOW)


def make_home(home: Home) -> GoldenOperations:
    """Runs, a bucket and a fleet."""
    record_run(home, FAILED, epochs=1, done="failed", age_s=190_000)
    for run, rate, figure, age in ((WORSE, 0.002, 0.0612, 100_000), (BEST, 0.001, 0.0183, 9_000)):
        _judged(record_run(home, run, done="succeeded", age_s=age), rate, figure)
    _going_on(record_run(home, RUNNING, epochs=2, age_s=1_320))
    operations = GoldenOperations(home)
    _fill(operations.bucket)
    local = Market("local", (offer("this-machine", 0.0),))
    vast = tuple(offer(f"1800{n}", price) for n, price in enumerate((0.29, 0.31, 0.34)))
    passed_over = ((offer("18009", 0.11), "reliability 91 %, wanted 95 %"),)
    vultr = (offer("vcg-a40@ewr", 1.67, provider="vultr", gpu="L40S"),)
    operations.market = [local, Market("vast", vast, passed_over), Market("vultr", vultr)]
    operations.checks = (Check(Level.WARNING, "no W&B key: metrics stay offline and are synced later"),)
    operations.rows = [
        instance(None, instance="18290", label="ups-me-o-1", kind=InstanceKind.ORPHAN, usd=2.86,
                 created=NOW - 33_240, last_sign=NOW - 32_400),
        instance(RUNNING, instance="18342", label="ups-me-7f3a-1"),
        instance("1124-91c0", instance="a100-3", provider="vultr", label="ups-me-91c0-1",
                 what="A100 20 G", state=InstanceState.STARTING, usd_per_hour=1.2, usd=0.02,
                 created=NOW - 60, last_sign=None),
        instance(None, instance="17702", label="theirs", kind=InstanceKind.FOREIGN, what="H100",
                 usd_per_hour=1.9, usd=None, created=NOW - 7_260, deadline=None, last_sign=None),
        instance(WORSE, instance="18111", label="ups-me-2c77-1", state=InstanceState.DESTROYED,
                 created=NOW - 100_000, usd=0.25),
    ]  # fmt: skip
    operations.volumes = [
        VolumeRow("vol-7", "vultr", "ups-c0ffee00-1-2", 100, 0.014, NOW - 9_000, None, ours=True)
    ]
    operations.problems = [ProviderProblem("vultr", "502 from the API", "look at status.vultr.com")]
    for path in home.root.rglob("*"):
        if path.name == "run.yaml":
            created = float(json.loads(_first_line(path.with_name("events.jsonl")))["t"])
            os.utime(path, (created, created))
    return operations


def _first_line(path: Path) -> str:
    with path.open() as file:
        return file.readline()


def _judged(directory: RunDirectory, rate: float, figure: float) -> None:
    """Give a run its own learning rate, a report and the verdict of the gates."""
    spec = directory.read_spec()
    config = patched(load_train_config(CONFIGS / "local_2task.yaml"), {"stages.operator.optimizer.lr": rate})
    directory.spec_path.write_text(render_spec(spec.model_copy(update={"config": config})))
    report = figures_of(config, figure, darcy2d=2 * figure)
    curve = [Point(epoch, 0.5 / epoch) for epoch in range(1, 4)]
    report["gates"] = decide(report, config, dict.fromkeys(config.data.task, curve)).to_json()
    directory.report_path.write_text(json.dumps({"run": spec.run, **report}))


def _going_on(directory: RunDirectory) -> None:
    """A GPU at work, a warning and a progress bar in the log."""
    ticks = iter(NOW - 1_200 + 60 * n for n in range(30))
    with EventWriter(directory.events_path, clock=lambda: next(ticks)) as writer:
        for n in range(20):
            gpu = {
                "util": 90.0 + n % 7,
                "mem_used": 14.2e9,
                "mem_total": 24e9,
                "power": 300.0 + n,
                "temp": 61,
            }
            writer.write(EventType.SYSTEM, gpu=[gpu], cpu=50.0 + n, ram=35.0, disk_free=4e10,
                         net_recv=3e6 + 1e5 * n, net_sent=2e5)  # fmt: skip
    with directory.log_path.open("a") as log:
        log.write("14:01:58 WARNING darcy2d: validation plateau, 3 epochs\n")
        log.write("14:02:07 \x1b[32mcheckpoint\x1b[0m operator-2 (best) 58 MB → bucket\n")
        log.write("".join(f"\repoch 3 {n:3d} %" for n in range(0, 60, 5)) + "\n")


def _fill(bucket: Bucket) -> None:
    """Datasets and caches that are right, stale and unverified."""
    fingerprint = print_of(1)
    put_cache(bucket, {fingerprint: put_dataset(bucket)["train"]})
    put_dataset(bucket, "darcy2d")
    put_cache(bucket, {fingerprint: "another dataset"}, task="darcy2d")
    put(bucket, "full/burgers1d/burgers1d_train.h5", b"old")
    for path in bucket.root.rglob("*"):
        os.utime(path, (NOW - 86_400, NOW - 86_400))
