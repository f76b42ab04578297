"""The contract that every provider fulfils.

All calls may block on the network and are made from worker threads or the CLI, never from a user
interface's thread. A provider keeps no state of its own: the ledger remembers, `list` observes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from console.fleet.model import Offer, RemoteInstance
from console.runs.transport import Transport


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between providers, as data instead of `if provider == …`."""

    spot: bool = False
    private_network: bool = False
    scoped_key: bool = False
    """A key exists that may destroy just its own instance."""
    immediate_list: bool = False
    """`list` reads the truth itself (a process table), so that one look proves an absence."""


class Provider(Protocol):
    """Rents, lists and destroys instances."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def offers(self) -> list[Offer]:
        """What may be rented now, the cheapest first. Retryable."""
        ...

    def create(self, offer: Offer, label: str, *, grace_s: float) -> str:
        """Rent `offer` under `label` and return the instance's id.

        Not retryable: a lost answer may have rented. The label's deadline and `grace_s` (seconds
        that the box waits after its run's end before it ends itself) go to the box's watchdog.

        Raises:
            ProviderError: refused; nothing was rented.
        """
        ...

    def get(self, instance: str) -> RemoteInstance | None:
        """The instance, or None where the provider says that there is none. Retryable."""
        ...

    def list(self) -> list[RemoteInstance]:
        """All instances, complete or not at all.

        Raises:
            ProviderError: the list is malformed or incomplete; it proves nothing.
        """
        ...

    def destroy(self, instance: str) -> None:
        """Ask for destruction; idempotent and retryable. Only `list` tells whether it happened."""
        ...

    def transport(self, instance: str) -> Transport:
        """Commands and files on the instance."""
        ...

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        """The provider's own log: all there is of a box that cannot be reached."""
        ...
