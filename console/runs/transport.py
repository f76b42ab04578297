"""Commands and files on an instance: local processes here, SSH behind the same protocol."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from console.fleet.processes import Identity, identify
from ups.errors import StoreError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the instance."""

    path: str
    """Relative to the directory that was listed, POSIX."""
    bytes: int


class Transport(Protocol):
    """What the console does on an instance. Paths are absolute, or relative to the box's directory."""

    @property
    def python(self) -> str:
        """The interpreter that has the runtime."""
        ...

    def start(self, argv: Sequence[str], *, log: str, environment: Mapping[str, str]) -> None:
        """Start a process that outlives this console; its output is appended to `log`."""
        ...

    def put(self, content: bytes, path: str) -> None:
        """Write a file atomically, with its parents."""
        ...

    def put_file(self, source: Path, path: str) -> None:
        """Copy a file to the instance, atomically."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes of a file, None where there is none."""
        ...

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        """Bytes from `offset`; b"" where the file does not exist or ends there."""
        ...

    def list(self, directory: str) -> list[RemoteFile]:
        """All files below a directory; [] where there is none."""
        ...

    def process_of(self, run_directory: str) -> Identity | None:
        """The living process of a run (its `run.pid`), None where it is gone or never was."""
        ...

    def terminate(self, run_directory: str) -> bool:
        """Ask a run's process to end (SIGTERM); False where none lives."""
        ...

    def absolute(self, path: str) -> str:
        """The path as processes on the instance see it."""
        ...


class LocalTransport:
    """This machine as the instance: plain processes and files below the box's directory."""

    def __init__(self, box: Path, *, python: str, marker: Mapping[str, str]) -> None:
        self._box = box
        self._python = python
        self._marker = dict(marker)

    @property
    def python(self) -> str:
        return self._python

    def absolute(self, path: str) -> str:
        return str(self._box / path)

    def start(self, argv: Sequence[str], *, log: str, environment: Mapping[str, str]) -> None:
        path = self._box / log
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as output:
            subprocess.Popen(
                list(argv),
                cwd=self._box,
                env={**os.environ, **environment, **self._marker},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def put(self, content: bytes, path: str) -> None:
        target = self._box / path
        temporary = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(target)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error

    def put_file(self, source: Path, path: str) -> None:
        self.put(source.read_bytes(), path)

    def size(self, path: str) -> int | None:
        try:
            return (self._box / path).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        try:
            with (self._box / path).open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def list(self, directory: str) -> list[RemoteFile]:
        top = self._box / directory
        return [
            RemoteFile(path.relative_to(top).as_posix(), path.stat().st_size)
            for path in sorted(top.rglob("*"))
            if path.is_file()
        ]

    def process_of(self, run_directory: str) -> Identity | None:
        content = self.read(f"{run_directory}/run.pid")
        recorded = Identity.from_json(content) if content else None
        return recorded if recorded is not None and identify(recorded.pid) == recorded else None

    def terminate(self, run_directory: str) -> bool:
        process = self.process_of(run_directory)
        if process is None:
            return False
        os.kill(process.pid, signal.SIGTERM)
        return True
