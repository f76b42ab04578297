"""How long earlier runs took, from their own events and from what the ledger has of their instances."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from console.fleet.ledger import Entry, Ledger
from console.fleet.model import InstanceState
from console.runs.event_lines import last_event
from console.runs.registry import Registry, RunHandle
from console.runs.usage import cache_version, read_plain
from ups.events import EventType, decode_lines, lines_holding
from ups.rundir import RunDirectory

if TYPE_CHECKING:
    from ups.config import Stages

_TELLING = (b'"phase"', b'"done"')
"""What an event that tells of phases, or of the end, holds."""
_LOOKED_AT = 60
"""Older runs than the newest so many say nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides how long a run takes, but for its machine."""

    name: str
    """Of its config."""
    config_sha256: str
    cache: str | None = None
    """The latent cache that it trains from: version and type; None: from its fields."""
    epochs: float = 0.0
    """Of all stages."""
    anew: bool = False
    """Caches are built although they are there."""
    minutes: float | None = None
    """What a plan says of it."""

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Settings":
        """Of a run that there was, by its run.yaml."""
        stages = (spec.get("config") or {}).get("stages") or {}
        version = cache_version(spec)
        return cls(
            name=str(spec.get("name")),
            config_sha256=str(spec.get("config_sha256")),
            cache=f"{version} {spec.get('cache_dtype', 'float16')}" if version else None,
            epochs=float(
                sum((stages.get(name) or {}).get("epochs") or 0 for name in spec.get("stages") or ())
            ),
        )

    def same(self, other: "Settings") -> bool:
        return (self.config_sha256, self.cache) == (other.config_sha256, other.cache)


@dataclass(frozen=True, slots=True)
class Life:
    """How long an earlier run took, in seconds: one attempt, which succeeded."""

    settings: Settings
    provider: str
    what: str
    phases: Mapping[str, float] = field(default_factory=dict)
    start: float | None = None
    """None where nothing was rented."""
    between: float = 0.0
    teardown: float | None = None


def epochs_of(stages: "Stages", names: Iterable[str]) -> float:
    """All epochs that the named stages train for."""
    return float(sum(getattr(stages, name).epochs for name in names))


def lives(registry: Registry, ledger: Ledger) -> Iterator[Life]:
    """Those of the newest runs that were rented, worked and ended as they should, the newest first."""
    for handle in registry.all()[:_LOOKED_AT]:
        life = _life(handle, ledger)
        if life is not None:
            yield life


def _life(handle: RunHandle, ledger: Ledger) -> Life | None:
    attempts = handle.attempts()
    end = last_event(attempts[-1].events_path)
    if len(attempts) > 1 or end is None or end.fields.get("status") != "succeeded":
        return None
    spec = read_plain(attempts[0].spec_path)
    if spec is None:
        return None
    entries = ledger.of_run(handle.run)
    if len(entries) != 1:
        return None
    (entry,) = entries
    phases, worked = _phases(attempts[0])
    found = Life(Settings.of(spec), entry.provider, entry.what, phases, between=_rest(worked, phases))
    return found if entry.usd_per_hour == 0 else _rented(found, entry, ledger)


def _rented(life: Life, entry: Entry, ledger: Ledger) -> Life | None:
    """With what it cost before its run and after it; None where it lives, or was held."""
    moves = {row.after: row.t for row in ledger.history(entry.label)}
    started, ending = moves.get(InstanceState.RUNNING), moves.get(InstanceState.STOPPING)
    if entry.ended is None or entry.keep or entry.keep_until is not None or started is None or ending is None:
        return None
    return Life(
        life.settings, life.provider, life.what, life.phases,
        start=started - entry.created,
        between=_rest(ending - started, life.phases),
        teardown=entry.ended - ending,
    )  # fmt: skip


def _rest(whole: float, phases: Mapping[str, float]) -> float:
    return max(0.0, whole - sum(phases.values()))


def _phases(directory: RunDirectory) -> tuple[dict[str, float], float]:
    """Seconds of each phase, and from the first event to the last."""
    found: dict[str, float] = {}
    begun: dict[str, float] = {}
    first = last = 0.0
    for event in decode_lines(lines_holding(directory.events_path, _TELLING)):
        first, last = first or event.t, event.t
        phase, state = str(event.fields.get("phase")), event.fields.get("state")
        if event.type == EventType.PHASE and state == "started":
            begun[phase] = event.t
        elif event.type == EventType.PHASE and state == "finished" and phase in begun:
            found[phase] = found.get(phase, 0.0) + event.t - begun.pop(phase)
    return found, last - first
