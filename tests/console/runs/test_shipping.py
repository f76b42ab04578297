"""The runtime reaches a box: its torch is inherited, nothing is done twice, and what fails says why."""

import json
import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from console.errors import BootstrapError
from console.fleet.box_file import MARKER, BoxFile, Destruction, changed
from console.fleet.model import Label
from console.fleet.onstart import KEY_FILE, render
from console.runs import requirements, shipping, wheel
from console.runs.requirements import PILLOW, REQUIREMENTS, TORCH, WANDB, Requirement
from console.runs.shipping import VENV_PYTHON, Interpreter, ShipStep, choose, guard, ship
from console.runs.ssh import SshTransport
from console.runs.transport import LocalTransport, Transport
from console.runs.wheel import RuntimeWheel
from tests.patience import PATIENCE_S
from tests.remote.conftest import wait_for
from tests.simulators.box import Boxes
from tests.simulators.instance_api import InstanceApi
from tests.simulators.sshd import new_key

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> RuntimeWheel:
    return wheel.build(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTransport]:
    """A box that is a directory here; whatever is not here cannot be downloaded."""
    for name, value in {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    root = tmp_path / "box"
    root.mkdir()
    transport = LocalTransport(root, python=VENV_PYTHON, marker={MARKER: f"ups-test-{tmp_path.name}"})
    yield transport
    living = transport.process_of("bootstrap")
    if living is not None:
        os.kill(living.pid, signal.SIGKILL)


def shipped(transport: Transport, runtime: RuntimeWheel, python: str = sys.executable) -> list[ShipStep]:
    return list(ship(transport, runtime, python=python))


def evaluated(transport: Transport, code: str) -> str:
    done = transport.run([transport.absolute(VENV_PYTHON), "-c", code], timeout_s=PATIENCE_S)
    assert done.code == 0, done.err
    return done.out.decode().strip()


class TestShipping:
    def test_the_box_gets_the_runtime_the_images_torch_and_no_console(
        self, box: LocalTransport, runtime: RuntimeWheel
    ) -> None:
        steps = shipped(box, runtime)
        assert [step.phase for step in steps if step.phase != "bootstrap"] == [
            "look",
            "look",
            "upload",
            "upload",
            "ready",
        ]
        assert f"torch {torch.__version__}" in steps[1].text
        bootstrap = [step for step in steps if step.phase == "bootstrap"]
        assert (bootstrap[0].done, bootstrap[-1].done) == (0, bootstrap[-1].total)
        events = [json.loads(line) for line in box.read(shipping.EVENTS).splitlines()]
        assert [event["seq"] for event in events] == list(range(len(events)))
        assert [events[0]["state"], events[-1]["state"]] == ["started", "finished"]
        assert {event["phase"] for event in events} == {"bootstrap"}
        code = (
            "import importlib.util as u, remote, torch, ups\n"
            "print(remote.__file__, torch.__version__, u.find_spec('console'))"
        )
        where, version, console = evaluated(box, code).split()
        assert where.startswith(box.absolute("venv"))
        assert (version, console) == (torch.__version__, "None")
        assert "watchdog BOX_DIR" in evaluated(box, "from remote.__main__ import main; main(['--help'])")

        # Again: nothing is sent, nothing installed.
        assert [step.phase for step in shipped(box, runtime)] == ["look", "look", "ready"]

        # Another runtime replaces it in the same environment.
        other = replace(runtime, sha256="0" * 64)
        with pytest.raises(BootstrapError, match="another hash"):
            shipped(box, other)
        shipped(box, runtime)
        assert evaluated(box, "import remote") == ""

    def test_goes_on_with_what_a_lost_connection_left_running(
        self, box: LocalTransport, runtime: RuntimeWheel
    ) -> None:
        steps = ship(box, runtime, python=sys.executable)
        while next(steps).phase != "bootstrap":
            pass
        steps.close()
        before = json.loads(box.read("bootstrap/plan.json"))["id"]
        assert shipped(box, runtime)[-1].phase == "ready"
        assert json.loads(box.read("bootstrap/plan.json"))["id"] == before

    def test_mends_what_was_killed_half_way(self, box: LocalTransport, runtime: RuntimeWheel) -> None:
        steps = ship(box, runtime, python=sys.executable)
        while next(steps).text != "installing the runtime":
            pass
        process = box.process_of("bootstrap")
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BootstrapError, match="without a word"):
            list(steps)
        assert shipped(box, runtime)[-1].phase == "ready"

    def test_another_runtime_ends_the_bootstrap_of_the_one_before(
        self, box: LocalTransport, runtime: RuntimeWheel, tmp_path: Path
    ) -> None:
        steps = ship(box, replace(runtime, sha256="0" * 64), python=sys.executable)
        while next(steps).phase != "bootstrap":
            pass
        steps.close()
        assert shipped(box, runtime)[-1].phase == "ready"

    def test_a_failing_pip_shows_its_last_lines(
        self, box: LocalTransport, runtime: RuntimeWheel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shipping, "REQUIREMENTS", (Requirement("einops", "99", "", "99.0", 1),))
        with pytest.raises(BootstrapError) as raised:
            shipped(box, runtime)
        assert "pip failed" in raised.value.message
        assert "No matching distribution found for einops==99.0" in raised.value.message
        assert "run.log" in raised.value.hint

    def test_a_full_disk_is_told_before_anything_is_downloaded(
        self, box: LocalTransport, runtime: RuntimeWheel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shipping, "_RUNTIME_MEGABYTES", 10**9)
        with pytest.raises(BootstrapError, match=r"disk is full: .* MB are free") as raised:
            shipped(box, runtime)
        assert "--disk" in raised.value.hint
        assert not Path(box.absolute("venv")).exists()

    def test_no_python_names_what_was_tried(self, box: LocalTransport, runtime: RuntimeWheel) -> None:
        with pytest.raises(BootstrapError, match="tried /no/such/python") as raised:
            shipped(box, runtime, python="/no/such/python")
        assert "UPS_REMOTE_PYTHON" in raised.value.hint


