"""Puts a run's results into the store: content first, the log and the events last.

Publishing again uploads only what has changed. A file counts as published after the store has shown
it: by its hash where the store is on this machine, else by its size.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ups.errors import StoreError
from ups.rundir import RunDirectory, RunSpec
from ups.store import ObjectStore, file_sha256

Published = Callable[[str, str, str], None]
"""Called with (path relative to the run directory, where it is now, sha256)."""
Progress = Callable[[int, int], None]

_STATE_FILE = "published.json"


def current_checkpoints(directory: RunDirectory) -> list[Path]:
    """The checkpoint directories that are whole; training keeps the best and the last."""
    if not directory.checkpoints.is_dir():
        return []
    return sorted(
        path for path in directory.checkpoints.iterdir()
        if not path.name.startswith(".") and (path / "state.json").is_file()
    )  # fmt: skip


def content_sha256(path: Path) -> str:
    """Hash of a file, or of a directory's names and contents."""
    if path.is_file():
        return file_sha256(path)
    lines = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n" for file in files_below(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files_below(path: Path) -> list[Path]:
    """The file itself, or all files of a directory; hidden ones are half-written."""
    if path.is_file():
        return [path]
    return sorted(
        file for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )  # fmt: skip


class Publisher:
    """Publishes one attempt under `runs/{run}/attempt-{n}/`."""

    def __init__(
        self, store: ObjectStore, spec: RunSpec, directory: RunDirectory, published: Published
    ) -> None:
        self._store = store
        self._directory = directory
        self._published = published
        self._prefix = f"runs/{spec.run}/attempt-{spec.attempt}/"
        self._state_path = directory.root / _STATE_FILE
        self._state = self._read_state()

    def publish(self, progress: Progress) -> int:
        """Publish all results; returns how many files had to be uploaded.

        Raises:
            StoreError: the store refused, or does not hold what was sent.
        """
        results = [self._directory.spec_path, *self._checkpoint_files()]
        results += files_below(self._directory.rollouts) if self._directory.rollouts.is_dir() else []
        results += [self._directory.report_path] if self._directory.report_path.exists() else []
        uploaded = self._upload_all(results, progress)
        self._delete_superseded()
        return uploaded + self.publish_tail()

    def publish_checkpoints(self) -> int:
        """Publish the current checkpoints, so that losing this machine does not lose them."""
        return self._upload_all(self._checkpoint_files(), lambda done, total: None)

    def publish_tail(self, *, announce: bool = True) -> int:
        """Publish run.log and events.jsonl, whole lines only, as they are now."""
        uploaded = 0
        for path in (self._directory.log_path, self._directory.events_path):
            if path.exists():
                content = path.read_bytes()
                uploaded += self._put_lines(path, content[: content.rfind(b"\n") + 1], announce)
        return uploaded

    def _checkpoint_files(self) -> list[Path]:
        """With what goes on from them has to know besides: their data, and what each stage has reached."""
        beside = (self._directory.datasets_path, self._directory.stages_path)
        files = [file for path in current_checkpoints(self._directory) for file in files_below(path)]
        return [*files, *(path for path in beside if path.exists())]

    def _upload_all(self, files: Sequence[Path], progress: Progress) -> int:
        stored = {found.key: found.bytes for found in self._store.list(self._prefix)}
        total, done, uploaded = sum(file.stat().st_size for file in files), 0, 0
        for file in files:
            size = file.stat().st_size
            uploaded += self._upload(file, stored.get(self._key(file)))
            done += size
            progress(done, total)
        return uploaded

    def _upload(self, file: Path, stored_bytes: int | None) -> bool:
        sha256, key = file_sha256(file), self._key(file)
        if stored_bytes == file.stat().st_size and self._state.get(key) == sha256:
            return False
        if self._store.upload(file, key) != sha256:
            raise StoreError(f"{file} changed while it was being published", hint="resume the run")
        self._verify(key, file.stat().st_size, sha256)
        self._record(file, key, sha256, announce=True)
        return True

    def _put_lines(self, file: Path, content: bytes, announce: bool) -> bool:
        sha256, key = hashlib.sha256(content).hexdigest(), self._key(file)
        if self._state.get(key) == sha256:
            return False
        self._store.write_bytes(key, content)
        self._verify(key, len(content), sha256)
        self._record(file, key, sha256, announce)
        return True

    def _verify(self, key: str, size: int, sha256: str) -> None:
        local = self._store.local_path(key)
        if local is not None:
            right = file_sha256(local) == sha256
        else:
            found = self._store.find(key)
            right = found is not None and found.bytes == size
        if not right:
            raise StoreError(
                f"{self._store.url} does not hold {key} as it was sent",
                hint="resume the run to send it again",
            )

    def _delete_superseded(self) -> None:
        """Checkpoints that were current once go after the newer ones are safe."""
        current = {self._key(file) for file in self._checkpoint_files()}
        for key in [key for key in self._state if key.startswith(f"{self._prefix}checkpoints/")]:
            if key not in current:
                self._store.delete(key)
                del self._state[key]
        self._write_state()

    def _key(self, file: Path) -> str:
        return self._prefix + file.relative_to(self._directory.root).as_posix()

    def _record(self, file: Path, key: str, sha256: str, announce: bool) -> None:
        self._state[key] = sha256
        self._write_state()
        if announce:
            path = file.relative_to(self._directory.root).as_posix()
            self._published(path, f"{self._store.url}/{key}", sha256)

    def _read_state(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError):
            content: Any = json.loads(self._state_path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return {str(key): str(value) for key, value in content.items()}
        return {}

    def _write_state(self) -> None:
        temporary = self._state_path.with_name(f".{_STATE_FILE}.part")
        with contextlib.suppress(OSError):  # it only saves uploads
            temporary.write_text(json.dumps(self._state, indent=1), encoding="utf-8")
            temporary.replace(self._state_path)
