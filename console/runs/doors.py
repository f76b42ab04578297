"""The way into rented boxes: one SSH connection for each, kept from look to look."""

import threading
from pathlib import Path

from console.errors import ProviderError
from console.fleet.box_file import MARKER
from console.fleet.keys import KeyPair, console_key
from console.fleet.model import RemoteInstance, SshAddress
from console.home import Home
from console.runs.ssh import SshTransport
from console.settings import BoxTerms


class Doors:
    """Opens boxes with this console's key; may be shared by threads."""

    def __init__(self, home: Home, terms: BoxTerms, console_id: str) -> None:
        self._home = home
        self._terms = terms
        self._console_id = console_id
        self._open: dict[str, SshTransport] = {}
        self._lock = threading.Lock()

    @property
    def key(self) -> KeyPair:
        """This console's own; made when it is first needed."""
        return console_key(self._home.root, self._console_id)

    def box(self, label: str) -> str:
        """The directory of a box, as the box sees it."""
        return f"{self._terms.workdir.rstrip('/')}/{label}"

    def known_hosts(self, label: str) -> Path:
        """A file for each instance: addresses are given to other machines again."""
        return self._home.known_hosts / label

    def open(self, instance: RemoteInstance) -> SshTransport:
        """The connection to an instance, which is made at its first use.

        Raises:
            ProviderError: it has no address yet.
        """
        if instance.ssh is None:
            raise ProviderError(f"{instance.id} has no address yet: {instance.status or instance.state}")
        return self.at(instance.label, instance.ssh)

    def at(self, label: str, address: SshAddress) -> SshTransport:
        """The connection to the instance of this label, which listens there."""
        with self._lock:
            known = self._open.get(label)
            if known is not None and known.address == address:
                return known
            if known is not None:
                known.close()
            opened = SshTransport(
                address,
                key=self.key.private,
                known_hosts=self.known_hosts(label),
                box=self.box(label),
                python="venv/bin/python",
                marker={MARKER: label},
            )
            self._open[label] = opened
            return opened

    def close(self) -> None:
        """Close all connections; the boxes take no notice."""
        with self._lock:
            for transport in self._open.values():
                transport.close()
            self._open.clear()
