"""The console's own SSH key: made once, it opens every box that this console rents."""

import contextlib
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from console.errors import LoginError
from ups.errors import StoreError

_NAME = "id_ed25519"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key: the private half is only ever named, never held."""

    private: Path
    """OpenSSH file, mode 0600."""
    public: str
    """The line that providers and `authorized_keys` take."""


def console_key(home: Path, console_id: str) -> KeyPair:
    """The key below `home`/keys, made at the first call; of two consoles that make it at once, one wins.

    Raises:
        StoreError: it cannot be written.
        LoginError: what is there is no key, or others may read it.
    """
    path = home / "keys" / _NAME
    if not path.exists():
        _make(path)
    check_private(path)
    return KeyPair(path, f"{_public_of(path)} ups-console-{console_id}")


def check_private(path: Path) -> None:
    """Raises LoginError where there is no key file, or where others than its owner may read it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise LoginError(
            f"the SSH key {path} cannot be read: {error.strerror or error}",
            hint="name a key that exists; the console makes one in its home where none is named",
        ) from error
    if mode & 0o077:
        raise LoginError(
            f"the SSH key {path} can be read by others (mode {mode:04o})", hint=f"chmod 600 {path}"
        )


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # another process was quicker: its key is the key
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"the SSH key {path} cannot be made: {error.strerror or error}",
            hint="set UPS_HOME to a directory with space that you may write",
        ) from error


def _public_of(path: Path) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LoginError(
            f"{path} is no OpenSSH key without a passphrase",
            hint="move it away; the console makes a new one for what is rented from then on",
        ) from error
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return line.decode()
