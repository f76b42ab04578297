"""From what the parts know to the rows that a user reads."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.api import CacheRow, DatasetRow, InstanceRow, SplitInfo, Transition
from console.fleet.ledger import TransitionRow
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState
from console.fleet.money import SECONDS_PER_HOUR, usd_so_far
from console.fleet.reconcile import Sighting
from console.storage import SECONDS_PER_MONTH, usd_per_month

if TYPE_CHECKING:
    from console.runs.registry import Registry
    from console.runs.usage import RunUse
    from console.storage import Saving, StorageTerms
    from ups.cache_catalog import CacheEntry
    from ups.catalog import DatasetEntry
    from ups.tasks import TaskSpec


def dataset_row(
    spec: "TaskSpec",
    entry: "DatasetEntry | None",
    runs: Sequence["RunUse"] = (),
    terms: "StorageTerms | None" = None,
) -> DatasetRow:
    """A task's line, also where the store has nothing of it.

    Args:
        spec: the task.
        entry: what the store holds.
        runs: all runs of this console.
        terms: what the store costs; None: nothing.
    """
    if entry is None:
        return DatasetRow(spec.name, "missing", {}, {}, (), "", spec.has_solver, 0)
    hashes = {name: split.sha256 for name, split in entry.splits.items()}
    used = tuple(use.run for use in runs if use.used_dataset(spec.name, hashes))
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
        used_by=len(used),
        runs=used,
        bytes=entry.bytes,
        resolution=entry.resolution,
        modified=entry.modified,
        usd_per_month=usd_per_month(entry.bytes, terms),
    )


def cache_row(
    entry: "CacheEntry",
    *,
    runs: Sequence["RunUse"],
    terms: "StorageTerms | None",
    worth: "Saving | None",
    now: float,
) -> CacheRow:
    """A latent cache's line.

    Args:
        entry: what the store holds.
        runs: all runs of this console.
        terms: what the store costs; None: nothing.
        worth: what it saves a run; None where it cannot be used.
        now: Unix seconds.
    """
    used = tuple(use.run for use in runs if use.used_cache(entry.version, entry.task))
    months = max(0.0, now - entry.modified) / SECONDS_PER_MONTH
    needed = worth.runs_to_pay(months) if worth is not None else None
    return CacheRow(
        version=entry.version,
        task=entry.task,
        split=entry.split,
        state=entry.state,
        bytes=entry.bytes,
        samples=entry.samples,
        note=entry.note,
        fingerprint=entry.fingerprint,
        dtype=entry.dtype,
        resolution=entry.resolution,
        modified=entry.modified,
        usd_per_month=usd_per_month(entry.bytes, terms),
        runs=used,
        saves_seconds=worth.seconds if worth is not None else None,
        saves_usd=worth.usd if worth is not None else None,
        build_usd=worth.build_usd if worth is not None else None,
        runs_to_pay=needed,
        has_paid=needed is not None and len(used) >= needed,
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
