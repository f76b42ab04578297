"""Commands and files on an instance: local processes here, SSH behind the same protocol."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from console.errors import ProviderError
from console.fleet.processes import Identity, boot_id, identify
from ups.errors import StoreError

PID_FILE = "run.pid"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the instance."""

    path: str
    """Relative to the directory that was listed, POSIX."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file that are wanted."""

    path: str
    offset: int
    limit: int
    """At most so many bytes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a file held of a span."""

    size: int | None
    """Bytes of the whole file at that time; None where there is none."""
    content: bytes


class Transport(Protocol):
    """What the console does on an instance. Paths are absolute, or relative to the box's directory."""

    @property
    def python(self) -> str:
        """The interpreter that has the runtime."""
        ...

    def start(self, argv: Sequence[str], run_directory: str, *, environment: Mapping[str, str]) -> None:
        """Start a run's process, which outlives this console.

        Its output is appended to the directory's run.log, its identity written to run.pid, so that
        the watchdog knows even of a run that died at once.
        """
        ...

    def put(self, content: bytes, path: str, *, mode: int = 0o644) -> None:
        """Write a file atomically, with its parents and these permissions."""
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

    def pieces(self, spans: Sequence[Span]) -> Sequence[Piece]:
        """A piece for each span, in one round trip: what it takes to follow files that grow."""
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

    def run(self, argv: Sequence[str], *, input: bytes | None = None, timeout_s: float) -> Completed:  # noqa: A002
        """Run a command in the box's directory, and wait for its end.

        Never sent twice: after a cut nobody knows whether it has run.

        Raises:
            ProviderError: it took longer than `timeout_s`; it has been ended.
            UnreachableError: the instance cannot be reached, or not any more.
        """
        ...

    def close(self) -> None:
        """Let go of connections; the next use makes new ones."""
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

    def start(self, argv: Sequence[str], run_directory: str, *, environment: Mapping[str, str]) -> None:
        with (self._box / run_directory / "run.log").open("ab") as output:
            child = subprocess.Popen(
                list(argv),
                cwd=self._box,
                env={**os.environ, **environment, **self._marker},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # One that is gone by now has no start time, and needs none: no living process has its identity.
        identity = identify(child.pid) or Identity(child.pid, 0.0, boot_id())
        self.put(identity.to_json(), f"{run_directory}/{PID_FILE}")

    def put(self, content: bytes, path: str, *, mode: int = 0o644) -> None:
        target = self._box / path
        temporary = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.replace(target)
        except OSError as error:
            raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error

    def put_file(self, source: Path, path: str) -> None:
        self.put(source.read_bytes(), path)

    def size(self, path: str) -> int | None:
        target = self._box / path
        try:
            return target.stat().st_size if target.is_file() else None
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        try:
            with (self._box / path).open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def pieces(self, spans: Sequence[Span]) -> Sequence[Piece]:
        found = []
        for span in spans:
            size = self.size(span.path)
            limit = min(span.limit, max(0, (size or 0) - span.offset))
            found.append(Piece(size, self.read(span.path, span.offset, limit) if limit else b""))
        return found

    def list(self, directory: str) -> list[RemoteFile]:
        top = self._box / directory
        found = []
        for folder, _, names in os.walk(top):  # what the run prunes meanwhile is passed over
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    found.append(RemoteFile(path.relative_to(top).as_posix(), path.stat().st_size))
        return sorted(found, key=lambda file: file.path)

    def process_of(self, run_directory: str) -> Identity | None:
        content = self.read(f"{run_directory}/{PID_FILE}")
        recorded = Identity.from_json(content) if content else None
        return recorded if recorded is not None and identify(recorded.pid) == recorded else None

    def terminate(self, run_directory: str) -> bool:
        process = self.process_of(run_directory)
        if process is None:
            return False
        os.kill(process.pid, signal.SIGTERM)
        return True

    def run(self, argv: Sequence[str], *, input: bytes | None = None, timeout_s: float) -> Completed:  # noqa: A002
        try:
            done = subprocess.run(
                list(argv),
                cwd=self._box,
                env={**os.environ, **self._marker},
                input=input or b"",
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ProviderError(f"{argv[0]} took longer than {timeout_s:.0f} s") from error
        except FileNotFoundError as error:  # as a shell says it
            return Completed(127, b"", f"{error}\n".encode())
        return Completed(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """Nothing is open."""
