"""Volumes that are left behind, and those that must not be touched."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from console.errors import LostAnswerError
from console.fleet.ledger import Ledger
from console.fleet.model import InstanceSpec, InstanceState, Label, OfferQuery
from console.fleet.pacing import Pacer
from console.fleet.providers.vultr import VultrProvider
from console.fleet.strays import delete_strays
from console.fleet.watch import watch_labels
from console.runs.transport import Transport
from tests.simulators.vultr import VultrSimulator


class Console:
    """A ledger and an account at Vultr."""

    def __init__(self, home: Path, simulator: VultrSimulator) -> None:
        self.ledger = Ledger(home / "ledger.db")
        self.simulator = simulator
        self.provider = VultrProvider(
            simulator.api_key,
            simulator.url,
            open_transport=lambda row: cast(Transport, row),
            pacer=Pacer({}, sleep=lambda _: None),
        )
        self.said: list[str] = []

    def intend(self) -> str:
        label = Label.new(self.ledger.console_id, time.time() + 600)
        self.ledger.intend(
            label, provider="vultr", what="A16", usd_per_hour=0.1, cap_usd=1.0, keep=False, run=None,
            attempt=None,
        )  # fmt: skip
        self.ledger.move(str(label), InstanceState.REQUESTED, "test")
        return str(label)

    def rent(self, label: str, *, keep_volume: bool = False) -> str:
        offer = self.provider.offers(OfferQuery(("A16",)))[0]
        spec = InstanceSpec(offer, label, 60.0, volume_gb=20.0, keep_volume=keep_volume)
        return self.provider.create(spec)

    def sweep(self) -> int:
        return delete_strays(self.ledger, [self.provider], self.said.append)

    def volumes(self) -> list[str]:
        return [block.label for block in self.simulator.world.volumes()]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with VultrSimulator() as simulator:
        console = Console(tmp_path, simulator)
        yield console
        console.provider.close()


def test_a_volume_whose_create_was_lost_goes_once_its_instance_is_refused(console: Console) -> None:
    label = console.intend()
    console.simulator.faults.on("make-volume", "500", after=True)
    console.simulator.faults.on("volumes", "empty", times=4)
    with pytest.raises(LostAnswerError):
        console.rent(label)
    assert console.sweep() == 0  # nobody knows yet
    console.ledger.move(label, InstanceState.AMBIGUOUS, "lost")
    console.ledger.move(label, InstanceState.REFUSED, "never appeared")
    assert console.sweep() == 1
    assert console.volumes() == []
    assert label in console.said[0]


def test_a_volume_goes_after_the_instance_that_ended_without_us(console: Console) -> None:
    label = console.intend()
    instance = console.rent(label)
    console.ledger.move(label, InstanceState.STARTING, "created", provider_id=instance)
    console.provider.get(instance)
    assert console.sweep() == 0
    console.simulator.world.lose(instance)
    assert console.sweep() == 0  # the ledger says that it may live
    console.ledger.move(label, InstanceState.STOPPING, "gone")
    console.ledger.move(label, InstanceState.DESTROYED, "absence observed")
    assert console.sweep() == 1
    assert console.volumes() == []


def test_kept_foreign_and_other_consoles_volumes_stay(console: Console) -> None:
    kept = console.intend()
    instance = console.rent(kept, keep_volume=True)
    console.simulator.world.lose(instance)
    for state in (InstanceState.STARTING, InstanceState.STOPPING, InstanceState.DESTROYED):
        console.ledger.move(kept, state, "test")
    console.rent(str(Label("0ther000", "abcdef012345", 1_700_000_000)))
    console.simulator.world.lose(console.simulator.alive()[0].id)
    block = console.simulator.world.volumes()[0]
    console.simulator.world.blocks["photos"] = replace(block, id="photos", label="photos")
    assert console.sweep() == 0
    assert len(console.volumes()) == 3


def test_what_the_ledger_has_lost_goes_after_its_deadline(console: Console) -> None:
    for deadline in (time.time() + 600, time.time() - 1):
        console.rent(str(Label.new(console.ledger.console_id, deadline)))
    for machine in console.simulator.alive():
        console.simulator.world.lose(machine.id)
    assert console.sweep() == 1
    assert len(console.volumes()) == 1


def test_a_host_without_a_ledger_deletes_what_is_past_its_deadline_and_not_kept(console: Console) -> None:
    past, now = time.time() - 3600, time.time()
    for deadline, keep in ((past, False), (past, True), (now + 600, False)):
        console.rent(str(Label.new("deadbeef", deadline)), keep_volume=keep)
    left = console.rent(str(Label.new("deadbeef", past)))
    console.simulator.world.lose(left)
    gone = list(watch_labels([console.provider], now, console.said.append))
    assert len(gone) == 3  # two machines, and the volume of one that had ended before
    assert len(console.simulator.alive()) == 1
    assert sorted(label.endswith("-keep") for label in console.volumes()) == [False, True]


def test_a_provider_that_fails_is_said_and_tried_again(console: Console) -> None:
    console.rent(str(Label.new(console.ledger.console_id, time.time() - 1)))
    console.simulator.world.lose(console.simulator.alive()[0].id)
    console.simulator.faults.on("volumes", "null")
    assert console.sweep() == 0
    console.simulator.faults.off()
    console.simulator.faults.on("delete-volume", "500")
    assert console.sweep() == 0
    assert "costs" in console.said[-1]
    console.simulator.faults.off()
    assert console.sweep() == 1
