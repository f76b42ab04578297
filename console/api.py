"""The typed requests and answers of `console.operations`: plain values, nothing that acts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from console.fleet.model import ANY_MACHINE, InstanceKind, InstanceState, Offer, OfferQuery
from console.follow_api import FollowBatch as FollowBatch
from console.follow_api import RunStatus as RunStatus
from console.follow_api import Transition as Transition

DEFAULT_MAX_HOURS = 12.0
"""Deadline of a launch that names none."""

COMMAND_LINE = "command line"
"""Origin of what the user has typed."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""
KILOBYTES = ", kB"
"""Ends what is being done where the units are kilobytes: counts of bytes are too long to read."""


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A config that can be launched."""

    path: Path
    name: str
    tasks: tuple[str, ...]
    stages: tuple[str, ...]
    error: str | None
    """Why it cannot be loaded or is not supported; None where it can be launched."""
    seconds: float | None
    """Median duration of earlier runs of it here, if any."""


@dataclass(frozen=True, slots=True)
class SplitInfo:
    bytes: int
    samples: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AreaUsage:
    """How much of the store something takes."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A task's dataset as the store has it."""

    task: str
    state: str
    """verified, unverified, writing, damaged, incomplete, newer or missing."""
    splits: dict[str, SplitInfo]
    parameters: dict[str, list[float]]
    provenance: tuple[str, ...]
    note: str
    can_make: bool
    """A built-in reference solver exists."""
    used_by: int
    """Runs that were trained on these very files."""
    runs: tuple[str, ...] = ()
    """Their ids, the newest first."""
    bytes: int = 0
    resolution: tuple[int, ...] = ()
    """Cells along each axis, or points of the largest sample; empty where nothing says."""
    modified: float | None = None
    """Unix seconds of its youngest file."""
    usd_per_month: float | None = None
    """Rent in a bucket; None where the store costs nothing."""


@dataclass(frozen=True, slots=True)
class CacheRow:
    """A latent cache version of one task and split."""

    version: str
    task: str
    split: str
    state: str
    """verified, stale, incomplete, damaged, legacy or newer."""
    bytes: int
    samples: int
    note: str
    fingerprint: str = ""
    dtype: str = ""
    resolution: tuple[int, ...] = ()
    """Cells along each axis of its fields."""
    modified: float | None = None
    """Unix seconds of its youngest file."""
    usd_per_month: float | None = None
    """Rent in a bucket; None where the store costs nothing."""
    runs: tuple[str, ...] = ()
    """Runs that were trained from it, the newest first."""
    saves_seconds: float | None = None
    """By which a run starts earlier with it; None where it cannot be used."""
    saves_usd: float | None = None
    """Of an instance, for that time."""
    build_usd: float | None = None
    """What making it took."""
    runs_to_pay: int | None = None
    """After how many runs it has paid; None: never."""
    has_paid: bool = False


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What the store holds in all, and what that costs."""

    url: str
    areas: dict[str, AreaUsage]
    """datasets, caches, runs, runtimes and other, which is not ours."""
    bytes: int
    usd_per_month: float | None
    """None where the store costs nothing."""
    free_egress_bytes: float | None
    """May be downloaded each month for nothing."""
    usd_per_gb_egress: float | None
    """Beyond that."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that one sweep over the store told."""

    datasets: list[DatasetRow]
    """All tasks, the missing ones included."""
    caches: list[CacheRow]
    usage: StoreUsage


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a fetch brought to this machine."""

    folder: str
    fetched: tuple[str, ...]
    kept: tuple[str, ...]
    """Were there already, with the right hash."""


@dataclass(frozen=True, slots=True)
class CacheVerdict:
    """What verifying a cache found."""

    version: str
    task: str
    split: str
    fingerprint: str
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class GarbageRow:
    """An object that nothing refers to."""

    key: str
    bytes: int
    why: str
    modified: float


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that is not the config's or the default, and what gave it."""

    name: str
    """As it is given on the command line, or the variable's name."""
    value: str
    """Empty of a switch."""
    origin: str
    """The command line, or a variable and where that was found."""

    def __str__(self) -> str:
        return f"{self.name} {self.value}".rstrip() + f"  from {self.origin}"


