"""Puts a run's results into the store: content first, the log and the events last.

Publishing again uploads only what has changed: a file that lies there already, under this name or another,
is not sent again. A file counts as published after the store has shown it: by its hash where the store is
on this machine, else by its size.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ups.errors import StoreError
from ups.rundir import RunDirectory, RunSpec
from ups.store import ObjectStore, file_sha256

Published = Callable[[str, str, str], None]
"""Called with (path relative to the run directory, where it is now, sha256)."""
Progress = Callable[[int, int], None]

_STATE_FILE = "published.json"
_VOUCHES = "state.json"
"""Of a checkpoint's files the one that says which the others are."""
_HELD = ".publishing"
"""In the run directory: checkpoints that are on their way."""


def current_checkpoints(directory: RunDirectory) -> list[Path]:
    """The checkpoint directories that are whole; training keeps the best and the last."""
    if not directory.checkpoints.is_dir():
        return []
    return sorted(
        path for path in directory.checkpoints.iterdir()
        if not path.name.startswith(".") and (path / _VOUCHES).is_file()
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


@dataclass(frozen=True, slots=True)
class _Result:
    """A file that is to be published."""

    file: Path
    name: str
    """Its path relative to the run directory."""


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
        self._state = self._read_state()  # another process may have published meanwhile
        shutil.rmtree(self._directory.root / _HELD, ignore_errors=True)  # and died over it
        checkpoints = self._named(current_checkpoints(self._directory))
        others = files_below(self._directory.rollouts) if self._directory.rollouts.is_dir() else []
        others += [self._directory.report_path] if self._directory.report_path.exists() else []
        results = [*self._named([self._directory.spec_path]), *checkpoints, *self._beside()]
        uploaded = self._upload_all([*results, *self._named(others)], progress)
        self._delete_superseded(checkpoints)
        return uploaded + self.publish_tail()

    def publish_checkpoints(self) -> int:
        """Publish the current checkpoints, so that losing this machine does not lose them.

        They are published as they are now, whatever training removes meanwhile; earlier ones go once they
        are safe. Only one process may do this at a time.
        """
        with self._held() as (beside, checkpoints):
            uploaded = self._upload_all([*checkpoints, *beside], lambda done, total: None)
            self._delete_superseded(checkpoints)
        return uploaded

    def publish_tail(self, *, announce: bool = True) -> int:
        """Publish run.log and events.jsonl, whole lines only, as they are now."""
        uploaded = 0
        for path in (self._directory.log_path, self._directory.events_path):
            if path.exists():
                content = path.read_bytes()
                uploaded += self._put_lines(path, content[: content.rfind(b"\n") + 1], announce)
        return uploaded

    @contextlib.contextmanager
    def _held(self) -> Iterator[tuple[list[_Result], list[_Result]]]:
        """What is beside the current checkpoints, and their files, under second names: nobody removes those.

        What is beside them is held first: what it says that a stage has reached is then among them.
        """
        folder = self._directory.root / _HELD
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir()
            beside = [_linked(result, folder / result.file.name) for result in self._beside()]
            held = []
            for path in current_checkpoints(self._directory):
                with contextlib.suppress(FileNotFoundError):  # removed by now: a newer one is there
                    (folder / path.name).mkdir()
                    held += [
                        _linked(result, folder / path.name / result.file.name)
                        for result in self._named([path])
                    ]
            yield beside, held
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _named(self, paths: Iterable[Path]) -> list[_Result]:
        """All files of some results; what vouches for the others comes behind them."""
        files = [file for path in paths for file in sorted(files_below(path), key=_vouches)]
        return [_Result(file, file.relative_to(self._directory.root).as_posix()) for file in files]

    def _beside(self) -> list[_Result]:
        """What goes on from a checkpoint has to know besides: its data, and what each stage has reached."""
        beside = (self._directory.datasets_path, self._directory.stages_path)
        return self._named(path for path in beside if path.exists())

    def _upload_all(self, results: Sequence[_Result], progress: Progress) -> int:
        stored = {found.key: found.bytes for found in self._store.list(self._prefix)}
        total, done, uploaded = sum(result.file.stat().st_size for result in results), 0, 0
        for result in results:
            size = result.file.stat().st_size
            uploaded += self._upload(result, stored)
            done += size
            progress(done, total)
        return uploaded

    def _upload(self, result: _Result, stored: Mapping[str, int]) -> bool:
        file, key = result.file, self._prefix + result.name
        sha256, size = file_sha256(file), file.stat().st_size
        if stored.get(key) == size and self._state.get(key) == sha256:
            return False
        same = [name for name, known in self._state.items() if known == sha256 and stored.get(name) == size]
        if same:
            self._store.copy(same[0], key)
        elif self._store.upload(file, key) != sha256:
            raise StoreError(f"{file} changed while it was being published", hint="resume the run")
        self._verify(key, size, sha256)
        self._record(result.name, sha256, announce=True)
        return not same

    def _put_lines(self, file: Path, content: bytes, announce: bool) -> bool:
        sha256, key = hashlib.sha256(content).hexdigest(), self._prefix + file.name
        if self._state.get(key) == sha256:
            return False
        self._store.write_bytes(key, content)
        self._verify(key, len(content), sha256)
        self._record(file.name, sha256, announce)
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

    def _delete_superseded(self, checkpoints: Iterable[_Result]) -> None:
        """Checkpoints that were current once go after the newer ones are safe."""
        folder = f"{self._prefix}checkpoints/"
        current = {self._prefix + result.name for result in checkpoints}
        # Asked, not remembered: a killed process noted not all that it sent.
        there = {found.key for found in self._store.list(folder)}
        for key in sorted(there - current, key=lambda key: not key.endswith(f"/{_VOUCHES}")):
            self._store.delete(key)
        self._state = {
            key: sha256 for key, sha256 in self._state.items()
            if key in current or not key.startswith(folder)
        }  # fmt: skip
        self._write_state()

    def _record(self, name: str, sha256: str, announce: bool) -> None:
        key = self._prefix + name
        if announce:  # first: who dies in between tells it once more
            self._published(name, f"{self._store.url}/{key}", sha256)
        self._state[key] = sha256
        self._write_state()

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


def _vouches(file: Path) -> bool:
    return file.name == _VOUCHES


def _linked(result: _Result, link: Path) -> _Result:
    """The same file under a second name; raises FileNotFoundError where it is gone."""
    try:
        link.hardlink_to(result.file)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links: where this one is removed, the next one is tried
        return result
    return _Result(link, result.name)
