"""Recorded runs in a temporary home, and what a person would see of them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.app import App
from textual.pilot import Pilot

from console.api import (
    Check,
    FleetState,
    FollowBatch,
    InstanceRow,
    Launched,
    LaunchRequest,
    Level,
    Market,
    Money,
    Preflight,
    ProviderProblem,
    RunRow,
    RunStatus,
    TeardownStep,
    Transition,
    VolumeRow,
)
from console.fleet.model import ANY_MACHINE, InstanceKind, InstanceState, Offer, OfferQuery
from console.home import Home
from console.operations import Operations
from tests.patience import PATIENCE_S
from ups.config import load_train_config
from ups.events import EventReader, EventType, EventWriter
from ups.rundir import RunDirectory, RunSpec, render_spec

CONFIG = Path(__file__).parents[3] / "configs" / "local_2task.yaml"
TASKS = ("advection1d", "darcy2d")
PERSISTENCE = {"advection1d": 0.12, "darcy2d": 1.0}


def cells(app: App[Any]) -> list[str]:
    """The characters on the terminal, line by line."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def seen(app: App[Any]) -> str:
    """All that is on the terminal."""
    return "\n".join(cells(app))


async def until(pilot: Pilot[Any], condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait for something to become true; fail with the screen where it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it never happened; on the screen was:\n" + seen(pilot.app))
        await pilot.pause(0.02)


async def until_seen(pilot: Pilot[Any], *texts: str) -> str:
    """Wait until these texts are on the screen; returns it."""
    await until(pilot, lambda: all(text in seen(pilot.app) for text in texts))
    return seen(pilot.app)


def write_rollout(path: Path, task: str, step: int) -> float:
    """A small rollout file; returns its nRMSE."""
    if task == "darcy2d":
        y, x = np.mgrid[0:16, 0:16] / 16
        true = np.sin(3 * x + y)[None, ..., None]
    else:
        x = np.arange(32) / 32
        true = np.stack([np.sin(2 * np.pi * (x - 0.1 * t)) for t in range(5)])[..., None]
    pred = true * 0.9
    meta = {"task": task, "sample": 3, "step": step, "fields": ["u"], "static": task == "darcy2d", "dt": 0.05}
    times = np.arange(1, len(true) + 1) * 0.05
    np.savez(path, pred=pred.astype("f2"), true=true.astype("f2"), times=times, meta=json.dumps(meta))
    return float(np.linalg.norm(pred - true) / np.linalg.norm(true))


def record_epoch(writer: EventWriter, root: Path, epoch: int, *, tasks: tuple[str, ...] = TASKS) -> None:
    """Events of one epoch of nine logged steps, with a rollout of each task at its end."""
    for step in range(epoch * 90 + 10, epoch * 90 + 100, 10):
        for task in tasks:
            loss = 0.5 * (1 + step / 30) ** -0.8
            writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=step, task=task, split="train",
                         values={"loss": loss, "lr": 1e-3, "grad_norm": 0.3, "share": 0.5})  # fmt: skip
        writer.write(EventType.PROGRESS, phase="train", task=None, done=step, total=360, unit="samples")
    for task in tasks:
        nrmse = 0.6 * (1 + step / 30) ** -0.8
        writer.write(EventType.METRIC, stage="operator", epoch=epoch, step=step, task=task, split="val",
                     values={"nrmse": nrmse, "persistence": PERSISTENCE[task]})  # fmt: skip
        path = f"rollouts/{task}-{step}.npz"
        (root / "rollouts").mkdir(exist_ok=True)
        error = write_rollout(root / path, task, step)
        writer.write(
            EventType.ROLLOUT, task=task, step=step, path=path, nrmse=error, persistence=PERSISTENCE[task]
        )
    writer.write(EventType.SYSTEM, gpu=[], cpu=62.0, ram=35.0, disk_free=40_000_000_000)


def record_run(
    home: Home,
    run: str,
    *,
    epochs: int = 3,
    done: str | None = None,
    age_s: float = 600.0,
    report: bool = False,
) -> RunDirectory:
    """A run as the mirror would hold it."""
    directory = RunDirectory(home.runs / run / "attempt-1")
    directory.root.mkdir(parents=True)
    config = load_train_config(CONFIG)
    created = time.time() - age_s
    spec = RunSpec(
        run=run, name="local_2task", created=created, config=config, tasks=TASKS, stages=("operator",),
        seed=0, store="dir:/nowhere", datasets={}, code_version="0.1.0", config_sha256="ab" * 32,
    )  # fmt: skip
    directory.spec_path.write_text(render_spec(spec))
    ticks = iter(created + 0.1 * n for n in range(10_000))
    with EventWriter(directory.events_path, clock=lambda: next(ticks)) as writer:
        writer.write(EventType.RUN, name="local_2task", tasks=list(TASKS), stages=["operator"], device="cpu",
                     world_size=1, code_version="0.1.0", config_sha256="ab" * 32)  # fmt: skip
        writer.write(EventType.PHASE, phase="hydrate", state="started", detail="")
        writer.write(EventType.PHASE, phase="hydrate", state="finished", detail="")
        writer.write(EventType.PHASE, phase="precompute", state="skipped", detail="")
        writer.write(EventType.PHASE, phase="train", state="started", detail="")
        for epoch in range(epochs):
            record_epoch(writer, directory.root, epoch)
        if done is not None:
            writer.write(EventType.PHASE, phase="train", state="finished", detail="")
            writer.write(EventType.DONE, status=done, exit_code=0, summary="")
    directory.log_path.write_text("".join(f"10:00:{n:02d} epoch {n} went well\n" for n in range(40)))
    if report:
        figures = {
            "one_step": 0.0183,
            "rollout": 0.0412,
            "persistence_one_step": 0.12,
            "persistence_rollout": 0.7,
        }
        tasks = {
            "advection1d": {**figures, "skill": True},
            "darcy2d": {**figures, "one_step": 1.2, "skill": False},
        }
        content = {"run": run, "splits": {"test": {"tasks": tasks, "aggregate": {}}}, "gates": {}}
        directory.report_path.write_text(json.dumps(content))
    return directory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("UPS_STORE", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "home")


