"""Renting at Vultr against its API on loopback, with the faults that lose money."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from console.errors import LoginError, LostAnswerError, OfferGoneError, ProviderError, UnreachableError
from console.fleet.model import (
    VOLUME_PENDING,
    InstanceSpec,
    Label,
    Offer,
    OfferQuery,
    ProviderState,
    RemoteInstance,
    SshAddress,
)
from console.fleet.pacing import Pacer
from console.fleet.providers.vultr import VultrProvider
from console.runs.transport import Transport
from tests.patience import PATIENCE_S
from tests.simulators.vultr import ACCOUNT_KEY, PASSWORD, Request, VultrSimulator, World
from ups.errors import NotFoundError, UsageError

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1 console@laptop"


class Laptop:
    """A console's view of Vultr: time passes when it waits, and what it opens is remembered."""

    def __init__(self, simulator: VultrSimulator) -> None:
        self.simulator = simulator
        self.now = 1_800_000_000.0
        self.opened: list[RemoteInstance] = []
        simulator.world.clock = lambda: self.now
        self.provider = self.another()

    def another(self, *, key: str = ACCOUNT_KEY, url: str = "", timeout_s: float = 5.0) -> VultrProvider:
        """A fresh process that knows nothing but the account."""
        return VultrProvider(
            key,
            url or self.simulator.url,
            open_transport=self._open,
            pacer=Pacer({}, sleep=self._sleep, clock=lambda: self.now),
            timeout_s=timeout_s,
            clock=lambda: self.now,
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _open(self, row: RemoteInstance) -> Transport:
        self.opened.append(row)
        return cast(Transport, object())

    def spec(self, **changes: Any) -> InstanceSpec:
        offer = self.provider.offers(OfferQuery(("A16",)))[0]
        label = str(Label.new("c0ffee00", self.now + 3600))
        return replace(InstanceSpec(offer, label, 60.0, public_key=PUBLIC_KEY), **changes)

    @property
    def world(self) -> World:
        return self.simulator.world

    def until_booted(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while any(machine.status == "pending" for machine in self.simulator.alive()):
            assert time.monotonic() < until
            time.sleep(0.01)

    def fault(self, call: str, kind: str, **how: Any) -> None:
        self.simulator.faults.on(call, kind, **how)

    def created(self) -> list[Request]:
        return self.simulator.sent("create")


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    with VultrSimulator() as simulator:
        laptop = Laptop(simulator)
        yield laptop
        laptop.provider.close()


def boot_of(request_body: dict[str, Any]) -> dict[str, Any]:
    text = base64.b64decode(request_body["user_data"]).decode()
    assert text.startswith("#cloud-config\n")
    found = json.loads(text.partition("\n")[2])
    assert isinstance(found, dict)
    return found


# Offers


def test_offers_are_plans_in_the_regions_that_have_them_the_cheapest_first(laptop: Laptop) -> None:
    laptop.world.sold_out = {"vcg-a16-2c-8g-2vram"}
    offers = laptop.provider.offers(OfferQuery())
    assert [offer.usd_per_hour for offer in offers] == sorted(offer.usd_per_hour for offer in offers)
    a100 = [offer for offer in offers if offer.gpu == "A100"]
    assert [(offer.id, offer.num_gpus, offer.vram_gb, offer.usd_per_hour) for offer in a100] == [
        ("vcg-a100-12c-120g-80vram@ewr", 1, 80.0, 2.397)
    ]
    assert (a100[0].ram_gb, a100[0].cpu_cores, a100[0].region) == (120.0, 12, "ewr, New Jersey, US")
    assert not any("2vram" in offer.id.split("@")[0].split("-")[-1][:5] for offer in offers)


def test_a_slice_is_one_gpu_with_less_memory_and_two_gpus_are_two(laptop: Laptop) -> None:
    (slice_,) = {offer.vram_gb for offer in laptop.provider.offers(OfferQuery(("A40",)))}
    assert slice_ == 12.0
    (pair,) = {(o.id.split("@")[0], o.vram_gb) for o in laptop.provider.offers(OfferQuery(num_gpus=2))}
    assert pair == ("vcg-a16-12c-128g-32vram", 16.0)


def test_prices_are_those_of_the_region_and_the_dearer_reading_where_only_a_month_is_priced(
    laptop: Laptop,
) -> None:
    l40s = {o.region[:3]: o.usd_per_hour for o in laptop.provider.offers(OfferQuery(("L40S",)))}
    assert l40s == {"ewr": 1.671, "ord": 1.671, "fra": 1.838}
    assert laptop.provider.offers(OfferQuery(("A40",)))[0].usd_per_hour == pytest.approx(300 / 672)


def test_nothing_is_offered_that_can_only_be_had_on_other_terms(laptop: Laptop) -> None:
    assert laptop.provider.offers(OfferQuery(num_gpus=8)) == []  # preemptible only
    assert laptop.provider.offers(OfferQuery(spot=True)) == []


# Renting


def test_a_machine_is_rented_with_its_label_key_and_script_and_no_secret(laptop: Laptop) -> None:
    spec = laptop.spec(onstart="#!/bin/sh\necho started\n")
    instance = laptop.provider.create(spec)
    (request,) = laptop.created()
    body = request.json
    assert (body["label"], body["region"], body["os_id"]) == (spec.label, "ewr", 2284)
    (key,) = laptop.world.ssh_keys.values()
    assert (body["sshkey_id"], key["ssh_key"]) == ([key["id"]], PUBLIC_KEY)
    boot = boot_of(body)
    assert boot["ssh_pwauth"] is False
    assert boot["write_files"][0]["content"] == spec.onstart
    assert boot["runcmd"][-1][:2] == ["env", f"UPS_INSTANCE={spec.label}"]
    assert laptop.world.machines[instance].onstart == spec.onstart
    assert ACCOUNT_KEY not in repr([one.body for one in laptop.simulator.requests])


def test_machines_that_work_together_are_put_on_the_private_network(laptop: Laptop) -> None:
    alone, together = (laptop.provider.create(laptop.spec(private_network=asked)) for asked in (False, True))
    assert [request.json.get("enable_vpc") for request in laptop.created()] == [None, True]
    found = {row.id: row.private_address for row in laptop.provider.list()}
    assert found[alone] == ""
    assert found[together].startswith("127.1.")


def test_an_operating_system_may_be_named_and_a_container_is_refused_before_anything_is_rented(
    laptop: Laptop,
) -> None:
    laptop.provider.create(laptop.spec(image="1743"))
    assert laptop.created()[-1].json["os_id"] == 1743
    with pytest.raises(UsageError, match="machines, not containers") as caught:
        laptop.provider.create(laptop.spec(image="pytorch/pytorch:2.9"))
    assert "2284" in caught.value.hint
    with pytest.raises(ProviderError, match="Invalid os_id"):
        laptop.provider.create(laptop.spec(image="10"))
    assert len(laptop.simulator.alive()) == 1


@pytest.mark.parametrize("how", ["drop", "reset", "cut", "500", "502", "html", "odd"])
def test_a_lost_or_senseless_answer_is_told_from_a_refusal_and_sent_once(laptop: Laptop, how: str) -> None:
    laptop.fault("create", how, after=True)
    spec = laptop.spec()
    with pytest.raises(LostAnswerError):
        laptop.provider.create(spec)
    assert len(laptop.created()) == 1
    assert [row.label for row in laptop.provider.list()] == [spec.label]


def test_an_answer_that_does_not_come_in_time_is_a_lost_one(laptop: Laptop) -> None:
    spec, hasty = laptop.spec(), laptop.another(timeout_s=0.5)
    laptop.fault("create", "slow", seconds=1.0)
    with pytest.raises(LostAnswerError):
        hasty.create(spec)
    hasty.close()
    until = time.monotonic() + PATIENCE_S
    while not laptop.simulator.alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert len(laptop.created()) == len(laptop.simulator.alive()) == 1


def test_what_was_never_sent_is_no_lost_answer(laptop: Laptop) -> None:
    spec = laptop.spec(public_key="", image="2284")
    away = laptop.another(url="http://127.0.0.1:9/v2")
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        away.create(spec)
    assert not isinstance(caught.value, LostAnswerError)
    nonsense = laptop.another(url="vultr")
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        nonsense.create(spec)
    assert not isinstance(caught.value, LostAnswerError)


def test_an_offer_that_is_gone_is_said_to_be_gone(laptop: Laptop) -> None:
    spec = laptop.spec()
    laptop.world.sold_out = {spec.offer.id.split("@")[0]}
    with pytest.raises(OfferGoneError, match="not available in the selected region"):
        laptop.provider.create(spec)
    assert laptop.simulator.alive() == []


def test_a_refusal_comes_in_vultrs_own_words(laptop: Laptop) -> None:
    laptop.world.paid_in = -1.0
    with pytest.raises(ProviderError, match="insufficient funds") as caught:
        laptop.provider.create(laptop.spec())
    assert not isinstance(caught.value, (LostAnswerError, OfferGoneError))


def test_a_storm_of_429_is_waited_out_with_growing_pauses_and_rents_once(laptop: Laptop) -> None:
    spec = laptop.spec()
    laptop.provider.attach_key(PUBLIC_KEY)
    laptop.fault("create", "429", times=4)
    before = laptop.now
    laptop.provider.create(spec)
    assert len(laptop.simulator.alive()) == 1
    assert laptop.now > before
    laptop.fault("list", "429")
    with pytest.raises(ProviderError, match="Rate limit"):
        laptop.provider.list()


@pytest.mark.parametrize(("limit", "volume_gb"), [(30, None), (30, 20.0), (37, 20.0)])
def test_what_gets_a_label_that_is_cut_off_is_given_back_at_once(
    laptop: Laptop, limit: int, volume_gb: float | None
) -> None:
    laptop.world.label_limit = limit
    with pytest.raises(ProviderError, match="instead of"):
        laptop.provider.create(laptop.spec(volume_gb=volume_gb, keep_volume=volume_gb is not None))
    assert (laptop.simulator.alive(), laptop.world.volumes()) == ([], [])


def test_the_boot_scripts_are_yaml_and_shell(laptop: Laptop, tmp_path: Path) -> None:
    spec = laptop.spec(volume_gb=20.0, onstart='#!/bin/sh\necho "it\'s: {ü}"\n')
    laptop.provider.create(spec)
    text = base64.b64decode(laptop.created()[0].json["user_data"]).decode()
    boot = yaml.safe_load(text)
    assert boot == boot_of(laptop.created()[0].json)
    files = {file["path"]: file["content"] for file in boot["write_files"]}
    assert spec.onstart in files.values()
    for content in files.values():
        script = tmp_path / "script"
        script.write_text(content)
        subprocess.run(["sh", "-n", script], check=True)


def test_a_list_that_changed_while_it_was_read_is_read_again(laptop: Laptop) -> None:
    laptop.world.page = 2
    for index in range(5):
        laptop.world.add(f"somebody-{index}")
    laptop.fault("list", "short", times=1)
    assert len(laptop.provider.list()) == 5


def test_a_preview_shows_every_request_and_script_and_no_key(laptop: Laptop) -> None:
    spec = laptop.spec(volume_gb=40.0, keep_volume=True, onstart="#!/bin/sh\necho started\n")
    before = len(laptop.simulator.requests)
    text = laptop.provider.preview(spec)
    assert len(laptop.simulator.requests) == before
    assert f"POST {laptop.simulator.url}/blocks\n" in text
    assert f"POST {laptop.simulator.url}/instances\n" in text
    assert f'"label": "{spec.label}-keep"' in text
    assert "echo started" in text
    assert ACCOUNT_KEY not in text


# Keys, money, logs


def test_a_key_is_registered_once_whatever_its_comment(laptop: Laptop) -> None:
    laptop.provider.attach_key(PUBLIC_KEY)
    laptop.provider.attach_key(PUBLIC_KEY.replace("laptop", "other") + "\n")
    assert len(laptop.world.ssh_keys) == 1


@pytest.mark.parametrize("key", ["", "  ", "two words", "schlüssel", "line\nbreak"])
def test_a_key_that_is_none_is_refused_without_being_shown(laptop: Laptop, key: str) -> None:
    with pytest.raises(LoginError) as caught:
        laptop.another(key=key)
    assert not key.strip() or key not in caught.value.message


def test_a_wrong_key_is_said_and_not_shown(laptop: Laptop) -> None:
    wrong = laptop.another(key="WRONGKEY")
    for call in (wrong.list, wrong.balance, lambda: wrong.destroy("x"), lambda: wrong.offers(OfferQuery())):
        with pytest.raises(LoginError, match="Invalid API token") as caught:
            call()
        assert "WRONGKEY" not in caught.value.message + caught.value.hint
    assert "WRONGKEY" not in repr(vars(wrong))


def test_the_balance_is_credit_less_what_is_pending(laptop: Laptop) -> None:
    laptop.provider.create(laptop.spec())
    laptop.now += 3600 * 10
    assert laptop.provider.balance() == pytest.approx(100 - 10 * 0.059, abs=0.01)
    laptop.world.paid_in = 0.0  # a card is charged afterwards
    assert laptop.provider.balance() is None


def test_there_is_no_log_and_that_is_said(laptop: Laptop) -> None:
    assert "no log" in " ".join(laptop.provider.logs("x"))


# Looking


def test_a_machine_is_followed_from_pending_to_its_address(laptop: Laptop) -> None:
    laptop.world.provision_s = 60.0
    laptop.world.boot = lambda machine: SshAddress("127.0.0.1", 40022)
    instance = laptop.provider.create(laptop.spec())
    row = laptop.provider.get(instance)
    assert row is not None
    assert (row.state, row.ssh, row.usd_per_hour) == (ProviderState.STARTING, None, 0.059)
    assert "pending" in row.status
    with pytest.raises(UnreachableError, match="pending"):
        laptop.provider.transport(instance)
    laptop.now += 61
    laptop.until_booted()
    (row,) = laptop.provider.list()
    assert (row.state, row.ssh) == (ProviderState.RUNNING, SshAddress("127.0.0.1", 40022))
    assert row.created == pytest.approx(laptop.now - 61, abs=1)
    laptop.provider.transport(instance)
    assert laptop.opened == [row]
    assert PASSWORD not in repr(row)


def test_a_machine_that_is_switched_off_is_stopped_and_said_to_cost(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    laptop.provider.list()
    laptop.world.switch_off(instance)
    (row,) = laptop.provider.list()
    assert row.state is ProviderState.STOPPED
    assert "full price" in row.status


def test_a_machine_that_is_off_while_it_is_installed_is_still_starting(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    laptop.provider.list()
    machine = laptop.world.machines[instance]
    machine.power, machine.server = "stopped", "locked"
    assert laptop.provider.list()[0].state is ProviderState.STARTING
    laptop.now += 3600
    assert laptop.provider.list()[0].state is ProviderState.STOPPED


def test_stuck_machines_go_on_starting(laptop: Laptop) -> None:
    laptop.world.stuck_pending = True
    laptop.provider.create(laptop.spec())
    laptop.now += 7200
    assert laptop.provider.list()[0].state is ProviderState.STARTING


def test_a_list_is_complete_over_many_pages(laptop: Laptop) -> None:
    laptop.world.page = 3
    for index in range(10):
        laptop.world.add(f"somebody-{index}")
    assert len(laptop.provider.list()) == 10


@pytest.mark.parametrize("how", ["null", "html", "no meta", "malformed", "cut", "odd"])
def test_a_malformed_list_proves_nothing(laptop: Laptop, how: str) -> None:
    laptop.provider.create(laptop.spec())
    laptop.fault("list", how)
    laptop.fault("volumes", how)
    with pytest.raises(ProviderError):
        laptop.provider.list()
    with pytest.raises(ProviderError):
        laptop.provider.volumes()


def test_a_list_that_is_shorter_than_its_own_count_proves_nothing(laptop: Laptop) -> None:
    laptop.world.page = 3
    for index in range(5):
        laptop.world.add(f"somebody-{index}")
    laptop.fault("list", "short")  # the first page has lost its last row and where it goes on
    with pytest.raises(ProviderError, match="2 rows where it counts 5"):
        laptop.provider.list()
    laptop.simulator.faults.off()
    laptop.fault("list", "miscounted")
    with pytest.raises(ProviderError, match="0 rows where it counts 5"):
        laptop.provider.list()


def test_only_vultr_itself_says_that_there_is_no_such_instance(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    elsewhere = laptop.another(url=laptop.simulator.url.removesuffix("/v2"))
    with pytest.raises(ProviderError):
        elsewhere.get(instance)
    laptop.world.lose(instance)
    assert laptop.provider.get(instance) is None


def test_failures_that_pass_are_asked_again(laptop: Laptop) -> None:
    for kind in ("502", "drop"):
        laptop.fault("list", kind, times=1)
    assert laptop.provider.list() == []
    laptop.fault("list", "500")
    with pytest.raises(ProviderError, match="Internal server error"):
        laptop.provider.list()


def test_every_call_ends_though_vultr_does_not_answer(laptop: Laptop) -> None:
    hasty = laptop.another(timeout_s=0.2)
    laptop.fault("list", "slow", seconds=0.4)
    with pytest.raises(ProviderError, match="did not answer"):
        hasty.list()
    hasty.close()


# Ending


def test_a_destroyed_machine_is_gone_and_twice_is_once(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    laptop.provider.destroy(instance)
    laptop.provider.destroy(instance)
    assert (laptop.simulator.alive(), laptop.provider.list()) == ([], [])


def test_a_machine_that_is_locked_is_destroyed_as_soon_as_it_can_be(laptop: Laptop) -> None:
    laptop.world.locked_s = 90.0
    instance = laptop.provider.create(laptop.spec())
    laptop.provider.destroy(instance)
    (machine,) = laptop.world.machines.values()
    assert 90 <= laptop.world.billed_s(machine) <= 90 + 30


def test_a_machine_that_stays_locked_is_said_to_live(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    laptop.fault("destroy", "locked")
    with pytest.raises(ProviderError, match="currently locked"):
        laptop.provider.destroy(instance)
    assert len(laptop.simulator.alive()) == 1


def test_a_destroy_that_lies_is_seen_in_the_list(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec())
    laptop.world.destroy_lies = True
    laptop.provider.destroy(instance)
    assert [row.id for row in laptop.provider.list()] == [instance]
    laptop.world.destroy_lies = False
    laptop.provider.destroy(instance)
    assert laptop.provider.list() == []


# Volumes


def test_a_volume_is_made_first_attached_at_the_first_contact_and_goes_with_its_machine(
    laptop: Laptop,
) -> None:
    laptop.world.provision_s = 60.0
    spec = laptop.spec(volume_gb=99.2)
    instance = laptop.provider.create(spec)
    (volume,) = laptop.provider.volumes()
    assert (volume.label, volume.size_gb, volume.instance) == (spec.label, 100.0, None)
    assert volume.usd_per_hour == pytest.approx(10 / 672)
    boot, (block,) = boot_of(laptop.created()[0].json), laptop.world.volumes()
    assert VOLUME_PENDING in [file["path"] for file in boot["write_files"]]
    assert boot["runcmd"][0][-1] == f"/dev/disk/by-id/virtio-ewr-{block.id[:12]}"
    laptop.now += 61
    laptop.fault("attach", "locked", times=1)
    with pytest.raises(UnreachableError, match="volume is not attached"):
        laptop.provider.transport(instance)
    laptop.provider.transport(instance)
    assert laptop.provider.volumes()[0].instance == instance
    laptop.provider.transport(instance)
    laptop.another().destroy(instance)
    assert (laptop.provider.volumes(), laptop.simulator.alive()) == ([], [])


def test_a_machine_has_no_address_before_its_volume_is_attached(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec(volume_gb=20.0))
    laptop.fault("attach", "locked", times=1)
    row = laptop.provider.get(instance)
    assert row is not None
    assert row.ssh is None
    assert "volume is not attached" in row.status
    row = laptop.provider.get(instance)
    assert row is not None
    assert row.ssh is not None
    assert laptop.world.volumes()[0].machine == instance


def test_a_kept_volume_outlives_its_machine_and_says_so_in_its_label(laptop: Laptop) -> None:
    spec = laptop.spec(volume_gb=40.0, keep_volume=True)
    instance = laptop.provider.create(spec)
    laptop.provider.transport(instance)
    laptop.provider.destroy(instance)
    (volume,) = laptop.provider.volumes()
    assert (volume.label, volume.instance) == (f"{spec.label}-keep", None)
    assert Label.parse(volume.label) is None
    laptop.provider.delete_volume(volume.id)
    assert laptop.world.volumes() == []
    with pytest.raises(NotFoundError):
        laptop.provider.delete_volume(volume.id)


def test_other_peoples_volumes_stay_even_where_they_are_attached_to_our_machine(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec(volume_gb=20.0))
    laptop.provider.transport(instance)
    (ours,) = laptop.world.volumes()
    laptop.world.blocks["theirs"] = replace(ours, id="theirs", label="photos", machine=instance)
    laptop.provider.destroy(instance)
    assert [block.label for block in laptop.world.volumes()] == ["photos"]


def test_a_refused_machine_leaves_no_volume(laptop: Laptop) -> None:
    laptop.fault("create", "refuse")
    with pytest.raises(ProviderError, match="no can do"):
        laptop.provider.create(laptop.spec(volume_gb=20.0))
    assert laptop.world.volumes() == []


def test_a_machine_that_may_have_been_rented_keeps_its_volume_until_it_is_destroyed(laptop: Laptop) -> None:
    laptop.fault("create", "drop", after=True)
    with pytest.raises(LostAnswerError):
        laptop.provider.create(laptop.spec(volume_gb=20.0))
    (row,) = laptop.provider.list()
    assert len(laptop.world.volumes()) == 1
    laptop.another().destroy(row.id)
    assert (laptop.world.volumes(), laptop.simulator.alive()) == ([], [])


def test_a_volume_whose_answer_was_lost_is_found_by_its_label(laptop: Laptop) -> None:
    laptop.fault("make-volume", "drop", after=True)
    instance = laptop.provider.create(laptop.spec(volume_gb=20.0))
    assert len(laptop.world.volumes()) == 1
    laptop.provider.destroy(instance)
    assert laptop.world.volumes() == []


def test_a_region_without_volumes_refuses_before_the_machine_is_rented(laptop: Laptop) -> None:
    spec = laptop.spec(volume_gb=20.0)
    nowhere: Offer = replace(spec.offer, id=spec.offer.id.split("@")[0] + "@nrt")
    with pytest.raises(ProviderError, match="Block storage is not available"):
        laptop.provider.create(replace(spec, offer=nowhere))
    assert laptop.created() == []


def test_a_process_that_dies_amid_a_teardown_leaves_a_machine_that_is_found_or_nothing(
    laptop: Laptop,
) -> None:
    """Killed before each of its requests in turn, and taken up by a fresh process that has only the id."""

    class Killed(BaseException):
        pass

    kills = 0
    for request in range(1, 12):
        instance = laptop.provider.create(laptop.spec(volume_gb=20.0))
        laptop.provider.transport(instance)
        dying = laptop.another()
        send, left = dying._api._once, iter(range(1, 100))

        def last(*arguments: Any, send: Any = send, left: Any = left, request: int = request) -> Any:
            if next(left) == request:
                raise Killed
            return send(*arguments)

        dying._api._once = last  # type: ignore[method-assign]
        try:
            dying.destroy(instance)
        except Killed:
            kills += 1
        laptop.another().destroy(instance)
        assert (laptop.world.volumes(), laptop.simulator.alive()) == ([], []), (
            f"killed before request {request}"
        )
    assert kills >= 4


def test_machines_are_destroyed_though_their_volumes_cannot_be_seen(laptop: Laptop) -> None:
    instance = laptop.provider.create(laptop.spec(volume_gb=20.0))
    laptop.fault("volumes", "null")
    with pytest.raises(ProviderError, match="volumes"):
        laptop.provider.destroy(instance)
    assert laptop.simulator.alive() == []


def test_many_threads_share_a_provider(laptop: Laptop) -> None:
    for index in range(5):
        laptop.world.add(f"somebody-{index}")
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(len(laptop.provider.list()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [5] * 8


def test_the_users_scripts_and_labels_hold_no_secret(laptop: Laptop) -> None:
    laptop.provider.create(laptop.spec(volume_gb=20.0, onstart="#!/bin/sh\n"))
    for request in laptop.simulator.requests:
        assert ACCOUNT_KEY not in request.path + request.body
        assert request.headers["Authorization"] == f"Bearer {ACCOUNT_KEY}"
