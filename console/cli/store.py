"""Commands over what is in the store: list it, fetch, verify and delete it."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from console.api import CacheRow, DatasetRow, FetchResult, GarbageRow, StoreUsage
from console.cli.app import Session, command
from console.cli.render import ProgressLine, age, counted, duration, grid, money, size, table
from console.storage import usd_per_month
from ups.errors import StoreError, UsageError

_SPLITS = ("train", "val", "test")
_BAD = ("damaged", "incomplete")
"""What makes `verify` fail."""
_TO = click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(),
                   help="Folder; default: this one.")  # fmt: skip
_REPLACE = click.option("--replace", is_flag=True, help="Overwrite files of these names that are others.")
_FINGERPRINT = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


def register_listings(cli: click.Group) -> None:
    """What the store holds, and what it costs."""

    @command(cli, "datasets")
    def datasets(session: Session) -> None:
        """What the store holds, task by task."""
        inventory = session.operations.inventory()
        text = f"{dataset_table(inventory.datasets)}\n\n{usage_line(inventory.usage)}"
        session.answer([asdict(row) for row in inventory.datasets], text)

    @command(cli, "store")
    def store(session: Session) -> None:
        """How much the store holds, and what it costs a month."""
        usage = session.operations.store_usage()
        lines = [[area, f"{found.objects:,}", size(found.bytes)] for area, found in usage.areas.items()]
        text = table([usage.url, "objects", "size"], lines, right=(1, 2))
        session.answer(asdict(usage), f"{text}\n\n{usage_line(usage)}")


def answer_caches(session: Session) -> None:
    """The latent caches, split by split, and what each version is worth."""
    inventory = session.operations.inventory()
    rows = inventory.caches
    text = "\n\n".join([cache_table(rows), *version_lines(rows)] if rows else ["nothing"])
    session.answer([asdict(row) for row in rows], text)


def register_data(data: click.Group) -> None:
    """Commands over datasets in the store."""

    @command(data, "fetch")
    @click.argument("tasks", nargs=-1, required=True)
    @_TO
    @_REPLACE
    def fetch(session: Session, tasks: tuple[str, ...], folder: Path, replace: bool) -> None:
        """Bring the files of TASKS to a folder, verified; what is there already is kept."""
        done = session.operations.fetch_data(tasks, folder, replace=replace, progress=ProgressLine())
        session.answer(asdict(done), fetched_line(done))

    @command(data, "verify")
    @click.argument("tasks", nargs=-1)
    def verify(session: Session, tasks: tuple[str, ...]) -> None:
        """Read every byte of the datasets and compare it with the manifest.

        From a bucket the bytes are streamed: nothing is written to the disk.
        """
        states = session.operations.verify_data(tasks, ProgressLine())
        session.answer(states, "\n".join(f"{task}  {state}" for task, state in states.items()) or "nothing")
        _fail_where_bad(states, "make or import it again")

    @command(data, "delete")
    @click.argument("task")
    @_YES
    def delete(session: Session, task: str, yes: bool) -> None:
        """Remove the dataset of TASK from the store."""
        operations = session.operations
        stored = operations.stored_dataset(task)
        _warn_of_users(session, operations.living_users(tasks=(task,)))
        if not yes:
            where = operations.settings.store_url
            _confirm(f"this deletes the dataset {task}, {size(stored.bytes)}, from {where}", task)
        operations.delete_data(task)
        session.answer({"deleted": task}, f"deleted {task}")

    @command(data, "gc")
    @click.option("--stale", is_flag=True, help="Also caches of datasets that were replaced.")
    @click.option("--older-than", "hours", type=click.FloatRange(min=0), default=24.0, show_default=True,
                  metavar="HOURS", help="What is younger may belong to work that goes on.")  # fmt: skip
    @click.option("--yes", is_flag=True, help="Delete it; without this it is only listed.")
    def gc(session: Session, stale: bool, hours: float, yes: bool) -> None:
        """List what nothing in the store refers to, or delete it.

        Shards that no manifest names, files of processes that were killed, runtimes that no run names.
        Whatever a manifest names stays, and whatever is not understood.
        """
        operations = session.operations
        rows = operations.find_garbage(stale=stale, least_age_s=3600.0 * hours)
        if yes:
            rows = operations.collect_garbage(rows, stale=stale, least_age_s=3600.0 * hours)
        _answer_garbage(session, rows, deleted=yes)


def _answer_garbage(session: Session, rows: Sequence[GarbageRow], *, deleted: bool) -> None:
    held = sum(row.bytes for row in rows)
    usd = usd_per_month(held, session.operations.settings.store_terms)
    answer = {"garbage": [asdict(row) for row in rows], "bytes": held, "usd_per_month": usd,
              "deleted": deleted}  # fmt: skip
    rent = f", {money(usd)} a month" if usd is not None else ""
    total = f"{counted(len(rows), 'object')}, {size(held)}{rent}"
    closing = f"deleted {total}" if deleted else f"{total}: nothing is deleted without --yes"
    session.answer(answer, f"{garbage_table(rows)}\n\n{closing}" if rows else "nothing")


def garbage_table(rows: Sequence[GarbageRow]) -> str:
    """Garbage folder by folder; of a fingerprint the beginning is enough to know it."""
    now, groups = time.time(), dict[tuple[str, str], list[GarbageRow]]()
    for row in rows:
        groups.setdefault((row.key.rpartition("/")[0], row.why), []).append(row)
    lines = [
        [
            _FINGERPRINT.sub(r"\1…", folder),
            str(len(found)),
            size(sum(row.bytes for row in found)),
            age(max(row.modified for row in found), now),
            why,
        ]
        for (folder, why), found in groups.items()
    ]
    return table(["garbage in", "objects", "size", "age", "why"], lines, right=(1, 2, 3))


def register_caches(caches: click.Group) -> None:
    """Commands over latent caches in the store."""

    @command(caches, "fetch")
    @click.argument("version")
    @click.argument("tasks", nargs=-1)
    @_TO
    @_REPLACE
    def fetch(session: Session, version: str, tasks: tuple[str, ...], folder: Path, replace: bool) -> None:
        """Bring the cache VERSION to a folder, verified; all of it, or of TASKS alone."""
        done = session.operations.fetch_caches(
            version, tasks, folder, replace=replace, progress=ProgressLine()
        )
        session.answer(asdict(done), fetched_line(done))

    @command(caches, "verify")
    @click.argument("version")
    @click.argument("tasks", nargs=-1)
    def verify(session: Session, version: str, tasks: tuple[str, ...]) -> None:
        """Read every byte of the cache VERSION and compare it with the manifest."""
        verdicts = session.operations.verify_caches(version, tasks, ProgressLine())
        lines = [[found.task, found.split, found.state, found.note] for found in verdicts]
        session.answer([asdict(found) for found in verdicts], table([version, "split", "state", ""], lines))
        states = {f"{found.task} {found.split}": found.state for found in verdicts}
        _fail_where_bad(states, f"`ups-console caches build {version} TASK`")

    @command(caches, "delete")
    @click.argument("version")
    @click.argument("tasks", nargs=-1)
    @_YES
    def delete(session: Session, version: str, tasks: tuple[str, ...], yes: bool) -> None:
        """Remove the cache VERSION from the store; all of it, or of TASKS alone."""
        operations = session.operations
        held = sum(row.bytes for row in operations.stored_caches(version, tasks))
        _warn_of_users(session, operations.living_users(tasks=tasks, version=version))
        if not yes:
            of = f" of {', '.join(tasks)}" if tasks else ""
            where = operations.settings.store_url
            _confirm(f"this deletes the cache {version}{of}, {size(held)}, from {where}", version)
        count = operations.delete_caches(version, tasks)
        session.answer(
            {"deleted": version, "objects": count}, f"deleted {version}: {counted(count, 'object')}"
        )


def dataset_table(rows: Sequence[DatasetRow]) -> str:
    """All tasks; the rent only where there is one."""
    now = time.time()
    header = ["task", "state", *_SPLITS, "size", "resolution", "age", "runs"]
    lines = [
        [
            row.task,
            row.state,
            *(str(row.splits[name].samples or "?") if name in row.splits else "–" for name in _SPLITS),
            size(row.bytes) if row.splits else "–",
            grid(row.resolution),
            age(row.modified, now),
            str(row.used_by or ""),
            *_rent(row.usd_per_month, rows),
            row.note or ("can be made" if row.state == "missing" and row.can_make else ""),
        ]
        for row in rows
    ]
    rent = ["$/month"] if _rent(None, rows) else []
    right = (2, 3, 4, 5, 7, 8, *((9,) if rent else ()))
    return table([*header, *rent, ""], lines, right=right)


def cache_table(rows: Sequence[CacheRow]) -> str:
    """The caches, split by split; the rent only where there is one."""
    now = time.time()
    header = ["version", "task", "split", "state", "samples", "size", "resolution", "dtype", "age", "runs"]
    lines = [
        [
            row.version,
            row.task,
            row.split,
            row.state,
            str(row.samples or "?"),
            size(row.bytes),
            grid(row.resolution),
            row.dtype or "–",
            age(row.modified, now),
            str(len(row.runs) or ""),
            *_rent(row.usd_per_month, rows),
            row.note,
        ]
        for row in rows
    ]
    rent = ["$/month"] if _rent(None, rows) else []
    right = (4, 5, 8, 9, *((10,) if rent else ()))
    return table([*header, *rent, ""], lines, right=right)


def _rent(usd: float | None, rows: Iterable[DatasetRow | CacheRow]) -> list[str]:
    """The cell of the column that only a bucket has."""
    if all(row.usd_per_month is None for row in rows):
        return []
    return ["" if usd is None else money(usd)]


def usage_line(usage: StoreUsage) -> str:
    """The store in one line: how much, and what that costs."""
    foreign = usage.areas["other"]
    parts = [f"{size(usage.bytes)} in {usage.url}"]
    if foreign.objects:
        parts.append(f"{size(foreign.bytes)} of it not ours ({counted(foreign.objects, 'object')})")
    if usage.usd_per_month is not None:
        parts.append(f"{money(usage.usd_per_month)} a month")
    if usage.free_egress_bytes is not None:
        parts.append(
            f"{size(usage.free_egress_bytes)} of downloads a month are free, "
            f"then ${usage.usd_per_gb_egress:g}/GB"
        )
    return ", ".join(parts)


def version_lines(rows: Sequence[CacheRow]) -> list[str]:
    """What each version saves a run, what it cost, and whether it has paid."""
    lines = []
    for version in dict.fromkeys(row.version for row in rows):
        usable = [row for row in rows if row.version == version and row.saves_seconds is not None]
        if not usable:
            lines.append(f"{version}: no run can use it as it is")
            continue
        seconds = sum(row.saves_seconds or 0.0 for row in usable)
        parts = [f"{version}: saves a run {duration(seconds) if seconds >= 1 else 'under 1 s'}"]
        if any(row.usd_per_month is not None for row in usable):
            usd = sum(row.saves_usd or 0.0 for row in usable)
            parts[0] += f" and {money(usd)}"
            parts.append(f"took {money(sum(row.build_usd or 0.0 for row in usable))} to make")
        needed = [row.runs_to_pay for row in usable]
        known = [runs for runs in needed if runs is not None]
        if all(row.has_paid for row in usable):
            parts.append("has paid")
        elif len(known) == len(needed):
            parts.append(f"pays after {counted(max(known), 'run')}")
        else:
            parts.append("does not pay")
        lines.append(", ".join(parts))
    return ["\n".join(lines)]


def fetched_line(done: FetchResult) -> str:
    """What a fetch brought."""
    kept = f", {len(done.kept)} were there already" if done.kept else ""
    return f"fetched {counted(len(done.fetched), 'file')} to {done.folder}{kept}"


def _warn_of_users(session: Session, runs: Sequence[str]) -> None:
    for run in runs:
        session.say(f"! run {run} is alive and uses it: what it has not fetched yet, it will miss")


def _confirm(what: str, word: str) -> None:
    """Ask for a word that is typed; raises UsageError where it is another one."""
    click.echo(what, err=True)
    if click.prompt(f"type {word} to go on", err=True, prompt_suffix=": ") != word:
        raise UsageError("nothing was deleted: another word was typed", hint="--yes does not ask")


def _fail_where_bad(states: Mapping[str, str], hint: str) -> None:
    bad = [f"{name} is {state}" for name, state in states.items() if state in _BAD]
    if bad:
        raise StoreError("; ".join(bad), hint=hint)


def answer_datasets(session: Session, tasks: Sequence[str], notes: Sequence[str] = ()) -> None:
    """The datasets of some tasks, as the store has them now, after what the user should know."""
    for note in notes:
        session.say(f"! {note}")
    rows = datasets_of(session, tasks)
    text = "\n".join(
        f"{row.task}: {row.state}, "
        + ", ".join(f"{split.samples} {name}" for name, split in row.splits.items())
        for row in rows
    )
    session.answer([asdict(row) for row in rows], text)


def datasets_of(session: Session, tasks: Sequence[str]) -> list[DatasetRow]:
    """The datasets of some tasks."""
    return [row for row in session.operations.datasets() if row.task in tasks]
