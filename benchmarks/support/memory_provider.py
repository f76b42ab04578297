"""A provider whose instances are rows in memory, and which answers at once."""

import time
from collections.abc import Sequence

from console.errors import ProviderError
from console.fleet.model import InstanceSpec, Offer, OfferQuery, ProviderState, RemoteInstance, Volume
from console.fleet.providers.base import Capabilities
from console.runs.transport import Transport


class MemoryProvider:
    """Lists what was added to it."""

    name = "memory"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self.instances: dict[str, RemoteInstance] = {}

    def add(self, label: str) -> str:
        """An instance under this label; returns its id."""
        identifier = f"m{len(self.instances)}"
        self.instances[identifier] = RemoteInstance(
            identifier, self.name, label, ProviderState.RUNNING, 0.3, "RTX 4090 ×1", time.time()
        )
        return identifier

    def offers(self, query: OfferQuery) -> list[Offer]:
        return []

    def create(self, spec: InstanceSpec) -> str:
        return self.add(spec.label)

    def get(self, instance: str) -> RemoteInstance | None:
        return self.instances.get(instance)

    def list(self) -> list[RemoteInstance]:
        return [*self.instances.values()]

    def destroy(self, instance: str) -> None:
        self.instances.pop(instance, None)

    def transport(self, instance: str) -> Transport:
        raise ProviderError(f"{instance} cannot be reached")

    def attach_key(self, public_key: str) -> None:
        """No key opens what is not there."""

    def balance(self) -> float | None:
        return None

    def volumes(self) -> Sequence[Volume]:
        return []

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        return []
