"""Checkpoints on disk: a directory of safetensors files and a `state.json` that vouches for them.

A checkpoint is written to a temporary name, every file is synced, and the directory is renamed at
last: what bears a checkpoint's name is whole, whenever the process died. `state.json` holds the
sha256 of every other file; what does not match is not a checkpoint. Which one is last and which is
best follows from the states, so that no pointer can go stale.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from ups.course import COURSE
from ups.errors import NotFoundError, TrainingError
from ups.models import tensor_file

FORMAT = 1
MODEL_FILE = "model.safetensors"
"""Weights of the operator."""
AVERAGE_FILE = "ema.safetensors"
"""Their running average, where one is kept."""
_STATE = "state.json"
_PARTIAL = ".partial-"
_NAMED_KEYS = 5
"""Differing keys that an error names."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint directory and its parsed state; the tensors are read on demand."""

    path: Path
    state: Mapping[str, Any]

    @property
    def stage(self) -> str:
        return str(self.state["stage"])

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return int(self.state["epoch"])

    @property
    def score(self) -> float:
        """Mean validation nRMSE of the tasks; infinite before the first validation."""
        value = self.state.get("score")
        return math.inf if value is None else float(value)

    @property
    def num_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir())

    @property
    def sha256(self) -> str:
        """Hash of `state.json`, which in turn holds those of the other files."""
        return hashlib.sha256((self.path / _STATE).read_bytes()).hexdigest()

    def tensors(self, file: str) -> dict[str, Tensor]:
        """The tensors of one of its files, on the CPU; {} where the checkpoint has no such file."""
        if file not in self.state["files"]:
            return {}
        tensors: dict[str, Tensor] = load_file(self.path / file)
        return tensors


def load_weights(module: nn.Module, found: Checkpoint, file: str) -> None:
    """Load one of a checkpoint's files into a module.

    Raises:
        TrainingError: it is of another architecture; names the keys that differ.
    """
    weights, own = found.tensors(file), module.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shaped = [
        f"{key} is {list(weights[key].shape)}, wanted {list(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    differences = [
        *(f"{key} is missing" for key in missing), *(f"{key} is unknown" for key in extra), *sorted(shaped),
    ]  # fmt: skip
    if differences:
        more = f" and {len(differences) - _NAMED_KEYS} more" if len(differences) > _NAMED_KEYS else ""
        raise TrainingError(
            f"{found.path / file} is of another architecture: {'; '.join(differences[:_NAMED_KEYS])}{more}",
            hint="it was written under another config or another version: evaluate it there, or train anew",
        )
    module.load_state_dict(weights)


def write(
    parent: Path,
    stage: str,
    epoch: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
) -> Checkpoint:
    """Write `parent/{stage}-{epoch}` atomically, replacing one of that name; a failure leaves nothing of it.

    Args:
        parent: the run's `checkpoints` directory; made where missing.
        stage: stage name.
        epoch: epochs finished.
        tensors: file name → tensors by name.
        state: JSON-able content of `state.json`.

    Raises:
        OSError: it cannot be written.
    """
    final = parent / f"{stage}-{epoch:04d}"
    partial = parent / f"{_PARTIAL}{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files = {}
    try:
        for name, content in tensors.items():
            written = tensor_file.write(partial / name, content)
            files[name] = {"bytes": written.bytes, "sha256": written.sha256}
        whole = {"format": FORMAT, "stage": stage, "epoch": epoch, "files": files, **state}
        _write_synced(partial / _STATE, json.dumps(whole, indent=1).encode())
        _sync_directory(partial)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk needs the room
        raise
    replaced = parent / f"{_PARTIAL}{final.name}-replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    if final.exists():
        final.rename(replaced)  # removing it takes longer than a process may have left
    partial.rename(final)
    _sync_directory(parent)
    shutil.rmtree(replaced, ignore_errors=True)
    return Checkpoint(final, whole)


def read(path: Path) -> Checkpoint:
    """Open a checkpoint, or the best one of a directory of checkpoints or of a run directory.

    Raises:
        NotFoundError: there is none.
        TrainingError: it is damaged or of a newer format.
    """
    if (path / _STATE).is_file():
        return _verified(path)
    for directory in (path, path / "checkpoints"):
        found = best(directory)
        if found is not None:
            return found
    raise NotFoundError(f"{path} is no checkpoint and holds none")


