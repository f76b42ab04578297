"""This machine as the place of a run: the runtime is installed, the data is here."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from console.api import Check, DryStep, Level, RentOptions
from console.fleet.ledger import Entry
from console.fleet.model import InstanceSpec, Offer
from console.fleet.offers import Ranking
from console.fleet.providers.base import Provider
from console.runs import runtime, wheel
from console.runs.registry import Registry
from console.runs.sites import Purpose, Say
from console.runs.transport import Transport
from console.settings import Settings
from ups.errors import StoreError
from ups.rundir import RunSpec

GRACE_S = 2.0
"""A box on this machine waits so long after its run: its files can be read when it is gone."""
KEPT_GRACE_S = 10 * 365 * 86400.0
_MINIMUM_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class LocalSite:
    """Runs in processes of this machine."""

    provider: Provider
    settings: Settings
    registry: Registry

    def checks(self, rent: RentOptions) -> Iterator[Check]:
        from ups.store import free_bytes

        missing = runtime.missing_modules()
        if missing:
            yield Check(Level.FAILED, f"{', '.join(missing)} not installed here",
                        hint="pip install 'ups-console[train]'", code="config")  # fmt: skip
        try:
            free = free_bytes(self.registry.root)
        except StoreError as error:
            yield Check(Level.FAILED, error.message, hint=error.hint, code=error.code)
            return
        if free < _MINIMUM_FREE_BYTES:
            yield Check(Level.FAILED, f"only {free / 2**20:.0f} MB of disk are free",
                        hint="free some, or set UPS_HOME elsewhere", code="store")  # fmt: skip
        else:
            yield Check(Level.OK, f"{free / 2**30:.0f} GB of disk free")

    def rank(self, rent: RentOptions) -> Ranking:
        return Ranking(tuple(self.provider.offers(rent.query)))

    def spec(self, label: str, offer: Offer, rent: RentOptions) -> InstanceSpec:
        return InstanceSpec(offer, label, KEPT_GRACE_S if rent.keep else GRACE_S)

    def preview(self, spec: InstanceSpec, purpose: Purpose) -> Iterator[DryStep]:
        yield DryStep("instance", self.provider.preview(spec))

    def open(self, entry: Entry, spec: RunSpec, say: Say) -> Transport:
        assert entry.provider_id is not None
        return self.provider.transport(entry.provider_id)

    def runtime(self, run: Path, began_with: str | None, *, renew: bool, say: Say) -> str | None:
        """What is installed here is what runs here."""
        now = wheel.installed_sha256()
        if began_with not in (None, now):
            say("! the code that is installed here has changed since the run began: it goes on with today's")
        return now

    def for_box(self, spec: RunSpec, transport: Transport, rent: RentOptions) -> RunSpec:
        return spec

    def bring_data(self, spec: RunSpec, transport: Transport, say: Say) -> None:
        """The store is on this machine."""

    def tell(self, transport: Transport, run_directory: str, entry: Entry, purpose: Purpose) -> None:
        box = json.loads(transport.read("box.json"))
        box["run_dir"] = transport.absolute(run_directory)
        box["hold_on_failure_s"] = purpose.hold_on_failure_s
        transport.put(json.dumps(box).encode(), "box.json", mode=0o600)

    def environment(self) -> Mapping[str, str]:
        return self.settings.store_environment