@pytest.mark.needs_program("sshd")
@pytest.mark.needs_program("ssh-keygen")
def test_a_rented_box_is_guarded_and_ready_within_seconds(tmp_path: Path, runtime: RuntimeWheel) -> None:
    label = Label.new("c0ffee", time.time() + 3600)
    public_key = new_key(tmp_path / "key")
    with InstanceApi() as api, Boxes(tmp_path / "boxes", public_keys=[public_key]) as boxes:
        directory = str(boxes.workdir() / str(label))
        began = time.monotonic()
        script = render(label, box=directory, written=time.time(), url=api.url)
        address = boxes.boot(label=str(label), instance="17", key="own-key", onstart=script)
        transport = SshTransport(
            address, key=tmp_path / "key", known_hosts=tmp_path / "known_hosts", box=directory,
            python=VENV_PYTHON, marker={MARKER: str(label)},
        )  # fmt: skip
        orders = BoxFile(
            str(label), label.deadline, 60.0, Destruction("vast", api.url, "17", KEY_FILE), lease_s=1800
        )
        guard(transport, orders)
        guard(transport, orders)  # again: the one that is there goes on
        steps = list(ship(transport, runtime, python=sys.executable))
        seconds = time.monotonic() - began
        assert steps[-1].phase == "ready"
        assert evaluated(transport, "import remote, ups, torch; print('fine')") == "fine"
        assert seconds < 60  # five on a quiet machine
        assert not api.received

        # The orders change, and the watchdog carries them out with the instance's own key.
        now = time.time()
        content = transport.read("box.json")
        transport.put(changed(content, now, deadline=now - 1), "box.json", mode=0o600)
        assert api.wait()[0].authorization == "Bearer own-key"
        transport.close()
        box = boxes.find("17")
        assert box is not None
        boxes.halt("17")
        wait_for(lambda: not box.processes())


