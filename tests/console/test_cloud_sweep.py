"""Two runs of a sweep on rented machines, one after the other where the caps hold only one."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.home import Home
from tests.laptop import Laptop
from tests.simulators.cloud import Cloud, end_guard

pytestmark = [pytest.mark.needs_program("sshd"), pytest.mark.needs_module("vastai")]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with Cloud(tmp_path / "cloud", bucket=False) as cloud:
        yield cloud


@pytest.fixture
def renter(tmp_path: Path, laptop_store: Path, cloud: Cloud) -> Iterator[Laptop]:
    """A laptop with an account, whose data are in a directory."""
    laptop = Laptop(tmp_path, laptop_store)
    laptop.environment |= cloud.environment
    yield laptop
    end_guard(Home(laptop.home))


def test_two_rented_runs_share_the_cap_of_the_day(renter: Laptop, cloud: Cloud) -> None:
    renter.home.mkdir()
    (renter.home / "config.toml").write_text("[caps]\nusd_per_day = 1.5\n")

    lines = [
        json.loads(line)
        for line in renter.run(
            "launch", str(renter.config), "--sweep", "seed=1,2", "--provider", "vast", "--budget", "1",
            "--no-smoke", "--set", "stages.operator.epochs=1", "--json",
        ).splitlines()
    ]  # fmt: skip

    assert [line["status"] for line in lines if line["type"] == "done"] == ["succeeded", "succeeded"]
    moves = sorted((line for line in lines if line["type"] == "instance"), key=lambda line: float(line["t"]))
    first, second = dict.fromkeys(move["run"] for move in moves)
    order = [(move["run"], move["after"]) for move in moves]
    assert order.index((first, "destroyed")) < order.index((second, "requested")), "$2 do not fit in $1.50"
    assert cloud.alive() == []
    final = lines[-1]
    assert [run["differs"] for run in final["runs"]] == [{"seed": 1}, {"seed": 2}]
    assert all(run["usd"] > 0 and run["tasks"]["darcy2d"]["test"] for run in final["runs"])


def test_an_interrupt_ends_launches_that_are_under_way(renter: Laptop, cloud: Cloud) -> None:
    cloud.vast.world.stuck_loading = True
    child = renter.start(
        "launch", str(renter.config), "--sweep", "seed=1,2,3", "--provider", "vast", "--budget", "1",
        "--max-parallel", "2",
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(cloud.alive()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(cloud.alive()) == 2

    child.send_signal(signal.SIGINT)
    child.communicate(timeout=120)

    assert child.returncode == 130
    assert cloud.alive() == []
    assert len(cloud.vast.sent("create")) == 2, "they rented one after the other, and the third never"
    assert len(list(renter.home.glob("runs/*"))) == 2
