"""Where a run lands: what differs between this machine and a rented one.

A launch rents, opens and starts in the same way everywhere; what it has to check before, what it
tells the provider and how it gets the runtime onto the box is the site's.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from console.api import Check, DryStep, RentOptions
from console.fleet.ledger import Entry
from console.fleet.model import InstanceSpec, Offer
from console.fleet.offers import Ranking
from console.fleet.providers.base import Provider
from console.runs.transport import Transport
from ups.rundir import RunSpec

Say = Callable[[str], None]
"""Told of each step of a launch."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What an instance is for, as its own watchdog has to know it."""

    deadline: float
    """Unix seconds."""
    cap_usd: float
    usd_per_hour: float
    keep: bool
    hold_on_failure_s: float
    follows: bool = False
    """Another box has the run directory that counts: this one publishes nothing, and has no lease."""


class Site(Protocol):
    """Prepares instances of one provider for runs."""

    @property
    def provider(self) -> Provider: ...

    def checks(self, rent: RentOptions) -> Iterator[Check]:
        """What can be known before paying, beyond config, data and offers; changes and spends nothing."""
        ...

    def rank(self, rent: RentOptions) -> Ranking:
        """The offers that will do, the best first, and why the others were passed over.

        Raises:
            ProviderError: the provider could not be asked.
        """
        ...

    def spec(self, label: str, offer: Offer, rent: RentOptions) -> InstanceSpec:
        """What the provider is told."""
        ...

    def preview(self, spec: InstanceSpec, purpose: Purpose) -> Iterator[DryStep]:
        """What renting and opening would send, with secrets masked; spends nothing."""
        ...

    def open(self, entry: Entry, spec: RunSpec, say: Say) -> Transport:
        """Wait until the instance can be used, and bring the runtime there, with what the run needs.

        Raises:
            UpsError: it cannot be used.
        """
        ...

    def runtime(self, run: Path, began_with: str | None, *, renew: bool, say: Say) -> str | None:
        """Make sure of the code that a run is executed by; a sha256 that tells it, for run.yaml.

        A run goes on with the code that it began with, whatever is installed here meanwhile.

        Args:
            run: the run's directory here, which keeps its code.
            began_with: sha256 of the run's code; None: it has none yet.
            renew: take today's code all the same.
            say: told where it is not the code that the run began with.

        Raises:
            NotFoundError: the run's code is lost, and today's is another.
            StoreError: it cannot be kept.
        """
        ...

    def for_box(self, spec: RunSpec, transport: Transport, rent: RentOptions) -> RunSpec:
        """The run as that box has to read it."""
        ...

    def bring_data(self, spec: RunSpec, transport: Transport, say: Say) -> None:
        """Bring what the box cannot fetch by itself."""
        ...

    def tell(self, transport: Transport, run_directory: str, entry: Entry, purpose: Purpose) -> None:
        """Tell the box's watchdog what it guards now."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Of the run's process, keys among it: never an argument."""
        ...
