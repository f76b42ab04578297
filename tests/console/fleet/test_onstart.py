"""A box ends itself although nobody has ever reached it: the start script, really run by sh."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.errors import ProviderError
from console.fleet import processes
from console.fleet.box_file import MARKER, BoxFile, Destruction
from console.fleet.model import Label
from console.fleet.onstart import KEY_FILE, LIMIT, render
from console.runs.wheel import module_source
from tests.remote.conftest import wait_for
from tests.simulators.instance_api import InstanceApi
from ups.errors import UsageError

KEY = "instance-key-77aa"


class Machine:
    """A container that starts: its directory, its environment, and what runs in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.label = Label.new("c0ffee", time.time() + 600)
        self.children: list[subprocess.Popen[bytes]] = []
        self.home = root / "home"
        self.home.mkdir()
        self.box = root / "a work directory" / str(self.label)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "CONTAINER_API_KEY": KEY,
            "CONTAINER_ID": "17",
            "UPS_REMOTE_HALT": "false",
        }

    def die_in(self, seconds: float) -> None:
        self.label = Label(self.label.console_id, self.label.unique, int(time.time() + seconds))

    def script(self, url: str | None, **more: Any) -> str:
        return render(
            self.label, **{"box": str(self.box), "written": time.time(), "url": url, "poll_s": 0.1, **more}
        )

    def start(self, script: str) -> None:
        path = self.root / "onstart"
        path.write_text(script)
        done = subprocess.run(
            ["sh", str(path)], env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def living(self) -> list[psutil.Process]:
        return processes.marked(MARKER, str(self.label))

    def hand_over(self, url: str) -> None:
        """As the console does; the watchdog itself is left to whoever starts it."""
        orders = BoxFile(
            label=str(self.label),
            deadline=self.label.deadline,
            grace_s=60,
            destroy=Destruction("vast", url, "17", KEY_FILE),
        )
        (self.box / "watchdog.py").write_bytes(module_source("remote", "watchdog"))
        (self.box / "box.json").write_bytes(orders.render(time.time()))

    def watch(self) -> subprocess.Popen[bytes]:
        """Start the watchdog by hand; returns when it watches."""
        child = subprocess.Popen(
            [sys.executable, str(self.box / "watchdog.py"), str(self.box)],
            env={**self.environment, MARKER: str(self.label)},
            stdout=subprocess.DEVNULL,
        )
        self.children.append(child)
        wait_for(lambda: (self.box / "watchdog.jsonl").exists())
        return child

    def command_lines(self) -> list[tuple[psutil.Process, list[str]]]:
        """Of what lives on it."""
        found = []
        for process in self.living():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended since
                found.append((process, process.cmdline()))
        return found

    def watchdogs(self) -> list[psutil.Process]:
        program = str(self.box / "watchdog.py")
        return [process for process, words in self.command_lines() if program in words]

    def log(self) -> str:
        path = self.box / "deadman.log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    for _ in range(2):
        processes.end(made.living(), patience_s=0)
    for child in made.children:
        child.wait()


@pytest.fixture
def api() -> Iterator[InstanceApi]:
    with InstanceApi() as served:
        yield served


class TestTheScript:
    @pytest.mark.parametrize("url", ["https://console.vast.ai", None])
    def test_leaves_room_in_what_the_provider_takes(self, machine: Machine, url: str | None) -> None:
        text = render(machine.label, box="/workspace/ups/" + str(machine.label), written=time.time(), url=url)
        assert len(text) < LIMIT * 3 / 4
        assert KEY not in text

    @pytest.mark.parametrize(
        ("box", "url"),
        [
            ("relative", None), ("/with\na line", None), ("/x", "https://host/path"), ("/x", "ftp://host"),
            ("/x", 'https://h"; reboot'), ("/" + "x" * LIMIT, None),
        ],
    )  # fmt: skip
    def test_refuses_what_no_script_can_hold(self, machine: Machine, box: str, url: str | None) -> None:
        with pytest.raises(UsageError) as raised:
            render(machine.label, box=box, written=0, url=url)
        assert raised.value.hint
        assert not isinstance(raised.value, ProviderError)

    def test_makes_the_box_and_hides_its_key(self, machine: Machine, api: InstanceApi) -> None:
        machine.start(machine.script(api.url))
        assert (machine.home / ".no_auto_tmux").exists()
        assert stat.S_IMODE(machine.box.stat().st_mode) == 0o700
        assert (machine.box / KEY_FILE).read_text() == KEY
        assert stat.S_IMODE((machine.box / KEY_FILE).stat().st_mode) == 0o600
        wait_for(lambda: bool(machine.living()))
        assert all(KEY not in word for _, words in machine.command_lines() for word in words)

    def test_again_after_a_restart_leaves_what_is_there(self, machine: Machine, api: InstanceApi) -> None:
        machine.start(machine.script(api.url))
        (machine.box / "file").write_text("kept")
        machine.start(machine.script(api.url))
        assert (machine.box / "file").read_text() == "kept"


class TestTheDeadMan:
    def test_destroys_a_box_that_nobody_has_reached(self, machine: Machine, api: InstanceApi) -> None:
        machine.start(machine.script(api.url, takeover_s=1))
        [request] = api.wait()
        assert (request.method, request.path) == ("DELETE", "/api/v0/instances/17/")
        assert request.authorization == f"Bearer {KEY}"

    def test_destroys_it_at_the_deadline(self, machine: Machine, api: InstanceApi) -> None:
        machine.die_in(1)
        machine.start(machine.script(api.url))
        api.wait()

    def test_goes_on_until_it_is_gone_and_logs_no_key(self, machine: Machine) -> None:
        with InstanceApi(500, 200) as api:
            machine.start(machine.script(api.url, takeover_s=0))
            api.wait(2)
            wait_for(lambda: "('destroy', 200)" in machine.log())
        assert "HTTP Error 500" in machine.log()
        assert KEY not in machine.log()

    def test_leaves_a_box_with_a_watchdog_alone(self, machine: Machine, api: InstanceApi) -> None:
        machine.box.mkdir(parents=True)
        machine.hand_over(api.url)
        machine.watch()
        (machine.box / "box.json").unlink()  # alone it would do as well
        machine.start(machine.script(api.url, takeover_s=1))
        time.sleep(1.6)
        assert not api.received

    def test_starts_a_watchdog_again_that_died(self, machine: Machine, api: InstanceApi) -> None:
        machine.start(machine.script(api.url))
        (machine.box / "watchdog.py").write_bytes(module_source("remote", "watchdog"))
        machine.hand_over(api.url)
        dog = machine.watch()
        dog.kill()
        dog.wait()
        wait_for(lambda: len(machine.watchdogs()) == 1)
        assert "watchdog started again" in machine.log()
        assert not api.received

    def test_ends_a_box_whose_watchdog_died_at_the_deadline(self, machine: Machine, api: InstanceApi) -> None:
        machine.die_in(2)
        machine.start(machine.script(api.url))
        machine.hand_over(api.url)
        (machine.box / "watchdog.py").write_text("raise SystemExit('broken')")
        api.wait()

    def test_obeys_a_deadline_that_was_moved_further(self, machine: Machine, api: InstanceApi) -> None:
        machine.die_in(1)
        machine.box.mkdir(parents=True)
        machine.hand_over(api.url)
        (machine.box / "watchdog.py").write_text("")
        record = json.loads((machine.box / "box.json").read_text())
        record["deadline"] += 600
        (machine.box / "box.json").write_text(json.dumps(record))
        machine.start(machine.script(api.url))
        time.sleep(1.8)
        assert not api.received

    def test_does_not_believe_a_clock_that_is_behind(self, machine: Machine, api: InstanceApi) -> None:
        machine.die_in(5 * 3600 + 1)
        machine.start(machine.script(api.url, written=time.time() + 5 * 3600))
        api.wait()

    def test_believes_a_clock_past_the_deadline_only_after_a_restart(
        self, machine: Machine, api: InstanceApi
    ) -> None:
        machine.die_in(-3600)
        script = machine.script(api.url, written=time.time() - 7200)
        machine.start(script)
        time.sleep(0.7)
        assert not api.received
        machine.start(script)
        api.wait()

    def test_halts_where_there_is_no_such_key(self, machine: Machine) -> None:
        program = machine.root / "halt"
        program.write_text(f'#!/bin/sh\ntouch "{machine.root}/halted"\n')
        program.chmod(0o755)
        machine.environment["UPS_REMOTE_HALT"] = str(program)
        machine.start(machine.script(None, takeover_s=0))
        wait_for(lambda: (machine.root / "halted").exists())
        wait_for(lambda: "still billing" in machine.log())
        assert not (machine.box / KEY_FILE).exists()

    @pytest.mark.needs_program("curl")
    def test_needs_no_python(self, machine: Machine, api: InstanceApi) -> None:
        tools = machine.root / "bin"
        tools.mkdir()
        for name in ("sh", "curl", "sleep", "mkdir", "touch", "tr", "sed", "setsid"):
            (tools / name).symlink_to(str(shutil.which(name)))
        machine.environment["PATH"] = str(tools)
        script = machine.script(api.url, takeover_s=0)
        machine.start(script.replace("/usr/bin/python3", "/no/python").replace("/opt/conda", "/no"))
        [request, *_] = api.wait()
        assert request.authorization == f"Bearer {KEY}"
        assert all(KEY not in word for _, words in machine.command_lines() for word in words)
