"""What a run is expected to cost, what the ledger says that it cost, and what the provider billed for it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console.api import Estimate, LaunchRequest
from console.fleet.ledger import Ledger
from console.fleet.lifecycle import RentTerms, destroy, renting
from console.fleet.model import InstanceState, Offer, OfferQuery
from console.fleet.money import usd_so_far
from console.fleet.pacing import Pacer
from console.fleet.providers.vast import VastProvider
from console.home import Home
from console.runs import configs
from console.runs.estimate import Place, estimate
from console.runs.jobs import TrainingJob
from console.runs.launch import write_text
from console.runs.lives import Settings, lives
from console.runs.registry import Registry
from console.settings import read_settings
from tests.simulators.vast import ACCOUNT_KEY, VastSimulator, World
from ups.events import EventType, EventWriter, PhaseState
from ups.rundir import RunSpec, config_sha256, render_spec

pytestmark = pytest.mark.needs_module("vastai")

NAME = "train_pdebench_2task_baseline"
PHASES = {
    "hydrate": 80.0,
    "precompute": 300.0,
    "smoke": 60.0,
    "train": 1500.0,
    "evaluate": 90.0,
    "publish": 12.0,
}
BEFORE_S = 45.0
"""From a box that answers to its run: the runtime."""
JITTER = 0.05
QUERY = OfferQuery(gpus=("RTX_4090",), disk_gb=64.0)


class Clock:
    """The simulator's; the laptop and the box read it too."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Past:
    """Runs that were rented, trained and were torn down, in seconds of the simulator's clock."""

    def __init__(self, root: Path, simulator: VastSimulator, clock: Clock) -> None:
        self.home = Home(root)
        self.simulator = simulator
        self.clock = clock
        self.ledger = Ledger(root / "ledger.db", clock=clock)
        self.registry = Registry(root / "runs")
        self.locks = root / "locks"
        pacer = Pacer({}, clock=clock, sleep=clock.sleep)

        def unreached(row: object) -> object:
            raise AssertionError("nobody opens it here")

        self.provider = VastProvider(ACCOUNT_KEY, simulator.url, open_transport=unreached, pacer=pacer)  # type: ignore[arg-type]
        self.random = random.Random(7)
        self.job = TrainingJob(LaunchRequest(Path(NAME), precompute=True))

    @property
    def settings(self) -> Settings:
        return self.job.likeness(read_settings(self.home, environment={}))

    def offer(self) -> Offer:
        return self.provider.offers(QUERY)[0]

    def took(self, seconds: float) -> None:
        self.clock.sleep(seconds * self.random.uniform(1 - JITTER, 1 + JITTER))

    def live(self, *, epochs: int = 40, cached: bool = False) -> tuple[float, float, float]:
        """One run; returns seconds, the ledger's dollars and the bill's."""
        began, offer = self.clock(), self.offer()
        handle = self.registry.new()
        local = handle.attempt(1)
        overrides = () if epochs == 40 else (f"stages.operator.epochs={epochs}",)
        config = configs.load(Path(NAME), overrides=overrides)[1]
        spec = RunSpec(
            run=handle.run, name=NAME, created=began, config=config, tasks=config.data.task,
            stages=config.stages.names, seed=0, store="s3://b", datasets={}, code_version="0",
            config_sha256=config_sha256(config), precompute=True,
        )  # fmt: skip
        write_text(local.spec_path, render_spec(spec))
        terms = RentTerms(handle.run, 1, began + 8 * 3600, cap_usd=0.0, keep=False)
        with renting(
            self.ledger, self.provider, offer, terms, self.locks, sleep=self.clock.sleep
        ) as entry:  # fmt: skip
            self.took(110.0)
            self.ledger.move(entry.label, InstanceState.REACHABLE, "transport open")
            self.took(BEFORE_S)
            self.ledger.move(entry.label, InstanceState.RUNNING, "run started")
            self.took(6.0)
            with EventWriter(local.events_path, clock=self.clock) as events:
                events.write(EventType.RUN, name=NAME)
                for phase, seconds in PHASES.items():
                    if phase == "precompute" and cached:
                        events.write(EventType.PHASE, phase=phase, state=PhaseState.SKIPPED)
                        continue
                    events.write(EventType.PHASE, phase=phase, state=PhaseState.STARTED)
                    self.took(seconds * (epochs / 40 if phase == "train" else 1.0))
                    events.write(EventType.PHASE, phase=phase, state=PhaseState.FINISHED)
                events.write(EventType.DONE, status="succeeded", exit_code=0)
            self.took(4.0)
            for _ in destroy(
                self.ledger, self.provider, entry, cause="run succeeded", sleep=self.clock.sleep
            ):
                pass
        entry = self.ledger.entry(entry.label)
        return (
            self.clock() - began,
            usd_so_far(entry, self.clock()),
            self.simulator.world.billed(entry.label),
        )

    def expected(self, settings: Settings | None = None, **place: object) -> Estimate:
        offer = self.offer()
        where = replace(Place("vast", offer.what, smoke=True), **place)  # type: ignore[arg-type]
        return estimate(settings or self.settings, where, lives(self.registry, self.ledger))

    def usd(self, found: Estimate) -> float:
        return found.seconds / 3600 * self.offer().usd_per_hour


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    clock = Clock()
    world = World(clock=clock, provision_s=15.0, load_s=70.0)
    with VastSimulator(world) as simulator:
        yield Past(tmp_path, simulator, clock)