def instance(run: str | None = "1124-aaaa", **changes: Any) -> InstanceRow:
    """An instance at work."""
    now = time.time()
    values: dict[str, Any] = {
        "instance": "vast-18342", "provider": "vast", "label": f"ups-me-{run}-9",
        "state": InstanceState.RUNNING,
        "kind": InstanceKind.OURS, "run": run, "what": "RTX 4090", "usd_per_hour": 0.29, "usd": 0.11,
        "created": now - 1320, "deadline": now + 7200, "last_sign": now,
    }  # fmt: skip
    return InstanceRow(**{**values, **changes})


def offer(identifier: str, price: float, *, provider: str = "", gpu: str = "RTX 4090") -> Offer:
    """Something that may be rented, or this machine where it costs nothing."""
    where = provider or ("vast" if price else "local")
    name, region = (gpu, "Poland, PL") if price else ("CPU", "here")
    return Offer(
        identifier, where, name, 1, 24.0 if price else 0.0, price, 16, 64.0, 100.0, 860.0, 0.997, region
    )


@dataclass
class FakeOperations(Operations):
    """Operations over a recorded run whose instance is imaginary: rented, followed and torn down."""

    home: Home
    rows: list[InstanceRow] = field(default_factory=list)
    torn_down: list[str] = field(default_factory=list)
    teardown_error: Exception | None = None
    money_shown: Money = field(default_factory=lambda: Money(0.29, 3.31, 25.0, 1, 0))
    ended: bool = False
    volumes: list[VolumeRow] = field(default_factory=list)
    problems: list[ProviderProblem] = field(default_factory=list)
    market: list[Market] = field(default_factory=lambda: [Market("local", (offer("this-machine", 0.0),))])
    queries: list[OfferQuery] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    launched: list[LaunchRequest] = field(default_factory=list)
    launch_goes_on: threading.Event = field(default_factory=threading.Event)
    launch_error: Exception | None = None
    abandoned: list[str] = field(default_factory=list)

    def runs(self) -> list[RunRow]:
        status = RunStatus.STOPPED if self.ended else RunStatus.RUNNING
        return [
            RunRow(h.run, status, "local_2task", TASKS, 1, 0.11, time.time() - 1320, None, {}, {}, "")
            for h in self.registry.all()
        ]

    def follow(self, run: str, *, log: bool = True) -> Iterator[FollowBatch]:
        directory = self.registry.find(run).latest
        reader = EventReader(directory.events_path)
        yield FollowBatch(RunStatus.RUNNING, reader.read(), log_grew=True)
        while not self.ended:
            yield FollowBatch(RunStatus.RUNNING, reader.read())
            time.sleep(0.02)

    def fleet_state(self, *, oldest_s: float = 0.0, volumes: bool = True) -> FleetState:
        return FleetState(tuple(self.rows), tuple(self.volumes), tuple(self.problems), time.time())

    def guards(self, label: str) -> list[str]:
        return ["its own watchdog"]

    def reconcile(self, **_: object) -> list[Transition]:
        return []

    def markets(self, query: OfferQuery = ANY_MACHINE) -> list[Market]:
        self.queries.append(query)
        return self.market

    def preflight(self, request: LaunchRequest) -> Preflight:
        offers = {offer.id: offer for market in self.market for offer in market.offers}
        price = offers[request.rent.offer_id or "this-machine"].usd_per_hour
        checks = (Check(Level.OK, "vast key accepted, $21.40 left"), *self.checks)
        return Preflight(checks, TASKS, price, 2400.0, price * 2 / 3, price * 2, 12.0)

    def launch(
        self, request: LaunchRequest, say: Callable[[str], None] = print, named: Callable[[str], None] = print
    ) -> Launched:
        self.launched.append(request)
        named("1124-aaaa")
        say("renting RTX 4090 of vast")
        while not self.launch_goes_on.wait(0.02):
            say("the provider says: loading")
        if self.launch_error is not None:
            raise self.launch_error
        say("installing the runtime")
        return Launched("1124-aaaa", "18342")

    def abandon_launch(self, run: str) -> None:
        self.abandoned.append(run)

    def money(self) -> Money:
        return self.money_shown

    def transitions(self, label: str) -> list[Transition]:
        states = (None, InstanceState.INTENDED, InstanceState.REQUESTED, InstanceState.STARTING)
        pairs = zip(states, (*states[1:], InstanceState.RUNNING), strict=True)
        return [
            Transition(1e9, label, before, after or InstanceState.LOST, "asked") for before, after in pairs
        ]

    def teardown(self, instance: str) -> Iterator[TeardownStep]:
        self.torn_down.append(instance)
        yield TeardownStep("sync", "synced 58 MB")
        yield TeardownStep("destroy", "destroy sent")
        if self.teardown_error is not None:
            raise self.teardown_error
        self.ended = True
        yield TeardownStep("destroyed", f"{instance} is gone: seen twice", done=True)
