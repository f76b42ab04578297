"""From what the parts know to the rows that a user reads."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.api import CacheRow, DatasetRow, InstanceRow, SplitInfo, Transition, VolumeRow
from console.fleet.ledger import Entry, TransitionRow
from console.fleet.model import InstanceKind, InstanceState, Label, ProviderState, Volume
from console.fleet.money import SECONDS_PER_HOUR, usd_so_far, usd_to_end
from console.fleet.reconcile import Sighting
from console.storage import SECONDS_PER_MONTH, usd_per_month

if TYPE_CHECKING:
    from console.runs.registry import Registry
    from console.runs.stall import Mirrors
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


def instance_row(sighting: Sighting, registry: "Registry", mirrors: "Mirrors | None" = None) -> InstanceRow:
    """An instance's line, from the ledger where it is known there.

    Args:
        sighting: where it was seen.
        registry: the runs.
        mirrors: tell whether its GPU is idle; None: nobody asks.
    """
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
            status=remote.status,
            alarm=_alarm_of_unknown(sighting, now),
        )
    system = registry.last_system(entry.run, entry.attempt) if entry.run and entry.attempt else None
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
        status=remote.status if remote is not None else "",
        gpu_percent=_gpu_percent(system) if entry.living else None,
        keep=entry.keep,
        usd_to_end=usd_to_end(entry, now),
        cap_usd=entry.cap_usd,
        alarm=_alarm_of_ours(entry, now),
        stalled=mirrors.words(entry) if mirrors is not None else "",
    )


def _gpu_percent(system: Mapping[str, Any] | None) -> float | None:
    """Mean use in a `system` event's fields; None where it tells of no GPU."""
    gpus = (system or {}).get("gpu")
    used = [gpu.get("util") for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else []
    known = [float(value) for value in used if isinstance(value, (int, float))]
    return sum(known) / len(known) if known else None


def volume_row(volume: Volume) -> VolumeRow:
    """A volume's line; those that outlive their instance have a label that begins like one of ours."""
    return VolumeRow(
        id=volume.id,
        provider=volume.provider,
        label=volume.label,
        size_gb=volume.size_gb,
        usd_per_hour=volume.usd_per_hour,
        created=volume.created,
        instance=volume.instance,
        ours=volume.label.startswith("ups-"),
    )


def _alarm_of_ours(entry: Entry, now: float) -> str:
    if not entry.living:
        return ""
    if entry.state is InstanceState.LOST:
        told = entry.was in (InstanceState.STOPPING, InstanceState.DESTROYED)
        return "told to go, and may still cost" if told else "no sign of life"
    if entry.state is InstanceState.STOPPED:
        return "stopped, and goes on costing"
    return "past its deadline" if now >= entry.deadline else ""


def _alarm_of_unknown(sighting: Sighting, now: float) -> str:
    if sighting.kind is InstanceKind.ORPHAN:
        return "no ledger knows it"
    label = Label.parse(sighting.remote.label) if sighting.remote is not None else None
    past = sighting.kind is InstanceKind.OTHER_CONSOLE and label is not None and now >= label.deadline
    return "another console's, past its deadline" if past else ""