@dataclass(frozen=True, slots=True)
class RentOptions:
    """Where something shall run, how long, and what it may cost."""

    provider: str = "local"
    query: OfferQuery = ANY_MACHINE
    """What the machine must have; the local provider takes no notice."""
    offer_id: str | None = None
    """This very offer; None: the cheapest that can do the job."""
    instance: str | None = None
    """Run on this kept instance instead of a new one."""
    keep: bool = False
    """Do not tear the instance down when the run ends."""
    hold_on_failure_s: float = 0.0
    """A run that failed leaves its box alone for so long, for a look."""
    max_hours: float = DEFAULT_MAX_HOURS
    """Deadline: after so many hours the instance ends, whatever runs."""
    budget_usd: float | None = None
    """Cap of this run."""
    smoke: bool = True
    """A rented box tries one step of everything before it trains."""
    image: str = ""
    """Docker image, or the provider's id of an operating system; empty: the provider's default."""
    volume_gb: float | None = None
    """Make and attach a block volume of this size, where the provider has them."""
    keep_volume: bool = False
    """The volume outlives the instance, and goes on costing."""
    instances: int = 1
    """So many of one kind work on the run together."""
    retries: int = 3
    """So often the run goes on by itself, on another machine, where its own was lost."""


@dataclass(frozen=True, slots=True)
class Market:
    """What one provider would rent, or why it could not be asked."""

    provider: str
    offers: tuple[Offer, ...]
    """Those that will do, the best first."""
    passed_over: tuple[tuple[Offer, str], ...] = ()
    """The others, each with the reason."""
    problem: str = ""
    """Why there is none: the provider did not answer, or every offer was passed over."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What the user asks to be run, and where."""

    config: Path
    tasks: tuple[str, ...] = ()
    """Overrides the config's tasks; empty: as configured."""
    stage: str | None = None
    """Only this stage."""
    overrides: tuple[str, ...] = ()
    """`key.path=value`."""
    patch: Mapping[str, Any] = field(default_factory=dict)
    """Dotted key → parsed value, written over the config and the overrides."""
    threads: int | None = None
    """Of the run here; None: one for each core. A rented box has its own."""
    rent: RentOptions = RentOptions()
    precompute: bool | None = None
    """Train from a latent cache, which is built where the store lacks it; None: the environment decides."""
    cache_version: str | None = None
    """Of that cache; naming one asks for it. None: the version that is named after the config's shape."""
    cache_dtype: Literal["float16", "float32"] = "float16"
    reset_cache: bool | None = None
    """Build that cache anew though the store has it; None: the environment decides."""
    eval_config: Path | None = None
    """Evaluation config by which the run judges its validation split."""
    eval_test_config: Path | None = None
    """The same of its test split."""
    dataset_key: str | None = None
    """What may be fetched where the store lacks a task; None: the environment decides."""
    note: str = ""
    given: tuple[Given, ...] = ()
    """Where its settings came from."""


@dataclass(frozen=True, slots=True)
class PreprocessRequest:
    """Which published files the user wants as datasets, and which part of them."""

    tasks: tuple[str, ...]
    limit: int | None = None
    """The first so many files of each task."""
    samples: int | None = None
    """The first so many of each file."""
    resolution: int | None = None
    """Cells along an axis."""
    stride: int = 1
    """Every so many-th frame."""
    base: str | None = None
    """A directory that holds the files, or a URL; None: DaRUS."""
    table: Path | None = None
    """Of other published files than PDEBench's."""
    whole: bool | None = None
    """Download files rather than read parts of them; None: unless only some samples are wanted."""
    work: Path | None = None
    """Where to download to; None: below the home."""
    replace: bool = False
    cache_dim: int | None = None
    """With `cache_tokens`: build a latent cache of these sizes."""
    cache_tokens: int | None = None
    cache_dtype: Literal["float16", "float32"] = "float16"
    splits: tuple[str, ...] = ()
    """Whose latents are cached; empty: all."""
    num_workers: int | None = None
    """Processes; None: one for each core."""
    rent: RentOptions = RentOptions()
    """Where it is done."""
    note: str = ""
    given: tuple[Given, ...] = ()
    """Where its settings came from."""


