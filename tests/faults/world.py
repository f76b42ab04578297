"""A world in which everything goes wrong that may: a provider's instances, its faults, and time.

Time passes only where somebody sleeps. A console (`Console`) is a process with its own handle on the
ledger; its `Mortality` kills it at the n-th ledger write or provider call, before or after the effect.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from console.errors import LostAnswerError, OfferGoneError, ProviderError
from console.fleet import lifecycle
from console.fleet.ledger import Entry, Ledger
from console.fleet.lifecycle import RentTerms, renting
from console.fleet.locks import FileLock, lock_path
from console.fleet.model import (
    InstanceSpec,
    InstanceState,
    Offer,
    OfferQuery,
    ProviderState,
    RemoteInstance,
    Volume,
)
from console.fleet.providers.base import Capabilities
from console.fleet.reconcile import Survey, survey
from console.fleet.watch import Watch
from console.runs.transport import Transport

START = 1_700_000_000.0
RUN_S = 300.0
LIFE_S = 1800.0
LAG_S = 80.0
"""The longest that a new instance is missing from lists and answers: less than `SETTLE_S`."""

CREATE_FAULTS = ("lost", "lost unsent", "late", "gone", "refused", "unlisted")
LIST_FAULTS = ("broken", "empty")
DESTROY_FAULTS = ("fails", "lies", "slow", "lingers")


class Killed(BaseException):
    """kill -9: nothing of the process runs any more."""


@dataclass(slots=True)
class Mortality:
    """When a process dies."""

    after: int | None = None
    """At the so-many-th point from now; None: never."""
    passed: int = 0
    dead: bool = False

    def point(self) -> None:
        self.passed += 1
        if self.dead or (self.after is not None and self.passed >= self.after):
            self.dead = True
            raise Killed


@dataclass(slots=True)
class Box:
    """An instance, as it really is."""

    id: str
    label: str
    born: float
    visible: float
    state: ProviderState = ProviderState.RUNNING
    gone: float | None = None
    """When it ended to exist, and to cost."""
    listed_until: float = 0.0
    goes_at: float | None = None

    def exists(self, now: float) -> bool:
        return self.gone is None or now < self.gone


@contextmanager
def memory_directory() -> Iterator[Path]:
    """A directory that no disk slows down, where there is such a thing."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(prefix="ups-faults-", dir=shared if shared.is_dir() else None) as path:
        yield Path(path)


@dataclass(slots=True)
class World:
    """What exists, what goes wrong next, and what time it is."""

    ledger_path: Path
    now: float = START
    boxes: list[Box] = field(default_factory=list)
    creates: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(
        default_factory=lambda: {"create": [], "list": [], "get": [], "destroy": []}
    )
    run_ends: dict[str, float] = field(default_factory=dict)
    interruptions: list[Callable[[], object]] = field(default_factory=list)
    """Done by somebody else while the next call is under way."""
    violations: list[str] = field(default_factory=list)
    until: float = float("inf")
    _anchor: sqlite3.Connection | None = None
    """Stays open: a database that the last connection leaves is tidied up, which takes its time."""

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < self.until, "nobody has destroyed what has no purpose"
        for box in self.boxes:
            if box.goes_at is not None and self.now >= box.goes_at and box.gone is None:
                box.gone = box.goes_at

    def fault(self, call: str) -> str:
        if self.interruptions:
            self.interruptions.pop(0)()
        return self.faults[call].pop(0) if self.faults[call] else ""

    def alive(self) -> list[Box]:
        return [box for box in self.boxes if box.exists(self.now)]

    def run_is_over(self, entry: Entry) -> bool:
        assert entry.run is not None
        box = next((box for box in self.boxes if box.id == entry.provider_id), None)
        works = box is not None and box.state is ProviderState.RUNNING and box.exists(self.now)
        return not works or self.now >= self.run_ends.get(entry.run, float("inf"))

    def rows(self) -> dict[str, tuple[str, str | None]]:
        """Label → (state, id) as anybody may read it in the ledger's file."""
        if self._anchor is None:
            self._anchor = sqlite3.connect(self.ledger_path)
        return {label: (state, found) for label, state, found in
                self._anchor.execute("SELECT label, state, provider_id FROM instances")}  # fmt: skip

    def close(self) -> None:
        if self._anchor is not None:
            self._anchor.close()

    def check(self) -> None:
        """What must hold at every moment."""
        rows = self.rows()
        for box in self.alive():
            if box.label not in rows:
                self.violations.append(f"{box.id} is alive, and the ledger does not know it")
            elif rows[box.label] in (("destroyed", box.id), ("destroyed", None)):
                self.violations.append(f"{box.id} is alive, and the ledger says that it is destroyed")
            elif rows[box.label][0] == "abandoned":
                self.violations.append(f"{box.id} is alive, and the ledger says that it was never sent")
        if len(set(self.creates)) != len(self.creates):
            self.violations.append("one intent was sent twice")


class MortalLedger(Ledger):
    """Dies before or after a write, and looks at the world after each."""

    def __init__(self, world: World, mortality: Mortality) -> None:
        self._mortality = Mortality()  # opening is no transition
        self._world = world
        super().__init__(world.ledger_path, clock=world.clock)
        self._mortality = mortality

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with super()._connect() as connection:
            connection.execute("PRAGMA synchronous = OFF")  # no power fails here
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._mortality.point()
        with super()._transaction() as connection:
            yield connection
        self._world.check()
        self._mortality.point()


