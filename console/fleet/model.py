"""What an instance is and which states it may take: one table, one label format.

Every transition that the fleet makes is looked up in `TRANSITIONS`; anything else is a programming
error and raises. Free of providers, networks and terminals.
"""

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum


class InstanceState(StrEnum):
    """Where an instance stands, as the ledger tells it."""

    INTENDED = "intended"
    REQUESTED = "requested"
    AMBIGUOUS = "ambiguous"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    STARTING = "starting"
    REACHABLE = "reachable"
    RUNNING = "running"
    STOPPED = "stopped"
    LOST = "lost"
    STOPPING = "stopping"
    DESTROYED = "destroyed"


_S = InstanceState

TRANSITIONS: dict[InstanceState, frozenset[InstanceState]] = {
    _S.INTENDED: frozenset({_S.REQUESTED, _S.ABANDONED}),
    _S.REQUESTED: frozenset({_S.STARTING, _S.REFUSED, _S.AMBIGUOUS, _S.LOST, _S.STOPPING}),
    # The create call's answer was lost: the label was found (adopt) or never appeared (settle).
    _S.AMBIGUOUS: frozenset({_S.STARTING, _S.REFUSED, _S.STOPPING}),
    # Refused, and yet its label appeared later: it is destroyed.
    _S.REFUSED: frozenset({_S.STOPPING}),
    _S.ABANDONED: frozenset(),
    _S.STARTING: frozenset({_S.REACHABLE, _S.STOPPED, _S.LOST, _S.STOPPING}),
    _S.REACHABLE: frozenset({_S.RUNNING, _S.STOPPED, _S.LOST, _S.STOPPING}),
    _S.RUNNING: frozenset({_S.STOPPED, _S.LOST, _S.STOPPING}),
    # Outbid or halted: it still bills.
    _S.STOPPED: frozenset({_S.STARTING, _S.LOST, _S.STOPPING}),
    _S.LOST: frozenset({_S.STARTING, _S.REACHABLE, _S.RUNNING, _S.STOPPED, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.DESTROYED, _S.LOST}),
    # Its id reappeared in a list.
    _S.DESTROYED: frozenset({_S.LOST}),
}

LIVING = frozenset(
    {_S.REQUESTED, _S.AMBIGUOUS, _S.STARTING, _S.REACHABLE, _S.RUNNING, _S.STOPPED, _S.LOST, _S.STOPPING}
)
"""States in which something may exist and cost money."""


class IllegalTransitionError(AssertionError):
    """A transition that the table does not allow: a bug in the caller."""


def check_transition(before: InstanceState, after: InstanceState) -> None:
    """Raises IllegalTransitionError where the table has no such edge."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(f"{before} → {after} is not a transition")


class InstanceKind(StrEnum):
    """Whose instance it is."""

    OURS = "ours"
    ORPHAN = "orphan"
    """Our label, but not in the ledger."""
    OTHER_CONSOLE = "other-console"
    FOREIGN = "foreign"


class ProviderState(StrEnum):
    """What a provider says of an instance that it lists."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OfferQuery:
    """What a job needs of a machine, and what its user will pay."""

    gpus: tuple[str, ...] = ()
    """The wanted model and then its fallbacks, as in `RTX_4090`; empty: any, also none."""
    num_gpus: int = 1
    min_vram_gb: float = 0.0
    """Of each GPU."""
    disk_gb: float = 128.0
    min_network_mbps: float = 0.0
    min_reliability: float = 0.95
    """Share of time that the host was up; hosts of which nobody knows it pass."""
    cuda: float | None = None
    """The CUDA release of the image, which the host's driver must support."""
    region: str | None = None
    """Country or data centre as the provider writes it, in any case."""
    max_usd_per_hour: float | None = None
    spot: bool = False
    """Bid for machines that may be taken away again, which are cheaper."""


ANY_MACHINE = OfferQuery()
"""No wishes beyond the defaults."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Something a provider would rent."""

    id: str
    provider: str
    gpu: str
    """Marketing name of the GPU, or `CPU`."""
    num_gpus: int
    vram_gb: float
    usd_per_hour: float
    """Everything included: GPU, the disk asked for."""
    cpu_cores: int
    ram_gb: float
    disk_gb: float
    network_mbps: float | None
    reliability: float | None
    """Share of time that the host was up, 0 … 1."""
    region: str
    machine: str | None = None
    """The host behind it, which keeps its name from offer to offer."""
    cuda: float | None = None
    """The newest CUDA release that its driver supports."""
    spot: bool = False
    usd_per_gb: float = 0.0
    """Of traffic to the box, beyond the hourly price."""

    @property
    def what(self) -> str:
        """The machine in a word, as the ledger has it."""
        return f"{self.gpu} ×{self.num_gpus}" if self.num_gpus else f"{self.cpu_cores} cores"


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """All that a provider is told of an instance to create."""

    offer: Offer
    label: str
    grace_s: float
    """The box waits so long after its run's end before it ends itself."""
    image: str = ""
    """Docker image, or the provider's id of an operating system; empty: the provider's default."""
    disk_gb: float = 128.0
    public_key: str = ""
    """OpenSSH line of the key that opens the box; it is registered before the create."""
    onstart: str = ""
    """Shell script that the box runs first. The provider shows it to whoever may list: no secret is in it."""
    volume_gb: float | None = None
    """A block volume of this size is made and attached, where the provider has them."""
    keep_volume: bool = False
    """The volume outlives the instance, and goes on costing."""
    private_network: bool = False
    """It is put on the provider's private network, beside its siblings."""


@dataclass(frozen=True, slots=True)
class SshAddress:
    """Where a box listens."""

    host: str
    port: int = 22
    user: str = "root"


@dataclass(frozen=True, slots=True)
class RemoteInstance:
    """One row of a provider's list."""

    id: str
    provider: str
    label: str
    state: ProviderState
    usd_per_hour: float
    what: str
    """Hardware, for people."""
    created: float
    """Unix seconds."""
    status: str = ""
    """The provider's own words on how it stands, such as why it does not start."""
    ssh: SshAddress | None = None
    """None until it has an address."""
    machine: str | None = None
    """The host that it is on."""
    image_problem: str = ""
    """Why its image cannot be had, on this machine or any other; empty: nothing is known against it."""
    private_address: str = ""
    """Its IPv4 address on the provider's private network; empty where it has none (yet)."""


VOLUME_PENDING = "/run/ups-volume-pending"
"""Exists on a box until its block volume is mounted: whoever writes there waits until it is gone."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Block storage that costs money with or without an instance."""

    id: str
    provider: str
    label: str
    size_gb: float
    usd_per_hour: float
    instance: str | None
    """It is attached to this instance."""
    created: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Label:
    """`ups-{console_id}-{uuid}-{deadline}`: names the owner and the day of death to anyone who lists."""

    console_id: str
    unique: str
    deadline: int
    """Unix seconds after which nobody needs it any more."""

    def __str__(self) -> str:
        return f"ups-{self.console_id}-{self.unique}-{self.deadline}"

    @classmethod
    def new(cls, console_id: str, deadline: float) -> "Label":
        return cls(console_id, secrets.token_hex(6), int(deadline))

    @classmethod
    def parse(cls, text: str) -> "Label | None":
        """The label, or None where `text` is not one of ours."""
        found = re.fullmatch(r"ups-([0-9a-z]+)-([0-9a-f]+)-(\d+)", text)
        return cls(found[1], found[2], int(found[3])) if found else None
