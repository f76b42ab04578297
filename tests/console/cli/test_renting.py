"""What a user of rented machines gets for bad input: one clear error, its exit code, and nothing rented."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.laptop import Laptop
from tests.patience import PATIENCE_S
from tests.simulators.vast import VastSimulator

pytestmark = pytest.mark.needs_module("vastai")


@pytest.fixture
def vast() -> Iterator[VastSimulator]:
    with VastSimulator() as vast:
        yield vast


@pytest.fixture
def renter(tmp_path: Path, laptop_store: Path, vast: VastSimulator) -> Laptop:
    laptop = Laptop(tmp_path, laptop_store)
    laptop.environment |= {
        "VAST_API_KEY": vast.api_key,
        "VAST_URL": vast.url,
        "UPS_FLEET_PACE": "0.01",
        "UPS_REMOTE_WORKDIR": str(tmp_path / "workspace"),
    }
    return laptop


def refusal(renter: Laptop, *arguments: str, exit_code: int) -> dict[str, str]:
    """The error of a launch that has to fail."""
    child = renter.start("launch", str(renter.config), "--provider", "vast", *arguments, "--json")
    output, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == exit_code, (output, errors)
    assert "Traceback" not in errors
    return dict(json.loads(errors.splitlines()[-1])["error"])


def assert_nothing_rented(vast: VastSimulator) -> None:
    assert vast.alive() == []
    assert vast.sent("create") == []


def test_without_an_account_it_says_which_variable_makes_one(renter: Laptop, vast: VastSimulator) -> None:
    del renter.environment["VAST_API_KEY"]
    error = refusal(renter, exit_code=5)
    assert "VAST_API_KEY" in error["hint"]
    assert_nothing_rented(vast)


def test_a_wrong_key_is_said_to_be_wrong_and_is_not_shown(renter: Laptop, vast: VastSimulator) -> None:
    renter.environment["VAST_API_KEY"] = "no-such-key-42"
    error = refusal(renter, exit_code=5)
    assert "key" in error["message"]
    assert "no-such-key-42" not in json.dumps(error)
    assert_nothing_rented(vast)


def test_an_empty_account_is_refused_before_anything_is_rented(renter: Laptop, vast: VastSimulator) -> None:
    vast.world.credit = 0.0
    error = refusal(renter, exit_code=5)
    assert "nothing left" in error["message"]
    assert_nothing_rented(vast)


def test_an_unknown_gpu_names_its_neighbours(renter: Laptop, vast: VastSimulator) -> None:
    error = refusal(renter, "--gpu", "RTX_409O", exit_code=2)
    assert "RTX_4090" in error["hint"]
    assert_nothing_rented(vast)


def test_no_offers_says_which_filter_emptied_the_list(renter: Laptop, vast: VastSimulator) -> None:
    error = refusal(renter, "--gpu", "RTX_4090", "--min-vram", "79", exit_code=5)
    assert "VRAM" in error["message"]
    assert "RTX 4090" in error["message"]
    assert_nothing_rented(vast)


def test_a_price_cap_that_is_too_low_says_what_the_nearest_offer_costs(
    renter: Laptop, vast: VastSimulator
) -> None:
    error = refusal(renter, "--gpu", "RTX_4090", "--max-price", "0.01", exit_code=5)
    assert "price" in error["message"]
    assert "$0.3" in error["message"]
    assert_nothing_rented(vast)


def test_the_cap_of_the_day_is_kept(renter: Laptop, vast: VastSimulator) -> None:
    renter.home.mkdir(parents=True, exist_ok=True)
    (renter.home / "config.toml").write_text("[caps]\nusd_per_day = 0.05\n")
    error = refusal(renter, exit_code=8)
    assert "$0.05 a day" in error["message"]
    assert_nothing_rented(vast)


def test_a_key_file_that_others_may_read_is_refused(renter: Laptop, vast: VastSimulator) -> None:
    renter.run("launch", str(renter.config), "--provider", "vast", "--dry-run")
    key = renter.home / "keys" / "id_ed25519"
    key.chmod(0o644)
    error = refusal(renter, exit_code=5)
    assert error["hint"] == f"chmod 600 {key}"
    assert_nothing_rented(vast)


def test_a_provider_that_is_down_is_said_to_be_down(renter: Laptop, vast: VastSimulator) -> None:
    vast.faults.on("user", 503)
    vast.faults.on("search", 503)
    error = refusal(renter, exit_code=5)
    assert "Vast.ai" in error["message"]
    assert_nothing_rented(vast)


def test_an_image_that_nobody_has_ends_the_launch_and_the_instance(
    renter: Laptop, vast: VastSimulator
) -> None:
    vast.world.missing_images.add("nobody/has:this")
    error = refusal(renter, "--image", "nobody/has:this", exit_code=5)
    assert "nobody/has:this" in error["message"]
    assert "--image" in error["hint"]
    assert vast.alive() == []
    assert len(vast.sent("create")) == 1


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(renter: Laptop, vast: VastSimulator) -> None:
    shown = renter.run("launch", str(renter.config), "--provider", "vast", "--gpu", "RTX_4090", "--dry-run")
    assert "/api/v0/asks/" in shown
    assert "ssh-ed25519" in shown
    assert "#!/bin/sh" in shown
    assert vast.api_key not in shown
    assert_nothing_rented(vast)
    assert not vast.sent("attach_key")
    assert renter.json("runs") == []


def test_a_config_for_more_gpus_than_are_rented_is_refused_before_paying(
    renter: Laptop, vast: VastSimulator
) -> None:
    error = refusal(renter, "--gpu", "RTX_4090", "--set", "distributed.processes=4", exit_code=3)
    assert "4 processes on a machine" in error["message"]
    assert "RTX 4090 ×1" in error["message"]
    assert "--num-gpus 4" in error["hint"]
    assert_nothing_rented(vast)
