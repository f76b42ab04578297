"""Command lines for the user's own ssh: a shell on a box, and ports of it brought here."""

from collections.abc import Sequence
from pathlib import Path

from console.fleet.model import SshAddress
from console.runs.known_hosts import HOST_ALIAS


def ssh_argv(
    address: SshAddress,
    key: Path,
    known_hosts: Path,
    command: Sequence[str] = (),
    *,
    ports: Sequence[int] = (),
) -> list[str]:
    """What opens a shell on the box, or runs `command` there; it holds no secret, only paths.

    `ports` of the box are the same ports of this machine meanwhile.
    """
    forwards = [word for port in ports for word in ("-L", _forward(port, port))]
    return ["ssh", *_options(address, key, known_hosts), *forwards, *_place(address), *command]


def forward_argv(
    address: SshAddress, key: Path, known_hosts: Path, *, local_port: int, remote_port: int
) -> list[str]:
    """What makes a port of the box (TensorBoard's, Jupyter's) one of this machine's, until it is ended.

    Only this machine reaches it, and the box need not listen on more than its own 127.0.0.1.
    """
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", _forward(local_port, remote_port)]
    return ["ssh", *_options(address, key, known_hosts), *options, *_place(address)]


def _forward(local_port: int, remote_port: int) -> str:
    return f"127.0.0.1:{local_port}:127.0.0.1:{remote_port}"


def _options(address: SshAddress, key: Path, known_hosts: Path) -> list[str]:
    # New keys are taken only where none is pinned; the console itself pins at its first contact.
    settings = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "ForwardAgent": "no",
        "UserKnownHostsFile": _quoted(known_hosts),
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": HOST_ALIAS,
        "HashKnownHosts": "no",  # the console reads the file too
        "StrictHostKeyChecking": "accept-new",
        "UpdateHostKeys": "no",
        "ServerAliveInterval": "15",
    }
    options = [text for name, value in settings.items() for text in ("-o", f"{name}={value}")]
    return ["-o", f"IdentityFile={_quoted(key)}", *options, "-p", str(address.port)]


def _place(address: SshAddress) -> list[str]:
    return ["-l", address.user, "--", address.host]


def _quoted(path: Path) -> str:
    """ssh splits at spaces, and expands % in both files' names."""
    return '"' + str(path).replace("%", "%%") + '"'