RunRequest = LaunchRequest | PreprocessRequest
"""What becomes a run."""


class Level(StrEnum):
    """Weight of a preflight check."""

    OK = "ok"
    WARNING = "warning"
    DANGER = "danger"
    """It may be done, and the user should know what it can cost."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the preflight."""

    level: Level
    text: str
    hint: str = ""
    code: str = ""
    """Error code of a failed check (`config`, `not_found`, `store` …)."""


@dataclass(frozen=True, slots=True)
class EstimatePart:
    """One thing that takes time: the start, a phase, the teardown."""

    name: str
    seconds: float
    low_seconds: float
    high_seconds: float
    basis: str
    """What it rests on; a guess says that it is one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long an instance is going to be paid for."""

    parts: tuple[EstimatePart, ...] = ()
    """In their order."""
    measured: bool = False
    """Runs of the very same, on such a machine, were seen from here; else it is a guess."""
    seen: bool = False
    """Runs of that config were seen at all."""
    is_whole: bool = False
    """It says something of the work itself, not only of what comes before and after."""

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def low_seconds(self) -> float:
        return sum(part.low_seconds for part in self.parts)

    @property
    def high_seconds(self) -> float:
        return sum(part.high_seconds for part in self.parts)


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known before paying."""

    checks: tuple[Check, ...]
    tasks: tuple[str, ...]
    usd_per_hour: float
    expected_seconds: float | None
    expected_usd: float | None
    cap_usd: float
    deadline_hours: float
    given: tuple[Given, ...] = ()
    """Where the settings came from that are not the config's or defaults."""
    estimate: Estimate = Estimate()
    """What the expectation is made of, or a guess where there is none."""

    @property
    def usd_range(self) -> tuple[float, float]:
        """Dollars at least and at most; of a config that was never seen, what the deadline allows."""
        longest = self.deadline_hours * 3600
        high = min(self.estimate.high_seconds, longest) if self.estimate.is_whole else longest
        low = min(self.estimate.low_seconds, high)
        return low / 3600 * self.usd_per_hour, high / 3600 * self.usd_per_hour

    @property
    def ok(self) -> bool:
        return all(check.level is not Level.FAILED for check in self.checks)


@dataclass(frozen=True, slots=True)
class DryStep:
    """A request, script or file that a launch would send, with its secrets masked."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Launched:
    run: str
    instance: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of the history."""

    run: str
    status: RunStatus
    config: str
    tasks: tuple[str, ...]
    attempts: int
    usd: float
    created: float
    seconds: float | None
    """From the first to the last event."""
    one_step: dict[str, float | None]
    """Test-split one-step nRMSE per task; empty before the evaluation."""
    skill: dict[str, bool]
    """False where a task is not better than persistence."""
    note: str
    verdict: str = ""
    """Of its decision gates; empty: none are set, or it was not evaluated."""
    next_config: str = ""
    """What the verdict says comes next; empty: nothing."""
    sweep: str = ""
    """The runs that it was launched with; empty: it was launched alone."""
    differs: Mapping[str, Any] = field(default_factory=dict)
    """Dotted config keys in which it differs from those, with its values."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """The config that the gates of a run say comes next."""

    run: str
    verdict: str
    reasons: tuple[str, ...]
    base: str
    """Name of the config that it is made of."""
    patch: dict[str, object]
    """What is changed in it."""
    why: str
    name: str
    """Its own name."""
    text: str
    """The YAML."""


class PhaseState(StrEnum):
    """How a phase of a plan stands."""

    DONE = "done"
    RUNNING = "running"
    NEXT = "next"
    BLOCKED = "blocked"
    """Its run missed the gates, and they do not say what comes next."""
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """One phase of a plan."""

    name: str
    why: str
    state: PhaseState
    runs: tuple[str, ...]
    """Of its configs and what was made of them, the newest first."""
    run: str | None
    """The one that decides."""
    verdict: str
    reason: str
    """Why it is blocked."""
    missing_data: tuple[str, ...]
    """Tasks of which the store holds no verified dataset."""
    config: str | None
    """What it would launch; None: nothing, or it is done."""
    after: str | None
    """The run whose gates made that config; None: it is the plan's own."""
    cache: str | None
    """Version of the latent cache it trains from; None: from the fields."""
    cache_is_there: bool
    cache_saves_seconds: float | None
    """By which a run starts earlier with the cache; None where it is not built."""
    cache_saves_usd: float | None
    expected_seconds: float | None
    expected_usd: float | None
    """Still to come; None: unknown."""
    basis: str
    """What the expectation rests on."""
    usd: float
    """What its runs have cost so far."""