def last(parent: Path) -> Checkpoint | None:
    """The newest whole checkpoint, or None."""
    return _first_whole(_newest_first(_listed(parent)))


def best(parent: Path, stage: str | None = None) -> Checkpoint | None:
    """The whole checkpoint with the lowest validation error, or None.

    Among equals it is the earlier stage's, and within a stage the later epoch's.

    Args:
        parent: the directory of checkpoints.
        stage: the one stage that is meant; None: all of them.
    """
    return _first_whole(_best_first(_listed(parent), stage))


def whole(parent: Path) -> list[Checkpoint]:
    """All whole checkpoints, by name."""
    found = [_first_whole([item]) for item in sorted(_listed(parent), key=lambda item: item.path.name)]
    return [item for item in found if item is not None]


def prune(parent: Path, written: Checkpoint | None = None) -> Checkpoint | None:
    """Remove all but the last and each stage's best, and what a killed process left half-written.

    Args:
        parent: the directory of checkpoints.
        written: has just been written, and is not read again to see whether it is whole.

    Returns:
        The best of all that is left.
    """
    listed = _listed(parent)
    trusted = [written] if written else []
    rankings: list[list[Checkpoint]] = [
        _newest_first(listed),
        *(_best_first(listed, stage) for stage in {item.stage for item in listed}),
    ]
    found = [_first_whole(ranking, trusted) for ranking in rankings]
    kept = {item.path: item for item in found if item is not None}
    for path in parent.iterdir():
        ours = path.name.startswith(_PARTIAL) or (path / _STATE).is_file()
        if ours and path not in kept:
            _remove(path)
    return next(iter(_best_first(kept.values())), None)


def _remove(path: Path) -> None:
    """Remove a checkpoint; one that a killed process was removing bears the name of something unfinished."""
    if not path.name.startswith(_PARTIAL):
        path = path.rename(path.with_name(f"{_PARTIAL}{path.name}-removed"))
    shutil.rmtree(path)


def _listed(parent: Path) -> list[Checkpoint]:
    """What looks like a checkpoint; its files are not verified."""
    if not parent.is_dir():
        return []
    found = []
    for path in parent.iterdir():
        if path.is_dir() and not path.name.startswith(_PARTIAL):
            with contextlib.suppress(TrainingError):
                found.append(_opened(path))
    return found


def _newest_first(found: Iterable[Checkpoint]) -> list[Checkpoint]:
    return sorted(found, key=lambda item: (_order(item), item.epoch), reverse=True)


def _best_first(found: Iterable[Checkpoint], stage: str | None = None) -> list[Checkpoint]:
    of_stage = (item for item in found if stage in (None, item.stage))
    return sorted(of_stage, key=lambda item: (item.score, _order(item), -item.epoch))


def _first_whole(candidates: Iterable[Checkpoint], trusted: Collection[Checkpoint] = ()) -> Checkpoint | None:
    for candidate in candidates:
        if any(candidate.path == item.path for item in trusted):
            return candidate
        with contextlib.suppress(TrainingError):
            return _verified(candidate.path)
    return None


def _opened(path: Path) -> Checkpoint:
    try:
        state = json.loads((path / _STATE).read_bytes())
        found = Checkpoint(path, state)
        if found.state["format"] > FORMAT:
            raise TrainingError(f"the checkpoint {path} was written by a newer version of ups-console")
        # touch what sorting needs
        _ = found.stage, found.epoch, found.score
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"the checkpoint {path} is damaged: {error}") from None
    return found


def _verified(path: Path) -> Checkpoint:
    found = _opened(path)
    for name, expected in found.state["files"].items():
        try:
            with (path / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise TrainingError(f"the checkpoint {path} is damaged: {error}") from None
        if actual != expected["sha256"]:
            raise TrainingError(f"the checkpoint {path} is damaged: {name} has another sha256 than it should")
    return found


def _order(item: Checkpoint) -> int:
    return COURSE.index(item.stage) if item.stage in COURSE else -1


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
