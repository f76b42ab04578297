"""Vast.ai's bad days: the real SDK against a loopback server that misbehaves on demand."""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console.errors import LoginError, LostAnswerError, OfferGoneError, ProviderError
from console.fleet.model import InstanceSpec, Offer, OfferQuery, ProviderState, RemoteInstance, SshAddress
from console.fleet.pacing import Pacer
from console.fleet.providers import vast as vast_module
from console.fleet.providers import vast_sdk
from console.fleet.providers.vast import VastProvider
from console.runs.transport import Transport
from tests.patience import PATIENCE_S
from tests.simulators.vast import ACCOUNT_KEY, Instance, VastSimulator, World
from ups.errors import NotFoundError, UpsError, UsageError

pytestmark = pytest.mark.needs_module("vastai")

LABEL = "ups-c0ffee00-0123456789ab-2000000000"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfakefakefakefakefakefakefakefakefakefakefa ups"
QUERY = OfferQuery(gpus=("RTX_4090",), disk_gb=64.0)


class Clock:
    """Time that passes when somebody sleeps, or a test says so."""

    def __init__(self) -> None:
        self.now = time.time()
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(clock: Clock) -> Iterator[VastSimulator]:
    with VastSimulator(World(clock=clock)) as simulator:
        yield simulator


def no_transport(row: RemoteInstance) -> Transport:
    raise AssertionError(f"nobody asked for {row}")


def provider_of(simulator: VastSimulator, clock: Clock, *, key: str = ACCOUNT_KEY) -> VastProvider:
    pacer = Pacer(vast_module.SPACING_S, clock=clock, sleep=clock.sleep)
    return VastProvider(key, simulator.url, open_transport=no_transport, pacer=pacer)


@pytest.fixture
def provider(simulator: VastSimulator, clock: Clock) -> VastProvider:
    return provider_of(simulator, clock)


def spec_of(offer: Offer, *, label: str = LABEL, onstart: str = "") -> InstanceSpec:
    return InstanceSpec(offer, label, 60.0, disk_gb=64.0, onstart=onstart)


def rent(provider: VastProvider, label: str = LABEL) -> str:
    return provider.create(spec_of(provider.offers(QUERY)[0], label=label))


# Offers


def test_the_price_covers_the_disk_that_is_rented(provider: VastProvider, simulator: VastSimulator) -> None:
    small, large = provider.offers(QUERY)[0], provider.offers(OfferQuery(("RTX_4090",), disk_gb=500.0))[0]
    assert small.usd_per_hour == pytest.approx(0.29 + 0.15 * 64 / 730)
    assert large.usd_per_hour == pytest.approx(0.29 + 0.15 * 500 / 730)
    instance = provider.create(spec_of(small))
    found = provider.get(instance)
    assert found is not None
    assert found.usd_per_hour == pytest.approx(small.usd_per_hour)


def test_only_the_wanted_gpus_are_asked_for(provider: VastProvider, simulator: VastSimulator) -> None:
    found = provider.offers(OfferQuery(gpus=("RTX_4090", "H100")))
    assert {offer.gpu for offer in found} == {"RTX 4090", "H100 SXM"}
    body = json.loads(simulator.sent("search")[0].body)
    assert "RTX 4090" in body["gpu_name"]["in"]
    assert "RTX 4090D" not in body["gpu_name"]["in"]


def test_an_offer_says_what_the_machine_is(provider: VastProvider, simulator: VastSimulator) -> None:
    offer = provider.offers(QUERY)[0]
    assert (offer.gpu, offer.num_gpus, offer.vram_gb, offer.cpu_cores) == ("RTX 4090", 1, 24.0, 16)
    assert (offer.ram_gb, offer.disk_gb, offer.network_mbps) == (62.5, 512.0, 860.0)
    assert (offer.reliability, offer.region, offer.cuda, offer.usd_per_gb) == (
        0.997, "Poland, PL", 12.8, 0.002,
    )  # fmt: skip
    assert offer.machine == str(simulator.world.asks[int(offer.id)]["machine_id"])


def test_an_unknown_gpu_is_a_usage_error_with_its_neighbours(provider: VastProvider) -> None:
    with pytest.raises(UsageError, match="RTX_409O") as error:
        provider.offers(OfferQuery(gpus=("RTX_409O",)))
    assert "RTX_4090" in error.value.hint