@dataclass(frozen=True, slots=True)
class PlanState:
    """Where a chain of runs stands."""

    plan: str
    why: str
    phases: tuple[PhaseRow, ...]
    current: int | None
    """Index of the phase that one is in; None: all are done."""
    usd_per_hour: float | None
    """Of what would be rented; None where it is not known."""
    price_basis: str
    usd_spent: float
    usd_to_come: float
    """Of the phases whose cost is known."""
    unknown: tuple[str, ...]
    """The phases to come whose cost is not."""
    budget_usd: float | None
    within_budget: bool | None
    """What is spent and known fits; None: no budget was given."""

    @property
    def phase(self) -> PhaseRow | None:
        """The phase that one is in."""
        return None if self.current is None else self.phases[self.current]


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One line of the fleet."""

    instance: str
    """Provider's id."""
    provider: str
    label: str
    state: InstanceState
    kind: InstanceKind
    run: str | None
    what: str
    usd_per_hour: float
    usd: float
    created: float
    deadline: float
    last_sign: float | None
    """Unix seconds of the run's newest event that was mirrored."""
    status: str = ""
    """The provider's own words, such as why it does not start."""
    gpu_percent: float | None = None
    """Mean use of its GPUs, as the run told last."""
    keep: bool = False
    """It stays when its run is over."""
    usd_to_end: float = 0.0
    """Dollars from now to its deadline, or its cap."""
    cap_usd: float = 0.0
    """Of its run; 0: none."""
    alarm: str = ""
    """Why it is to be shown in red; empty: all is well."""
    stalled: str = ""
    """Why it counts as rented for nothing, such as an idle GPU; empty: it works, or that is not known."""


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A block volume, which costs with or without an instance."""

    id: str
    provider: str
    label: str
    size_gb: float
    usd_per_hour: float
    created: float
    """Unix seconds."""
    instance: str | None
    """It is attached to this instance."""
    ours: bool
    """Its label says so."""


@dataclass(frozen=True, slots=True)
class ProviderProblem:
    """A provider that did not answer; what is said of its instances is as old as its last answer."""

    provider: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class FleetState:
    """Everything that is rented, as one look at all providers found it."""

    instances: tuple[InstanceRow, ...]
    """Orphans first, then the living, then what is gone."""
    volumes: tuple[VolumeRow, ...]
    problems: tuple[ProviderProblem, ...]
    read: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Money:
    """The top line."""

    usd_per_hour: float
    usd_today: float
    cap_usd_per_day: float
    running: int
    """Living instances of ours."""
    orphans: int
    usd_to_end: float = 0.0
    """What all living instances cost until their deadlines, or caps."""
    stalled: Mapping[str, str] = field(default_factory=dict)
    """Instance → why it counts as rented for nothing."""


@dataclass(frozen=True, slots=True)
class TeardownStep:
    """What a teardown has just done; the last one has `phase` destroyed or failed."""

    phase: str
    """sync, destroy, verify, destroyed or failed."""
    text: str
    done: bool = False
