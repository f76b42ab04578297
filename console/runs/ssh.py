"""A rented box behind the `Transport` protocol: scripts and file transfers over one SSH connection.

The box needs a POSIX sh, coreutils, findutils and setsid, as every image has them, and for large files the
SFTP of its sshd. What may be asked twice is asked again by itself after a cut; what may not, fails.
"""

import contextlib
import hashlib
import posixpath
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from console.errors import ProviderError
from console.fleet.model import SshAddress
from console.fleet.processes import Identity
from console.runs import ssh_scripts as scripts
from console.runs.ssh_connection import CutError, Patience, SshConnection
from console.runs.transport import PID_FILE, Completed, Piece, RemoteFile, Span
from ups.errors import StoreError

_CHUNK = 8 * 1024 * 1024
_SMALL_BYTES = 256 * 1024
"""Files up to this size go in one command: resuming them would take longer than sending them again."""
_ATTEMPTS = 3
_HASH_BYTES_PER_S = 50e6
"""A slow box hashes so fast."""
_KILL_AFTER_S = 5
_TIMED_OUT = 124
"""What `timeout` ends with when it had to end the command."""


class SshTransport:
    """Commands and files on a box that has an address."""

    def __init__(
        self,
        address: SshAddress,
        *,
        key: Path,
        known_hosts: Path,
        box: str,
        python: str,
        marker: Mapping[str, str],
        patience: Patience | None = None,
    ) -> None:
        """Connects at the first use.

        Args:
            address: where the box listens.
            key: private key file, mode 0600.
            known_hosts: this instance's own file of host keys; made at first contact.
            box: absolute path of the box's directory there.
            python: the interpreter there that has the runtime, absolute or relative to the box.
            marker: what every process of the box carries in its environment.
            patience: how long is waited for what.
        """
        self._box = box
        self._python = python
        self._marker = dict(marker)
        self._connection = SshConnection(address, key=key, known_hosts=known_hosts, patience=patience)

    @property
    def python(self) -> str:
        return self.absolute(self._python) if "/" in self._python else self._python

    @property
    def address(self) -> SshAddress:
        return self._connection.address

    def absolute(self, path: str) -> str:
        return posixpath.join(self._box, path)

    def open(self) -> None:
        """Connect and log in now, where that has not happened.

        Raises:
            UnreachableError: nobody answers.
            LoginError: the key is not accepted, or another machine answers.
        """
        self._connection.open()

    def close(self) -> None:
        self._connection.close()

    # --- processes ----------------------------------------------------------------------------

    def start(self, argv: Sequence[str], run_directory: str, *, environment: Mapping[str, str]) -> None:
        try:
            given = scripts.exports({**environment, **self._marker})
        except ValueError as error:
            raise ProviderError(str(error)) from error
        token = secrets.token_hex(8)
        self._script(scripts.START, self._box, run_directory, token, *argv, stdin=given)
        with contextlib.suppress(ProviderError):  # it has started; a folder that is left harms nobody
            self._script(scripts.FORGET, self.absolute(f"{run_directory}/.start-{token}"))

    def process_of(self, run_directory: str) -> Identity | None:
        found = self._process(run_directory)
        return found[0] if found else None

    def terminate(self, run_directory: str) -> bool:
        found = self._process(run_directory)
        if found is None:
            return False
        identity, started_ms = found
        arguments = (str(identity.pid), started_ms, identity.boot_id)
        return self._script(scripts.TERMINATE, *arguments, again=False) == b"sent\n"

    def _process(self, run_directory: str) -> tuple[Identity, str] | None:
        """The living process of a run, and its start as the box counts it."""
        lines = self._script(scripts.PROCESS, self.absolute(f"{run_directory}/{PID_FILE}")).splitlines()
        if len(lines) < 2:
            return None
        recorded = Identity.from_json(lines[0])
        pid, started_ms, boot_id = lines[1].decode().split()
        living = Identity(int(pid), int(started_ms) / 1000, boot_id)
        return (recorded, started_ms) if recorded is not None and recorded == living else None

    def run(self, argv: Sequence[str], *, input: bytes | None = None, timeout_s: float) -> Completed:  # noqa: A002
        marker = [f"{name}={value}" for name, value in self._marker.items()]
        limit = ["timeout", "-k", str(_KILL_AFTER_S), f"{timeout_s:.3f}"]
        line = scripts.command_line(scripts.RUN, [self._box, *marker, *limit, *argv])
        patience = timeout_s + _KILL_AFTER_S + 5
        done = self._connection.execute(line, stdin=input or b"", timeout_s=patience, stall_s=patience)
        if done.code == _TIMED_OUT:
            raise ProviderError(
                f"{argv[0]} on {self._where} took longer than {timeout_s:.0f} s, and was ended"
            )
        return Completed(done.code, self._own(done), done.err)

    # --- files --------------------------------------------------------------------------------

    def put(self, content: bytes, path: str, *, mode: int = 0o644) -> None:
        target = self.absolute(path)
        for attempt in range(_ATTEMPTS):
            # Of its own each time: what a cut has left running may still write to the one before.
            temporary = _beside(target, secrets.token_hex(6))
            try:
                self._script(
                    scripts.PUT, target, temporary, str(len(content)), f"{mode:o}", stdin=content, again=False
                )
                return
            except CutError:
                if attempt == _ATTEMPTS - 1:
                    raise

    def put_file(self, source: Path, path: str) -> None:
        try:
            size = source.stat().st_size
            if size <= _SMALL_BYTES:
                content = source.read_bytes()
            else:
                with source.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StoreError(f"{source} cannot be read: {error.strerror or error}") from error
        if size <= _SMALL_BYTES:
            self.put(content, path)
        else:
            self._transfer(source, size, digest, self.absolute(path))

    def _transfer(self, source: Path, size: int, digest: str, target: str) -> None:
        hashing_s = 60 + size / _HASH_BYTES_PER_S
        if self._script(scripts.PREPARE, target, str(size), digest, stall_s=hashing_s) == b"same\n":
            return
        part = _beside(target, digest[:16])
        for _ in range(2):
            self._upload(source, size, part)
            if not self._script(scripts.ADOPT, target, part, digest, stall_s=hashing_s):
                return
        raise StoreError(
            f"{source} arrives changed at {target} on {self._where}",
            hint="the file is being written, or the box's disk is damaged",
        )

    def _upload(self, source: Path, size: int, part: str) -> None:
        """Write what the part lacks. A write names its place, so that one that comes twice is harmless."""
        idle = 0
        before = -1
        while True:
            have = self.size(part) or 0
            idle = idle + 1 if have <= before else 0
            if have == size:
                return
            before = have
            try:
                self._upload_from(source, have if have < size else 0, part)
            except CutError:
                if idle >= _ATTEMPTS:
                    raise
            except OSError as error:
                raise StoreError(
                    f"{part} on {self._where} cannot be written: {error.strerror or error}",
                    hint="is the box's disk full?",
                ) from error

    def _upload_from(self, source: Path, offset: int, part: str) -> None:
        with self._connection.sftp() as session, source.open("rb") as file:
            file.seek(offset)
            with session.open(part, "r+b" if offset else "wb") as target:
                target.set_pipelined(True)
                target.seek(offset)
                while chunk := file.read(_CHUNK):
                    target.write(chunk)

    def size(self, path: str) -> int | None:
        return self.pieces([Span(path, 0, 0)])[0].size

    def read(self, path: str, offset: int = 0, limit: int = -1) -> bytes:
        content = bytearray()
        while limit < 0 or len(content) < limit:
            asked = _CHUNK if limit < 0 else min(_CHUNK, limit - len(content))
            found = self.pieces([Span(path, offset + len(content), asked)])[0].content
            content += found
            if len(found) < asked:
                break
        return bytes(content)

    def pieces(self, spans: Sequence[Span]) -> Sequence[Piece]:
        arguments = [
            text for span in spans for text in (self.absolute(span.path), str(span.offset), str(span.limit))
        ]
        done = self._finished(scripts.PIECES, arguments)
        out = memoryview(self._own(done))
        found = []
        for span in spans:
            head, _, _ = bytes(out[:64]).partition(b"\n")
            try:
                size, count = map(int, head.split())
                content = bytes(out[len(head) + 1 : len(head) + 1 + count])
            except ValueError:
                raise self._unreadable(span.path, done) from None
            if len(content) != count:
                raise self._unreadable(span.path, done)
            found.append(Piece(size if size >= 0 else None, content))
            out = out[len(head) + 1 + count :]
        return found

    def list(self, directory: str) -> list[RemoteFile]:
        entries = self._script(scripts.LIST, self.absolute(directory)).split(b"\0")[:-1]
        found = []
        for entry in entries:
            size, _, path = entry.decode(errors="surrogateescape").partition(" ")
            found.append(RemoteFile(path, int(size)))
        return sorted(found, key=lambda file: file.path)

    # --- scripts ------------------------------------------------------------------------------

    def _script(
        self,
        script: str,
        *arguments: str,
        stdin: bytes = b"",
        again: bool = True,
        stall_s: float | None = None,
    ) -> bytes:
        return self._own(self._finished(script, arguments, stdin=stdin, again=again, stall_s=stall_s))

    def _finished(
        self,
        script: str,
        arguments: Sequence[str],
        *,
        stdin: bytes = b"",
        again: bool = True,
        stall_s: float | None = None,
    ) -> Completed:
        line = scripts.command_line(script, arguments)
        for left in reversed(range(_ATTEMPTS if again else 1)):
            try:
                done = self._connection.execute(line, stdin=stdin, stall_s=stall_s)
                if done.code == scripts.INCOMPLETE:
                    raise CutError(f"the connection to {self._where} broke")
            except CutError:
                if not left:
                    raise
            else:
                break
        if done.code == 0:
            return done
        words = done.err.decode(errors="replace").strip().splitlines()
        text = words[-1] if words else f"exit code {done.code}"
        if done.code == scripts.CANNOT_WRITE:
            raise StoreError(f"{self._where} cannot be written: {text}", hint="is the box's disk full?")
        raise ProviderError(f"a command on {self._where} failed: {text}")

    def _own(self, done: Completed) -> bytes:
        own = scripts.output(done.out)
        if own is None:
            words = (done.err or done.out).decode(errors="replace").strip().splitlines()
            raise ProviderError(
                f"{self._where} runs no commands: {words[-1] if words else 'it says nothing'}",
                hint=f"try `ssh -p {self.address.port} {shlex.quote(self.address.host)} true`",
            )
        return own

    def _unreadable(self, path: str, done: Completed) -> StoreError:
        words = done.err.decode(errors="replace").strip().splitlines()
        why = words[-1] if words else "it shrank while it was read"
        return StoreError(f"{path} on {self._where} cannot be read: {why}")

    @property
    def _where(self) -> str:
        return f"{self.address.host}:{self.address.port}"


def _beside(target: str, unique: str) -> str:
    folder, name = posixpath.split(target)
    return posixpath.join(folder, f".{name}.{unique}.part")
