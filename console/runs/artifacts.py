"""A run's results between the mirror here and the store: what the box publishes, and what it could not."""

import json
from pathlib import Path

from ups.errors import StoreError
from ups.rundir import RunDirectory
from ups.store import ObjectStore, file_sha256

_STATE = "state.json"


def publish(store: ObjectStore, local: RunDirectory, prefix: str) -> tuple[int, int]:
    """Bring the store's copy of a run directory up to date; returns (files, bytes) it then has.

    The box publishes by itself; this covers what it could not, and costs nothing where it did.
    """
    present = {info.key: info for info in store.list(f"{prefix}/")}
    count = total = 0
    for path in sorted(local.root.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        key = f"{prefix}/{path.relative_to(local.root).as_posix()}"
        size = path.stat().st_size
        there = present.get(key)
        copy = store.local_path(key) if there is not None and there.bytes == size else None
        if copy is None or file_sha256(copy) != file_sha256(path):
            store.upload(path, key)
        count, total = count + 1, total + size
    return count, total


def recall(store: ObjectStore, local: RunDirectory, prefix: str) -> list[str]:
    """Fetch the checkpoints that a box published and this mirror lacks; returns their names.

    What it wrote comes too: events and log go on where the mirror ends, and a report.
    `state.json` vouches for a checkpoint's files, and is written last here as there.

    Args:
        store: where the box published.
        local: the mirror of the attempt.
        prefix: of the attempt in the store.

    Raises:
        StoreError: the store failed, or holds something else than what was published.
    """
    states = [info.key for info in store.list(f"{prefix}/checkpoints/") if info.key.endswith(f"/{_STATE}")]
    names = [key.removesuffix(f"/{_STATE}").rpartition("/")[2] for key in states]
    missing = [name for name in names if not (local.checkpoints / name / _STATE).exists()]
    for name in missing:
        _recall_checkpoint(store, f"{prefix}/checkpoints/{name}", local.checkpoints / name)
    if missing:
        _recall_beside(store, prefix, local)
    _recall_written(store, prefix, local)
    return missing


def _recall_beside(store: ObjectStore, prefix: str, local: RunDirectory) -> None:
    """What belongs to the checkpoints that have just come: their data, and what each stage has reached."""
    for path in (local.datasets_path, local.stages_path):
        if store.find(f"{prefix}/{path.name}") is not None:
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(store.read_bytes(f"{prefix}/{path.name}"))
            partial.replace(path)


def _recall_written(store: ObjectStore, prefix: str, local: RunDirectory) -> None:
    published = {info.key.removeprefix(f"{prefix}/") for info in store.list(f"{prefix}/")}
    report = local.root / "report.json"
    if report.name in published and not report.exists():
        report.write_bytes(store.read_bytes(f"{prefix}/{report.name}"))
    for path in (local.log_path, local.events_path):
        if path.name not in published:
            continue
        content = store.read_bytes(f"{prefix}/{path.name}")
        here = path.read_bytes() if path.exists() else b""
        if content.startswith(here):  # else the mirror knows more
            with path.open("ab") as file:
                file.write(content[len(here) : content.rfind(b"\n") + 1])


def _recall_checkpoint(store: ObjectStore, key: str, target: Path) -> None:
    content = store.read_bytes(f"{key}/{_STATE}")
    try:
        files = {name: str(record["sha256"]) for name, record in json.loads(content)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{store.url}/{key}/{_STATE} is damaged: {error}") from None
    if any("/" in name or name.startswith(".") for name in files):
        raise StoreError(f"{store.url}/{key}/{_STATE} names files outside of its checkpoint")
    target.mkdir(parents=True, exist_ok=True)
    for name, sha256 in files.items():
        store.download(f"{key}/{name}", target / name, sha256=sha256)
    partial = target / f".{_STATE}.part"
    partial.write_bytes(content)
    partial.replace(target / _STATE)
