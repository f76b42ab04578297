"""The host key of one instance, pinned at first contact in a file of its own.

Providers use addresses and ports again, so the key is filed under one fixed alias, not under an address:
an instance that comes back at another port is still the same one.
"""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from console.errors import HostKeyChangedError
from ups.errors import StoreError

HOST_ALIAS = "ups-instance"
"""What the instance is called in the file; the `HostKeyAlias` of the user's own client."""


def check_host_key(path: Path, algorithm: str, key: bytes) -> None:
    """Pin the key where none is known yet; else compare.

    Raises:
        HostKeyChangedError: another key is pinned.
        StoreError: the file cannot be read or written.
    """
    line = f"{HOST_ALIAS} {algorithm} {base64.b64encode(key).decode()}\n"
    try:
        if not path.exists():
            _pin(path, line)
        pinned = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    if line not in pinned.splitlines(keepends=True):
        raise HostKeyChangedError(
            f"another machine answers: its host key is not the one in {path}",
            hint="the address may have gone to somebody else; `ups-console destroy` the instance, "
            "or delete that file if you know why the key has changed",
        )


def pinned_algorithms(path: Path) -> list[str]:
    """The kinds of the pinned keys, to ask the server for."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [fields[1] for line in lines if len(fields := line.split()) == 3 and fields[0] == HOST_ALIAS]


def _pin(path: Path, line: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(line)
        with contextlib.suppress(FileExistsError):  # another process was the first contact: its key counts
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