def test_expected_ledger_and_bill_agree_after_one_earlier_run_and_after_two(past: Past) -> None:
    past.live()
    for _ in range(2):
        found = past.expected()
        assert found.measured
        expected = past.usd(found)
        seconds, ledger, billed = past.live(cached=True)
        assert found.low_seconds <= seconds <= found.high_seconds
        assert expected == pytest.approx(billed, rel=0.1)
        assert ledger == pytest.approx(billed, rel=0.1)
        assert expected == pytest.approx(ledger, rel=0.1)


def test_everything_that_is_paid_for_is_in_it(past: Past) -> None:
    past.live()
    names = [part.name for part in past.expected().parts]
    # what the first run has cached is not cached again
    assert names == ["start", "hydrate", "smoke", "train", "evaluate", "publish", "between", "teardown"]
    assert "precompute" in [part.name for part in past.expected(replace(past.settings, anew=True)).parts]
    assert all("the last run" in part.basis for part in past.expected().parts)


def test_before_any_run_it_is_a_guess_and_says_so(past: Past) -> None:
    found = past.expected()
    assert (found.measured, found.seen, found.is_whole) == (False, False, True)
    start, work, teardown = found.parts
    assert [part.name for part in (start, work, teardown)] == ["start", "work", "teardown"]
    assert work.seconds == 40 * 60  # the plan's minutes
    assert all(part.basis.startswith("a guess") for part in found.parts)
    assert found.low_seconds < found.seconds / 2 < found.high_seconds / 4
    unplanned = past.expected(replace(past.settings, name="mine", config_sha256="0", minutes=None))
    assert (unplanned.seen, unplanned.is_whole) == (False, False)


def test_another_machine_or_other_settings_make_it_a_guess_with_a_wider_range(past: Past) -> None:
    past.live()
    same = past.expected()
    elsewhere = past.expected(what="H100 SXM ×1")
    assert not elsewhere.measured
    assert "RTX 4090 ×1" in next(part.basis for part in elsewhere.parts if part.name == "train")
    assert elsewhere.high_seconds > 2 * same.high_seconds
    longer = past.expected(replace(past.settings, config_sha256="0", epochs=2 * past.settings.epochs))
    assert not longer.measured
    train = {part.name: part.seconds for part in longer.parts}["train"]
    assert train == pytest.approx(2 * {part.name: part.seconds for part in same.parts}["train"])


def test_runs_that_failed_or_were_held_say_nothing(past: Past) -> None:
    past.live()
    (handle,) = past.registry.all()
    (entry,) = past.ledger.of_run(handle.run)
    assert len(list(lives(past.registry, past.ledger))) == 1
    with EventWriter(handle.latest.events_path, clock=past.clock) as events:
        events.write(EventType.DONE, status="failed", exit_code=7)
    assert list(lives(past.registry, past.ledger)) == []
    assert entry.ended is not None
