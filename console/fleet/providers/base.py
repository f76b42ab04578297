"""The contract that every provider fulfils.

All calls may block on the network and are made from worker threads or the CLI, never from a user
interface's thread. A provider keeps no state of its own: the ledger remembers, `list` observes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from console.fleet.model import InstanceSpec, Offer, OfferQuery, RemoteInstance, Volume
from console.runs.transport import Transport


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between providers, as data instead of `if provider == …`."""

    rented: bool = False
    """Its instances are other machines, opened by SSH and paid by the hour."""
    spot: bool = False
    private_network: bool = False
    """Its instances reach one another directly, so that several may train one model."""
    offers_repeat: bool = False
    """One offer may be rented several times."""
    volumes: bool = False
    """Block volumes are made beside its instances, and outlive them where nobody deletes them."""
    box_api: str = ""
    """The API's address, without a path, that takes an instance's own key; empty: there are no such keys."""
    immediate_list: bool = False
    """`list` reads the truth itself (a process table), so that one look proves an absence."""
    pace: float = 1.0
    """Every interval and patience of the fleet times this: below 1 against a simulator only."""

    @property
    def scoped_key(self) -> bool:
        """Whether a key exists that may destroy just its own instance."""
        return bool(self.box_api)


class Provider(Protocol):
    """Rents, lists and destroys instances."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def offers(self, query: OfferQuery) -> list[Offer]:
        """What may be rented now, the cheapest first; `usd_per_hour` includes the disk asked for. Retryable.

        A provider narrows its market by the GPU, their number and `spot` and no further:
        `console.fleet.offers.rank` does the rest, and says why an offer was passed over.
        """
        ...

    def create(self, spec: InstanceSpec) -> str:
        """Rent `spec.offer` under `spec.label` and return the instance's id.

        Sent once, whatever happens: a lost answer may have rented.

        Raises:
            LostAnswerError: nobody knows whether it was rented.
            OfferGoneError: another one was quicker; nothing was rented.
            ProviderError: refused; nothing was rented.
        """
        ...

    def preview(self, spec: InstanceSpec) -> str:
        """The request that `create` would send, with secrets masked, for people; nothing is sent."""
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
        """Commands and files on the instance. Called at every look: what is slow about it is kept.

        Raises:
            ProviderError: there is no such instance, or it cannot be reached (yet): says why.
        """
        ...

    def attach_key(self, public_key: str) -> None:
        """Make this key (an OpenSSH line) open the instances that are created from now on; idempotent."""
        ...

    def balance(self) -> float | None:
        """Dollars that are left to spend; None where the provider bills afterwards."""
        ...

    def volumes(self) -> Sequence[Volume]:
        """All block volumes, complete or not at all, as `list` does."""
        ...

    def delete_volume(self, volume: str) -> None:
        """Detach a block volume and delete it, with all that is on it. Retryable.

        Raises:
            NotFoundError: there is no such volume (any more).
            ProviderError: it may still exist, and still cost money.
        """
        ...

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        """The provider's own log: all there is of a box that cannot be reached."""
        ...
