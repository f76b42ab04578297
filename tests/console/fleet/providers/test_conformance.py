"""What holds for every provider, whoever it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.errors import ProviderError
from console.fleet.model import InstanceSpec, Label, OfferQuery, ProviderState, RemoteInstance
from console.fleet.pacing import Pacer
from console.fleet.providers.base import Provider
from console.fleet.providers.local import LocalProvider
from console.fleet.providers.vast import VastProvider
from console.fleet.providers.vultr import VultrProvider
from console.runs.transport import Transport
from tests.patience import PATIENCE_S
from tests.simulators.vast import VastSimulator
from tests.simulators.vultr import VultrSimulator
from ups.errors import NotFoundError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfakefakefakefakefakefakefakefakefakefakefa ups"
NOBODY = "999999999"


class UnopenedTransport:
    """Stands for a way to the box that was asked for."""

    def __init__(self, row: RemoteInstance) -> None:
        self.row = row


@dataclass(frozen=True, slots=True)
class Rig:
    """A provider, and what may be rented there."""

    provider: Provider
    query: OfferQuery


def open_transport(row: RemoteInstance) -> Transport:
    return UnopenedTransport(row)  # type: ignore[return-value]


@contextmanager
def local(root: Path) -> Iterator[Rig]:
    provider = LocalProvider(root / "instances")
    try:
        yield Rig(provider, OfferQuery())
    finally:
        for instance in provider.list():
            provider.destroy(instance.id)


@contextmanager
def vast(root: Path) -> Iterator[Rig]:
    with VastSimulator() as simulator:
        pacer = Pacer({}, sleep=lambda _: None)
        yield Rig(
            VastProvider(simulator.api_key, simulator.url, open_transport=open_transport, pacer=pacer),
            OfferQuery(gpus=("RTX_4090",)),
        )


@contextmanager
def vultr(root: Path) -> Iterator[Rig]:
    with VultrSimulator() as simulator:
        pacer = Pacer({}, sleep=lambda _: None)
        provider = VultrProvider(simulator.api_key, simulator.url, open_transport=open_transport, pacer=pacer)
        yield Rig(provider, OfferQuery(gpus=("A100", "L40S")))
        provider.close()


RIGS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "local": local,
    "vast": vast,
    "vultr": vultr,
}


_MARKS = {"vast": pytest.mark.needs_module("vastai")}


@pytest.fixture(params=[pytest.param(name, marks=_MARKS.get(name, ())) for name in sorted(RIGS)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path) as rig:
        yield rig


@pytest.fixture
def label() -> str:
    return str(Label.new("c0ffee00", time.time() + 600))


def spec_of(rig: Rig, label: str) -> InstanceSpec:
    return InstanceSpec(rig.provider.offers(rig.query)[0], label, 60.0, disk_gb=32.0, public_key=KEY)


def rent(rig: Rig, label: str) -> str:
    return rig.provider.create(spec_of(rig, label))


def until_running(provider: Provider, instance: str) -> RemoteInstance:
    until = time.monotonic() + PATIENCE_S
    while True:
        found = provider.get(instance)
        if found is not None and found.state is ProviderState.RUNNING:
            return found
        assert time.monotonic() < until, found
        time.sleep(0.02)


def until_gone(provider: Provider, instance: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while provider.get(instance) is not None or any(row.id == instance for row in provider.list()):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_offers_are_priced_named_and_the_cheapest_comes_first(rig: Rig) -> None:
    offers = rig.provider.offers(rig.query)
    assert offers
    assert [offer.usd_per_hour for offer in offers] == sorted(offer.usd_per_hour for offer in offers)
    assert all(offer.provider == rig.provider.name and offer.id and offer.gpu for offer in offers)
    assert len({offer.id for offer in offers}) == len(offers)


def test_what_is_created_is_listed_under_its_label(rig: Rig, label: str) -> None:
    started = time.time()
    instance = rent(rig, label)
    found = until_running(rig.provider, instance)
    assert (found.id, found.label, found.provider) == (instance, label, rig.provider.name)
    assert started - 60 < found.created < time.time() + 60
    assert found.what
    assert [row for row in rig.provider.list() if row.label == label] == [found]


def test_two_instances_are_told_apart(rig: Rig, label: str) -> None:
    other = str(Label.new("c0ffee00", time.time() + 600))
    ids = {rent(rig, label), rent(rig, other)}
    assert len(ids) == 2
    assert {row.label for row in rig.provider.list()} == {label, other}


def test_destroy_is_idempotent_and_takes_only_its_own(rig: Rig, label: str) -> None:
    other = str(Label.new("c0ffee00", time.time() + 600))
    instance, stays = rent(rig, label), rent(rig, other)
    rig.provider.destroy(instance)
    until_gone(rig.provider, instance)
    rig.provider.destroy(instance)
    assert [row.id for row in rig.provider.list()] == [stays]
    rig.provider.destroy(stays)
    until_gone(rig.provider, stays)


def test_what_never_was_is_none_and_its_destruction_no_error(rig: Rig) -> None:
    assert rig.provider.get(NOBODY) is None
    rig.provider.destroy(NOBODY)
    with pytest.raises(ProviderError, match=NOBODY):
        rig.provider.transport(NOBODY)


def test_a_key_may_be_attached_twice(rig: Rig) -> None:
    rig.provider.attach_key(KEY)
    rig.provider.attach_key(KEY)


def test_a_preview_names_the_label_and_rents_nothing(rig: Rig, label: str) -> None:
    assert label in rig.provider.preview(spec_of(rig, label))
    assert rig.provider.list() == []


def test_there_is_no_volume_to_delete(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        rig.provider.delete_volume(NOBODY)


def test_money_and_volumes_can_be_asked_for(rig: Rig) -> None:
    balance = rig.provider.balance()
    assert balance is None or balance > 0
    assert rig.provider.volumes() == []


def test_a_volume_that_never_was_is_not_found(rig: Rig) -> None:
    with pytest.raises(NotFoundError, match=NOBODY):
        rig.provider.delete_volume(NOBODY)


def test_logs_are_lines_and_no_more_than_asked_for(rig: Rig, label: str) -> None:
    instance = rent(rig, label)
    until_running(rig.provider, instance)
    lines = rig.provider.logs(instance, tail=1)
    assert len(lines) <= 1
    assert all("\n" not in line for line in lines)


def test_what_a_create_would_send_can_be_read_and_nothing_is_rented(rig: Rig, label: str) -> None:
    offer = rig.provider.offers(rig.query)[0]
    text = rig.provider.preview(InstanceSpec(offer, label, 60.0, public_key=KEY, onstart="#!/bin/sh\ntrue\n"))
    assert label in text
    assert rig.provider.list() == []


def test_a_running_instance_can_be_reached(rig: Rig, label: str) -> None:
    instance = rent(rig, label)
    until_running(rig.provider, instance)
    assert rig.provider.transport(instance) is not None
