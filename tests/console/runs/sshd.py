"""A box with a door, for tests of what goes over SSH."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.runs.ssh import SshTransport
from console.runs.ssh_connection import Patience
from tests.simulators.sshd import Sshd, new_key

LABEL = "ups-0a1b2c3d-0123456789ab-1999999999"
PATIENT = Patience(connect_s=30.0, ask_s=0.2, silence_s=30.0, stall_s=60.0)
"""A loaded machine may leave a server without its turn for longer than a second."""
HURRIED = Patience(connect_s=2.0, ask_s=0.2, silence_s=1.0, stall_s=10.0)
"""Where the server falls silent."""


class Door:
    """A server, a key that opens it, and transports to a box behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "key"
        self.known_hosts = folder / "known_hosts"
        self.box = folder / "box of it's"
        self.server = Sshd(folder / "sshd", public_keys=[new_key(self.key)])
        self._open: list[SshTransport] = []

    def transport(self, patience: Patience = PATIENT) -> SshTransport:
        made = SshTransport(
            self.server.address,
            key=self.key,
            known_hosts=self.known_hosts,
            box=str(self.box),
            python=sys.executable,
            marker={"UPS_INSTANCE": LABEL},
            patience=patience,
        )
        self._open.append(made)
        return made

    def close(self) -> None:
        for transport in self._open:
            transport.close()
        self.server.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    yield made
    made.close()