def test_a_gpu_newer_than_this_program_is_found(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.world.stock("RTX 9090", usd_per_hour=2.0)
    assert [offer.gpu for offer in provider.offers(OfferQuery(gpus=("RTX_9090",)))] == ["RTX 9090"]


def test_no_offers_are_an_empty_list(provider: VastProvider) -> None:
    assert provider.offers(OfferQuery(gpus=("B200",))) == []


def test_a_bid_is_over_the_minimum_and_is_what_is_paid(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    offer = provider.offers(OfferQuery(gpus=("RTX_4090",), disk_gb=64.0, spot=True))[0]
    assert offer.spot
    instance = provider.create(spec_of(offer))
    sent = json.loads(simulator.sent("create")[0].body)
    assert sent["price"] == pytest.approx(0.29 * 0.55 * 1.2, abs=1e-3)
    found = provider.get(instance)
    assert found is not None
    assert found.usd_per_hour == pytest.approx(offer.usd_per_hour)
    assert simulator.world.instances[int(instance)].bid == sent["price"]


# Creating


def test_a_create_says_all_that_the_box_needs_and_no_secret(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    instance = provider.create(spec_of(provider.offers(QUERY)[0], onstart="echo hello"))
    (request,) = simulator.sent("create")
    sent = json.loads(request.body)
    assert sent["image"] == vast_module.DEFAULT_IMAGE
    assert "cuda12.8" in sent["image"]
    assert (sent["label"], sent["disk"], sent["onstart"]) == (LABEL, 64.0, "echo hello")
    assert sent["runtype"] == "ssh_direc ssh_proxy"
    assert sent["cancel_unavail"] is True
    assert sent["price"] is None
    assert sent["env"] == {"UPS_INSTANCE": LABEL}
    assert simulator.world.instances[int(instance)].label == LABEL


@pytest.mark.parametrize(
    ("kind", "after", "lives"),
    [
        ("drop", False, 0), ("drop", True, 1), ("cut", True, 1), ("500", False, 0), ("500", True, 1),
        ("502", False, 0), ("502", True, 1), ("503", True, 1), ("html", True, 1), ("odd", True, 1),
    ],
)  # fmt: skip
def test_a_lost_answer_is_said_to_be_lost_and_nothing_is_sent_again(
    provider: VastProvider, simulator: VastSimulator, kind: str, after: bool, lives: int
) -> None:
    simulator.faults.on("create", kind, after=after)
    with pytest.raises(LostAnswerError) as error:
        rent(provider)
    assert len(simulator.sent("create")) == 1
    assert len(simulator.world.labelled(LABEL)) == lives
    assert error.value.exit_code == 5
    assert [row.label for row in provider.list()] == [LABEL] * lives


def test_a_create_that_takes_too_long_is_lost(
    provider: VastProvider, simulator: VastSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vast_sdk, "TIMEOUT_S", 0.3)
    offer = provider.offers(QUERY)[0]
    simulator.faults.on("create", "slow", after=True, seconds=0.8)
    with pytest.raises(LostAnswerError, match="no answer within"):
        provider.create(spec_of(offer))
    until = time.monotonic() + PATIENCE_S
    while not simulator.world.labelled(LABEL) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(simulator.world.labelled(LABEL)) == 1
    assert len(simulator.sent("create")) == 1


@pytest.mark.parametrize("kind", ["404", "410", "409"])
def test_a_taken_offer_is_gone_and_nothing_is_rented(
    provider: VastProvider, simulator: VastSimulator, kind: str
) -> None:
    simulator.faults.on("create", kind)
    with pytest.raises(OfferGoneError):
        rent(provider)
    assert simulator.alive() == []


def test_the_same_offer_is_not_rented_twice(provider: VastProvider, simulator: VastSimulator) -> None:
    offer = provider.offers(QUERY)[0]
    provider.create(spec_of(offer))
    with pytest.raises(OfferGoneError):
        provider.create(spec_of(offer))
    assert len(simulator.alive()) == 1


def test_a_refusal_in_a_200_is_a_refusal(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.faults.on("create", "refuse")
    with pytest.raises(ProviderError, match="no can do") as error:
        rent(provider)
    assert type(error.value) is ProviderError
    assert simulator.alive() == []


def test_no_credit_is_said_with_where_to_add_some(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.world.credit = 0.0
    with pytest.raises(ProviderError, match="credit") as error:
        rent(provider)
    assert "billing" in error.value.hint
    assert simulator.alive() == []


def test_too_many_creates_are_refused_and_the_next_one_waits(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    simulator.faults.on("create", "429", times=1)
    with pytest.raises(ProviderError, match="too often"):
        rent(provider)
    assert len(simulator.sent("create")) == 1
    assert simulator.alive() == []
    rent(provider)
    assert sum(clock.slept) >= vast_module.SPACING_S["create"]


def test_a_provider_that_is_down_has_rented_nothing(clock: Clock) -> None:
    with VastSimulator() as simulator:
        offer = provider_of(simulator, clock).offers(QUERY)[0]
    provider = provider_of(simulator, clock)
    with pytest.raises(ProviderError, match="nothing was rented") as error:
        provider.create(spec_of(offer))
    assert not isinstance(error.value, LostAnswerError)
    with pytest.raises(ProviderError, match="no connection"):
        provider.list()


def test_creates_and_destroys_keep_their_distance(clock: Clock) -> None:
    spacing = {"create": 4.5, "destroy": 3.0}
    with VastSimulator(World(clock=clock), spacing_s=spacing) as simulator:
        provider = provider_of(simulator, clock)
        simulator.world.stock(count=6)
        instances = [rent(provider, f"{LABEL[:-1]}{i}") for i in range(6)]
        for instance in instances:
            provider.destroy(instance)
        assert simulator.alive() == []
        assert len(simulator.sent("create")) == len(simulator.sent("destroy")) == 6


@pytest.mark.parametrize("length", [4096, 4097])
def test_a_start_script_that_is_too_long_is_refused_before_anything_is_sent(
    provider: VastProvider, simulator: VastSimulator, length: int
) -> None:
    spec = spec_of(provider.offers(QUERY)[0], onstart="x" * length)
    if length <= 4096:
        provider.create(spec)
        return
    with pytest.raises(UsageError, match="4097 characters"):
        provider.create(spec)
    assert simulator.sent("create") == []


@pytest.mark.parametrize("spot", [False, True])
def test_a_preview_is_what_is_sent_with_the_key_masked(
    provider: VastProvider, simulator: VastSimulator, spot: bool
) -> None:
    offer = provider.offers(OfferQuery(gpus=("RTX_4090",), disk_gb=64.0, spot=spot))[0]
    spec = spec_of(offer, onstart="echo hello")
    text = provider.preview(spec)
    assert simulator.sent("create") == []
    provider.create(spec)
    (request,) = simulator.sent("create")
    head, _, body = text.partition("\n\n")
    assert json.loads(body) == json.loads(request.body)
    assert head.splitlines()[0] == f"PUT {simulator.url}{request.path}"
    assert ACCOUNT_KEY not in text


def test_a_volume_is_refused_before_anything_is_sent(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    spec = dataclasses.replace(spec_of(provider.offers(QUERY)[0]), volume_gb=100.0)
    with pytest.raises(UsageError, match="volume"):
        provider.create(spec)
    assert simulator.sent("create") == []


# Lists


def test_a_long_list_is_read_to_its_end(provider: VastProvider, simulator: VastSimulator) -> None:
    for ask in simulator.world.stock(count=60):
        simulator.world.rent(ask, {"label": f"l{ask}", "disk": 10})
    assert len(provider.list()) == 60
    assert len(simulator.sent("list")) == 3
    assert fastest(provider.list) < 1.0


@pytest.mark.parametrize("kind", ["null", "short", "malformed", "html", "cut", "500", "410", "drop", "odd"])
def test_a_list_that_is_not_whole_is_an_error_and_never_a_short_list(
    provider: VastProvider, simulator: VastSimulator, kind: str
) -> None:
    rent(provider)
    simulator.faults.on("list", kind)
    with pytest.raises(ProviderError):
        provider.list()
    simulator.faults.off()
    assert len(provider.list()) == 1


def test_a_page_that_is_missing_at_the_end_is_noticed(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    for ask in simulator.world.stock(count=30):
        simulator.world.rent(ask, {"label": f"l{ask}", "disk": 10})
    simulator.faults.on("list", "short")
    with pytest.raises(ProviderError, match="24 of 30"):
        provider.list()


def test_a_list_that_changed_while_it_was_read_is_read_again(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    for ask in simulator.world.stock(count=30):
        simulator.world.rent(ask, {"label": f"l{ask}", "disk": 10})
    simulator.faults.on("list", "short", times=1, skip=1)
    assert len(provider.list()) == 30


@pytest.mark.parametrize("total", [None, "1", 2, 0])
def test_a_list_that_does_not_say_its_length_is_no_list(
    provider: VastProvider, monkeypatch: pytest.MonkeyPatch, total: object
) -> None:
    row = {
        "id": 1, "label": "x", "actual_status": "running", "dph_total": 0.3, "start_date": 1.0,
        "gpu_name": "RTX 4090", "num_gpus": 1,
    }  # fmt: skip
    page = {"instances": [row], "total_instances": total, "next_token": None}
    monkeypatch.setattr(provider, "_page", lambda _: page)
    with pytest.raises(ProviderError):
        provider.list()
    page["total_instances"] = 1
    assert [found.id for found in provider.list()] == ["1"]


def test_pages_that_repeat_themselves_are_no_list(
    provider: VastProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = iter(range(1000))
    monkeypatch.setattr(
        provider,
        "_page",
        lambda _: {"instances": [{"id": next(pages)}], "total_instances": 5, "next_token": "same"},
    )
    with pytest.raises(ProviderError, match="does not end"):
        provider.list()


@pytest.mark.parametrize("field", ["label", "actual_status", "dph_total", "start_date", "gpu_name"])
def test_a_row_that_makes_no_sense_spoils_the_list(field: str) -> None:
    row = {
        "id": 1, "label": "x", "actual_status": "running", "dph_total": 0.3, "start_date": 1.0,
        "gpu_name": "RTX 4090", "num_gpus": 1, "machine_id": 2,
    }  # fmt: skip
    assert vast_module._to_instance(row).id == "1"
    with pytest.raises(ProviderError):
        vast_module._to_instance({**row, field: {"odd": True}})
    with pytest.raises(ProviderError):
        vast_module._to_instance({name: value for name, value in row.items() if name != field})


def test_a_passing_fault_is_outlasted(provider: VastProvider, simulator: VastSimulator, clock: Clock) -> None:
    rent(provider)
    simulator.faults.on("list", "429", times=2)
    assert len(provider.list()) == 1
    simulator.faults.on("list", "503", times=2)
    assert len(provider.list()) == 1
    assert len(clock.slept) >= 4


@pytest.mark.parametrize("kind", ["429", "503", "drop"])
def test_a_storm_ends_in_an_error(provider: VastProvider, simulator: VastSimulator, kind: str) -> None:
    simulator.faults.on("any", kind)
    for call in (provider.list, provider.balance, provider.volumes):
        with pytest.raises(ProviderError) as error:
            call()
        assert error.value.hint
    assert len(simulator.requests) == 9


# States


@pytest.mark.parametrize(
    ("status", "intended", "state"),
    [
        (None, "running", ProviderState.STARTING), ("created", "running", ProviderState.STARTING),
        ("loading", "running", ProviderState.STARTING), ("rebooting", "running", ProviderState.STARTING),
        ("running", "running", ProviderState.RUNNING), ("running", "stopped", ProviderState.RUNNING),
        ("stopped", "stopped", ProviderState.STOPPED), ("exited", "running", ProviderState.STOPPED),
        ("frozen", "frozen", ProviderState.STOPPED), (None, "stopped", ProviderState.STOPPED),
        ("unknown", "running", ProviderState.UNKNOWN), ("offline", "running", ProviderState.UNKNOWN),
        ("a new word", "running", ProviderState.UNKNOWN),
    ],
)  # fmt: skip
def test_every_status_is_understood(status: str | None, intended: str, state: ProviderState) -> None:
    assert vast_module._state_of({"actual_status": status, "intended_status": intended}) is state


def test_a_box_has_an_address_only_once_it_runs(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    simulator.world.load_s = 60.0
    simulator.boot = lambda row: SshAddress("127.0.0.1", 40022)
    instance = rent(provider)
    loading = provider.get(instance)
    assert loading is not None
    assert (loading.state, loading.ssh, loading.status) == (ProviderState.STARTING, None, "loading")
    with pytest.raises(ProviderError, match="no address yet: loading"):
        provider.transport(instance)
    clock.now += 61
    until = time.monotonic() + PATIENCE_S
    while (found := provider.get(instance)) is None or found.ssh is None:
        assert time.monotonic() < until
    assert found.ssh == SshAddress("127.0.0.1", 40022, "root")


def test_an_image_that_never_loads_says_why(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.world.missing_images = {vast_module.DEFAULT_IMAGE}
    instance = rent(provider)
    found = provider.get(instance)
    assert found is not None
    assert found.state is ProviderState.STARTING
    reason = f"Error response from daemon: manifest for {vast_module.DEFAULT_IMAGE} not found"
    assert found.status == f"loading: {reason}"
    assert [line for line in provider.logs(instance) if line] == [
        f"pulling {vast_module.DEFAULT_IMAGE}", reason,
    ]  # fmt: skip


def test_outbid_is_stopped_and_goes_on_costing(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    instance = rent(provider)
    provider.get(instance)
    simulator.world.outbid(int(instance))
    found = provider.get(instance)
    assert found is not None
    assert (found.state, found.ssh) == (ProviderState.STOPPED, None)
    before = simulator.world.billed(LABEL)
    clock.now += 3600
    assert simulator.world.billed(LABEL) - before == pytest.approx(0.15 * 64 / 730, rel=0.01)


def test_a_host_that_is_offline_is_unknown_and_goes_on_costing(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    instance = rent(provider)
    provider.get(instance)
    simulator.world.host_offline(int(instance))
    found = provider.get(instance)
    assert found is not None
    assert found.state is ProviderState.UNKNOWN
    before = simulator.world.billed(LABEL)
    clock.now += 3600
    assert simulator.world.billed(LABEL) - before == pytest.approx(found.usd_per_hour, rel=0.01)


def test_one_instance_is_not_taken_for_gone_because_of_a_bad_answer(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    instance = rent(provider)
    for kind in ("500", "html", "odd", "410", "malformed", "cut"):
        simulator.faults.on("get", kind)
        with pytest.raises(ProviderError):
            provider.get(instance)
        simulator.faults.off()
    assert provider.get(instance) is not None
    simulator.faults.on("get", "404")
    assert provider.get(instance) is None


# Destroying


@pytest.mark.parametrize("kind", ["429", "500", "502", "drop", "cut", "html"])
def test_a_destroy_is_asked_for_until_it_is_heard(
    provider: VastProvider, simulator: VastSimulator, clock: Clock, kind: str
) -> None:
    instance = rent(provider)
    simulator.faults.on("destroy", kind, times=2)
    if kind == "html":
        with pytest.raises(ProviderError):
            provider.destroy(instance)
        simulator.faults.off()
    provider.destroy(instance)
    assert simulator.alive() == []
    assert simulator.world.asks


def test_a_destroy_that_nobody_hears_is_an_error(provider: VastProvider, simulator: VastSimulator) -> None:
    instance = rent(provider)
    simulator.faults.on("destroy", "503")
    with pytest.raises(ProviderError, match="destroy instance"):
        provider.destroy(instance)
    assert len(simulator.sent("destroy")) == 6


def test_a_destroy_that_lies_shows_in_the_list(provider: VastProvider, simulator: VastSimulator) -> None:
    instance = rent(provider)
    simulator.world.destroy_lies = True
    provider.destroy(instance)
    assert [row.id for row in provider.list()] == [instance]


def test_a_slow_destroy_is_listed_and_billed_until_it_is_over(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    instance = rent(provider)
    simulator.world.destroy_s = 120.0
    provider.destroy(instance)
    assert [row.id for row in provider.list()] == [instance]
    clock.now += 3600
    assert provider.list() == []
    assert simulator.world.billed(LABEL) == pytest.approx((0.29 + 0.15 * 64 / 730) / 30, rel=0.1)


def test_what_is_no_id_is_refused_before_anything_is_sent(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    for call in (provider.get, provider.destroy, provider.logs):
        with pytest.raises(ProviderError, match="no id"):
            call("../asks/1")
    assert simulator.requests == []


# Keys, secrets


def test_a_key_is_registered_once(provider: VastProvider, simulator: VastSimulator) -> None:
    provider.attach_key(KEY)
    provider.attach_key(f"{KEY.rsplit(' ', 1)[0]} another-comment")
    assert [row["public_key"] for row in simulator.world.ssh_keys] == [KEY]


def test_another_console_that_was_quicker_with_the_key_is_no_error(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    simulator.faults.on("keys", "cut", times=1, skip=1)
    provider.attach_key(KEY)
    assert len(simulator.world.ssh_keys) == 1


@pytest.mark.parametrize("kind", ["401", "403"])
def test_a_wrong_key_is_a_login_error(simulator: VastSimulator, clock: Clock, kind: str) -> None:
    provider = provider_of(simulator, clock, key="wrong-key")
    if kind == "403":
        simulator.faults.on("any", "403")
    calls = [provider.list, provider.balance, lambda: provider.offers(QUERY), lambda: provider.destroy("1")]
    for call in calls:
        with pytest.raises(LoginError) as error:
            call()
        assert "wrong-key" not in f"{error.value.message} {error.value.hint}"
        assert "VAST_API_KEY" in error.value.hint
    with pytest.raises(LoginError):
        provider.create(spec_of(Offer("18000", "vast", "RTX 4090", 1, 24, 0.3, 8, 32, 100, 1, 1, "PL")))
    assert simulator.alive() == []


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nline", "schlüssel", "nul\0"])
def test_what_can_be_no_key_is_not_sent(simulator: VastSimulator, clock: Clock, key: str) -> None:
    with pytest.raises(LoginError, match="no key has") as error:
        provider_of(simulator, clock, key=key).list()
    assert key.strip() == "" or key not in error.value.message
    assert simulator.requests == []


@pytest.mark.parametrize("url", ["console.vast.ai", "ftp://127.0.0.1", "http://"])
def test_a_url_that_is_none_rents_nothing_and_says_so(clock: Clock, url: str) -> None:
    pacer = Pacer({}, sleep=clock.sleep)
    provider = VastProvider(ACCOUNT_KEY, url, open_transport=no_transport, pacer=pacer)
    with pytest.raises(ProviderError, match="nothing was rented") as error:
        provider.create(spec_of(Offer("1", "vast", "RTX 4090", 1, 24, 0.3, 8, 32, 100, 1, 1, "PL")))
    assert not isinstance(error.value, LostAnswerError)
    with pytest.raises(ProviderError, match=r"URL|schema|adapters"):
        provider.list()


def test_the_key_is_sent_as_a_header_and_nowhere_else(
    provider: VastProvider, simulator: VastSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.attach_key(KEY)
    instance = rent(provider)
    provider.list()
    provider.get(instance)
    provider.logs(instance)
    provider.balance()
    provider.volumes()
    provider.destroy(instance)
    for request in simulator.requests:
        elsewhere = {name: value for name, value in request.headers.items() if name != "Authorization"}
        assert ACCOUNT_KEY not in f"{request.path} {request.body} {elsewhere}"
        expected = None if request.call == "text" else f"Bearer {ACCOUNT_KEY}"
        assert request.headers.get("Authorization") == expected
    assert ACCOUNT_KEY not in repr(provider)
    assert "".join(capsys.readouterr()) == ""


def test_netrc_does_not_replace_the_key(
    provider: VastProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert provider.list() == []


def test_an_error_that_quotes_the_key_is_masked(simulator: VastSimulator) -> None:
    def failing() -> None:
        raise KeyError(f"Bearer {ACCOUNT_KEY}")

    with pytest.raises(vast_sdk.AnswerError) as error:
        vast_sdk.call(vast_sdk.load(), failing, secret=ACCOUNT_KEY)
    assert ACCOUNT_KEY not in error.value.words
    assert "•••" in error.value.words


def test_the_instances_own_key_destroys_it_and_nothing_else(
    provider: VastProvider, simulator: VastSimulator, clock: Clock
) -> None:
    instance, other = rent(provider), rent(provider, f"{LABEL}0")
    box = provider_of(simulator, clock, key=simulator.world.instances[int(instance)].key)
    with pytest.raises(UpsError):
        box.list()
    with pytest.raises(LoginError):
        box.destroy(other)
    box.destroy(instance)
    assert [row.id for row in simulator.alive()] == [int(other)]


def test_volumes_are_listed_with_their_price(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.world.volumes = [
        {"id": 5, "label": "data", "disk_space": 100.0, "storage_cost": 0.1, "start_date": 1.7e9,
         "instances": [18001], "status": "ok"},
    ]  # fmt: skip
    (volume,) = provider.volumes()
    assert (volume.id, volume.label, volume.size_gb, volume.instance) == ("5", "data", 100.0, "18001")
    assert volume.usd_per_hour == pytest.approx(0.1 * 100 / 730)
    simulator.faults.on("volumes", "null")
    with pytest.raises(ProviderError):
        provider.volumes()


def test_a_volume_is_deleted_once_nothing_uses_it(provider: VastProvider, simulator: VastSimulator) -> None:
    row = {"id": 5, "label": "data", "disk_space": 100.0, "start_date": 1.7e9, "instances": [18001]}
    simulator.world.volumes = [row]
    with pytest.raises(ProviderError, match="use this volume"):
        provider.delete_volume("5")
    row["instances"] = []
    provider.delete_volume("5")
    assert provider.volumes() == []
    with pytest.raises(NotFoundError):
        provider.delete_volume("5")


def test_the_balance_is_the_credit(provider: VastProvider, simulator: VastSimulator) -> None:
    simulator.world.credit = 21.4
    assert provider.balance() == pytest.approx(21.4)


# The SDK


class Captured(io.StringIO):
    """What a user interface puts in the place of standard output."""

    encoding = None  # type: ignore[assignment]


_IMPORT = """\
from textual.app import App
from console.fleet.providers import vast_sdk

class Laptop(App[str]):
    def on_mount(self) -> None:
        self.run_worker(self.load, thread=True)

    def load(self) -> None:
        self.call_from_thread(self.exit, vast_sdk.load().client.VastClient.__name__)

print(Laptop().run(headless=True))
"""


def test_the_sdk_is_imported_while_a_user_interface_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.splitlines()[-1:], done.stderr) == (0, ["VastClient"], "")


def test_the_output_is_left_as_it_was() -> None:
    captured = Captured()
    with contextlib.redirect_stdout(captured):
        vast_sdk.load()
        print("still here")
    assert captured.getvalue() == "still here\n"


def test_a_missing_sdk_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['vastai'] = None\n"
        "from console.fleet.providers import vast_sdk\n"
        "from console.errors import ProviderError\n"
        "try: vast_sdk.load()\n"
        "except ProviderError as error: print(error.hint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == "pip install 'ups-console[vast]'\n", done.stderr


def test_importing_the_provider_does_not_import_the_sdk(tmp_path: Path) -> None:
    code = "import sys, console.fleet.providers.vast; print({'vastai', 'requests'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == "set()\n", done.stderr


# The simulator itself: what other tests lean on


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of five calls: another program may have the machine for one of them."""
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        call()
        seconds.append(time.monotonic() - started)
    return min(seconds)


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_box_is_booted_before_it_runs_and_halted_when_it_is_gone() -> None:
    booted: list[int] = []
    halted: list[int] = []

    def boot(row: Instance) -> SshAddress:
        assert row.status == "loading"
        booted.append(row.id)
        return SshAddress("127.0.0.1", 40022)

    with VastSimulator() as simulator:
        simulator.boot, simulator.halt = boot, lambda row: halted.append(row.id)
        first, second, third = (
            simulator.world.rent(ask, {"label": "l", "disk": 10}).id for ask in simulator.world.stock(count=3)
        )
        wait_for(lambda: len(booted) == 3)
        simulator.world.outbid(first)
        wait_for(lambda: halted == [first])
        simulator.world.destroy(second)
        wait_for(lambda: halted == [first, second])
        simulator.world.set_state(first, "running")
        wait_for(lambda: booted.count(first) == 2)
    assert sorted(halted) == sorted([first, first, second, third])


def test_the_world_keeps_its_books_without_a_network(clock: Clock) -> None:
    world = World(clock=clock, provision_s=10.0, load_s=50.0)
    (ask,) = world.stock(usd_per_hour=3.6, storage_cost=0.0)
    made = world.rent(ask, {"label": "l", "disk": 10})
    clock.now += 60
    assert world.find(made.id) is made
    assert (made.status, world.billed("l")) == ("running", 0.0)
    clock.now += 1000
    world.destroy(made.id)
    clock.now += 1000
    assert world.listed() == []
    assert world.billed("l") == pytest.approx(1.0)
    assert world.credit == pytest.approx(99.0)
    assert ask in world.asks


def test_fifty_instances_are_listed_in_well_under_a_second(
    provider: VastProvider, simulator: VastSimulator
) -> None:
    for ask in simulator.world.stock(count=50):
        simulator.world.rent(ask, {"label": f"l{ask}", "disk": 10})
    assert len(provider.list()) == 50  # the SDK is imported
    assert fastest(provider.list) < 0.5


def test_the_simulator_runs_by_itself_until_its_input_ends(clock: Clock) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.simulators.vast", "--port", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        provider = VastProvider(ACCOUNT_KEY, url, open_transport=no_transport)
        assert provider.list() == []
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
