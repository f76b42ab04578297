"""A provider whose list can lag, fail and lie, as those of rented machines do."""

import time
from collections.abc import Sequence
from dataclasses import replace

from console.errors import LostAnswerError, ProviderError
from console.fleet.model import InstanceSpec, Offer, OfferQuery, ProviderState, RemoteInstance, Volume
from console.fleet.providers.base import Capabilities
from console.runs.transport import Transport
from ups.errors import NotFoundError


def offer(usd_per_hour: float = 0.30) -> Offer:
    return Offer("1", "simulated", "RTX 4090", 1, 24.0, usd_per_hour, 16, 64.0, 100.0, 860.0, 0.997, "PL")


class SimulatedProvider:
    """Instances in memory; `lingering` lists still show a destroyed instance,
    `broken` ones raise, `empty` ones lie.
    """

    capabilities = Capabilities()

    def __init__(self, name: str = "simulated") -> None:
        self.name = name
        self.empty = 0
        self.rows_of_nonsense = False
        self.lose_answers = 0
        self.swallow = False
        self.failing_destroys = 0
        self.instances: dict[str, RemoteInstance] = {}
        self.refuse: str | None = None
        self.lingering = 0
        self.broken = 0
        self.ignores_destroy = False
        self.calls: list[str] = []
        self._ghosts: dict[str, RemoteInstance] = {}

    def offers(self, query: OfferQuery) -> Sequence[Offer]:
        return [offer()]

    def create(self, spec: InstanceSpec) -> str:
        self.calls.append("create")
        if self.refuse:
            raise ProviderError(self.refuse)
        instance = "" if self.swallow else self.add(spec.label)
        if self.lose_answers:
            self.lose_answers -= 1
            raise LostAnswerError("timed out")
        return instance

    def add(self, label: str, *, state: ProviderState = ProviderState.RUNNING) -> str:
        identifier = str(18000 + len(self.instances) + len(self._ghosts))
        self.instances[identifier] = RemoteInstance(
            identifier, self.name, label, state, 0.30, "RTX 4090", time.time()
        )
        return identifier

    def halt(self, instance: str) -> None:
        self.instances[instance] = replace(self.instances[instance], state=ProviderState.STOPPED)

    def get(self, instance: str) -> RemoteInstance | None:
        self.calls.append("get")
        return self.instances.get(instance)

    def list(self) -> Sequence[RemoteInstance]:
        self.calls.append("list")
        if self.broken:
            self.broken -= 1
            raise ProviderError("the list came without its end")
        if self.rows_of_nonsense:
            raise KeyError("actual_status")
        if self.empty:
            self.empty -= 1
            return []
        if self.lingering and self._ghosts:
            self.lingering -= 1
            return [*self.instances.values(), *self._ghosts.values()]
        return [*self.instances.values()]

    def destroy(self, instance: str) -> None:
        self.calls.append("destroy")
        if self.failing_destroys:
            self.failing_destroys -= 1
            raise ProviderError("500 locked")
        if not self.ignores_destroy and instance in self.instances:
            self._ghosts[instance] = self.instances.pop(instance)

    def transport(self, instance: str) -> Transport:
        raise ProviderError(f"{instance} cannot be reached")

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        return []

    def attach_key(self, public_key: str) -> None:
        self.calls.append("attach_key")

    def balance(self) -> float | None:
        return 10.0

    def volumes(self) -> Sequence[Volume]:
        return []

    def delete_volume(self, volume: str) -> None:
        raise NotFoundError(f"there is no volume {volume}")