class WorldProvider:
    """The provider as one console sees it."""

    name = "world"
    capabilities = Capabilities(spot=True)

    def __init__(self, world: World, mortality: Mortality) -> None:
        self._world = world
        self._mortality = mortality

    def offers(self, query: OfferQuery) -> list[Offer]:
        return [OFFER]

    def create(self, spec: InstanceSpec) -> str:
        self._mortality.point()
        world = self._world
        fault = world.fault("create")
        world.creates.append(spec.label)
        if world.rows().get(spec.label, ("", None))[0] not in ("requested", "stopping"):
            world.violations.append(f"{spec.label} is rented, and the ledger has no intent of it")
        if fault == "gone":
            raise OfferGoneError("no such ask")
        if fault == "refused":
            raise ProviderError("429 too many requests")
        if fault == "lost unsent":
            raise LostAnswerError("timed out")
        lag = LAG_S if fault in ("late", "unlisted") else 0.0
        box = Box(f"b{len(world.boxes)}", spec.label, world.now, world.now + lag)
        world.boxes.append(box)
        self._mortality.point()
        if fault in ("lost", "late"):
            raise LostAnswerError("the answer was cut")
        return box.id

    def _visible(self, box: Box) -> bool:
        now = self._world.now
        return box.visible <= now and (box.exists(now) or now < box.listed_until)

    def list(self) -> list[RemoteInstance]:
        self._mortality.point()
        fault = self._world.fault("list")
        if fault == "broken":
            raise ProviderError("the list came without its end")
        rows = [self._row(box) for box in self._world.boxes if self._visible(box)]
        self._mortality.point()
        return [] if fault == "empty" else rows

    def _row(self, box: Box) -> RemoteInstance:
        return RemoteInstance(box.id, self.name, box.label, box.state, 0.30, "RTX 4090", box.born)

    def get(self, instance: str) -> RemoteInstance | None:
        self._mortality.point()
        if self._world.fault("get"):
            raise ProviderError("502 bad gateway")
        found = next((box for box in self._world.boxes if box.id == instance), None)
        return self._row(found) if found is not None and self._visible(found) else None

    def destroy(self, instance: str) -> None:
        self._mortality.point()
        world = self._world
        fault = world.fault("destroy")
        if fault == "fails":
            raise ProviderError("500 the server is locked")
        for box in world.boxes:
            if box.id == instance and box.gone is None and fault != "lies":
                if fault == "slow":
                    box.goes_at = world.now + 45.0
                else:
                    box.gone = world.now
                    box.listed_until = world.now + (30.0 if fault == "lingers" else 0.0)
        self._mortality.point()

    def transport(self, instance: str) -> Transport:
        raise ProviderError(f"{instance} cannot be reached")

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        return []

    def attach_key(self, public_key: str) -> None:
        raise AssertionError("not here")

    def balance(self) -> float | None:
        return None

    def volumes(self) -> Sequence[Volume]:
        return []


OFFER = Offer("1", "world", "RTX 4090", 1, 24.0, 0.30, 16, 64.0, 100.0, 860.0, 0.997, "PL", machine="m1")


class Console:
    """One process on the laptop."""

    def __init__(self, world: World, mortality: Mortality | None = None) -> None:
        self.world = world
        self.mortality = mortality or Mortality()
        self.ledger = MortalLedger(world, self.mortality)
        self.provider = WorldProvider(world, self.mortality)
        self.locks = world.ledger_path.parent / "locks"
        self.said: list[str] = []

    def launch(self, run: str) -> Entry:
        """Rent, wait for the box, start the run."""
        terms = RentTerms(run, 1, self.world.now + LIFE_S, cap_usd=0.0, keep=False, grace_s=0.0)
        with renting(
            self.ledger, self.provider, OFFER, terms, self.locks, sleep=self.world.sleep
        ) as entry:  # fmt: skip
            self.world.sleep(20.0)
            self.ledger.move(entry.label, InstanceState.REACHABLE, "transport open")
            self.world.run_ends[run] = self.world.now + RUN_S
            return self.ledger.move(entry.label, InstanceState.RUNNING, "run started")

    def teardown(self, entry: Entry) -> None:
        with FileLock(lock_path(self.locks, entry.label)):
            entry = self.ledger.entry(entry.label)
            for _ in lifecycle.destroy(
                self.ledger, self.provider, entry, cause="teardown", sleep=self.world.sleep
            ):  # fmt: skip
                pass

    def survey(self) -> Survey:
        return survey(self.ledger, [self.provider], self.locks)

    @property
    def guard(self) -> Watch:
        return Watch(
            ledger=self.ledger, providers=lambda: [self.provider], locks=self.locks,
            run_over=self.world.run_is_over, save=lambda _: None, cap_day_usd=None, say=self.said.append,
            sleep=self.world.sleep, workers=1,
        )  # fmt: skip

    def watch(self) -> None:
        """Be the guard until nothing lives."""
        self.guard.run(FileLock(self.locks / "watch.lock"))