def test_a_watchdog_that_cannot_start_is_an_error(box: LocalTransport, tmp_path: Path) -> None:
    orders = BoxFile("x", time.time() + 60, 1.0, Destruction("none"))
    with pytest.raises(BootstrapError, match=r"no Python ≥ 3\.8 .* tried /no/python"):
        guard(box, orders, python="/no/python")
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho it is broken\n')
    program.chmod(0o755)
    with pytest.raises(BootstrapError, match="does not start: it is broken"):
        guard(box, orders, python=str(program), sleep=lambda seconds: time.sleep(seconds / 50))


def an_interpreter(
    version: str = "3.11.9", torch: str | None = "2.9.1+cu128", **more: str | None
) -> Interpreter:
    has = {need.name: need.pin for need in (*REQUIREMENTS, WANDB, PILLOW)}
    return Interpreter(
        name="python3",
        path="/opt/conda/bin/python3",
        version=version,
        sites=("/opt/conda/lib/python3.11/site-packages",),
        modules=frozenset({"pip", "venv", "ensurepip"}),
        has={**has, "torch": torch, **more},
    )


class TestThePlan:
    def test_downloads_only_what_the_image_lacks(self) -> None:
        plan = choose([an_interpreter(scipy=None, numpy="1.20.0", boto3="1.40.1")], ["python3"])
        assert plan.sites == ("/opt/conda/lib/python3.11/site-packages",)
        assert plan.torch == ""
        assert {word.partition("==")[0] for word in plan.install} == {"numpy", "scipy"}
        assert "the box downloads numpy, scipy, about 55 MB" in plan.text

    def test_asks_for_wandb_only_where_it_is_used(self) -> None:
        found = [an_interpreter(wandb=None, pillow=None)]
        assert choose(found, ["python3"]).install == ()
        assert choose(found, ["python3"], wandb=True).install == (
            f"wandb=={WANDB.pin}",
            f"pillow=={PILLOW.pin}",
        )

    def test_prefers_an_interpreter_with_torch_in_range(self) -> None:
        other = replace(an_interpreter(), path="/venv/main/bin/python")
        assert choose([an_interpreter(torch=None), other], ["python3"]).python == "/venv/main/bin/python"

    @pytest.mark.parametrize("version", ["2.7.0+cu126", "2.14.0a0", None])
    def test_brings_its_own_torch_and_says_what_it_takes(self, version: str | None) -> None:
        plan = choose([an_interpreter(torch=version)], ["python3"])
        assert (plan.torch, plan.sites, plan.own_python) == (f"torch=={TORCH.pin}", (), False)
        assert "about 3.3 GB" in plan.text
        assert str(version or "no torch") in plan.text
        assert choose([an_interpreter(torch=version)], ["python3"], cpu=True).megabytes < 400

    def test_brings_its_own_python_too(self) -> None:
        plan = choose([an_interpreter(version="3.10.13")], ["python3"])
        assert plan.own_python
        assert "Python 3.12 and torch" in plan.text
        assert "Python 3.10.13" in plan.text

    def test_without_pip_there_is_nothing_to_do(self) -> None:
        bare = replace(an_interpreter(version="3.10.13"), modules=frozenset({"venv"}))
        with pytest.raises(BootstrapError, match=r"tried python3, python \(python3: Python 3.10.13"):
            choose([bare], ["python3", "python"])


def test_the_pins_are_in_the_ranges_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {*project["dependencies"], *project["optional-dependencies"]["train"]}
    for need in (*REQUIREMENTS, WANDB, PILLOW, TORCH):
        assert need.accepts(need.pin), need
        upper = f",<{need.high}" if need.high else ""
        assert f"{need.name}>={need.low}{upper}" in declared


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.9.0+cu128", (2, 9)), ("2.14.0a0", (2, 14)), ("1.44.8", (1, 44, 8)), ("", ()), ("x", ())],
)
def test_versions_are_compared_by_their_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert requirements.release(version) == numbers
