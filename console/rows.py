"""From what the parts know to the rows that a user reads."""

import time
from typing import TYPE_CHECKING

from console.api import CacheRow, DatasetRow, InstanceRow, SplitInfo, Transition
from console.fleet.ledger import TransitionRow
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState
from console.fleet.money import SECONDS_PER_HOUR, usd_so_far
from console.fleet.reconcile import Sighting

if TYPE_CHECKING:
    from console.runs.registry import Registry
    from ups.catalog import DatasetEntry
    from ups.data.latents import CacheEntry
    from ups.tasks import TaskSpec


def dataset_row(spec: "TaskSpec", entry: "DatasetEntry | None", used_by: int) -> DatasetRow:
    """A task's line, also where the store has nothing of it."""
    if entry is None:
        return DatasetRow(spec.name, "missing", {}, {}, (), "", spec.has_solver, used_by)
    return DatasetRow(
        task=spec.name,
        state=entry.state,
        splits={
            name: SplitInfo(split.bytes, split.samples, split.shape) for name, split in entry.splits.items()
        },
        parameters={name: list(values) for name, values in entry.parameters.items()},
        provenance=tuple(str(source.get("name", "?")) for source in entry.provenance),
        note=entry.note,
        can_make=spec.has_solver,
        used_by=used_by,
    )


def cache_row(entry: "CacheEntry") -> CacheRow:
    """A latent cache's line."""
    return CacheRow(
        entry.version, entry.task, entry.split, entry.state, entry.bytes, entry.samples, entry.note
    )


def transition(row: TransitionRow) -> Transition:
    """A ledger's transition without its row id."""
    return Transition(row.t, row.label, row.before, row.after, row.cause)


_STATES = {
    ProviderState.STARTING: InstanceState.STARTING,
    ProviderState.RUNNING: InstanceState.RUNNING,
    ProviderState.STOPPED: InstanceState.STOPPED,
    ProviderState.UNKNOWN: InstanceState.LOST,
}


def instance_row(sighting: Sighting, registry: "Registry") -> InstanceRow:
    """An instance's line, from the ledger where it is known there."""
    entry, remote = sighting.entry, sighting.remote
    now = time.time()
    if entry is None:
        assert remote is not None
        label = Label.parse(remote.label)
        hours = max(0.0, now - remote.created) / SECONDS_PER_HOUR
        return InstanceRow(
            instance=remote.id,
            provider=remote.provider,
            label=remote.label,
            state=_STATES[remote.state],
            kind=sighting.kind,
            run=None,
            what=remote.what,
            usd_per_hour=remote.usd_per_hour,
            usd=0.0 if sighting.kind is InstanceKind.FOREIGN else hours * remote.usd_per_hour,
            created=remote.created,
            deadline=float(label.deadline) if label else 0.0,
            last_sign=None,
        )
    return InstanceRow(
        instance=entry.provider_id or "",
        provider=entry.provider,
        label=entry.label,
        state=entry.state,
        kind=sighting.kind,
        run=entry.run,
        what=entry.what,
        usd_per_hour=entry.usd_per_hour,
        usd=usd_so_far(entry, now),
        created=entry.created,
        deadline=entry.deadline,
        last_sign=registry.last_sign(entry.run, entry.attempt) if entry.run and entry.attempt else None,
    )
