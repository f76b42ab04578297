"""A laptop that rents from a whole cloud on loopback, and what must hold whatever goes wrong there."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from console.fleet.ledger import Entry, Ledger
from console.fleet.processes import marked
from tests.laptop import Event, Laptop
from tests.patience import PATIENCE_S
from tests.simulators.box import RentedBox
from tests.simulators.cloud import Cloud
from tests.simulators.vast import Instance

MEASURED = "FAULT_MATRIX"
"""Names a file that gets a JSON line for each case, for the table of docs/faults.md."""
PACE = "0.02"
CONFIG = """
seed: 3
data: {task: advection1d}
latent: {dim: 32, tokens: 16}
operator:
  pdet: {input_dim: 32, hidden_dim: 16, depth: 1, num_heads: 2}
  patch: {advection1d: 64}
training: {batch_size: 4, samples_per_epoch: 16, grad_clip: 1.0, log_every: 2, refinement: {channels: 4}}
stages: {operator: {epochs: 3, optimizer: {lr: 3.0e-3}}}
evaluation: {rollout_steps: 2, validation_samples: 2}
"""


class Rented(Laptop):
    """A laptop with an account at Vast.ai, and a bucket that has the data."""

    def __init__(self, root: Path, store: Path, cloud: Cloud) -> None:
        super().__init__(root, store)
        self.cloud = cloud
        self.vast = cloud.vast
        self.config.write_text(CONFIG)
        self.environment.pop("UPS_STORE")
        self.environment |= {**cloud.environment, "UPS_FLEET_PACE": PACE}
        self.environment.pop("VULTR_API_KEY")
        self._fill(store)

    def _fill(self, source: Path) -> None:
        from ups.store import open_store

        bucket = open_store(f"s3://{self.environment['B2_BUCKET']}", self.environment)
        origin = open_store(f"dir:{source}")
        for info in sorted(origin.list("pdebench/"), key=lambda info: info.key.endswith("manifest.json")):
            path = origin.local_path(info.key)
            assert path is not None
            bucket.upload(path, info.key)

    # --- what it does -------------------------------------------------------------------------

    def begin(self, *options: str, epochs: int = 3) -> "subprocess.Popen[str]":
        """`launch` in a process of its own."""
        return self.start(*self.launching(epochs), *options)

    def launching(self, epochs: int = 3) -> list[str]:
        override = f"stages.operator.epochs={epochs}"
        return ["launch", str(self.config), "--provider", "vast", "--budget", "5", "--no-smoke",
                "--set", override]  # fmt: skip

    def until(self, is_so: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
            time.sleep(0.02)

    def kill_guard(self) -> None:
        """Kill the detached `watch`."""
        self.until(lambda: self.guards(), "a guard watches")
        for guard in self.guards():
            guard.kill()
        self.until(lambda: not self.guards(), "the guard is dead")

    # --- what is so ---------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home / "ledger.db")

    def entries(self) -> list[Entry]:
        return self.ledger.entries() if (self.home / "ledger.db").exists() else []

    def rows(self) -> list[Instance]:
        """Everything that was ever rented."""
        world = self.vast.world
        return [*world.instances.values(), *world.gone.values()]

    def only(self) -> Instance:
        (row,) = self.vast.alive()
        return row

    def machine(self, row: Instance) -> RentedBox:
        found = self.cloud.boxes.find(str(row.id))
        assert found is not None
        return found

    def on_box(self, row: Instance) -> Path:
        """The box's directory."""
        return self.cloud.boxes.workdir() / str(row.label)

    def run_on_box(self, row: Instance) -> list[Event]:
        """The events that the box has written so far."""
        return [
            event for path in self.on_box(row).glob("runs/*/attempt-*/events.jsonl") for event in _whole(path)
        ]

    def guards(self) -> list[psutil.Process]:
        return [process for process in self._own_processes() if "watch" in _words(process)]

    def _own_processes(self) -> list[psutil.Process]:
        return [process for process in marked("UPS_HOME", str(self.home)) if process.status() != "zombie"]

    def mirrored(self) -> list[list[Event]]:
        """The mirrored events, attempt by attempt."""
        return [_whole(path) for path in sorted(self.home.glob("runs/*/attempt-*/events.jsonl"))]

    def seen(self) -> list[Event]:
        """The mirrored events of all attempts."""
        return [event for attempt in self.mirrored() for event in attempt]

    # --- what must hold -----------------------------------------------------------------------

    def unknown(self) -> list[str]:
        """What lives and is in no ledger."""
        known = {entry.label for entry in self.entries() if entry.living}
        return [str(row.label) for row in self.vast.alive() if row.label not in known]

    def doubles(self) -> int:
        """Creates beyond one for each intent, as the provider counts them."""
        asked = Counter(json.loads(request.body)["label"] for request in self.vast.sent("create"))
        made = Counter(row.label for row in self.rows())
        return sum(count - 1 for count in [*asked.values(), *made.values()] if count > 1)

    def lost_events(self) -> int:
        """Events that are missing from the mirrors, or are there twice."""
        wrong = 0
        for events in self.mirrored():
            seen = [event["seq"] for event in events]
            wrong += len(set(range(max(seen, default=-1) + 1)) ^ set(seen)) + len(seen) - len(set(seen))
        return wrong

    def assert_sound(self) -> None:
        assert self.unknown() == []
        assert self.doubles() == 0
        assert self.lost_events() == 0

    def assert_over(
        self, case: str, *, purpose_ended: float | None = None, unknown: int = 0, late_s: float = 0.0
    ) -> None:
        """After recovery: nothing lives, nothing was rented twice, nothing was lost, nothing is left."""
        self.assert_sound()
        assert self.vast.alive() == []
        assert [entry.label for entry in self.entries() if entry.living] == []
        late = late_s
        if purpose_ended is not None:
            late = max([0.0, *(row.leaves - purpose_ended for row in self.rows() if row.leaves is not None)])
        self._measure(case, unknown, late)
        for row in self.rows():
            self.until(lambda row=row: not marked("UPS_INSTANCE", str(row.label)), "the box is quiet", 15)
        self.until(lambda: not self.guards(), "the guard leaves", 20)

    def _measure(self, case: str, unknown: int, late_s: float) -> None:
        if path := os.environ.get(MEASURED):
            line = {
                "case": case, "unknown": unknown, "doubles": self.doubles(), "late_s": round(late_s, 1),
                "events": sum(map(len, self.mirrored())), "lost": self.lost_events(),
            }  # fmt: skip
            with Path(path).open("a") as file:
                file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Leave nothing, whatever the test left."""
        self.vast.faults.off()
        self.vast.world.destroy_lies = False
        for row in self.vast.alive():
            self.vast.world.destroy(row.id)
        for process in self._own_processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)


def _whole(path: Path) -> list[Event]:
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextlib.contextmanager
def renting(root: Path, store: Path) -> Iterator[Rented]:
    """Needs `root` to itself."""
    shutil.rmtree(root / "cloud", ignore_errors=True)
    with Cloud(root / "cloud") as cloud:
        laptop = Rented(root, store, cloud)
        try:
            yield laptop
        finally:
            laptop.close()
